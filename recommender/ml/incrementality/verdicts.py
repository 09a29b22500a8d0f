"""What may be said of an effect, by rules that are stated before anybody looks."""

from enum import StrEnum

from recommender.ml.incrementality.effects import Effect

#: Shoppers in each group, and shoppers who did anything, below which no interval is believed.
LEAST_SHOPPERS = 100
LEAST_ACTIVE = 50
#: Most skewness of the estimate. By the Edgeworth expansion (Hall 1992, section 2.6) a studentised mean of skewness κ
#: costs a 95 % interval about κ² / 4 of its coverage: 1 percentage point at 0.2.
MOST_SKEWNESS = 0.2
#: Of the held-out shoppers' mean: an effect that is surely smaller, up or down, is about none.
RELEVANT_SHARE = 0.05


class Verdict(StrEnum):
    NO_HOLDOUT = "no_holdout"  #: nobody was held out, or nobody was sent anything: nothing can be said
    NOT_ENOUGH = "not_enough"  #: not enough data yet
    MORE = "more"  #: the campaign brought more
    LESS = "less"  #: the campaign brought less
    SAME = "same"  #: whatever it changed is small


def judge(effect: Effect, interval: tuple[float, float] | None) -> Verdict:
    """What an effect and its interval say.

    There is not enough data while a group has fewer than :data:`LEAST_SHOPPERS`, fewer than :data:`LEAST_ACTIVE`
    shoppers did anything, the estimate is skewed more than :data:`MOST_SKEWNESS`, or the interval holds both no effect
    and one that matters: a :data:`RELEVANT_SHARE` of the held-out shoppers' mean.

    Args:
        interval: of the effect, in its units: :meth:`Effect.interval` when it is looked at once, or
            :func:`confidence_sequence`.
    """
    if not effect.treated or not effect.held_out:
        return Verdict.NO_HOLDOUT
    if interval is None or effect.skewness is None or effect.held_out_mean is None:
        return Verdict.NOT_ENOUGH
    if (
        min(effect.treated, effect.held_out) < LEAST_SHOPPERS
        or effect.active < LEAST_ACTIVE
        or abs(effect.skewness) > MOST_SKEWNESS
    ):
        return Verdict.NOT_ENOUGH
    low, high = interval
    if low > 0:
        return Verdict.MORE
    if high < 0:
        return Verdict.LESS
    relevant = RELEVANT_SHARE * abs(effect.held_out_mean)
    return Verdict.SAME if -relevant <= low and high <= relevant else Verdict.NOT_ENOUGH
