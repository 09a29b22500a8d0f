"""Checked, then loaded; refused, and nothing changed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from recommender.models import Job, Order, Shop, Shopper, Upload
from recommender.progress import Cancelled, Progress
from recommender.services.ingest import LoadRefused
from recommender.services.uploads.loading import check_upload, load_upload
from recommender.services.uploads.receiving import receive_folder
from recommender.services.uploads.retention import delete_files, delete_forgotten_spreadsheets, delete_old_files
from tests.services.ingest.exports import EXPORT, contents, write_export
from tests.services.uploads.files import receive, zip_export

pytestmark = pytest.mark.django_db
BAD_SHOPPER = EXPORT["shoppers"] + "".join(f"n{number},,,,\n" for number in range(200)) + "s9,yesterday,,,\n"


@pytest.fixture(autouse=True)
def shop() -> Shop:
    return Shop.current()


def counts(upload: Upload) -> dict[str, tuple[int, int, int, int]]:
    assert upload.report is not None
    return {
        file["file"]: (file["new"], file["changed"], file["unchanged"], file["put_aside"])
        for file in upload.report["files"]
    }


def test_a_check_tells_what_a_load_then_does() -> None:
    before = contents()
    upload = check_upload(upload=receive(zip_export()))
    assert (upload.state, upload.problem) == (Upload.State.CHECKED, "")
    assert counts(upload)["order_lines.csv"] == (4, 0, 0, 0)
    assert upload.report is not None
    assert upload.report["dry_run"]
    assert "folder" not in upload.report
    assert contents() == before, "a check changes nothing"
    assert [path.name for path in upload.directory.iterdir()] == ["export.zip"], "nothing unpacked stays"

    expected = counts(upload)
    upload = load_upload(upload=upload)
    assert (upload.state, counts(upload)) == (Upload.State.LOADED, expected)
    assert upload.loaded_at is not None
    assert upload.report is not None
    assert not upload.report["dry_run"]
    assert Order.objects.count() == 2

    again = check_upload(upload=receive(zip_export()))
    assert {file: row[:2] for file, row in counts(again).items()} == dict.fromkeys(expected, (0, 0))


def test_a_changed_row_is_told_from_a_new_one() -> None:
    load_upload(upload=check_upload(upload=receive(zip_export())))
    shoppers = EXPORT["shoppers"].replace("s2,,true", "s2,,false") + "s4,,,,\n"
    assert counts(check_upload(upload=receive(zip_export(shoppers=shoppers))))["shoppers.csv"] == (1, 1, 2, 0)


def test_one_table_is_loaded_by_itself() -> None:
    load_upload(upload=check_upload(upload=receive(zip_export())))
    order = "order_id,shopper_id,ordered_at\no9,s3,2024-03-05\no8,nobody,2024-03-05\n" + "".join(
        f"n{number},s1,2024-03-05\n" for number in range(100)
    )
    upload = check_upload(upload=receive(order.encode(), "orders.csv"))
    assert counts(upload) == {"orders.csv": (101, 0, 0, 1)}
    assert load_upload(upload=upload).state == Upload.State.LOADED
    assert Order.objects.get(order_id="o9").shopper.shopper_id == "s3"
    assert Order.objects.count() == 103


def test_a_folder_is_loaded_where_it_is(settings: Any) -> None:
    write_export(settings.IMPORT_DIR / "march")
    upload = load_upload(upload=check_upload(upload=receive_folder(folder="march", uploaded_by=None)))
    assert upload.state == Upload.State.LOADED
    assert Shopper.objects.count() == 3
    delete_files(upload=upload)
    assert (settings.IMPORT_DIR / "march" / "shoppers.csv").exists()


def test_a_link_in_a_folder_is_refused(tmp_path: Path, settings: Any) -> None:
    write_export(settings.IMPORT_DIR / "march")
    (settings.IMPORT_DIR / "march" / "events.csv").unlink()
    (tmp_path / "secret").write_text(EXPORT["events"])
    (settings.IMPORT_DIR / "march" / "events.csv").symlink_to(tmp_path / "secret")
    upload = check_upload(upload=receive_folder(folder="march", uploaded_by=None))
    assert (upload.state, upload.problem) == (
        Upload.State.REFUSED,
        "events.csv in the folder is a link, which is not followed.",
    )


def test_rows_put_aside_can_be_looked_at_before_and_after() -> None:
    upload = check_upload(upload=receive(zip_export(shoppers=BAD_SHOPPER)))
    assert counts(upload)["shoppers.csv"] == (203, 0, 0, 1)
    for now in (upload, load_upload(upload=upload)):
        assert pl.read_csv(now.put_aside_path).rows() == [
            (
                *("shoppers.csv", 205, "joined_at"),
                "'yesterday' is wrong. Expected a date or time such as 2024-03-01, 2024-03-01T18:30:00 or "
                "2024-03-01T18:30:00+02:00.",
            )
        ]
    assert Shopper.objects.count() == 203


def test_the_rows_of_an_export_that_is_refused_for_them_can_be_looked_at() -> None:
    shoppers = EXPORT["shoppers"] + "s9,yesterday,,,\n"
    upload = check_upload(upload=receive(zip_export(shoppers=shoppers)))
    assert upload.state == Upload.State.REFUSED
    assert upload.problem.startswith("shoppers.csv: 1 of 4 rows are bad")
    assert pl.read_csv(upload.put_aside_path)["line"].to_list() == [5]


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (b"no zip at all", "export.zip", "The file is not a zip, or it is damaged: File is not a zip file."),
        (zip_export(orders=None), "march.zip", "orders is missing in march.zip. Expected one of orders.csv"),
        (b"a,b\n1,2\n", "prices.csv", "prices.csv is not a table of a shop export"),
        (b"a,b\n1,2\n", "orders.csv", "orders.csv: column 'order_id' is missing"),
        (b"PAR1 and no more", "orders.parquet", "orders.parquet is not what its name says, or it is damaged"),
        (b"\xff\xfe\x00", "orders.csv", "orders.csv cannot be read. Expected UTF-8 text"),
        (b"not gzip", "orders.csv.gz", "orders.csv.gz is not what its name says"),
    ],
)
def test_an_unfit_upload_is_refused_and_changes_nothing(content: bytes, name: str, problem: str) -> None:
    before = contents()
    upload = check_upload(upload=receive(content, name))
    assert upload.state == Upload.State.REFUSED
    assert upload.problem.startswith(problem)
    assert (upload.report, contents()) == (None, before)
    with pytest.raises(LoadRefused, match="has not passed its check"):
        load_upload(upload=upload)
    assert contents() == before


def test_what_staff_did_not_see_is_not_loaded() -> None:
    upload = check_upload(upload=receive(zip_export()))
    Shopper.objects.create(shopper_id="s2", opted_out=False)
    before = contents()
    with pytest.raises(LoadRefused, match="changed since the check"):
        load_upload(upload=upload)
    assert contents() == before
    assert load_upload(upload=check_upload(upload=upload)).state == Upload.State.LOADED


def test_what_was_not_checked_is_not_loaded() -> None:
    upload = receive(zip_export())
    with pytest.raises(LoadRefused, match="has not passed its check"):
        load_upload(upload=upload)
    assert not Shopper.objects.exists()


def test_a_load_that_is_done_again_does_nothing() -> None:
    upload = load_upload(upload=check_upload(upload=receive(zip_export())))
    row = Upload.objects.values().get()
    load_upload(upload=upload)
    assert Upload.objects.values().get() == row
    with pytest.raises(LoadRefused, match="was loaded"):
        check_upload(upload=upload)
    assert Upload.objects.values().get() == row


def test_a_load_that_is_cancelled_can_be_started_again() -> None:
    class Stops(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            if message.startswith("Writing"):
                raise Cancelled

    upload = check_upload(upload=receive(zip_export()))
    with pytest.raises(Cancelled):
        load_upload(upload=upload, progress=Stops())
    upload.refresh_from_db()
    assert (upload.state, Shopper.objects.count()) == (Upload.State.CHECKED, 0)
    assert load_upload(upload=upload).state == Upload.State.LOADED


def test_rows_and_record_stand_or_fall_together() -> None:
    upload = check_upload(upload=receive(zip_export()))

    class DeletesTheFiles(Progress):
        def report(self, message: str, done: int = 0, total: int | None = None) -> None:
            if message.startswith("Writing"):
                Upload.objects.update(files_deleted_at=timezone.now())

    with pytest.raises(LoadRefused, match="meanwhile"):
        load_upload(upload=upload, progress=DeletesTheFiles())
    assert not Shopper.objects.exists()


class TestRetention:
    def test_spreadsheets_that_nobody_confirmed_go(self, settings: Any, tmp_path: Path) -> None:
        storages = {**settings.STORAGES}
        storages["default"] = {**storages["default"], "OPTIONS": {"location": tmp_path / "media"}}
        settings.STORAGES = storages
        assert delete_forgotten_spreadsheets(now=timezone.now()) == 0
        name = default_storage.save("django-import-export/a", ContentFile(b"x"))
        assert delete_forgotten_spreadsheets(now=timezone.now()) == 0
        assert delete_forgotten_spreadsheets(now=timezone.now() + timedelta(days=2)) == 1
        assert not default_storage.exists(name)

    def test_old_files_go_and_the_record_stays(self, settings: Any) -> None:
        now = timezone.now()
        settings.UPLOAD_RETENTION_DAYS = 7
        old, new, busy = (receive(zip_export()) for _ in range(3))
        Upload.objects.exclude(pk=new.pk).update(uploaded_at=now - timedelta(days=8))
        Job.objects.create(kind=Job.Kind.CHECK, key=busy.job_key)
        assert delete_old_files(now=now) == 1
        assert [upload.directory.exists() for upload in (old, new, busy)] == [False, True, True]
        assert list(Upload.objects.filter(files_deleted_at__isnull=False)) == [old]
        assert delete_old_files(now=now) == 0

    def test_files_in_use_stay(self) -> None:
        upload = receive(zip_export())
        Job.objects.create(kind=Job.Kind.CHECK, key=upload.job_key)
        with pytest.raises(ValueError, match="A job works on it"):
            delete_files(upload=upload)
        assert upload.directory.exists()
        upload.refresh_from_db()
        assert upload.files_deleted_at is None

    def test_what_is_gone_is_not_checked(self) -> None:
        upload = delete_files(upload=receive(zip_export()))
        with pytest.raises(LoadRefused, match="meanwhile"):
            check_upload(upload=upload)
