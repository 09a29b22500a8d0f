"""Random baskets and coupons that meet often: few products, few prices, everything that may be missing."""

import os
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st

from recommender.rules.basket import Basket, BasketLine
from recommender.rules.offer import DiscountType, Offer, SaleEvent, Targets

PROVE = bool(os.environ.get("COUPONSITE_PROVE"))
UNITS = (Decimal(1), Decimal("0.01"), Decimal("0.001"))
TREE = {"p1": ("food", "ice"), "p2": ("food", "bread"), "p3": ("tools",), "p4": ()}
BRANDS = ("", "polar", "mill")


def examples(few: int, many: int) -> settings:
    """The same examples in each run; many of them under ``make prove``."""
    return settings(max_examples=many if PROVE else few, derandomize=True, deadline=None, database=None)


def some_of(values: tuple[str, ...]) -> st.SearchStrategy[frozenset[str]]:
    return st.frozensets(st.sampled_from(values), max_size=2)


def amounts(most: int, *, places: int = 3) -> st.SearchStrategy[Decimal]:
    return st.integers(0, most * 10**places).map(lambda number: Decimal(number).scaleb(-places))


@st.composite
def lines(draw: st.DrawFn, line_id: str, unit: Decimal, most: int) -> BasketLine:
    product_id = draw(st.sampled_from(sorted(TREE)))
    quantity = draw(st.one_of(st.integers(0, 4).map(Decimal), amounts(4)))
    in_units = st.integers(0, most).map(lambda number: number * unit)
    return BasketLine(
        line_id=line_id,
        product_id=product_id,
        category_ids=frozenset(TREE[product_id]),
        brand=draw(st.sampled_from(BRANDS)),
        quantity=quantity,
        unit_price=draw(in_units if most < 100 else st.one_of(in_units, amounts(9))),
    )


@st.composite
def baskets(draw: st.DrawFn, *, most_lines: int = 5, most: int = 1200) -> Basket:
    unit = draw(st.sampled_from(UNITS))
    count = draw(st.integers(0, most_lines))
    return Basket(
        lines=tuple(draw(lines(f"l{number}", unit, most)) for number in range(count)),
        shipping=draw(st.integers(0, most).map(lambda number: number * unit)),
        unit=unit,
    )


@st.composite
def offers(draw: st.DrawFn, coupon_id: str, unit: Decimal, most: int) -> Offer:
    discount_type = draw(st.sampled_from(sorted(DiscountType)))
    money = st.integers(0, most).map(lambda number: number * unit)
    percents = st.one_of(st.sampled_from([Decimal(10), Decimal(50), Decimal(100)]), amounts(100))
    value = {
        DiscountType.AMOUNT: money.map(lambda amount: amount or unit),
        DiscountType.PERCENT: percents.map(lambda percent: percent or Decimal(1)),
        DiscountType.BUY_X_GET_Y: st.none() | percents.map(lambda percent: percent or Decimal(1)),
        DiscountType.FREE_SHIPPING: st.none(),
    }[discount_type]
    quantities = st.integers(1, 3) if discount_type is DiscountType.BUY_X_GET_Y else st.none()
    campaign_id = draw(st.sampled_from(["", "spring", "autumn"]))
    return Offer(
        coupon_id=coupon_id,
        campaign_id=campaign_id,
        discount_type=discount_type,
        discount_value=draw(value),
        buy_quantity=draw(quantities),
        get_quantity=draw(quantities),
        max_discount=draw(st.none() | st.none() | st.none() | money),
        min_spend=draw(st.none() | st.none() | st.none() | money),
        targets=draw(
            st.just(Targets())
            | st.just(Targets())
            | st.builds(Targets, some_of(("p1", "p2", "p3")), some_of(("food", "ice", "tools")), some_of(("polar",)))
        ),
        stackable=draw(st.sampled_from([True, True, True, False])),
        exclusion_group=draw(st.sampled_from(["", "", "", "one"])),
        ends_at=draw(st.none() | st.sampled_from([datetime(2024, 5, day, tzinfo=UTC) for day in (1, 2)])),
        budget_left=draw(st.none() | st.none() | st.none() | money),
        campaign_budget_left={"spring": most * unit, "autumn": None}.get(campaign_id),
        sale_event=draw(st.sampled_from([None, None, None, *events(most * unit)])),
    )


def events(left: Decimal) -> list[SaleEvent]:
    """Two that are on, one with money that goes on coming."""
    start, end = (datetime(2024, 5, day, tzinfo=UTC) for day in (1, 9))
    return [
        SaleEvent("e1", start, end, most_coupons=1, most_others=1, left=left, more_at=end),
        SaleEvent("e2", start, end, most_others=0),
        SaleEvent("e3", start, end, most_coupons=2, left=left / 2),
    ]


@st.composite
def checkouts(
    draw: st.DrawFn, *, most_coupons: int = 4, most_lines: int = 5, most: int = 1200
) -> tuple[Basket, list[Offer]]:
    """A basket and coupons for it, in any order."""
    basket = draw(baskets(most_lines=most_lines, most=most))
    count = draw(st.integers(0, most_coupons) | st.just(most_coupons))
    drawn = [draw(offers(f"c{number}", basket.unit, most)) for number in range(count)]
    return basket, draw(st.permutations(drawn))
