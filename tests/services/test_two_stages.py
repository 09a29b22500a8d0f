"""Runs of two stages: on a generated shop the lists that scoring every pair gives, but for the share that is stated."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.contrib.admin.sites import site
from django.utils import timezone

from recommender import models
from recommender.ml import artifact, retrieval
from recommender.ml.algorithms.gradient_boosting import GradientBoosting
from recommender.ml.features import PairFeatures
from recommender.models import Run
from recommender.presets.synthetic import LIVE_CAMPAIGN, SyntheticShop
from recommender.services import allocation, first_stage, runs, scorer, scoring
from recommender.services.budgeting import Budget
from recommender.services.ingest import load_export
from recommender.services.runs import compute_run, plan_run, score_next_shard
from recommender.services.shared_files import find_file, folder_of_run
from recommender.services.snapshot import take_snapshot
from recommender.services.training import train

pytestmark = pytest.mark.django_db

UNTIL = datetime(2026, 3, 1, tzinfo=UTC)
SHOP = SyntheticShop(shoppers=400, until=UNTIL, coupons=60, products=1_500, block_shoppers=250)
TOP = 4


@pytest.fixture
def campaign(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> models.Campaign:
    """A generated shop, with limits as if it were large, and a model that nothing taught yet: it scores by how likely a
    purchase is."""
    monkeypatch.setattr(first_stage, "SAMPLE_SHOPPERS", 120)
    monkeypatch.setattr(first_stage, "FEWEST_SHOPPERS", 300)
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 90)
    write_shop(tmp_path)
    path = data_dir / "untaught"
    untaught = GradientBoosting().fit(PairFeatures().none(), np.array([], dtype=bool), np.array([], dtype=int), 0)
    models.ModelVersion.objects.create(
        algorithm=GradientBoosting.name,
        snapshot=take_snapshot(),
        learned_until=UNTIL - timedelta(days=1),
        key="untaught",
        artifact=path.name,
        artifact_digest=artifact.save(untaught, path),
        training_rows=0,
        training_positives=0,
        fit_seconds=0,
        threshold=0.5,
    )
    return models.Campaign.objects.get(campaign_id=LIVE_CAMPAIGN)


def write_shop(folder: Path) -> None:
    exports = [folder / "catalogue", *(folder / f"block-{number}" for number in range(SHOP.blocks))]
    for number, export in enumerate(exports):
        export.mkdir()
        if number:
            SHOP.write_block(number - 1, export)
        else:
            SHOP.write_catalogue(export)
        report = load_export(folder=export, whole=False)
        assert not report.examples, report.examples


def plan(campaign: models.Campaign, top: int = TOP) -> Run:
    return plan_run(campaign=campaign, as_of=UNTIL, algorithm="gradient_boosting", top=top)


def compute_anew(campaign: models.Campaign) -> Run:
    Run.objects.all().delete()
    scoring.forget_scorer()
    return compute_run(run=plan(campaign))


def rows_of(run: Run) -> list[tuple[Any, ...]]:
    rows = run.recommendations.order_by("shopper__shopper_id", "rank")
    return list(rows.values_list("shopper__shopper_id", "rank", "coupon__coupon_id", "score", "reasons"))


def test_lists_are_those_of_scoring_every_pair_but_for_the_stated_share(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval, "KEPT_SHARE", 0.97)
    monkeypatch.setattr(retrieval, "LEAST_KEPT_SHARE", 0.9)
    train(as_of=UNTIL, algorithms=["gradient_boosting"])
    two_stages = compute_anew(campaign)
    assert two_stages.retrieval is not None
    stage = two_stages.retrieval["first_stage"]
    found = rows_of(two_stages)
    kept_mean = dict(two_stages.run_coupons.values_list("coupon__coupon_id", "mean_score"))
    inputs = {each.name: each.counts for each in two_stages.inputs.all()}
    monkeypatch.setattr(first_stage, "FEWEST_SHOPPERS", 10**9)

    every_pair = compute_anew(campaign)

    assert every_pair.retrieval == {}
    expected = rows_of(every_pair)
    assert {row[0] for row in found} == {row[0] for row in expected}
    listed = {(shopper, coupon): score for shopper, _rank, coupon, score, _reasons in expected}
    both = [row for row in found if (row[0], row[2]) in listed]
    share = len(both) / len(expected)
    assert stage["kept_coupons"] < retrieval.MOST_KEPT * SHOP.coupons
    assert stage["kept_share"] >= 0.97
    # All shoppers, of whom the measured are some: within the interval and what chance adds.
    assert share >= stage["kept_share_low"] - 0.01
    assert all(score == listed[shopper, coupon] for shopper, _rank, coupon, score, _reasons in both)
    # What is told of all pairs comes of the sample: of other shoppers, so near, not equal.
    for coupon_id, mean in every_pair.run_coupons.values_list("coupon__coupon_id", "mean_score"):
        assert kept_mean[coupon_id] == pytest.approx(mean, rel=0.6), coupon_id
    sampled = two_stages.retrieval["score_sums"]
    assert {count for count, _total in sampled.values()} == {120}
    for each in every_pair.inputs.all():
        assert sum(inputs[each.name]) == 120 * SHOP.coupons


def test_lists_depend_on_neither_blocks_nor_shards_nor_processes(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = compute_anew(campaign)
    planned = one.retrieval
    assert planned
    expected = rows_of(one)

    for block_pairs, shard_shoppers, at_once in ((400, 90, 512), (250_000, 37, 512), (5_000, 400, 11)):
        monkeypatch.setattr(scorer, "BLOCK_PAIRS", block_pairs)
        monkeypatch.setattr(runs, "SHARD_SHOPPERS", shard_shoppers)
        monkeypatch.setattr("recommender.ml.features.SHOPPERS_AT_ONCE", at_once)
        again = compute_anew(campaign)
        assert again.retrieval == planned
        assert rows_of(again) == expected


def test_the_first_stage_is_learned_once(campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    run = plan(campaign)
    planned = run.retrieval
    assert planned
    monkeypatch.setattr(first_stage, "learn_retrieval", lambda *arguments: pytest.fail("It was learned already."))

    while True:  # each shard by a process of its own
        scoring.forget_scorer()
        if not score_next_shard(run=run):
            break

    run = runs.finish_run(run=run)
    assert (run.state, run.retrieval) == (Run.State.DRAFTED, planned)
    assert plan(campaign).retrieval == planned


def test_a_run_that_an_earlier_version_began_is_finished_as_it_was_begun(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_stage, "FEWEST_SHOPPERS", 10**9)
    run = plan(campaign)
    score_next_shard(run=run)
    Run.objects.update(retrieval=None)
    monkeypatch.setattr(first_stage, "FEWEST_SHOPPERS", 300)
    scoring.forget_scorer()

    run = compute_run(run=Run.objects.get())

    assert run.retrieval == {}
    assert all(run.shards.values_list("score_sums", flat=True))


def test_few_coupons_or_few_shoppers_are_scored_as_ever(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plan(campaign, top=SHOP.coupons // 2).retrieval == {}
    models.CampaignShopper.objects.bulk_create(
        models.CampaignShopper(campaign=campaign, shopper=shopper) for shopper in models.Shopper.objects.all()[:299]
    )
    campaign.assigned_at = timezone.now() - timedelta(days=1)
    assert plan(campaign).retrieval == {}


def test_nobody_who_opted_out_is_scored_to_learn_from(campaign: models.Campaign) -> None:
    run = plan(campaign)
    Run.objects.update(retrieval=None)
    models.Shopper.objects.filter(shopper_id="S0000000").update(opted_out=True)
    scoring.forget_scorer()

    run = compute_run(run=Run.objects.get())

    assert run.retrieval is not None
    assert {count for count, _total in run.retrieval["score_sums"].values()} == {119}


def test_the_page_of_the_run_tells_what_was_scored(campaign: models.Campaign) -> None:
    run = plan(campaign)
    tell = site._registry[Run].scored_pairs  # type: ignore[attr-defined]
    stage = run.retrieval["first_stage"]  # type: ignore[index]

    assert tell(run).startswith(f"of each shopper the {stage['kept_coupons']} likeliest of 60 coupons, with ")
    assert "measured on 60 shoppers" in tell(run)
    assert tell(Run(retrieval={})) == tell(Run()) == "every shopper with every coupon"


def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few that a first stage may keep them; a use of any coupon costs 1."""
    monkeypatch.setattr(allocation, "FEWEST_CANDIDATES", 4)
    monkeypatch.setattr(allocation, "CANDIDATES_A_PLACE", 1)
    monkeypatch.setattr(retrieval, "KEPT_SHARE", 0.9)
    monkeypatch.setattr(retrieval, "LEAST_KEPT_SHARE", 0.85)
    models.Coupon.objects.update(discount_type="amount", discount_value=1)


