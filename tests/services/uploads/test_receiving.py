"""What is taken, and what is refused before anything of it is kept."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from recommender.models import Upload
from recommender.services.uploads.receiving import UploadRefused, receive_file, receive_folder, stored_path
from tests.services.uploads.files import receive, zip_export

pytestmark = pytest.mark.django_db


def test_a_file_is_kept_with_its_digest(data_dir: Path) -> None:
    content = zip_export()
    upload = receive(content, "March 2024.ZIP")
    assert (upload.source, upload.name, upload.size, upload.state) == (
        *("file", "March 2024.ZIP"),
        *(len(content), "received"),
    )
    assert upload.digest == hashlib.sha256(content).hexdigest()
    assert stored_path(upload) == data_dir / "uploads" / str(upload.pk) / "export.zip"
    assert stored_path(upload).read_bytes() == content
    assert upload.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["orders.csv", "orders.csv.gz", "order_lines.parquet", "Orders.CSV"])
def test_a_table_keeps_its_name(name: str) -> None:
    assert stored_path(receive(b"order_id", name)).name == name.lower()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("export.rar", b"x", "export.rar cannot be loaded. Expected a zip of tables, or one table by its own name"),
        ("orders (1).csv", b"x", "cannot be loaded"),
        ("../orders.csv", b"x", "cannot be loaded"),
        ("orders.csv\0.zip", b"x", "cannot be loaded"),
        ("export.zip", b"", "export.zip is empty"),
        ("export.zip", b"x" * 11, "The file is larger than 10.0 bytes|The file is larger than 10"),
    ],
)
def test_what_is_no_export_is_not_kept(name: str, content: bytes, problem: str, data_dir: Path, settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES = 10
    with pytest.raises(UploadRefused, match=problem):
        receive_file(file=ContentFile(content), name=name, uploaded_by=None)
    assert not Upload.objects.exists()
    assert not list(data_dir.iterdir())


def test_a_disk_that_fails_keeps_nothing(data_dir: Path) -> None:
    class Broken(ContentFile):
        def chunks(self, chunk_size: int | None = None) -> object:
            yield b"x"
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space"):
        receive_file(file=Broken(b"xx"), name="export.zip", uploaded_by=None)
    assert not Upload.objects.exists()
    assert list((data_dir / "uploads").iterdir()) == []


def test_a_folder_is_named_by_its_place(settings: Any) -> None:
    (settings.IMPORT_DIR / "erp" / "2024-03").mkdir(parents=True)
    upload = receive_folder(folder="erp/2024-03/", uploaded_by=None)
    assert (upload.source, upload.name, upload.size, upload.digest) == ("folder", "erp/2024-03", None, "")


@pytest.mark.parametrize("folder", ["..", "../data", "a/../../data", "/etc", ".", "", "absent", "a\0b", "x" * 300])
def test_a_folder_elsewhere_is_refused(folder: str, settings: Any) -> None:
    (settings.IMPORT_DIR / "a").mkdir()
    with pytest.raises(UploadRefused):
        receive_folder(folder=folder, uploaded_by=None)
    assert not Upload.objects.exists()


def test_a_link_is_not_followed(tmp_path: Path, settings: Any) -> None:
    (tmp_path / "secret" / "inner").mkdir(parents=True)
    (settings.IMPORT_DIR / "link").symlink_to(tmp_path / "secret")
    for folder in ("link", "link/inner"):
        with pytest.raises(UploadRefused, match="goes over a link"):
            receive_folder(folder=folder, uploaded_by=None)
    assert not Upload.objects.exists()
