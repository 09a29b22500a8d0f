"""Products and coupons as sets: categories at a depth, and what a coupon is for."""

import polars as pl

from recommender.ml import columns as c
from recommender.ml.history import History
from recommender.ml.purchases import purchases

KIND_OF_THING = "kind_of_thing"

_SEPARATOR = " / "
#: Finer levels than this have too few purchases each to say what a shopper likes.
MOST_CATEGORIES = 500


def coupon_products(history: History, coupons: pl.Series) -> pl.DataFrame:
    """A row for each (coupon, product) that the coupons are for.

    A coupon for the whole shop is for every product that was ever bought.
    """
    asked = coupons.unique().to_frame(c.COUPON)
    targeted = history.scan("coupon_products").join(asked.lazy(), on=c.COUPON, how="semi")
    everything = purchases(history).products.to_frame().lazy()
    whole_shop = (
        history.scan("coupons").filter(c.WHOLE_SHOP).select(c.COUPON).join(asked.lazy(), on=c.COUPON, how="semi")
    )
    spelled_out = whole_shop.join(everything, how="cross").select(c.COUPON, c.PRODUCT)
    return pl.concat([targeted, spelled_out]).sort(c.COUPON, c.PRODUCT).collect()


def kinds_of_things(history: History) -> pl.DataFrame:
    """What each product is a kind of: the category that it is in, or it alone. Columns ``product`` and
    ``kind_of_thing``."""
    alone = -1 - pl.col(c.PRODUCT).cast(pl.Int64)
    return (
        history.scan("products")
        .select(c.PRODUCT, pl.coalesce(pl.col(c.CATEGORY).cast(pl.Int64), alone).alias(KIND_OF_THING))
        .collect()
    )


def product_categories(history: History, depth: int) -> pl.DataFrame:
    """The ancestor of each product's category at a depth (1 is the top); products without one are left out.

    A category that lies above the depth stands for itself. Columns ``product`` and ``category``.
    """
    categories = history.scan("categories").select(c.CATEGORY, c.PATH).collect()
    ancestor = categories.select(
        c.CATEGORY, pl.col(c.PATH).str.split(_SEPARATOR).list.head(depth).list.join(_SEPARATOR).alias(c.PATH)
    ).join(categories.rename({c.CATEGORY: "ancestor"}), on=c.PATH)
    return (
        history.scan("products")
        .select(c.PRODUCT, c.CATEGORY)
        .drop_nulls()
        .collect()
        .join(ancestor, on=c.CATEGORY)
        .select(c.PRODUCT, pl.col("ancestor").alias(c.CATEGORY))
        .sort(c.PRODUCT)
    )


def category_names(history: History, depth: int) -> pl.DataFrame:
    """What each category is called: the last part of its path, and below a depth, where names such as “Fresh” mean
    little by themselves, the part above it in brackets. Columns ``category`` and ``name``."""
    parts = pl.col(c.PATH).str.split(_SEPARATOR)
    name, above = parts.list.get(-1), parts.list.get(-2, null_on_oob=True)
    in_full = pl.when(parts.list.len() > depth).then(pl.format("{} ({})", name, above)).otherwise(name)
    return history.scan("categories").select(c.CATEGORY, in_full.alias(c.NAME)).sort(c.CATEGORY).collect()


def category_depth(history: History) -> int:
    """The deepest level at which at most :data:`MOST_CATEGORIES` categories were bought from; at least 1."""
    bought = purchases(history).products.to_frame()

    def categories_at(depth: int) -> int:
        return product_categories(history, depth).join(bought, on=c.PRODUCT, how="semi")[c.CATEGORY].n_unique()

    depth, this = 1, categories_at(1)
    while this != (deeper := categories_at(depth + 1)) <= MOST_CATEGORIES:
        depth, this = depth + 1, deeper
    return depth