def test_a_run_within_a_budget_learns_what_may_be_allocated(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    within = {"campaign": campaign, "as_of": UNTIL, "algorithm": "gradient_boosting", "top": TOP}
    budget = Budget(amount=Decimal(1))

    run = compute_run(run=plan_run(**within, budget=budget))

    assert run.retrieval
    assert run.retrieval["first_stage"]["kept_coupons"] <= retrieval.MOST_KEPT * SHOP.coupons
    assert run.allocation_value is not None
    assert 0.99 < run.allocation_value <= 1.0, "a use costs 1, so all of it is spent"
    assert run.expected_redemptions == pytest.approx(run.allocation_value, abs=1e-3)
    expected = rows_of(run)
    Run.objects.all().delete()
    scoring.forget_scorer()
    monkeypatch.setattr(runs, "SHARD_SHOPPERS", 37)
    assert rows_of(compute_run(run=plan_run(**within, budget=budget))) == expected


def test_within_a_budget_dear_and_cheap_coupons_are_kept(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a use costs tells coupons apart, so lists depend on the price that the budget comes to have."""
    monkeypatch.setattr(allocation, "FEWEST_CANDIDATES", 12)
    monkeypatch.setattr(retrieval, "KEPT_SHARE", 0.95)
    monkeypatch.setattr(retrieval, "LEAST_KEPT_SHARE", 0.9)
    coupons = list(models.Coupon.objects.order_by("pk"))
    for number, coupon in enumerate(coupons):
        coupon.discount_type, coupon.discount_value = "amount", Decimal("0.2") * (1 + number % 10)
    models.Coupon.objects.bulk_update(coupons, ["discount_type", "discount_value"])

    def allocated(amount: Decimal) -> Run:
        Run.objects.all().delete()
        scoring.forget_scorer()
        budget = Budget(amount=amount)
        return compute_run(
            run=plan_run(campaign=campaign, as_of=UNTIL, algorithm="gradient_boosting", top=TOP, budget=budget)
        )

    plenty = Decimal(1000)
    found = {plenty: allocated(plenty)}
    most = Decimal(found[plenty].spend_curve["cost"][-1])  # type: ignore[index]
    found |= {amount: allocated(amount) for amount in (round(most / 2, 3), round(most / 10, 3))}
    monkeypatch.setattr(first_stage, "FEWEST_SHOPPERS", 10**9)
    for amount, run in found.items():
        assert run.retrieval, amount
        stage, prices = run.retrieval["first_stage"], run.retrieval["prices"]
        assert stage["kept_coupons"] <= retrieval.MOST_KEPT * SHOP.coupons
        assert len(stage["further_orders"]) == len(prices) - 1
        assert prices[0] == 0
        assert prices == sorted(prices)
        assert (prices[-1] < 0.01) is (amount == plenty), "more money than brings anything has no price"
        every_pair = allocated(amount)
        assert every_pair.retrieval == {}
        assert run.allocation_value is not None
        assert every_pair.allocation_value is not None
        assert run.allocation_value > 0.98 * every_pair.allocation_value, amount


@pytest.mark.parametrize("kept", [True, False])
def test_lists_are_explained_by_what_was_seen_when_they_were_scored(
    kept: bool, campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.Coupon.objects.update(discount_type="amount", discount_value=1)
    within = {"campaign": campaign, "as_of": UNTIL, "algorithm": "gradient_boosting", "top": TOP}
    budget = Budget(amount=Decimal(1))
    expected = rows_of(compute_run(run=plan_run(**within, budget=budget)))
    assert expected
    Run.objects.all().delete()
    scoring.forget_scorer()
    run = plan_run(**within, budget=budget)
    while score_next_shard(run=run):
        pass
    run = runs.finish_run(run=run)
    assert run.allocated_at is not None
    if kept:
        inputs = type(scoring.load_algorithm(run.model_version).inputs)
        monkeypatch.setattr(inputs, "prepare", lambda *_history: pytest.fail("Nothing is to be described."))
    else:
        for file in folder_of(run).glob("*.parquet"):
            file.unlink()

    while score_next_shard(run=run):
        pass

    assert rows_of(runs.finish_run(run=run)) == expected


def folder_of(run: Run) -> Path:
    return find_file(folder_of_run(run.key))


@pytest.mark.parametrize("limit", [{"total_limit": 5}, {"budget": 3}])
def test_where_coupons_have_limits_of_their_own_all_candidates_are_kept(
    limit: dict[str, int], campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    models.Coupon.objects.filter(coupon_id="C0000001").update(**limit)

    run = plan_run(
        campaign=campaign, as_of=UNTIL, algorithm="gradient_boosting", top=TOP, budget=Budget(amount=Decimal(1))
    )

    assert run.retrieval
    assert run.retrieval["prices"] is None
    assert "further_orders" not in run.retrieval["first_stage"]


def test_where_hardly_anybody_can_be_offered_anything_every_pair_is_scored(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_candidates(monkeypatch)
    monkeypatch.setattr(first_stage, "FEWEST_WITH_CANDIDATES", 121)
    budget = Budget(amount=Decimal(1))
    run = plan_run(campaign=campaign, as_of=UNTIL, algorithm="gradient_boosting", top=TOP, budget=budget)
    assert run.retrieval == {}
