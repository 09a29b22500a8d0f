"""Coupons go out as a sheet and come in again, with what they are for."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from import_export.results import Result
from tablib import Dataset

from recommender.models import Category, Coupon, CouponTarget, Product, Segment
from recommender.services.spreadsheets import formats
from recommender.services.spreadsheets.coupons import MAX_TARGETS, TOO_MANY, CouponResource
from recommender.services.spreadsheets.formats import SpreadsheetRefused

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def coupon() -> Coupon:
    coupon = Coupon.objects.create(
        coupon_id="c1",
        title="=Ice",
        discount_type="percent",
        discount_value=Decimal(10),
        ends_at=datetime(2024, 4, 1, tzinfo=UTC),
    )
    products = [Product.objects.create(product_id=f"p{number}") for number in (1, 2)]
    CouponTarget.objects.create(coupon=coupon, product=products[0])
    CouponTarget.objects.create(coupon=coupon, category=Category.objects.create(path="Grocery / Ice"))
    CouponTarget.objects.create(coupon=coupon, brand="Polar")
    return coupon


def export() -> Dataset:
    return CouponResource().export(queryset=Coupon.objects.order_by("coupon_id"))


def load(headers: Iterable[str], *rows: Iterable[Any], dry_run: bool = False) -> Result:
    return CouponResource().import_data(
        Dataset(*rows, headers=list(headers)), dry_run=dry_run, rollback_on_validation_errors=True
    )


def stored() -> list[Any]:
    return [
        list(Coupon.objects.order_by("pk").values()),
        list(CouponTarget.objects.order_by("pk").values_list("coupon", "product", "category", "brand")),
    ]


def problems(result: Result) -> dict[int, dict[str, list[str]]]:
    assert not result.row_errors()
    return {row.number: row.error_dict for row in result.invalid_rows}


def test_a_sheet_says_all_and_comes_back_unchanged() -> None:
    sheet = export()
    assert sheet.dict == [
        {
            "coupon_id": "c1",
            "offer_id": "",
            "title": "'=Ice",
            "code": "",
            "discount_type": "percent",
            "discount_value": "10.000",
            **dict.fromkeys(("min_spend", "max_discount", "buy_quantity", "get_quantity"), ""),
            **dict.fromkeys(("total_limit", "per_shopper_limit", "per_day_limit", "per_week_limit"), ""),
            **dict.fromkeys(("per_month_limit", "segment", "exclusion_group", "group_size", "group_hours"), ""),
            "first_order_only": "false",
            "starts_at": "",
            "ends_at": "2024-04-01 00:00:00+0000",
            "stackable": "false",
            "budget": "",
            **dict.fromkeys(("funded_by", "funded_percent"), ""),
            "active": "true",
            "target_products": "p1",
            "target_categories": "Grocery / Ice",
            "target_brands": "Polar",
        }
    ]
    before = stored()
    result = CouponResource().import_data(sheet)
    assert (result.totals["skip"], problems(result), stored()) == (1, {}, before)


def test_rows_are_added_and_changed_by_their_identifiers(coupon: Coupon) -> None:
    result = load(
        ("coupon_id", "title", "discount_value", "ends_at", "target_products", "target_brands"),
        ("c1", "Ice cream", "12.5", "2024-04-30", "p1\np2", ""),
        ("c2", "Bread", "", "", "p2", "Mill"),
    )
    assert (result.totals["update"], result.totals["new"], problems(result), result.base_errors) == (1, 1, {}, [])
    coupon.refresh_from_db()
    assert (coupon.title, coupon.discount_value, coupon.discount_type, coupon.ends_at) == (
        *("Ice cream", Decimal("12.5"), "percent"),
        datetime(2024, 5, 1, tzinfo=UTC),
    )
    rows = CouponTarget.objects.values_list("coupon__coupon_id", "product__product_id", "category__path", "brand")
    assert set(rows) == {
        ("c1", "p1", None, ""),
        ("c1", "p2", None, ""),
        ("c1", None, "Grocery / Ice", ""),  # its column was not in the sheet
        ("c2", "p2", None, ""),
        ("c2", None, None, "Mill"),
    }


def test_a_preview_changes_nothing() -> None:
    before = stored()
    result = load(("coupon_id", "target_products"), ("c1", "p2"), ("c2", "p1"), dry_run=True)
    assert (result.totals["update"], result.totals["new"], stored()) == (1, 1, before)


def test_a_change_is_told_from_what_to_what(coupon: Coupon) -> None:
    (row,) = load(("coupon_id", "title", "target_products"), ("c1", "Ice", "p2")).rows
    assert (row.line, row.identifier) == (2, "c1")
    assert row.diff == [("title", "'=Ice", "Ice"), ("target_products", "p1", "p2")]


@pytest.mark.parametrize(
    ("column", "cell", "problem"),
    [
        ("discount_value", "a lot", "Expected a number such as 12.50, not a lot."),
        ("discount_type", "half", "Value 'half' is not a valid choice."),
        ("ends_at", "soon", "Expected a date or time such as 2024-03-01 or 2024-03-01 18:30, not soon."),
        ("funded_percent", "half", "Expected a whole number from 0 to 2147483647, not half."),
        ("funded_percent", "101", "A seller pays from 1 to 100 percent."),
        ("total_limit", "1.5", "Expected a whole number from 0 to 2147483647, not 1.5."),
        ("target_products", "p1\np9", "There is no p9."),
        ("target_categories", "Grocery", "There is no Grocery."),
        ("segment", "Nobody", "There is no segment Nobody."),
        ("get_quantity", "1", "Only “buy some, get some” uses this. Leave it empty."),
        ("title", "x" * 301, "Ensure this value has at most 300 characters (it has 301)."),
    ],
)
def test_a_wrong_cell_is_named_and_nothing_changes(column: str, cell: str, problem: str) -> None:
    before = stored()
    result = load(("coupon_id", column), ("c2", ""), ("c1", cell))
    assert problems(result) == {2: {column: [problem]}}
    assert stored() == before


def test_what_the_table_forbids_is_refused_by_row() -> None:
    before = stored()
    result = load(("coupon_id", "discount_type", "discount_value"), ("c1", "percent", "101"), ("", "percent", "5"))
    found = problems(result)
    assert list(found) == [1, 2]
    assert "More than 100 percent cannot be taken off." in str(found[1])
    assert found[2] == {"coupon_id": ["This field cannot be blank."]}
    assert stored() == before


def test_rules_come_in_and_go_out() -> None:
    Segment.objects.create(name="Members")
    rules = {
        "discount_type": "buy_x_get_y",
        "buy_quantity": "2",
        "get_quantity": "1",
        "per_day_limit": "1",
        "per_week_limit": "2",
        "per_month_limit": "3",
        "first_order_only": "true",
        "segment": "Members",
        "exclusion_group": "spring",
        "group_size": "5",
        "group_hours": "48",
    }
    assert problems(load(("coupon_id", *rules), ("c2", *rules.values()))) == {}
    (row,) = [row for row in export().dict if row["coupon_id"] == "c2"]
    assert {name: row[name] for name in rules} == rules

    load(("coupon_id", "segment", "group_size", "group_hours"), ("c2", "", "", ""))
    assert Coupon.objects.values_list("segment", "group_size", "first_order_only").get(coupon_id="c2") == (
        None,
        None,
        True,
    )


@pytest.mark.parametrize(
    ("headers", "rows", "problem"),
    [
        (["title"], [["x"]], "The column coupon_id is missing. Expected a header with coupon_id, offer_id"),
        (["coupon_id", "tilte"], [["c1", "x"]], "The column tilte is not known"),
        (["coupon_id", "title", "title"], [["c1", "x", "y"]], "The column title comes twice"),
        (["coupon_id"], [["c1"], ["c2"], ["c1"]], "Lines 2, 4 have the same coupon_id: c1"),
    ],
)
def test_a_sheet_that_is_wrong_as_a_whole_is_refused(headers: list[str], rows: list[list[str]], problem: str) -> None:
    before = stored()
    result = load(headers, *rows)
    assert problem in str(result.base_errors[0].error)
    assert stored() == before


def test_more_rows_than_a_sheet_holds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_ROWS", 1)
    result = load(["coupon_id"], ["c2"], ["c3"])
    assert "2 rows are more than the 1 of a spreadsheet" in str(result.base_errors[0].error)
    Coupon.objects.create(coupon_id="c4")
    with pytest.raises(SpreadsheetRefused, match="Bring data in"):
        export()


def test_targets_too_many_to_list_stay_until_a_cell_names_others(coupon: Coupon) -> None:
    products = Product.objects.bulk_create(Product(product_id=f"q{number}") for number in range(MAX_TARGETS))
    CouponTarget.objects.bulk_create(CouponTarget(coupon=coupon, product=product) for product in products)
    sheet = export()
    assert sheet["target_products"] == list(TOO_MANY)
    before = stored()
    assert CouponResource().import_data(sheet).totals["skip"] == 1
    assert stored() == before

    load(("coupon_id", "target_products"), ("c1", "p2\nq7"))
    assert set(coupon.targets.filter(product__isnull=False).values_list("product__product_id", flat=True)) == {
        "p2",
        "q7",
    }
    assert coupon.targets.count() == 4
