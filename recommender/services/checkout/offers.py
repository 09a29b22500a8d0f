"""The coupons that are asked for, with all that the rules need of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

from django.db import DEFAULT_DB_ALIAS
from django.db.models import (
    BigIntegerField,
    Case,
    CharField,
    DateTimeField,
    Exists,
    Expression,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)

from recommender.compiled import Compiled
from recommender.models import (
    Campaign,
    CampaignCounter,
    Code,
    CodeBatch,
    Coupon,
    CouponCounter,
    CouponTarget,
    GroupBuy,
    GroupBuyMember,
    Segment,
    Shopper,
)
from recommender.models.code_entry import NormalisedCode, normalise_code
from recommender.rules.basket import Basket
from recommender.rules.eligibility import GroupState, Situation
from recommender.rules.offer import DiscountType, Limits, Offer, SaleEvent, Targets
from recommender.services import counters
from recommender.services.checkout.refusals import RefusedCoupon
from recommender.services.patience import Busy
from recommender.services.redemption import offering_publications
from recommender.services.segments import find_shoppers
from recommender.services.serving import who_ordered

#: Stands for all the things that a coupon is for and the basket has not: no shop calls a product so.
NOT_IN_BASKET = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a shopper asks for: a coupon by its id, or by a code."""

    coupon_id: str = ""
    code: str = ""

    @property
    def name(self) -> str:
        return self.coupon_id or self.code


@dataclass(slots=True)
class Candidate:
    """A coupon that was found, with the code and the campaign by which it would be used.

    Attributes:
        coupon, campaign: as they were before their counters were held; :func:`refresh` reads them again.
        counter, campaign_counter: as they were then too; None if they are not there.
        uses_ever: how often the shopper used the coupon till then; 0 where no limit asks for it.
        is_targeted: whether it is for some things only.
        member: the shopper's place in a group that waits for this coupon or may use it.
    """

    asked: Asked
    coupon: Coupon
    code: Code | None
    campaign: Campaign | None
    counter: CouponCounter | None
    campaign_counter: CampaignCounter | None
    uses_ever: int
    is_targeted: bool
    member: GroupBuyMember | None = None


def find_candidates(
    asked: Sequence[Asked], *, shopper: Shopper, at: datetime
) -> tuple[list[Candidate], list[RefusedCoupon]]:
    """The coupons that are asked for, each once, and those that cannot be found."""
    candidates: list[Candidate] = []
    refused: list[RefusedCoupon] = []
    by_code = {each.code: _find_by_code(each.code, at) for each in asked if not each.coupon_id}
    coupon_ids = {each.coupon_id or by_code[each.code][0] for each in asked} - {""}
    found = _read(coupon_ids, shopper, at)
    for each in dict.fromkeys(asked):
        coupon_id, code = (each.coupon_id, None) if each.coupon_id else by_code[each.code]
        rows = found.get(coupon_id)
        if rows is None:
            refused.append(RefusedCoupon(each.name, "unknown_coupon" if each.coupon_id else "unknown_code"))
        elif rows[0]["has_codes"] and code is None:
            refused.append(RefusedCoupon(each.name, "code_needed"))
        elif any(candidate.coupon.coupon_id == coupon_id for candidate in candidates):
            refused.append(RefusedCoupon(each.name, "asked_for_twice"))
        else:
            candidates.append(_make_candidate(each, code, rows, at))
    return candidates, refused


def find_by_public_code(entered: str) -> list[Coupon]:
    """The coupons of a public code, in the order of their keys, however it was typed."""
    if not (wanted := normalise_code(entered)):
        return []
    # Typed as it stands it is found too, whatever it is made of.
    either = [wanted, NormalisedCode(Value(entered.strip()))]
    return list(Coupon.objects.alias(kept=NormalisedCode("code")).filter(kept__in=either).order_by("pk"))


def _find_by_code(entered: str, at: datetime) -> tuple[str, Code | None]:
    """The identifier of the coupon that a code stands for, empty if it is none, and the code if it is a unique one."""
    code = Code.objects.select_related("batch__coupon").filter(code=normalise_code(entered)).first()
    if code is not None:
        return code.batch.coupon.coupon_id, code
    # The same word may have been the code of an offer in other campaigns before.
    coupons = find_by_public_code(entered)
    live = set(Campaign.objects.live_at(at).filter(coupons__in=coupons).values_list("coupons", flat=True))
    chosen = next((coupon for coupon in coupons if coupon.pk in live), coupons[0] if coupons else None)
    return chosen.coupon_id if chosen is not None else "", None


