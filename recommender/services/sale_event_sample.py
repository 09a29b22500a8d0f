"""The sale event that a sample shop is shown with: tiers of shoppers, an offer for each, and money by the hour."""

from contextlib import suppress
from decimal import Decimal

from django.db import transaction

from recommender.models import Campaign, CampaignCoupon, CampaignSegment, Coupon, SaleEvent, Segment, Shopper
from recommender.presets import SampleSaleEvent
from recommender.services.sale_events import plan_hours
from recommender.services.tiers import NoHistory, reckon_tiers

Tier = Segment.Tier
#: What each tier is offered in the whole shop, in percent: who may be lost the most.
OFFERS = {Tier.FREQUENT: 5, Tier.LOYAL: 8, Tier.LAPSING: 15, Tier.NEW: 12}
MOST_OFF = Decimal(20)


def set_up_sample(sample: SampleSaleEvent) -> SaleEvent:
    """Put the sample's campaign into an event, with a campaign beside it for each tier."""
    with transaction.atomic():
        campaign = Campaign.objects.get(campaign_id=sample.campaign_id)
        event = SaleEvent.objects.create(
            name=sample.name,
            warm_up_at=campaign.starts_at,
            starts_at=campaign.starts_at + sample.warm_up,
            ends_at=campaign.ends_at,
            budget=sample.budget_a_shopper * Shopper.objects.count(),
            pacing=SaleEvent.Pacing.PAST_ORDERS,
            most_coupons=2,
            most_others=1,
        )
        campaign.sale_event = event
        campaign.save(update_fields=["sale_event"])
        plan_hours(event=event, at=campaign.starts_at)
        with suppress(NoHistory):  # of very few shoppers
            reckon_tiers(at=campaign.starts_at)
        for segment in Segment.objects.exclude(tier=""):
            _offer(segment, campaign)
    return event


def _offer(segment: Segment, campaign: Campaign) -> None:
    percent = OFFERS[Tier(segment.tier)]
    of_tier = Campaign.objects.create(
        campaign_id=f"{campaign.campaign_id}-{segment.tier}",
        name=segment.name,
        kind=campaign.kind,
        starts_at=campaign.starts_at,
        ends_at=campaign.ends_at,
        sale_event=campaign.sale_event,
    )
    coupon = Coupon.objects.create(
        coupon_id=f"tier-{segment.tier}",
        title=f"{percent} % · {segment.name}",
        discount_type=Coupon.DiscountType.PERCENT,
        discount_value=percent,
        max_discount=MOST_OFF,
        per_shopper_limit=1,
        segment=segment,
        stackable=True,
    )
    CampaignCoupon.objects.create(campaign=of_tier, coupon=coupon)
    CampaignSegment.objects.create(campaign=of_tier, segment=segment)
