"""The preset of fresh food: its made-up shop, from the export to lists that know what runs out and what goes bad."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recommender.models import Batch
from recommender.presets import PRESETS
from recommender.presets.fresh_food.shop import FreshFoodShop
from recommender.services.runs import compute_run, plan_run
from recommender.services.training import train
from tests.presets.lift import TOP, listed_of, measure_lift
from tests.presets.made_up import check_that_the_seed_decides, check_when_history_ends, load, read

UNTIL = datetime(2026, 4, 1, tzinfo=UTC)
ALGORITHM = "gradient_boosting"
SHOPPERS = 150


@pytest.fixture(scope="module")
def shop() -> FreshFoodShop:
    return FreshFoodShop(shoppers=SHOPPERS, until=UNTIL, seed=1)


@pytest.fixture(scope="module")
def export(shop: FreshFoodShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh_food")
    shop.write(folder)
    return folder


# The made-up shop


def test_the_same_seed_makes_the_same_shop(shop: FreshFoodShop, export: Path, tmp_path: Path) -> None:
    check_that_the_seed_decides(shop, export, tmp_path)


def test_nothing_happens_once_history_has_ended(shop: FreshFoodShop, export: Path) -> None:
    check_when_history_ends(shop, export, lasts=timedelta(days=7), batches=("received_at", "sold_out_at"))


def test_nobody_buys_what_is_not_in_stock_or_no_longer_good(export: Path) -> None:
    batches = read(export, "batches")
    bought = (
        read(export, "order_lines")
        .join(read(export, "orders"), on="order_id")
        .join(batches.select("product_id").unique(), on="product_id", how="semi")
    )
    good = bought.join(batches, on="product_id").filter(
        pl.col("received_at") <= pl.col("ordered_at"),
        pl.col("ordered_at") < pl.col("best_before"),
        pl.col("sold_out_at").is_null() | (pl.col("ordered_at") < pl.col("sold_out_at")),
    )

    assert bought.height > 10_000
    assert bought.join(good, on=["order_id", "product_id"], how="anti").is_empty()


def test_coupons_are_used_by_those_who_have_them_while_they_hold(export: Path) -> None:
    used = (
        read(export, "redemptions")
        .join(read(export, "coupons"), on="coupon_id")
        .join(read(export, "campaigns").select("campaign_id", begins="starts_at", is_over="ends_at"), on="campaign_id")
    )

    assert used.height > 1_000
    assert used.filter(
        (pl.col("redeemed_at") < pl.col("begins")) | (pl.col("redeemed_at") >= pl.min_horizontal("is_over", "ends_at"))
    ).is_empty()
    assert used.join(read(export, "campaign_shoppers"), on=["campaign_id", "shopper_id"], how="anti").is_empty()
    assert used.unique(["campaign_id", "shopper_id", "coupon_id"]).height == used.height


def test_the_truth_is_worth_knowing(shop: FreshFoodShop) -> None:
    truth = shop.true_probabilities()
    coupons = truth.select("coupon_id", "may_have").unique()

    assert coupons.filter(~pl.col("may_have"))["coupon_id"].str.starts_with("M").any()
    assert truth.filter(~pl.col("may_have"))["probability"].max() == 0
    assert 0.02 < truth.filter("may_have")["probability"].mean() < 0.08  # type: ignore[operator]
    assert truth["probability"].max() > 0.6  # type: ignore[operator]


# From the export to the lists


@pytest.mark.django_db
def test_lists_know_what_runs_out_and_what_goes_bad(shop: FreshFoodShop, export: Path, data_dir: Path) -> None:
    campaign = load(export)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, algorithm=ALGORITHM, top=TOP))

    truth = shop.true_probabilities()
    allowed = truth.filter("may_have")
    assert run.coupon_ids == sorted(allowed["coupon_id"].unique())
    listed = listed_of(run)
    assert listed.height == SHOPPERS * TOP
    assert listed.join(allowed, on=["shopper_id", "coupon_id"], how="anti").is_empty()
    lift = measure_lift(run, truth)
    assert lift.captured > 0.85
    assert lift.lists > 1.5 * lift.same
    reasons = [reason["kind"] for row in run.recommendations.filter(rank=1) for reason in row.reasons]
    assert reasons.count("bought_every") > SHOPPERS / 4
    assert reasons.count("keeps_for") > SHOPPERS / 20


@pytest.mark.prove
@pytest.mark.django_db
def test_the_champion_of_the_whole_shop_captures_the_lift(data_dir: Path, tmp_path: Path) -> None:
    """At the size at which it is shown, with all that a training does."""
    shop = FreshFoodShop(shoppers=PRESETS["fresh-food"].shoppers or 0, until=UNTIL)
    (tmp_path / "export").mkdir()
    shop.write(tmp_path / "export")
    campaign = load(tmp_path / "export")
    assert Batch.objects.exists()
    train(as_of=UNTIL)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, top=TOP))

    lift = measure_lift(run, shop.true_probabilities())
    assert lift.captured > 0.85
    assert lift.lists > 1.5 * lift.same
