"""The file of a shop that tells what the stages of projects need."""

from pathlib import Path

import pytest

from recommender.models import ProjectStage
from recommender.services.ingest import LoadReport, load_export
from tests.services.ingest.exports import as_parquet, contents, write_export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

STAGES = """\
project,position,stage,product_id,category
bath,1,Tiling,,Grocery / Frozen
bath,2,,p2,
floor,1,Ground,p2,
"""


def load(folder: Path, stages: str) -> LoadReport:
    return load_export(folder=write_export(folder, project_stages=stages), max_bad_share=1)


def rows() -> list[tuple[object, ...]]:
    stages = ProjectStage.objects.order_by("project", "position")
    return list(stages.values_list("project", "position", "stage", "product__product_id", "category__path"))


def test_stages_become_these_rows(tmp_path: Path) -> None:
    report = load(tmp_path / "export", STAGES)

    assert not report.examples
    assert rows() == [
        ("bath", 1, "Tiling", None, "Grocery / Frozen"),
        ("bath", 2, "", "p2", None),
        ("floor", 1, "Ground", "p2", None),
    ]


def test_the_same_file_again_changes_nothing_and_a_project_is_replaced_as_a_whole(tmp_path: Path) -> None:
    load(tmp_path / "export", STAGES)
    before = contents()
    assert load(tmp_path / "again", STAGES).written == 0
    folder = write_export(tmp_path / "parquet", project_stages=STAGES)
    as_parquet(folder)
    assert load_export(folder=folder).written == 0
    assert contents() == before

    report = load(tmp_path / "later", "project,position,product_id\nbath,3,p2\nbath,4,p3\n")

    file = next(file for file in report.files if file.file == "project_stages.csv")
    assert (file.new, file.changed, file.unchanged, file.removed) == (1, 1, 0, 1)
    assert rows() == [
        ("bath", 3, "", "p2", None),
        ("bath", 4, "", "p3", None),
        ("floor", 1, "Ground", "p2", None),  # a project that the file does not mention
    ]


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        ("bath,3,,p9,", "product_id", "'p9' is neither among the products of the export nor in the "),
        (",3,,p3,", "project", "Missing. "),
        ("bath,,,p3,", "position", "Missing. "),
        ("bath,soon,,p3,", "position", "'soon' is wrong. "),
        ("bath,3,,p3,Grocery", "product_id", "Expected product_id or category, and one only."),
        ("bath,3,,,", "product_id", "Expected product_id or category, and one only."),
        ("bath,3,,p2,", "project", "Repeats line 3: the same project, product_id, category."),
    ],
)
def test_a_wrong_row_is_put_aside_and_the_others_load(tmp_path: Path, row: str, column: str, reason: str) -> None:
    report = load(tmp_path / "export", f"{STAGES}{row}\n")

    assert [(one.file, one.line, one.column) for one in report.examples] == [("project_stages.csv", 5, column)]
    assert report.examples[0].reason.startswith(reason)
    assert ProjectStage.objects.count() == 3
