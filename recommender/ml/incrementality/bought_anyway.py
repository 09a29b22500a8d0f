"""The money that went to people who would have bought anyway.

A use of a coupon in a purchase that the campaign brought about is what the money is for. The uses of the treated less
the purchases that are theirs because of the campaign are uses by people who would have bought anyway.
"""

from dataclasses import dataclass

import numpy as np

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.incrementality.confidence_sequences import confidence_sequence
from recommender.ml.incrementality.effects import Effect, measure_effect
from recommender.ml.incrementality.outcomes import check_groups


@dataclass(frozen=True)
class BoughtAnyway:
    """
    Attributes:
        uses: how often the treated used the campaign's coupons.
        discount: what that took off.
        uses_anyway: how many of these uses are of purchases that would have been made without the campaign, within 0
            and all of them, with a 95 % interval.
        discount_anyway: what these took off.
    """

    uses: float
    discount: float
    uses_anyway: Estimate
    discount_anyway: Estimate


def measure_bought_anyway(
    treated: np.ndarray,
    *,
    uses: np.ndarray,
    discount: np.ndarray,
    purchases: np.ndarray,
    before: np.ndarray | None = None,
    share_seen: float | None = None,
) -> BoughtAnyway:
    """Uses of the treated less the purchases that the campaign brought about, as a number and as money.

    Args:
        treated: (n,) whether the shopper was sent the campaign.
        uses: (n,) how often the shopper used the campaign's coupons; what the held out did of it is left out.
        discount: (n,) what these uses took off.
        purchases: (n,) how often the shopper bought what the coupons are for, with a coupon or without.
        before: (n,) or (n, k) what was known before, for CUPED.
        share_seen: if given, intervals hold at all looks together, see :func:`confidence_sequence`; else at one look.

    Each use is taken to have cost what a use costs on average.

    Raises:
        ValueError: the lengths differ, or a value is not finite.
    """
    treated = check_groups(treated, uses, discount, purchases)
    uses, discount = np.where(treated, uses, 0.0), np.where(treated, discount, 0.0)
    number, all_uses, all_discount = int(treated.sum()), float(uses.sum()), float(discount.sum())
    if not all_uses:
        nothing = Estimate(0.0, 0.0, 0.0)
        return BoughtAnyway(0.0, all_discount, nothing, nothing)
    # Held-out shoppers have no uses: the effect on uses less purchases is uses less incremental purchases.
    anyway = measure_effect(treated, uses - purchases, before).times(number)
    # Money is what a use costs × uses anyway, a ratio: the delta method, by the outcome that it is the mean of.
    per_use = all_discount / all_uses
    of_uses = _mean_effect(treated, purchases, before) / (all_uses / number)
    linear = discount - per_use * purchases - of_uses * (discount - per_use * uses)
    money = measure_effect(treated, linear, before).times(number)
    return BoughtAnyway(
        uses=all_uses,
        discount=all_discount,
        uses_anyway=_within(anyway, share_seen, all_uses),
        discount_anyway=_within(money, share_seen, all_discount),
    )


def _mean_effect(treated: np.ndarray, outcome: np.ndarray, before: np.ndarray | None) -> float:
    return measure_effect(treated, outcome, before).value or 0.0


def _within(effect: Effect, share_seen: float | None, most: float) -> Estimate:
    interval = effect.interval() if share_seen is None else confidence_sequence(effect, share_seen)
    if effect.value is None or interval is None:
        return Estimate(None, None, None)
    value, low, high = (float(np.clip(each, 0.0, most)) for each in (effect.value, *interval))
    return Estimate(value, low, high)
