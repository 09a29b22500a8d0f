"""The first page and the sidebar."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince

from recommender.admin.base import change_url
from recommender.models import Job, ModelVersion, Order, Publication, Run, RunInput, Shop, Snapshot
from recommender.services.training import promote
from tests.admin.rows import START, add_rows, add_version

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
    champion, run = str(Shop.current().champion), Run.objects.get(key="1")
    assert tiles(admin_client) == {
        "Live now": ("3 campaigns", "1,500 lists on show"),
        "Waiting for review": ("1 run", "0 approved and not published"),
        "Failed in the last 24 hours": ("1 job", "0 done, 2 waiting or running"),
        "Last order": (f"{timesince(START + timedelta(days=3), depth=1)} ago", "Stale: bring in newer data."),
        "Champion": (champion, "ROC-AUC 0.800, trained 0\xa0minutes ago"),
        "Uses of published runs": ("not known yet", "No campaign with a published run is over yet."),
        "Inputs since training": ("as learned", f"Run {run}: none of 1 inputs moved a lot."),
        "Latest snapshot": ("0\xa0minutes ago", "3 rows"),
    }


def test_every_figure_leads_to_a_page(admin_client: Client) -> None:
    add_rows(1)
    for tile in admin_client.get(reverse(HOME)).context["tiles"]:
        assert admin_client.get(tile.url).status_code == 200


def test_an_empty_shop_has_a_page(admin_client: Client) -> None:
    assert tiles(admin_client)["Champion"] == ("None", "Nothing was trained yet.")


def warning_tiles(client: Client) -> list[str]:
    return [tile.name for tile in client.get(reverse(HOME)).context["tiles"] if tile.warns]


def test_data_that_nothing_was_added_to_are_stale(admin_client: Client) -> None:
    add_rows(1)
    assert warning_tiles(admin_client) == ["Last order"]
    Order.objects.update(ordered_at=timezone.now() - timedelta(days=2))
    assert warning_tiles(admin_client) == []


def test_a_champion_that_knows_nothing_of_late_is_stale(admin_client: Client) -> None:
    version = add_version(1)
    promote(model_version=version, reason="the first")
    Snapshot.objects.update(history_until=version.learned_until + timedelta(days=35))
    assert warning_tiles(admin_client) == []
    Snapshot.objects.update(history_until=version.learned_until + timedelta(days=36))
    assert warning_tiles(admin_client) == ["Champion"]
    assert tiles(admin_client)["Champion"][1] == "Stale: it knows nothing of the last 1\xa0month of data."


def test_uses_that_no_forecast_allows_for_warn(admin_client: Client) -> None:
    add_rows(1)
    Order.objects.update(ordered_at=timezone.now())
    Publication.objects.update(published_at=START)  # before the use
    Run.objects.update(expected_redemptions=10, expected_low=8, expected_high=12)
    assert warning_tiles(admin_client) == ["Uses of published runs"]
    assert tiles(admin_client)["Uses of published runs"] == ("fewer than expected", "1 use, 8 – 12 expected")


def test_inputs_of_the_champion_that_moved_a_lot_warn(admin_client: Client) -> None:
    add_rows(1)
    add_rows(2)
    Order.objects.update(ordered_at=timezone.now())
    promote(model_version=ModelVersion.objects.get(key="1"), reason="the first")
    RunInput.objects.filter(run__key="2").update(index=9)
    assert warning_tiles(admin_client) == [], "it is of another version"
    RunInput.objects.filter(run__key="1").update(index=0.3, usual=0.3)
    assert warning_tiles(admin_client) == [], "campaigns lie as far from each other"
    RunInput.objects.filter(run__key="1").update(index=0.31)
    assert warning_tiles(admin_client) == ["Inputs since training"]
    assert tiles(admin_client)["Inputs since training"] == ("1 input moved a lot", "Money spent, faded by age")
    tile = next(each for each in admin_client.get(reverse(HOME)).context["tiles"] if each.warns)
    assert tile.url == f"{change_url(ModelVersion.objects.get(key='1'))}#inputs"


def test_a_champion_of_which_nothing_was_recorded_is_said_nothing_of(admin_client: Client) -> None:
    version = add_version(1)
    promote(model_version=version, reason="the first")
    assert tiles(admin_client)["Inputs since training"][0] == "not recorded at training"
    version.learned_inputs.create(campaign_count=3)
    assert tiles(admin_client)["Inputs since training"][0] == "not known yet"


def test_each_day_stands_beside_the_same_day_of_the_period_before(admin_client: Client) -> None:
    add_rows(1)
    add_rows(30)  # 29 days later
    redemptions, revenue = admin_client.get(reverse(HOME)).context["activity"]
    assert (redemptions.total, redemptions.before) == ("1", "1")
    assert (revenue.total, revenue.before) == ("2.00 USD", "2.00 USD")
    columns = [drawn.column for drawn in redemptions.chart.columns]
    assert len(columns) == 28
    assert (columns[-1].label, columns[-1].value, columns[-1].before) == ("March 31, 2024", 1, 0)
    assert [column.value for column in columns[:-1]] == [0] * 27
    assert (columns[-2].before, sum(column.before for column in columns)) == (1, 1)
    assert admin_client.get(columns[-1].url).context["cl"].result_count == 1
    assert admin_client.get(columns[-2].url).context["cl"].result_count == 0


def test_the_page_takes_as_many_queries_for_many_rows_as_for_few(admin_client: Client) -> None:
    def count_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert admin_client.get(reverse(HOME)).status_code == 200
        return len(queries)

    for number in range(20):
        add_rows(number)
    count_queries()
    few = count_queries()
    for number in range(20, 50):
        add_rows(number)
    assert count_queries() == few


def test_without_redemptions_to_see_there_is_no_chart(client_with: Callable[..., Client]) -> None:
    add_rows(1)
    assert "activity" not in client_with("view_run").get(reverse(HOME)).context
    charts = client_with("view_redemption").get(reverse(HOME)).context["activity"]
    assert [each.name for each in charts] == ["Redemptions"]


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
    assert len(links) == len(set(links)) == 42
    for link in links:
        assert admin_client.get(link, follow=True).status_code == 200


@pytest.mark.parametrize(
    ("page", "marked"),
    [
        (HOME, "Home"),
        ("admin:recommender_campaign_changelist", "Campaigns"),
        ("admin:recommender_campaign_add", "Campaigns"),
        ("admin:recommender_campaign_calendar", "Calendar"),
        ("admin:recommender_campaign_results_list", "Results of campaigns"),
    ],
)
def test_the_sidebar_marks_the_page_that_one_is_on(page: str, marked: str, admin_client: Client) -> None:
    navigation = admin_client.get(reverse(page)).context["sidebar_navigation"]
    assert [item["title"] for group in navigation for item in group["items"] if item["active"]] == [marked]
