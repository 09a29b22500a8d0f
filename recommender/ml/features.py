"""What the supervised algorithms see of a (shopper, coupon) pair as of a moment.

All features are numbers from 0 up, in raw units (counts, days, money, shares); algorithms that want another scale make
it themselves. :data:`GROUPS` says which belong together, so that a score can be explained by groups.
"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import polars as pl
from scipy import sparse

from recommender.ml import columns as c
from recommender.ml import shopper_profile as profile
from recommender.ml.algorithms.base import DescribedHistory, Inputs
from recommender.ml.behaviour import behaviour_model, describe_behaviour
from recommender.ml.catalogue import category_depth, coupon_products, product_categories
from recommender.ml.history import History
from recommender.ml.product_sets import (
    BUYERS,
    BUYERS_SHARE,
    OWN_PRODUCTS,
    RECENT_BUYERS_SHARE,
    SET,
    ProductSets,
)
from recommender.ml.purchases import (
    AGE,
    DAYS_SINCE_LAST,
    FADED_AMOUNT,
    FADED_TIMES,
    RECENT_TIMES,
    TIMES,
    age_in_days,
    fading_weight,
    purchases,
)

LIKELY_TO_BUY = "likely_to_buy"
OWN_SHARE = "own_share_of_purchases"
CATEGORY_TIMES = "category_times"
CATEGORY_FADED_TIMES = "category_faded_times"
CATEGORY_SHARE = "category_share_of_purchases"
BRAND_TIMES = "brand_times"
BRAND_FADED_TIMES = "brand_faded_times"
OFFER_USES = "own_uses_of_the_offer"
OFFER_INTEREST = "own_interest_in_the_offer"
OFFER_USE_RATE = "use_rate_of_the_offer"
PRODUCTS = "products_of_the_coupon"
PRODUCT_PRICE = "price_of_its_products"
PRODUCT_RATING = "rating_of_its_products"
PRODUCT_DISCOUNT = "discount_on_its_products"
COUPONS_ON_OFFER = "coupons_on_offer"
DISCOUNT_VALUE = "discount_value"
MIN_SPEND = "min_spend"

#: What is said of a coupon whose offer nobody was sent before: nothing is known, so the prior's rate.
PRIOR_OFFER_USES, PRIOR_OFFER_CHANCES = 0.5, 100.0

GROUPS: Mapping[str, tuple[str, ...]] = {
    "own purchases": (
        TIMES,
        FADED_TIMES,
        RECENT_TIMES,
        FADED_AMOUNT,
        OWN_PRODUCTS,
        DAYS_SINCE_LAST,
        OWN_SHARE,
    ),
    "behaviour": (LIKELY_TO_BUY,),
    "category": (CATEGORY_TIMES, CATEGORY_FADED_TIMES, CATEGORY_SHARE),
    "brand": (BRAND_TIMES, BRAND_FADED_TIMES),
    "coupon habit": (
        profile.COUPON_USE_RATE,
        profile.CAMPAIGN_USE_RATE,
        profile.REDEMPTIONS,
        profile.FADED_REDEMPTIONS,
        profile.CAMPAIGNS_RECEIVED,
        profile.COUPON_DISCOUNT_SHARE,
        profile.DISCOUNT_SHARE,
        profile.CLICKS,
    ),
    "own use of the offer": (OFFER_USES, OFFER_INTEREST),
    "use of the offer": (OFFER_USE_RATE,),
    "activity": (profile.FREQUENCY, profile.RECENT_FREQUENCY, profile.DAYS_SINCE_LAST_ORDER),
    "variety": (profile.VARIETY, profile.DISTINCT_PRODUCTS),
    "spend": (profile.SPEND,),
    "popularity": (BUYERS, BUYERS_SHARE, RECENT_BUYERS_SHARE),
    "coupon": (
        PRODUCTS,
        PRODUCT_PRICE,
        PRODUCT_RATING,
        PRODUCT_DISCOUNT,
        COUPONS_ON_OFFER,
        DISCOUNT_VALUE,
        MIN_SPEND,
    ),
}
FEATURES = [feature for group in GROUPS.values() for feature in group]


class PairFeatures(Inputs):
    """The features of :data:`FEATURES`."""

    name: ClassVar[str] = "features"
    columns: ClassVar[tuple[str, ...]] = tuple(FEATURES)

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _DescribedPairs(history, coupons)


class _DescribedPairs(DescribedHistory):
    def __init__(self, history: History, coupons: pl.Series) -> None:
        self._coupons = coupons.unique().sort()
        members = coupon_products(history, self._coupons)
        self._sets = ProductSets(history, members.rename({c.COUPON: SET}))
        self._profiles = profile.shopper_profiles(history)
        self._behaviour = behaviour_model(history)
        self._coupon_features = _coupon_features(history, self._coupons, members)
        self._offer_uses = _own_uses_of_offers(history, self._coupons)
        self._categories = _Affinity(
            history, members, product_categories(history, category_depth(history)), self._coupons
        )
        brands = (
            history.scan("products").filter(pl.col(c.BRAND) != "").select(c.PRODUCT, c.BRAND).sort(c.PRODUCT).collect()
        )
        numbered = brands.select(c.PRODUCT, pl.col(c.BRAND).rank("dense").cast(pl.UInt32).alias(c.CATEGORY))
        self._brands = _Affinity(history, members, numbered, self._coupons)

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        as_sets = pairs.select(c.SHOPPER, pl.col(c.COUPON).alias(SET))
        frame = (
            pairs.select(c.SHOPPER, c.COUPON)
            .hstack(self._sets.describe(as_sets))
            .join(self._profiles, on=c.SHOPPER, how="left", maintain_order="left")
            .with_columns(pl.col(column).fill_null(value) for column, value in profile.NEW_SHOPPER.items())
            .join(self._coupon_features, on=c.COUPON, how="left", maintain_order="left")
            .join(self._offer_uses, on=[c.SHOPPER, c.COUPON], how="left", maintain_order="left")
        )
        category = self._categories.of(pairs)
        brand = self._brands.of(pairs)
        likely = self._behaviour.probability(describe_behaviour(self._sets, self._profiles, as_sets))
        purchased = pl.max_horizontal(profile.VARIETY, pl.lit(1e-9))
        return (
            frame.with_columns(
                pl.Series(LIKELY_TO_BUY, likely),
                pl.Series(CATEGORY_TIMES, category[:, 0]),
                pl.Series(CATEGORY_FADED_TIMES, category[:, 1]),
                pl.Series(BRAND_TIMES, brand[:, 0]),
                pl.Series(BRAND_FADED_TIMES, brand[:, 1]),
            )
            .with_columns(
                (pl.col(FADED_TIMES) / purchased).clip(0, 1).alias(OWN_SHARE),
                (pl.col(CATEGORY_FADED_TIMES) / purchased).clip(0, 1).alias(CATEGORY_SHARE),
            )
            .select(pl.col(feature).fill_null(0.0).cast(pl.Float32) for feature in FEATURES)
        )


class _Affinity:
    """How often shoppers bought from the categories (or brands) that a coupon's products are in.

    A coupon's categories weigh by the share of its products' sales that each has, so that one stray product does not
    make a coffee coupon a tea coupon.
    """

    def __init__(self, history: History, members: pl.DataFrame, categories: pl.DataFrame, coupons: pl.Series) -> None:
        bought = purchases(history)
        sold = bought.group_by(c.PRODUCT, maintain_order=True).agg(pl.col(FADED_TIMES).sum().alias("sold"))
        shares = (
            members.join(categories, on=c.PRODUCT, maintain_order="left")
            .join(sold, on=c.PRODUCT, how="left", maintain_order="left")
            .group_by(c.COUPON, c.CATEGORY, maintain_order=True)
            .agg((pl.col("sold").fill_null(0.0) + 0.1).sum().alias("share"))
            .with_columns(pl.col("share") / pl.col("share").sum().over(c.COUPON))
            .sort(c.COUPON, c.CATEGORY)
        )
        wanted = shares[c.CATEGORY].unique().sort()
        self._coupons = coupons
        self._bought = (
            bought.lazy()
            .join(categories.lazy(), on=c.PRODUCT, maintain_order="left")
            .join(wanted.to_frame().lazy(), on=c.CATEGORY, how="semi")
            .group_by(c.SHOPPER, c.CATEGORY, maintain_order=True)
            .agg(pl.col(TIMES, FADED_TIMES).sum())
            .sort(c.SHOPPER, c.CATEGORY)
            .collect()
        )
        self._categories = wanted
        self._shares = sparse.csr_matrix(
            (
                shares["share"].to_numpy(),
                (
                    wanted.search_sorted(shares[c.CATEGORY]).to_numpy(),
                    coupons.search_sorted(shares[c.COUPON]).to_numpy(),
                ),
            ),
            shape=(len(wanted), len(coupons)),
        )

    def of(self, pairs: pl.DataFrame) -> np.ndarray:
        """(n, 2): times and faded times, averaged over the coupon's categories by their shares."""
        shoppers = pairs[c.SHOPPER].unique().sort()
        bought = self._bought.join(shoppers.to_frame(), on=c.SHOPPER, how="semi")
        rows = shoppers.search_sorted(bought[c.SHOPPER]).to_numpy()
        columns = self._categories.search_sorted(bought[c.CATEGORY]).to_numpy()
        shape = (len(shoppers), len(self._categories))
        pair_rows = shoppers.search_sorted(pairs[c.SHOPPER]).to_numpy()
        pair_columns = self._coupons.search_sorted(pairs[c.COUPON]).to_numpy()
        affinities = [
            (sparse.csr_matrix((bought[what].to_numpy(), (rows, columns)), shape=shape) @ self._shares).toarray()[
                pair_rows, pair_columns
            ]
            for what in (TIMES, FADED_TIMES)
        ]
        return np.stack(affinities, axis=1)


