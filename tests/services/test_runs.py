"""Runs: whom they are for, what is on the lists, and that a shard is written once and whole."""

import gc
import random
import weakref
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from django.db import connection
from django.db.models import Avg, Count
from django.utils import timezone

from recommender import models, tasks
from recommender.ml.forecast import Forecaster, Outcome
from recommender.models import Recommendation, Run, RunShard
from recommender.progress import Cancelled, Progress
from recommender.services import runs, scoring, training
from recommender.services.runs import (
    NothingToRecommend,
    OwnRun,
    WrongState,
    approve_run,
    compute_run,
    finish_run,
    plan_run,
    reject_run,
    score_next_shard,
    score_shard,
)
from tests.services.small_shop import NOW, START, add_model_version, add_run, lists_of, make_shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir", "small_shards")]


@pytest.fixture
def campaign(data_dir: Path) -> models.Campaign:
    campaign = make_shop()
    make_champion(add_model_version(learned_until=START))
    return campaign


def make_champion(version: models.ModelVersion) -> None:
    shop = models.Shop.current()
    shop.champion = version
    shop.save()


def plan(campaign: models.Campaign, **options: Any) -> Run:
    return plan_run(**{"campaign": campaign, "as_of": NOW, "top": 2, **options})


def audience(run: Run) -> list[list[str]]:
    return list(run.shards.order_by("number").values_list("shopper_ids", flat=True))


# Planning


def test_everyone_is_the_audience_where_nobody_is_listed(campaign: models.Campaign) -> None:
    models.Shopper.objects.filter(shopper_id="s5").update(opted_out=True)
    control = models.Shopper.objects.get(shopper_id="s1")
    models.CampaignShopper.objects.create(campaign=campaign, shopper=control, group="control")

    run = plan(campaign)

    assert audience(run) == [["s2", "s3"], ["s4"]]
    assert (run.state, run.shopper_count, run.model_version) == ("computing", 3, models.Shop.current().champion)


def test_listed_shoppers_are_the_audience_without_those_who_opted_out(campaign: models.Campaign) -> None:
    for shopper_id, group in (("s1", "treatment"), ("s2", "control"), ("s3", "treatment"), ("s5", "treatment")):
        shopper = models.Shopper.objects.get(shopper_id=shopper_id)
        models.CampaignShopper.objects.create(campaign=campaign, shopper=shopper, group=group)
    models.Shopper.objects.filter(shopper_id="s3").update(opted_out=True)

    assert audience(plan(campaign)) == [["s1", "s5"]]


def test_only_coupons_that_hold_in_the_rest_of_the_window_are_recommended(campaign: models.Campaign) -> None:
    models.Coupon.objects.filter(coupon_id="c1").update(active=False)
    models.Coupon.objects.filter(coupon_id="c2").update(ends_at=NOW)
    models.Coupon.objects.filter(coupon_id="c3").update(starts_at=campaign.ends_at)
    models.Coupon.objects.filter(coupon_id="c4").update(starts_at=NOW + timedelta(days=2))

    run = compute_run(run=plan(campaign))

    assert set(run.recommendations.values_list("coupon__coupon_id", flat=True)) == {"c4"}


def nothing_is_planned() -> bool:
    return not (Run.objects.exists() or RunShard.objects.exists() or models.Snapshot.objects.count() > 1)


def test_a_campaign_that_is_over_is_refused(campaign: models.Campaign) -> None:
    with pytest.raises(NothingToRecommend, match="Campaign spring ended at March 31, 2024"):
        plan(campaign, as_of=campaign.ends_at)
    assert nothing_is_planned()


def test_a_campaign_without_coupons_is_refused(campaign: models.Campaign) -> None:
    models.Coupon.objects.update(active=False)
    with pytest.raises(NothingToRecommend, match="spring has no active coupon"):
        plan(campaign)
    assert nothing_is_planned()


def test_a_campaign_without_shoppers_is_refused(campaign: models.Campaign) -> None:
    models.Shopper.objects.update(opted_out=True)
    with pytest.raises(NothingToRecommend, match="spring has no shopper"):
        plan(campaign)
    assert nothing_is_planned()


@pytest.mark.parametrize("top", [0, 1001])
def test_a_list_of_no_sensible_length_is_refused(campaign: models.Campaign, top: int) -> None:
    with pytest.raises(NothingToRecommend, match=f"Expected 1 to 1000 coupons a shopper, not {top}"):
        plan(campaign, top=top)
    assert nothing_is_planned()


