"""Whether as many shoppers are in each group as were to be: where not, the groups are not comparable.

Sample-ratio mismatch comes of shoppers who were lost from one group only, or who passed from one to the other (Fabijan
et al. 2019, *Diagnosing sample ratio mismatch in online controlled experiments*). No effect is to be believed then.
"""

from dataclasses import dataclass

from scipy import stats

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
