"""A made-up shop in which who is likely to use a coupon is not who is changed by it, and both are known."""

from dataclasses import dataclass

import numpy as np

#: What a purchase brings before the coupon, and what a use takes off.
MARGIN, DISCOUNT = 10.0, 4.0


@dataclass(frozen=True)
class Drawn:
    """Shoppers of a campaign.

    Attributes:
        X: (n, 4) loyalty, curiosity, and two features that say nothing.
        treated: (n,)
        bought: (n,) 0 or 1.
        used: (n,) whether the treated used the coupon: who buys while treated does.
        margin: (n,) of the purchase, less what the coupon took off.
        likelihood: (n,) the chance that a treated shopper uses the coupon.
        incremental_margin: (n,) what being sent it changes on average; below 0 for those who would buy anyway.
        incremental_purchases: (n,)
    """

    X: np.ndarray
    treated: np.ndarray
    bought: np.ndarray
    used: np.ndarray
    margin: np.ndarray
    likelihood: np.ndarray
    incremental_margin: np.ndarray
    incremental_purchases: np.ndarray


def draw_shoppers(shoppers: int, random: np.random.Generator, *, treated_share: float = 0.8) -> Drawn:
    """The loyal buy anyway; the curious buy if they are sent a coupon; most do neither."""
    X = random.normal(size=(shoppers, 4))
    loyalty, curiosity = X[:, 0], X[:, 1]
    without = 0.05 + 0.6 / (1 + np.exp(-3 * (loyalty - 0.8)))
    change = 0.25 / (1 + np.exp(-3 * (curiosity - 0.5))) * (1 - without)
    with_coupon = without + change
    treated = random.random(shoppers) < treated_share
    bought = (random.random(shoppers) < np.where(treated, with_coupon, without)).astype(float)
    used = bought * treated
    return Drawn(
        X=X,
        treated=treated,
        bought=bought,
        used=used,
        margin=MARGIN * bought - DISCOUNT * used,
        likelihood=with_coupon,
        incremental_margin=MARGIN * change - DISCOUNT * with_coupon,
        incremental_purchases=change,
    )
