"""What spending more would bring: the value that lists reach at each budget, and what the last unit of it brings.

At a price π of the cost, D(π) = max of value - π · cost over lists that keep the other limits. No lists that spend B
bring more than D(π) + π B, whatever π (Everett 1963), so the least of these over a few prices is the curve: concave,
never below what is possible, and touching it where exactly B is spent at one of the prices, which there is the marginal
return.
"""

from dataclasses import dataclass, replace

import numpy as np

from recommender.ml.allocation.candidates import Candidates, Prices, Source, Totals, source_of, total_chosen
from recommender.ml.allocation.prices import Dual, draw_sample
from recommender.ml.allocation.terms import Blocks, Resource, Terms
from recommender.progress import Progress
from recommender.sentences import say

POINTS = 24
STEPS = 25
#: Of the least return of a pair that is worth it: a price at which all of them are bought, the cheaper of equals first.
ALMOST_NOTHING = 1e-3


@dataclass(frozen=True)
class Curve:
    """Value against spend, from nothing to where more money brings nothing.

    Attributes:
        marginal_return: (points,) descending to 0: what a unit of cost more brings there, in units of value.
        cost: (points,) ascending, in millionths.
        value: (points,) in millionths.
        uses: (points,) in millionths.
        offers: (points,).
        intercept: (points,) D of each marginal return, in millionths.
    """

    marginal_return: np.ndarray
    cost: np.ndarray
    value: np.ndarray
    uses: np.ndarray
    offers: np.ndarray
    intercept: np.ndarray

    def value_at(self, cost: float) -> float:
        """The value, in millionths, that so many millionths of cost bring; 0 where there is nothing to offer."""
        if not len(self.cost):
            return 0.0
        return float((self.intercept + self.marginal_return * max(cost, 0.0)).min())

    def marginal_return_at(self, cost: float) -> float:
        """What a unit of cost more brings there, in units of value."""
        if not len(self.cost):
            return 0.0
        return float(self.marginal_return[(self.intercept + self.marginal_return * max(cost, 0.0)).argmin()])

    def worth_spending(self, marginal_return: float = 0.0) -> float:
        """How many millionths may be spent until a unit more brings less than this: by default, until it brings
        nothing."""
        brings = self.marginal_return >= marginal_return if marginal_return > 0 else self.marginal_return > 0
        enough = self.cost[brings]
        return float(enough.max()) if len(enough) else 0.0

    def most_at_return(self, required: float) -> float:
        """How many millionths may be spent while the value of everything is so many times its cost."""
        if not len(self.cost):
            return 0.0
        low, high = 0.0, float(self.cost[-1])
        if self.value_at(high) >= required * high:
            return high
        while high - low > 1:  # the average return of a concave curve only falls
            middle = (low + high) / 2
            low, high = (middle, high) if self.value_at(middle) >= required * middle else (low, middle)
        return low


def draw_curve(blocks: Blocks, terms: Terms, *, points: int = POINTS, progress: Progress = Progress()) -> Curve:
    """The curve under all of the terms but the budget of the whole and the required return.

    The blocks are read twice: once for a sample, on which the prices of the other limits are found, and once for what
    is chosen at each point.

    Raises:
        ValueError: a block is not as :class:`CandidateBlock` says.
    """
    limits: dict[Resource, int] = dict(terms.limits)
    limits.pop(Resource.COST, None)
    terms = replace(terms, limits=limits, required_return=None)
    source = source_of(blocks, terms)
    sample = draw_sample(source, progress)
    if sample.candidates is None:
        return Curve(*(np.empty(0) for _field in range(6)))
    in_memory = [sample.candidates]
    returns = _returns(sample.candidates, points)
    at_no_price = total_chosen(lambda: in_memory, terms, Prices.free(terms)).value
    duals: list[Dual] = []
    for marginal_return in returns:
        dual = Dual(terms, round(at_no_price / sample.share), cost_price=float(marginal_return))
        if len(dual):
            if duals:
                dual.best = duals[-1].best
            dual.minimise(
                lambda: in_memory, share=sample.share, steps=STEPS, progress=progress, message=say("Finding prices")
            )
        duals.append(dual)
    totals = _total_each(source, terms, [dual.prices(dual.best) for dual in duals], progress)
    # Each of all that was read is a bound; what is spent need not ascend where prices are not quite right.
    intercept = np.array([dual.value_of(dual.best, total) for dual, total in zip(duals, totals, strict=True)])
    cost = np.maximum.accumulate([float(total.amounts[Resource.COST]) for total in totals])
    value = (intercept[:, None] + returns[:, None] * cost[None, :]).min(axis=0)
    return Curve(
        marginal_return=returns,
        cost=cost,
        value=value,
        uses=np.array([float(total.amounts[Resource.USES]) for total in totals]),
        offers=np.array([float(total.amounts[Resource.OFFERS]) for total in totals]),
        intercept=intercept,
    )


def _returns(candidates: Candidates, points: int) -> np.ndarray:
    """(points,): marginal returns, descending to 0, between which about as much is spent each."""
    chosen = candidates.choose(candidates.worth)
    cost, value = candidates.amounts[Resource.COST][chosen], candidates.value[chosen]
    costs = cost > 0
    rate = value[costs] / cost[costs]
    order = np.argsort(-rate, kind="stable")
    spent = np.cumsum(cost[costs][order]).astype(np.float64)
    if not len(spent):
        return np.zeros(1)
    wanted = np.arange(points - 1) / (points - 1) * spent[-1]
    at = np.minimum(np.searchsorted(spent, wanted), len(spent) - 1)
    return np.append(np.unique(rate[order][at])[::-1], [rate[order][-1] * ALMOST_NOTHING, 0.0])


def _total_each(source: Source, terms: Terms, prices: list[Prices], progress: Progress) -> list[Totals]:
    """What is chosen at each of several prices comes to."""
    totals, done = [Totals.none(terms) for _price in prices], 0
    for candidates in source():
        for total, price in zip(totals, prices, strict=True):
            total.add(candidates, candidates.choose(candidates.adjusted(price)))
        done += len(candidates)
        progress.report(say("Drawing the curve"), done)
    return totals
