"""What fits the devices that shoppers own, and how far its parts are worn.

A product that fits any model of devices is for devices: who owns none that it fits is never offered it. A part wears
with the use of its device, which ``usage`` events tell of: those of a model have as their value what was used since the
last one, in the unit in which the life of parts is told; those of a part the share of its life that is used up, for
devices that measure it themselves. A part is new when the device is acquired, and again whenever a product of the same
part is bought.
"""

from datetime import timedelta
from functools import lru_cache

import polars as pl

from recommender.ml import columns as c
from recommender.ml.by_shopper import ByShopper
from recommender.ml.catalogue import coupon_products
from recommender.ml.history import History, Snapshot
from recommender.ml.kind_of_shop import OfKindOfShop
from recommender.ml.purchases import age_in_days

#: How much of its life a part has used; more than this makes no difference to anybody.
WORN_SHARE, MOST_WORN = "worn_share_of_its_part", 3.0
#: Days until the part is worn out at the pace of use; the most stand for whatever does not wear out.
DAYS_UNTIL_WORN, MOST_DAYS = "days_until_its_part_is_worn", 365.0
#: How many devices of the shopper's it fits.
FITTED_DEVICES = "own_devices_that_it_fits"
#: 1 for what is not for devices, or fits one of the shopper's; 0 for what fits none.
MAY_HAVE = "may_have_it"

#: What holds of a pair of which no device tells anything.
NO_DEVICES = {MAY_HAVE: 1.0, FITTED_DEVICES: 0.0, WORN_SHARE: 0.0, DAYS_UNTIL_WORN: MOST_DAYS}
#: The pace is that of the last use.
PACE = timedelta(days=60)

_SLOT = "slot"
_NEW_SINCE = "new_since"
_LATELY = "lately"
_USED = "used"
_REPORTED, _REPORTED_AT = "reported", "reported_at"


def knows_devices(snapshot: Snapshot) -> bool:
    """Whether anything in a shop is for devices."""
    return not snapshot.scan("device_parts").head(1).collect().is_empty()


class CouponsForDevices(OfKindOfShop):
    """Which of some coupons are for devices, and whom they are for.

    Attributes:
        any: whether any coupon is for devices: if not, all holds for all shoppers.
    """

    unknown = NO_DEVICES
    sketched = (MAY_HAVE, FITTED_DEVICES, WORN_SHARE)

    def __init__(self, history: History, coupons: pl.Series) -> None:
        parts = history.scan("device_parts").collect()
        self.any = not parts.is_empty()
        members = coupon_products(history, coupons) if self.any else pl.DataFrame(schema={c.COUPON: pl.UInt32})
        self._pairs = ByShopper(pl.DataFrame(schema={c.SHOPPER: pl.UInt32, c.COUPON: pl.UInt32}))
        if self.any:
            is_part = members.select(
                c.COUPON, pl.col(c.PRODUCT).is_in(parts[c.PRODUCT].unique().implode()).alias("part")
            )
            whole_shop = history.scan("coupons").filter(c.WHOLE_SHOP).select(c.COUPON).collect()[c.COUPON]
            #: Coupons for nothing but what is for devices.
            self._coupons = (
                is_part.group_by(c.COUPON)
                .agg(pl.col("part").all())
                .filter("part", ~pl.col(c.COUPON).is_in(whole_shop.implode()))[c.COUPON]
                .sort()
            )
            fitting = part_wear(history).join(members, on=c.PRODUCT)
            self._pairs = ByShopper(
                fitting.group_by(c.SHOPPER, c.COUPON)
                .agg(
                    pl.lit(1.0).alias(MAY_HAVE),
                    pl.col(FITTED_DEVICES).max(),
                    pl.col(WORN_SHARE).max(),
                    pl.col(DAYS_UNTIL_WORN).min(),
                )
                .sort(c.SHOPPER, c.COUPON)
            )

    def _describe(self, pairs: pl.DataFrame, shoppers: pl.Series) -> pl.DataFrame:
        of_none = pl.when(pl.col(c.COUPON).is_in(self._coupons.implode())).then(0.0).otherwise(1.0)
        return (
            pairs.select(c.SHOPPER, c.COUPON)
            .join(self._pairs.of(shoppers), on=[c.SHOPPER, c.COUPON], how="left", maintain_order="left")
            .select(
                pl.coalesce(MAY_HAVE, of_none).alias(MAY_HAVE),
                *(pl.col(name).fill_null(value) for name, value in NO_DEVICES.items() if name != MAY_HAVE),
            )
        )

    def may_have(self, pairs: pl.DataFrame, shoppers: pl.Series) -> pl.Series:
        """n booleans: whether each pair's shopper may be offered its coupon; as for :meth:`describe`."""
        return self.describe(pairs, shoppers)[MAY_HAVE] > 0


