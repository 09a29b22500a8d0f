"""Rows that cannot be read: each is put aside with its file, line, column and reason, and the good rows load."""

from pathlib import Path

import polars as pl
import pytest

from recommender.models import Order, OrderLine, Product, Redemption, Shop, Shopper
from recommender.services.ingest import LoadRefused, LoadReport, load_export
from recommender.services.ingest.staging import SHOWN_CHARACTERS
from tests.services.ingest.exports import EXPORT, as_gzip, contents, write_export

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("data_dir")]

TEXT = "text of at most 64 characters without control characters"
MONEY = "a number from 0 up such as 12.50, with a decimal point, at most 11 digits before it and 3 after it"
TIME = "a date or time such as 2024-03-01, 2024-03-01T18:30:00 or 2024-03-01T18:30:00+02:00"


def load(folder: Path) -> LoadReport:
    return load_export(folder=folder, max_bad_share=1)


def put_aside(report: LoadReport) -> list[tuple[str, int, str, str]]:
    return [(row.file, row.line, row.column, row.reason) for row in report.examples]


CELLS = [
    ("shoppers", "shopper_id", ",2023-12-01,,,", f"Missing. Expected {TEXT}."),
    ("shoppers", "shopper_id", f"{'x' * 65},,,,", f"'{'x' * SHOWN_CHARACTERS}' is wrong. Expected {TEXT}."),
    ("shoppers", "shopper_id", "a\x00b,,,,", f"'a\\x00b' is wrong. Expected {TEXT}."),
    ("shoppers", "joined_at", "x,01/02/2024,,,", f"'01/02/2024' is wrong. Expected {TIME}."),
    ("shoppers", "joined_at", "x,2024-02-30,,,", f"'2024-02-30' is wrong. Expected {TIME}."),
    ("shoppers", "joined_at", "x,2024-02-03T10:00+25:00,,,", f"'2024-02-03T10:00+25:00' is wrong. Expected {TIME}."),
    ("shoppers", "opted_out", "x,,maybe,,", "'maybe' is wrong. Expected true or false."),
    ("shoppers", "shopper_id", "s1,,,,", "Repeats line 2: the same shopper_id."),
    ("shoppers", "", "x,,,", "4 values. Expected 5, as in the header."),
    ("shoppers", "", "x,,,,,,", "7 values. Expected 5, as in the header."),
    (
        "products",
        "category",
        "x,,A /  / B,,,,,,,",
        "'A /  / B' is wrong. Expected a path of levels joined by ' / ', none of them empty, of at most 500 "
        "characters.",
    ),
    ("products", "price", 'x,,,,"2,50",,,,,', f"'2,50' is wrong. Expected {MONEY}."),
    ("products", "price", "x,,,,-1,,,,,", f"'-1' is wrong. Expected {MONEY}."),
    ("products", "price", "x,,,,1.2345,,,,,", f"'1.2345' is wrong. Expected {MONEY}."),
    ("products", "price", "x,,,,1e3,,,,,", f"'1e3' is wrong. Expected {MONEY}."),
    ("products", "cost", "x,,,,,123456789012,,,,", f"'123456789012' is wrong. Expected {MONEY}."),
    ("products", "rating", "x,,,,,,nan,,,", "'nan' is wrong. Expected a number such as 4.5."),
    ("orders", "ordered_at", "x,s1,,,", f"Missing. Expected {TIME}."),
    (
        "orders",
        "shopper_id",
        "x,s9,2024-03-01,,",
        "'s9' is neither among the shoppers of the export nor in the database.",
    ),
    (
        "order_lines",
        "quantity",
        "o1,p1,-1,1,,,",
        "'-1' is wrong. Expected a number from 0 up such as 12.50, with a decimal point, at most 9 digits before it "
        "and 3 after it.",
    ),
    (
        "order_lines",
        "product_id",
        "o1,p9,1,1,,,",
        "'p9' is neither among the products of the export nor in the database.",
    ),
    (
        "order_lines",
        "coupon_id",
        "o1,p1,1,1,,,c9",
        "'c9' is neither among the coupons of the export nor in the database.",
    ),
    (
        "coupons",
        "discount_type",
        "x,,,,bogof,,,,,,,,,,",
        "'bogof' is wrong. Expected one of percent, amount, free_shipping, buy_x_get_y.",
    ),
    ("coupons", "discount_value", "x,,,,percent,101,,,,,,,,,", "More than 100 percent."),
    ("coupons", "total_limit", "x,,,,,,,,1.5,,,,,,", "'1.5' is wrong. Expected a whole number from 0 to 2147483647."),
    ("coupons", "ends_at", "x,,,,,,,,,,2024-03-02,2024-03-01,,,", "The end is not after starts_at."),
    (
        "coupon_products",
        "product_id",
        "c1,p1,Grocery,",
        "Expected one of product_id, category and brand, and one only.",
    ),
    ("coupon_products", "product_id", "c1,,,", "Expected one of product_id, category and brand, and one only."),
    (
        "coupon_products",
        "category",
        "c1,,Garden,",
        "'Garden' is neither among the categories of the export nor in the database.",
    ),
    ("coupon_products", "coupon_id", "c1,p1,,", "Repeats line 2: the same coupon_id, product_id, category, brand."),
    ("campaigns", "ends_at", "x,,,2024-03-01,,", f"Missing. Expected {TIME}."),
    (
        "campaign_coupons",
        "campaign_id",
        "m9,c1",
        "'m9' is neither among the campaigns of the export nor in the database.",
    ),
    ("campaign_shoppers", "group", "m1,s3,both", "'both' is wrong. Expected one of treatment, control."),
    ("campaign_shoppers", "campaign_id", "m1,s1,control", "Repeats line 2: the same campaign_id, shopper_id."),
    (
        "redemptions",
        "shopper_id",
        "s1,c1,2024-03-01T09:30,m1,o1,",
        "Repeats line 2: the same shopper_id, coupon_id, redeemed_at, campaign_id, order_id.",
    ),
    (
        "events",
        "kind",
        "e9,s1,purchase,2024-03-01,,,,",
        "'purchase' is wrong. Expected one of view, impression, click, claim, dismiss, usage.",
    ),
    ("events", "event_id", "e1,s2,view,2024-03-01,,,,", "Repeats line 2: the same event_key."),
    ("events", "event_id", ",s2,view,2024-03-01 08:00,,p1,,2.50", "Repeats line 3: the same event_key."),
]


