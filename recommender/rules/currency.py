"""The smallest unit of a currency."""

from decimal import Decimal
from functools import cache

from babel.numbers import get_currency_precision, list_currencies

MOST_DECIMALS = 3


@cache
def smallest_unit(currency: str) -> Decimal:
    """The unit in which amounts of a currency are paid, from the Unicode CLDR: 0.01 for EUR, 1 for JPY, 0.001 for KWD.

    No unit is smaller than the tables hold.

    Raises:
        ValueError: there is no such currency.
    """
    if currency not in list_currencies("en"):
        raise ValueError(f"There is no currency {currency!r}. Expected an ISO 4217 code such as EUR.")
    return Decimal(1).scaleb(-min(get_currency_precision(currency), MOST_DECIMALS))
