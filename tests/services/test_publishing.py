"""Publishing: which run a campaign shows, the way back, and one live publication whatever happens at once."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from recommender import models
from recommender.models import Campaign, Publication, Run
from recommender.services.publishing import LiveChanged, NothingLive, publish, rollback
from recommender.services.runs import WrongState
from tests.services.small_shop import add_run

NOW = datetime(2024, 3, 2, tzinfo=UTC)

pytestmark = pytest.mark.django_db


@pytest.fixture
def campaign() -> Campaign:
    year = timedelta(days=365)
    return Campaign.objects.create(campaign_id="spring", starts_at=NOW, ends_at=timezone.now() + year)


def at(hours: float) -> datetime:
    return NOW + timedelta(hours=hours)


def record() -> list[tuple[Any, ...]]:
    """Every publication: number of its run, number of the publication that it replaces, when it began and ended."""
    publications = list(Publication.objects.order_by("pk"))
    runs = list(Run.objects.order_by("pk"))
    return [
        (
            runs.index(publication.run),
            publications.index(publication.replaces) if publication.replaces else None,
            publication.published_at,
            publication.ended_at,
        )
        for publication in publications
    ]


def states() -> list[str]:
    return list(Run.objects.order_by("pk").values_list("state", flat=True))


def test_publishing_makes_the_counters_that_lists_are_held_against(campaign: Campaign) -> None:
    shopper = models.Shopper.objects.create(shopper_id="anna")
    coupon = models.Coupon.objects.create(coupon_id="tea")
    models.CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    models.Redemption.objects.create(
        shopper=shopper, coupon=coupon, campaign=campaign, redeemed_at=NOW, discount_amount=3
    )
    publish(run=add_run(campaign), now=NOW)
    assert list(models.CouponCounter.objects.values_list("coupon", "uses", "spent")) == [(coupon.pk, 1, 3)]
    assert list(models.CampaignCounter.objects.values_list("campaign", "spent")) == [(campaign.pk, 3)]


def test_an_approved_run_goes_live(campaign: Campaign) -> None:
    publisher = models.User.objects.create_user("publisher")
    run = add_run(campaign)

    publication = publish(run=run, published_by=publisher, now=NOW)

    assert (publication.run, publication.published_by) == (run, publisher)
    assert record() == [(0, None, NOW, None)]
    assert run.state == "published"
    assert run.reviewed_by is None


def test_a_draft_goes_live_on_the_publishers_word(campaign: Campaign) -> None:
    publisher = models.User.objects.create_user("publisher")
    run = add_run(campaign, state="drafted")

    with pytest.raises(WrongState, match="to review"):
        publish(run=run, published_by=publisher)
    assert (record(), states()) == ([], ["drafted"])

    publish(run=run, published_by=publisher, now=NOW, approve=True)
    assert (run.state, run.reviewed_by, run.reviewed_at) == ("published", publisher, NOW)


@pytest.mark.parametrize("state", ["computing", "rejected", "superseded", "rolled_back"])
def test_other_runs_cannot_go_live(campaign: Campaign, state: str) -> None:
    live = add_run(campaign)
    publish(run=live, now=NOW)
    run = add_run(campaign, state=state)

    with pytest.raises(WrongState, match=f"Run {run.pk} is in state"):
        publish(run=run, approve=True)

    assert (record(), states()) == ([(0, None, NOW, None)], ["published", state])


def test_the_way_forth_and_back(campaign: Campaign) -> None:
    first, second, third = (add_run(campaign) for _ in range(3))

    publish(run=first, now=at(1))
    publish(run=second, now=at(2))
    publish(run=third, now=at(3))
    forth = [(0, None, at(1), at(2)), (1, 0, at(2), at(3)), (2, 1, at(3), None)]
    assert (record(), states()) == (forth, ["superseded", "superseded", "published"])

    back = rollback(campaign=campaign, now=at(4))
    assert back is not None
    assert back.run == second
    forth[2] = (2, 1, at(3), at(4))
    assert record() == [*forth, (1, 0, at(4), None)]
    assert states() == ["superseded", "published", "rolled_back"]

    back = rollback(campaign=campaign, now=at(5))
    assert back is not None
    assert back.run == first
    assert record() == [*forth, (1, 0, at(4), at(5)), (0, None, at(5), None)]
    assert states() == ["published", "rolled_back", "rolled_back"]

    assert rollback(campaign=campaign, now=at(6)) is None
    assert record() == [*forth, (1, 0, at(4), at(5)), (0, None, at(5), at(6))]
    assert states() == ["rolled_back", "rolled_back", "rolled_back"]

    with pytest.raises(NothingLive, match="spring has nothing published"):
        rollback(campaign=campaign)
    assert len(record()) == 5


def test_what_is_published_after_a_rollback_leads_back_past_what_was_rolled_back(campaign: Campaign) -> None:
    first, second, third = (add_run(campaign) for _ in range(3))
    publish(run=first, now=at(1))
    publish(run=second, now=at(2))
    rollback(campaign=campaign, now=at(3))
    publish(run=third, now=at(4))

    back = rollback(campaign=campaign, now=at(5))

    assert back is not None
    assert (back.run, back.replaces) == (first, None)
    assert states() == ["published", "rolled_back", "rolled_back"]


def test_publishing_what_is_live_changes_nothing(campaign: Campaign) -> None:
    run = add_run(campaign)
    publication = publish(run=run, now=NOW)

    assert publish(run=run, now=at(1)) == publication

    assert (record(), states()) == ([(0, None, NOW, None)], ["published"])


def test_what_went_live_unseen_is_not_replaced(campaign: Campaign) -> None:
    first, second, third = (add_run(campaign) for _ in range(3))
    seen = publish(run=first, now=at(1), live_seen=0)
    with pytest.raises(LiveChanged, match=r"has changed meanwhile\. Nothing was published"):
        publish(run=second, now=at(2), live_seen=0)
    assert (record(), states()) == ([(0, None, at(1), None)], ["published", "approved", "approved"])

    publish(run=second, now=at(2), live_seen=seen.pk)
    with pytest.raises(LiveChanged):
        publish(run=third, now=at(3), live_seen=seen.pk)
    assert states() == ["superseded", "published", "approved"]
    assert publish(run=second, live_seen=seen.pk).run == second, "it is live already"


def test_another_campaign_is_left_alone(campaign: Campaign) -> None:
    other = Campaign.objects.create(campaign_id="fall", starts_at=NOW, ends_at=at(9))
    publish(run=add_run(campaign), now=NOW)
    publish(run=add_run(other), now=at(1))

    rollback(campaign=other, now=at(2))

    assert record() == [(0, None, NOW, None), (1, None, at(1), at(2))]


def test_a_clock_that_is_behind_ends_nothing_before_it_began(campaign: Campaign) -> None:
    publish(run=add_run(campaign), now=at(1))
    publish(run=add_run(campaign), now=at(0))

    assert record() == [(0, None, at(1), at(1)), (1, 0, at(1), None)]


def at_once(*actions: Callable[[], object]) -> list[Exception]:
    """Do all of them at once, each on a connection of its own, and give what they raised."""
    barrier = Barrier(len(actions))
    errors: list[Exception] = []

    def act(action: Callable[[], object]) -> None:
        try:
            barrier.wait()
            action()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [Thread(target=act, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return errors


@pytest.mark.django_db(transaction=True)
def test_runs_that_are_published_at_once_follow_each_other(campaign: Campaign) -> None:
    runs = [add_run(campaign) for _ in range(4)]

    assert at_once(*(lambda run=run: publish(run=run) for run in runs)) == []

    assert sorted(states()) == ["published", "superseded", "superseded", "superseded"]
    publications = list(Publication.objects.order_by("pk"))
    assert [publication.replaces for publication in publications] == [None, *publications[:-1]]
    assert [publication.ended_at is None for publication in publications] == [False, False, False, True]


@pytest.mark.django_db(transaction=True)
def test_a_run_that_is_published_twice_at_once_is_published_once(campaign: Campaign) -> None:
    run = add_run(campaign)

    assert at_once(*[lambda: publish(run=run)] * 4) == []

    assert Publication.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_rollbacks_at_once_go_back_two_steps(campaign: Campaign) -> None:
    for hour in range(3):
        publish(run=add_run(campaign), now=at(hour))

    assert at_once(*[lambda: rollback(campaign=campaign)] * 2) == []

    assert states() == ["published", "rolled_back", "rolled_back"]
    assert Publication.objects.live().count() == 1


def test_what_is_published_and_what_is_undone_is_told(campaign: Campaign) -> None:
    models.WebhookEndpoint.objects.create(
        name="shop", url="https://shop.example/", events=["campaign.published", "campaign.rolled_back"]
    )
    first, second = add_run(campaign), add_run(campaign)
    publish(run=first, now=at(0))
    publish(run=first, now=at(1))  # live already
    publish(run=second, now=at(2))
    rollback(campaign=campaign, now=at(3))
    told = models.WebhookDelivery.objects.order_by("pk").values_list("event", "data")
    assert list(told) == [
        ("campaign.published", {"campaign_id": "spring", "run": first.pk, "published_at": "2024-03-02T00:00:00Z"}),
        ("campaign.published", {"campaign_id": "spring", "run": second.pk, "published_at": "2024-03-02T02:00:00Z"}),
        (
            "campaign.rolled_back",
            {
                "campaign_id": "spring",
                "run": second.pk,
                "shown_run": first.pk,
                "rolled_back_at": "2024-03-02T03:00:00Z",
            },
        ),
    ]