def test_planning_the_same_again_gives_the_same_run(campaign: models.Campaign) -> None:
    first = plan(campaign)

    assert plan(campaign) == first
    assert RunShard.objects.count() == 3
    assert plan(campaign, top=1) != first
    assert plan(campaign, as_of=NOW + timedelta(seconds=1)) != first
    models.Coupon.objects.filter(coupon_id="c1").update(active=False)
    assert plan(campaign) != first


def test_a_job_that_is_taken_up_again_goes_on_with_its_run(campaign: models.Campaign) -> None:
    job = models.Job.objects.create(kind="recommend", key="k")
    campaign.ends_at = timezone.now() + timedelta(days=1)
    first = plan(campaign, as_of=None, job=job)

    assert plan(campaign, as_of=None, job=job) == first
    assert first.job == job


@pytest.mark.parametrize("with_champion", [False, True])
def test_without_a_champion_that_learned_in_time_one_is_trained(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch, with_champion: bool
) -> None:
    make_champion(add_model_version(learned_until=NOW + timedelta(seconds=1)) if with_champion else None)
    trained = add_model_version(learned_until=NOW)
    asked: list[dict[str, Any]] = []

    def train(**options: Any) -> SimpleNamespace:
        asked.append(options)
        return SimpleNamespace(champion=trained, versions=[trained])

    monkeypatch.setattr(training, "train", train)

    assert plan(campaign).model_version == trained
    assert [(options["as_of"], options.get("algorithms")) for options in asked] == [(NOW, None)]


