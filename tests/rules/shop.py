"""Short names for baskets and coupons in euros."""

from decimal import Decimal
from typing import Any

from recommender.rules.basket import Basket, BasketLine
from recommender.rules.offer import DiscountType, Offer, Targets

CENT = Decimal("0.01")


def line(
    line_id: str, price: str, quantity: str = "1", *, product: str = "", categories: str = "", brand: str = ""
) -> BasketLine:
    """``categories`` are separated by spaces; the product is called like the line unless it is named."""
    return BasketLine(
        line_id, product or line_id, frozenset(categories.split()), brand, Decimal(quantity), Decimal(price)
    )


def basket(*lines: BasketLine, shipping: str = "0", unit: Decimal = CENT) -> Basket:
    return Basket(lines, Decimal(shipping), unit)


def offer(coupon_id: str, discount_type: DiscountType | None, value: str | None = None, **terms: Any) -> Offer:
    for name in ("max_discount", "min_spend", "budget_left", "campaign_budget_left"):
        if name in terms:
            terms[name] = Decimal(terms[name])
    return Offer(
        coupon_id, discount_type=discount_type, discount_value=None if value is None else Decimal(value), **terms
    )


def percent(coupon_id: str, value: str, **terms: Any) -> Offer:
    return offer(coupon_id, DiscountType.PERCENT, value, **terms)


def amount(coupon_id: str, value: str, **terms: Any) -> Offer:
    return offer(coupon_id, DiscountType.AMOUNT, value, **terms)


def free_shipping(coupon_id: str, **terms: Any) -> Offer:
    return offer(coupon_id, DiscountType.FREE_SHIPPING, **terms)


def buy_get(coupon_id: str, buy: int | None, get: int | None, value: str | None = None, **terms: Any) -> Offer:
    return offer(coupon_id, DiscountType.BUY_X_GET_Y, value, buy_quantity=buy, get_quantity=get, **terms)


def products(*product_ids: str) -> Targets:
    return Targets(products=frozenset(product_ids))
