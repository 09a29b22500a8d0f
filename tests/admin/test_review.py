"""The page of a run under review: what it shows, and what staff change by it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from recommender import models, tasks
from recommender.admin import run_corrections
from recommender.admin.base import change_url
from recommender.admin.run_review import basis_in_words
from recommender.models import (
    Job,
    Publication,
    Recommendation,
    Run,
    RunComment,
    RunCorrection,
    RunCoupon,
    Shopper,
    Summary,
    User,
)
from recommender.services import corrections, summaries
from recommender.services.corrections import correct_run
from recommender.services.estimates import estimate_run
from tests.services.small_shop import NOW, add_run, make_shop

ACCEPTED = {"accepted": "on"}


@pytest.fixture
def run(db: None) -> Run:
    """s1 gets c1 and c2, s2 gets c2; c3 and c4, one offer, nobody gets."""
    campaign = make_shop()
    models.Campaign.objects.update(ends_at=timezone.now() + timedelta(days=30))
    run = add_run(campaign, state=Run.State.DRAFTED)
    for shopper_id, coupon_id, rank in (("s1", "c1", 1), ("s1", "c2", 2), ("s2", "c2", 1)):
        add(run, shopper_id, coupon_id, rank)
    return estimate_run(run=Run.objects.get())


def add(run: Run, shopper_id: str, coupon_id: str, rank: int) -> None:
    Recommendation.objects.create(
        run=run,
        shopper=Shopper.objects.get(shopper_id=shopper_id),
        coupon=models.Coupon.objects.get(coupon_id=coupon_id),
        rank=rank,
        score=0.25,
        reasons=[{"kind": "never_bought"}],
    )


def address(name: str, *arguments: object) -> str:
    return reverse(f"admin:recommender_run_{name}", args=arguments)


def coupon(coupon_id: str) -> models.Coupon:
    return models.Coupon.objects.get(coupon_id=coupon_id)


def facts_of(page: Any) -> dict[str, object]:
    return dict(page.context["confirmation"].facts)


def correct(client: Client, run: Run, follow: bool = False, **data: object) -> Any:
    """Fill the form in, look at what it reaches, and confirm."""
    page = client.post(address("correct", run.pk), data)
    assert "look at what it reaches" in str(page.context["form"].errors)
    return client.post(
        address("correct", run.pk), {**data, "seen": page.context["form"]["seen"].value()}, follow=follow
    )


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def everything() -> Any:
    return (
        list(Run.objects.order_by("pk").values()),
        list(Recommendation.objects.order_by("pk").values()),
        list(RunCorrection.objects.order_by("pk").values()),
        list(RunComment.objects.order_by("pk").values()),
    )


def test_the_page_shows_what_the_run_would_bring(run: Run, admin_client: Client) -> None:
    answer = admin_client.get(address("change", run.pk))
    tiles = {tile["name"]: (tile["figure"], tile["note"]) for tile in answer.context["tiles"]}
    assert tiles["Shoppers covered"] == ("2", "3 recommendations")
    assert tiles["Expected redemptions"][0] == "0.8"
    assert tiles["Margin"] == ("unknown", "not known of 2 coupons")
    assert [(row["coupon_id"], row["shoppers"], row["uses"]) for row in answer.context["coupons"]] == [
        ("c2", "2", "0.5"),
        ("c1", "1", "0.2"),
    ]
    shown = [(bar["range"], bar["shown"]) for bar in answer.context["scores"] if bar["count"]]
    assert shown == [("20 to 50 %", "3")]
    assert [finding.kept for finding in answer.context["checks"].findings[:3]] == [True, True, True]


def test_a_margin_that_is_known_of_some_coupons_is_unknown(run: Run, admin_client: Client) -> None:
    run.run_coupons.filter(coupon__coupon_id="c1").update(margin_per_use=2, revenue_per_use=4)
    tiles = {tile["name"]: tile for tile in admin_client.get(address("change", run.pk)).context["tiles"]}
    assert (tiles["Margin"]["figure"], tiles["Margin"]["note"]) == ("unknown", "not known of 1 coupon")
    assert tiles["Revenue"]["figure"] == "1.00 USD"
    run.run_coupons.update(margin_per_use=2)
    tiles = {tile["name"]: tile for tile in admin_client.get(address("change", run.pk)).context["tiles"]}
    assert tiles["Margin"]["figure"] == "1.50 USD"


def test_the_page_takes_as_many_queries_for_a_large_run(
    run: Run, admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(address("change", run.pk), {"check": ""}).status_code == 200
        read = [
            query["sql"] for query in queries if query["sql"].startswith('SELECT "recommender_recommendation"."id"')
        ]
        assert read == [], "no recommendation is read into Python"
        return len(queries)

    count_queries()
    few = count_queries()
    for number in range(200):
        Shopper.objects.create(shopper_id=f"more-{number}")
        add(run, f"more-{number}", f"c{number % 3 + 1}", 1)
    estimate_run(run=run)
    assert count_queries() == few
    with django_assert_max_num_queries(36):
        admin_client.get(address("change", run.pk), {"check": ""})


def test_a_small_run_is_checked_whenever_somebody_looks(run: Run, admin_client: Client) -> None:
    first = admin_client.get(address("change", run.pk)).context["checks"]
    assert admin_client.get(address("change", run.pk)).context["checks"].made_at > first.made_at
    assert not Job.objects.exists()
    assert not Summary.objects.exists()


def do_the_job() -> None:
    job = Job.objects.unfinished().get()
    summaries.find_topic(key=job.arguments["topic"]).sum_up()
    Job.objects.filter(pk=job.pk).update(state=Job.State.SUCCEEDED, finished_at=timezone.now())


def test_a_large_run_is_checked_by_a_job(run: Run, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summaries, "FEW", 1)

    def checked(**query: str) -> Any:
        return admin_client.get(address("change", run.pk), query).context["checks"]

    def work() -> None:
        assert Job.objects.unfinished().get().arguments == {"topic": f"checks:{run.pk}"}
        do_the_job()

    answer = admin_client.get(address("change", run.pk))
    assert answer.context["checks"] is None
    assert change_url(Job.objects.get()) in answer.content.decode()
    assert checked() is None
    work()
    first = checked()
    assert (first.difference.new, first.job_url) == (2, "")
    assert checked().made_at == first.made_at
    assert not Job.objects.unfinished().exists(), "what was checked a moment ago is not checked again"

    assert checked(check="").job_url == change_url(Job.objects.unfinished().get())
    work()
    assert checked().made_at > first.made_at

    correct_run(run=run, kind=RunCorrection.Kind.EXCLUDE, shopper=Shopper.objects.get(shopper_id="s2"))
    assert checked() is None, "it was found out about other lists"
    work()
    assert checked().difference.new == 1
    live = add_run(run.campaign, state=Run.State.PUBLISHED)
    Publication.objects.create(campaign=run.campaign, run=live, published_at=NOW)
    assert checked() is None, "something else is live"
    work()
    assert checked().difference.live.run == live


def test_a_large_run_is_not_published_before_it_was_checked(
    run: Run, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    Run.objects.update(state=Run.State.APPROVED)
    monkeypatch.setattr(summaries, "FEW", 1)
    answer = admin_client.post(address("publish", run.pk), {"live_seen": "0", **ACCEPTED}, follow=True)
    assert messages_of(answer) == ["The run is being compared with what is live. Publish it when that is done."]
    assert not Publication.objects.exists()
    do_the_job()
    assert admin_client.get(address("publish", run.pk)).status_code == 200


def test_a_run_is_corrected_and_the_correction_undone(
    run: Run, client_with: Callable[..., Client], admin_user: User
) -> None:
    client = client_with("view_run", "review_run")
    page = client.get(address("correct", run.pk), {"kind": "exclude", "coupon": "c2"})
    seen = f"exclude:{coupon('c2').pk}::"
    assert page.context["form"].initial == {
        "kind": "exclude",
        "coupon": "c2",
        "segment": "",
        "shopper": "",
        "seen": seen,
    }
    assert facts_of(page) == {
        "Run": run,
        "Lists that it reaches": "2 of 2",
        "Recommendations that it reaches": "2",
    }
    assert not RunCorrection.objects.exists(), "asking changes nothing"

    client.post(address("correct", run.pk), {"kind": "exclude", "coupon": "c2", "reason": "too dear", "seen": seen})
    correction = RunCorrection.objects.get()
    assert (correction.coupon.coupon_id, correction.reason) == ("c2", "too dear")
    assert correction.made_by is not None
    run.refresh_from_db()
    assert (run.shopper_count, run.recommendation_count) == (1, 1)

    undo = address("undo_correction", run.pk, correction.pk)
    assert client.get(undo).status_code == 200
    client.post(undo)
    run.refresh_from_db()
    assert (run.shopper_count, run.recommendation_count) == (2, 3)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"kind": "exclude", "coupon": "nonsense", "reason": "r"}, "There is no coupon nonsense."),
        ({"kind": "exclude", "shopper": "nonsense", "reason": "r"}, "There is no shopper nonsense."),
        ({"kind": "exclude", "reason": "r"}, "Name a coupon, a segment or a shopper."),
        ({"kind": "pin", "shopper": "s1", "reason": "r"}, "Name the coupon that is to be put first."),
        ({"kind": "exclude", "coupon": "c1"}, "This field is required."),
        ({"kind": "exclude", "segment": "0", "reason": "r"}, "Select a valid choice."),
        ({"kind": "exclude", "coupon": "c1", "reason": "r"}, "Nothing was changed yet: look at what it reaches"),
        ({"kind": "pin", "coupon": "c1", "reason": "r", "seen": "exclude:1::"}, "Nothing was changed yet"),
    ],
)
def test_a_correction_that_says_too_little_is_asked_for_more(
    run: Run, admin_client: Client, data: dict[str, str], told: str
) -> None:
    before = everything()
    answer = admin_client.post(address("correct", run.pk), data)
    assert told in str(answer.context["form"].errors)
    assert everything() == before


@pytest.fixture
def segment(run: Run) -> models.Segment:
    """Of s1 and s4; only s1 has a list."""
    segment = models.Segment.objects.create(name="buyers")
    segment.conditions.create(kind="attribute", comparison="is", attribute="buyer", value="yes")
    Shopper.objects.filter(shopper_id__in=["s1", "s4"]).update(attributes={"buyer": "yes"})
    return segment


def test_a_segment_is_corrected_after_a_look_at_whom_it_reaches(
    run: Run, segment: models.Segment, admin_client: Client
) -> None:
    data = {"kind": "exclude", "segment": segment.pk, "reason": "on strike"}
    before = everything()
    page = admin_client.post(address("correct", run.pk), data)
    assert everything() == before
    assert facts_of(page) == {
        "Run": run,
        "Lists that it reaches": "1 of 2",
        "Recommendations that it reaches": "2",
    }
    correct(admin_client, run, **data)
    assert list(run.recommendations.offered().values_list("shopper__shopper_id", flat=True)) == ["s2"]

    looked = admin_client.get(address("shopper", run.pk, Shopper.objects.get(shopper_id="s1").pk))
    told = [other["why"] for other in looked.context["others"][:2]]
    assert told == ["Taken out with the segment “buyers” by admin: on strike"] * 2
    shown = admin_client.get(
        reverse("admin:recommender_runcorrection_change", args=[RunCorrection.objects.get().pk])
    ).content.decode()
    assert f"correction__id__exact={RunCorrection.objects.get().pk}" in shown

    twice = {**data, "shopper": "s2", "seen": f"exclude::{segment.pk}:"}
    answer = admin_client.post(address("correct", run.pk), twice)
    assert "Name a shopper or a segment, not both." in str(answer.context["form"].errors)


def test_why_a_coupon_stands_first(run: Run, segment: models.Segment, admin_client: Client) -> None:
    correct(admin_client, run, kind="pin", coupon="c2", segment=segment.pk, reason="fresh")
    page = address("shopper", run.pk, Shopper.objects.get(shopper_id="s1").pk)
    assert [offer["pinned"] for offer in admin_client.get(page).context["offers"]] == [
        "Put first for the segment “buyers” by admin: fresh",
        "",
    ]
    correct(admin_client, run, kind="pin", coupon="c1", shopper="s1", reason="for her")
    assert [offer["pinned"] for offer in admin_client.get(page).context["offers"]] == [
        "Put first by admin: for her",
        "Put first for the segment “buyers” by admin: fresh",
    ]


def test_a_large_correction_is_a_jobs_work(
    run: Run, admin_client: Client, monkeypatch: pytest.MonkeyPatch, broker: Any
) -> None:
    monkeypatch.setattr(corrections, "LARGE", 5)
    before = everything()
    page = admin_client.get(address("correct", run.pk), {"kind": "exclude", "coupon": "c2"})
    assert facts_of(page)["How"] == "By a job, because it is large. Until it has ended the run cannot be approved."
    data = {"kind": "exclude", "coupon": "c2", "reason": "too dear"}
    first = correct(admin_client, run, **data)
    job = models.Job.objects.get()
    assert first["Location"] == reverse("admin:recommender_job_change", args=[job.pk])
    assert job.arguments == {"run": run.pk, "kind": "exclude", "reason": "too dear", "coupon": coupon("c2").pk}
    assert everything() == before, "the job does it"

    told = f"Run {run.pk} is being corrected: wait until job {job.pk} has ended, or cancel it."
    for name in ("correct", "approve", "reject"):
        answer = admin_client.post(address(name, run.pk), {**data, "seen": ""}, follow=True)
        assert messages_of(answer)[-1] == told
    Run.objects.update(state=Run.State.APPROVED)
    assert messages_of(admin_client.post(address("publish", run.pk), ACCEPTED, follow=True)) == [told]
    Run.objects.update(state=Run.State.DRAFTED)
    review = admin_client.get(address("change", run.pk))
    assert review.context["correction_job"] == job
    assert (review.context["may_correct"], review.context["actions_detail"]) == (False, [])
    assert (everything(), models.Job.objects.count()) == (before, 1)

    tasks.run_job(job.pk)
    job.refresh_from_db()
    correction = RunCorrection.objects.get()
    assert (job.state, job.result) == ("succeeded", {"correction": correction.pk})
    assert (correction.reason, correction.job, correction.made_by) == ("too dear", job, job.started_by)
    run.refresh_from_db()
    assert (run.shopper_count, run.recommendation_count) == (1, 1)

    admin_client.post(address("undo_correction", run.pk, correction.pk))
    undoing = models.Job.objects.exclude(pk=job.pk).get()
    assert undoing.arguments == {"run": run.pk, "undo": correction.pk}
    tasks.run_job(undoing.pk)
    run.refresh_from_db()
    assert (run.shopper_count, run.recommendation_count) == (2, 3)
    assert RunCorrection.objects.get().undone_by == undoing.started_by


def test_the_same_large_correction_from_two_pages_is_done_once(
    run: Run, admin_client: Client, monkeypatch: pytest.MonkeyPatch, broker: Any
) -> None:
    """Both pages were looked at before either was answered."""
    monkeypatch.setattr(corrections, "LARGE", 5)
    monkeypatch.setattr(run_corrections, "refuse_correction", lambda run: None)
    data = {"kind": "exclude", "coupon": "c2", "reason": "too dear", "seen": f"exclude:{coupon('c2').pk}::"}
    first, second = (admin_client.post(address("correct", run.pk), data) for _page in range(2))
    assert first["Location"] == second["Location"]
    other = admin_client.post(address("correct", run.pk), {**data, "reason": "another"}, follow=True)
    assert messages_of(other)[-1].startswith(f"Run {run.pk} is being corrected")
    assert models.Job.objects.count() == 1


def test_a_large_correction_that_is_cancelled_changes_nothing(
    run: Run, admin_client: Client, client_with: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, broker: Any
) -> None:
    monkeypatch.setattr(corrections, "LARGE", 5)
    before = everything()
    correct(admin_client, run, kind="pin", coupon="c2", reason="fresh")
    job = models.Job.objects.get()
    cancel = reverse("admin:recommender_job_cancel", args=[job.pk])
    assert client_with("view_job").post(cancel).status_code == 403
    client_with("view_job", "review_run").post(cancel)
    tasks.run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, everything()) == ("cancelled", before)
    assert admin_client.get(address("change", run.pk)).context["correction_job"] is None


def test_what_a_job_was_to_correct_may_be_gone(run: Run) -> None:
    job = models.Job.objects.create(
        kind=models.Job.Kind.CORRECT,
        key=run.correction_job_key,
        arguments={"run": run.pk, "kind": "exclude", "segment": 0, "reason": "r"},
    )
    before = everything()
    tasks.run_job(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error, everything()) == ("failed", "The segment is gone.", before)


def test_chosen_recommendations_are_corrected_with_a_reason(run: Run, admin_client: Client, admin_user: User) -> None:
    before = everything()
    rows = list(run.recommendations.filter(shopper__shopper_id="s1").order_by("pk"))
    listed = reverse("admin:recommender_recommendation_changelist")
    chosen = {"action": "take_out", "_selected_action": [row.pk for row in rows]}
    page = admin_client.post(listed, chosen, follow=True)
    assert [value for _name, value in page.context["confirmation"].facts] == rows
    address_of_page = page.redirect_chain[-1][0]
    refused = admin_client.post(address_of_page, {"reason": ""})
    assert refused.context["form"].errors == {"reason": ["This field is required."]}
    assert everything() == before

    answer = admin_client.post(address_of_page, {"reason": "sold out"}, follow=True)
    assert messages_of(answer) == ["2 recommendations are taken out."]
    assert (
        list(RunCorrection.objects.values_list("kind", "reason", "made_by"))
        == [("exclude", "sold out", admin_user.pk)] * 2
    )
    assert list(run.recommendations.offered().values_list("shopper__shopper_id", flat=True)) == ["s2"]

    page = admin_client.post(listed, {**chosen, "action": "put_back"}, follow=True)
    answer = admin_client.post(page.redirect_chain[-1][0], {"reason": "back in stock"}, follow=True)
    assert messages_of(answer) == ["2 recommendations are put back."]
    assert run.recommendations.offered().count() == 3

    Run.objects.update(state=Run.State.PUBLISHED)
    before = everything()
    answer = admin_client.post(address_of_page, {"reason": "too late"}, follow=True)
    assert messages_of(answer) == [f"Run {run.pk} cannot be corrected: its state is “live”."]
    assert everything() == before


def test_who_may_not_review_corrects_nothing(run: Run, client_with: Callable[..., Client]) -> None:
    correction = correct_run(run=run, kind=RunCorrection.Kind.PIN, coupon=models.Coupon.objects.get(coupon_id="c2"))
    before = everything()
    client = client_with("view_run", "view_shopper", "publish_run")
    page = client.get(address("change", run.pk))
    assert not page.context["may_correct"]
    data = {"kind": "exclude", "coupon": "c2", "reason": "r"}
    assert client.post(address("correct", run.pk), data).status_code == 403
    assert client.post(address("undo_correction", run.pk, correction.pk)).status_code == 403
    assert client.post(address("review", "approve") + f"?run={run.pk}").status_code == 403
    assert everything() == before


def test_a_published_run_is_not_corrected(run: Run, admin_client: Client) -> None:
    Run.objects.update(state=Run.State.PUBLISHED)
    before = everything()
    data = {"kind": "exclude", "coupon": "c2", "reason": "r"}
    answer = admin_client.post(address("correct", run.pk), data, follow=True)
    assert messages_of(answer) == [f"Run {run.pk} cannot be corrected: its state is “live”."]
    assert everything() == before


def test_a_shopper_is_looked_into(run: Run, admin_client: Client) -> None:
    correct_run(
        run=run,
        kind=RunCorrection.Kind.EXCLUDE,
        coupon=models.Coupon.objects.get(coupon_id="c1"),
        reason="too dear",
        made_by=User.objects.get(username="admin"),
    )
    shopper = Shopper.objects.get(shopper_id="s1")
    found = admin_client.get(address("find_shopper", run.pk), {"shopper_id": " s1 "})
    assert found["Location"] == address("shopper", run.pk, shopper.pk)
    answer = admin_client.get(found["Location"])
    assert [(offer["rank"], offer["chance"]) for offer in answer.context["offers"]] == [(1, "25.00 %")]
    assert "Never bought what this coupon is for" in answer.content.decode()
    assert [other["why"] for other in answer.context["others"]] == [
        "Taken out by admin: too dear",
        "Ranked lower: no likelier to be used than the last of the list, 25.00 %.",
        "Ranked lower: no likelier to be used than the last of the list, 25.00 %.",
    ]
    assert [figure for _name, figure, _moment in answer.context["history"]["tiles"]] == ["1", "4.00 USD", "0"]

    unknown = admin_client.get(address("find_shopper", run.pk), {"shopper_id": "s"}, follow=True)
    assert messages_of(unknown) == ["There is no shopper s. A whole identifier is needed."]


def test_a_sample_of_shoppers_is_drawn(run: Run, admin_client: Client) -> None:
    rows = admin_client.get(address("sample", run.pk)).context["rows"]
    assert [(row["shopper"].shopper_id, row["coupons"]) for row in rows] == [("s1", "2"), ("s2", "1")]


def test_who_may_not_see_shoppers_looks_into_none(run: Run, client_with: Callable[..., Client]) -> None:
    client = client_with("view_run", "review_run")
    key = Shopper.objects.get(shopper_id="s1").pk
    assert not client.get(address("change", run.pk)).context["may_see_shoppers"]
    assert client.get(address("shopper", run.pk, key)).status_code == 403
    assert client.get(address("sample", run.pk)).status_code == 403
    assert client.get(address("find_shopper", run.pk), {"shopper_id": "s1"}).status_code == 403


def test_comments_are_kept_in_order(run: Run, client_with: Callable[..., Client]) -> None:
    client = client_with("view_run", "add_runcomment")
    for text in ("first", " second "):
        answer = client.post(address("comment", run.pk), {"text": text}, follow=True)
    assert [comment.text for comment in answer.context["comments"]] == ["first", "second"]
    assert all(comment.written_by is not None for comment in answer.context["comments"])

    empty = client.post(address("comment", run.pk), {"text": "  "}, follow=True)
    assert messages_of(empty) == ["A comment needs a text."]
    assert client.get(address("comment", run.pk)).status_code == 405
    assert client_with("view_run").post(address("comment", run.pk), {"text": "no"}).status_code == 403
    assert RunComment.objects.count() == 2


def test_runs_are_reviewed_in_bulk(run: Run, admin_client: Client, admin_user: User) -> None:
    other, live = add_run(run.campaign, state=Run.State.DRAFTED), add_run(run.campaign, state=Run.State.PUBLISHED)
    chosen = {"action": "approve_chosen", "_selected_action": [run.pk, other.pk, live.pk]}
    page = admin_client.post(address("changelist"), chosen, follow=True)
    facts = page.context["confirmation"].facts
    assert {str(value) for name, value in facts if name == "Run"} == {str(run), str(other)}
    assert [value for name, value in facts if name == "Left as it is"] == [f"{live} (live)"]
    assert set(Run.objects.values_list("state", flat=True)) == {"drafted", "published"}, "asking changes nothing"

    answer = admin_client.post(page.redirect_chain[-1][0], follow=True)
    assert messages_of(answer) == ["2 runs are approved."]
    assert [row.state for row in Run.objects.order_by("pk")] == ["approved", "approved", "published"]
    assert Run.objects.filter(reviewed_by=admin_user).count() == 2

    again = admin_client.post(page.redirect_chain[-1][0], follow=True)
    assert messages_of(again) == ["This can be done with none of the chosen runs."]
    chosen["action"] = "reject_chosen"
    page = admin_client.post(address("changelist"), chosen, follow=True)
    admin_client.post(page.redirect_chain[-1][0])
    assert [row.state for row in Run.objects.order_by("pk")] == ["rejected", "rejected", "published"]


def test_what_a_guardrail_warns_of_has_to_be_accepted(run: Run, admin_client: Client) -> None:
    Run.objects.update(state=Run.State.APPROVED)
    page = admin_client.get(address("publish", run.pk))
    warnings = [value for name, value in page.context["confirmation"].facts if name == "Warning"]
    assert warnings[-1] == "It is not known until when the data reach."
    refused = admin_client.post(address("publish", run.pk))
    assert refused.context["form"].errors == {"accepted": ["This field is required."]}
    assert not Publication.objects.exists()
    admin_client.post(address("publish", run.pk), ACCEPTED)
    assert Publication.objects.live().get().run == run


def test_what_keeps_every_rule_is_published_without_a_tick(run: Run, admin_client: Client) -> None:
    models.ModelVersion.objects.update(learned_until=timezone.now())
    models.Snapshot.objects.update(history_until=timezone.now())
    Run.objects.update(state=Run.State.APPROVED)
    admin_client.post(address("publish", run.pk))
    assert Publication.objects.live().get().run == run


@pytest.mark.parametrize("name", ["publish", "publish_later"])
def test_what_a_guardrail_forbids_is_not_even_asked(run: Run, admin_client: Client, name: str) -> None:
    Run.objects.update(state=Run.State.APPROVED)
    Shopper.objects.update(opted_out=True)
    data = {**ACCEPTED, "publish_at": f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"}
    for send in (admin_client.get, admin_client.post):
        answer = send(address(name, run.pk), data, follow=True)
        assert messages_of(answer) == ["2 shoppers of the lists have opted out."]
    assert (Publication.objects.count(), models.Job.objects.count()) == (0, 0)


def test_a_live_run_leads_to_rolling_its_campaign_back(run: Run, admin_client: Client) -> None:
    Run.objects.update(state=Run.State.PUBLISHED)
    Publication.objects.create(campaign=run.campaign, run=run, published_at=NOW)
    answer = admin_client.get(address("roll_back", run.pk))
    assert answer["Location"] == reverse("admin:recommender_campaign_roll_back", args=[run.campaign_id])


def test_a_correction_that_is_sent_again_from_another_tab_is_made_once(run: Run, admin_client: Client) -> None:
    data = {"kind": "exclude", "coupon": "c2", "reason": "sold out"}
    correct(admin_client, run, **data)
    before = list(run.recommendations.order_by("pk").values())
    again = correct(admin_client, run, follow=True, **data)
    correction = run.corrections.get()
    assert [str(message) for message in again.context["messages"]] == [
        f"The run was corrected so already: {correction}."
    ]
    assert list(run.recommendations.order_by("pk").values()) == before
    correct(admin_client, run, **data, shopper="s1")
    assert run.corrections.count() == 2, "of one shopper it is another"


@pytest.mark.parametrize(
    ("basis", "words"),
    [
        (RunCoupon.Basis.UNKNOWN, ""),
        (RunCoupon.Basis.TERMS, "the coupon's own terms"),
        (RunCoupon.Basis.PRICES, "the prices of its products"),
        (RunCoupon.Basis.OFFER, "past redemptions of the same offer: 1,200"),
    ],
)
def test_what_an_amount_rests_on_counts_redemptions_only(basis: str, words: str) -> None:
    assert basis_in_words(basis, 1200) == words
