"""What a shopper is offered at this moment.

Lists were computed before they were published, so whatever may have changed since is looked at again whenever they are
served: what is no longer to be had is left out, and the next ranks fill the places.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, DecimalField, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from recommender.models import (
    Campaign,
    CampaignShopper,
    Coupon,
    Event,
    Recommendation,
    Redemption,
    RunCorrection,
    RunCoupon,
    Shopper,
)
from recommender.services.holdout import is_held_out

#: For so long an offer that a shopper dismissed is not offered to them, in whatever guise.
DISMISSED_FOR = timedelta(days=90)


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


@dataclass(frozen=True, slots=True)
class Offers:
    """A shopper's list. It is not ``personal`` if nothing on show was computed for this shopper: then it is what is
    best for the shoppers of the live campaigns, and has no reasons."""

    shopper_id: str
    personal: bool
    coupons: list[ServedCoupon] = field(default_factory=list)


def offers_of(*, shopper_id: str, campaign_id: str | None = None, at: datetime, limit: int = 10) -> Offers:
    """What one shopper is offered; see :func:`offers_of_many`."""
    return offers_of_many(shopper_ids=[shopper_id], campaign_id=campaign_id, at=at, limit=limit)[0]


def offers_of_many(
    *, shopper_ids: Sequence[str], campaign_id: str | None = None, at: datetime, limit: int = 10
) -> list[Offers]:
    """The published coupons that hold for each shopper at a moment, ranked from 1, in the order of ``shopper_ids``.

    All live campaigns are merged, what staff put first before the rest, and then the best score first. With
    ``campaign_id`` only that one counts, in its published order, and it is empty while the campaign does not run. An
    offer is on the list once.

    Left out is what staff took out, what is not open, what is used up by this shopper or by all, what its own or its
    campaign's budget no longer pays for, what the shopper dismissed, and campaigns that they are held out of. Whoever
    opted out is offered nothing.

    A shopper for whom nothing on show was computed, known to the shop or not, gets the live campaigns that are for
    everyone, their coupons by the mean score over all shoppers. The digest that holds out says also of them who gets
    nothing.

    Raises:
        CampaignUnknown: no campaign has this identifier.
    """
    shoppers = {
        shopper.shopper_id: shopper
        for shopper in Shopper.objects.filter(shopper_id__in=shopper_ids).only("pk", "shopper_id", "opted_out")
    }
    campaigns = Campaign.objects.live_at(at)
    if campaign_id is not None:
        if not Campaign.objects.filter(campaign_id=campaign_id).exists():
            raise CampaignUnknown(campaign_id)
        campaigns = campaigns.filter(campaign_id=campaign_id)
    addressable = {shopper.pk for shopper in shoppers.values() if not shopper.opted_out}
    lists = _personal_lists(addressable, campaigns, campaign_id is not None, at)
    without = addressable - lists.keys()
    had_a_list = _had_a_list(without, campaigns)
    for_everyone = _ForEveryone(campaigns, at, without - had_a_list)
    offers = []
    for shopper_id in shopper_ids:
        shopper = shoppers.get(shopper_id)
        if shopper is not None and (shopper.opted_out or shopper.pk in lists or shopper.pk in had_a_list):
            offers.append(Offers(shopper_id, True, _ranked(lists.get(shopper.pk, ()), limit)))
        else:
            rows = for_everyone.rows_for(shopper_id, None if shopper is None else shopper.pk)
            offers.append(Offers(shopper_id, False, _ranked(rows, limit)))
    return offers


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
_SERVED_COLUMNS = (
    "run__campaign__campaign_id",
    "run__campaign__name",
    "run__campaign__ends_at",
    *(f"coupon__{column}" for column in _COUPON_COLUMNS),
)


# Lists that were computed for the shopper


def _personal_lists(
    shopper_keys: set[int], campaigns: QuerySet[Campaign], in_published_order: bool, at: datetime
) -> Mapping[int, list[dict[str, Any]]]:
    """What is left of the lists, by the shopper's key. Whoever has nothing left has no entry."""
    lists: dict[int, list[dict[str, Any]]] = defaultdict(list)
    if not shopper_keys:
        return lists
    held_out = CampaignShopper.objects.filter(
        campaign=OuterRef("run__campaign"), shopper=OuterRef("shopper"), group=CampaignShopper.Group.CONTROL
    )
    dismissed = _dismissals(at).filter(
        Q(coupon=OuterRef("coupon")) | (~Q(coupon__offer_id="") & Q(coupon__offer_id=OuterRef("coupon__offer_id"))),
        shopper=OuterRef("shopper"),
    )
    offered = (
        Recommendation.objects.live()
        .filter(
            # EXISTS looks at the coupons of this list; IN would first gather every usable coupon of the shop.
            Exists(_usable_coupons(at).filter(_left_for(OuterRef("shopper")), pk=OuterRef("coupon"))),
            _campaign_pays(),
            ~Exists(held_out),
            ~Exists(dismissed),
            shopper__in=shopper_keys,
            run__campaign__in=campaigns,
        )
        .order_by(*(["rank"] if in_published_order else _MERGED))
        .values("shopper", "score", "reasons", *_SERVED_COLUMNS)
    )
    for row in offered:
        lists[row["shopper"]].append(row)
    return lists


