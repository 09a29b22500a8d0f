"""The curve of a run within a budget, as its pages read it: what each budget would bring."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, inf, log10

from recommender.models import Run

#: About so many budgets are shown, in round numbers.
STEPS = 40


@dataclass(frozen=True)
class AtBudget:
    """What a budget would bring.

    Attributes:
        value: of the objective; no lists within the budget bring more.
        marginal_return: how much more of the objective one unit of money more brings; 0 where more brings nothing.
        uses, offers: expected uses, and recommendations.
    """

    budget: float
    value: float
    marginal_return: float
    uses: float
    offers: float


@dataclass(frozen=True)
class SpendCurve:
    """Points of the curve, in units of the currency and of the objective, by ascending cost. See
    :class:`recommender.ml.allocation.Curve`, whose figures these are.

    Attributes:
        required_return: what all lists together are to bring at least for each unit of money; None if nothing is
            required. The figures are those without it.
    """

    marginal_return: Sequence[float]
    cost: Sequence[float]
    value: Sequence[float]
    intercept: Sequence[float]
    uses: Sequence[float]
    offers: Sequence[float]
    required_return: float | None = None

    @classmethod
    def of(cls, run: Run) -> "SpendCurve | None":
        """That of a run; None where there is none, or nothing to spend on."""
        if not run.spend_curve:
            return None
        required = None if run.required_return is None else float(run.required_return)
        curve = cls(**run.spend_curve, required_return=required)
        return curve if curve.worth_spending > 0 else None

    @property
    def worth_spending(self) -> float:
        """Beyond this, more money brings nothing, or less than what is required of it."""
        return min(self._brings_something, self._keeps_return)

    @property
    def is_ended_by_return(self) -> bool:
        """Whether more money would bring something, but what is required could not be kept."""
        return self._keeps_return < self._brings_something

    @property
    def _brings_something(self) -> float:
        return max((cost for cost, rate in zip(self.cost, self.marginal_return, strict=True) if rate > 0), default=0.0)

    @property
    def _keeps_return(self) -> float:
        """The average return of a concave curve only falls: where each of its lines falls below what is required."""
        required = self.required_return or 0.0
        lines = zip(self.intercept, self.marginal_return, strict=True)
        return min((start / (required - rate) for start, rate in lines if rate < required), default=inf)

    def at(self, budget: float) -> AtBudget:
        """What a budget from 0 up would bring."""
        spent = min(budget, self._keeps_return)
        values = [start + rate * spent for start, rate in zip(self.intercept, self.marginal_return, strict=True)]
        least = min(range(len(values)), key=values.__getitem__)
        return AtBudget(
            budget=budget,
            value=max(0.0, values[least]),
            marginal_return=0.0 if budget >= self.worth_spending else self.marginal_return[least],
            uses=self._between(self.uses, spent),
            offers=self._between(self.offers, spent),
        )

    def list_budgets(self, own: float | None = None) -> list[AtBudget]:
        """Budgets in round steps up to where more brings nothing, and a run's own, ascending."""
        step = _round_step(self.worth_spending / STEPS)
        budgets = {round(number * step, 6) for number in range(1, ceil(self.worth_spending / step - 1e-9) + 1)}
        if own:
            budgets.add(own)
        return [self.at(budget) for budget in sorted(budgets)]

    def _between(self, figures: Sequence[float], budget: float) -> float:
        """A figure at a budget, on the line between the points beside it."""
        if budget >= self.cost[-1]:
            return figures[-1]
        costs, figures = [0.0, *self.cost], [0.0, *figures]
        after = max(1, bisect_left(costs, budget))
        (low, high), (begin, end) = list(pairwise(costs))[after - 1], list(pairwise(figures))[after - 1]
        return end if high <= low else begin + (end - begin) * (budget - low) / (high - low)


def _round_step(step: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that is no less, and at least a hundredth."""
    scale: float = 10 ** floor(log10(step))
    return max(0.01, next(round(each * scale, 10) for each in (1, 2, 5, 10) if each * scale >= step * (1 - 1e-9)))