#: A coupon and one of the campaigns that hold it, with what counts for them, as the query has it.
_Row = Mapping[str, Any]

_CAMPAIGN = "campaign_coupons__campaign__"
_COUPON_COLUMNS = [field.attname for field in Coupon._meta.concrete_fields]
_CAMPAIGN_COLUMNS = [field.attname for field in Campaign._meta.concrete_fields]
_coupon_values = itemgetter(*_COUPON_COLUMNS)
_campaign_values = itemgetter(*(f"{_CAMPAIGN}{column}" for column in _CAMPAIGN_COLUMNS))


def _coupons(coupon_ids: Any, shopper: Expression, at: Expression) -> QuerySet[Coupon, dict[str, Any]]:
    offering = offering_publications(coupon=OuterRef("pk"), shopper=shopper, at=at)
    uses = counters.uses_ever(coupon="pk", shopper=shopper)
    return (
        Coupon.objects.filter(coupon_id__in=coupon_ids)
        .annotate(
            has_codes=Exists(CodeBatch.objects.filter(coupon=OuterRef("pk"))),
            is_targeted=Exists(CouponTarget.objects.filter(coupon=OuterRef("pk"))),
            is_offered=Exists(offering.filter(campaign=OuterRef("campaign_coupons__campaign"))),
            uses_ever=Case(When(per_shopper_limit__isnull=False, then=uses), default=Value(0)),
        )
        .order_by(f"{_CAMPAIGN}ends_at", f"{_CAMPAIGN}campaign_id")
        .values(
            *("has_codes", "is_targeted", "is_offered", "uses_ever", "counter__uses", "counter__spent"),
            f"{_CAMPAIGN}counter__spent",
            *_COUPON_COLUMNS,
            *(f"{_CAMPAIGN}{column}" for column in _CAMPAIGN_COLUMNS),
        )
    )


_read_coupons = Compiled(_coupons, coupon_ids=[CharField()], shopper=BigIntegerField(), at=DateTimeField())


def _read(coupon_ids: Collection[str], shopper: Shopper, at: datetime) -> Mapping[str, list[_Row]]:
    """A row for each coupon and campaign that holds it, or one without a campaign, by the coupon's identifier."""
    found: dict[str, list[_Row]] = {}
    if coupon_ids:
        for row in _read_coupons(coupon_ids=coupon_ids, shopper=shopper.pk, at=at):
            found.setdefault(row["coupon_id"], []).append(row)
    return found


def _make_candidate(asked: Asked, code: Code | None, rows: Sequence[_Row], at: datetime) -> Candidate:
    first = rows[0]
    coupon = Coupon.from_db(DEFAULT_DB_ALIAS, _COUPON_COLUMNS, _coupon_values(first))
    uses, spent = first["counter__uses"], first["counter__spent"]
    of_campaign = _choose_campaign([row for row in rows if row[f"{_CAMPAIGN}id"] is not None], at)
    campaign = campaign_counter = None
    if of_campaign is not None:
        campaign = Campaign.from_db(DEFAULT_DB_ALIAS, _CAMPAIGN_COLUMNS, _campaign_values(of_campaign))
        if (paid := of_campaign[f"{_CAMPAIGN}counter__spent"]) is not None:
            campaign_counter = CampaignCounter(campaign_id=campaign.pk, spent=paid)
    return Candidate(
        asked=asked,
        coupon=coupon,
        code=code,
        campaign=campaign,
        counter=None if uses is None else CouponCounter(coupon_id=coupon.pk, uses=uses, spent=spent),
        campaign_counter=campaign_counter,
        uses_ever=first["uses_ever"],
        is_targeted=first["is_targeted"],
    )


def _choose_campaign(rows: Sequence[_Row], at: datetime) -> _Row | None:
    """Of the campaigns that run with a coupon: the one that offered it to the shopper, else the one that ends first.

    Where none runs it is the one that runs next, or else ran last, so that its window is the reason that is told.
    ``rows`` come in the order of their ends.
    """
    live = [row for row in rows if row[f"{_CAMPAIGN}starts_at"] <= at < row[f"{_CAMPAIGN}ends_at"]]
    offering = [row for row in live if row["is_offered"]]
    later = [row for row in rows if row[f"{_CAMPAIGN}starts_at"] > at]
    later.sort(key=lambda row: row[f"{_CAMPAIGN}starts_at"])
    return next(iter([*offering, *live, *later, *reversed(rows)]), None)


