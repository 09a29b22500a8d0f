"""How a campaign begins: what is proposed for a new one, and a copy of one that was."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db import models, transaction
from django.utils import formats, timezone
from django.utils.translation import gettext as _

from recommender.models import Campaign, CampaignCoupon, CampaignSegment, Coupon, Shop

PROPOSED_DAYS = 14


class IdentifierTaken(ValueError):
    """Something else has this identifier."""


def propose_campaign(*, now: datetime) -> dict[str, object]:
    """What a new campaign begins with: two weeks from the next full day of the shop's clock, an identifier, a name."""
    zone = Shop.current().zone
    starts_at = next_full_day(now=now, zone=zone)
    return {
        "campaign_id": propose_identifier(model=Campaign, field="campaign_id", stem=f"campaign-{starts_at:%Y-%m-%d}"),
        "name": _("Campaign of %(day)s") % {"day": formats.date_format(starts_at, "DATE_FORMAT")},
        "starts_at": starts_at,
        "ends_at": _later(starts_at, timedelta(days=PROPOSED_DAYS), zone),
    }


def propose_coupon(*, now: datetime) -> dict[str, object]:
    """What a new coupon begins with: an identifier, and one use for each shopper."""
    today = timezone.localtime(now, Shop.current().zone)
    stem = f"coupon-{today:%Y-%m-%d}"
    return {
        "coupon_id": propose_identifier(model=Coupon, field="coupon_id", stem=stem),
        "per_shopper_limit": 1,
    }


def propose_copy(*, campaign: Campaign, now: datetime) -> dict[str, object]:
    """What a copy of a campaign begins with: it starts when the campaign is over, and not before the next full day."""
    starts_at = max(campaign.ends_at, next_full_day(now=now, zone=Shop.current().zone))
    stem = f"{campaign.campaign_id[:50]}-copy"
    return {
        "campaign_id": propose_identifier(model=Campaign, field="campaign_id", stem=stem),
        "name": campaign.name,
        "starts_at": starts_at,
    }


def duplicate_campaign(*, campaign: Campaign, campaign_id: str, name: str, starts_at: datetime) -> Campaign:
    """Make a campaign like another, as long as it by the shop's clock, with its coupons, segments, budget,
    rules and held out share.

    Whom the shop listed for the other is not copied, and neither are its groups: the copy draws its own.

    Raises:
        IdentifierTaken: another campaign has this identifier.
    """
    zone = Shop.current().zone
    length = timezone.make_naive(campaign.ends_at, zone) - timezone.make_naive(campaign.starts_at, zone)
    with transaction.atomic():
        Campaign.objects.select_for_update().get(pk=campaign.pk)  # a second click waits, and finds the first one's copy
        if Campaign.objects.filter(campaign_id=campaign_id).exists():
            raise IdentifierTaken(_("There is a campaign %(campaign)s already.") % {"campaign": campaign_id})
        copy = Campaign.objects.create(
            campaign_id=campaign_id,
            name=name,
            kind=campaign.kind,
            starts_at=starts_at,
            ends_at=_later(starts_at, length, zone),
            budget=campaign.budget,
            holdout_percent=campaign.holdout_percent,
            exploration_percent=campaign.exploration_percent,
            one_per_category=campaign.one_per_category,
            seller_floor_percent=campaign.seller_floor_percent,
        )
        CampaignCoupon.objects.bulk_create(
            CampaignCoupon(campaign=copy, coupon_id=coupon)
            for coupon in campaign.campaign_coupons.order_by("pk").values_list("coupon", flat=True)
        )
        CampaignSegment.objects.bulk_create(
            CampaignSegment(campaign=copy, segment_id=segment, excluded=excluded, at_least_uses=at_least_uses)
            for segment, excluded, at_least_uses in campaign.campaign_segments.order_by("pk").values_list(
                "segment", "excluded", "at_least_uses"
            )
        )
    return copy


def next_full_day(*, now: datetime, zone: ZoneInfo) -> datetime:
    """The beginning of tomorrow by the shop's clock."""
    return datetime.combine(now.astimezone(zone).date() + timedelta(days=1), time.min, tzinfo=zone)


def propose_identifier(*, model: type[models.Model], field: str, stem: str) -> str:
    """``stem``, or where that is taken ``stem-2``, ``stem-3`` and so on."""
    taken = set(model._default_manager.filter(**{f"{field}__startswith": stem}).values_list(field, flat=True))
    number, proposed = 1, stem
    while proposed in taken:
        number += 1
        proposed = f"{stem}-{number}"
    return proposed


def _later(moment: datetime, length: timedelta, zone: ZoneInfo) -> datetime:
    """By the clock on the wall: a day on which the clock is changed is a day like others."""
    return timezone.make_aware(timezone.make_naive(moment, zone) + length, zone)
