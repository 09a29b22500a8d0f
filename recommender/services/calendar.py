"""Which campaigns run when, and which of them meet: in time, in shoppers, in coupons."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import combinations
from zoneinfo import ZoneInfo

from django.db.models import Count, Exists, OuterRef
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recommender.models import Campaign, CampaignCoupon, CampaignShopper

MOST_CAMPAIGNS = 60


@dataclass(frozen=True)
class Meeting:
    """Another campaign at the same time, on how many days, and what the two have in common."""

    campaign: Campaign
    days: int
    in_common: list[str]


@dataclass(frozen=True)
class CalendarRow:
    """A campaign in a span of days: how many pass before it, how many it takes, and how many are left."""

    campaign: Campaign
    before: int
    days: int
    after: int
    meetings: list[Meeting] = field(default_factory=list)


def list_calendar(*, first: date, until: date, zone: ZoneInfo) -> list[CalendarRow]:
    """Campaigns that run on any day from ``first`` to the day before ``until``, the earliest first.

    At most ``MOST_CAMPAIGNS``. Whether audiences meet is told by what the campaigns are for, not by counting shoppers.
    """
    campaigns = _find_campaigns(first, until, zone)
    rows = {campaign.pk: _place(campaign, first, until, zone) for campaign in campaigns}
    coupons = _shared_coupons(list(rows))
    for one, other in combinations(campaigns, 2):
        if one.starts_at < other.ends_at and other.starts_at < one.ends_at:
            days = _common_days(rows[one.pk], rows[other.pk])
            in_common = _compare(one, other, coupons.get(frozenset((one.pk, other.pk)), 0))
            rows[one.pk].meetings.append(Meeting(other, days, in_common))
            rows[other.pk].meetings.append(Meeting(one, days, in_common))
    return list(rows.values())


def _find_campaigns(first: date, until: date, zone: ZoneInfo) -> list[Campaign]:
    listed = CampaignShopper.objects.listed_to_be_sent().filter(campaign=OuterRef("pk"))
    return list(
        Campaign.objects.filter(
            starts_at__lt=datetime.combine(until, time.min, tzinfo=zone),
            ends_at__gt=datetime.combine(first, time.min, tzinfo=zone),
        )
        .annotate(is_listed=Exists(listed))
        .prefetch_related("campaign_segments__segment")
        .order_by("starts_at", "pk")[:MOST_CAMPAIGNS]
    )


def _place(campaign: Campaign, first: date, until: date, zone: ZoneInfo) -> CalendarRow:
    begins = max(campaign.starts_at.astimezone(zone).date(), first)
    last = (campaign.ends_at - timedelta(microseconds=1)).astimezone(zone).date()
    ends = min(last + timedelta(days=1), until)
    return CalendarRow(campaign, (begins - first).days, (ends - begins).days, (until - ends).days)


def _common_days(one: CalendarRow, other: CalendarRow) -> int:
    return min(one.before + one.days, other.before + other.days) - max(one.before, other.before)


def _shared_coupons(campaigns: list[int]) -> Mapping[frozenset[int], int]:
    """How many coupons two campaigns share, for those that share any."""
    of_campaigns = CampaignCoupon.objects.filter(campaign__in=campaigns)
    shared = of_campaigns.order_by().values("coupon").annotate(times=Count("pk")).filter(times__gt=1)
    holders: dict[int, list[int]] = defaultdict(list)
    for coupon, campaign in of_campaigns.filter(coupon__in=shared.values("coupon")).values_list(
        "coupon_id", "campaign_id"
    ):
        holders[coupon].append(campaign)
    counts: dict[frozenset[int], int] = defaultdict(int)
    for together in holders.values():
        for pair in combinations(together, 2):
            counts[frozenset(pair)] += 1
    return counts


def _compare(one: Campaign, other: Campaign, coupons: int) -> list[str]:
    in_common = [_compare_audiences(one, other)]
    if coupons:
        in_common.append(
            ngettext("%(count)s coupon is in both", "%(count)s coupons are in both", coupons)
            % {"count": number_format(coupons, force_grouping=True)}
        )
    return in_common


def _compare_audiences(one: Campaign, other: Campaign) -> str:
    if _is_for_everyone(one) or _is_for_everyone(other):
        return _("one of them is for everyone")
    if one.is_listed or other.is_listed:  # type: ignore[attr-defined]
        return _("listed shoppers may get both")
    shared = sorted(_segments(one) & _segments(other))
    if shared:
        return _("both are for “%(segments)s”") % {"segments": "”, “".join(shared)}
    return _("different segments, which may share shoppers")


def _is_for_everyone(campaign: Campaign) -> bool:
    return not campaign.is_listed and not _segments(campaign)  # type: ignore[attr-defined]


def _segments(campaign: Campaign) -> set[str]:
    return {chosen.segment.name for chosen in campaign.campaign_segments.all() if not chosen.excluded}