def _coupon_features(history: History, coupons: pl.Series, members: pl.DataFrame) -> pl.DataFrame:
    """A row a coupon: how broad it is, what its products cost, what it takes off and how its offer fared before."""
    sold = (
        history.order_lines.lazy()
        .join(members.select(c.PRODUCT).unique().lazy(), on=c.PRODUCT, how="semi", maintain_order="left")
        .filter(pl.col(c.QUANTITY) > 0)
        .group_by(c.PRODUCT, maintain_order=True)
        .agg(pl.col(c.AMOUNT, c.QUANTITY, c.DISCOUNT).sum())
        .with_columns(
            (pl.col(c.AMOUNT) / pl.col(c.QUANTITY)).alias("paid"),
            (pl.col(c.DISCOUNT) / pl.max_horizontal(pl.col(c.AMOUNT) + pl.col(c.DISCOUNT), pl.lit(0.01))).clip(0, 1),
        )
    )
    products = history.scan("products").select(c.PRODUCT, c.PRICE, c.RATING)
    made_of = (
        members.lazy()
        .join(products, on=c.PRODUCT, how="left", maintain_order="left")
        .join(sold, on=c.PRODUCT, how="left", maintain_order="left")
        .group_by(c.COUPON, maintain_order=True)
        .agg(
            pl.len().cast(pl.Float64).alias(PRODUCTS),
            pl.coalesce(c.PRICE, "paid").clip(0).median().alias(PRODUCT_PRICE),
            pl.col(c.RATING).clip(0).mean().alias(PRODUCT_RATING),
            pl.col(c.DISCOUNT).mean().alias(PRODUCT_DISCOUNT),
        )
    )
    return (
        history.scan("coupons")
        .join(coupons.to_frame(c.COUPON).lazy(), on=c.COUPON, how="semi")
        .select(c.COUPON, pl.col(c.DISCOUNT_VALUE).alias(DISCOUNT_VALUE), pl.col(c.MIN_SPEND).alias(MIN_SPEND))
        .join(made_of, on=c.COUPON, how="left")
        .join(_use_rates_of_offers(history, coupons), on=c.COUPON, how="left")
        .with_columns(pl.lit(float(len(coupons))).alias(COUPONS_ON_OFFER))
        .sort(c.COUPON)
        .collect()
    )