def test_the_newest_version_of_an_algorithm_that_learned_in_time_scores(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (-3, -1, 5):
        add_model_version(learned_until=NOW + timedelta(days=days), algorithm="named")
    add_model_version(learned_until=NOW, algorithm="other")

    assert plan(campaign, algorithm="named").model_version.learned_until == NOW + timedelta(days=-1)

    trained = add_model_version(learned_until=NOW, algorithm="fresh")
    report = SimpleNamespace(champion=models.Shop.current().champion, versions=[trained])
    trained_with = []
    monkeypatch.setattr(training, "train", lambda **options: trained_with.append(options["algorithms"]) or report)
    models.ModelVersion.objects.filter(pk=trained.pk).update(algorithm="hidden")
    assert plan(campaign, algorithm="fresh").model_version == trained
    assert trained_with == [["fresh"]]


# Scoring


def test_lists_are_the_best_coupons_an_offer_once(campaign: models.Campaign) -> None:
    run = compute_run(run=plan(campaign))

    lists = lists_of(run)
    assert lists["s1"] == [("c1", 0.3), ("c2", 0.1)]
    assert {coupon for coupon, _ in lists["s2"]} & {"c1"} == set()  # c2 and one of c3 and c4, all at 0.2
    assert [score for _, score in lists["s2"]] == [0.2, 0.2]
    assert "c2" in dict(lists["s2"])
    assert lists["s3"][0][0] in {"c3", "c4"}
    assert [score for _, score in lists["s3"]] == [0.5, 0.0]
    assert lists["s3"][1][0] in {"c1", "c2"}
    assert [score for _, score in lists["s4"]] == [0.0, 0.0]
    assert lists["s5"][0] == ("c1", 0.1)
    assert (run.state, run.shopper_count, run.recommendation_count) == ("drafted", 5, 10)
    assert run.expected_redemptions == pytest.approx(0.3 + 0.1 + 0.2 + 0.2 + 0.5 + 0.1)
    assert (run.expected_low, run.expected_high) == Forecaster([], taught_by=0).forecast(1.4)[1:], "nothing has taught"
    best = run.recommendations.get(shopper__shopper_id="s1", rank=1)
    assert best.reasons == [{"kind": "bought_category", "times": 3}]
    assert not best.excluded


def test_what_is_expected_rests_on_what_came_of_past_campaigns(campaign: models.Campaign) -> None:
    past = [[20.0, 40, 100, "mail"], [30.0, 58, 100, "mail"], [10.0, 3, 100, "app"]]
    models.ModelVersion.objects.update(past_outcomes=past, training_positives=100)
    models.Campaign.objects.update(kind="mail")
    campaign.refresh_from_db()

    run = compute_run(run=plan(campaign))

    forecaster = Forecaster([Outcome(*outcome) for outcome in past], taught_by=100, kind="mail")
    expected, low, high = forecaster.forecast(1.4)
    assert expected > 1.4, "twice as many came as were expected"
    assert run.expected_redemptions == pytest.approx(expected)
    assert (run.expected_low, run.expected_high) == (low, high)


def test_a_list_is_as_long_as_there_are_offers(campaign: models.Campaign) -> None:
    lists = lists_of(compute_run(run=plan(campaign, top=10)))

    assert {shopper: len(coupons) for shopper, coupons in lists.items()} == dict.fromkeys(lists, 3)


def test_neither_the_order_of_identifiers_nor_of_rows_decides_between_equals(campaign: models.Campaign) -> None:
    """Newcomers, to whom all coupons are equal, get each coupon about equally often."""
    for number in range(120):
        models.Shopper.objects.create(shopper_id=f"new{number}")

    run = compute_run(run=plan(campaign, top=1))

    newcomers = run.recommendations.filter(shopper__shopper_id__startswith="new")
    counts = [newcomers.filter(coupon__coupon_id=coupon_id).count() for coupon_id in ("c1", "c2", "c3", "c4")]
    assert sum(counts) == 120
    assert min(counts) >= 15


def test_nothing_from_the_moment_on_is_used(campaign: models.Campaign) -> None:
    before = lists_of(compute_run(run=plan(campaign)))
    models.Order.objects.update(ordered_at=NOW)

    after = lists_of(compute_run(run=plan(campaign)))

    assert before["s1"][0] == ("c1", 0.3)
    assert {score for coupons in after.values() for _, score in coupons} == {0.0}


def test_what_was_prepared_is_let_go_of_when_nothing_is_left_and_before_another_run(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = plan(campaign), plan(campaign, top=1)
    prepared = weakref.ref(scoring.prepare_scorer(first.key))
    prepare = scoring._prepare_scorer

    def prepare_alone(key: str) -> Any:
        gc.collect()
        assert prepared() is None
        return prepare(key)

    assert prepared() is not None
    monkeypatch.setattr(scoring, "_prepare_scorer", prepare_alone)
    prepared = weakref.ref(scoring.prepare_scorer(second.key))
    assert score_next_shard(run=second)
    assert prepared() is scoring.prepare_scorer(second.key), "it is prepared once"
    bought = weakref.ref(scoring.prepare_scorer(second.key).narrator._purchases)

    while score_next_shard(run=second):
        pass

    gc.collect()
    assert (prepared(), bought()) == (None, None)
    assert compute_run(run=first).state == "drafted"


def test_what_was_prepared_is_kept_while_another_run_waits_and_gone_once_its_own_is_over(
    campaign: models.Campaign,
) -> None:
    waiting, run = plan(campaign), plan(campaign, top=1)
    waiting.shards.update(claim=models.Job.new_claim(), claimed_at=timezone.now())
    prepared = weakref.ref(scoring.prepare_scorer(run.key))

    assert not score_next_shard(run=waiting)
    scoring.forget_finished()
    gc.collect()
    assert prepared() is scoring.prepare_scorer(run.key)

    with pytest.raises(Cancelled):
        score_next_shard(run=run, progress=CancelledAtOnce())
    gc.collect()
    assert prepared() is None

    job = models.Job.objects.create(
        kind=models.Job.Kind.RECOMMEND, key="over", state=models.Job.State.CANCELLED, finished_at=timezone.now()
    )
    for over in ({"job": job}, {"state": Run.State.REJECTED}):
        prepared = weakref.ref(scoring.prepare_scorer(run.key))
        Run.objects.filter(pk=run.pk).update(**over)
        tasks.score_shards(job.pk)
        gc.collect()
        assert prepared() is None
        Run.objects.filter(pk=run.pk).update(job=None)


class CancelledAtOnce(Progress):
    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        raise Cancelled


def test_the_database_knows_of_the_lists_when_they_are_checked(campaign: models.Campaign) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL plans by how many rows it last counted")
    run = compute_run(run=plan(campaign))

    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE relname = %s", [Recommendation._meta.db_table])
        assert cursor.fetchone() == (run.recommendations.count(),)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_shards_does_not_matter(campaign: models.Campaign, seed: int) -> None:
    reference = lists_of(compute_run(run=plan(campaign)))
    Run.objects.all().delete()
    scoring.forget_scorer()
    run = plan(campaign)
    shard_ids = list(run.shards.values_list("pk", flat=True))
    random.Random(seed).shuffle(shard_ids)

    for shard_id in shard_ids:
        assert finish_run(run=run).state == "computing"
        score_shard(shard_id=shard_id)

    assert finish_run(run=run).state == "drafted"
    assert lists_of(run) == reference


def test_scoring_a_shard_again_does_nothing(campaign: models.Campaign) -> None:
    run = compute_run(run=plan(campaign))
    before = list(Recommendation.objects.order_by("pk").values())

    for shard in run.shards.all():
        score_shard(shard_id=shard.pk)
    score_shard(shard_id=0)  # gone
    compute_run(run=run)

    assert list(Recommendation.objects.order_by("pk").values()) == before
    assert set(run.shards.values_list("attempts", flat=True)) == {1}


def test_who_opts_out_after_the_plan_gets_nothing(campaign: models.Campaign) -> None:
    run = plan(campaign)
    models.Shopper.objects.filter(shopper_id__in=["s1", "s5"]).update(opted_out=True)

    run = compute_run(run=run)

    assert set(lists_of(run)) == {"s2", "s3", "s4"}
    assert (run.state, run.shopper_count) == ("drafted", 3)


def test_a_coupon_that_closes_after_the_plan_stays_in_the_run(campaign: models.Campaign) -> None:
    """What is served is checked again when it is served."""
    run = plan(campaign)
    models.Coupon.objects.filter(coupon_id="c1").update(active=False)

    run = compute_run(run=run)

    assert (run.state, run.coupon_ids) == ("drafted", ["c1", "c2", "c3", "c4"])
    assert lists_of(run)["s5"][0] == ("c1", 0.1)


def test_a_shard_that_dies_before_it_is_committed_leaves_nothing(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(campaign)
    shard = run.shards.get(number=1)
    insert_frame = runs.insert_frame

    def insert_and_die(model: Any, frame: pl.DataFrame) -> None:
        insert_frame(model, frame)
        raise OSError("power cut")

    with monkeypatch.context() as context:
        context.setattr(runs, "insert_frame", insert_and_die)
        with pytest.raises(OSError, match="power cut"):
            score_shard(shard_id=shard.pk)
    assert not Recommendation.objects.exists()
    shard.refresh_from_db()
    assert (shard.state, shard.claim, shard.attempts, shard.error) == ("pending", None, 1, "OSError: power cut")

    run = compute_run(run=run)

    shard.refresh_from_db()
    assert (shard.state, shard.attempts, shard.error) == ("scored", 2, "")
    assert run.recommendation_count == 10


def test_a_cancelled_shard_is_free_at_once(campaign: models.Campaign) -> None:
    class Impatient(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            if done == 3:
                raise Cancelled

    run = plan(campaign)
    with pytest.raises(Cancelled):
        compute_run(run=run, progress=Impatient())

    assert list(run.shards.order_by("number").values_list("state", "claim", "error")) == [
        ("scored", None, ""),
        ("pending", None, ""),
        ("pending", None, ""),
    ]
    assert Recommendation.objects.count() == 4
    assert compute_run(run=run).recommendation_count == 10


def test_a_claimed_shard_is_left_alone_until_its_claim_expires(campaign: models.Campaign) -> None:
    run = plan(campaign)
    shard = run.shards.get(number=0)

    def claimed(at: datetime) -> None:
        run.shards.filter(pk=shard.pk).update(claim=models.Job.new_claim(), claimed_at=at)

    claimed(timezone.now() - RunShard.CLAIM_EXPIRES + timedelta(minutes=1))
    score_shard(shard_id=shard.pk)
    assert not Recommendation.objects.exists()

    claimed(timezone.now() - RunShard.CLAIM_EXPIRES - timedelta(seconds=1))
    score_shard(shard_id=shard.pk)
    assert Recommendation.objects.count() == 4


def test_a_worker_whose_shard_was_taken_over_writes_nothing(
    campaign: models.Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = plan(campaign)
    shard = run.shards.get(number=0)
    other = models.Job.new_claim()
    score_blocks = scoring.score_blocks

    def lose_claim(shard: RunShard, **options: Any) -> Any:
        yield from score_blocks(shard, **options)
        RunShard.objects.filter(pk=shard.pk).update(claim=other)

    monkeypatch.setattr(scoring, "score_blocks", lose_claim)
    score_shard(shard_id=shard.pk)

    shard.refresh_from_db()
    assert (shard.state, shard.claim) == ("pending", other)
    assert not Recommendation.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_workers_on_one_shard_write_it_once(campaign: models.Campaign) -> None:
    run = plan(campaign)
    shard = run.shards.get(number=0)
    barrier = Barrier(2)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            barrier.wait()
            score_shard(shard_id=shard.pk)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert errors == []
    assert Recommendation.objects.count() == 4
    shard.refresh_from_db()
    assert (shard.state, shard.attempts) == ("scored", 1)


# Review


@pytest.fixture
def reviewed() -> models.Campaign:
    return models.Campaign.objects.create(campaign_id="reviewed", starts_at=START, ends_at=NOW)


@pytest.fixture
def reviewer() -> models.User:
    return models.User.objects.create_user("reviewer")


def test_a_drafted_run_is_approved(reviewed: models.Campaign, reviewer: models.User) -> None:
    run = approve_run(run=add_run(reviewed, state="drafted"), reviewed_by=reviewer)

    assert (run.state, run.reviewed_by) == ("approved", reviewer)
    assert run.reviewed_at is not None


def test_whoever_made_a_run_cannot_approve_it_unless_the_shop_says_so(
    reviewed: models.Campaign, reviewer: models.User
) -> None:
    run = add_run(reviewed, state="drafted")
    Run.objects.update(created_by=reviewer)
    run.refresh_from_db()
    before = Run.objects.values().get()

    with pytest.raises(OwnRun, match=rf"^Run {run.pk} was started by reviewer, so somebody else has to approve it\.$"):
        approve_run(run=run, reviewed_by=reviewer)
    assert Run.objects.values().get() == before

    models.Shop(may_approve_own_runs=True).save()
    assert approve_run(run=run, reviewed_by=reviewer).state == "approved"


def test_whoever_made_a_run_may_reject_it(reviewed: models.Campaign, reviewer: models.User) -> None:
    run = add_run(reviewed, state="drafted")
    Run.objects.update(created_by=reviewer)
    assert reject_run(run=run, reviewed_by=reviewer).state == "rejected"


@pytest.mark.parametrize("state", ["drafted", "approved"])
def test_a_run_is_rejected_until_it_is_published(reviewed: models.Campaign, reviewer: models.User, state: str) -> None:
    run = reject_run(run=add_run(reviewed, state=state), reviewed_by=reviewer)

    assert (run.state, run.reviewed_by) == ("rejected", reviewer)


@pytest.mark.parametrize(
    ("review", "state"),
    [
        *((approve_run, state) for state in Run.State.values if state != "drafted"),
        *((reject_run, state) for state in Run.State.values if state not in ("drafted", "approved")),
    ],
)
def test_a_review_in_another_state_is_refused(reviewed: models.Campaign, review: Any, state: str) -> None:
    run = add_run(reviewed, state=state)

    with pytest.raises(WrongState, match=f"Run {run.pk} is in state"):
        review(run=run)

    run.refresh_from_db()
    assert (run.state, run.reviewed_at) == (state, None)


def test_each_coupons_mean_score_is_over_everybody_and_not_only_those_who_have_it_on_their_list(
    campaign: models.Campaign,
) -> None:
    short, whole = compute_run(run=plan(campaign, top=1)), compute_run(run=plan(campaign, top=10))

    def means(run: Run) -> dict[str, float]:
        return dict(run.run_coupons.order_by("pk").values_list("coupon__coupon_id", "mean_score"))

    assert means(short) == means(whole)
    assert set(means(whole)) == set(whole.coupon_ids)
    for shard in whole.shards.all():
        assert {count for count, _total in shard.score_sums.values()} == {len(shard.shopper_ids)}
    listed = whole.recommendations.values("coupon__coupon_id").annotate(mean=Avg("score"), count=Count("pk"))
    by_everybody = {row["coupon__coupon_id"]: row["mean"] for row in listed if row["count"] == whole.shopper_count}
    assert by_everybody, "some coupon is on every list"
    for coupon_id, mean in by_everybody.items():
        assert means(whole)[coupon_id] == pytest.approx(mean)
