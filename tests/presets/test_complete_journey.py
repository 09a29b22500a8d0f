"""The real sample as a shop export: the facts of the source, and what is decided about them."""

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from recommender.models import Coupon, Order, OrderLine, Redemption, Shop
from recommender.presets import PRESETS
from recommender.presets.complete_journey.export import ZONE
from recommender.services.ingest import load_export
from recommender.services.ingest.tables import TABLES

SAMPLE = PRESETS["complete-journey"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("complete-journey")


@pytest.fixture(scope="module")
def facts(folder: Path) -> Mapping[str, int]:
    return SAMPLE.write_export(folder=folder)


@pytest.fixture(scope="module")
def export(folder: Path, facts: Mapping[str, int]) -> dict[str, pl.DataFrame]:
    return {path.stem: pl.read_parquet(path) for path in folder.iterdir()}


def test_what_was_decided_is_told(facts: Mapping[str, int]) -> None:
    assert facts == {
        "exact duplicates among the coupon rows, dropped": 4872,
        "order lines of products that the product table lacks, created as unknown": 4836,
        "order lines with quantity 0, kept": 8869,
        "order lines with a negative quantity, dropped": 0,
        "redemptions of a coupon that the household used again on a later day, kept": 27,
        "redemptions with a discounted line of the same day": 1130,
        "redemptions linked to the one line that fits": 1001,
        "days by which all times were moved": 0,
    }


def test_rows_and_columns(export: dict[str, pl.DataFrame]) -> None:
    assert {name: frame.height for name, frame in export.items()} == {
        "shoppers": 2469,
        "products": 92_351,
        "orders": 155_848,
        "order_lines": 1_469_307,
        "coupons": 1197,
        "coupon_products": 111_332,
        "campaigns": 27,
        "campaign_coupons": 1197,
        "campaign_shoppers": 6589,
        "redemptions": 2102,
    }
    for table in TABLES:
        if table.name in export and not table.keeps_unknown_columns:
            assert set(export[table.name].columns) <= {column.name for column in table.columns}


def test_a_coupon_is_a_upc_in_a_campaign(export: dict[str, pl.DataFrame]) -> None:
    coupons = export["coupons"].join(export["campaign_coupons"], on="coupon_id", validate="1:1")
    assert coupons.height == 1197
    named = coupons.select(pl.concat_str("offer_id", pl.lit("-"), "campaign_id") == pl.col("coupon_id"))
    assert named.to_series().all()
    assert export["coupon_products"].is_unique().all()


def test_unknown_products_have_an_identifier_and_nothing_else(export: dict[str, pl.DataFrame]) -> None:
    unknown = export["products"].filter(pl.col("name").is_null())
    assert unknown.height == 20
    assert unknown.drop("product_id").select(pl.all().is_null().all()).row(0) == (True,) * 5
    assert export["order_lines"].join(unknown, on="product_id", how="semi").height == 4836


def test_the_days_are_the_shops_own(export: dict[str, pl.DataFrame]) -> None:
    day = pl.col("ordered_at").dt.convert_time_zone(ZONE).dt.date().alias("day")
    baskets = export["orders"].select("shopper_id", day).unique()
    assert (baskets["day"].min(), baskets["day"].max()) == (date(2017, 1, 1), date(2017, 12, 31))
    used = export["redemptions"].select(
        "shopper_id", pl.col("redeemed_at").dt.convert_time_zone(ZONE).dt.date().alias("day"), "campaign_id"
    )
    assert used.join(baskets, on=["shopper_id", "day"], how="anti").height == 0
    in_window = used.join(export["campaigns"], on="campaign_id").filter(
        pl.col("day").is_between("starts_at", "ends_at")
    )
    assert in_window.height == 2102
    assert used.join(export["campaign_shoppers"], on=["shopper_id", "campaign_id"], how="semi").height == 2102


def test_a_linked_redemption_has_its_baskets_time_and_its_lines_discount(export: dict[str, pl.DataFrame]) -> None:
    linked = export["redemptions"].filter(pl.col("order_id").is_not_null())
    assert linked.height == 1001
    lines = export["order_lines"].filter(pl.col("coupon_id").is_not_null())
    assert lines.height == 1001
    matched = linked.join(export["orders"], on=["order_id", "shopper_id"]).join(lines, on=["order_id", "coupon_id"])
    assert matched.height == 1001
    assert (matched["redeemed_at"] == matched["ordered_at"]).all()
    assert (matched["discount_amount"] == matched["coupon_discount"]).all()


def test_money_is_the_sources_to_the_cent(export: dict[str, pl.DataFrame]) -> None:
    sums = export["order_lines"].select(pl.col("amount", "discount", "coupon_discount").sum()).row(0)
    assert [str(value) for value in sums] == SUMS
    assert export["order_lines"].select(pl.col("quantity").min()).item() == 0


SUMS = ["4596039.580", "791650.640", "30902.550"]


def test_shifting_moves_everything_by_the_same_days(export: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    facts = SAMPLE.write_export(folder=tmp_path, shift_to=date(2026, 11, 23))
    days = (date(2026, 11, 23) - date(2017, 12, 31)).days
    assert facts["days by which all times were moved"] == days

    moved = pl.read_parquet(tmp_path / "orders.parquet")
    clock = pl.col("ordered_at").dt.convert_time_zone(ZONE).dt.replace_time_zone(None)
    expected = export["orders"].select(clock.dt.offset_by(f"{days}d")).to_series()
    found = moved.select(clock).to_series()
    assert found.dt.date().max() == date(2026, 11, 23)
    # The clocks go forward on other days than they did: a few baskets fall into an hour that there is not.
    skipped = found != expected
    assert skipped.sum() < 20
    assert set((found - expected).filter(skipped)) <= {timedelta(hours=1)}

    campaigns = pl.read_parquet(tmp_path / "campaigns.parquet")
    assert ((campaigns["starts_at"] - export["campaigns"]["starts_at"]).dt.total_days() == days).all()
    assert ((campaigns["ends_at"] - export["campaigns"]["ends_at"]).dt.total_days() == days).all()
    live = campaigns.filter(pl.lit(date(2026, 11, 24)).is_between("starts_at", "ends_at"))
    assert live.height > 0
    redemptions = pl.read_parquet(tmp_path / "redemptions.parquet")
    linked = redemptions.join(moved, on=["order_id", "shopper_id"])
    assert (linked["redeemed_at"] == linked["ordered_at"]).all()


@pytest.mark.django_db
def test_some_of_its_households_load_without_a_complaint(export: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    households = export["redemptions"]["shopper_id"].unique().sort().head(20).implode()
    of_them = pl.col("shopper_id").is_in(households)
    orders = export["orders"].filter(of_them)
    extract = {
        **export,
        **{name: export[name].filter(of_them) for name in ("shoppers", "orders", "campaign_shoppers", "redemptions")},
        "order_lines": export["order_lines"].join(orders, on="order_id", how="semi"),
    }
    for name, frame in extract.items():
        frame.write_parquet(tmp_path / f"{name}.parquet")
    shop = Shop.current()
    shop.time_zone = SAMPLE.time_zone
    shop.save()
    report = load_export(folder=tmp_path)
    assert [file.new for file in report.files] == [file.rows for file in report.files]
    assert [file.left_out_columns for file in report.files] == [[]] * len(report.files)
    assert (Order.objects.count(), OrderLine.objects.count()) == (orders.height, extract["order_lines"].height)
    coupon = Coupon.objects.get(coupon_id="10000085364-8")
    assert (coupon.offer_id, coupon.title) == ("10000085364", "YOGURT and more")
    assert coupon.ends_at.isoformat() == "2017-06-26T04:00:00+00:00"  # type: ignore[union-attr]
    assert Redemption.objects.filter(order__isnull=False).count() == extract["redemptions"]["order_id"].count()
    assert load_export(folder=tmp_path).written == 0
