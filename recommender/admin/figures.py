"""Numbers, money and days as pages show them, by the reader's locale."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import floor, log10

from django.utils.formats import get_format, number_format

from recommender.models import Shop


def count_of(number: int) -> str:
    return number_format(number, 0, force_grouping=True)


def decimal_of(number: float, decimals: int = 1) -> str:
    return number_format(round(number, decimals), decimals, force_grouping=True)


def significant_of(number: float, digits: int = 3) -> str:
    """To so many significant digits, however large or small; what is as good as 0 is 0."""
    if abs(number) < 1e-9:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(number))))
    shown = number_format(round(number, decimals), decimals, force_grouping=True)
    separator = get_format("DECIMAL_SEPARATOR")
    return shown.rstrip("0").rstrip(separator) if separator in shown else shown


def uses_of(uses: float) -> str:
    """Expected uses: to one decimal where there are few."""
    return decimal_of(uses, 0 if uses >= 10 else 1)


def money_of(amount: float, currency: str) -> str:
    """An expected amount: whole where the cents say nothing any more."""
    decimals = 0 if abs(amount) >= 1000 else 2
    return f"{decimal_of(amount, decimals)} {currency}"


def amount_of(amount: Decimal) -> str:
    """An amount as it was entered: without the zeros that the database keeps, to the cent where there are cents."""
    decimals = -int(amount.normalize().as_tuple().exponent)
    return number_format(amount, max(2, decimals) if decimals > 0 else 0, force_grouping=True)


def exact_of(number: Decimal) -> str:
    """A number as it was given: without the zeros that the database keeps."""
    return number_format(number, max(0, -int(number.normalize().as_tuple().exponent)), force_grouping=True)


def in_currency(amount: Decimal, shop: Shop) -> str:
    """An amount that was paid, to the cent."""
    return f"{number_format(amount, 2, force_grouping=True)} {shop.currency}"


def percent_of(share: float, decimals: int = 2) -> str:
    return f"{number_format(round(100 * share, decimals), decimals)} %"


def share(part: float, whole: float) -> str:
    """Of a hundred, with more decimals where it is small; empty without a whole."""
    if not whole:
        return ""
    return percent_of(part / whole, 1 if part >= 0.1 * whole or part == 0 else 2)


def within_day(field: str, day: date, shop: Shop) -> dict[str, str]:
    """What filters a list by a day of the shop's clock."""
    begin, end = (datetime.combine(each, time.min, shop.zone) for each in (day, day + timedelta(days=1)))
    return {f"{field}__gte": begin.isoformat(), f"{field}__lt": end.isoformat()}
