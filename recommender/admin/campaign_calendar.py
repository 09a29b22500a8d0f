"""The page that shows which campaigns run when."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from recommender.admin.base import link_to
from recommender.models import Campaign, Shop

SPANS = {"month": 1, "quarter": 3}
FIRST_YEAR, LAST_YEAR = 1990, 2200


def describe_calendar(request: HttpRequest) -> dict[str, Any]:
    """What the page shows of the month or quarter that the address asks for; of this one if it asks for none."""
    from recommender.services.calendar import MOST_CAMPAIGNS, list_calendar

    zone = Shop.current().zone
    span = request.GET.get("span", "month")
    months = SPANS.get(span, 1)
    first = _read_first(request.GET.get("first", ""), zone)
    until = _add_months(first, months)
    rows = list_calendar(first=first, until=until, zone=zone)
    return {
        "title": _("Calendar"),
        "heading": _heading(first, until),
        "days": (until - first).days,
        "months": _months(first, until),
        "weeks": _weeks(first, until),
        "rows": [
            {
                "row": row,
                "link": link_to(row.campaign),
                "window": _window(row.campaign, zone),
                "meetings": [
                    {
                        "link": link_to(meeting.campaign),
                        "days": meeting.days,
                        "in_common": meeting.in_common,
                    }
                    for meeting in row.meetings
                ],
            }
            for row in rows
        ],
        "is_cut": len(rows) == MOST_CAMPAIGNS,
        "most": MOST_CAMPAIGNS,
        "before_url": _address(_add_months(first, -months), span),
        "after_url": _address(until, span),
        "spans": [
            {"name": name, "url": _address(first, key), "chosen": SPANS[key] == months}
            for key, name in (("month", _("Month")), ("quarter", _("Quarter")))
        ],
        "latest_url": _latest(span, zone),
    }


def _read_first(text: str, zone: ZoneInfo) -> date:
    try:
        asked = date.fromisoformat(text)
    except ValueError:
        asked = timezone.now().astimezone(zone).date()
    return asked.replace(year=min(max(asked.year, FIRST_YEAR), LAST_YEAR), day=1)


def _add_months(first: date, months: int) -> date:
    years, month = divmod(first.year * 12 + first.month - 1 + months, 12)
    return date(years, month + 1, 1)


def _heading(first: date, until: date) -> str:
    last = until - timedelta(days=1)
    begins = date_format(first, "YEAR_MONTH_FORMAT")
    return begins if first.month == last.month else f"{begins} – {date_format(last, 'YEAR_MONTH_FORMAT')}"


def _months(first: date, until: date) -> Sequence[tuple[str, int]]:
    """The months of the span, and how many days they have."""
    months = []
    begins = first
    while begins < until:
        ends = _add_months(begins, 1)
        months.append((date_format(begins, "YEAR_MONTH_FORMAT"), (ends - begins).days))
        begins = ends
    return months


def _weeks(first: date, until: date) -> Sequence[tuple[int, int]]:
    """For each week the day of the month that it begins with in the span, and how many of its days fall into it."""
    weeks = []
    begins = first
    while begins < until:
        ends = min(begins + timedelta(days=7 - begins.weekday()), until)
        weeks.append((begins.day, (ends - begins).days))
        begins = ends
    return weeks


def _window(campaign: Campaign, zone: ZoneInfo) -> str:
    last = (campaign.ends_at - timedelta(microseconds=1)).astimezone(zone)
    begins = campaign.starts_at.astimezone(zone)
    return f"{date_format(begins, 'SHORT_DATE_FORMAT')} – {date_format(last, 'SHORT_DATE_FORMAT')}"


def _latest(span: str, zone: ZoneInfo) -> str | None:
    latest = Campaign.objects.order_by("-starts_at").values_list("starts_at", flat=True).first()
    return _address(latest.astimezone(zone).date().replace(day=1), span) if latest else None


def _address(first: date, span: str) -> str:
    return reverse("admin:recommender_campaign_calendar", query={"first": first.isoformat(), "span": span})