def _same_offer(history: History, coupons: pl.Series) -> pl.LazyFrame:
    """A row for each asked coupon and each coupon of the same offer, itself included: ``coupon`` and ``earlier``."""
    offers = history.scan("coupons").select(
        c.COUPON,
        pl.when(pl.col(c.OFFER_ID) == "")
        .then(pl.format("coupon {}", c.COUPON_ID))
        .otherwise(c.OFFER_ID)
        .alias(c.OFFER_ID),
    )
    asked = offers.join(coupons.to_frame(c.COUPON).lazy(), on=c.COUPON, how="semi")
    return asked.join(offers.rename({c.COUPON: "earlier"}), on=c.OFFER_ID).select(c.COUPON, "earlier")


def _use_rates_of_offers(history: History, coupons: pl.Series) -> pl.LazyFrame:
    """Uses of the coupon's offer in earlier campaigns over the shoppers who were sent it, drawn towards the prior."""
    sizes = (
        history.scan("campaign_shoppers").filter(~pl.col(c.IS_CONTROL)).group_by(c.CAMPAIGN).agg(pl.len().alias("sent"))
    )
    uses = history.scan("redemptions").group_by(c.COUPON).agg(pl.len().alias("uses"))
    sent = history.scan("campaign_coupons").join(sizes, on=c.CAMPAIGN).group_by(c.COUPON).agg(pl.col("sent").sum())
    return (
        _same_offer(history, coupons)
        .join(sent, left_on="earlier", right_on=c.COUPON, how="left")
        .join(uses, left_on="earlier", right_on=c.COUPON, how="left")
        .group_by(c.COUPON)
        .agg(
            (
                (pl.col("uses").fill_null(0).sum() + PRIOR_OFFER_USES)
                / (pl.col("sent").fill_null(0).sum() + PRIOR_OFFER_CHANCES)
            )
            .clip(0, 1)
            .alias(OFFER_USE_RATE)
        )
    )


