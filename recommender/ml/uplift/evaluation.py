"""How well an order of shoppers puts first those whom the campaign changes: Qini and AUUC, with bootstrap intervals.

Shoppers are taken from the highest score down. Of the first φ of them, R₁(φ) is the outcome of the treated and N₁(φ)
their number, R₀(φ) and N₀(φ) those of the held out. The Qini curve (Radcliffe 2007) is (R₁ - R₀ N₁ / N₀) / N₁(1): what
sending to the first φ alone brings, for each treated shopper. The uplift curve (Rzepakowski and Jaroszewicz 2012) is
(R₁ / N₁ - R₀ / N₀) φ. An area is that under the curve for φ from 0 to 1; of the Qini curve the triangle under the
straight line to its end is taken off, which is what a random order comes to.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recommender.ml.evaluation.bootstrap import Estimate, draw_weights, estimate
from recommender.ml.evaluation.ratio import ratio
from recommender.ml.incrementality.outcomes import check_groups
from recommender.ml.uplift.contract import check_randomised

RESAMPLES = 1_000
#: Points of the curves between the first and the last; equal scores are never parted.
POINTS = 200


@dataclass(frozen=True)
class UpliftFigures:
    """
    Attributes:
        qini: area between the Qini curve and the straight line, for each treated shopper; above 0 is better than a
            random order.
        auuc: area under the uplift curve, for each shopper.
        effect: of sending to all, for each shopper.
        share: (points,) of shoppers, from 0 to 1.
        qini_curve: (points,) what sending to these alone brings, for each treated shopper.
    """

    qini: Estimate
    auuc: Estimate
    effect: Estimate
    share: np.ndarray
    qini_curve: np.ndarray


def evaluate_uplift(
    score: np.ndarray,
    treated: np.ndarray,
    outcome: np.ndarray,
    *,
    propensity: float,
    resamples: int = RESAMPLES,
    seed: int,
) -> UpliftFigures:
    """Figures of an order, on shoppers who taught it nothing: those of a later campaign.

    Args:
        score: (n,) the higher, the earlier.
        treated: (n,) whether the shopper was sent the campaign.
        outcome: (n,) a row a shopper.
        propensity: the chance with which it was sent, one for all: where chances differ, an order that knows them would
            look good.

    Raises:
        NotRandomised: see :func:`check_randomised`.
        ValueError: the lengths differ or a value is not finite.
    """
    outcome = np.asarray(outcome, dtype=np.float64)
    treated = check_groups(treated, score, outcome)
    check_randomised(treated, propensity)
    curves = _Curves(_places(np.asarray(score, dtype=np.float64)), treated, outcome)
    whole = curves.measure(np.ones((len(outcome), 1)))
    draws = [curves.measure(weights)[:3] for weights in draw_weights(len(outcome), resamples=resamples, seed=seed)]
    qini, auuc, effect = (
        estimate(float(whole[figure][0]), np.concatenate([draw[figure] for draw in draws])) for figure in range(3)
    )
    return UpliftFigures(qini, auuc, effect, share=whole[3][:, 0], qini_curve=whole[4][:, 0])


def _places(score: np.ndarray) -> np.ndarray:
    """(n,): at which point of the curves a shopper is in, the highest scores at 0; equal scores at one point."""
    cuts = np.unique(np.quantile(-score, np.linspace(0, 1, POINTS + 1)[1:], method="inverted_cdf"))
    return np.searchsorted(cuts, -score, side="left")


class _Curves:
    """The outcomes at each point of the curves, added up once for each resample."""

    def __init__(self, place: np.ndarray, treated: np.ndarray, outcome: np.ndarray) -> None:
        points, shoppers = int(place.max()) + 1, np.arange(len(place))

        def sums(of: np.ndarray, values: np.ndarray) -> sparse.csr_array:
            return sparse.csr_array((values, (place[of] + 1, shoppers[of])), shape=(points + 1, len(place)))

        self._treated_count, self._treated_sum = sums(treated, np.ones(treated.sum())), sums(treated, outcome[treated])
        self._held_out_count = sums(~treated, np.ones((~treated).sum()))
        self._held_out_sum = sums(~treated, outcome[~treated])

    def measure(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Qini, AUUC and effect (resamples,), and the curve's shares and values (points, resamples)."""
        treated_count, treated_sum, held_out_count, held_out_sum = (
            np.cumsum(sums @ weights, axis=0)
            for sums in (self._treated_count, self._treated_sum, self._held_out_count, self._held_out_sum)
        )
        share = (treated_count + held_out_count) / (treated_count[-1] + held_out_count[-1])
        # Before anybody was held out there is nothing to compare with, and nothing is claimed.
        held_out_mean = ratio(held_out_sum, held_out_count)
        difference = ratio(treated_sum, treated_count) - held_out_mean
        qini_curve = np.nan_to_num(treated_sum - held_out_mean * treated_count) / treated_count[-1]
        qini = np.trapezoid(qini_curve, share, axis=0) - qini_curve[-1] / 2
        auuc = np.trapezoid(np.nan_to_num(difference) * share, share, axis=0)
        return qini, auuc, difference[-1], share, qini_curve
