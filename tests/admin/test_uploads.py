"""Bring data in, from the pages: by upload, check, look, load."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender import tasks
from recommender.jobs import resume_silent_jobs
from recommender.models import Job, Shopper, Upload
from tests.services.ingest.exports import EXPORT, contents, write_export
from tests.services.uploads.files import zip_export, zip_members

# A job's heartbeat has a connection of its own, which sees only what is committed.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("broker")]

ADD = reverse("admin:recommender_upload_add")
LIST = reverse("admin:recommender_upload_changelist")


@pytest.fixture(autouse=True)
def imports(data_dir: Path, settings: Any, tmp_path: Path) -> None:
    settings.IMPORT_DIR = tmp_path / "imports"
    settings.IMPORT_DIR.mkdir()


def address(upload: Upload, page: str) -> str:
    return reverse(f"admin:recommender_upload_{page}", args=[upload.pk])


def send(client: Client, content: bytes, name: str = "export.zip") -> Any:
    return client.post(ADD, {"file": SimpleUploadedFile(name, content)})


def work() -> Upload:
    """Do the job that waits, and return the upload."""
    tasks.run_job(Job.objects.get(state=Job.State.QUEUED).pk)
    return Upload.objects.get()


def told(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def test_an_export_is_uploaded_checked_loaded_and_seen(admin_client: Client) -> None:
    before = contents()
    answer = send(admin_client, zip_export())
    upload = Upload.objects.get()
    assert answer["Location"] == address(upload, "change")
    assert (str(upload.uploaded_by), upload.state) == ("admin", Upload.State.RECEIVED)
    job = Job.objects.get()
    assert (job.kind, job.key, job.arguments) == (Job.Kind.CHECK, f"upload:{upload.pk}", {"upload": upload.pk})
    waiting = admin_client.get(address(upload, "change"))
    assert f'data-job-progress="{address(upload, "progress")}"' in waiting.content.decode()
    assert admin_client.get(address(upload, "progress")).json()["state"] == "queued"

    upload = work()
    assert {**contents(), "Shop": []} == {**before, "Shop": []}, "a check loads nothing"
    page = admin_client.get(address(upload, "change"))
    assert page.context["files"][0] == {"name": "shoppers.csv", "url": None, "counts": ["3", "3", "0", "0", "0", "0"]}
    assert [action["title"] for action in page.context["actions_detail"]][:1] == ["Load"]

    assert admin_client.get(address(upload, "load")).status_code == 200
    assert Job.objects.count() == 1, "asking loads nothing"
    for _ in range(2):
        admin_client.post(address(upload, "load"))
    load = Job.objects.exclude(pk=job.pk).get()
    assert (load.kind, load.arguments, str(load.started_by)) == (Job.Kind.LOAD, {"upload": upload.pk}, "admin")

    upload = work()
    assert (upload.state, upload.load_job, Shopper.objects.count()) == (Upload.State.LOADED, load, 3)
    page = admin_client.get(address(upload, "change"))
    assert page.context["files"][0]["url"] == reverse("admin:recommender_shopper_changelist")
    assert admin_client.get(page.context["files"][0]["url"]).status_code == 200
    answer = admin_client.post(address(upload, "load"), follow=True)
    assert told(answer) == ["That cannot be done now. This page shows how things stand."]
    assert Job.objects.count() == 2


def test_a_folder_is_named_and_checked(admin_client: Client, settings: Any) -> None:
    write_export(settings.IMPORT_DIR / "march")
    admin_client.post(ADD, {"folder": "march"})
    assert work().state == Upload.State.CHECKED


@pytest.mark.parametrize("folder", ["../data", "/etc", "absent", ""])
def test_a_folder_elsewhere_is_refused_on_the_page(folder: str, admin_client: Client) -> None:
    answer = admin_client.post(ADD, {"folder": folder})
    assert answer.status_code == 422
    assert answer.context["folder_form"].errors
    assert not Upload.objects.exists()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("export.rar", b"x", "export.rar cannot be loaded."),
        ("export.zip", b"", "The submitted file is empty."),
    ],
)
def test_what_is_no_export_is_refused_on_the_page(
    name: str, content: bytes, problem: str, admin_client: Client, settings: Any
) -> None:
    answer = send(admin_client, content, name)
    assert (answer.status_code, problem in answer.content.decode()) == (422, True)
    assert not Upload.objects.exists()
    assert not list(settings.DATA_DIR.iterdir())


def test_a_form_without_a_file_says_so(admin_client: Client) -> None:
    answer = admin_client.post(ADD, {})
    assert answer.status_code == 422
    assert answer.context["file_form"].errors == {"file": ["This field is required."]}


def test_a_file_that_is_too_large_is_refused_before_it_is_read(admin_client: Client, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 10
    content = zip_members({"orders.csv": "x"}) + bytes(2**16)
    answer = send(admin_client, content)
    assert answer.status_code == 413
    assert "The file is larger than 10" in answer.content.decode()
    assert not Upload.objects.exists()
    assert not list(settings.DATA_DIR.iterdir())


def test_a_file_that_is_a_little_too_large_is_refused_too(admin_client: Client, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 10
    answer = send(admin_client, b"x" * 11)
    assert (answer.status_code, "The file is larger than 10" in answer.content.decode()) == (422, True)
    assert not Upload.objects.exists()


def test_a_form_of_another_site_is_refused(admin_user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert send(client, zip_export()).status_code == 403
    assert client.post(ADD, {"folder": "march"}).status_code == 403
    assert not Upload.objects.exists()


def test_a_form_with_its_token_is_taken(admin_user: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    token = str(client.get(LIST).context["csrf_token"])
    client.post(ADD, {"csrfmiddlewaretoken": token, "file": io.BytesIO(zip_export())})
    assert not Upload.objects.exists(), "a nameless file is none"
    file = SimpleUploadedFile("export.zip", zip_export())
    assert client.post(ADD, {"csrfmiddlewaretoken": token, "file": file}).status_code == 302
    assert Upload.objects.count() == 1


def test_an_unfit_upload_ends_in_a_clear_page(admin_client: Client) -> None:
    send(admin_client, b"no zip at all")
    upload = work()
    assert upload.state == Upload.State.REFUSED
    page = admin_client.get(address(upload, "change"))
    assert "The file is not a zip, or it is damaged: File is not a zip file." in page.content.decode()
    assert [action["title"] for action in page.context["actions_detail"]] == ["Check again", "Delete the files"]
    chinese = admin_client.get(address(upload, "change"), headers={"Accept-Language": "zh-hans"}).content.decode()
    assert "文件不是 ZIP 格式，或已损坏：File is not a zip file。" in chinese
    admin_client.post(address(upload, "load"))
    assert Job.objects.count() == 1, "a refused upload is not loaded"


def test_the_rows_put_aside_are_shown_and_downloaded(admin_client: Client, client_with: Callable[..., Client]) -> None:
    many = EXPORT["shoppers"] + "".join(f"n{number},,,,\n" for number in range(200)) + "s9,yesterday,,,\n"
    send(admin_client, zip_export(shoppers=many))
    upload = work()
    page = admin_client.get(address(upload, "change"))
    assert "&#x27;yesterday&#x27; is wrong." in page.content.decode()
    chinese = admin_client.get(address(upload, "change"), headers={"Accept-Language": "zh-hans"}).content.decode()
    assert "&#x27;yesterday&#x27; 有误。" in chinese
    answer = admin_client.get(address(upload, "put_aside"))
    assert answer["Content-Disposition"] == f'attachment; filename="put-aside-{upload.pk}.csv"'
    assert b"shoppers.csv,205,joined_at" in b"".join(answer.streaming_content)  # type: ignore[attr-defined]
    assert client_with("view_job").get(address(upload, "put_aside")).status_code == 403
    assert client_with("view_upload").get(address(upload, "put_aside")).status_code == 200
    admin_client.post(address(upload, "delete_files"))
    assert admin_client.get(address(upload, "put_aside")).status_code == 404


def test_who_may_not_bring_in_brings_nothing_in(client_with: Callable[..., Client], settings: Any) -> None:
    write_export(settings.IMPORT_DIR / "march")
    client = client_with("view_upload", "load_upload")
    assert send(client, zip_export()).status_code == 403
    assert client.post(ADD, {"folder": "march"}).status_code == 403
    assert client.get(ADD).status_code == 403
    assert "Upload a shop export" not in client.get(LIST).content.decode()
    assert not Upload.objects.exists()


@pytest.mark.parametrize("action", ["load", "check_again", "cancel", "delete_files"])
def test_who_may_only_look_does_nothing(action: str, admin_client: Client, client_with: Callable[..., Client]) -> None:
    send(admin_client, zip_export())
    upload = work()
    client = client_with("view_upload")
    rows = [list(model.objects.values()) for model in (Upload, Job)]
    for call in (client.get, client.post):
        assert call(address(upload, action)).status_code == 403
    assert [list(model.objects.values()) for model in (Upload, Job)] == rows
    assert upload.directory.exists()
    assert client.get(address(upload, "change")).context["actions_detail"] == []


def test_who_may_not_look_sees_nothing(admin_client: Client, client_with: Callable[..., Client]) -> None:
    send(admin_client, zip_export())
    upload = Upload.objects.get()
    client = client_with("view_job", "load_upload")
    for page in ("change", "progress", "put_aside", "load"):
        assert client.get(address(upload, page)).status_code == 403
    assert client.post(address(upload, "load")).status_code == 403


def test_an_upload_is_neither_changed_nor_deleted(admin_client: Client) -> None:
    send(admin_client, zip_export())
    upload = Upload.objects.get()
    rows = list(Upload.objects.values())
    assert admin_client.post(address(upload, "change"), {"name": "x"}).status_code == 403
    assert admin_client.post(address(upload, "delete"), {"post": "yes"}).status_code == 403
    assert list(Upload.objects.values()) == rows


def test_waiting_work_is_cancelled_and_started_again(admin_client: Client) -> None:
    send(admin_client, zip_export())
    upload = Upload.objects.get()
    admin_client.post(address(upload, "cancel"))
    assert Job.objects.get().state == Job.State.CANCELLED
    admin_client.post(address(upload, "check_again"))
    assert work().state == Upload.State.CHECKED


def test_while_one_job_works_no_other_starts(admin_client: Client) -> None:
    send(admin_client, zip_export())
    upload = work()
    admin_client.post(address(upload, "check_again"))
    for action in ("load", "delete_files", "check_again"):
        answer = admin_client.post(address(upload, action), follow=True)
        assert told(answer)[-1] == "That cannot be done now. This page shows how things stand."
    assert (Job.objects.count(), upload.directory.exists()) == (2, True)


def test_a_load_whose_worker_died_is_taken_up_again(admin_client: Client) -> None:
    send(admin_client, zip_export())
    upload = work()
    admin_client.post(address(upload, "load"))
    silent = timezone.now() - 2 * Job.HEARTBEAT_EXPIRES
    Job.objects.filter(kind=Job.Kind.LOAD).update(
        state=Job.State.RUNNING, claim=Job.new_claim(), heartbeat_at=silent, attempts=1
    )
    resume_silent_jobs()
    assert work().state == Upload.State.LOADED
    assert Shopper.objects.count() == 3


def test_a_load_that_failed_can_be_started_again(admin_client: Client) -> None:
    send(admin_client, zip_export())
    upload = work()
    admin_client.post(address(upload, "load"))
    kept = (upload.directory / "export.zip").rename(upload.directory / "elsewhere")
    assert work().state == Upload.State.CHECKED
    page = admin_client.get(address(upload, "change"))
    assert "The file is no longer there. Upload it again." in page.content.decode()
    kept.rename(upload.directory / "export.zip")
    admin_client.post(address(upload, "load"))
    assert work().state == Upload.State.LOADED


def test_the_same_file_is_noticed(admin_client: Client) -> None:
    for _ in range(2):
        send(admin_client, zip_export())
    first, second = Upload.objects.order_by("pk")
    assert admin_client.get(address(second, "change")).context["same"] == first
    assert admin_client.get(address(first, "change")).context["same"] is None
