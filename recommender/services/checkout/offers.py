"""The coupons that are asked for, with all that the rules need of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import F, Q, Value

from recommender.models import (
    Campaign,
    Code,
    CodeBatch,
    Coupon,
    CouponTarget,
    GroupBuy,
    GroupBuyMember,
    Segment,
    Shopper,
)
from recommender.models.code_entry import NormalisedCode, normalise_code
from recommender.rules.basket import Basket
from recommender.rules.eligibility import GroupState, Situation
from recommender.rules.offer import DiscountType, Limits, Offer, Targets
from recommender.services import counters
from recommender.services.checkout.refusals import RefusedCoupon
from recommender.services.redemption import offering_campaigns
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
        coupon: as it was before its counter was held; :func:`refresh` reads it again.
        member: the shopper's place in a group that waits for this coupon or may use it.
    """

    asked: Asked
    coupon: Coupon
    code: Code | None
    campaign: Campaign | None
    member: GroupBuyMember | None = None


def find_candidates(
    asked: Sequence[Asked], *, shopper: Shopper, at: datetime
) -> tuple[list[Candidate], list[RefusedCoupon]]:
    """The coupons that are asked for, each once, and those that cannot be found."""
    candidates: list[Candidate] = []
    refused: list[RefusedCoupon] = []
    with_codes = set()
    by_id = {
        coupon.coupon_id: coupon
        for coupon in Coupon.objects.filter(coupon_id__in=[each.coupon_id for each in asked if each.coupon_id])
    }
    if by_id:
        with_codes = set(CodeBatch.objects.filter(coupon__in=by_id.values()).values_list("coupon_id", flat=True))
    for each in dict.fromkeys(asked):
        coupon, code = (by_id.get(each.coupon_id), None) if each.coupon_id else _find_by_code(each.code, at)
        if coupon is None:
            refused.append(RefusedCoupon(each.name, "unknown_coupon" if each.coupon_id else "unknown_code"))
        elif coupon.pk in with_codes and code is None:
            refused.append(RefusedCoupon(each.name, "code_needed"))
        elif any(found.coupon.pk == coupon.pk for found in candidates):
            refused.append(RefusedCoupon(each.name, "asked_for_twice"))
        else:
            candidates.append(Candidate(each, coupon, code, None))
    _find_campaigns(candidates, shopper, at)
    return candidates, refused


def find_by_public_code(entered: str) -> list[Coupon]:
    """The coupons of a public code, in the order of their keys, however it was typed."""
    if not (wanted := normalise_code(entered)):
        return []
    # Typed as it stands it is found too, whatever it is made of.
    either = [wanted, NormalisedCode(Value(entered.strip()))]
    return list(Coupon.objects.alias(kept=NormalisedCode("code")).filter(kept__in=either).order_by("pk"))


def _find_by_code(entered: str, at: datetime) -> tuple[Coupon | None, Code | None]:
    code = Code.objects.select_related("batch__coupon").filter(code=normalise_code(entered)).first()
    if code is not None:
        return code.batch.coupon, code
    # The same word may have been the code of an offer in other campaigns before.
    coupons = find_by_public_code(entered)
    live = set(Campaign.objects.live_at(at).filter(coupons__in=coupons).values_list("coupons", flat=True))
    return next((coupon for coupon in coupons if coupon.pk in live), coupons[0] if coupons else None), None


def _find_campaigns(candidates: Iterable[Candidate], shopper: Shopper, at: datetime) -> None:
    """Of the campaigns that run with a coupon: the one that offered it to the shopper, else the one that ends first.

    Where none runs it is the one that runs next, or else ran last, so that its window is the reason that is told.
    """
    candidates = list(candidates)
    holding: dict[int, list[Campaign]] = {candidate.coupon.pk: [] for candidate in candidates}
    campaigns = Campaign.objects.filter(coupons__in=holding).annotate(of_coupon=F("campaign_coupons__coupon"))
    for campaign in campaigns.order_by("ends_at", "campaign_id"):
        if campaign.of_coupon in holding:
            holding[campaign.of_coupon].append(campaign)
    for candidate in candidates:
        known = holding[candidate.coupon.pk]
        live = [campaign for campaign in known if campaign.starts_at <= at < campaign.ends_at]
        if len(live) > 1:
            live = offering_campaigns(live, candidate.coupon, shopper, at) or live
        later = sorted((each for each in known if each.starts_at > at), key=lambda each: each.starts_at)
        candidate.campaign = next(iter([*live, *later, *reversed(known)]), None)


def refresh(candidates: Iterable[Candidate], *, shopper: Shopper) -> None:
    """Read coupons and codes again once the counters are held, and the places in groups."""
    candidates = list(candidates)
    coupons = Coupon.objects.in_bulk([candidate.coupon.pk for candidate in candidates])
    codes = Code.objects.in_bulk([candidate.code.pk for candidate in candidates if candidate.code is not None])
    for candidate in candidates:
        candidate.coupon = coupons[candidate.coupon.pk]
        candidate.code = None if candidate.code is None else codes[candidate.code.pk]
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
    coupons = [candidate.coupon.pk for candidate in candidates]
    has_targets = set(CouponTarget.objects.filter(coupon__in=coupons).values_list("coupon_id", flat=True).distinct())
    found: dict[int, tuple[set[str], set[str], set[str]]] = {pk: (set(), set(), set()) for pk in coupons}
    in_basket = (
        Q(product__product_id__in={line.product_id for line in basket.lines})
        | Q(category__path__in={path for line in basket.lines for path in line.category_ids})
        | Q(brand__in={line.brand for line in basket.lines if line.brand})
    )
    rows = (
        CouponTarget.objects.filter(in_basket, coupon__in=has_targets) if has_targets else CouponTarget.objects.none()
    )
    for coupon, product_id, path, brand in rows.values_list(
        "coupon_id", "product__product_id", "category__path", "brand"
    ):
        products, categories, brands = found[coupon]
        for values, value in ((products, product_id), (categories, path), (brands, brand)):
            if value:
                values.add(value)
    for coupon in has_targets:
        if not any(found[coupon]):
            found[coupon][0].add(NOT_IN_BASKET)
    return {pk: Targets(*map(frozenset, sets)) for pk, sets in found.items()}


def describe_offer(candidate: Candidate, *, targets: Targets, counted: counters.Counted) -> Offer:
    """A candidate as the rules see it, with what is left of the budgets."""
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
