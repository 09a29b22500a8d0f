"""Whether as many shoppers are in each group as were to be: where not, the groups are not comparable.

Sample-ratio mismatch comes of shoppers who were lost from one group only, or who passed from one to the other (Fabijan
et al. 2019, *Diagnosing sample ratio mismatch in online controlled experiments*). No effect is to be believed then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

#: How often a sound campaign is warned about. Small, for a warning says that nothing may be believed.
FALSE_ALARMS = 0.001


@dataclass(frozen=True)
class SampleRatio:
    """
    Attributes:
        treated, held_out: shoppers in each group.
        expected_share: of them that was to be held out.
        p_value: how often a sound draw is as far off, by the exact binomial test; 1 without shoppers.
    """

    treated: int
    held_out: int
    expected_share: float
    p_value: float

    @property
    def mismatch(self) -> bool:
        return self.p_value < FALSE_ALARMS


def check_sample_ratio(*, treated: int, held_out: int, expected_share: float) -> SampleRatio:
    """Test the sizes of the groups against the share that was to be held out.

    Raises:
        ValueError: a size is below 0, or the share is not between 0 and 1.
    """
    if treated < 0 or held_out < 0:
        raise ValueError(f"{treated} treated and {held_out} held out; expected 0 or more.")
    if not 0 < expected_share < 1:
        raise ValueError(f"A share of {expected_share} was to be held out; expected more than 0 and less than 1.")
    shoppers = treated + held_out
    p_value = float(stats.binomtest(held_out, shoppers, expected_share).pvalue) if shoppers else 1.0
    return SampleRatio(treated, held_out, expected_share, p_value)


#: How much the prior of :func:`check_shares` weighs, in shoppers: it looks for shares that are off by some percentage
#: points, which a hundred shoppers leave open.
PRIOR_SHOPPERS = 100.0


def check_shares(counts: Sequence[int], shares: Sequence[float]) -> float:
    """Test how many shoppers came to each of several arms against their shares, at as many looks as anybody likes.

    It is one over the Bayes factor of a Dirichlet prior around the shares against the shares themselves (Lindon and
    Malek 2022, *Anytime-valid inference for multinomial count data*). Where the shares are kept the factor is a
    martingale from 1, so that by Ville's inequality it ever exceeds 1,000 in fewer than 1 of 1,000 experiments.

    Args:
        counts: shoppers of each arm so far.
        shares: of each arm; above 0, and 1 in all.

    Returns:
        A p-value that holds at all looks together; 1 without shoppers.

    Raises:
        ValueError: a count is below 0, the shares are none, or they are not as many.
    """
    found, expected = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    if found.shape != expected.shape or len(found) < 2 or found.min() < 0:
        raise ValueError(f"{list(counts)} shoppers in arms with shares {list(shares)}; expected as many, 0 or more.")
    if expected.min() <= 0 or abs(expected.sum() - 1) > 1e-9:
        raise ValueError(f"Shares of {list(shares)}; expected each above 0, and 1 in all.")
    prior = PRIOR_SHOPPERS * expected
    evidence = (
        special.gammaln(prior.sum())
        - special.gammaln(prior.sum() + found.sum())
        + (special.gammaln(prior + found) - special.gammaln(prior)).sum()
        - (found * np.log(expected)).sum()
    )
    return float(min(1.0, np.exp(-evidence)))