def _had_a_list(shopper_keys: set[int], campaigns: QuerySet[Campaign]) -> set[int]:
    """Those for whom something on show was computed, be it that nothing of it is left or that staff took it out."""
    if not shopper_keys:
        return set()
    computed = Recommendation.objects.filter(
        run__publications__ended_at__isnull=True,
        run__publications__isnull=False,
        run__campaign__in=campaigns,
        shopper__in=shopper_keys,
    )
    return set(computed.values_list("shopper_id", flat=True))


# Lists for those for whom none was computed


class _ForEveryone:
    """The best coupons of campaigns for everyone, for shoppers of whom no list is on show."""

    def __init__(self, campaigns: QuerySet[Campaign], at: datetime, shopper_keys: set[int]) -> None:
        self._campaigns = campaigns
        self._at = at
        self._shopper_keys = shopper_keys
        self._read: list[dict[str, Any]] | None = None

    def rows_for(self, shopper_id: str, shopper_key: int | None) -> Iterable[dict[str, Any]]:
        if self._read is None:  # for the first who needs it
            self._read = self._read_rows()
            self._read_shoppers()
        for row in self._read:
            offer = row["coupon__offer_id"]
            held_out = is_held_out(
                campaign_id=row["run__campaign__campaign_id"],
                shopper_id=shopper_id,
                percent=row["run__campaign__holdout_percent"],
            )
            if held_out or (shopper_key, row["run__campaign"]) in self._held_out:
                continue
            if (shopper_key, row["coupon"], "") in self._dismissed:
                continue
            if offer and (shopper_key, None, offer) in self._dismissed:
                continue
            limit = row["coupon__per_shopper_limit"]
            if limit is not None and self._uses[shopper_key, row["coupon"]] >= limit:
                continue
            yield row

    def _read_rows(self) -> list[dict[str, Any]]:
        # As for runs: who is listed, or belongs to a segment, is whom the campaign is for, and nobody else.
        listed = CampaignShopper.objects.listed_to_be_sent().filter(campaign=OuterRef("pk"))
        for_everyone = self._campaigns.filter(~Exists(listed), campaign_segments__isnull=True)
        # What staff took off every list is not for everyone either; of several corrections the latest decides.
        latest = (
            RunCorrection.objects.standing()
            .filter(run=OuterRef("run"), coupon=OuterRef("coupon"), shopper__isnull=True)
            .exclude(kind=RunCorrection.Kind.PIN)
            .order_by("-pk")
            .values("kind")[:1]
        )
        return list(
            RunCoupon.objects.filter(
                Exists(_usable_coupons(self._at).filter(pk=OuterRef("coupon"))),
                _campaign_pays(),
                mean_score__isnull=False,
                run__publications__ended_at__isnull=True,
                run__publications__isnull=False,
                run__campaign__in=for_everyone,
            )
            .annotate(
                score=F("mean_score"), correction=Coalesce(Subquery(latest), Value(str(RunCorrection.Kind.INCLUDE)))
            )
            .exclude(correction=RunCorrection.Kind.EXCLUDE)
            .order_by("-mean_score", "coupon__coupon_id")
            .values(
                "score",
                "coupon",
                "run__campaign",
                "run__campaign__holdout_percent",
                "coupon__per_shopper_limit",
                *_SERVED_COLUMNS,
            )
        )

    def _read_shoppers(self) -> None:
        """What these shoppers did and may not get; of those whom the shop does not know there is nothing to read."""
        keys = self._shopper_keys
        self._held_out: set[tuple[int | None, int]] = set()
        self._dismissed: set[tuple[int | None, int | None, str]] = set()
        self._uses: Counter[tuple[int | None, int]] = Counter()
        if not keys or not self._read:
            return
        coupons = {row["coupon"] for row in self._read}
        held_out = CampaignShopper.objects.filter(
            shopper__in=keys,
            campaign__in={row["run__campaign"] for row in self._read},
            group=CampaignShopper.Group.CONTROL,
        )
        self._held_out.update(held_out.values_list("shopper_id", "campaign_id"))
        dismissals = _dismissals(self._at).filter(shopper__in=keys)
        for shopper, coupon, offer in dismissals.values_list("shopper_id", "coupon_id", "coupon__offer_id"):
            self._dismissed.add((shopper, coupon, ""))
            if offer:
                self._dismissed.add((shopper, None, offer))
        uses = Redemption.objects.filter(shopper__in=keys, coupon__in=coupons)
        self._uses.update(uses.values_list("shopper_id", "coupon_id"))