@lru_cache(maxsize=4)
def part_wear(history: History) -> pl.DataFrame:
    """A row for each (shopper, product) that fits a device of the shopper's, sorted by both.

    Columns: ``own_devices_that_it_fits``, and of the most worn part that it replaces ``worn_share_of_its_part`` and
    ``days_until_its_part_is_worn``.
    """
    owned = (
        history.scan("devices")
        .filter(pl.col(c.RETIRED_AT).is_null())
        .group_by(c.SHOPPER, pl.col(c.PRODUCT).alias(c.DEVICE_PRODUCT))
        .agg(pl.len().cast(pl.Float64).alias(FITTED_DEVICES), pl.col(c.ACQUIRED_AT).min())
    )
    slot = (
        pl.when(pl.col(c.PART) == "").then(pl.format("product {}", c.PRODUCT)).otherwise(pl.format("part {}", c.PART))
    )
    parts = history.scan("device_parts").with_columns(slot.alias(_SLOT))
    of_part = [c.SHOPPER, c.DEVICE_PRODUCT, _SLOT]
    bought = (
        history.scan("order_lines")
        .filter(pl.col(c.QUANTITY) > 0)
        .select(c.SHOPPER, c.PRODUCT, c.ORDERED_AT)
        .join(parts.select(c.PRODUCT, c.DEVICE_PRODUCT, _SLOT), on=c.PRODUCT)
        .group_by(of_part)
        .agg(pl.col(c.ORDERED_AT).max())
    )
    fitting = (
        owned.join(parts, on=c.DEVICE_PRODUCT)
        .join(bought, on=of_part, how="left")
        .join(_reported(history, parts), on=of_part, how="left")
        .with_columns(
            pl.max_horizontal(c.ACQUIRED_AT, c.ORDERED_AT).alias(_NEW_SINCE),
            pl.max_horizontal(c.ACQUIRED_AT, pl.lit(history.moment - PACE)).alias(_LATELY),
        )
        .collect()
    )
    use = _use(history)
    fitting = fitting.with_columns(
        _used_since(fitting, _NEW_SINCE, use).alias(_USED), _used_since(fitting, _LATELY, use).alias("used_lately")
    )
    # As the device tells, if it does and the part is the one that it told of; else by its use.
    told = pl.when(pl.col(_REPORTED_AT) >= pl.col(_NEW_SINCE)).then(_REPORTED)
    days_to_report = (pl.col(_REPORTED_AT) - pl.col(_NEW_SINCE)).dt.total_seconds() / 86_400
    left_by_report = days_to_report * (1 - told) / told - age_in_days(_REPORTED_AT, history)
    pace = pl.col("used_lately") / pl.max_horizontal(age_in_days(_LATELY, history), pl.lit(1.0))
    left_by_use = pl.when(pace > 0).then((pl.col(c.LIFE) - pl.col(_USED)) / pace)
    share = pl.coalesce(told, pl.col(_USED) / pl.col(c.LIFE))
    days_left = pl.when(share >= 1).then(0.0).when(told > 0).then(left_by_report).when(told.is_null()).then(left_by_use)
    return (
        fitting.select(
            c.SHOPPER,
            c.PRODUCT,
            FITTED_DEVICES,
            share.clip(0, MOST_WORN).fill_null(0.0).alias(WORN_SHARE),
            days_left.clip(0, MOST_DAYS).fill_null(MOST_DAYS).alias(DAYS_UNTIL_WORN),
        )
        .group_by(c.SHOPPER, c.PRODUCT)
        .agg(pl.col(FITTED_DEVICES).sum(), pl.col(WORN_SHARE).max(), pl.col(DAYS_UNTIL_WORN).min())
        .sort(c.SHOPPER, c.PRODUCT)
    )


def _reported(history: History, parts: pl.LazyFrame) -> pl.LazyFrame:
    """What was last told of each part of a shopper's: the share of its life that is used up, and when that was."""
    return (
        history.scan("events")
        .filter(pl.col(c.KIND) == "usage", pl.col(c.VALUE) >= 0)
        .select(c.SHOPPER, c.PRODUCT, c.OCCURRED_AT, c.VALUE)
        .join(parts.select(c.PRODUCT, c.DEVICE_PRODUCT, _SLOT), on=c.PRODUCT)
        .sort(c.OCCURRED_AT, c.VALUE)
        .group_by(c.SHOPPER, c.DEVICE_PRODUCT, _SLOT, maintain_order=True)
        .agg(pl.col(c.OCCURRED_AT).last().alias(_REPORTED_AT), pl.col(c.VALUE).last().alias(_REPORTED))
    )


def _use(history: History) -> pl.DataFrame:
    """Use of each shopper's model of devices, added up over time and sorted by it."""
    return (
        history.scan("events")
        .filter(pl.col(c.KIND) == "usage", pl.col(c.VALUE) > 0)
        .select(c.SHOPPER, pl.col(c.PRODUCT).alias(c.DEVICE_PRODUCT), c.OCCURRED_AT, c.VALUE)
        .drop_nulls()
        .sort(c.OCCURRED_AT, c.SHOPPER, c.DEVICE_PRODUCT, c.VALUE)
        .with_columns(pl.col(c.VALUE).cum_sum().over(c.SHOPPER, c.DEVICE_PRODUCT).alias(_USED))
        .collect()
    )


def _used_since(fitting: pl.DataFrame, since: str, use: pl.DataFrame) -> pl.Series:
    """How much of each row's device was used since a moment of the row."""
    of_device = [c.SHOPPER, c.DEVICE_PRODUCT]
    total = use.group_by(of_device, maintain_order=True).agg(pl.col(_USED).last().alias("total"))
    before = (
        fitting.select(*of_device, pl.col(since)).with_row_index("row").sort(since)
        .join_asof(
            use.select(*of_device, c.OCCURRED_AT, _USED),
            left_on=since,
            right_on=c.OCCURRED_AT,
            by=of_device,
            allow_exact_matches=False,
            check_sortedness=False,  # it is sorted by time, which is what counts within a device too
        )
        .join(total, on=of_device, how="left", maintain_order="left")
        .sort("row")
    )  # fmt: skip
    return before.select((pl.col("total").fill_null(0.0) - pl.col(_USED).fill_null(0.0)).clip(0))["total"]
