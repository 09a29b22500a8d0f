"""Corrections: what they do to lists and figures, and that undoing them leaves no trace."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from recommender import models
from recommender.models import Recommendation, Run, RunCorrection
from recommender.progress import Cancelled, Progress
from recommender.services import corrections
from recommender.services.correction_jobs import BeingCorrected
from recommender.services.corrections import (
    NothingToCorrect,
    correct_run,
    foresee_correction,
    foresee_undoing,
    undo_correction,
)
from recommender.services.estimates import estimate_run
from recommender.services.runs import WrongState, approve_run, reject_run
from recommender.services.serving import offers_of
from tests.services.small_shop import NOW, add_run, make_shop

pytestmark = pytest.mark.django_db

EXCLUDE, INCLUDE, PIN = RunCorrection.Kind.EXCLUDE, RunCorrection.Kind.INCLUDE, RunCorrection.Kind.PIN

#: Shopper, then the coupons in order with their scores.
LISTS = {"s1": {"c1": 0.4, "c2": 0.2, "c3": 0.1}, "s2": {"c2": 0.3, "c1": 0.1}, "s3": {"c3": 0.5}}
LISTS_IN_ORDER = {shopper_id: list(listed) for shopper_id, listed in LISTS.items()}


@pytest.fixture
def run() -> Run:
    run = add_run(make_shop(), state=Run.State.DRAFTED)
    for shopper_id, listed in LISTS.items():
        for rank, (coupon_id, score) in enumerate(listed.items(), start=1):
            Recommendation.objects.create(
                run=run, shopper=shopper(shopper_id), coupon=coupon(coupon_id), rank=rank, score=score
            )
    return estimate_run(run=run)


def shopper(shopper_id: str) -> models.Shopper:
    return models.Shopper.objects.get(shopper_id=shopper_id)


def coupon(coupon_id: str) -> models.Coupon:
    return models.Coupon.objects.get(coupon_id=coupon_id)


def offered(run: Run) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    rows = run.recommendations.offered().order_by("shopper__shopper_id", "rank")
    for shopper_id, coupon_id in rows.values_list("shopper__shopper_id", "coupon__coupon_id"):
        lists.setdefault(shopper_id, []).append(coupon_id)
    return lists


def expected(run: Run) -> dict[str, tuple[int, float]]:
    rows = run.run_coupons.filter(shopper_count__gt=0).values_list(
        "coupon__coupon_id", "shopper_count", "expected_uses"
    )
    return {coupon_id: (shoppers, round(uses, 6)) for coupon_id, shoppers, uses in rows}


def everything(run: Run) -> Any:
    run.refresh_from_db()
    figures = (run.shopper_count, run.recommendation_count, run.expected_redemptions, run.expected_low)
    rows = run.recommendations.order_by("pk").values_list("pk", "rank", "excluded", "pin")
    return (list(rows), expected(run), figures, run.expected_high)


def test_a_coupon_is_taken_out_of_the_whole_run(run: Run) -> None:
    before = everything(run)
    chief = models.User.objects.create_user("chief")

    correction = correct_run(run=run, kind=EXCLUDE, coupon=coupon("c3"), reason="not now", made_by=chief)

    assert offered(run) == {"s1": ["c1", "c2"], "s2": ["c2", "c1"]}
    assert expected(run) == {"c1": (2, 0.5), "c2": (2, 0.5)}
    assert (run.shopper_count, run.recommendation_count) == (2, 4)
    assert run.expected_redemptions == pytest.approx(1.0)
    assert (correction.reason, correction.made_by, correction.undone_at) == ("not now", chief, None)

    undo_correction(correction=correction, undone_by=chief)

    assert everything(run) == before
    assert correction.undone_by == chief
    assert correction.undone_at is not None


def test_a_shopper_is_taken_out_and_one_coupon_brought_back(run: Run) -> None:
    before = everything(run)
    out = correct_run(run=run, kind=EXCLUDE, shopper=shopper("s1"))
    assert offered(run) == {"s2": ["c2", "c1"], "s3": ["c3"]}
    assert expected(run) == {"c1": (1, 0.1), "c2": (1, 0.3), "c3": (1, 0.5)}
    assert run.shopper_count == 2

    back = correct_run(run=run, kind=INCLUDE, coupon=coupon("c2"), shopper=shopper("s1"))
    assert offered(run)["s1"] == ["c2"]
    assert run.shopper_count == 3

    undo_correction(correction=out)
    assert offered(run)["s1"] == ["c1", "c2", "c3"]
    undo_correction(correction=back)
    assert everything(run) == before


def test_the_latest_correction_decides(run: Run) -> None:
    correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"))
    correct_run(run=run, kind=INCLUDE, shopper=shopper("s1"))
    again = correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"))
    assert offered(run) == {"s1": ["c2", "c3"], "s2": ["c2"], "s3": ["c3"]}
    undo_correction(correction=again)
    assert offered(run) == {"s1": ["c1", "c2", "c3"], "s2": ["c2"], "s3": ["c3"]}


def test_a_coupon_is_put_first_on_every_list_that_holds_it(run: Run) -> None:
    before = everything(run)
    first = correct_run(run=run, kind=PIN, coupon=coupon("c3"))
    assert offered(run) == {"s1": ["c3", "c1", "c2"], "s2": ["c2", "c1"], "s3": ["c3"]}

    second = correct_run(run=run, kind=PIN, coupon=coupon("c2"), shopper=shopper("s1"))
    assert offered(run)["s1"] == ["c2", "c3", "c1"]
    assert sorted(run.recommendations.filter(shopper=shopper("s1")).values_list("rank", flat=True)) == [1, 2, 3]

    undo_correction(correction=first)
    assert offered(run)["s1"] == ["c2", "c1", "c3"]
    undo_correction(correction=second)
    assert everything(run) == before


def test_the_api_serves_the_corrected_order(run: Run) -> None:
    correct_run(run=run, kind=PIN, coupon=coupon("c3"), shopper=shopper("s1"))
    correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"))
    models.Publication.objects.create(campaign=run.campaign, run=run, published_at=NOW)
    for campaign_id in (None, "spring"):
        served = offers_of(shopper_id="s1", campaign_id=campaign_id, at=NOW).coupons
        assert [(each.rank, each.coupon_id) for each in served] == [(1, "c3"), (2, "c2")]


def test_an_approved_run_goes_back_to_review(run: Run) -> None:
    approve_run(run=run, reviewed_by=models.User.objects.create_user("chief"))
    correction = correct_run(run=run, kind=PIN, coupon=coupon("c3"))
    assert (run.state, run.reviewed_by, run.reviewed_at) == (Run.State.DRAFTED, None, None)
    approve_run(run=run)
    undo_correction(correction=correction)
    run.refresh_from_db()
    assert run.state == Run.State.DRAFTED


@pytest.mark.parametrize("state", [state for state in Run.State.values if state not in ("drafted", "approved")])
def test_lists_out_of_review_stay_as_they_are(run: Run, state: str) -> None:
    correction = correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"))
    before = everything(run)
    Run.objects.update(state=state)
    for kind in RunCorrection.Kind:
        with pytest.raises(WrongState):
            correct_run(run=run, kind=kind, coupon=coupon("c2"))
    with pytest.raises(WrongState):
        undo_correction(correction=correction)
    assert everything(run) == before
    assert list(RunCorrection.objects.standing()) == [correction]


@pytest.mark.parametrize(
    ("kind", "coupon_id", "shopper_id"),
    [(EXCLUDE, "c4", None), (PIN, "c2", "s3"), (EXCLUDE, None, "s4"), (PIN, None, "s1"), (EXCLUDE, None, None)],
)
def test_what_reaches_nothing_is_refused(
    run: Run, kind: RunCorrection.Kind, coupon_id: str | None, shopper_id: str | None
) -> None:
    before = everything(run)
    with pytest.raises(NothingToCorrect):
        correct_run(
            run=run,
            kind=kind,
            coupon=coupon(coupon_id) if coupon_id else None,
            shopper=shopper(shopper_id) if shopper_id else None,
        )
    assert everything(run) == before
    assert not RunCorrection.objects.exists()


def test_undoing_twice_is_undoing_once(run: Run) -> None:
    correction = correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"))
    undone_at = undo_correction(correction=correction).undone_at
    correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"))
    assert undo_correction(correction=correction).undone_at == undone_at
    assert "c1" not in expected(run)


def test_the_database_keeps_corrections_that_reach_nothing_out(run: Run) -> None:
    both = {"kind": EXCLUDE, "shopper": shopper("s1"), "segment_name": "all"}
    for fields in (
        {"kind": EXCLUDE},
        {"kind": PIN, "shopper": shopper("s1")},
        {"kind": PIN, "segment_name": "x"},
        both,
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            RunCorrection.objects.create(run=run, **fields)


# Segments


@pytest.fixture
def buyers(run: Run) -> models.Segment:
    """s2, s3, and s5 who has no list."""
    segment = models.Segment.objects.create(name="buyers")
    models.SegmentCondition.objects.create(
        segment=segment, kind="attribute", comparison="is", attribute="buyer", value="yes"
    )
    models.Shopper.objects.filter(shopper_id__in=["s2", "s3", "s5"]).update(attributes={"buyer": "yes"})
    return segment


def test_a_segment_gets_nothing(run: Run, buyers: models.Segment) -> None:
    before = everything(run)
    reach = foresee_correction(run=run, segment=buyers)
    assert (reach.lists, reach.recommendations, reach.is_large) == (2, 3, False)

    correction = correct_run(run=run, kind=EXCLUDE, segment=buyers, reason="on strike")

    assert offered(run) == {"s1": ["c1", "c2", "c3"]}
    assert expected(run) == {"c1": (1, 0.4), "c2": (1, 0.2), "c3": (1, 0.1)}
    assert (run.shopper_count, run.recommendation_count) == (1, 3)
    assert str(correction) == "take out: segment “buyers”"
    undo_correction(correction=correction)
    assert everything(run) == before


def test_a_segment_does_not_get_a_coupon(run: Run, buyers: models.Segment) -> None:
    before = everything(run)
    correction = correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"), segment=buyers)
    assert offered(run) == {"s1": ["c1", "c2", "c3"], "s2": ["c2"], "s3": ["c3"]}
    assert [kept.shopper.shopper_id for kept in correction.correction_shoppers.all()] == ["s2"]
    back = correct_run(run=run, kind=INCLUDE, segment=buyers)
    assert offered(run) == LISTS_IN_ORDER
    undo_correction(correction=correction)
    undo_correction(correction=back)
    assert everything(run) == before


def test_a_coupon_is_put_first_for_a_segment(run: Run, buyers: models.Segment) -> None:
    before = everything(run)
    first = correct_run(run=run, kind=PIN, coupon=coupon("c1"), segment=buyers)
    assert offered(run) == {**LISTS_IN_ORDER, "s2": ["c1", "c2"]}
    everywhere = correct_run(run=run, kind=PIN, coupon=coupon("c2"))
    assert offered(run) == {"s1": ["c2", "c1", "c3"], "s2": ["c2", "c1"], "s3": ["c3"]}
    undo_correction(correction=everywhere)
    assert offered(run) == {**LISTS_IN_ORDER, "s2": ["c1", "c2"]}
    undo_correction(correction=first)
    assert everything(run) == before


def change_conditions(segment: models.Segment) -> None:
    segment.conditions.update(attribute="nobody")
    models.Segment.objects.filter(pk=segment.pk).update(name="others")


def change_shoppers(segment: models.Segment) -> None:
    models.Shopper.objects.filter(shopper_id="s1").update(attributes={"buyer": "yes"})
    models.Shopper.objects.filter(shopper_id="s2").update(attributes={})


def delete(segment: models.Segment) -> None:
    segment.delete()


@pytest.mark.parametrize("change", [change_conditions, change_shoppers, delete])
def test_what_becomes_of_a_segment_changes_nothing(
    run: Run, buyers: models.Segment, change: Callable[[models.Segment], None]
) -> None:
    before = everything(run)
    out = correct_run(run=run, kind=EXCLUDE, segment=buyers)
    change(buyers)
    assert offered(run) == {"s1": ["c1", "c2", "c3"]}
    back = correct_run(run=run, kind=INCLUDE, coupon=coupon("c2"))
    undo_correction(correction=back)
    assert offered(run) == {"s1": ["c1", "c2", "c3"]}, "it stands for whom it was made for"
    out.refresh_from_db()
    assert str(out) == "take out: segment “buyers”"
    undo_correction(correction=out)
    assert everything(run) == before


def test_a_segment_without_a_list_and_a_shopper_beside_a_segment_are_refused(run: Run, buyers: models.Segment) -> None:
    before = everything(run)
    for named in (
        {"segment": models.Segment.objects.get(name="Loyal")},
        {"segment": buyers, "shopper": shopper("s1")},
    ):
        with pytest.raises(NothingToCorrect):
            correct_run(run=run, kind=EXCLUDE, **named)
    with pytest.raises(NothingToCorrect):
        correct_run(run=run, kind=PIN, segment=buyers)
    assert everything(run) == before
    assert not RunCorrection.objects.exists()
    assert not models.RunCorrectionShopper.objects.exists()


# Large ones


class Stopping(Progress):
    """Stops the work at a report."""

    def __init__(self, at: int) -> None:
        self.left = at

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cancelled


@pytest.fixture
def parts_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "PART_LISTS", 1)


@pytest.mark.usefixtures("parts_of_one")
@pytest.mark.parametrize("kind", [EXCLUDE, PIN])
def test_what_is_stopped_midway_changes_nothing(run: Run, buyers: models.Segment, kind: RunCorrection.Kind) -> None:
    before = everything(run)
    reports = 0
    while True:
        try:
            correct_run(run=run, kind=kind, coupon=coupon("c1"), segment=buyers, progress=Stopping(reports))
        except Cancelled:
            reports += 1
            assert (everything(run), RunCorrection.objects.count()) == (before, 0)
        else:
            break
    assert reports == (3 if kind == EXCLUDE else 2)
    correction = RunCorrection.objects.get()
    with pytest.raises(Cancelled):
        undo_correction(correction=correction, progress=Stopping(0))
    correction.refresh_from_db()
    assert correction.undone_at is None
    undo_correction(correction=correction)
    assert everything(run) == before


@pytest.mark.usefixtures("parts_of_one")
def test_parts_come_to_the_same_as_the_whole(run: Run) -> None:
    before = everything(run)
    out = correct_run(run=run, kind=EXCLUDE, coupon=coupon("c3"))
    first = correct_run(run=run, kind=PIN, coupon=coupon("c2"))
    assert offered(run) == {"s1": ["c2", "c1"], "s2": ["c2", "c1"]}
    assert (run.shopper_count, run.recommendation_count) == (2, 4)
    undo_correction(correction=first)
    undo_correction(correction=out)
    assert everything(run) == before


def test_nothing_is_decided_on_a_run_that_a_job_corrects(run: Run) -> None:
    correction = correct_run(run=run, kind=PIN, coupon=coupon("c2"))
    before = everything(run)
    job = models.Job.objects.create(kind=models.Job.Kind.CORRECT, key=run.correction_job_key)
    for attempt in (
        lambda: correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1")),
        lambda: undo_correction(correction=correction),
        lambda: approve_run(run=run),
        lambda: reject_run(run=run),
    ):
        with pytest.raises(BeingCorrected, match=f"wait until job {job.pk} has ended"):
            attempt()
    assert everything(run) == before
    assert (run.state, RunCorrection.objects.standing().count()) == (Run.State.DRAFTED, 1)


def test_a_job_that_is_taken_up_again_corrects_once(run: Run) -> None:
    job = models.Job.objects.create(kind=models.Job.Kind.CORRECT, key=run.correction_job_key)
    made = correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"), job=job)
    assert correct_run(run=run, kind=EXCLUDE, coupon=coupon("c1"), job=job) == made
    undo_correction(correction=made, job=job)
    undone_at = undo_correction(correction=made, job=job).undone_at
    assert undone_at == RunCorrection.objects.get().undone_at


def test_from_which_size_a_correction_is_large(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "LARGE", 20)  # two lists of ten
    assert not foresee_correction(run=run, coupon=coupon("c1")).is_large
    Recommendation.objects.create(run=run, shopper=shopper("s3"), coupon=coupon("c1"), rank=2, score=0.1)
    assert foresee_correction(run=run, coupon=coupon("c1")).is_large
    assert not foresee_correction(run=run, shopper=shopper("s1")).is_large
    assert foresee_undoing(correction=correct_run(run=run, kind=PIN, coupon=coupon("c1"))).is_large
