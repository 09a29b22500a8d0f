"""Money that comes by the hour: what is not spent in an hour is for those after it."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate

from recommender.rules.distribution import apportion


def spread(total: int, weights: Sequence[int]) -> list[int]:
    """Whole units over hours in proportion to weights, to the last unit; evenly where no hour has any.

    Args:
        total: 0 or more, however small or large beside the weights.
    """
    if not any(weights):
        weights = [1] * len(weights)
    whole = sum(weights)
    times = -(-total // whole)  # apportion shares out no more than there is
    return apportion(total, [weight * times for weight in weights]) if total else [0] * len(weights)


def room(planned: Sequence[Decimal], spent: Sequence[Decimal], hour: int) -> Decimal:
    """What may still be spent in an hour: no more than came until its end, nor what later hours have spent already of
    what came with earlier ones. Below 0 where more was spent than came.

    Args:
        planned, spent: of each hour from the first on.
    """
    left = [came - gone for came, gone in zip(accumulate(planned), accumulate(spent), strict=True)]
    return min(left[hour:])


def next_hour_with_more(planned: Sequence[Decimal], hour: int) -> int | None:
    """The first hour after one with which any money comes; None if that was all."""
    return next((later for later in range(hour + 1, len(planned)) if planned[later] > 0), None)
