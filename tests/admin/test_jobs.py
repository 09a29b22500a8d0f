"""Long work: started, watched and cancelled from the pages."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import Campaign, Job, User
from recommender.wording import gettext
from tests.services.small_shop import START

TRAIN = "admin:recommender_modelversion_train"


@pytest.fixture
def campaign(db: None) -> Campaign:
    return Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=START + timedelta(days=30))


@pytest.fixture
def job(db: None) -> Job:
    return Job.objects.create(
        kind=Job.Kind.TRAIN,
        key="train",
        state=Job.State.RUNNING,
        done=1,
        total=4,
        message="Fitting",
        log="12:00 Fitting\n",
    )


def test_training_is_started_once_and_its_page_follows(admin_client: Client) -> None:
    assert admin_client.get(reverse(TRAIN)).status_code == 200
    assert not Job.objects.exists(), "asking starts nothing"
    answers = [admin_client.post(reverse(TRAIN)) for _ in range(2)]
    job = Job.objects.get()
    assert (job.kind, job.key, job.arguments, str(job.started_by)) == (Job.Kind.TRAIN, "train", {}, "admin")
    assert {answer["Location"] for answer in answers} == {reverse("admin:recommender_job_change", args=[job.pk])}


def test_recommending_is_started_for_the_campaign(admin_client: Client, campaign: Campaign) -> None:
    address = reverse("admin:recommender_campaign_recommend", args=[campaign.pk])
    assert admin_client.post(address, {"top": "0"}).status_code == 200
    assert not Job.objects.exists()
    for _ in range(2):
        admin_client.post(address, {"top": "5"})
    job = Job.objects.get()
    assert (job.kind, job.arguments) == (
        Job.Kind.RECOMMEND,
        {"campaign": campaign.pk, "top": 5, "objective": "redemptions"},
    )


def test_who_may_not_start_work_starts_none(client_with: Callable[..., Client], campaign: Campaign) -> None:
    client = client_with("view_campaign", "view_modelversion", "cancel_job")
    assert client.post(reverse(TRAIN)).status_code == 403
    recommend = reverse("admin:recommender_campaign_recommend", args=[campaign.pk])
    assert client.post(recommend, {"top": "5"}).status_code == 403
    assert not Job.objects.exists()


def test_a_page_asks_how_far_the_job_is(client_with: Callable[..., Client], job: Job) -> None:
    client = client_with("view_job")
    address = reverse("admin:recommender_job_progress", args=[job.pk])
    assert (
        f'data-job-progress="{address}"'
        in client.get(reverse("admin:recommender_job_change", args=[job.pk])).content.decode()
    )
    answer = client.get(address)
    assert answer.json() == {
        "state": "running",
        "state_label": "running",
        "percent": 25,
        "done": 1,
        "total": 4,
        "message": "Fitting",
        "silence": "",
        "log": "12:00 Fitting\n",
        "error": "",
        "finished": False,
    }
    assert client.get(reverse("admin:recommender_job_progress", args=[9999])).status_code == 404


def test_what_a_job_failed_of_is_told_without_code(client_with: Callable[..., Client], job: Job) -> None:
    """The rest is there for whoever looks after the site, who opens it."""
    page = reverse("admin:recommender_job_change", args=[job.pk])
    client = client_with("view_job")
    assert '<details data-part="log-box" open>' in client.get(page).content.decode()
    Job.objects.update(state=Job.State.FAILED, error="Nothing is left.", log="Traceback", finished_at=timezone.now())

    shown = client.get(page).content.decode()

    assert "Nothing is left." in shown
    assert '<details data-part="log-box">' in shown
    assert shown.index("For whoever looks after the site") < shown.index("Traceback")


def test_who_may_not_see_jobs_is_not_told_how_far_they_are(client_with: Callable[..., Client], job: Job) -> None:
    address = reverse("admin:recommender_job_progress", args=[job.pk])
    assert client_with("view_run").get(address).status_code == 403
    assert Client().get(address).status_code == 302


def test_a_running_job_is_asked_to_stop(admin_client: Client, job: Job) -> None:
    cancel = reverse("admin:recommender_job_cancel", args=[job.pk])
    admin_client.get(cancel)
    assert not Job.objects.get().cancel_requested, "asking cancels nothing"
    for _ in range(2):
        admin_client.post(cancel)
    now = Job.objects.get()
    assert (now.state, now.cancel_requested, now.log.count("Cancelled by admin")) == (Job.State.RUNNING, True, 1)
    shown = admin_client.get(reverse("admin:recommender_job_change", args=[job.pk]))
    assert shown.context["actions_detail"] == []


def test_a_waiting_job_is_cancelled_at_once_and_a_finished_one_stays(admin_client: Client, job: Job) -> None:
    cancel = reverse("admin:recommender_job_cancel", args=[job.pk])
    Job.objects.update(state=Job.State.QUEUED)
    admin_client.post(cancel)
    assert Job.objects.get().state == Job.State.CANCELLED

    Job.objects.update(state=Job.State.SUCCEEDED, finished_at=timezone.now())
    answer = admin_client.post(cancel, follow=True)
    assert [str(message) for message in answer.context["messages"]][-1] == "The job was finished already: done."
    assert Job.objects.get().state == Job.State.SUCCEEDED


@pytest.mark.parametrize(
    ("permissions", "kind", "own", "may"),
    [
        (["view_job"], Job.Kind.TRAIN, True, True),
        (["view_job", "start_job"], Job.Kind.TRAIN, False, False),
        (["view_job", "publish_run"], Job.Kind.PUBLISH, False, True),
        (["view_job", "publish_run"], Job.Kind.TRAIN, False, False),
        (["view_job", "cancel_job"], Job.Kind.TRAIN, False, True),
        (["start_job"], Job.Kind.TRAIN, True, False),
    ],
)
def test_own_work_and_publications_can_be_called_off(
    permissions: list[str], kind: str, own: bool, may: bool, client_with: Callable[..., Client], job: Job
) -> None:
    client = client_with(*permissions)
    Job.objects.update(kind=kind, started_by=User.objects.get() if own else None)
    address = reverse("admin:recommender_job_cancel", args=[job.pk])
    if "view_job" in permissions:
        offered = client.get(reverse("admin:recommender_job_change", args=[job.pk])).context["actions_detail"]
        assert [offer["path"] for offer in offered] == ([address] if may else [])
    assert client.post(address).status_code == (302 if may else 403)
    assert Job.objects.get().cancel_requested is may


def test_who_may_not_cancel_cancels_nothing(client_with: Callable[..., Client], job: Job) -> None:
    client = client_with("view_job", "start_job")
    assert client.post(reverse("admin:recommender_job_cancel", args=[job.pk])).status_code == 403
    assert not Job.objects.get().cancel_requested


def test_a_job_without_a_result_shows_none(admin_client: Client, job: Job) -> None:
    address = reverse("admin:recommender_job_change", args=[job.pk])
    page = admin_client.get(address)
    shown = [name for _title, part in page.context["adminform"].fieldsets for name in part["fields"]]
    assert "result" not in shown
    assert "arguments" in shown
    Job.objects.update(result={"champion": 1})
    shown = [name for _t, part in admin_client.get(address).context["adminform"].fieldsets for name in part["fields"]]
    assert "result" in shown


def test_a_job_is_read_in_the_language_of_the_reader(admin_client: Client, job: Job) -> None:
    Job.objects.update(message=gettext("Changing lists"), error=gettext("The run is gone."))
    progress = reverse("admin:recommender_job_progress", args=[job.pk])
    chinese = admin_client.get(progress, headers={"Accept-Language": "zh-hans"}).json()
    assert (chinese["message"], chinese["error"]) == ("正在更改推荐列表", "推荐批次已不存在。")
    english = admin_client.get(progress, headers={"Accept-Language": "en"}).json()
    assert (english["message"], english["error"]) == ("Changing lists", "The run is gone.")
