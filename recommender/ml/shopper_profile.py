"""E(u) of a shopper: purchase frequency, product variety, coupon-use rate and the like, faded by time."""

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.history import History
from recommender.ml.purchases import AGE, NEVER, SHORT_HALF_LIFE, age_in_days, fading_weight, purchases

FREQUENCY = "purchase_frequency"
RECENT_FREQUENCY = "recent_purchase_frequency"
VARIETY = "product_variety"
COUPON_USE_RATE = "coupon_use_rate"
SPEND = "spend"
DISCOUNT_SHARE = "discount_share"
COUPON_DISCOUNT_SHARE = "coupon_discount_share"
DAYS_SINCE_LAST_ORDER = "days_since_last_order"
DISTINCT_PRODUCTS = "distinct_products"
REDEMPTIONS = "redemptions"
FADED_REDEMPTIONS = "faded_redemptions"
CAMPAIGNS_RECEIVED = "campaigns_received"
CAMPAIGN_USE_RATE = "campaign_use_rate"
CLICKS = "clicks"
COUPON_ORDERS = "orders_with_coupon"
COUPON_ORDER_RATE = "share_of_orders_with_coupon"
COUPON_LINES = "lines_with_coupon"
DAYS_SINCE_LAST_COUPON = "days_since_last_order_with_coupon"
DAYS_SINCE_LAST_REDEMPTION = "days_since_last_redemption"
REDEMPTION_DAYS = "redemption_days"
USES_AGAINST_OTHERS = "uses_against_others"
CAMPAIGNS_USED_AGAINST_OTHERS = "campaigns_used_against_others"

#: Columns of :func:`campaigns_received`.
USES = "uses"
USED = "used"
EXPECTED = "expected"
EXPECTED_USED = "expected_used"

#: E(u) of somebody who never bought.
NEW_SHOPPER = {
    FREQUENCY: 0.0,
    RECENT_FREQUENCY: 0.0,
    VARIETY: 0.0,
    COUPON_USE_RATE: 0.05,
    SPEND: 0.0,
    DISCOUNT_SHARE: 0.0,
    COUPON_DISCOUNT_SHARE: 0.0,
    DAYS_SINCE_LAST_ORDER: NEVER,
    DISTINCT_PRODUCTS: 0.0,
    REDEMPTIONS: 0.0,
    FADED_REDEMPTIONS: 0.0,
    CAMPAIGNS_RECEIVED: 0.0,
    CAMPAIGN_USE_RATE: 0.05,
    CLICKS: 0.0,
    COUPON_ORDERS: 0.0,
    COUPON_ORDER_RATE: 0.05,
    COUPON_LINES: 0.0,
    DAYS_SINCE_LAST_COUPON: NEVER,
    DAYS_SINCE_LAST_REDEMPTION: NEVER,
    REDEMPTION_DAYS: 0.0,
    USES_AGAINST_OTHERS: 1.0,
    CAMPAIGNS_USED_AGAINST_OTHERS: 1.0,
}
#: Redemptions, and orders or campaigns, that everybody is credited with, so that one lucky use is not a rate of 1.
PRIOR_USES, PRIOR_CHANCES = 0.1, 2.0
#: Uses, and campaigns used, that are added both to a shopper's own and to what was to be expected of anybody.
PRIOR_EXPECTED_USES, PRIOR_EXPECTED_CAMPAIGNS = 0.5, 0.25


def shopper_profiles(history: History) -> pl.DataFrame:
    """A row for each shopper who bought, was sent a campaign or redeemed anything before the moment.

    Columns: ``shopper`` and the keys of :data:`NEW_SHOPPER`. Frequency, variety, spend and redemptions are sums of
    f(u, t) weighted by w_t with t in days (half-life :data:`~recommender.ml.purchases.HALF_LIFE`); ``coupon_use_rate``
    is faded redemptions over faded orders and ``campaign_use_rate`` campaigns redeemed from over campaigns received,
    both drawn towards the prior.
    """
    weight = fading_weight(pl.col(AGE))
    bought = purchases(history)
    variety = pl.DataFrame({c.SHOPPER: bought.shoppers, DISTINCT_PRODUCTS: bought.varieties.astype(np.float64)})
    redeeming = (
        history.scan("redemptions")
        .with_columns(age_in_days(c.REDEEMED_AT, history).alias(AGE))
        .group_by(c.SHOPPER, maintain_order=True)
        .agg(
            pl.len().cast(pl.Float64).alias(REDEMPTIONS),
            weight.sum().alias(FADED_REDEMPTIONS),
            pl.col(c.CAMPAIGN).drop_nulls().n_unique().cast(pl.Float64).alias("campaigns_used"),
            pl.col(AGE).min().alias(DAYS_SINCE_LAST_REDEMPTION),
            pl.col(AGE).floor().n_unique().cast(pl.Float64).alias(REDEMPTION_DAYS),
        )
    )
    receiving = _receiving(history)
    clicking = (
        history.scan("events")
        .filter(pl.col(c.KIND).is_in(["click", "claim"]))
        .with_columns(age_in_days(c.OCCURRED_AT, history).alias(AGE))
        .group_by(c.SHOPPER, maintain_order=True)
        .agg(weight.sum().alias(CLICKS))
    )
    known = pl.collect_all([redeeming, receiving, clicking])  # once, for each is wanted twice
    parts = [shoppers_orders(history), variety, *known]
    profile = pl.concat([part.select(c.SHOPPER) for part in parts]).unique()
    for part in parts:
        profile = profile.join(part, on=c.SHOPPER, how="left")
    rates = {
        COUPON_USE_RATE: (FADED_REDEMPTIONS, FREQUENCY),
        CAMPAIGN_USE_RATE: ("campaigns_used", CAMPAIGNS_RECEIVED),
        COUPON_ORDER_RATE: (COUPON_ORDERS, FREQUENCY),
    }
    return (
        profile.with_columns(pl.col("campaigns_used").fill_null(0.0))
        .with_columns(pl.col(column).fill_null(value) for column, value in NEW_SHOPPER.items() if column not in rates)
        .with_columns(
            ((pl.col(uses) + PRIOR_USES) / (pl.col(chances) + PRIOR_CHANCES)).alias(rate)
            for rate, (uses, chances) in rates.items()
        )
        .select(c.SHOPPER, *NEW_SHOPPER)
        .sort(c.SHOPPER)
    )


