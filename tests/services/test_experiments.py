"""Experiments: the split, what each shopper is served, what is put on record, and how one ends."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from recommender.models import (
    Campaign,
    CampaignShopper,
    Coupon,
    Experiment,
    ExperimentArm,
    ExperimentExposure,
    Publication,
    Run,
    RunCoupon,
    Shopper,
)
from recommender.services import exposures
from recommender.services.access import create_api_key
from recommender.services.experiments import ExperimentRefused, make_default, start_experiment, stop_experiment
from recommender.services.exposures import record_exposures
from recommender.services.guardrails import PublishingForbidden, check_other_campaigns
from recommender.services.holdout import is_held_out
from recommender.services.patience import Busy
from recommender.services.publishing import ExperimentRuns, publish, rollback
from recommender.services.reporting import report_campaign
from recommender.services.serving import offers_of, offers_of_many
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.services.split import Exposure, choose_arm
from tests.api.shop_rows import make_campaign
from tests.api.shop_rows import publish as put_on_show
from tests.services.test_publishing import at_once
from tests.test_monitoring import read_metrics

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NAMES = [f"s{number}" for number in range(40)]


@pytest.fixture
def shoppers() -> list[Shopper]:
    return Shopper.objects.bulk_create(Shopper(shopper_id=name) for name in NAMES)


@pytest.fixture
def campaign(shoppers: list[Shopper]) -> Campaign:
    """It shows tea to everybody."""
    tea, milk, bread = (Coupon.objects.create(coupon_id=name) for name in ("tea", "milk", "bread"))
    campaign = make_campaign("spring", tea, milk, bread)
    put_on_show(campaign, *((shopper, tea, 0.5) for shopper in shoppers))
    return campaign


def approved_run(campaign: Campaign, *coupon_ids: str) -> Run:
    """A run that lists these coupons for every shopper."""
    coupons = [Coupon.objects.get(coupon_id=name) for name in coupon_ids]
    publication = put_on_show(
        campaign,
        *((shopper, coupon, 0.4) for shopper in Shopper.objects.all() for coupon in coupons),
        ended_at=NOW,
    )
    run = publication.run
    publication.delete()
    run.state = Run.State.APPROVED
    run.save()
    return run


def draft(
    campaign: Campaign, *challengers: Run, shares: tuple[str, ...] = ("50", "50"), salt: str = "salt"
) -> Experiment:
    live = Publication.objects.live().get(campaign=campaign).run
    experiment = Experiment.objects.create(campaign=campaign, name=f"which {salt}", salt=salt)
    for run, share in zip((live, *challengers), shares, strict=True):
        ExperimentArm.objects.create(experiment=experiment, name=f"arm of {run.pk}", run=run, share_percent=share)
    return experiment


@pytest.fixture
def experiment(campaign: Campaign) -> Experiment:
    """Tea for all, beside milk and bread, half of the shoppers each."""
    return draft(campaign, approved_run(campaign, "milk", "bread"))


def arms_of(experiment: Experiment) -> list[ExperimentArm]:
    return list(experiment.arms.order_by("pk"))


def lists() -> dict[str, list[str]]:
    return {name: ids(name) for name in NAMES}


def everybody(*coupon_ids: str) -> dict[str, list[str]]:
    return {name: list(coupon_ids) for name in NAMES}


def ids(shopper_id: str, **arguments: Any) -> list[str]:
    return [coupon.coupon_id for coupon in offers_of(shopper_id=shopper_id, at=NOW, **arguments).coupons]


def everything() -> list[list[tuple[Any, ...]]]:
    tables = (Experiment, ExperimentArm, ExperimentExposure, Publication, Run)
    return [list(model._default_manager.order_by("pk").values_list()) for model in tables]


# The split


def split_of(*until: int, salt: str = "salt") -> dict[str, Any]:
    arms = [{"arm": number, "run": number, "until": each} for number, each in enumerate(until)]
    return {"experiment": 1, "salt": salt, "arms": arms}


def chosen(salt: str, *until: int, shoppers: int = 20_000) -> list[int]:
    split = split_of(*until, salt=salt)
    return [choose_arm(split, f"shopper-{number}").arm for number in range(shoppers)]


def test_the_split_is_the_same_for_ever() -> None:
    """Written down: whoever changes the digest moves shoppers between arms while experiments run."""
    assert [choose_arm(split_of(500, 1000), name).arm for name in NAMES[:12]] == EXPECTED_ARMS


EXPECTED_ARMS = [0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("until", [(500, 1000), (100, 1000), (333, 667, 1000), (1, 1000)])
def test_arms_get_their_shares(until: tuple[int, ...]) -> None:
    shoppers = 20_000
    counts = Counter(chosen("any", *until))
    for number, (low, high) in enumerate(zip((0, *until), until, strict=False)):
        share = (high - low) / 1000
        assert abs(counts[number] - share * shoppers) < 4 * sqrt(shoppers * share * (1 - share)), number


def test_experiments_and_the_holdout_split_independently() -> None:
    """Of each arm of one the other takes its share, and so does the holdout."""
    first, second = chosen("first", 500, 1000), chosen("second", 500, 1000)
    held_out = [
        int(is_held_out(campaign_id="first", shopper_id=f"shopper-{number}", percent=Decimal(50)))
        for number in range(20_000)
    ]
    for other in (second, held_out):
        counts = Counter(zip(first, other, strict=True))
        assert set(counts) == {(0, 0), (0, 1), (1, 0), (1, 1)}
        assert all(abs(count - 5_000) < 4 * sqrt(20_000 * 0.25 * 0.75) for count in counts.values())


# Starting


def test_each_shopper_is_served_by_their_arm_and_stays_there(experiment: Experiment) -> None:
    assert lists() == everybody("tea")
    start_experiment(experiment=experiment, now=NOW)
    by_arm = lists()
    arm_of = {name: choose_arm(experiment.split, name).run for name in NAMES}
    first = arms_of(experiment)[0]
    assert by_arm == {name: ["tea"] if arm_of[name] == first.run_id else ["milk", "bread"] for name in NAMES}
    assert 8 < sum(each == ["tea"] for each in by_arm.values()) < 32
    assert lists() == by_arm
    together = offers_of_many(shopper_ids=NAMES, at=NOW)
    assert {each.shopper_id: [one.coupon_id for one in each.coupons] for each in together} == by_arm
    assert {name: ids(name, campaign_id="spring") for name in NAMES} == by_arm


def test_what_is_recorded_of_a_start(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    first, second = arms_of(experiment)
    assert (experiment.state, experiment.started_at) == (Experiment.State.RUNNING, NOW)
    assert experiment.split == {
        "experiment": experiment.pk,
        "salt": "salt",
        "default": first.pk,
        "arms": [
            {"arm": first.pk, "run": first.run_id, "until": 500},
            {"arm": second.pk, "run": second.run_id, "until": 1000},
        ],
    }
    assert [(each.run_id, each.arm_id, each.ended_at) for each in Publication.objects.order_by("pk")] == [
        (first.run_id, None, None),
        (second.run_id, second.pk, None),
    ]
    assert list(Run.objects.order_by("pk").values_list("state", flat=True)) == ["published", "published"]


def test_what_an_arm_shows_counts_as_shown(experiment: Experiment, client: Client) -> None:
    """For whoever watches the site, and for campaigns with another window that would share its coupons."""
    elsewhere = approved_run(make_campaign("summer", starts_at=NOW), "milk")
    milk = Coupon.objects.get(coupon_id="milk")
    for run in (elsewhere, arms_of(experiment)[1].run):
        RunCoupon.objects.create(run=run, coupon=milk, shopper_count=20)
    assert check_other_campaigns(elsewhere, NOW).kept
    start_experiment(experiment=experiment, now=NOW)
    found = read_metrics(client.get("/metrics").content.decode())
    assert found["couponsite_publications_live"] == {(): 2}
    assert found["couponsite_publication_timestamp_seconds"] == {(): NOW.timestamp()}
    assert not check_other_campaigns(elsewhere, NOW).kept
    stop_experiment(experiment=experiment, now=NOW)
    assert read_metrics(client.get("/metrics").content.decode())["couponsite_publications_live"] == {(): 1}
    assert check_other_campaigns(elsewhere, NOW).kept


def test_a_change_of_the_shares_moves_nobody_while_it_runs(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    before = lists()
    ExperimentArm.objects.update(share_percent="1")
    assert lists() == before


def break_shares(experiment: Experiment) -> None:
    experiment.arms.update(share_percent="40")


def leave_out_what_is_live(experiment: Experiment) -> None:
    first = arms_of(experiment)[0]
    first.run = approved_run(experiment.campaign, "bread")
    first.save()


def take_one_arm_away(experiment: Experiment) -> None:
    arms_of(experiment)[1].delete()


def leave_unapproved(experiment: Experiment) -> None:
    Run.objects.filter(pk=arms_of(experiment)[1].run_id).update(state=Run.State.DRAFTED)


def end_the_campaign(experiment: Experiment) -> None:
    Campaign.objects.update(ends_at=NOW)


def show_nothing(experiment: Experiment) -> None:
    Publication.objects.update(ended_at=NOW)


def take_a_run_of_another(experiment: Experiment) -> None:
    Run.objects.filter(pk=arms_of(experiment)[1].run_id).update(campaign=make_campaign("summer"))


def run_another(experiment: Experiment) -> None:
    other = draft(experiment.campaign, approved_run(experiment.campaign, "bread"), salt="other")
    start_experiment(experiment=other, now=NOW)


def decide_by_what_is_not_known(experiment: Experiment) -> None:
    experiment.outcome = Experiment.Outcome.MARGIN
    experiment.save()


def start_it_before(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (break_shares, "do not add up to 100"),
        (leave_out_what_is_live, "what the campaign shows now"),
        (take_one_arm_away, "at least two"),
        (leave_unapproved, "is not approved"),
        (end_the_campaign, "is over"),
        (show_nothing, "shows nothing"),
        (take_a_run_of_another, "of another campaign"),
        (run_another, "Another experiment runs"),
        (decide_by_what_is_not_known, "of no product it is known what it costs"),
        (start_it_before, "started before"),
    ],
)
def test_what_is_not_as_it_should_be_does_not_start(experiment: Experiment, spoil: Any, said: str) -> None:
    spoil(experiment)
    before = everything()
    with pytest.raises(ExperimentRefused, match=said):
        start_experiment(experiment=experiment, now=NOW)
    assert everything() == before


def test_what_forbids_publishing_forbids_starting(experiment: Experiment) -> None:
    Shopper.objects.filter(shopper_id="s1").update(opted_out=True)
    before = everything()
    with pytest.raises(PublishingForbidden, match="opted out"):
        start_experiment(experiment=experiment, now=NOW)
    assert everything() == before


def test_the_database_keeps_one_running_a_campaign(experiment: Experiment) -> None:
    other = draft(experiment.campaign, approved_run(experiment.campaign, "bread"), salt="other")
    start_experiment(experiment=experiment, now=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Experiment.objects.filter(pk=other.pk).update(state="running", split={}, started_at=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Experiment.objects.filter(pk=other.pk).update(state="ended")


# Serving


def test_a_list_takes_one_query_however_many_arms_there_are(campaign: Campaign) -> None:
    runs = [approved_run(campaign, "milk", "bread") for _number in range(3)]
    start_experiment(experiment=draft(campaign, *runs, shares=("25",) * 4), now=NOW)
    ids("s1")
    with CaptureQueriesContext(connection) as queries:
        ids("s1")
    assert len(queries) == 1, "\n".join(query["sql"] for query in queries)


def test_an_arm_that_has_nothing_for_a_shopper_shows_nothing(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    first, second = arms_of(experiment)
    second.run.recommendations.all().delete()
    assert lists() == {name: ["tea"] if choose_arm(experiment.split, name).arm == first.pk else [] for name in NAMES}
    told = offers_of_many(shopper_ids=NAMES, at=NOW)
    assert all(each.personal for each in told)
    assert all(len(each.exposures) == 1 for each in told), "whoever is shown nothing is served by their arm as well"


def test_whoever_is_held_out_is_in_no_arm(experiment: Experiment, shoppers: list[Shopper]) -> None:
    start_experiment(experiment=experiment, now=NOW)
    CampaignShopper.objects.create(
        campaign=experiment.campaign, shopper=shoppers[0], group=CampaignShopper.Group.CONTROL
    )
    offers = offers_of(shopper_id=NAMES[0], at=NOW)
    assert (offers.coupons, offers.exposures) == ([], [])


def test_strangers_get_what_the_campaign_shows_to_all(experiment: Experiment) -> None:
    first, second = arms_of(experiment)
    for arm, name in ((first, "tea"), (second, "milk")):
        RunCoupon.objects.create(run=arm.run, coupon=Coupon.objects.get(coupon_id=name), mean_score=0.3)
    start_experiment(experiment=experiment, now=NOW)
    for number in range(10):
        offers = offers_of(shopper_id=f"stranger-{number}", at=NOW)
        assert ([one.coupon_id for one in offers.coupons], offers.exposures) == (["tea"], [])


def test_other_campaigns_are_served_as_ever(experiment: Experiment, shoppers: list[Shopper]) -> None:
    fish = Coupon.objects.create(coupon_id="fish")
    put_on_show(make_campaign("summer", fish), *((shopper, fish, 0.9) for shopper in shoppers))
    start_experiment(experiment=experiment, now=NOW)
    assert set(map(tuple, lists().values())) == {("fish", "tea"), ("fish", "milk", "bread")}


# The record


def exposed() -> list[tuple[str, str]]:
    rows = ExperimentExposure.objects.order_by("shopper_id")
    return list(rows.values_list("shopper__shopper_id", "arm__name"))


@pytest.fixture
def call(client: Client) -> Any:
    _row, key = create_api_key(name="till", scopes=["recommendations:read"])
    return lambda name: client.get(f"/api/v1/shoppers/{name}/coupons", HTTP_AUTHORIZATION=f"Bearer {key}")


def test_who_is_served_is_put_on_record_once(experiment: Experiment, call: Any) -> None:
    assert call("s1").status_code == 200
    assert exposed() == []
    start_experiment(experiment=experiment)
    before = timezone.now()
    for _number in range(3):
        assert call("s1").status_code == 200
    assert call("nobody").status_code == 200
    arm = ExperimentArm.objects.get(pk=choose_arm(experiment.split, "s1").arm)
    assert exposed() == [("s1", arm.name)]
    row = ExperimentExposure.objects.get()
    assert before <= row.exposed_at <= timezone.now()
    assert row.experiment == experiment


def test_a_list_is_written_down_once_and_read_only_afterwards(experiment: Experiment, call: Any) -> None:
    start_experiment(experiment=experiment)
    call("s1")
    with CaptureQueriesContext(connection) as queries:
        call("s1")
    written = [query["sql"] for query in queries if query["sql"].split()[0] not in ("SELECT", "EXECUTE", "PREPARE")]
    assert written == []


@pytest.mark.parametrize("error", [Busy(), DatabaseError("read-only")])
def test_a_list_is_served_although_it_cannot_be_put_on_record(
    experiment: Experiment, call: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    start_experiment(experiment=experiment)

    def fail(*, seconds: float) -> Any:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(exposures, "patient_transaction", fail)
        assert call("s1").json()["coupons"]
    assert exposed() == []
    assert call("s1").json()["coupons"]
    assert [name for name, _arm in exposed()] == ["s1"]


def test_the_first_record_stands(experiment: Experiment, shoppers: list[Shopper]) -> None:
    start_experiment(experiment=experiment, now=NOW)
    first, second = arms_of(experiment)
    for arm, moment in ((first, NOW), (second, NOW + timedelta(days=1))):
        record_exposures(exposures=[Exposure(experiment.pk, arm.pk, shoppers[0].pk)], at=moment)
    assert list(ExperimentExposure.objects.values_list("arm", "exposed_at")) == [(first.pk, NOW)]


# While it runs, and its end


def test_nothing_is_published_or_rolled_back_beside_it(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    other = approved_run(experiment.campaign, "bread")
    before = everything()
    with pytest.raises(ExperimentRuns, match="end the experiment first"):
        publish(run=other, now=NOW)
    with pytest.raises(ExperimentRuns, match="end the experiment first"):
        rollback(campaign=experiment.campaign, now=NOW)
    for command in (["publish", str(other.pk)], ["rollback", "spring"]):
        with pytest.raises(CommandError, match="end the experiment first"):
            call_command(*command)
    assert everything() == before


def test_stopping_returns_everybody_to_what_was_shown(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    stop_experiment(experiment=experiment, now=NOW + timedelta(days=1))
    assert lists() == everybody("tea")
    assert (experiment.state, experiment.winner, experiment.ended_at) == ("ended", None, NOW + timedelta(days=1))
    first, second = arms_of(experiment)
    assert (first.run.state, second.run.state) == ("published", "approved")
    assert list(Publication.objects.filter(ended_at__isnull=True)) == [Publication.objects.live().get()]
    publish(run=second.run, now=NOW + timedelta(days=2))
    assert lists() == everybody("milk", "bread")


def test_a_winner_becomes_the_default_and_can_be_rolled_back(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    first, second = arms_of(experiment)
    publication = make_default(arm=second, now=NOW + timedelta(days=1))
    experiment.refresh_from_db()
    assert (experiment.state, experiment.winner) == (Experiment.State.ENDED, second)
    assert lists() == everybody("milk", "bread")
    assert (publication.run, publication.arm, publication.replaces.run) == (second.run, None, first.run)  # type: ignore[union-attr]
    assert {run.pk: run.state for run in Run.objects.all()} == {first.run_id: "superseded", second.run_id: "published"}
    rollback(campaign=experiment.campaign, now=NOW + timedelta(days=2))
    assert lists() == everybody("tea")


def test_what_was_the_default_may_win(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    live = Publication.objects.live().get()
    assert make_default(arm=arms_of(experiment)[0], now=NOW) == live
    assert lists() == everybody("tea")
    assert [run.state for run in Run.objects.order_by("pk")] == ["published", "approved"]


def test_a_winner_that_may_not_go_live_by_now_does_not(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    Shopper.objects.filter(shopper_id="s1").update(opted_out=True)
    before = everything()
    with pytest.raises(PublishingForbidden, match="opted out"):
        make_default(arm=arms_of(experiment)[1], now=NOW)
    assert everything() == before


def test_what_does_not_run_does_not_end(experiment: Experiment) -> None:
    before = everything()
    with pytest.raises(ExperimentRefused, match="not running"):
        stop_experiment(experiment=experiment, now=NOW)
    with pytest.raises(ExperimentRefused, match="not running"):
        make_default(arm=arms_of(experiment)[1], now=NOW)
    assert everything() == before


def test_an_ended_one_leaves_room_for_the_next(experiment: Experiment) -> None:
    start_experiment(experiment=experiment, now=NOW)
    stop_experiment(experiment=experiment, now=NOW)
    again = draft(experiment.campaign, arms_of(experiment)[1].run, salt="again")
    start_experiment(experiment=again, now=NOW)
    assert set(map(tuple, lists().values())) == {("tea",), ("milk", "bread")}


# At once


@pytest.mark.django_db(transaction=True)
def test_of_those_who_end_it_at_once_one_does(experiment: Experiment) -> None:
    start_experiment(experiment=experiment)
    first, second = arms_of(experiment)
    errors = at_once(
        lambda: make_default(arm=first),
        lambda: make_default(arm=second),
        lambda: stop_experiment(experiment=experiment),
    )
    assert [type(error) for error in errors] == [ExperimentRefused] * 2
    experiment.refresh_from_db()
    live = Publication.objects.get(ended_at__isnull=True)
    assert (experiment.state, live.arm) == ("ended", None)
    assert live.run_id == (second.run_id if experiment.winner == second else first.run_id)


@pytest.mark.django_db(transaction=True)
def test_it_starts_or_something_else_is_published(experiment: Experiment) -> None:
    other = approved_run(experiment.campaign, "bread")
    [error] = at_once(
        lambda: start_experiment(experiment=experiment),
        lambda: publish(run=other),
    )
    experiment.refresh_from_db()
    live = Publication.objects.live().get()
    if isinstance(error, ExperimentRuns):
        assert (experiment.state, live.run) == ("running", arms_of(experiment)[0].run)
    else:
        assert (type(error), experiment.state, live.run) == (ExperimentRefused, "drafted", other)


@pytest.mark.django_db(transaction=True)
def test_who_is_served_twice_at_once_is_on_record_once(experiment: Experiment, shoppers: list[Shopper]) -> None:
    start_experiment(experiment=experiment)
    exposure = [Exposure(experiment.pk, arms_of(experiment)[0].pk, shoppers[0].pk)]
    assert at_once(*[lambda: record_exposures(exposures=exposure, at=NOW)] * 4) == []
    assert ExperimentExposure.objects.count() <= 1
    record_exposures(exposures=exposure, at=NOW)
    assert ExperimentExposure.objects.count() == 1


# What it leaves for learning and for reports


def test_only_what_shoppers_were_served_of_an_arm_counts_as_offered(
    experiment: Experiment, shoppers: list[Shopper], data_dir: Path
) -> None:
    start_experiment(experiment=experiment, now=NOW)
    second = arms_of(experiment)[1]
    record_exposures(exposures=[Exposure(experiment.pk, second.pk, shoppers[7].pk)], at=NOW + timedelta(hours=1))
    assert count_offered() == {"tea": len(NAMES), "milk": 1, "bread": 1}
    report = report_campaign(campaign=experiment.campaign)
    assert report.total.offers.sent == len(NAMES) + 2
    make_default(arm=second, now=NOW + timedelta(days=1))
    assert count_offered() == {"tea": len(NAMES), "milk": len(NAMES), "bread": len(NAMES)}


def count_offered() -> dict[str, int]:
    history = open_snapshot(snapshot=take_snapshot()).before(NOW + timedelta(days=30))
    offers = history.scan("offers").collect()
    coupons = dict(enumerate(sorted(Coupon.objects.values_list("coupon_id", flat=True))))
    return {coupons[number]: count for number, count in offers["coupon"].value_counts().iter_rows()}
