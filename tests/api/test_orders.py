"""Orders as they are posted, many at once."""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from recommender.models import Coupon, Order, OrderLine, Product, Shopper
from recommender.services.orders import NewLine, NewOrder, RecordedOrders, record_orders

Call = Callable[..., Any]
ORDER: dict[str, Any] = {
    "order_id": "o2",
    "shopper_id": "anna",
    "ordered_at": "2026-03-10T20:00:00+08:00",
    "channel": "web",
    "store_id": "s1",
    "lines": [
        {
            "product_id": "green tea",
            "quantity": "2",
            "amount": "3.25",
            "discount": "0.5",
            "coupon_discount": "0.25",
            "coupon_id": "tea-spring",
        },
        {"product_id": "green tea", "quantity": 1.5, "amount": "-1"},
    ],
}


def order(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(ORDER), **changes}


def test_an_order_lands_in_the_tables(call: Call) -> None:
    assert call("POST", "orders", [ORDER]).json() == {"accepted": 1, "duplicates": 0, "refused": []}
    row = Order.objects.get(order_id="o2")
    assert (row.shopper.shopper_id, row.channel, row.store_id) == ("anna", "web", "s1")
    assert row.ordered_at == datetime(2026, 3, 10, 12, tzinfo=UTC)
    columns = ("position", "product__product_id", "quantity", "amount", "discount", "coupon_discount", "coupon")
    assert list(row.lines.order_by("position").values_list(*columns)) == [
        (0, "green tea", 2, Decimal("3.25"), Decimal("0.5"), Decimal("0.25"), Coupon.objects.first().pk),  # type: ignore[union-attr]
        (1, "green tea", Decimal("1.5"), -1, 0, 0, None),
    ]


def test_a_list_with_bad_ones_in_it(call: Call, golden: Callable[..., None]) -> None:
    unknown, malformed, other = (order(order_id=f"o{number}") for number in (3, 4, 2))
    unknown["lines"][0]["product_id"] = "nothing"
    malformed["lines"][0]["quantity"] = "much"
    del malformed["lines"][1]["amount"]
    other["lines"][0]["amount"] = "3.26"
    golden(call("POST", "orders", [ORDER, unknown, malformed, ORDER, other, "order"]), "orders_with_refused")
    assert list(Order.objects.order_by("order_id").values_list("order_id", flat=True)) == ["o1", "o2"]
    assert OrderLine.objects.count() == 2


def test_the_same_again_changes_nothing_and_another_is_refused(call: Call, written: Callable[[], Any]) -> None:
    call("POST", "orders", [ORDER])
    before = written()
    same = order(ordered_at="2026-03-10T12:00:00Z")
    same["lines"][0] |= {"quantity": "2.000", "amount": 3.25}
    assert call("POST", "orders", [same, ORDER]).json() == {"accepted": 0, "duplicates": 2, "refused": []}
    others = [
        order(shopper_id="ben"),
        order(channel="till"),
        order(ordered_at="2026-03-10T12:00:01Z"),
        order(lines=ORDER["lines"][:1]),
        order(lines=ORDER["lines"][::-1]),
    ]
    answer = call("POST", "orders", others).json()
    assert [refused["index"] for refused in answer["refused"]] == [0, 1, 2, 3, 4]
    assert written() == before


def test_a_shopper_who_was_not_known_is_from_now_on(call: Call) -> None:
    assert call("POST", "orders", [order(shopper_id="zoe")]).json()["accepted"] == 1
    assert Order.objects.get(order_id="o2").shopper.shopper_id == "zoe"
    assert Shopper.objects.count() == 3


def test_a_refused_order_makes_no_shopper_known(call: Call) -> None:
    wrong = order(shopper_id="zoe")
    wrong["lines"][1]["coupon_id"] = "nothing"
    assert list(call("POST", "orders", [wrong]).json()["refused"][0]["errors"]) == ["lines.1.coupon_id"]
    assert not Shopper.objects.filter(shopper_id="zoe").exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"order_id": ""}, "order_id"),
        ({"order_id": "x" * 65}, "order_id"),
        ({"shopper_id": None}, "shopper_id"),
        ({"ordered_at": "2026-03-10T12:00:00"}, "ordered_at"),
        ({"ordered_at": "2999-01-01T00:00:00Z"}, "ordered_at"),
        ({"channel": "x" * 65}, "channel"),
        ({"channel": "a\0b"}, "channel"),
        ({"lines": []}, "lines"),
        ({"lines": "tea"}, "lines"),
        ({"lines": [{}] * 501}, "lines"),
        ({"lines": [{**ORDER["lines"][0], "quantity": -1}]}, "lines.0.quantity"),
        ({"lines": [{**ORDER["lines"][0], "amount": "NaN"}]}, "lines.0.amount"),
        ({"lines": [{**ORDER["lines"][0], "amount": "1.2345"}]}, "lines.0.amount"),
        ({"lines": [{**ORDER["lines"][0], "amount": "123456789012"}]}, "lines.0.amount"),
    ],
)
def test_a_malformed_order(changes: dict[str, Any], field: str, call: Call, written: Callable[[], Any]) -> None:
    before = written()
    answer = call("POST", "orders", [order(**changes)])
    assert answer.status_code == 200
    assert field in answer.json()["refused"][0]["errors"]
    assert written() == before


@pytest.mark.parametrize("body", [ORDER, "order", 7, None])
def test_what_is_no_list(body: object, call: Call) -> None:
    assert call("POST", "orders", body).status_code == 400


def test_text_that_stands_for_nothing_in_a_copy_is_text(call: Call) -> None:
    assert call("POST", "orders", [order(channel="a\x1fb", store_id='"\\N,\n')]).json()["accepted"] == 1
    row = Order.objects.get(order_id="o2")
    assert (row.channel, row.store_id) == ("a\x1fb", '"\\N,')


def test_the_number_of_queries_does_not_grow_with_the_list(call: Call) -> None:
    call("GET", "segments")

    def queries(count: int) -> int:
        posted = [order(order_id=f"{count}-{number}", shopper_id=f"shopper-{number}") for number in range(count)]
        with CaptureQueriesContext(connection) as captured:
            assert call("POST", "orders", posted).json()["accepted"] == count
        return len(captured)

    assert queries(2) == queries(100)
    assert call("POST", "orders", [order(order_id=f"many-{number}") for number in range(501)]).status_code == 400
    assert not Order.objects.filter(order_id__startswith="many").exists()


@pytest.mark.django_db(transaction=True)
def test_the_same_orders_at_once_are_kept_and_counted_once() -> None:
    Product.objects.create(product_id="tea")
    line = NewLine(product_id="tea", quantity=Decimal(1), amount=Decimal(2))
    orders = [
        NewOrder(order_id=str(number), shopper_id="anna", ordered_at=datetime(2026, 3, 10, tzinfo=UTC), lines=[line])
        for number in range(40)
    ]

    def post(some: list[NewOrder]) -> RecordedOrders:
        try:
            return record_orders(orders=dict(enumerate(some)))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(post, [orders, orders[::-1], orders[:30], orders[10:]]))
    assert (Order.objects.count(), OrderLine.objects.count(), Shopper.objects.count()) == (40, 40, 1)
    assert sum(answer.accepted for answer in answers) == 40
    assert sum(answer.duplicates for answer in answers) == 40 + 40 + 30 + 30 - 40
