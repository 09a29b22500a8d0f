"""A coupon as the rules see it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from recommender.rules.basket import BasketLine
from recommender.rules.numbers import check_amount


class DiscountType(StrEnum):
    """In the order in which coupons that are used together take off."""

    BUY_X_GET_Y = "buy_x_get_y"
    PERCENT = "percent"
    AMOUNT = "amount"
    FREE_SHIPPING = "free_shipping"


@dataclass(frozen=True, slots=True)
class Targets:
    """What a coupon is for: any of these products, categories and brands. None of all is the whole shop."""

    products: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()

    def hold(self, line: BasketLine) -> bool:
        if not (self.products or self.categories or self.brands):
            return True
        return (
            line.product_id in self.products
            or (line.brand != "" and line.brand in self.brands)
            or not self.categories.isdisjoint(line.category_ids)
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """How often a coupon may be used; None is without a limit. The last four are of one shopper.

    Days, weeks from Monday and months are those of the calendar, by the shop's clock.
    """

    total: int | None = None
    shopper: int | None = None
    day: int | None = None
    week: int | None = None
    month: int | None = None


@dataclass(frozen=True, slots=True)
class SaleEvent:
    """The event that a coupon's campaign belongs to. Offers of one event share its money.

    Attributes:
        starts_at, ends_at: when its coupons hold; ``ends_at`` is the first moment at which they no longer do.
        most_coupons: of its coupons no more are used together; None is without a limit.
        most_others: beside them no more others are; None is without a limit.
        left: what may still be taken off in this hour, held by nobody; None is without a budget.
        more_at: when more of its budget comes; None if all came.
    """

    event_id: str
    starts_at: datetime
    ends_at: datetime
    most_coupons: int | None = None
    most_others: int | None = None
    left: Decimal | None = None
    more_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """All about a coupon that the rules need. Amounts are in the shop's currency; moments have a time zone.

    Attributes:
        campaign_id: the campaign by which it is used; empty without one. Offers of one campaign share its budget.
        discount_type: None where the shop did not tell.
        discount_value: percent for PERCENT and BUY_X_GET_Y (there None is 100), money for AMOUNT.
        buy_quantity, get_quantity: for BUY_X_GET_Y: of so many bought, so many more are discounted.
        max_discount: takes off no more than this, whatever the type.
        min_spend: what the lines that it is for must come to before any coupon.
        stackable: may be used beside other stackable coupons.
        exclusion_group: of the coupons that share this word only one may be used; empty is without a group.
        starts_at, ends_at: its own window; ``ends_at`` is the first moment at which it no longer holds.
        campaign_starts_at, campaign_ends_at: likewise its campaign's.
        first_order_only: for those who never ordered before.
        segment_id: for the shoppers of this segment only.
        group_size: for groups of at least so many shoppers; None is for each alone.
        group_window: how long a group may take to fill.
        sale_event: of its campaign; None without one.
        budget_left, campaign_budget_left: what may still be taken off, held by nobody; None is without a budget.
    """

    coupon_id: str
    campaign_id: str = ""
    discount_type: DiscountType | None = None
    discount_value: Decimal | None = None
    buy_quantity: int | None = None
    get_quantity: int | None = None
    max_discount: Decimal | None = None
    min_spend: Decimal | None = None
    targets: Targets = field(default_factory=Targets)
    stackable: bool = False
    exclusion_group: str = ""
    active: bool = True
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    campaign_starts_at: datetime | None = None
    campaign_ends_at: datetime | None = None
    limits: Limits = field(default_factory=Limits)
    first_order_only: bool = False
    segment_id: str | None = None
    group_size: int | None = None
    group_window: timedelta | None = None
    budget_left: Decimal | None = None
    campaign_budget_left: Decimal | None = None
    sale_event: SaleEvent | None = None

    def __post_init__(self) -> None:
        for name in ("discount_value", "max_discount", "min_spend"):
            value = getattr(self, name)
            if value is not None:
                check_amount(value, name=f"coupon {self.coupon_id}, {name}")
        for name in ("budget_left", "campaign_budget_left"):
            value = getattr(self, name)
            if value is not None and not value.is_finite():
                raise ValueError(f"coupon {self.coupon_id}, {name}: expected a number, not {value}.")
        for name in ("starts_at", "ends_at", "campaign_starts_at", "campaign_ends_at"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"coupon {self.coupon_id}, {name}: expected a moment with a time zone.")

    @property
    def percent(self) -> Decimal | None:
        """Percent of what it is for that it takes off; None for the other types."""
        if self.discount_type is DiscountType.BUY_X_GET_Y and self.discount_value is None:
            return Decimal(100)
        return self.discount_value if self.discount_type in _BY_PERCENT else None

    @property
    def has_terms(self) -> bool:
        """Whether it says what it takes off. History may hold coupons that do not: they are shown, never used."""
        if self.discount_type is None:
            return False
        if self.discount_type is DiscountType.FREE_SHIPPING:
            return True
        if self.discount_type is DiscountType.AMOUNT:
            return self.discount_value is not None and self.discount_value > 0
        is_share = self.percent is not None and 0 < self.percent <= 100
        if self.discount_type is DiscountType.PERCENT:
            return is_share
        return is_share and bool(self.buy_quantity) and bool(self.get_quantity)


_BY_PERCENT = frozenset({DiscountType.PERCENT, DiscountType.BUY_X_GET_Y})
