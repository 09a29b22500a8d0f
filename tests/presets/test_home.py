"""The preset of the home: its made-up shop, from the export to lists that know what a project needs next."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from recommender.models import CATEGORY_SEPARATOR, Coupon, ProjectStage, Shopper
from recommender.presets import PRESETS
from recommender.presets.home.shop import HomeShop
from recommender.services.projects import OfProjects
from recommender.services.runs import compute_run, plan_run
from recommender.services.training import train
from tests.presets.lift import TOP, listed_of, measure_lift
from tests.presets.made_up import check_that_the_seed_decides, check_when_history_ends, load, read

UNTIL = datetime(2026, 4, 1, tzinfo=UTC)
ALGORITHM = "gradient_boosting"
SHOPPERS = 250


@pytest.fixture(scope="module")
def shop() -> HomeShop:
    return HomeShop(shoppers=SHOPPERS, until=UNTIL, seed=1)


@pytest.fixture(scope="module")
def export(shop: HomeShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    shop.write(folder)
    return folder


# The made-up shop


def test_the_same_seed_makes_the_same_shop(shop: HomeShop, export: Path, tmp_path: Path) -> None:
    check_that_the_seed_decides(shop, export, tmp_path)


def test_nothing_happens_once_history_has_ended(shop: HomeShop, export: Path) -> None:
    check_when_history_ends(shop, export, lasts=timedelta(weeks=4))


def test_projects_go_on_stage_by_stage_with_long_gaps_and_large_baskets(export: Path) -> None:
    of_project = (
        read(export, "order_lines")
        .filter(pl.col("coupon_id").is_null())
        .join(read(export, "orders"), on="order_id")
        .join(read(export, "products"), on="product_id")
        .filter(~pl.col("category").str.starts_with("Every day"))
        .with_columns(
            pl.col("category").str.split(CATEGORY_SEPARATOR).list.get(0).alias("project"),
            pl.col("category").str.split(CATEGORY_SEPARATOR).list.head(2).list.join(CATEGORY_SEPARATOR),
        )
        .join(read(export, "project_stages").select("category", "position"), on="category", validate="m:1")
    )
    begun = of_project.group_by("shopper_id", "project", "position").agg(pl.col("ordered_at").min())
    steps = begun.join(
        begun.with_columns(pl.col("position") - 1), on=["shopper_id", "project", "position"], suffix="_next"
    )
    days = (steps["ordered_at_next"] - steps["ordered_at"]).dt.total_days()

    assert steps.height > 500
    assert (days >= 0).mean() > 0.95  # type: ignore[operator]  # but for those who began with a coupon
    assert days.median() > 20  # type: ignore[operator]
    assert of_project.group_by("order_id").len()["len"].mean() > 1.8  # type: ignore[operator]


def test_coupons_are_used_by_those_who_have_them(export: Path) -> None:
    used = read(export, "redemptions").join(
        read(export, "campaigns").select("campaign_id", "starts_at", "ends_at"), on="campaign_id"
    )

    assert used.height > 1_000
    assert used.filter(
        (pl.col("redeemed_at") < pl.col("starts_at")) | (pl.col("redeemed_at") >= pl.col("ends_at"))
    ).is_empty()
    assert used.join(read(export, "campaign_shoppers"), on=["campaign_id", "shopper_id"], how="anti").is_empty()


@pytest.mark.django_db
def test_the_truth_is_worth_knowing_and_keeps_the_rule(shop: HomeShop, export: Path) -> None:
    load(export)
    truth = shop.true_probabilities()
    keys = dict(Shopper.objects.values_list("shopper_id", "pk"))
    coupons = dict(Coupon.objects.values_list("coupon_id", "pk"))
    rule = OfProjects(coupons.values(), keys.values(), UNTIL)
    told = [rule.may_have(coupons[coupon], keys[shopper]) for shopper, coupon, *_rest in truth.iter_rows()]

    assert truth["may_have"].to_list() == told
    assert truth.filter(~pl.col("may_have"))["probability"].max() == 0
    assert truth.filter(~pl.col("may_have")).height > 1_000
    assert 0.02 < truth.filter("may_have")["probability"].mean() < 0.08  # type: ignore[operator]
    assert truth["probability"].max() > 0.6  # type: ignore[operator]


# From the export to the lists


@pytest.mark.django_db
def test_lists_know_what_a_project_needs_next(shop: HomeShop, export: Path, data_dir: Path) -> None:
    campaign = load(export)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, algorithm=ALGORITHM, top=TOP))

    truth = shop.true_probabilities()
    allowed = truth.filter("may_have")
    listed = listed_of(run)
    most = allowed.group_by("shopper_id").agg(pl.len().clip(0, TOP))
    assert listed.height == most["len"].sum() > 9 * SHOPPERS  # some have finished almost everything
    assert listed.join(allowed, on=["shopper_id", "coupon_id"], how="anti").is_empty()
    lift = measure_lift(run, truth)
    assert lift.captured > 0.85
    assert lift.lists > 2 * lift.same
    reasons = [reason["kind"] for row in run.recommendations.filter(rank=1) for reason in row.reasons]
    assert reasons.count("needed_in_project") > SHOPPERS / 4


@pytest.mark.prove
@pytest.mark.django_db
def test_the_champion_of_the_whole_shop_captures_the_lift(data_dir: Path, tmp_path: Path) -> None:
    """At the size at which it is shown, with all that a training does."""
    shop = HomeShop(shoppers=PRESETS["home"].shoppers or 0, until=UNTIL)
    (tmp_path / "export").mkdir()
    shop.write(tmp_path / "export")
    campaign = load(tmp_path / "export")
    assert ProjectStage.objects.exists()
    train(as_of=UNTIL)

    run = compute_run(run=plan_run(campaign=campaign, as_of=UNTIL, top=TOP))

    lift = measure_lift(run, shop.true_probabilities())
    assert lift.captured > 0.85
    assert lift.lists > 2 * lift.same
