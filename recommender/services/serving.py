"""What a shopper is offered at this moment."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from recommender.models import Campaign, Coupon, Recommendation, Redemption, Shopper
from recommender.services.access import ShopperUnknown


class CampaignUnknown(LookupError):
    """No campaign has this identifier."""


@dataclass(frozen=True, slots=True)
class ServedCoupon:
    """A coupon on a shopper's list. ``reasons`` are kinds and facts, for :mod:`recommender.reasons` to word."""

    rank: int
    score: float
    campaign_id: str
    campaign_name: str
    campaign_ends_at: datetime
    coupon_id: str
    offer_id: str
    title: str
    code: str
    discount_type: str
    discount_value: Decimal | None
    min_spend: Decimal | None
    max_discount: Decimal | None
    starts_at: datetime | None
    ends_at: datetime | None
    reasons: list[dict[str, Any]]


def coupons_of(*, shopper_id: str, campaign_id: str | None = None, at: datetime, limit: int = 10) -> list[ServedCoupon]:
    """The published coupons that hold for a shopper at a moment, ranked from 1.

    All live campaigns are merged, what staff put first before the rest, and then the best score first. With
    ``campaign_id`` only that one counts, in its published order, and it is empty while the campaign does not run. An
    offer is on the list once. Left out is what staff took out, what is not open, and what is used up by this shopper or
    by all. Whoever opted out is offered nothing.

    Raises:
        ShopperUnknown: nobody has this identifier.
        CampaignUnknown: no campaign has this identifier.
    """
    shopper = Shopper.objects.filter(shopper_id=shopper_id).only("pk", "opted_out").first()
    if shopper is None:
        raise ShopperUnknown(shopper_id)
    campaigns = Campaign.objects.live_at(at)
    if campaign_id is not None:
        if not Campaign.objects.filter(campaign_id=campaign_id).exists():
            raise CampaignUnknown(campaign_id)
        campaigns = campaigns.filter(campaign_id=campaign_id)
    if shopper.opted_out:
        return []
    offered = (
        Recommendation.objects.live()
        .filter(
            # EXISTS looks at the coupons of this list; IN would first gather every usable coupon of the shop.
            Exists(_usable_coupons(shopper, at).filter(pk=OuterRef("coupon"))),
            shopper=shopper,
            run__campaign__in=campaigns,
        )
        .order_by(*(["rank"] if campaign_id is not None else _MERGED))
        .values(
            "score",
            "reasons",
            "run__campaign__campaign_id",
            "run__campaign__name",
            "run__campaign__ends_at",
            *(f"coupon__{column}" for column in _COUPON_COLUMNS),
        )
    )
    return _ranked(offered, limit)


#: Of all campaigns: the coupons that staff put first lead, whatever campaign they did it in.
_MERGED = (F("pin").desc(nulls_last=True), "-score", "rank", "coupon__coupon_id")

_COUPON_COLUMNS = (
    "coupon_id",
    "offer_id",
    "title",
    "code",
    "discount_type",
    "discount_value",
    "min_spend",
    "max_discount",
    "starts_at",
    "ends_at",
)


def _usable_coupons(shopper: Shopper, at: datetime) -> QuerySet[Coupon]:
    uses = Redemption.objects.filter(coupon=OuterRef("pk")).order_by()
    return Coupon.objects.open_at(at).filter(
        Q(total_limit__isnull=True) | Q(total_limit__gt=_count(uses)),
        Q(per_shopper_limit__isnull=True) | Q(per_shopper_limit__gt=_count(uses.filter(shopper=shopper))),
    )


def _count(uses: QuerySet[Redemption]) -> Coalesce:
    counted = uses.values("coupon").annotate(uses=Count("pk")).values("uses")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def _ranked(offered: Iterable[dict[str, Any]], limit: int) -> list[ServedCoupon]:
    seen: set[tuple[str, str]] = set()
    served: list[ServedCoupon] = []
    for row in offered:
        offer = ("offer", row["coupon__offer_id"]) if row["coupon__offer_id"] else ("coupon", row["coupon__coupon_id"])
        if offer in seen:
            continue
        if len(served) == limit:
            break
        seen.add(offer)
        served.append(
            ServedCoupon(
                rank=len(served) + 1,
                score=row["score"],
                campaign_id=row["run__campaign__campaign_id"],
                campaign_name=row["run__campaign__name"],
                campaign_ends_at=row["run__campaign__ends_at"],
                reasons=row["reasons"],
                **{column: row[f"coupon__{column}"] for column in _COUPON_COLUMNS},
            )
        )
    return served
