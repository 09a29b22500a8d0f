"""The first page and the sidebar."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import Job, ModelVersion, Run, Shop
from tests.admin.rows import add_rows

HOME = "admin:index"


def tiles(client: Client) -> dict[str, tuple[str, str]]:
    return {tile.name: (tile.figure, tile.note) for tile in client.get(reverse(HOME)).context["tiles"]}


def test_it_counts_what_there_is(admin_client: Client) -> None:
    for number in (1, 2, 3):
        add_rows(number)
    Run.objects.filter(key="1").update(shopper_count=1500)
    Run.objects.filter(key="2").update(state=Run.State.DRAFTED)
    Job.objects.filter(key="train-1").update(state=Job.State.FAILED, finished_at=timezone.now())
    Shop.current()
    Shop.objects.update(champion=ModelVersion.objects.last())
    champion = str(Shop.current().champion)
    assert tiles(admin_client) == {
        "Live now": ("3 campaigns", "1,500 lists on show"),
        "Waiting for review": ("1 run", "0 approved and not published"),
        "Failed in the last 7 days": ("1 job", "2 waiting or running"),
        "Champion": (champion, "ROC-AUC 0.800, trained 0\xa0minutes ago"),
        "Latest snapshot": ("0\xa0minutes ago", "3 rows"),
    }


def test_every_figure_leads_to_a_page(admin_client: Client) -> None:
    add_rows(1)
    for tile in admin_client.get(reverse(HOME)).context["tiles"]:
        assert admin_client.get(tile.url).status_code == 200


def test_an_empty_shop_has_a_page(admin_client: Client) -> None:
    assert tiles(admin_client)["Champion"] == ("None", "Nothing was trained yet.")


@pytest.mark.parametrize(
    ("permissions", "seen", "groups"),
    [([], [], [["Home"]]), (["view_run"], ["Waiting for review"], [["Home"], ["Runs"]])],
)
def test_a_reader_sees_what_their_permissions_show(
    permissions: list[str], seen: list[str], groups: list[list[str]], client_with: Callable[..., Client]
) -> None:
    add_rows(1)
    client = client_with(*permissions)
    assert list(tiles(client)) == seen
    navigation: list[dict[str, Any]] = client.get(reverse(HOME)).context["sidebar_navigation"]
    assert [[item["title"] for item in group["items"]] for group in navigation] == groups


def test_the_sidebar_leads_to_the_pages(admin_client: Client) -> None:
    navigation = admin_client.get(reverse(HOME)).context["sidebar_navigation"]
    links = [item["link"] for group in navigation for item in group["items"]]
    assert len(links) == len(set(links)) == 24
    for link in links:
        assert admin_client.get(link, follow=True).status_code == 200
