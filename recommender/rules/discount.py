"""What one coupon takes off a basket by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from recommender.rules.basket import Basket
from recommender.rules.distribution import apportion
from recommender.rules.offer import DiscountType, Offer
from recommender.rules.refusal import Refusal, RefusalCode, event_budget_refusal

_WHOLE = 100 * 1000  # thousandths of a percent: a percent has three decimals at most


@dataclass(frozen=True, slots=True)
class Discount:
    """What a coupon takes off, in whole smallest units. Lines are told by their place in the basket.

    Attributes:
        places: the lines that it is for.
        by_place: of each line of which it takes anything. An amount may be laid on its lines otherwise as well.
        total: with ``shipping``.
    """

    offer: Offer
    places: tuple[int, ...]
    by_place: Mapping[int, int] = field(default_factory=dict)
    shipping: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.by_place.values()) + self.shipping)


def discount_alone(offer: Offer, basket: Basket) -> Discount | Refusal:
    """What a coupon takes off as if there was no other, or why nothing."""
    places = tuple(place for place, line in enumerate(basket.lines) if line.quantity > 0 and offer.targets.hold(line))
    refused = _refuse_by_basket(offer, basket, places)
    if refused is not None:
        return refused
    discount = _discount(offer, basket, places)
    if not discount.total:
        return Refusal(offer.coupon_id, RefusalCode.NOTHING_TO_TAKE_OFF)
    for left, code in (
        (offer.budget_left, RefusalCode.BUDGET),
        (offer.campaign_budget_left, RefusalCode.CAMPAIGN_BUDGET),
    ):
        if left is not None and basket.in_units(left, ROUND_FLOOR) < discount.total:
            return Refusal(offer.coupon_id, code)
    event = offer.sale_event
    if event is not None and event.left is not None and basket.in_units(event.left, ROUND_FLOOR) < discount.total:
        return Refusal(offer.coupon_id, *event_budget_refusal(event))
    return discount


def _refuse_by_basket(offer: Offer, basket: Basket, places: tuple[int, ...]) -> Refusal | None:
    if not offer.has_terms:
        return Refusal(offer.coupon_id, RefusalCode.TERMS_UNKNOWN)
    if not places:
        return Refusal(offer.coupon_id, RefusalCode.NO_TARGET)
    if offer.min_spend is not None:
        needed, spend = basket.in_units(offer.min_spend, ROUND_CEILING), sum(basket.amounts[place] for place in places)
        if spend < needed:
            told = {"min_spend": needed, "spend": spend, "missing": needed - spend}
            facts = {name: basket.in_money(units) for name, units in told.items()}
            return Refusal(offer.coupon_id, RefusalCode.MIN_SPEND, facts)
    if offer.discount_type is DiscountType.BUY_X_GET_Y:
        assert offer.buy_quantity  # it has terms
        needed, items = offer.buy_quantity + 1, sum(int(basket.lines[place].quantity) for place in places)
        if items < needed:
            return Refusal(offer.coupon_id, RefusalCode.TOO_FEW_ITEMS, {"needed": needed, "items": items})
    return None


def _discount(offer: Offer, basket: Basket, places: tuple[int, ...]) -> Discount:
    most = None if offer.max_discount is None else basket.in_units(offer.max_discount, ROUND_DOWN)
    if offer.discount_type is DiscountType.FREE_SHIPPING:
        return Discount(offer, places, shipping=_at_most(basket.shipping_units, most))
    if offer.discount_type is DiscountType.BUY_X_GET_Y:
        bases = _cost_of_what_is_got(offer, basket, places)
    else:
        bases = [basket.amounts[place] for place in places]
    if offer.percent is None:
        assert offer.discount_value is not None  # it has terms
        total = min(basket.in_units(offer.discount_value), sum(bases))
    else:
        total = _percent_of(offer.percent, sum(bases))
    shares = apportion(_at_most(total, most), bases)
    return Discount(offer, places, {place: share for place, share in zip(places, shares, strict=True) if share})


def _at_most(units: int, most: int | None) -> int:
    return units if most is None else min(units, most)


def _percent_of(percent: Decimal, units: int) -> int:
    """Half a unit rounded up."""
    return (2 * units * int(percent * 1000) + _WHOLE) // (2 * _WHOLE)


def _cost_of_what_is_got(offer: Offer, basket: Basket, places: tuple[int, ...]) -> list[int]:
    """Of each line what those of its items cost that are got.

    Items are put into groups, the dearest first: so many that are bought, then so many that are got, and the last group
    may get fewer. No other grouping in which what is got costs no more than what is bought gives the shopper more.
    Only whole items count.
    """
    buy, get = offer.buy_quantity, offer.get_quantity
    assert buy and get  # it has terms

    def count_got(items: int) -> int:
        groups, others = divmod(items, buy + get)
        return groups * get + max(0, others - buy)

    costs = dict.fromkeys(places, 0)
    passed = 0
    for place in sorted(places, key=lambda place: -basket.lines[place].unit_price):
        line = basket.lines[place]
        items = int(line.quantity)
        got = count_got(passed + items) - count_got(passed)
        costs[place] = basket.in_units(got * line.unit_price)
        passed += items
    return list(costs.values())
