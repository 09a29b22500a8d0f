"""The effect of a campaign on a shopper, and how sure it is.

The difference in means is unbiased because a shopper's group was drawn (Neyman 1923). CUPED (Deng, Xu, Kohavi and
Walker 2013) takes off what was known of the shoppers before: it stays unbiased but for terms of the order 1/n, and is
the surer the better the past tells the outcome.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from recommender.ml.incrementality.outcomes import check_groups

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Effect:
    """What being sent the campaign changed, in units of the outcome for each shopper.

    Attributes:
        value: mean of the treated less mean of the held out, adjusted by what was known before if that was given; None
            where a group has fewer than two shoppers.
        standard_error: of ``value``; None with it.
        degrees_of_freedom: of the t distribution (Welch and Satterthwaite); None with it.
        skewness: of the sampling distribution of ``value``; None with it, 0 where the standard error is 0.
        treated, held_out: shoppers in each group.
        active: shoppers of both groups whose outcome is not 0.
        treated_mean, held_out_mean: before any adjustment; None for an empty group.
    """

    value: float | None
    standard_error: float | None
    degrees_of_freedom: float | None
    skewness: float | None
    treated: int
    held_out: int
    active: int
    treated_mean: float | None
    held_out_mean: float | None

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Holds the true effect in this share of campaigns, when it is looked at once. None where nothing is known."""
        if self.value is None or self.standard_error is None or self.degrees_of_freedom is None:
            return None
        radius = float(stdtrit(self.degrees_of_freedom, (1 + confidence) / 2)) * self.standard_error
        return self.value - radius, self.value + radius

    def times(self, number: float) -> "Effect":
        """The same in other units: times the treated shoppers it is what the campaign changed in all.

        Raises:
            ValueError: the number is below 0.
        """
        if number < 0:
            raise ValueError(f"An effect is not taken {number} times; expected 0 or more.")

        def scaled(value: float | None) -> float | None:
            return None if value is None else value * number

        return Effect(
            value=scaled(self.value),
            standard_error=scaled(self.standard_error),
            degrees_of_freedom=self.degrees_of_freedom,
            skewness=self.skewness,
            treated=self.treated,
            held_out=self.held_out,
            active=self.active,
            treated_mean=scaled(self.treated_mean),
            held_out_mean=scaled(self.held_out_mean),
        )


def measure_effect(treated: np.ndarray, outcome: np.ndarray, before: np.ndarray | None = None) -> Effect:
    """The effect by the difference in means, or by CUPED if ``before`` is given.

    Args:
        treated: (n,) whether the shopper was sent the campaign; the others were held out.
        outcome: (n,) a row a shopper, see :func:`sum_by_shopper`.
        before: (n,) or (n, k) what was known of the shoppers before the campaign, such as what they spent. Nothing of
            it may come of the campaign.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    outcome = np.asarray(outcome, dtype=np.float64)
    covariates = np.empty((len(outcome), 0)) if before is None else np.asarray(before, dtype=np.float64)
    covariates = covariates if covariates.ndim > 1 else covariates[:, None]
    treated = check_groups(treated, outcome, covariates)
    sizes = int(treated.sum()), int((~treated).sum())
    active = int(np.count_nonzero(outcome))
    means = tuple(
        float(outcome[group].mean()) if size else None for group, size in zip((treated, ~treated), sizes, strict=True)
    )
    if min(sizes) < 2:
        return Effect(None, None, None, None, *sizes, active, *means)
    covariates = _usable(covariates, len(outcome))
    adjusted = outcome - covariates @ _slopes(treated, outcome, covariates)
    # What a slope takes is a degree of freedom, of both groups together.
    lost = (len(outcome) - 2) / max(len(outcome) - 2 - covariates.shape[1], 1)
    # A group in which all are alike, such as one in which nobody did anything, is not known to be so for ever: it
    # varies as if one shopper had done what is usual, in the manner of Agresti and Caffo (2000), who add a success.
    usual = float(np.abs(outcome).sum() / active) if active else 0.0
    variances, thirds = [], []
    for group, size in zip((treated, ~treated), sizes, strict=True):
        deviations = adjusted[group] - adjusted[group].mean()
        variance = float((deviations**2).sum()) / (size - 1) * lost
        if np.ptp(outcome[group]) == 0:
            variance += usual**2 / size
        variances.append(variance / size)
        thirds.append(float((deviations**3).mean()) / size**2)
    variance = sum(variances)
    value = float(adjusted[treated].mean() - adjusted[~treated].mean())
    if variance == 0:
        return Effect(value, 0.0, float(len(outcome) - 2), 0.0, *sizes, active, *means)
    freedom = variance**2 / sum(part**2 / (size - 1) for part, size in zip(variances, sizes, strict=True))
    skewness = (thirds[0] - thirds[1]) / variance**1.5
    return Effect(value, float(np.sqrt(variance)), float(freedom), skewness, *sizes, active, *means)


def _usable(covariates: np.ndarray, size: int) -> np.ndarray:
    """The columns that tell shoppers apart, each in its standard deviations; none where shoppers are few for them."""
    if size <= 4 * (covariates.shape[1] + 2):
        return covariates[:, :0]
    scale = covariates.std(axis=0)
    centred = covariates - covariates.mean(axis=0)
    # What rounding leaves of a constant tells nobody apart.
    varies = scale > 1e-9 * np.abs(covariates).max(axis=0, initial=0)
    return centred[:, varies] / scale[varies]


def _slopes(treated: np.ndarray, outcome: np.ndarray, covariates: np.ndarray) -> np.ndarray:
    """(k,): what makes the variance of the difference least.

    With groups of different sizes that is not the slope of all shoppers together: the smaller group, which is the less
    sure one, has the greater say (Lin 2013).
    """
    if not covariates.shape[1]:
        return np.empty(0)
    squares, products = 0.0, 0.0
    for group in (treated, ~treated):
        size = int(group.sum())
        deviations = covariates[group] - covariates[group].mean(axis=0)
        share = 1 / (size * (size - 1))
        squares = squares + share * (deviations.T @ deviations)
        products = products + share * (deviations.T @ (outcome[group] - outcome[group].mean()))
    return np.linalg.lstsq(np.asarray(squares), np.asarray(products), rcond=None)[0]