@pytest.mark.parametrize(("table", "column", "row", "reason"), CELLS)
def test_a_bad_row_is_put_aside_with_its_place_and_reason(
    tmp_path: Path, table: str, column: str, row: str, reason: str
) -> None:
    load(write_export(tmp_path / "good"))
    before = contents()
    line = EXPORT[table].count("\n") + 1
    report = load(write_export(tmp_path / "bad", **{table: f"{EXPORT[table]}{row}\n"}))
    assert put_aside(report) == [(f"{table}.csv", line, column, reason)]
    assert {file.file: file.put_aside for file in report.files if file.put_aside} == {f"{table}.csv": 1}
    assert report.written == 0
    assert contents() == before


def test_the_first_wrong_column_of_a_row_is_named(tmp_path: Path) -> None:
    report = load(write_export(tmp_path, shoppers=EXPORT["shoppers"] + ",never,perhaps,,\n"))
    assert put_aside(report) == [("shoppers.csv", 5, "shopper_id", f"Missing. Expected {TEXT}.")]


def test_rows_that_refer_to_a_row_put_aside_follow_it(tmp_path: Path) -> None:
    report = load(write_export(tmp_path, orders=EXPORT["orders"].replace("o1,s1,2024-03-01T09:30:00", "o1,s1,never")))
    unknown = "'o1' is neither among the orders of the export nor in the database."
    assert put_aside(report) == [
        ("orders.csv", 2, "ordered_at", f"'never' is wrong. Expected {TIME}."),
        ("order_lines.csv", 2, "order_id", unknown),
        ("order_lines.csv", 3, "order_id", unknown),
        ("order_lines.csv", 5, "order_id", unknown),
        ("redemptions.csv", 2, "order_id", unknown),
    ]
    assert list(OrderLine.objects.values_list("order__order_id", "position")) == [("o2", 0)]
    assert Redemption.objects.count() == 1


def test_an_order_whose_lines_were_all_put_aside_keeps_those_it_had(tmp_path: Path) -> None:
    load(write_export(tmp_path / "old"))
    lines = "order_id,product_id,quantity,amount\no1,p9,1,1\no2,p2,1,1\n"
    load(write_export(tmp_path / "new", order_lines=lines))
    assert OrderLine.objects.filter(order__order_id="o1").count() == 3
    assert list(OrderLine.objects.filter(order__order_id="o2").values_list("product__product_id")) == [("p2",)]


def test_an_order_may_have_no_lines(tmp_path: Path) -> None:
    load(write_export(tmp_path, order_lines="order_id,product_id,quantity,amount\no1,p9,1,1\no2,p2,1,1\n"))
    assert Order.objects.get(order_id="o1").lines.count() == 0


