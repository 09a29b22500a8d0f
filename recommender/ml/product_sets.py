"""Purchases of sets of products, by shopper. A set is a product, a category, or all that a coupon is for."""

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.history import History
from recommender.ml.purchases import (
    DAYS_SINCE_LAST,
    FADED_AMOUNT,
    FADED_TIMES,
    NEVER,
    RECENT_TIMES,
    SHORT_HALF_LIFE,
    TIMES,
    fading_weight,
    purchases,
)

SET = "set"
OWN_PRODUCTS = "own_products"
BUYERS = "buyers"
BUYERS_SHARE = "buyers_share"
RECENT_BUYERS_SHARE = "recent_buyers_share"

_NEVER_BOUGHT = {
    TIMES: 0.0,
    FADED_TIMES: 0.0,
    RECENT_TIMES: 0.0,
    FADED_AMOUNT: 0.0,
    OWN_PRODUCTS: 0.0,
    DAYS_SINCE_LAST: NEVER,
}
_NOBODY_BOUGHT = {BUYERS: 0.0, BUYERS_SHARE: 0.0, RECENT_BUYERS_SHARE: 0.0}


class ProductSets:
    """Sets of products, with what was bought of them as of the moment of a history.

    Args:
        history: what was known before the moment.
        members: columns ``set`` (UInt32) and ``product``, a row for each product of a set, none twice.
    """

    def __init__(self, history: History, members: pl.DataFrame) -> None:
        self._members = members
        self._bought = purchases(history).join(members.select(c.PRODUCT).unique(), on=c.PRODUCT, how="semi")
        shoppers = max(1, purchases(history)[c.SHOPPER].n_unique())
        # A set and a shopper as one number, by which grouping is faster than by two.
        last = (
            self._bought.lazy()
            .join(members.lazy(), on=c.PRODUCT)
            .group_by((pl.col(SET).cast(pl.UInt64) * 2**32 + pl.col(c.SHOPPER)).alias("buyer"))
            .agg(fading_weight(pl.col(DAYS_SINCE_LAST).min(), SHORT_HALF_LIFE).alias("recently"))
            .sort("buyer")
            .collect()
        )
        sets, set_of = np.unique((last["buyer"] // 2**32).to_numpy(), return_inverse=True)
        buyers = np.bincount(set_of, minlength=len(sets)).astype(np.float64)
        recently = np.bincount(set_of, weights=last["recently"].to_numpy(), minlength=len(sets))
        self.popularity = pl.DataFrame(
            {
                SET: sets.astype(np.uint32),
                BUYERS: buyers,
                BUYERS_SHARE: buyers / shoppers,
                RECENT_BUYERS_SHARE: recently / shoppers,
            }
        )

    def bought(self, shoppers: pl.Series) -> pl.DataFrame:
        """A row for each (shopper, set) of which these shoppers bought anything, with the sums over its products."""
        return (
            self._bought.lazy()
            .join(shoppers.unique().to_frame(c.SHOPPER).lazy(), on=c.SHOPPER, how="semi", maintain_order="left")
            .join(self._members.lazy(), on=c.PRODUCT, maintain_order="left_right")
            .group_by(c.SHOPPER, SET, maintain_order=True)
            .agg(
                pl.col(TIMES, FADED_TIMES, RECENT_TIMES).sum(),
                pl.col(FADED_AMOUNT).sum().clip(0),  # refunds are negative amounts
                pl.len().cast(pl.Float64).alias(OWN_PRODUCTS),
                pl.col(DAYS_SINCE_LAST).min(),
            )
            .collect()
        )

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """What each (shopper, set) of ``pairs`` bought of the set, and how many others did: no nulls, order kept."""
        return (
            pairs.lazy()
            .select(c.SHOPPER, SET)
            .join(self.bought(pairs[c.SHOPPER]).lazy(), on=[c.SHOPPER, SET], how="left", maintain_order="left")
            .join(self.popularity.lazy(), on=SET, how="left", maintain_order="left")
            .with_columns(pl.col(column).fill_null(value) for column, value in (_NEVER_BOUGHT | _NOBODY_BOUGHT).items())
            .drop(c.SHOPPER, SET)
            .collect()
        )
