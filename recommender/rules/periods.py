"""Days, weeks and months of the calendar, by the shop's clock."""

from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Period(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def first_day(period: Period, moment: datetime, zone: ZoneInfo) -> date:
    """The day on which the period that holds a moment began. Weeks begin on Monday. It names the period."""
    today = moment.astimezone(zone).date()
    if period is Period.WEEK:
        return today - timedelta(days=today.weekday())
    return today.replace(day=1) if period is Period.MONTH else today


def next_start(period: Period, moment: datetime, zone: ZoneInfo) -> datetime:
    """The first moment of the period after the one that holds a moment."""
    first = first_day(period, moment, zone)
    if period is Period.MONTH:
        following = (first + timedelta(days=31)).replace(day=1)
    else:
        following = first + timedelta(days=7 if period is Period.WEEK else 1)
    return datetime.combine(following, time.min, tzinfo=zone)
