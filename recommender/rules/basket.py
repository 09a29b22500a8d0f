"""What a shopper is about to buy."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal

from recommender.rules.numbers import WHOLE_DIGITS, check_amount

MOST_LINES = 500


@dataclass(frozen=True, slots=True)
class BasketLine:
    """A product in a basket.

    Attributes:
        line_id: the shop's name for the line, once in a basket.
        product_id: the shop's identifier.
        category_ids: the product's category and all above it.
        brand: empty where there is none, and then no coupon for a brand is for it.
        quantity: how many, or how much of what is sold by weight; at most 3 decimals.
        unit_price: of one, before coupons and after the shop's own discounts; at most 3 decimals.
    """

    line_id: str
    product_id: str
    category_ids: frozenset[str]
    brand: str
    quantity: Decimal
    unit_price: Decimal

    def __post_init__(self) -> None:
        for name in ("quantity", "unit_price"):
            check_amount(getattr(self, name), name=f"line {self.line_id}, {name}")


@dataclass(frozen=True, slots=True)
class Basket:
    """Lines, what sending them costs, and the smallest unit of the currency, such as ``Decimal("0.01")``.

    Attributes:
        lines: kept in the order of their ``line_id``, however they come.
        amounts: of each line its quantity × price in whole smallest units, half a unit rounded up.
        shipping_units: likewise of the shipping.

    Raises:
        ValueError: a number is negative, not a number or too long, an identifier comes twice, or there are more than
            ``MOST_LINES`` lines. The message names the line and the field.
    """

    lines: tuple[BasketLine, ...]
    shipping: Decimal
    unit: Decimal
    amounts: tuple[int, ...] = field(init=False, repr=False, compare=False)
    shipping_units: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.unit not in (Decimal(1), Decimal("0.1"), Decimal("0.01"), Decimal("0.001")):
            raise ValueError(f"unit: expected 1, 0.1, 0.01 or 0.001, not {self.unit}.")
        check_amount(self.shipping, name="shipping")
        if len(self.lines) > MOST_LINES:
            raise ValueError(f"lines: expected at most {MOST_LINES}, not {len(self.lines)}.")
        for line_id, count in Counter(line.line_id for line in self.lines).items():
            if count > 1:
                raise ValueError(f"line {line_id}, line_id: expected once in a basket, not {count} times.")
        object.__setattr__(self, "lines", tuple(sorted(self.lines, key=lambda line: line.line_id)))
        amounts = tuple(self.in_units(line.quantity * line.unit_price) for line in self.lines)
        for line, amount in zip(self.lines, amounts, strict=True):
            if amount * self.unit >= 10**WHOLE_DIGITS:
                raise ValueError(
                    f"line {line.line_id}, quantity × unit_price: expected at most {WHOLE_DIGITS} digits before the "
                    "decimal point."
                )
        object.__setattr__(self, "amounts", amounts)
        object.__setattr__(self, "shipping_units", self.in_units(self.shipping))

    def in_units(self, amount: Decimal, rounding: str = ROUND_HALF_UP) -> int:
        """An amount of money in whole smallest units of the currency."""
        return int((amount / self.unit).to_integral_value(rounding))

    def in_money(self, units: int) -> Decimal:
        """The amount of money of so many smallest units, with the currency's decimals."""
        return units * self.unit
