"""The trail of a search, and the button that starts one."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from recommender.models import Job, SearchTrial
from tests.admin.rows import add_version

SEARCH = "admin:recommender_searchtrial_search"
TRAIL = "admin:recommender_searchtrial_changelist"


def add_trial(key: str, ndcg_at_10: float | None, **configuration: int) -> SearchTrial:
    version = add_version(len(key))
    return SearchTrial.objects.create(
        key=key,
        algorithm="decision_tree",
        configuration=configuration,
        snapshot=version.snapshot,
        learned_until=version.learned_until,
        ndcg_at_10=ndcg_at_10,
        seconds=12.34,
    )


def test_the_trail_shows_what_was_tried_and_what_came_of_it(admin_client: Client) -> None:
    fitted = add_version(7)
    better = add_trial("44", 0.6, max_depth=8)
    add_trial("4", 0.51234, max_depth=4)
    SearchTrial.objects.filter(pk=better.pk).update(key=fitted.key)
    add_trial("444", None)

    page = admin_client.get(reverse(TRAIL)).content.decode()
    assert "decision_tree(max_depth=4)" in page
    assert "0.512" in page
    assert "0.51234" not in page, "rounded"
    assert "12.3" in page
    assert f"{fitted.algorithm} {fitted.pk}" not in page, "it is named after the trial's algorithm"
    assert f'href="{reverse("admin:recommender_modelversion_change", args=[fitted.pk])}"' in page
    assert "looks better there than it is" in page

    columns = admin_client.get(reverse(TRAIL)).context["cl"].list_display
    ranked = admin_client.get(reverse(TRAIL), {"o": f"-{columns.index('ndcg_at_10_shown')}"})  # the best first
    assert [trial.ndcg_at_10 for trial in ranked.context["cl"].queryset if trial.ndcg_at_10] == [0.6, 0.51234]


def test_a_search_is_started_once_for_so_many_minutes(admin_client: Client) -> None:
    assert admin_client.get(reverse(SEARCH)).status_code == 200
    assert not Job.objects.exists(), "asking starts nothing"
    answers = [admin_client.post(reverse(SEARCH), {"minutes": "15"}) for _ in range(2)]
    job = Job.objects.get()
    assert (job.kind, job.key, job.arguments, str(job.started_by)) == (
        Job.Kind.SEARCH,
        "search",
        {"seconds": 900.0},
        "admin",
    )
    assert {answer["Location"] for answer in answers} == {reverse("admin:recommender_job_change", args=[job.pk])}


@pytest.mark.parametrize("minutes", ["", "0", "-3", "121", "soon"])
def test_a_time_that_cannot_be_starts_nothing(minutes: str, admin_client: Client) -> None:
    answer = admin_client.post(reverse(SEARCH), {"minutes": minutes})
    assert answer.context["form"].errors
    assert not Job.objects.exists()


def test_who_may_not_start_work_starts_no_search(client_with: Callable[..., Client]) -> None:
    client = client_with("view_searchtrial")
    assert client.get(reverse(TRAIL)).status_code == 200
    assert client.post(reverse(SEARCH), {"minutes": "15"}).status_code == 403
    assert not Job.objects.exists()
