"""Lists of coupons within limits: who gets what, so that all of it brings the most."""

from dataclasses import dataclass

import numpy as np

from recommender.ml.allocation.candidates import Candidates, Prices, Totals, source_of
from recommender.ml.allocation.exact import solve_exactly
from recommender.ml.allocation.filling import Filling
from recommender.ml.allocation.prices import draw_sample, find_prices
from recommender.ml.allocation.repair import Chosen, choose, drop
from recommender.ml.allocation.terms import NO_LIMIT, Blocks, Resource, Terms
from recommender.progress import Progress

#: Up to so many candidates are also given to an exact solver, and the better lists are taken.
EXACT_PAIRS = 1_000


@dataclass(frozen=True)
class Allocation:
    """Who gets what.

    Attributes:
        shopper, coupon: (n,) int64, by shopper and, of a shopper, by value, the greatest first.
        value, cost, uses: (n,) int64, in millionths.
        bound: no lists that keep the terms are worth more, in millionths.
        prices: by which the lists were made.
        shortages: what each floor lacks.
        coupon_price: (3, coupons) what a unit of each resource of each coupon costs in units of value.
    """

    shopper: np.ndarray
    coupon: np.ndarray
    value: np.ndarray
    cost: np.ndarray
    uses: np.ndarray
    bound: int
    prices: Prices
    shortages: list[int]

    @property
    def share_of_bound(self) -> float:
        """At least so large a share of what is possible the lists are worth; 1 where nothing is."""
        return float(int(self.value.sum()) / self.bound) if self.bound > 0 else 1.0


def allocate(
    blocks: Blocks, terms: Terms, *, exact_pairs: int = EXACT_PAIRS, progress: Progress = Progress()
) -> Allocation:
    """The lists within the terms that are worth about the most.

    Costs, uses and offers never exceed their limits, counted in whole millionths. The blocks are read a dozen
    times or two; memory holds a block, the sample of :mod:`prices`, and the lists.

    Args:
        blocks: gives the candidates, the same ones each time.
        exact_pairs: up to so many candidates an exact solver is asked too.

    Raises:
        ValueError: a block is not as :class:`CandidateBlock` says, or a shopper is in two of them.
    """
    source = source_of(blocks, terms)
    sample = draw_sample(source, progress)
    if sample.candidates is None:
        return _write(Chosen.none(), terms, 0, Prices.free(terms))
    is_all = len(sample.candidates) == sample.pairs
    in_memory = [sample.candidates]
    if is_all:
        source = lambda: in_memory  # noqa: E731
    dual = find_prices(source, lambda: in_memory, sample, terms, progress)
    prices = dual.prices(dual.best)
    chosen = choose(source, prices, progress)
    bound = int(chosen.value.sum()) if not len(dual) else int(dual.least)
    filling = Filling(drop(chosen, terms), terms, prices)
    filling.fill(source, progress)
    lists = filling.finish()
    if is_all and len(sample.candidates) <= exact_pairs:
        lists = _better(lists, _exact(sample.candidates, prices), terms)
    return _write(lists, terms, bound, prices)


def _exact(candidates: Candidates, prices: Prices) -> Chosen:
    adjusted = candidates.adjusted(prices)
    chosen = solve_exactly(candidates)
    return drop(Chosen.of(candidates, chosen, adjusted), candidates.terms)


def _better(one: Chosen, other: Chosen, terms: Terms) -> Chosen:
    """The lists with the smaller shortages, or else the greater value; the first of equals."""

    def rank(chosen: Chosen) -> tuple[float, int]:
        totals = chosen.totals(terms)
        short = sum(
            max(0.0, 1 - taken / floor.at_least)
            for floor, taken in zip(terms.floors, totals.floors, strict=True)
            if floor.at_least
        )
        return short, -totals.value

    return min(one, other, key=rank)


def _write(chosen: Chosen, terms: Terms, bound: int, prices: Prices) -> Allocation:
    totals = chosen.totals(terms)
    _check(totals, terms)
    order = np.lexsort((chosen.place, -chosen.value, chosen.shopper))
    return Allocation(
        shopper=chosen.shopper[order],
        coupon=terms.order[chosen.place[order]],
        value=chosen.value[order],
        cost=chosen.amounts[Resource.COST][order],
        uses=chosen.amounts[Resource.USES][order],
        bound=bound,
        prices=prices,
        shortages=[max(0, floor.at_least - taken) for floor, taken in zip(terms.floors, totals.floors, strict=True)],
    )


def _check(totals: Totals, terms: Terms) -> None:
    """The last word: nothing leaves that exceeds a limit."""
    for resource in Resource:
        if totals.amounts[resource] > terms.limits.get(resource, totals.amounts[resource]):
            raise AssertionError(f"The limit of {resource.name.lower()} is exceeded.")
        limits = terms.limits_at[resource]
        if ((limits != NO_LIMIT) & (totals.of_coupons[resource] > limits)).any():
            raise AssertionError(f"A coupon's limit of {resource.name.lower()} is exceeded.")
