"""The files of a shop whose shoppers own devices: they come in by the same door as all others."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recommender.models import Device, DevicePart
from recommender.services.ingest import LoadReport, load_export
from tests.services.ingest.exports import as_parquet, contents, write_export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

DEVICES = """\
device_id,shopper_id,product_id,acquired_at,retired_at
d1,s1,p2,2024-01-01,
d2,s2,p2,2024-01-05T10:00:00Z,2024-02-01
"""
PARTS = """\
product_id,device_product_id,part,life
p1,p2,filter,150.5
p3,p2,,
"""


def load(folder: Path, **files: str) -> LoadReport:
    return load_export(folder=write_export(folder, **files), max_bad_share=1)


def counts(report: LoadReport, name: str) -> tuple[int, int, int, int]:
    file = next(file for file in report.files if file.file == f"{name}.csv")
    return file.new, file.changed, file.unchanged, file.removed


def test_devices_and_what_fits_them_become_these_rows(tmp_path: Path) -> None:
    report = load(tmp_path / "export", devices=DEVICES, device_parts=PARTS)

    assert not report.examples
    assert list(
        Device.objects.order_by("device_id").values_list(
            "device_id", "shopper__shopper_id", "product__product_id", "acquired_at", "retired_at"
        )
    ) == [
        ("d1", "s1", "p2", datetime(2024, 1, 1, tzinfo=UTC), None),
        ("d2", "s2", "p2", datetime(2024, 1, 5, 10, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)),
    ]
    assert list(
        DevicePart.objects.order_by("product__product_id").values_list(
            "product__product_id", "device_product__product_id", "part", "life"
        )
    ) == [("p1", "p2", "filter", 150.5), ("p3", "p2", "", None)]


def test_the_same_files_again_change_nothing_in_any_format(tmp_path: Path) -> None:
    load(tmp_path / "export", devices=DEVICES, device_parts=PARTS)
    before = contents()

    assert load(tmp_path / "again", devices=DEVICES, device_parts=PARTS).written == 0
    folder = write_export(tmp_path / "parquet", devices=DEVICES, device_parts=PARTS)
    as_parquet(folder)
    assert load_export(folder=folder).written == 0
    assert contents() == before


def test_what_a_product_fits_is_replaced_as_a_whole(tmp_path: Path) -> None:
    load(tmp_path / "old", devices=DEVICES, device_parts=PARTS)

    report = load(
        tmp_path / "new",
        devices="device_id,shopper_id,product_id,acquired_at\nd1,s1,p2,2024-01-02\nd3,s3,p3,2024-01-02\n",
        device_parts="product_id,device_product_id,life\np1,p3,70\n",
    )

    assert counts(report, "devices") == (1, 1, 0, 0)
    assert counts(report, "device_parts") == (1, 0, 0, 1)
    rows = DevicePart.objects.order_by("product__product_id")
    assert list(rows.values_list("product__product_id", "device_product__product_id", "life")) == [
        ("p1", "p3", 70.0),
        ("p3", "p2", None),  # a product that the file does not mention fits what it did
    ]
    assert Device.objects.get(device_id="d2").retired_at == datetime(2024, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "row", "column", "reason"),
    [
        (
            "devices",
            "d9,s9,p2,2024-01-01,",
            "shopper_id",
            "'s9' is neither among the shoppers of the export nor in the ",
        ),
        (
            "devices",
            "d9,s1,p9,2024-01-01,",
            "product_id",
            "'p9' is neither among the products of the export nor in the ",
        ),
        ("devices", "d9,s1,p2,,", "acquired_at", "Missing. Expected a date or time such as "),
        ("devices", "d9,s1,p2,2024-01-05,2024-01-05", "retired_at", "The end is not after acquired_at."),
        ("devices", "d1,s1,p2,2024-01-01,", "device_id", "Repeats line 2: the same device_id."),
        (
            "device_parts",
            "p1,p9,,",
            "device_product_id",
            "'p9' is neither among the products of the export nor in the ",
        ),
        ("device_parts", "p2,p3,,0", "life", "Expected more than 0."),
        ("device_parts", "p2,p3,,long", "life", "'long' is wrong. Expected a number such as 4.5."),
        ("device_parts", "p1,p2,,", "product_id", "Repeats line 2: the same product_id, device_product_id."),
    ],
)
def test_a_wrong_row_is_put_aside_and_the_others_load(
    tmp_path: Path, name: str, row: str, column: str, reason: str
) -> None:
    files = {"devices": DEVICES, "device_parts": PARTS}
    report = load(tmp_path / "export", **files | {name: f"{files[name]}{row}\n"})

    assert [(one.file, one.line, one.column) for one in report.examples] == [(f"{name}.csv", 4, column)]
    assert report.examples[0].reason.startswith(reason)
    assert (Device.objects.count(), DevicePart.objects.count()) == (2, 2)
