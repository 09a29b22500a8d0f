"""The preset of smart appliances: its made-up shop, from the export to lists that know what is about to wear out."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recommender.models import Campaign, Run
from recommender.presets.appliances.shop import LIVE_CAMPAIGN, AppliancesShop
from recommender.services import scoring
from recommender.services.ingest import load_export
from recommender.services.runs import compute_run, plan_run
from tests.presets.lift import TOP, measure_lift

UNTIL = datetime(2026, 4, 1, tzinfo=UTC)


def recommend(shop: AppliancesShop, folder: Path, algorithm: str) -> Run:
    folder.mkdir()
    shop.write(folder)
    report = load_export(folder=folder)
    assert not report.examples, report.examples
    assert not report.ignored_files
    scoring.prepare_scorer.cache_clear()
    campaign = Campaign.objects.get(campaign_id=LIVE_CAMPAIGN)
    return compute_run(run=plan_run(campaign=campaign, as_of=shop.until, algorithm=algorithm, top=TOP))


def show(run: Run) -> str:
    lists = run.recommendations.order_by("shopper__shopper_id", "rank").values_list("shopper__shopper_id", "score")
    return str(list(lists[:10]))


@pytest.mark.django_db
def test_lists_know_what_wears_out(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    shop = AppliancesShop(shoppers=200, until=UNTIL, seed=1)

    run = recommend(shop, tmp_path / "export", "gradient_boosting")

    truth = shop.true_probabilities()
    listed = pl.DataFrame(
        list(run.recommendations.values_list("shopper__shopper_id", "coupon__coupon_id")),
        schema=["shopper_id", "coupon_id"],
        orient="row",
    )
    assert listed.height == 200 * TOP
    assert listed.join(truth.filter("may_have"), on=["shopper_id", "coupon_id"], how="anti").is_empty()
    lift = measure_lift(run, truth)
    assert lift.captured > 0.85
    assert lift.lists > 1.5 * lift.same
