"""Segments go out as a sheet and come in again, condition by condition."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from import_export.results import Result
from tablib import Dataset

from recommender.models import Category, Segment, SegmentCondition
from recommender.services.spreadsheets.formats import BoundedCSV, BoundedXLSX, SpreadsheetRefused
from recommender.services.spreadsheets.segments import MOST_CONDITIONS, UNWRITABLE, SegmentResource

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def segment() -> Segment:
    segment = Segment.objects.create(name="mine", description="=all kinds", match="any")
    ice = Category.objects.create(path="Grocery / Ice")
    for fields in (
        {"kind": "last_order", "comparison": "at_most", "days": 30},
        {"kind": "orders", "comparison": "at_least", "amount": Decimal("4.000"), "days": 90},
        {"kind": "orders", "comparison": "at_most", "amount": 9},
        {"kind": "spend", "comparison": "at_least", "amount": Decimal("100.5")},
        {"kind": "category", "comparison": "at_least", "amount": 2, "days": 90, "category": ice},
        {"kind": "attribute", "comparison": "is", "attribute": "income", "value": "50-74K; 25-34K"},
        {"kind": "attribute", "comparison": "is_not", "attribute": "member"},
    ):
        SegmentCondition.objects.create(segment=segment, **fields)
    return segment


def export() -> Dataset:
    return SegmentResource().export(queryset=Segment.objects.order_by("name"))


def load(headers: Iterable[str], *rows: Iterable[Any], dry_run: bool = False) -> Result:
    return SegmentResource().import_data(
        Dataset(*rows, headers=list(headers)), dry_run=dry_run, rollback_on_validation_errors=True
    )


def stored() -> list[Any]:
    return [
        list(Segment.objects.order_by("pk").values()),
        list(SegmentCondition.objects.order_by("pk").values()),
    ]


def said(name: str) -> dict[str, str]:
    return {column: cell for column, cell in row_of(name).items() if cell and column not in ("name", "description")}


def row_of(name: str) -> dict[str, str]:
    return next(row for row in export().dict if row["name"] == name)


def problems(result: Result) -> dict[int, dict[str, list[str]]]:
    assert not result.row_errors()
    return {row.number: row.error_dict for row in result.invalid_rows}


MINE = {
    "match": "any",
    "last_order": "at most 30",
    "orders": "at least 4 in 90 days\nat most 9",
    "spend": "at least 100.5",
    "category": "at least 2 in 90 days of Grocery / Ice",
    "attribute": "income is 50-74K; 25-34K\nmember is not",
}


def test_each_kind_of_condition_is_a_column() -> None:
    assert said("mine") == MINE
    assert row_of("mine")["description"] == "'=all kinds"
    assert said("Loyal") == {
        "match": "all",
        "orders": "at least 12 in 365 days",
        "redemptions": "at least 1 in 365 days",
    }


@pytest.mark.parametrize("format_class", [BoundedCSV, BoundedXLSX])
def test_out_and_in_again(format_class: type[BoundedCSV | BoundedXLSX]) -> None:
    before = stored()
    written = format_class().export_data(export())
    result = SegmentResource().import_data(format_class().create_dataset(written), raise_errors=True)
    assert (result.totals["skip"], stored()) == (5, before)


def test_a_new_segment_and_a_changed_one() -> None:
    before = stored()
    rows = [
        ("mine", "at least 2", ""),
        ("new", " at  least 1 in 30 days \n\n", "at least 1 of Grocery / Ice\nat most 5 in 7 days of Grocery / Ice"),
    ]
    preview = load(["name", "orders", "category"], *rows, dry_run=True)
    assert [(row.import_type, row.line, row.identifier) for row in preview.rows] == [
        ("update", 2, "mine"),
        ("new", 3, "new"),
    ]
    assert preview.rows[0].diff == [
        ("orders", "at least 4 in 90 days\nat most 9", "at least 2"),
        ("category", "at least 2 in 90 days of Grocery / Ice", ""),
    ]
    assert stored() == before, "a preview changes nothing"

    load(["name", "orders", "category"], *rows)
    left = {column: cell for column, cell in MINE.items() if column != "category"}
    assert said("mine") == {**left, "orders": "at least 2"}, "what the sheet leaves out stays"
    assert said("new") == {
        "match": "all",
        "orders": "at least 1 in 30 days",
        "category": "at least 1 of Grocery / Ice\nat most 5 in 7 days of Grocery / Ice",
    }
    made = SegmentCondition.objects.get(segment__name="new", kind="orders")
    assert (made.comparison, made.amount, made.days) == ("at_least", 1, 30)


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("orders", "4", "Expected conditions such as “at least 4 in 90 days”, one a line, not 4."),
        ("orders", "at least 4\nmore than 3", "“at least 4 in 90 days”, one a line, not more than 3."),
        ("orders", "at least -4", "not at least -4."),
        ("last_order", "at most 30 in 3 days", "Expected conditions such as “at most 30”"),
        ("last_order", "at most 0", "at most 0: Ensure this value is greater than or equal to 1."),
        ("joined", "at least 99999", "at least 99999: Ensure this value is less than or equal to 36500."),
        ("category", "at least 1", "Expected conditions such as “at least 2 in 90 days of Grocery / Ice”"),
        ("category", "at least 1 of Grocery / Iec", "There is no category Grocery / Iec."),
        ("attribute", "income 50", "Expected conditions such as “income is 50-74K; 25-34K”"),
        ("attribute", f"{'a' * 101} is b", "Ensure this value has at most 100 characters (it has 101)."),
        ("attribute", UNWRITABLE[0], "keeps what is stored, and here it is something else."),
        ("match", "some", "Value 'some' is not a valid choice."),
        ("description", "x" * 301, "Ensure this value has at most 300 characters (it has 301)."),
    ],
)
def test_a_wrong_cell_is_told_by_line_and_column_and_nothing_is_imported(column: str, cell: str, problem: str) -> None:
    before = stored()
    headers = ["name", "redemptions", column]
    result = load(headers, ("fine", "at least 1", "" if column != "match" else "all"), ("wrong", "at least 1", cell))
    told = problems(result)
    assert (list(told), list(told[2])) == ([2], [column])
    assert problem in told[2][column][0]
    assert stored() == before


@pytest.mark.parametrize("count", [0, MOST_CONDITIONS + 1])
def test_a_segment_has_some_conditions_and_not_too_many(count: int) -> None:
    before = stored()
    result = load(["name", "orders"], ("new", "\n".join(f"at least {number}" for number in range(count))))
    assert problems(result) == {1: {"name": [f"A segment has 1 to 20 conditions, not {count}."]}}
    assert stored() == before


def test_the_last_condition_is_not_taken_away() -> None:
    before = stored()
    assert list(problems(load(["name", "orders"], ("Frequent", "")))) == [1]
    assert stored() == before


@pytest.mark.parametrize(
    ("attribute", "value"), [("what is it", "x"), ("income", "not"), ("a", "two\nlines"), ("a", " spaces "), ("", "x")]
)
def test_what_cannot_be_written_is_left_as_it_is(segment: Segment, attribute: str, value: str) -> None:
    SegmentCondition.objects.filter(comparison="is").update(attribute=attribute or " ", value=value)
    before = list(SegmentCondition.objects.filter(kind="attribute").order_by("pk").values())
    assert said("mine")["attribute"] == UNWRITABLE[0]
    load(["name", "orders", "attribute"], ("mine", "at least 7", UNWRITABLE[0]))
    assert said("mine")["orders"] == "at least 7"
    assert list(SegmentCondition.objects.filter(kind="attribute").order_by("pk").values()) == before


@pytest.mark.parametrize("headers", [["orders"], ["name", "nonsense"], ["name", "name"]])
def test_a_sheet_with_other_columns_is_refused(headers: list[str]) -> None:
    before = stored()
    result = load(headers, ["mine"] * len(headers))
    assert isinstance(result.base_errors[0].error, SpreadsheetRefused)
    assert stored() == before
