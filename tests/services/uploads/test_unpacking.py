"""Zips made to do harm, and how each is refused."""

import gzip
import io
import stat
import zipfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recommender.services.ingest import LoadRefused
from recommender.services.uploads import unpacking
from recommender.services.uploads.unpacking import refuse_overgrown, unpack_zip
from tests.services.uploads.files import zip_members


def unpack(content: bytes, tmp_path: Path) -> list[str]:
    """Names that came out of a zip."""
    path = tmp_path / "made.zip"
    path.write_bytes(content)
    into = tmp_path / "into"
    into.mkdir()
    unpack_zip(path=path, into=into)
    return sorted(entry.name for entry in into.iterdir())


def refused(content: bytes, tmp_path: Path, problem: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LoadRefused, match=problem):
        unpack(content, tmp_path)
    left = {path.name for path in set(tmp_path.rglob("*")) - set(before)}
    assert left == {"made.zip", "into"}, "nothing was unpacked"


def with_member(info: zipfile.ZipInfo, content: bytes = b"order_id\n") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info, content)
    return file.getvalue()


def test_tables_are_unpacked(tmp_path: Path) -> None:
    names = {"orders.csv": "order_id\n", "products.csv.gz": gzip.compress(b"product_id\n")}
    assert unpack(zip_members(names), tmp_path) == ["orders.csv", "products.csv.gz"]
    assert (tmp_path / "into" / "orders.csv").read_text() == "order_id\n"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("../orders.csv", r"\.\./orders\.csv leads out of its folder"),
        ("..\\orders.csv", "leads out of its folder"),
        ("/etc/orders.csv", "/etc/orders.csv is an absolute path"),
        ("\\orders.csv", "is an absolute path"),
        ("C:orders.csv", "is an absolute path"),
        ("export/orders.csv", "export/orders.csv is in a folder of the zip"),
        ("export/", "export/ is in a folder of the zip"),
        ("export\\orders.csv", "is in a folder of the zip"),
        ("orders.xlsx", "orders.xlsx is not a table of a shop export. Expected one of shoppers, products"),
        ("order.csv", "order.csv is not a table"),
        ("orders.csv\0.txt", "is not a table"),
    ],
)
def test_a_member_by_a_wrong_name_is_refused(name: str, problem: str, tmp_path: Path) -> None:
    info = zipfile.ZipInfo("x")
    info.filename = name  # as it is, not as zipfile would mend it
    refused(with_member(info), tmp_path, problem)


def test_a_link_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("orders.csv")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    refused(with_member(info, b"/etc/passwd"), tmp_path, "orders.csv is a link")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_members({"orders.csv": "order_id\n"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the table of contents
    refused(bytes(content), tmp_path, "orders.csv is encrypted")


def test_another_compression_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("orders.csv")
    info.compress_type = zipfile.ZIP_LZMA
    refused(with_member(info), tmp_path, "compressed in a way that is not read here")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_table_that_comes_twice_is_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("orders.csv", "order_id\n1\n")
        archive.writestr("orders.csv", "order_id\n2\n")
    refused(file.getvalue(), tmp_path, "orders.csv comes twice")


def test_a_bomb_is_refused_by_its_ratio(tmp_path: Path) -> None:
    refused(zip_members({"orders.csv": b"0" * 2**24}), tmp_path, "orders.csv would grow to more than 200 times")


def test_a_zip_that_is_too_large_unpacked_is_refused(tmp_path: Path, settings: Any) -> None:
    settings.UPLOAD_MAX_UNPACKED_BYTES = 1000
    tables = {"orders.csv": "x" * 600, "products.csv": "x" * 600}
    refused(zip_members(tables), tmp_path, "the tables up to products.csv are larger than 1000")


def test_a_member_that_is_larger_than_it_says_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_members({"orders.csv": b"0123456789" * 1000}))
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # its size, in both places
        start = content.index(mark) + place
        content[start : start + 4] = (100).to_bytes(4, "little")
    with pytest.raises(LoadRefused, match="damaged"):
        unpack(bytes(content), tmp_path)
    assert (tmp_path / "into" / "orders.csv").stat().st_size <= 100


def test_a_long_table_of_contents_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The end of a zip is looked for in its last 64 KiB.
    monkeypatch.setattr(unpacking, "MAX_CONTENTS_BYTES", 70_000)
    members = {f"{number:0100}": "" for number in range(1000)}
    refused(zip_members(members), tmp_path, "its table of contents is too long")


@pytest.mark.parametrize(
    "content",
    [b"order_id\n1\n", b"PK\x03\x04 and no more", zip_members({"orders.csv": "x" * 99})[:-30]],
    ids=["a table", "no more than its beginning", "its end cut off"],
)
def test_what_is_no_zip_is_refused(content: bytes, tmp_path: Path) -> None:
    refused(content, tmp_path, "not a zip, or it is damaged")


def test_an_empty_zip_is_refused(tmp_path: Path) -> None:
    refused(zip_members({}), tmp_path, "The zip is empty")


class TestOvergrown:
    def test_a_gzip_bomb(self, tmp_path: Path, settings: Any) -> None:
        settings.UPLOAD_MAX_UNPACKED_BYTES = 2**22
        path = tmp_path / "orders.csv.gz"
        path.write_bytes(gzip.compress(b"0" * 2**24))
        with pytest.raises(LoadRefused, match=r"orders\.csv\.gz are larger than 4\.0"):
            refuse_overgrown(paths=[path])

    def test_a_truncated_gzip(self, tmp_path: Path) -> None:
        path = tmp_path / "orders.csv.gz"
        path.write_bytes(gzip.compress(b"order_id\n" * 1000)[:-10])
        with pytest.raises(LoadRefused, match=r"orders\.csv\.gz is not what its name says"):
            refuse_overgrown(paths=[path])

    def test_a_parquet_file_of_one_value_many_times(self, tmp_path: Path, settings: Any) -> None:
        settings.UPLOAD_MAX_UNPACKED_BYTES = 2**20
        path = tmp_path / "orders.parquet"
        pl.DataFrame({"order_id": ["1"] * 200_000}).write_parquet(path)
        assert path.stat().st_size < 10_000
        with pytest.raises(LoadRefused, match=r"orders\.parquet are larger"):
            refuse_overgrown(paths=[path])

    def test_a_truncated_parquet_file(self, tmp_path: Path) -> None:
        path = tmp_path / "orders.parquet"
        pl.DataFrame({"order_id": ["1"]}).write_parquet(path)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(LoadRefused, match=r"orders\.parquet is not what its name says"):
            refuse_overgrown(paths=[path])

    def test_what_fits_passes(self, tmp_path: Path) -> None:
        (tmp_path / "orders.csv").write_text("order_id\n")
        refuse_overgrown(paths=[tmp_path / "orders.csv"])