def test_line_numbers_count_line_ends_inside_quotes_and_empty_lines(tmp_path: Path) -> None:
    report = load(
        write_export(
            tmp_path,
            products="product_id,name\n"  # 1
            'p1,"two\nlines"\n'  # 2, 3
            "\n"  # 4, which is no row, like one of empty cells only
            ",no identifier\n"  # 5
            'p2,"three\nmore\nlines",too many\n'  # 6, 7, 8
            ",none again\n"  # 9
            "p3,\r\n"  # 10
            ",\n"  # 11
            'p2,"last"\n',  # 12
            coupon_products=None,
        )
    )
    assert put_aside(report) == [
        ("products.csv", 5, "product_id", f"Missing. Expected {TEXT}."),
        ("products.csv", 6, "", "3 values. Expected 2, as in the header."),
        ("products.csv", 9, "product_id", f"Missing. Expected {TEXT}."),
    ]
    assert report.files[1].rows == 6
    assert list(Product.objects.order_by("pk").values_list("product_id", "name")) == [
        ("p1", "two\nlines"),
        ("p3", ""),
        ("p2", "last"),
    ]


def test_in_parquet_the_row_number_is_told(tmp_path: Path) -> None:
    folder = write_export(tmp_path, order_lines=None)
    pl.DataFrame(
        {
            "order_id": ["o1", "o1", "o2"],
            "product_id": ["p1"] * 3,
            "quantity": [1, -1, 2],
            "amount": [0.1 + 0.2, 1, 0.1234],
        }
    ).write_parquet(folder / "order_lines.parquet")
    report = load(folder)
    assert [(row.file, row.line, row.column) for row in report.examples] == [
        ("order_lines.parquet", 2, "quantity"),
        ("order_lines.parquet", 3, "amount"),
    ]
    assert [str(amount) for amount in OrderLine.objects.values_list("amount", flat=True)] == ["0.300"]


def test_a_time_that_clocks_skip_is_put_aside_and_of_one_that_comes_twice_the_first_is_meant(tmp_path: Path) -> None:
    Shop.objects.update_or_create(pk=1, defaults={"time_zone": "America/New_York"})
    report = load(
        write_export(
            tmp_path, shoppers="shopper_id,joined_at\ns1,2024-03-10T02:30\ns2,2024-11-03T01:30\ns3,2024-03-10\n"
        )
    )
    assert put_aside(report)[0] == (
        "shoppers.csv",
        2,
        "joined_at",
        f"'2024-03-10T02:30' is wrong. Expected {TIME}.",
    )
    joined = Shopper.objects.values_list("joined_at", flat=True)
    assert joined.get(shopper_id="s2").isoformat() == "2024-11-03T05:30:00+00:00"  # type: ignore[union-attr]
    assert joined.get(shopper_id="s3").isoformat() == "2024-03-10T05:00:00+00:00"  # type: ignore[union-attr]


def test_staff_get_a_file_of_what_was_put_aside(tmp_path: Path, data_dir: Path) -> None:
    folder = write_export(tmp_path / "März 2024", shoppers=EXPORT["shoppers"] + ",2023-12-01,,,\ns4,soon,,,\n")
    as_gzip(folder)
    report = load(folder)
    assert report.put_aside_path
    path = Path(report.put_aside_path)
    assert path.parent == data_dir / "put-aside"
    assert path.read_text(encoding="utf-8") == (
        "\ufefffile,line,column,reason\n"
        f"shoppers.csv.gz,5,shopper_id,Missing. Expected {TEXT}.\n"
        f"shoppers.csv.gz,6,joined_at,\"'soon' is wrong. Expected {TIME}.\"\n"
    )


def test_more_bad_rows_than_the_stated_share_stop_the_load(tmp_path: Path, data_dir: Path) -> None:
    load(write_export(tmp_path / "old"))
    before = contents()
    lines = "".join(f"o1,p1,{quantity},1,0,0,\n" for quantity in [1] * 97 + [-1, -2, -3])
    folder = write_export(
        tmp_path / "new",
        shoppers=EXPORT["shoppers"] + "s4,,,,\n",
        order_lines="order_id,product_id,quantity,amount,discount,coupon_discount,coupon_id\n" + lines,
    )
    with pytest.raises(LoadRefused) as refusal:
        load_export(folder=folder, max_bad_share=0.02)
    message = str(refusal.value)
    assert message.startswith("order_lines.csv: 3 of 100 rows are bad, more than 2.0000% of them. Nothing was loaded.")
    assert "line 99, quantity: '-1' is wrong." in message
    assert contents() == before
    assert not list(data_dir.iterdir())
    assert load_export(folder=folder, max_bad_share=0.03).files[4].put_aside == 3  # the share itself is allowed


def test_too_many_unknown_references_stop_the_load_by_default(tmp_path: Path) -> None:
    Shop.current()
    before = contents()
    with pytest.raises(
        LoadRefused, match=r"^redemptions\.csv: 1 of 2 rows are bad, .* line 3, coupon_id: 'c9' is neither"
    ):
        load_export(
            folder=write_export(
                tmp_path,
                redemptions="shopper_id,coupon_id,redeemed_at\ns1,c1,2024-03-01\ns1,c9,2024-03-01\n",
            )
        )
    assert contents() == before
