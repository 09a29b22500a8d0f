"""What past campaigns with a drawn holdout teach, read from a snapshot."""

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.history import History
from recommender.ml.incrementality import check_balance, check_sample_ratio
from recommender.ml.shopper_profile import NEW_SHOPPER, SPEND, shopper_profiles
from recommender.ml.uplift.new_uses import DrawnCampaign

#: Shoppers of a campaign who teach at most, evenly spread: more make the models no better, and slower.
MOST_SHOPPERS = 200_000
#: How often groups that may be compared are said to differ.
FALSE_ALARMS = 0.001
_SPEND = list(NEW_SHOPPER).index(SPEND)


def describe_shoppers(history: History, shoppers: pl.Series) -> np.ndarray:
    """(n, k) what is known of shoppers as of a moment, in their order: the profile that all algorithms see."""
    known = shoppers.to_frame(c.SHOPPER).join(
        shopper_profiles(history), on=c.SHOPPER, how="left", maintain_order="left"
    )
    return known.select(pl.col(name).fill_null(value) for name, value in NEW_SHOPPER.items()).to_numpy()


def read_drawn_campaign(history: History, campaign_id: str, *, chance: float) -> DrawnCampaign:
    """A campaign that was over at the moment of the history.

    Shoppers count in the group that was recorded, and by what they did from its start to its end; they are described as
    of its start.

    Args:
        chance: with which its shoppers were sent it.

    Raises:
        ValueError: there is no such campaign in the history, or it was not over.
    """
    found = history.scan("campaigns").filter(pl.col(c.CAMPAIGN_ID) == campaign_id).collect()
    if found.is_empty() or found[c.ENDS_AT][0] > history.moment:
        raise ValueError(f"Campaign {campaign_id} was not over at {history.moment.isoformat()}.")
    [campaign] = found.to_dicts()
    begins, ends = campaign[c.STARTS_AT], campaign[c.ENDS_AT]
    of_campaign = pl.col(c.CAMPAIGN) == campaign[c.CAMPAIGN]
    shoppers = _spread(
        history.scan("campaign_shoppers").filter(of_campaign).select(c.SHOPPER, c.IS_CONTROL).sort(c.SHOPPER).collect()
    )
    lines = history.scan("order_lines").filter(pl.col(c.ORDERED_AT) >= begins, pl.col(c.ORDERED_AT) < ends)
    coupons = history.scan("coupons").join(
        history.scan("campaign_coupons").filter(of_campaign), on=c.COUPON, how="semi"
    )
    if not coupons.select(pl.col(c.WHOLE_SHOP).any()).collect().item():
        products = history.scan("coupon_products").join(coupons, on=c.COUPON, how="semi")
        lines = lines.join(products, on=c.PRODUCT, how="semi")
    purchases = lines.group_by(c.SHOPPER).agg(pl.col(c.ORDER).n_unique().alias("number"))
    uses = (
        history.scan("redemptions")
        .filter(of_campaign, pl.col(c.REDEEMED_AT) >= begins, pl.col(c.REDEEMED_AT) < ends)
        .group_by(c.SHOPPER)
        .agg(pl.len().alias("number"))
    )
    return DrawnCampaign(
        X=describe_shoppers(history.snapshot.before(begins), shoppers[c.SHOPPER]),
        treated=~shoppers[c.IS_CONTROL].to_numpy(),
        purchases=_numbers(shoppers, purchases),
        uses=_numbers(shoppers, uses),
        chance=chance,
    )


def is_comparable(campaign: DrawnCampaign) -> bool:
    """Whether coupons were used, and the groups have the sizes that were drawn and spent alike before."""
    sizes = check_sample_ratio(
        treated=int(campaign.treated.sum()),
        held_out=int((~campaign.treated).sum()),
        expected_share=1 - campaign.chance,
    )
    before = check_balance(campaign.treated, campaign.X[:, _SPEND])
    alike = before is None or before >= FALSE_ALARMS
    return bool(campaign.uses.any()) and sizes.p_value >= FALSE_ALARMS and alike


def _spread(shoppers: pl.DataFrame) -> pl.DataFrame:
    if shoppers.height <= MOST_SHOPPERS:
        return shoppers
    return shoppers[np.linspace(0, shoppers.height - 1, MOST_SHOPPERS).astype(np.int64)]


def _numbers(shoppers: pl.DataFrame, counted: pl.LazyFrame) -> np.ndarray:
    joined = shoppers.join(counted.collect(), on=c.SHOPPER, how="left", maintain_order="left")
    return joined["number"].fill_null(0).cast(pl.Float64).to_numpy()