def _own_uses_of_offers(history: History, coupons: pl.Series) -> pl.DataFrame:
    """What each shopper did before with the coupon's offer: uses, and faded clicks and claims less dismissals."""
    same = _same_offer(history, coupons)
    uses = (
        history.scan("redemptions")
        .join(same, left_on=c.COUPON, right_on="earlier")
        .group_by(c.SHOPPER, pl.col("coupon_right").alias(c.COUPON))
        .agg(pl.len().cast(pl.Float64).alias(OFFER_USES))
    )
    interest = (
        history.scan("events")
        .filter(pl.col(c.KIND).is_in(["click", "claim", "dismiss"]))
        .join(same, left_on=c.COUPON, right_on="earlier")
        .with_columns(fading_weight(age_in_days(c.OCCURRED_AT, history)).alias(AGE))
        .group_by(c.SHOPPER, pl.col("coupon_right").alias(c.COUPON))
        .agg(
            (pl.col(AGE) * pl.when(pl.col(c.KIND) == "dismiss").then(-1.0).otherwise(1.0))
            .sort()
            .sum()
            .clip(0)
            .alias(OFFER_INTEREST)
        )
    )
    keys = pl.concat([uses.select(c.SHOPPER, c.COUPON), interest.select(c.SHOPPER, c.COUPON)]).unique()
    return (
        keys.join(uses, on=[c.SHOPPER, c.COUPON], how="left")
        .join(interest, on=[c.SHOPPER, c.COUPON], how="left")
        .sort(c.SHOPPER, c.COUPON)
        .collect()
    )
