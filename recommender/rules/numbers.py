"""Amounts that come from outside, checked before anything is computed with them."""

from decimal import Decimal

#: As the tables hold money and quantities: so many digits before the decimal point and after it.
WHOLE_DIGITS, DECIMALS = 11, 3


def check_amount(value: Decimal, *, name: str, decimals: int = DECIMALS) -> None:
    """Pass a finite number from 0 up that the tables can hold.

    Raises:
        ValueError: it is not one; the message begins with ``name``.
    """
    if not isinstance(value, Decimal):
        raise ValueError(f"{name}: expected a Decimal, not {type(value).__name__}.")
    if not value.is_finite():
        raise ValueError(f"{name}: expected a number, not {value}.")
    if value < 0:
        raise ValueError(f"{name}: expected a number from 0 up, not {value}.")
    if value >= 10**WHOLE_DIGITS:
        raise ValueError(f"{name}: expected at most {WHOLE_DIGITS} digits before the decimal point.")
    if value != 0 and int(value.normalize().as_tuple().exponent) < -decimals:
        raise ValueError(f"{name}: expected at most {decimals} digits after the decimal point.")
