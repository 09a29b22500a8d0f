"""The prices at which what is limited is asked for about as often as it is there: the minimum of the Lagrangian dual.

For prices λ ≥ 0 of the limits b the dual is D(λ) = max over lists x of v·x - λ·(Ax - b), where the maximum falls apart
into one of each shopper. It is convex, its subgradient is what is left, b - Ax, and no lists that keep the limits are
worth more than any D(λ). With very many shoppers it is all but smooth, so it is minimised by L-BFGS-B (Byrd, Lu,
Nocedal and Zhu 1995): on a sample of the shoppers first, where a step costs little, then on all of them. The prices
with the least value that was found are the result, so that no step can do harm.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.optimize import minimize

from recommender.ml.allocation.candidates import Candidates, Prices, Source, Totals, mix, total_chosen
from recommender.ml.allocation.terms import MICRO, NO_LIMIT, Resource, Terms
from recommender.progress import Progress
from recommender.sentences import say

SAMPLE_PAIRS = 250_000
SAMPLE_STEPS = 120
#: Passes over everything, where it is more than the sample.
PASSES = 8
#: The steps end when the dual falls by less than this share in one of them.
TOLERANCE = 1e-9
#: So steep is what is minimised that the first step goes its full length, however near the minimum it begins.
STEEP = 1e6
_HALF = np.uint64(1)


@dataclass
class Sample:
    """The candidates of some shoppers, or of all.

    Attributes:
        candidates: None where there are none at all.
        share: of the shoppers.
        shoppers, pairs: of everything.
    """

    candidates: Candidates | None
    share: float
    shoppers: int
    pairs: int


def draw_sample(source: Source, progress: Progress) -> Sample:
    """About as many pairs as fit into memory well: of all shoppers, or of those whose digest is below a bound.

    The bound is halved whenever there are too many, so it depends on the shoppers and not on their order.
    """
    bound = np.uint64(2**64 - 1)
    kept: list[Candidates] = []
    shoppers = pairs = sampled = 0
    for candidates in source():
        shoppers += len(candidates.shopper)
        pairs += len(candidates)
        part = candidates.of_rows(mix(candidates.shopper) <= bound)
        if len(part):
            kept.append(part)
            sampled += len(part)
        while sampled > SAMPLE_PAIRS and sum(len(part.shopper) for part in kept) > 1:
            bound = bound >> _HALF
            kept = [part.of_rows(mix(part.shopper) <= bound) for part in kept]
            kept = [part for part in kept if len(part)]
            sampled = sum(map(len, kept))
        progress.report(say("Reading candidates"), pairs)
    if not kept:
        return Sample(None, 1.0, shoppers, pairs)
    candidates = Candidates.together(kept)
    return Sample(candidates, len(candidates.shopper) / shoppers, shoppers, pairs)


class Dual:
    """The dual over the prices of the limits there are, each in the unit in which its limit is 1 and the value that
    would be chosen at no price is 1.

    Args:
        terms: the limits.
        value: what would be chosen at no price, in millionths.
        cost_price: what a unit of cost is charged besides, whatever the limits.
    """

    def __init__(self, terms: Terms, value: int, *, cost_price: float = 0.0) -> None:
        self.terms, self.cost_price = terms, cost_price
        self._value = float(max(value, 1))
        self._overall = [(resource, terms.limits[resource]) for resource in Resource if resource in terms.limits]
        self._coupon = np.nonzero(terms.limits_at != NO_LIMIT)
        self._of_coupons = terms.limits_at[self._coupon]
        self._limits = np.array(
            [
                *(limit for _resource, limit in self._overall),
                *self._of_coupons,
                *([0] if terms.required_return is not None else []),
                *(-floor.at_least for floor in terms.floors),
            ],
            dtype=np.float64,
        )
        self._units = np.where(self._limits == 0, self._value, np.abs(self._limits))
        self._units[self._limits == 0] = self._value
        #: The least dual value found, in millionths, the prices it was found at, and how many times it was computed.
        self.least = np.inf
        self.best: np.ndarray = np.zeros(len(self._limits))
        self.computed = 0

    def __len__(self) -> int:
        return len(self._limits)

    def prices(self, scaled: np.ndarray) -> Prices:
        """The prices of a point."""
        raw = np.maximum(scaled, 0.0) * self._value / self._units
        prices = Prices.free(self.terms)
        at = len(self._overall)
        for (resource, _limit), price in zip(self._overall, raw[:at], strict=True):
            prices.overall[resource] = price
        prices.overall[Resource.COST] += self.cost_price
        prices.coupon[self._coupon] = raw[at : at + len(self._of_coupons)]
        at += len(self._of_coupons)
        if self.terms.required_return is not None:
            prices.required_return = float(raw[at])
            at += 1
        prices.floors = raw[at:]
        return prices

    def taken(self, totals: Totals) -> np.ndarray:
        """What is taken of each limit."""
        taken = [
            *(totals.amounts[resource] for resource, _limit in self._overall),
            *totals.of_coupons[self._coupon],
        ]
        if self.terms.return_micro is not None:
            owed = self.terms.return_micro * totals.amounts[Resource.COST] - MICRO * totals.value
            taken.append(owed / MICRO)
        taken += [-amount for amount in totals.floors]
        return np.array([float(amount) for amount in taken])

    def compute(self, scaled: np.ndarray, totals: Totals, share: float) -> tuple[float, np.ndarray]:
        """The dual and its subgradient where the limits are of a share of the whole, in the units of the point."""
        left = share * self._limits - self.taken(totals)
        return self.value_of(scaled, totals, share) / (share * self._value), left / (share * self._units)

    def value_of(self, scaled: np.ndarray, totals: Totals, share: float = 1.0) -> float:
        """The dual in millionths, given what is chosen at the prices of a point."""
        left = share * self._limits - self.taken(totals)
        raw = np.maximum(scaled, 0.0) * self._value / self._units
        # A chosen pair's chance is less than a millionth: without it the bound would not quite be one.
        chosen = totals.value + totals.amounts[Resource.OFFERS] - self.cost_price * totals.amounts[Resource.COST]
        return chosen + float(raw @ left)

    def minimise(
        self, source: Source, *, share: float, steps: int, progress: Progress, message: str, stride: float | None = None
    ) -> None:
        """Go down from the best point so far.

        Args:
            source: the candidates, of a share of the shoppers.
            steps: how many times they are read at most, or a few times more.
            stride: how far the first step goes, in the units of the point; None: as far as it is steep.
        """
        self.least, done = np.inf, 0
        best, steep = self.best, 1.0 if stride is None else STEEP
        stride = 1.0 if stride is None else stride

        def objective(strides: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal done
            scaled = strides * stride
            progress.report(message, done, steps)
            done += 1
            self.computed += 1
            dual, slope = self.compute(scaled, total_chosen(source, self.terms, self.prices(scaled)), share)
            if dual * self._value < self.least:
                self.least, self.best = dual * self._value, scaled.copy()
            return steep * dual, steep * slope * stride

        minimize(
            objective,
            best / stride,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * len(self),
            options={"maxfun": steps, "maxiter": steps, "ftol": TOLERANCE, "gtol": 1e-6 * steep, "maxcor": 20},
        )


def find_prices(source: Source, sampled: Source, sample: Sample, terms: Terms, progress: Progress) -> Dual:
    """The dual at the least value that was found of it: of everything, on which the last steps are made.

    Args:
        source: all candidates.
        sampled: those of the sample.
    """
    at_no_price = total_chosen(sampled, terms, Prices.free(terms)).value
    dual = Dual(terms, round(at_no_price / sample.share))
    if len(dual):
        dual.minimise(sampled, share=sample.share, steps=SAMPLE_STEPS, progress=progress, message=say("Finding prices"))
        if sample.share < 1:
            # The prices of a sample are off by about so much, and a step much longer would be lost.
            stride = max(float(np.linalg.norm(dual.best)), 0.01) / sqrt(sample.share * sample.shoppers)
            dual.minimise(
                source,
                share=1.0,
                steps=PASSES,
                progress=progress,
                message=say("Finding prices on everything"),
                stride=stride,
            )
    return dual
