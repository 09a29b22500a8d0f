"""A small shop for the checkout: Anna and Ben, tea and milk, a campaign that runs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from recommender.models import (
    Campaign,
    CampaignCoupon,
    Category,
    Coupon,
    Product,
    Reservation,
    Shopper,
)
from recommender.services.checkout.baskets import GivenBasket, GivenLine
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.reserving import reserve

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def make_shop(shoppers: Sequence[str] = ("anna", "ben"), **campaign: Any) -> Campaign:
    Shopper.objects.bulk_create(Shopper(shopper_id=name) for name in shoppers)
    drinks = Category.objects.create(path="Drinks")
    hot = Category.objects.create(path="Drinks / Hot", parent=drinks)
    Product.objects.create(product_id="tea", category=hot, brand="Leaf")
    Product.objects.create(product_id="milk", category=drinks, brand="Cow")
    return Campaign.objects.create(
        campaign_id="spring", **{"starts_at": NOW - 30 * DAY, "ends_at": NOW + 365 * DAY, **campaign}
    )


def make_coupon(coupon_id: str = "c", *, campaign: str = "spring", **fields: Any) -> Coupon:
    """Two off, as often as one likes, unless the fields say otherwise."""
    coupon = Coupon.objects.create(
        coupon_id=coupon_id, **{"discount_type": "amount", "discount_value": Decimal(2), **fields}
    )
    CampaignCoupon.objects.create(campaign=Campaign.objects.get(campaign_id=campaign), coupon=coupon)
    return coupon


def basket(*lines: tuple[str, str, str], shipping: str = "0") -> GivenBasket:
    """Lines as product, quantity and price; they are called ``1``, ``2`` and so on. Tea for ten without any."""
    return GivenBasket(
        tuple(
            GivenLine(str(number), product, Decimal(quantity), Decimal(price))
            for number, (product, quantity, price) in enumerate(lines or [("tea", "1", "10")], start=1)
        ),
        Decimal(shipping),
    )


def hold(
    *coupon_ids: str, shopper: str = "anna", at: datetime = NOW, of: GivenBasket | None = None, **options: Any
) -> Reservation:
    asked = [Asked(coupon_id=coupon_id) for coupon_id in coupon_ids or ["c"]]
    return reserve(shopper_id=shopper, basket=of or basket(), asked=asked, at=at, **options)[0]


#: What counts, added up from the rows by queries that share nothing with the code under test.
_COUNTS = """
SELECT c.coupon_id,
       (SELECT COUNT(*) FROM recommender_redemption r WHERE r.coupon_id = c.id
          AND NOT EXISTS (SELECT 1 FROM recommender_reservationcoupon i WHERE i.redemption_id = r.id))
     + (SELECT COUNT(*) FROM recommender_reservationcoupon i WHERE i.coupon_id = c.id AND i.held_uses = 1)
     + (SELECT COUNT(*) FROM recommender_groupbuymember m JOIN recommender_groupbuy g ON g.id = m.group_id
         WHERE g.coupon_id = c.id AND m.held_uses = 1) AS uses,
       COALESCE((SELECT SUM(r.discount_amount) FROM recommender_redemption r WHERE r.coupon_id = c.id
          AND NOT EXISTS (SELECT 1 FROM recommender_reservationcoupon i WHERE i.redemption_id = r.id)), 0)
     + COALESCE((SELECT SUM(i.held_amount) FROM recommender_reservationcoupon i WHERE i.coupon_id = c.id), 0) AS spent,
       COALESCE(k.uses, 0), COALESCE(k.spent, 0)
  FROM recommender_coupon c LEFT JOIN recommender_couponcounter k ON k.coupon_id = c.id
"""


def count_by_sql() -> dict[str, tuple[int, Decimal]]:
    """Uses and money of each coupon by its rows; fails where its counter says otherwise."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS)
        rows = cursor.fetchall()
    counts = {}
    for coupon_id, uses, spent, counted_uses, counted_spent in rows:
        money, counted_money = (round(Decimal(str(each)), 3) for each in (spent, counted_spent))
        assert (counted_uses, counted_money) == (uses, money), coupon_id
        counts[coupon_id] = (int(uses), money)
    return counts
