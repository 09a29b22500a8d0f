"""Who pays what a coupon takes off."""

from decimal import ROUND_HALF_UP, Decimal

WHOLE = 100


def part_of_seller(*, discount: Decimal, percent: int, unit: Decimal) -> Decimal:
    """What a seller who funds so much of a coupon pays of a discount, rounded to the currency's unit, halves up.

    The shop pays the rest, so that both parts come to the discount exactly. Nobody pays more than the discount, also
    where it is no multiple of the unit.
    """
    part = (discount * percent / WHOLE / unit).to_integral_value(ROUND_HALF_UP) * unit
    return discount if percent == WHOLE else min(part, discount)
