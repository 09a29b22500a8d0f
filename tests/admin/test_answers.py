"""A page that asks is answered once, however often and by however many people its button is clicked."""

from collections.abc import Callable
from datetime import timedelta
from threading import Barrier, Thread
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import Answer, Campaign, Job, Promotion, Publication, Run, Shop, User
from recommender.tasks import sweep
from tests.admin.rows import add_version
from tests.services.small_shop import START, add_run

TRAIN = "admin:recommender_modelversion_train"
#: The data of these runs are old, of which publishing warns.
ACCEPTED = {"accepted": "on"}


@pytest.fixture
def campaign(db: None) -> Campaign:
    return Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=timezone.now() + timedelta(days=30))


def answer_to(page: Any, **data: Any) -> dict[str, Any]:
    """What the browser sends when the button of a page is clicked."""
    fields = {field.html_name: field.value() for field in page.context["form"]}
    return {"answer_key": str(page.context["key"]), **fields, **data}


def told(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def click_at_once(clients: list[Client], addresses: list[str], answers: list[dict[str, Any]]) -> list[list[str]]:
    """What each of the clients is told when all click at the same moment, each on a connection of its own."""
    barrier = Barrier(len(clients))
    led_to: dict[int, str] = {}

    def click(number: int) -> None:
        try:
            barrier.wait()
            led_to[number] = clients[number].post(addresses[number], answers[number])["Location"]
        finally:
            connection.close()

    threads = [Thread(target=click, args=[number]) for number in range(len(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    # One after the other: a test client takes the pages of all threads for its own.
    return [told(client.get(led_to[number])) for number, client in enumerate(clients)]


def test_a_second_click_is_told_what_the_first_one_did(admin_client: Client) -> None:
    Shop.current()
    versions = [add_version(1), add_version(2)]
    promote = [reverse("admin:recommender_modelversion_promote", args=[version.pk]) for version in versions]
    page = admin_client.get(promote[0])
    assert f'name="answer_key" value="{page.context["key"]}"' in page.content.decode()
    click = answer_to(page, reason="better")
    first = admin_client.post(promote[0], click, follow=True)
    admin_client.post(promote[1], answer_to(admin_client.get(promote[1]), reason="better still"))
    second = admin_client.post(promote[0], click, follow=True)
    assert told(first) == [f"{versions[0]} is the champion."]
    assert told(second)[-1:] == told(first)
    assert second.redirect_chain == first.redirect_chain
    assert (Shop.current().champion, Promotion.objects.count(), LogEntry.objects.count()) == (versions[1], 2, 2)


def test_a_second_click_starts_no_second_job_even_when_the_first_has_ended(admin_client: Client) -> None:
    click = answer_to(admin_client.get(reverse(TRAIN)))
    assert admin_client.get(reverse(TRAIN)).context["key"] != click["answer_key"]
    first = admin_client.post(reverse(TRAIN), click)
    Job.objects.update(state=Job.State.SUCCEEDED, finished_at=timezone.now())
    assert admin_client.post(reverse(TRAIN), click)["Location"] == first["Location"]
    assert Job.objects.count() == 1
    admin_client.post(reverse(TRAIN), answer_to(admin_client.get(reverse(TRAIN))))
    assert Job.objects.count() == 2, "a new page is a new question"


def test_what_was_refused_can_be_answered_again(admin_client: Client, campaign: Campaign) -> None:
    run = add_run(campaign)
    live = Publication.objects.create(campaign=campaign, run=run, published_at=START)
    address = reverse("admin:recommender_campaign_roll_back", args=[campaign.pk])
    click = answer_to(admin_client.get(address))
    Publication.objects.update(ended_at=START)
    admin_client.post(address, click)
    assert not Answer.objects.exists()
    Publication.objects.update(ended_at=None)
    admin_client.post(address, click)
    live.refresh_from_db()
    assert live.ended_at is not None
    assert Answer.objects.count() == 1


def test_who_may_not_is_not_told_what_others_did(admin_client: Client, client_with: Callable[..., Client]) -> None:
    click = answer_to(admin_client.get(reverse(TRAIN)))
    admin_client.post(reverse(TRAIN), click)
    assert client_with("view_modelversion").post(reverse(TRAIN), click).status_code == 403


def test_old_answers_are_forgotten(admin_client: Client) -> None:
    for _ in range(2):
        admin_client.post(reverse(TRAIN), answer_to(admin_client.get(reverse(TRAIN))))
    old = Answer.objects.earliest("answered_at")
    Answer.objects.filter(pk=old.pk).update(answered_at=timezone.now() - Answer.KEPT - timedelta(seconds=1))
    Job.objects.all().delete()  # the broker, which is not there, would be told of it
    sweep()
    assert Answer.objects.count() == 1
    assert not Answer.objects.filter(pk=old.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_two_clicks_at_once_do_it_once(admin_client: Client, campaign: Campaign) -> None:
    run = add_run(campaign, state=Run.State.DRAFTED)
    address = reverse("admin:recommender_run_approve", args=[run.pk])
    click = answer_to(admin_client.get(address))
    clients = [Client() for _ in range(3)]
    for client in clients:
        client.cookies = admin_client.cookies.copy()  # the same person's browser
    answers = click_at_once(clients, [address] * 3, [click] * 3)
    assert answers == [[f"Run {run.pk} is approved and can be published."]] * 3
    assert (LogEntry.objects.count(), Answer.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_two_people_who_publish_at_once_get_one_live_publication(campaign: Campaign) -> None:
    runs = [add_run(campaign), add_run(campaign)]
    addresses = [reverse("admin:recommender_run_publish", args=[run.pk]) for run in runs]
    clients = [Client(), Client()]
    for run, client in zip(runs, clients, strict=True):
        client.force_login(User.objects.create_superuser(f"publisher of {run.pk}"))
    clicks = [answer_to(client.get(address), **ACCEPTED) for client, address in zip(clients, addresses, strict=True)]

    answers = click_at_once(clients, addresses, clicks)

    live = Publication.objects.get()
    assert live.ended_at is None
    won = runs.index(live.run)
    assert answers[won] == [f"Run {live.run_id} is live."]
    assert answers[1 - won] == [
        "What the campaign shows has changed meanwhile. Nothing was published: please look again."
    ]
    assert [Run.objects.get(pk=run.pk).state for run in (runs[won], runs[1 - won])] == ["published", "approved"]
    assert str(live.published_by) == f"publisher of {live.run_id}"


def test_what_was_published_meanwhile_is_not_replaced_unseen(admin_client: Client, campaign: Campaign) -> None:
    runs = [add_run(campaign), add_run(campaign)]
    addresses = [reverse("admin:recommender_run_publish", args=[run.pk]) for run in runs]
    clicks = [answer_to(admin_client.get(address), **ACCEPTED) for address in addresses]
    assert [click["live_seen"] for click in clicks] == [0, 0]
    for address, click in zip(addresses, clicks, strict=True):
        admin_client.post(address, click)
    assert Publication.objects.live().get().run == runs[0]
    page = admin_client.get(addresses[1])
    admin_client.post(addresses[1], answer_to(page, **ACCEPTED))
    assert Publication.objects.live().get().run == runs[1]
