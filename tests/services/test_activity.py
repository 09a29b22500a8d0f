"""The shop day by day."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from recommender.models import Coupon, Order, OrderLine, Product, Redemption, Shop, Shopper
from recommender.services.activity import Activity, Day, measure_activity

pytestmark = pytest.mark.django_db

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def add_order(at: datetime, *, uses: int) -> None:
    """An order of 1.10 and 2.20 in which so many coupons were used."""
    shopper = Shopper.objects.get_or_create(shopper_id="s")[0]
    product = Product.objects.get_or_create(product_id="p")[0]
    order = Order.objects.create(order_id=f"{Order.objects.count()}", shopper=shopper, ordered_at=at)
    for position, amount in enumerate(("1.10", "2.20")):
        OrderLine.objects.create(order=order, position=position, product=product, quantity=1, amount=Decimal(amount))
    for number in range(uses):
        coupon = Coupon.objects.get_or_create(coupon_id=f"c{number}")[0]
        Redemption.objects.create(shopper=shopper, coupon=coupon, order=order, redeemed_at=at)


def test_an_order_brings_its_revenue_once_however_many_coupons_were_used_in_it() -> None:
    add_order(NOON, uses=2)
    add_order(NOON - DAY, uses=1)
    add_order(NOON - DAY, uses=0)
    add_order(NOON - 3 * DAY, uses=1)
    add_order(NOON - 4 * DAY, uses=1)  # too long ago
    assert measure_activity(now=NOON + 9 * DAY, days=2) == Activity(
        days=[Day(date(2024, 3, 9), 1, Decimal("3.30")), Day(date(2024, 3, 10), 2, Decimal("3.30"))],
        before=[Day(date(2024, 3, 7), 1, Decimal("3.30")), Day(date(2024, 3, 8), 0, Decimal(0))],
        last_at=NOON,
    )


def test_what_is_dated_later_than_now_is_not_the_last_day() -> None:
    add_order(NOON, uses=1)
    add_order(NOON + 9 * DAY, uses=1)
    assert measure_activity(now=NOON + DAY, days=1).days == [Day(date(2024, 3, 10), 1, Decimal("3.30"))]


@pytest.mark.parametrize(("zone", "day"), [("UTC", 10), ("Asia/Shanghai", 11)])
def test_a_day_begins_by_the_clock_of_the_shop(zone: str, day: int) -> None:
    Shop.current()
    Shop.objects.update(time_zone=zone)
    add_order(datetime(2024, 3, 10, 16, tzinfo=UTC), uses=1)
    assert measure_activity(now=NOON + DAY, days=1).days == [Day(date(2024, 3, day), 1, Decimal("3.30"))]


def test_a_shop_where_nothing_happened_has_no_days() -> None:
    assert measure_activity(now=NOON) == Activity([], [], None)
