"""Made-up shops of which it is known what a campaign changed."""

from dataclasses import dataclass

import numpy as np

#: What a basket comes to: skewed, as baskets are.
BASKET_MEAN, BASKET_SIGMA = 20.0, 0.8
MARGIN_SHARE = 0.3
DISCOUNT = 3.0


@dataclass(frozen=True)
class Shop:
    """A shop, a campaign, and its truth for each shopper.

    Attributes:
        shoppers: of whom each is held out with the chance ``holdout``.
        orders: a shopper's in the window, on average; some order much more than others.
        extra: orders that the campaign brings about.
        habit: the share of orders that would be made anyway in which the treated use the coupon.
        shape: of the gamma distribution of how often shoppers order; the smaller, the more unequal.
    """

    shoppers: int = 3_000
    holdout: float = 0.2
    orders: float = 2.0
    extra: float = 0.2
    habit: float = 0.25
    shape: float = 1.0

    @property
    def incremental_purchases(self) -> float:
        return self.extra

    @property
    def incremental_revenue(self) -> float:
        return self.extra * BASKET_MEAN - DISCOUNT * self.uses

    @property
    def incremental_margin(self) -> float:
        return self.extra * BASKET_MEAN * MARGIN_SHARE - DISCOUNT * self.uses

    @property
    def uses(self) -> float:
        return self.habit * self.orders + self.extra

    def effect_to_date(self, share: float, *, once: bool) -> float:
        """On a shopper's orders in this share of the window; if they count once only, on whether there are any."""
        if not once:
            return share * self.extra
        nobody_without = (1 + share * self.orders / self.shape) ** -self.shape
        return nobody_without * (1 - np.exp(-share * self.extra))

    @property
    def uses_anyway(self) -> float:
        return self.habit * self.orders


@dataclass(frozen=True)
class Campaign:
    """What came of it, (n,) each."""

    treated: np.ndarray
    spend_before: np.ndarray
    purchases: np.ndarray
    uses: np.ndarray
    revenue: np.ndarray
    margin: np.ndarray

    @property
    def discount(self) -> np.ndarray:
        return DISCOUNT * self.uses


def run_campaign(shop: Shop, random: np.random.Generator) -> Campaign:
    rate = random.gamma(shop.shape, shop.orders / shop.shape, shop.shoppers)
    treated = random.random(shop.shoppers) >= shop.holdout
    before = random.poisson(rate)
    base = random.poisson(rate)
    extra = np.where(treated, random.poisson(shop.extra, shop.shoppers), 0)
    uses = np.where(treated, random.binomial(base, shop.habit), 0) + extra
    paid = spend(base + extra, random)
    return Campaign(
        treated=treated,
        spend_before=spend(before, random),
        purchases=base + extra,
        uses=uses,
        revenue=paid - DISCOUNT * uses,
        margin=MARGIN_SHARE * paid - DISCOUNT * uses,
    )


def spend(orders: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What so many baskets come to."""
    location = np.log(BASKET_MEAN) - BASKET_SIGMA**2 / 2
    baskets = random.lognormal(location, BASKET_SIGMA, int(orders.sum()))
    return np.bincount(np.repeat(np.arange(len(orders)), orders), weights=baskets, minlength=len(orders))


def run_daily(shop: Shop, days: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Treated (n,), orders before (n,), and orders to date (days, n)."""
    rate = random.gamma(shop.shape, shop.orders / shop.shape, shop.shoppers)
    treated = random.random(shop.shoppers) >= shop.holdout
    daily = random.poisson((rate + shop.extra * treated) / days, (days, shop.shoppers))
    return treated, random.poisson(rate), np.cumsum(daily, axis=0)


def run_arriving(shop: Shop, days: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """As :func:`run_daily`, of shoppers who come to be served on some day, most of them early, and count from then on.

    Treated (n,), orders before (n,), orders to date since they came (days, n), and for how many days that is (days, n),
    below 1 before they come.
    """
    rate = random.gamma(shop.shape, shop.orders / shop.shape, shop.shoppers)
    treated = random.random(shop.shoppers) >= shop.holdout
    comes = np.minimum(random.geometric(1 - np.exp(-(rate + 1) / 7)), days)  # who buys much comes early
    served = np.arange(1, days + 1)[:, None] - comes + 1
    daily = random.poisson((rate + shop.extra * treated) / days, (days, shop.shoppers))
    return treated, random.poisson(rate), np.cumsum(daily * (served >= 1), axis=0), served