def shoppers_orders(history: History) -> pl.DataFrame:
    """A row for each shopper who bought before the moment, with the columns of E(u) that orders tell."""
    weight = fading_weight(pl.col(AGE))
    money = (c.AMOUNT, c.DISCOUNT, c.COUPON_DISCOUNT)
    baskets = pl.concat(
        lines.group_by(c.ORDER, maintain_order=True).agg(
            pl.col(c.SHOPPER).first(),
            age_in_days(c.ORDERED_AT, history).first().alias(AGE),
            pl.col(c.PRODUCT).n_unique().alias(VARIETY),
            pl.col(money).sum(),
            (pl.col(c.COUPON_DISCOUNT) > 0).sum().alias("lines_with_coupon"),
        )
        for lines in history.order_lines_in_parts(c.ORDER, c.SHOPPER, c.ORDERED_AT, c.PRODUCT, *money)
    )
    with_coupon = pl.col("lines_with_coupon") > 0
    gross = (pl.col(c.AMOUNT) + pl.col(c.DISCOUNT) + pl.col(c.COUPON_DISCOUNT)).sum()
    return baskets.group_by(c.SHOPPER, maintain_order=True).agg(
        weight.sum().alias(FREQUENCY),
        fading_weight(pl.col(AGE), SHORT_HALF_LIFE).sum().alias(RECENT_FREQUENCY),
        (weight * pl.col(VARIETY)).sum().alias(VARIETY),
        (weight * pl.col(c.AMOUNT)).sum().clip(0).alias(SPEND),  # refunds are negative amounts
        (pl.col(c.DISCOUNT).sum() / pl.max_horizontal(gross, pl.lit(0.01))).clip(0, 1).alias(DISCOUNT_SHARE),
        (pl.col(c.COUPON_DISCOUNT).sum() / pl.max_horizontal(gross, pl.lit(0.01)))
        .clip(0, 1)
        .alias(COUPON_DISCOUNT_SHARE),
        pl.col(AGE).min().alias(DAYS_SINCE_LAST_ORDER),
        weight.filter(with_coupon).sum().alias(COUPON_ORDERS),
        (weight * pl.col("lines_with_coupon")).sum().alias(COUPON_LINES),
        pl.col(AGE).filter(with_coupon).min().alias(DAYS_SINCE_LAST_COUPON),
    )


def campaigns_received(history: History) -> pl.LazyFrame:
    """A row for each campaign that each shopper was sent before the moment, sorted by both.

    Columns: ``uses`` of its coupons by the shopper, ``used`` (whether there is one), and ``expected`` and
    ``expected_used``, the means of these over all who were sent the campaign.
    """
    sent = pl.concat(
        [
            history.scan("campaign_shoppers").filter(~pl.col(c.IS_CONTROL)).select(c.SHOPPER, c.CAMPAIGN),
            history.scan("offers").select(c.SHOPPER, c.CAMPAIGN),
        ]
    ).unique()
    uses = history.scan("redemptions").group_by(c.SHOPPER, c.CAMPAIGN).agg(pl.len().cast(pl.Float64).alias(USES))
    return (
        sent.join(uses, on=[c.SHOPPER, c.CAMPAIGN], how="left")
        .with_columns(pl.col(USES).fill_null(0.0))
        .with_columns((pl.col(USES) > 0).cast(pl.Float64).alias(USED))
        .sort(c.SHOPPER, c.CAMPAIGN)  # a sum of floats depends on the order of its terms
        .with_columns(
            pl.col(USES).mean().over(c.CAMPAIGN).alias(EXPECTED),
            pl.col(USED).mean().over(c.CAMPAIGN).alias(EXPECTED_USED),
        )
    )


def _receiving(history: History) -> pl.LazyFrame:
    """Campaigns that each shopper was sent, and how the use of them compares with that of all who were sent the same.

    Both ratios are own uses (campaigns used) over what the mean shopper of the same campaigns used, drawn towards 1:
    above it is who uses more than others, however generous the campaigns were.
    """
    return (
        campaigns_received(history)
        .group_by(c.SHOPPER, maintain_order=True)
        .agg(
            pl.len().cast(pl.Float64).alias(CAMPAIGNS_RECEIVED),
            ((pl.col(USES).sum() + PRIOR_EXPECTED_USES) / (pl.col(EXPECTED).sum() + PRIOR_EXPECTED_USES)).alias(
                USES_AGAINST_OTHERS
            ),
            (
                (pl.col(USED).sum() + PRIOR_EXPECTED_CAMPAIGNS)
                / (pl.col(EXPECTED_USED).sum() + PRIOR_EXPECTED_CAMPAIGNS)
            ).alias(CAMPAIGNS_USED_AGAINST_OTHERS),
        )
    )
