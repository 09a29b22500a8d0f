"""Who pays what coupons took off, of uses that an export tells of."""

import polars as pl

from recommender.bulk import read_frame, staged_values
from recommender.models import Coupon, Redemption
from recommender.services.funding import seller_amount

_AMOUNT = pl.Decimal(14, 3)
_FUNDED = {"coupon_id": pl.Int64, "funded_by": pl.String, "funded_percent": pl.Int64}


def with_payers(redemptions: pl.DataFrame) -> pl.DataFrame:
    """New redemptions, by ``coupon_id`` and ``discount_amount``, with who pays."""
    funded = Coupon.objects.exclude(funded_by="").order_by("pk")
    told = pl.DataFrame(
        [(coupon.pk, coupon.funded_by, coupon.percent_of_seller) for coupon in funded], schema=_FUNDED, orient="row"
    )
    found = redemptions.join(told, on="coupon_id", how="left", maintain_order="left").with_columns(
        pl.col("funded_by").fill_null(""), pl.col("funded_percent").fill_null(0)
    )
    return _with_seller_amounts(found)


def with_amounts_of_sellers(changed: pl.DataFrame) -> pl.DataFrame:
    """Stored redemptions, by ``id``, whose ``discount_amount`` changes, with what sellers pay of it: the same percent
    as before."""
    schema = {"id": pl.Int64, "funded_percent": pl.Int64}
    with staged_values(Redemption, "id", changed["id"]) as ids:
        stored = read_frame(Redemption.objects.filter(pk__in=ids).values_list("pk", "funded_percent"), schema)
    return _with_seller_amounts(changed.join(stored, on="id", maintain_order="left")).drop("funded_percent")


def _with_seller_amounts(redemptions: pl.DataFrame) -> pl.DataFrame:
    """Each amount and percent is divided once: few of them differ."""
    keys = ["discount_amount", "funded_percent"]
    different = redemptions.select(keys).unique()
    amounts = [seller_amount(discount=discount, percent=percent) for discount, percent in different.iter_rows()]
    different = different.with_columns(pl.Series("seller_amount", amounts, dtype=_AMOUNT))
    return redemptions.join(different, on=keys, how="left", nulls_equal=True, maintain_order="left")
