"""Frames and tables: what is written here and what the ORM writes cannot be told apart."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import BigIntegerField, CharField, Value

from recommender import bulk
from recommender.bulk import delete_rows, insert_frame, insert_selected, read_frame, staged_values, update_frame
from recommender.models import Campaign, CampaignShopper, Event, Order, OrderLine, Product, Shopper

TIME = pl.Datetime("us", "UTC")
MOMENTS = [
    datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC),
    datetime(2024, 3, 1, 0, 0, 0, 123456, tzinfo=UTC),
    datetime(2024, 3, 1, 12, tzinfo=UTC),
]
AMOUNTS = [Decimal("0.007"), Decimal("99999999999.999"), Decimal("-2.000")]
STRINGS = ["", 'say "hi", twice\nover', "\\N 字"]

pytestmark = pytest.mark.django_db


def products() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "product_id": ["p1", "p2", "p3"],
            "name": STRINGS,
            "category_id": pl.Series([None] * 3, dtype=pl.Int64),
            "brand": ["", "b", ""],
            "price": pl.Series([None, Decimal("1.390"), Decimal("2.000")], dtype=pl.Decimal(14, 3)),
            "rating": [None, 4.5, 3.0],
            "seller_id": ["", "", ""],
            "active": [True, False, True],
            "attributes": ['{"size": "22 LB"}', "{}", '{"size": "\\"x\\""}'],
        }
    )


@pytest.fixture
def order() -> Order:
    shopper = Shopper.objects.create(shopper_id="s1")
    return Order.objects.create(order_id="o1", shopper=shopper, ordered_at=MOMENTS[0])


def lines(order: Order) -> pl.DataFrame:
    insert_frame(Product, products())
    ids = list(Product.objects.order_by("product_id").values_list("pk", flat=True))
    money = pl.Series(AMOUNTS, dtype=pl.Decimal(14, 3))
    return pl.DataFrame({"position": [0, 1, 2], "product_id": ids}).with_columns(
        pl.lit(order.pk).alias("order_id"),
        pl.Series("quantity", [Decimal("1"), Decimal("0"), Decimal("2.5")], dtype=pl.Decimal(12, 3)),
        money.alias("amount"),
        money.alias("discount"),
        money.alias("coupon_discount"),
    )


def test_inserted_rows_come_back_through_the_orm_as_they_were() -> None:
    assert insert_frame(Product, products()) == 3
    rows = list(
        Product.objects.order_by("product_id").values_list("name", "price", "rating", "active", "attributes", "brand")
    )
    assert rows == [
        (STRINGS[0], None, None, True, {"size": "22 LB"}, ""),
        (STRINGS[1], Decimal("1.390"), 4.5, False, {}, "b"),
        (STRINGS[2], Decimal("2.000"), 3.0, True, {"size": '"x"'}, ""),
    ]


def test_money_is_exact_both_ways(order: Order) -> None:
    insert_frame(OrderLine, lines(order))
    assert list(OrderLine.objects.order_by("position").values_list("amount", flat=True)) == AMOUNTS
    frame = read_frame(
        OrderLine.objects.order_by("position").values_list("amount", "amount", "quantity"),
        {"exact": pl.Decimal(14, 3), "float": pl.Float64, "quantity": pl.Float64},
    )
    assert frame["exact"].to_list() == AMOUNTS
    assert frame["float"].to_list() == [0.007, 99999999999.999, -2.0]
    assert frame["quantity"].to_list() == [1.0, 0.0, 2.5]


def test_stored_values_are_the_ones_that_django_stores(order: Order) -> None:
    """Byte for byte: a lookup by value finds rows of both origins."""
    insert_frame(
        Event,
        pl.DataFrame(
            {"event_key": ["a", "b", "c"], "kind": ["view"] * 3, "shopper_id": [order.shopper_id] * 3}
        ).with_columns(pl.Series("occurred_at", MOMENTS, dtype=TIME)),
    )
    for key, moment in zip("abc", MOMENTS, strict=True):
        Event.objects.create(event_key=f"{key} by django", kind="view", shopper=order.shopper, occurred_at=moment)
        assert set(Event.objects.filter(occurred_at=moment).values_list("event_key", flat=True)) == {
            key,
            f"{key} by django",
        }
    with connection.cursor() as cursor:
        text = "CAST(occurred_at AS TEXT)"
        cursor.execute(f"SELECT COUNT(DISTINCT {text}), COUNT({text}) FROM recommender_event")
        assert cursor.fetchone() == (3, 6)


def test_times_and_flags_and_json_are_read(order: Order) -> None:
    Shopper.objects.create(shopper_id="s2", joined_at=MOMENTS[1], opted_out=True, attributes={"age_band": "65+"})
    frame = read_frame(
        Shopper.objects.order_by("shopper_id").values_list("shopper_id", "joined_at", "opted_out", "attributes"),
        {"shopper_id": pl.String, "joined_at": TIME, "opted_out": pl.Boolean, "attributes": pl.String},
    )
    assert frame.schema == {
        "shopper_id": pl.String,
        "joined_at": TIME,
        "opted_out": pl.Boolean,
        "attributes": pl.String,
    }
    assert frame.rows() == [("s1", None, False, "{}"), ("s2", MOMENTS[1], True, '{"age_band": "65+"}')]


def test_an_empty_string_is_not_null() -> None:
    insert_frame(Product, products())
    frame = read_frame(
        Product.objects.order_by("product_id").values_list("name", "price"), {"name": pl.String, "price": pl.String}
    )
    assert frame["name"].to_list() == STRINGS
    assert frame["price"].null_count() == 1


@pytest.mark.parametrize("nothing", [Shopper.objects.filter(shopper_id="nobody"), Shopper.objects.none()])
def test_an_empty_query_gives_an_empty_frame_with_its_schema(nothing) -> None:
    frame = read_frame(nothing.values_list("pk", "joined_at"), {"id": pl.Int64, "joined_at": TIME})
    assert frame.shape == (0, 2)
    assert frame.schema == {"id": pl.Int64, "joined_at": TIME}


def test_parameters_of_a_query_are_passed_safely(order: Order) -> None:
    Shopper.objects.create(shopper_id="o'brien %s")
    frame = read_frame(Shopper.objects.filter(shopper_id="o'brien %s").values_list("shopper_id"), {"id": pl.String})
    assert frame["id"].to_list() == ["o'brien %s"]


def test_rows_beyond_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH_ROWS", 2)
    insert_frame(Product, products())
    frame = read_frame(Product.objects.order_by("pk").values_list("product_id"), {"product_id": pl.String})
    assert frame["product_id"].to_list() == ["p1", "p2", "p3"]


def test_update_sets_the_named_rows_and_columns_only() -> None:
    insert_frame(Product, products())
    ids = list(Product.objects.order_by("product_id").values_list("pk", flat=True))
    changes = pl.DataFrame(
        {
            "id": [ids[0], ids[2]],
            "price": pl.Series([Decimal("5.005"), None], dtype=pl.Decimal(14, 3)),
            "active": [False, False],
            "attributes": ['{"a": 1}', "{}"],
        }
    )
    assert update_frame(Product, changes) == 2
    assert list(Product.objects.order_by("pk").values_list("name", "price", "active", "attributes")) == [
        (STRINGS[0], Decimal("5.005"), False, {"a": 1}),
        (STRINGS[1], Decimal("1.390"), False, {}),
        (STRINGS[2], None, False, {}),
    ]


def test_staged_values_narrow_a_query() -> None:
    insert_frame(Product, products())
    with staged_values(Product, "product_id", pl.Series("key", ["p3", "p1", "nothing"])) as staged:
        found = Product.objects.filter(product_id__in=staged).values_list("product_id", flat=True)
        assert sorted(found) == ["p1", "p3"]


def test_delete_rows(order: Order) -> None:
    insert_frame(OrderLine, lines(order))
    ids = OrderLine.objects.filter(position__lt=2).values_list("pk", flat=True)
    assert delete_rows(OrderLine, pl.Series("id", list(ids))) == 2
    assert list(OrderLine.objects.values_list("position", flat=True)) == [2]


@pytest.mark.django_db(transaction=True)
def test_a_refused_batch_leaves_none_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH_ROWS", 2)
    twice = pl.DataFrame({"shopper_id": ["a", "b", "a"], "opted_out": [False] * 3, "attributes": ["{}"] * 3})
    with pytest.raises(IntegrityError):
        insert_frame(Shopper, twice)
    assert Shopper.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_rows_join_the_transaction_that_is_open() -> None:
    with pytest.raises(KeyError), transaction.atomic():
        insert_frame(Product, products())
        raise KeyError
    assert Product.objects.count() == 0


def test_rows_are_inserted_from_a_query() -> None:
    for shopper_id, opted_out in (("s1", False), ("s2", True), ("s3", False)):
        Shopper.objects.create(shopper_id=shopper_id, opted_out=opted_out)
    campaign = Campaign.objects.create(campaign_id="c", starts_at=MOMENTS[0], ends_at=MOMENTS[2])
    key = Value(campaign.pk, output_field=BigIntegerField())
    group = Value("=% all", output_field=CharField())
    chosen = Shopper.objects.filter(opted_out=False).order_by("pk").annotate(campaign=key, group=group)
    columns = ["campaign_id", "group", "shopper_id"]
    assert insert_selected(CampaignShopper, columns, chosen.values_list("campaign", "group", "pk")) == 2
    rows = CampaignShopper.objects.order_by("pk").values_list("campaign", "group", "shopper__shopper_id", "origin")
    assert list(rows) == [(campaign.pk, "=% all", "s1", "shop"), (campaign.pk, "=% all", "s3", "shop")]
    assert insert_selected(CampaignShopper, columns, chosen.none().values_list("campaign", "group", "pk")) == 0
