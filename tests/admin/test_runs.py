"""A run on its way: reviewed, changed, published, rolled back, all through the pages."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import Campaign, Job, Publication, Recommendation, Run, RunShard, Shop, User
from recommender.services.runs import compute_run, plan_run
from tests.admin.rows import add_rows
from tests.services.small_shop import NOW, START, add_model_version, add_run, lists_of, make_shop

REVIEW = ["approve", "reject"]
PUBLISH = ["publish", "publish_later"]
#: The data of these runs are old, of which publishing warns.
ACCEPTED = {"accepted": "on"}


@pytest.fixture
def campaign(db: None) -> Campaign:
    return Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=timezone.now() + timedelta(days=30))


def action(name: str, run: Run) -> str:
    return reverse(f"admin:recommender_run_{name}", args=[run.pk])


def page(row: Run | Campaign | Job) -> str:
    return reverse(f"admin:recommender_{row._meta.model_name}_change", args=[row.pk])


def messages_of(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def states() -> list[str]:
    return list(Run.objects.order_by("pk").values_list("state", flat=True))


def on_show() -> list[int]:
    return list(Publication.objects.live().values_list("run", flat=True))


def test_a_computed_run_is_approved_published_and_rolled_back(admin_client: Client, admin_user: User) -> None:
    campaign = make_shop()
    Campaign.objects.update(ends_at=timezone.now() + timedelta(days=30))
    Shop.current()
    Shop.objects.update(champion=add_model_version(learned_until=NOW))
    first = compute_run(run=plan_run(campaign=campaign, as_of=NOW, top=1))
    second = compute_run(run=plan_run(campaign=campaign, as_of=NOW, top=2))
    assert lists_of(first)["s1"] == [("c1", 0.3)]

    for run in (first, second):
        assert admin_client.get(action("approve", run)).status_code == 200
        assert Run.State.APPROVED not in states(), "asking changes nothing"
        admin_client.post(action("approve", run))
        run.refresh_from_db()
        assert (run.state, run.reviewed_by) == (Run.State.APPROVED, admin_user)
        admin_client.post(action("publish", run), ACCEPTED)
    assert states() == [Run.State.SUPERSEDED, Run.State.PUBLISHED]
    live = Publication.objects.live().get()
    assert (live.run, live.published_by) == (second, admin_user)

    roll_back = reverse("admin:recommender_campaign_roll_back", args=[campaign.pk])
    assert admin_client.get(roll_back).context["form"].initial == {"live": live.pk}
    admin_client.post(roll_back, {"live": live.pk})
    assert (states(), on_show()) == ([Run.State.PUBLISHED, Run.State.ROLLED_BACK], [first.pk])


def test_the_page_of_a_run_counts_its_coupons(admin_client: Client) -> None:
    campaign = make_shop()
    Shop.current()
    Shop.objects.update(champion=add_model_version(learned_until=NOW))
    run = compute_run(run=plan_run(campaign=campaign, as_of=NOW, top=1))
    coupons = admin_client.get(page(run)).context["coupons"]
    assert sum(int(count["shoppers"]) for count in coupons) == run.recommendation_count


@pytest.mark.parametrize(
    ("figures", "taught_by", "told"),
    [
        ((None, None, None), 5, "None"),  # shown as a dash
        ((120.4, 60, 2_100), 5, "about 120 uses, 90 of 100 times between 60 and 2,100"),
        ((1.44, 0, 5), 5, "about 1.4 uses, 90 of 100 times between 0 and 5"),
        ((120.4, None, None), 5, "about 120 uses"),
        (
            (120.4, 10, 900),
            0,
            "about 120 uses, 90 of 100 times between 10 and 900. "
            "No past campaign has taught anything yet: this rests on purchases alone.",
        ),
    ],
)
def test_the_page_of_a_run_says_how_many_uses_are_expected(
    admin_client: Client,
    campaign: Campaign,
    figures: tuple[float | None, int | None, int | None],
    taught_by: int,
    told: str,
) -> None:
    run = add_run(campaign)
    run.model_version.training_positives = taught_by
    run.model_version.save()
    run.expected_redemptions, run.expected_low, run.expected_high = figures
    run.save()

    answer = admin_client.get(page(run))

    assert shown(answer, "expected_interval") == told


def shown(answer: Any, name: str) -> str:
    """What the page shows in a read-only field."""
    lines = (line for fieldset in answer.context["adminform"] for line in fieldset)
    return next(str(field.contents()) for line in lines for field in line if field.field["name"] == name)


def test_publishing_says_what_changes_for_whom(admin_client: Client, campaign: Campaign) -> None:
    for number in range(1, 5):
        add_rows(number)
    shoppers = list(Recommendation.objects.order_by("pk").values_list("shopper", "coupon"))
    old, new = add_run(campaign, state=Run.State.PUBLISHED), add_run(campaign)
    Publication.objects.create(campaign=campaign, run=old, published_at=NOW)
    for run, chosen in ((old, shoppers[:3]), (new, shoppers[2:])):
        for shopper, coupon in chosen:
            Recommendation.objects.create(run=run, shopper_id=shopper, coupon_id=coupon, rank=1, score=0.1)
    facts = [str(value) for _name, value in admin_client.get(action("publish", new)).context["confirmation"].facts]
    assert facts[-5:] == [str(old), "1", "0", "1", "2"], "live now; kept; changed; new; lost"


def test_answering_twice_does_it_once(admin_client: Client, campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.DRAFTED)
    admin_client.post(action("approve", run))
    reviewed_at = Run.objects.get().reviewed_at
    again = admin_client.post(action("approve", run), follow=True)
    assert "approved" in messages_of(again)[-1]
    assert Run.objects.get().reviewed_at == reviewed_at

    admin_client.post(action("publish", run), ACCEPTED)
    admin_client.post(action("publish", run), ACCEPTED)
    assert Publication.objects.count() == 1


def test_rolling_back_twice_rolls_back_once(admin_client: Client, campaign: Campaign) -> None:
    runs = [add_run(campaign), add_run(campaign), add_run(campaign)]
    for run in runs:
        admin_client.post(action("publish", run), ACCEPTED)
    roll_back = reverse("admin:recommender_campaign_roll_back", args=[campaign.pk])
    live = Publication.objects.live().get().pk
    admin_client.post(roll_back, {"live": live})
    again = admin_client.post(roll_back, {"live": live}, follow=True)
    assert messages_of(again)[-1] == "What the campaign shows has changed meanwhile. Nothing was rolled back."
    assert on_show() == [runs[1].pk]


def test_a_rejected_run_cannot_be_published(admin_client: Client, campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.DRAFTED)
    admin_client.post(action("reject", run))
    asked = admin_client.get(action("publish", run), follow=True)
    assert asked.redirect_chain[-1][0] == reverse("admin:recommender_run_change", args=[run.pk]), "nobody is asked"
    assert messages_of(asked)[-1] == f"This cannot be done with run {run.pk}: its state is “rejected”."
    admin_client.post(action("publish", run), ACCEPTED)
    admin_client.post(
        action("publish_later", run), {**ACCEPTED, "publish_at": f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"}
    )
    assert (states(), on_show(), Job.objects.count()) == ([Run.State.REJECTED], [], 0)


def test_who_comes_too_late_to_publish_is_told_who_was_first(
    admin_client: Client, client_with: Callable[..., Client], campaign: Campaign
) -> None:
    run = add_run(campaign, state=Run.State.APPROVED)
    admin_client.post(action("publish", run), ACCEPTED)
    late = client_with("publish_run", "view_run").post(action("publish", run), ACCEPTED, follow=True)
    assert messages_of(late)[-1] == f"Run {run.pk} is live already: admin published it."
    assert Publication.objects.get().published_by == User.objects.get(username="admin")


def test_a_run_is_published_at_a_moment_of_the_shops_clock(admin_client: Client, campaign: Campaign) -> None:
    Shop(time_zone="America/New_York").save()
    run = add_run(campaign)
    tomorrow = timezone.localtime(timezone.now() + timedelta(days=1), Shop.current().zone)
    asked = admin_client.get(action("publish_later", run)).context["form"]
    answer = {**ACCEPTED, "publish_at": f"{tomorrow:%Y-%m-%dT09:30}", "live_seen": asked["live_seen"].value()}
    admin_client.post(action("publish_later", run), answer)
    job = Job.objects.get()
    assert (job.kind, job.arguments) == (Job.Kind.PUBLISH, {"run": run.pk, "live_seen": 0})
    assert job.not_before == datetime(tomorrow.year, tomorrow.month, tomorrow.day, 9, 30, tzinfo=Shop.current().zone)
    assert (states(), on_show()) == ([Run.State.APPROVED], [])

    late = admin_client.post(action("publish_later", run), {**ACCEPTED, "publish_at": "2020-01-01T09:30"})
    assert late.context["form"].errors == {"publish_at": ["This moment is past."]}
    assert Job.objects.count() == 1


def test_who_made_a_run_cannot_approve_it(admin_client: Client, admin_user: User, campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.DRAFTED)
    Run.objects.update(created_by=admin_user)
    offered = [offer["path"] for offer in admin_client.get(page(run)).context["actions_detail"]]
    assert offered == [action("correct", run), action("reject", run)]
    before = Run.objects.values().get()
    for answer in (admin_client.get(action("approve", run), follow=True), admin_client.post(action("approve", run))):
        shown = admin_client.get(answer["Location"]) if answer.status_code == 302 else answer
        assert messages_of(shown) == [f"You started run {run.pk}, so somebody else has to approve it."]
    assert Run.objects.values().get() == before

    Shop(may_approve_own_runs=True).save()
    assert admin_client.get(page(run)).context["actions_detail"][0]["path"] == action("approve", run)
    admin_client.post(action("approve", run))
    assert (states(), Run.objects.get().reviewed_by) == ([Run.State.APPROVED], admin_user)


@pytest.mark.parametrize("name", [*REVIEW, *PUBLISH])
def test_who_may_only_look_changes_no_run(name: str, client_with: Callable[..., Client], campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.DRAFTED if name in REVIEW else Run.State.APPROVED)
    other = "publish_run" if name in REVIEW else "review_run"
    client = client_with("view_run", "view_campaign", other)
    before = states()
    assert name not in str(client.get(page(run)).context["actions_detail"])
    assert client.get(action(name, run)).status_code == 403
    publish_at = f"{timezone.now() + timedelta(days=1):%Y-%m-%dT%H:%M}"
    assert client.post(action(name, run), {"publish_at": publish_at}).status_code == 403
    assert (states(), on_show(), Job.objects.count()) == (before, [], 0)


@pytest.mark.parametrize(("name", "permission"), [("approve", "review_run"), ("publish", "publish_run")])
def test_the_permission_is_enough(
    name: str, permission: str, client_with: Callable[..., Client], campaign: Campaign
) -> None:
    run = add_run(campaign, state=Run.State.DRAFTED if name == "approve" else Run.State.APPROVED)
    client = client_with("view_run", permission)
    before = states()
    assert next(offered["path"] for offered in client.get(page(run)).context["actions_detail"]) == action(name, run)
    assert client.post(action(name, run), ACCEPTED).status_code == 302
    assert states() != before


def test_who_may_not_publish_does_not_roll_back(client_with: Callable[..., Client], campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.PUBLISHED)
    live = Publication.objects.create(campaign=campaign, run=run, published_at=NOW)
    roll_back = reverse("admin:recommender_campaign_roll_back", args=[campaign.pk])
    assert client_with("view_campaign", "review_run").post(roll_back, {"live": live.pk}).status_code == 403
    assert on_show() == [run.pk]


@pytest.mark.parametrize(("name", "excluded"), [("take_out", True), ("put_back", False)])
def test_recommendations_are_taken_out_and_put_back(
    name: str, excluded: bool, client_with: Callable[..., Client], campaign: Campaign
) -> None:
    add_rows(1)
    recommendation = Recommendation.objects.get()
    Recommendation.objects.update(run=add_run(campaign, state=Run.State.DRAFTED), excluded=not excluded)
    chosen = {"action": name, "_selected_action": recommendation.pk}
    address = reverse("admin:recommender_recommendation_changelist")

    client_with("view_recommendation", "publish_run").post(address, chosen)
    assert Recommendation.objects.get().excluded is not excluded
    reviewer = client_with("view_recommendation", "review_run")
    asking = reviewer.post(address, chosen).headers["Location"]
    assert Recommendation.objects.get().excluded is not excluded
    reviewer.post(asking, {"reason": "sold out"})
    assert Recommendation.objects.get().excluded is excluded


def test_what_was_published_stays_as_it_was(admin_client: Client) -> None:
    add_rows(1)
    address = reverse("admin:recommender_recommendation_changelist")
    chosen = {"action": "take_out", "_selected_action": Recommendation.objects.get().pk}
    answer = admin_client.post(address, chosen, follow=True)
    assert len(messages_of(answer)) == 1
    assert not Recommendation.objects.get().excluded


def test_the_lists_of_a_run_are_searched_by_shopper(admin_client: Client) -> None:
    for number in (1, 2):
        add_rows(number)
    run = Run.objects.latest("pk")
    address = reverse("admin:recommender_recommendation_changelist")
    for shopper, found in (("shopper-2", 1), ("shopper-1", 0), ("shopper", 0)):
        answer = admin_client.get(address, {"run": str(run.pk), "q": shopper})
        assert answer.context["cl"].result_count == found


def test_what_failed_of_a_run_is_named_and_scored_again(admin_client: Client, campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.COMPUTING)
    run.job = Job.objects.create(kind=Job.Kind.RECOMMEND, key="r", state=Job.State.FAILED, finished_at=timezone.now())
    run.save()
    RunShard.objects.create(run=run, number=0, shopper_ids=["s1", "s2"], state=RunShard.State.SCORED)
    assert admin_client.get(page(run)).context["failed_shards"] == []
    assert messages_of(admin_client.post(action("score_again", run), follow=True)) == [
        f"Nothing of run {run.pk} failed."
    ]

    RunShard.objects.create(
        run=run, number=1, shopper_ids=["s3", "s4"], state=RunShard.State.FAILED, attempts=5, error="ValueError: <p7>"
    )
    text = admin_client.get(page(run)).content.decode()
    assert "Shard 1: s3 to s4" in text
    assert "ValueError: &lt;p7&gt;" in text
    assert Job.objects.count() == 1

    answer = admin_client.post(action("score_again", run), follow=True)
    job = Job.objects.latest("pk")
    assert messages_of(answer) == [f"What failed of run {run.pk} is being scored again."]
    assert (job.kind, job.arguments) == (Job.Kind.RECOMMEND, {"run": run.pk})

    run.job = job
    run.save()
    refused = admin_client.post(action("score_again", run), follow=True)
    assert messages_of(refused) == [f"Run {run.pk} is being computed."]
    assert Job.objects.count() == 2