def as_counted(candidates: Iterable[Candidate], *, shopper: Shopper, zone: ZoneInfo, at: datetime) -> counters.Counted:
    """What counts for these coupons, as it was read with them. Nothing is held."""
    candidates = list(candidates)
    counted = counters.as_read(
        zone=zone,
        coupons={candidate.coupon.pk: candidate.counter for candidate in candidates},
        campaigns={
            candidate.campaign.pk: candidate.campaign_counter
            for candidate in candidates
            if candidate.campaign is not None
        },
    )
    counters.read_events(counted, events=events_of(candidates))
    for candidate in candidates:
        counters.note_uses_ever(
            counted, coupon=candidate.coupon, shopper_id=shopper.pk, at=at, uses=candidate.uses_ever
        )
    return counted


def events_of(candidates: Iterable[Candidate]) -> set[int]:
    """The keys of the sale events of coupons that were found."""
    campaigns = [candidate.campaign for candidate in candidates if candidate.campaign is not None]
    return {campaign.sale_event_id for campaign in campaigns if campaign.sale_event_id is not None}


def refresh(candidates: Iterable[Candidate], *, counted: counters.Counted) -> None:
    """Read coupons, campaigns and codes again once the counters are held: staff may have changed a limit or a budget
    while others held them.

    Raises:
        Busy: staff deleted one of them meanwhile, or put a campaign into another sale event; who asks again is told
            that there is no such thing, or what holds now.
    """
    candidates = list(candidates)
    coupons = Coupon.objects.in_bulk({candidate.coupon.pk for candidate in candidates})
    campaigns = Campaign.objects.in_bulk({candidate.campaign.pk for candidate in candidates if candidate.campaign})
    codes = Code.objects.in_bulk([candidate.code.pk for candidate in candidates if candidate.code is not None])
    if any(candidate.coupon.pk not in coupons for candidate in candidates) or any(
        candidate.campaign is not None and candidate.campaign.pk not in campaigns for candidate in candidates
    ):
        raise Busy
    for candidate in candidates:
        candidate.coupon = coupons[candidate.coupon.pk]
        candidate.campaign = None if candidate.campaign is None else campaigns[candidate.campaign.pk]
        candidate.code = None if candidate.code is None else codes[candidate.code.pk]
    if not events_of(candidates) <= counted.events.keys():
        raise Busy


def find_places(candidates: Iterable[Candidate], *, shopper: Shopper) -> None:
    """Read the shopper's places in groups; :func:`refresh` comes before."""
    in_groups = [candidate for candidate in candidates if candidate.coupon.group_size is not None]
    if not in_groups:
        return
    members = list(
        GroupBuyMember.objects.select_related("group")
        .filter(shopper=shopper, group__coupon__in=[candidate.coupon for candidate in in_groups])
        .order_by("pk")
    )
    for candidate in in_groups:
        own = [member for member in members if member.group.coupon_id == candidate.coupon.pk]
        candidate.member = _best_place(own)


def _best_place(members: Iterable[GroupBuyMember]) -> GroupBuyMember | None:
    """One that may use the coupon before one that waits before one whose group failed. One that used it is none."""
    order = [GroupBuy.State.UNLOCKED, GroupBuy.State.OPEN, GroupBuy.State.FAILED]
    places = [member for member in members if member.held_uses or member.group.state == GroupBuy.State.FAILED]
    return min(places, key=lambda member: (order.index(GroupBuy.State(member.group.state)), -member.pk), default=None)


def find_targets(candidates: Iterable[Candidate], *, basket: Basket) -> dict[int, Targets]:
    """What the coupons are for, by their primary keys: of it only what the basket has is looked up."""
    found: dict[int, tuple[set[str], set[str], set[str]]] = {}
    whole_shop = Targets()
    targets = {candidate.coupon.pk: whole_shop for candidate in candidates}
    for candidate in candidates:
        if candidate.is_targeted:
            found[candidate.coupon.pk] = (set(), set(), set())
    if not found:
        return targets
    # A list has at least one thing in it; nothing is called so.
    rows = _read_targets(
        coupons=list(found),
        product_ids={line.product_id for line in basket.lines} or {NOT_IN_BASKET},
        paths={path for line in basket.lines for path in line.category_ids} or {NOT_IN_BASKET},
        brands={line.brand for line in basket.lines},
    )
    for row in rows:
        products, categories, brands = found[row["coupon_id"]]
        names = row["product__product_id"], row["category__path"], row["brand"]
        for values, value in zip((products, categories, brands), names, strict=True):
            if value:
                values.add(value)
    for coupon, sets in found.items():
        if not any(sets):
            sets[0].add(NOT_IN_BASKET)
        targets[coupon] = Targets(*map(frozenset, sets))
    return targets


