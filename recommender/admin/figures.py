"""Numbers, amounts and days as pages show them."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal

from recommender.models import Shop


def share(part: float, whole: float) -> str:
    """Of a hundred, with more decimals where it is small; empty without a whole."""
    if not whole:
        return ""
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 10 or percent == 0 else f"{percent:.2f} %"


def in_currency(amount: Decimal, shop: Shop) -> str:
    return f"{amount:,.2f} {shop.currency}"


def within_day(field: str, day: date, shop: Shop) -> dict[str, str]:
    """What filters a list by a day of the shop's clock."""
    begin, end = (datetime.combine(each, time.min, shop.zone) for each in (day, day + timedelta(days=1)))
    return {f"{field}__gte": begin.isoformat(), f"{field}__lt": end.isoformat()}
