"""The preset of smart appliances: its made-up shop, from the export to lists that know what is about to wear out."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recommender.presets import PRESETS
from recommender.presets.appliances.shop import MEASURES_ITS_PARTS, AppliancesShop
from recommender.services.runs import compute_run, plan_run
from recommender.services.training import train
from tests.presets.lift import TOP, listed_of, measure_lift
from tests.presets.made_up import check_that_the_seed_decides, check_when_history_ends, load, read

UNTIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def shop() -> AppliancesShop:
    return AppliancesShop(shoppers=200, until=UNTIL, seed=1)


@pytest.fixture(scope="module")
def export(shop: AppliancesShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("appliances")
    shop.write(folder)
    return folder


# The made-up shop


def test_the_same_seed_makes_the_same_shop(shop: AppliancesShop, export: Path, tmp_path: Path) -> None:
    check_that_the_seed_decides(shop, export, tmp_path)


def test_nothing_happens_once_history_has_ended(shop: AppliancesShop, export: Path) -> None:
    check_when_history_ends(shop, export, lasts=timedelta(weeks=4), events=("occurred_at",))
    assert read(export, "campaigns")["starts_at"].min() > UNTIL - timedelta(weeks=40)


def test_nobody_buys_or_uses_coupons_for_a_device_that_they_do_not_own_yet(export: Path) -> None:
    fits = read(export, "device_parts").select("product_id", "device_product_id")
    owned = read(export, "devices").select("shopper_id", "acquired_at", device_product_id="product_id")
    bought = (
        read(export, "order_lines")
        .join(read(export, "orders"), on="order_id")
        .join(fits.select("product_id").unique(), on="product_id", how="semi")
    )
    for_own = (
        bought.join(fits, on="product_id")
        .join(owned, on=["shopper_id", "device_product_id"])
        .filter(pl.col("acquired_at") < pl.col("ordered_at"))
    )

    assert bought.height > 1_000
    assert bought.join(for_own, on=["order_id", "product_id"], how="anti").is_empty()
    assert (
        read(export, "redemptions").join(read(export, "orders"), on=["order_id", "shopper_id"], how="anti").is_empty()
    )


def test_devices_tell_of_their_use_or_of_their_parts(export: Path) -> None:
    products = read(export, "products").select("product_id", "category")
    told = read(export, "events").join(products, on="product_id")
    of_parts = told.filter(pl.col("category").str.starts_with("Parts and accessories"))

    assert set(told["kind"]) == {"usage"}
    assert of_parts["category"].str.contains(MEASURES_ITS_PARTS, literal=True).all()
    assert of_parts["value"].median() < 1
    assert (
        not told.filter(pl.col("category").str.starts_with("Appliances"))["category"]
        .str.contains(MEASURES_ITS_PARTS, literal=True)
        .any()
    )


def test_the_truth_is_worth_knowing(shop: AppliancesShop) -> None:
    truth = shop.true_probabilities()

    assert truth.filter(~pl.col("may_have"))["probability"].max() == 0
    assert truth.filter("may_have")["probability"].min() > 0
    assert 0.02 < truth.filter("may_have")["probability"].mean() < 0.08  # type: ignore[operator]
    assert truth["probability"].max() > 0.6  # type: ignore[operator]


# From the export to the lists


@pytest.mark.django_db
def test_lists_know_what_wears_out(shop: AppliancesShop, export: Path, data_dir: Path) -> None:
    campaign = load(export)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, algorithm="gradient_boosting", top=TOP))

    truth = shop.true_probabilities()
    listed = listed_of(run)
    assert listed.height == 200 * TOP
    assert listed.join(truth.filter("may_have"), on=["shopper_id", "coupon_id"], how="anti").is_empty()
    lift = measure_lift(run, truth)
    assert lift.captured > 0.85
    assert lift.lists > 2 * lift.same
    reasons = [reason["kind"] for row in run.recommendations.filter(rank=1) for reason in row.reasons]
    assert reasons.count("part_wears") > 100


@pytest.mark.prove
@pytest.mark.django_db
def test_the_champion_of_the_whole_shop_captures_the_lift(data_dir: Path, tmp_path: Path) -> None:
    """At the size at which it is shown, with all that a training does."""
    shop = AppliancesShop(shoppers=PRESETS["appliances"].shoppers or 0, until=UNTIL)
    (tmp_path / "export").mkdir()
    shop.write(tmp_path / "export")
    campaign = load(tmp_path / "export")
    train(as_of=UNTIL)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, top=TOP))

    lift = measure_lift(run, shop.true_probabilities())
    assert lift.captured > 0.85
    assert lift.lists > 2 * lift.same