def _targets(coupons: Any, product_ids: Any, paths: Any, brands: Any) -> QuerySet[CouponTarget, Any]:
    in_basket = (
        Q(product__product_id__in=product_ids) | Q(category__path__in=paths) | (Q(brand__in=brands) & ~Q(brand=""))
    )
    rows = CouponTarget.objects.filter(in_basket, coupon__in=coupons)
    return rows.values("coupon_id", "product__product_id", "category__path", "brand")


_read_targets = Compiled(
    _targets, coupons=[BigIntegerField()], product_ids=[CharField()], paths=[CharField()], brands=[CharField()]
)


def describe_offer(candidate: Candidate, *, targets: Targets, counted: counters.Counted, at: datetime) -> Offer:
    """A candidate as the rules see it at a moment, with what is left of the budgets."""
    coupon, campaign = candidate.coupon, candidate.campaign
    return Offer(
        coupon_id=coupon.coupon_id,
        campaign_id=campaign.campaign_id if campaign is not None else "",
        discount_type=DiscountType(coupon.discount_type) if coupon.discount_type else None,
        discount_value=coupon.discount_value,
        buy_quantity=coupon.buy_quantity,
        get_quantity=coupon.get_quantity,
        max_discount=coupon.max_discount,
        min_spend=coupon.min_spend,
        targets=targets,
        stackable=coupon.stackable,
        exclusion_group=coupon.exclusion_group,
        active=coupon.active,
        starts_at=coupon.starts_at,
        ends_at=coupon.ends_at,
        campaign_starts_at=campaign.starts_at if campaign is not None else None,
        campaign_ends_at=campaign.ends_at if campaign is not None else None,
        limits=Limits(
            total=coupon.total_limit,
            shopper=coupon.per_shopper_limit,
            day=coupon.per_day_limit,
            week=coupon.per_week_limit,
            month=coupon.per_month_limit,
        ),
        first_order_only=coupon.first_order_only,
        segment_id=str(coupon.segment_id) if coupon.segment_id is not None else None,
        group_size=coupon.group_size,
        group_window=timedelta(hours=coupon.group_hours) if coupon.group_hours is not None else None,
        budget_left=_left(coupon.budget, counted.coupons[coupon.pk].spent),
        campaign_budget_left=(
            _left(campaign.budget, counted.campaigns[campaign.pk].spent) if campaign is not None else None
        ),
        sale_event=(
            _describe_event(counted.events[campaign.sale_event_id], at)
            if campaign is not None and campaign.sale_event_id is not None
            else None
        ),
    )


def _describe_event(paced: counters.PacedEvent, at: datetime) -> SaleEvent:
    event = paced.event
    return SaleEvent(
        event_id=str(event.pk),
        starts_at=event.starts_at,
        ends_at=event.ends_at,
        most_coupons=event.most_coupons,
        most_others=event.most_others,
        left=paced.left(at),
        more_at=paced.more_at(at),
    )


def _left(budget: Decimal | None, spent: Decimal) -> Decimal | None:
    return None if budget is None else budget - spent


def describe_situation(candidate: Candidate, *, shopper: Shopper, counted: counters.Counted, at: datetime) -> Situation:
    """How things stand for a shopper and one coupon."""
    coupon = candidate.coupon
    uses = counters.uses_of(counted, coupon=coupon, shopper_id=shopper.pk, at=at)
    member, group = candidate.member, None
    if member is not None:
        uses = replace(uses, total=uses.total - member.held_uses)  # the use that is kept for this shopper
        is_full = member.group.state == GroupBuy.State.UNLOCKED and coupon.group_size is not None
        joined = max(member.group.joined, coupon.group_size or 0) if is_full else member.group.joined
        group = GroupState(members=joined, closes_at=member.group.closes_at)
    return Situation(
        moment=at,
        zone=counted.zone,
        uses=uses,
        ordered_before=coupon.first_order_only and bool(who_ordered([shopper.pk])),
        segment_ids=_segments_of(coupon.segment, shopper, at),
        opted_out=shopper.opted_out and not candidate.asked.code,
        group=group,
    )


def _segments_of(segment: Segment | None, shopper: Shopper, at: datetime) -> frozenset[str]:
    if segment is None or not find_shoppers(segment=segment, at=at, among=[shopper.pk]).exists():
        return frozenset()
    return frozenset({str(segment.pk)})
