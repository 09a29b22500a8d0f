"""Who pays what coupons take off: recorded with each use, by the coupon's terms when it was used."""

from decimal import Decimal
from typing import Any

from recommender.models import Coupon, Shop
from recommender.rules.currency import smallest_unit
from recommender.rules.funding import part_of_seller


def payers_of(*, coupon: Coupon, discount: Decimal | None) -> dict[str, Any]:
    """What a new redemption says of who pays."""
    percent = coupon.percent_of_seller
    return {
        "funded_by": coupon.funded_by if percent else "",
        "funded_percent": percent,
        "seller_amount": seller_amount(discount=discount, percent=percent),
    }


def seller_amount(*, discount: Decimal | None, percent: int) -> Decimal:
    """What a seller who pays so much of it pays of a discount; nothing of one that is not known."""
    if discount is None or not percent:
        return Decimal(0)
    return part_of_seller(discount=discount, percent=percent, unit=smallest_unit(Shop.current().currency))
