"""The file of a shop that tells what it has in stock and how long it is good."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from recommender.models import Batch
from recommender.services.ingest import LoadReport, load_export
from tests.services.ingest.exports import as_parquet, contents, write_export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

BATCHES = """\
batch_id,product_id,received_at,best_before,sold_out_at
b1,p1,2024-03-01T06:00:00Z,2024-03-05,
b2,p1,2024-03-01,2024-03-01,2024-03-01T18:00:00Z
"""


def load(folder: Path, batches: str) -> LoadReport:
    return load_export(folder=write_export(folder, batches=batches), max_bad_share=1)


def test_batches_become_these_rows_and_are_good_through_their_last_day(tmp_path: Path) -> None:
    report = load(tmp_path / "export", BATCHES)

    assert not report.examples
    rows = Batch.objects.order_by("batch_id")
    assert list(rows.values_list("batch_id", "product__product_id", "received_at", "best_before", "sold_out_at")) == [
        ("b1", "p1", datetime(2024, 3, 1, 6, tzinfo=UTC), datetime(2024, 3, 6, tzinfo=UTC), None),
        (
            "b2",
            "p1",
            datetime(2024, 3, 1, tzinfo=UTC),
            datetime(2024, 3, 2, tzinfo=UTC),
            datetime(2024, 3, 1, 18, tzinfo=UTC),
        ),
    ]


def test_the_same_file_again_changes_nothing_and_a_later_one_what_it_tells(tmp_path: Path) -> None:
    load(tmp_path / "export", BATCHES)
    before = contents()
    assert load(tmp_path / "again", BATCHES).written == 0
    folder = write_export(tmp_path / "parquet", batches=BATCHES)
    as_parquet(folder)
    assert load_export(folder=folder).written == 0
    assert contents() == before

    report = load(
        tmp_path / "later",
        "batch_id,product_id,received_at,best_before,sold_out_at\nb1,p1,2024-03-01,2024-03-05,2024-03-04\n",
    )

    file = next(file for file in report.files if file.file == "batches.csv")
    assert (file.new, file.changed, file.unchanged, file.removed) == (0, 1, 0, 0)
    assert Batch.objects.get(batch_id="b1").sold_out_at == datetime(2024, 3, 4, tzinfo=UTC)
    assert Batch.objects.filter(batch_id="b2").exists()


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("b9,p9,2024-03-01,2024-03-05,", "product_id", "'p9' is neither among the products of the export nor in the "),
        ("b9,p1,,2024-03-05,", "received_at", "Missing. Expected a date or time such as "),
        ("b9,p1,2024-03-01,,", "best_before", "Missing. Expected a date or time such as "),
        ("b9,p1,2024-03-06T00:00:00Z,2024-03-05,", "best_before", "The end is not after received_at."),
        ("b9,p1,2024-03-02,2024-03-05,2024-03-02", "sold_out_at", "The end is not after received_at."),
        ("b1,p1,2024-03-02,2024-03-05,", "batch_id", "Repeats line 2: the same batch_id."),
    ],
)
def test_a_wrong_row_is_put_aside_and_the_others_load(tmp_path: Path, row: str, column: str, reason: str) -> None:
    report = load(tmp_path / "export", f"{BATCHES}{row}\n")

    assert [(one.file, one.line, one.column) for one in report.examples] == [("batches.csv", 4, column)]
    assert report.examples[0].reason.startswith(reason)
    assert Batch.objects.count() == 2