# What holds


def _usable_coupons(at: datetime) -> QuerySet[Coupon]:
    """Coupons that are open, and of which uses and budget are left."""
    uses = Redemption.objects.filter(coupon=OuterRef("pk"))
    return Coupon.objects.open_at(at).filter(
        Q(total_limit__isnull=True) | Q(total_limit__gt=_count(uses)),
        Q(budget__isnull=True) | Q(budget__gt=_spent(uses, "coupon")),
    )


def _left_for(shopper: OuterRef) -> Q:
    """Coupons that the shopper of the outer query did not use as often as one shopper may."""
    uses = Redemption.objects.filter(coupon=OuterRef("pk"), shopper=OuterRef(shopper))
    return Q(per_shopper_limit__isnull=True) | Q(per_shopper_limit__gt=_count(uses))


def _campaign_pays() -> Q:
    uses = Redemption.objects.filter(campaign=OuterRef("run__campaign"))
    return Q(run__campaign__budget__isnull=True) | Q(run__campaign__budget__gt=_spent(uses, "campaign"))


def _count(uses: QuerySet[Redemption]) -> Combinable:
    counted = uses.order_by().values("coupon").annotate(uses=Count("pk")).values("uses")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def _spent(uses: QuerySet[Redemption], by: str) -> Combinable:
    money = DecimalField(max_digits=14, decimal_places=3)
    summed = uses.order_by().values(by).annotate(spent=Sum("discount_amount")).values("spent")
    return Coalesce(Subquery(summed, output_field=money), Value(Decimal(0), output_field=money))


def _dismissals(at: datetime) -> QuerySet[Event]:
    return Event.objects.filter(kind=Event.Kind.DISMISS, coupon__isnull=False, occurred_at__gt=at - DISMISSED_FOR)


def _ranked(offered: Iterable[Mapping[str, Any]], limit: int) -> list[ServedCoupon]:
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
                reasons=row.get("reasons", []),
                **{column: row[f"coupon__{column}"] for column in _COUPON_COLUMNS},
            )
        )
    return served
