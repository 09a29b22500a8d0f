"""A look into one shopper of a run: what is known, what is offered and why, and why not the rest."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet, Subquery, Sum

from recommender.models import (
    CampaignShopper,
    Coupon,
    Order,
    OrderLine,
    Product,
    Recommendation,
    Redemption,
    Run,
    RunCorrection,
    Shopper,
)
from recommender.services.contact import was_contacted
from recommender.services.fitting import OfDevices
from recommender.services.projects import OfProjects
from recommender.services.stock import Stock

LATEST = 10  # of orders, products, redemptions and campaigns


class WhyNot(StrEnum):
    """Why a coupon of the campaign is not offered to a shopper; the first that holds."""

    OPTED_OUT = "opted_out"
    HELD_OUT = "held_out"
    CONTACTED = "contacted"
    FITS_NO_DEVICE = "fits_no_device"
    PROJECT_FINISHED = "project_finished"
    NO_LIST = "no_list"
    INACTIVE = "inactive"
    NOT_OPEN = "not_open"
    NOT_GOOD_LONG_ENOUGH = "not_good_long_enough"
    USED_UP = "used_up"
    USED_BY_SHOPPER = "used_by_shopper"
    BUDGET_SPENT = "budget_spent"
    TAKEN_OUT = "taken_out"
    COST_UNKNOWN = "cost_unknown"
    VALUE_UNKNOWN = "value_unknown"
    NOT_CHOSEN_FROM = "not_chosen_from"
    SAME_OFFER = "same_offer"
    SAME_CATEGORY = "same_category"
    BRINGS_NOTHING = "brings_nothing"
    BUDGET = "budget"
    WORTH_LESS = "worth_less"
    PLACES_OF_SELLERS = "places_of_sellers"
    NOT_NEW = "not_new"
    PLACE_DRAWN = "place_drawn"
    RANKED_LOWER = "ranked_lower"


@dataclass(frozen=True, slots=True)
class NotOffered:
    """A coupon that is not offered, why, and what there is to say of that.

    Attributes:
        same_as: the coupon of the list that is the same offer, or for the same category.
        last_score: of the last coupon of the list that was not drawn, which this one scored no better than.
        correction: the one that took it out; None if it was taken out before corrections were kept.
    """

    coupon: Coupon
    why: WhyNot
    same_as: Coupon | None = None
    last_score: float | None = None
    correction: RunCorrection | None = None


@dataclass(frozen=True, slots=True)
class Bought:
    product: Product
    orders: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a shopper; of each kind the latest, of products those bought most often."""

    order_count: int
    spent: Decimal
    first_order_at: datetime | None
    last_order_at: datetime | None
    orders: Sequence[Order]  # each with what was paid as ``paid``
    products: Sequence[Bought]
    redemption_count: int
    redemptions: Sequence[Redemption]
    campaigns: Sequence[CampaignShopper]


def draw_shoppers(*, run: Run, count: int = 10, seed: int | None = None) -> list[Shopper]:
    """A random sample of the shoppers who are offered something, in the order of their identifiers.

    Shoppers are looked for at random places of the range of their keys, so that no list of them all is made; where keys
    have large gaps, whoever comes after a gap is drawn more often.
    """
    offered = run.recommendations.offered().order_by()
    ends = offered.aggregate(first=Min("shopper"), last=Max("shopper"))
    if ends["first"] is None:
        return []
    chance = random.Random(seed)  # noqa: S311
    places = [chance.randint(ends["first"], ends["last"]) for _attempt in range(4 * count)]  # several may lead to one
    next_to = [
        Subquery(offered.filter(shopper__gte=place).order_by("shopper").values("shopper")[:1]) for place in places
    ]
    found = Run.objects.filter(pk=run.pk).values_list(*next_to)[0]
    keys = list(dict.fromkeys(found))[:count]
    return list(Shopper.objects.filter(pk__in=keys).order_by("shopper_id"))


def look_up_history(*, shopper: Shopper) -> History:
    """What a shopper bought, redeemed and was sent."""
    orders = shopper.orders.order_by()
    bounds = orders.aggregate(count=Count("pk"), first=Min("ordered_at"), last=Max("ordered_at"))
    lines = OrderLine.objects.filter(order__shopper=shopper).order_by()
    most = list(
        lines.values("product")
        .annotate(orders=Count("order", distinct=True), amount=Sum("amount"))
        .order_by("-orders", "-amount", "product")[:LATEST]
    )
    products = Product.objects.select_related("category").in_bulk([row["product"] for row in most])
    return History(
        order_count=bounds["count"],
        spent=lines.aggregate(spent=Sum("amount", default=Decimal(0)))["spent"],
        first_order_at=bounds["first"],
        last_order_at=bounds["last"],
        orders=list(orders.annotate(paid=Sum("lines__amount")).order_by("-ordered_at", "-pk")[:LATEST]),
        products=[Bought(products[row["product"]], row["orders"], row["amount"]) for row in most],
        redemption_count=shopper.redemptions.count(),
        redemptions=list(
            shopper.redemptions.select_related("coupon", "campaign").order_by("-redeemed_at", "-pk")[:LATEST]
        ),
        campaigns=list(shopper.campaign_shoppers.select_related("campaign").order_by("-campaign__starts_at")[:LATEST]),
    )


def list_of(*, run: Run, shopper: Shopper) -> QuerySet[Recommendation]:
    """What the run offers the shopper, in the order in which it is served."""
    return run.recommendations.offered().filter(shopper=shopper).select_related("coupon").order_by("rank")


def find_pins(*, listed: Sequence[Recommendation]) -> dict[int, RunCorrection]:
    """The corrections that put coupons of a list first, by their numbers, as the list names them."""
    numbers = [recommendation.pin for recommendation in listed if recommendation.pin is not None]
    return RunCorrection.objects.select_related("made_by").in_bulk(numbers) if numbers else {}


@dataclass(frozen=True)
class CouponUses:
    """How often a coupon was used, and what that took off; None where no use says."""

    uses: int = 0
    spent: Decimal | None = None


def count_uses_of_coupons() -> dict[int, CouponUses]:
    """The uses of each coupon that was used, by its key."""
    counted = Redemption.objects.values_list("coupon").annotate(uses=Count("pk"), spent=Sum("discount_amount"))
    return {coupon: CouponUses(uses, spent) for coupon, uses, spent in counted.order_by()}


def explain_absence(
    *, run: Run, shopper: Shopper, moment: datetime, uses: Mapping[int, CouponUses]
) -> list[NotOffered]:
    """Of every other coupon of the campaign, why this shopper is not offered it, as of a moment.

    Args:
        uses: of all coupons that were used, by everybody.
    """
    listed = list(run.recommendations.filter(shopper=shopper).select_related("coupon").order_by("rank"))
    offered = [recommendation for recommendation in listed if not recommendation.excluded]
    others = (
        Coupon.objects.filter(Q(campaign_coupons__campaign=run.campaign_id) | Q(coupon_id__in=run.coupon_ids))
        .exclude(pk__in=[recommendation.coupon_id for recommendation in offered])
        .distinct()
        .order_by("coupon_id")
    )
    return _Absence(run, shopper, moment, listed, uses).explain(list(others))


class _Absence:
    """What the absence of any coupon from a shopper's list is explained by, read once."""

    def __init__(
        self,
        run: Run,
        shopper: Shopper,
        moment: datetime,
        listed: Sequence[Recommendation],
        uses: Mapping[int, CouponUses],
    ) -> None:
        self._uses = uses
        self._opted_out = shopper.opted_out
        self._held_out = CampaignShopper.objects.filter(
            campaign=run.campaign_id, shopper=shopper, group=CampaignShopper.Group.CONTROL
        ).exists()
        self._listed = listed
        self._run, self._shopper, self._moment = run, shopper, moment
        self._chosen_from = set(run.coupon_ids)
        self._terms: Mapping[str, Any] = run.allocation_terms or {}
        self._by_offer = {row.coupon.offer_id: row.coupon for row in reversed(listed) if row.coupon.offer_id}
        self._taken_out = {row.coupon_id for row in listed if row.excluded}

    def explain(self, coupons: Sequence[Coupon]) -> list[NotOffered]:
        own = dict(self._shopper.redemptions.values_list("coupon").annotate(uses=Count("pk")).order_by())
        corrections = self._corrections()
        keys = [coupon.pk for coupon in coupons]
        self._devices = OfDevices(keys, [self._shopper.pk], self._moment)
        self._projects = OfProjects(keys, [self._shopper.pk], self._moment)
        self._stock = Stock(keys, self._moment)
        return [self._explain(coupon, own.get(coupon.pk, 0), corrections) for coupon in coupons]

    def _explain(self, coupon: Coupon, own_uses: int, corrections: Sequence[RunCorrection]) -> NotOffered:
        if coupon.pk in self._taken_out:
            reaching = (each for each in corrections if each.coupon_id in (None, coupon.pk))
            return NotOffered(coupon, WhyNot.TAKEN_OUT, correction=next(reaching, None))
        if (closed := self._closed(coupon, own_uses)) is not None:
            return NotOffered(coupon, closed)
        if (not_chosen := self._not_chosen_from(coupon)) is not None:
            return NotOffered(coupon, not_chosen)
        if (same := self._by_offer.get(coupon.offer_id)) is not None:
            return NotOffered(coupon, WhyNot.SAME_OFFER, same_as=same)
        return self._not_allocated(coupon) if self._run.is_allocated else self._ranked_lower(coupon)

    def _of_category(self, coupon: Coupon) -> Coupon | None:
        """The coupon of the list because of which this one may not stand there too."""
        if not self._terms.get("one_per_category"):
            return None
        groups = dict(zip(self._terms["coupon_ids"], self._terms["groups"], strict=True))
        group = groups.get(coupon.coupon_id)
        return next((row.coupon for row in self._listed if groups.get(row.coupon.coupon_id, -1) == group), None)

    def _ranked_lower(self, coupon: Coupon) -> NotOffered:
        # What was drawn for its place may score anything.
        ranked = [row.score for row in self._listed if row.propensity is None or row.propensity == 1]
        if not ranked:
            return NotOffered(coupon, WhyNot.PLACE_DRAWN)
        return NotOffered(coupon, WhyNot.RANKED_LOWER, last_score=min(ranked))

    def _not_chosen_from(self, coupon: Coupon) -> WhyNot | None:
        """Why the run does not choose from a coupon, if it does not."""
        if (unknown := self._terms.get("left_out", {}).get(coupon.coupon_id)) is not None:
            return _LEFT_OUT[unknown]
        return WhyNot.NOT_CHOSEN_FROM if self._chosen_from and coupon.coupon_id not in self._chosen_from else None

    def _not_allocated(self, coupon: Coupon) -> NotOffered:
        """Why lists that were made together leave a coupon out that they chose from."""
        if (same := self._of_category(coupon)) is not None:
            return NotOffered(coupon, WhyNot.SAME_CATEGORY, same_as=same)
        return NotOffered(coupon, self._not_worth_it(coupon))

    def _not_worth_it(self, coupon: Coupon) -> WhyNot:
        value = dict(zip(self._terms["coupon_ids"], self._terms["value_per_use"], strict=True))
        if value.get(coupon.coupon_id, 0) <= 0:
            return WhyNot.BRINGS_NOTHING
        if self._terms.get("taught_by"):
            return WhyNot.NOT_NEW
        if len(self._listed) < self._run.top:
            return WhyNot.BUDGET
        return WhyNot.PLACES_OF_SELLERS if self._terms.get("seller_coupons") else WhyNot.WORTH_LESS

    def _is_without_list(self) -> bool:
        """Whether the run was not computed for the shopper. One within a budget has no list for some it is for."""
        if self._listed:
            return False
        return not (self._run.is_allocated and _is_of_audience(self._run, self._shopper))

    @cached_property
    def _is_contacted(self) -> bool:
        """Whether the run left the shopper out for the campaigns that they had been sent."""
        if self._listed or self._run.contact_limit is None or _is_of_audience(self._run, self._shopper):
            return False
        return was_contacted(run=self._run, shopper=self._shopper)

    def _closed(self, coupon: Coupon, own_uses: int) -> WhyNot | None:
        """The rule that keeps the coupon from the shopper, if one does."""
        of_all = self._uses.get(coupon.pk, CouponUses())
        opens = max(self._moment, self._run.campaign.starts_at)
        rules = (
            (WhyNot.OPTED_OUT, self._opted_out),
            (WhyNot.HELD_OUT, self._held_out),
            (WhyNot.CONTACTED, self._is_contacted),
            (WhyNot.FITS_NO_DEVICE, not self._devices.may_have(coupon.pk, self._shopper.pk)),
            (WhyNot.PROJECT_FINISHED, not self._projects.may_have(coupon.pk, self._shopper.pk)),
            (WhyNot.NO_LIST, self._is_without_list()),
            (WhyNot.INACTIVE, not coupon.active),
            (
                WhyNot.NOT_OPEN,
                (coupon.ends_at is not None and coupon.ends_at <= opens)
                or (coupon.starts_at is not None and coupon.starts_at >= self._run.campaign.ends_at),
            ),
            (
                WhyNot.NOT_GOOD_LONG_ENOUGH,
                not self._stock.lasts(coupon.pk, max(opens, coupon.starts_at or opens), coupon.ends_at),
            ),
            (WhyNot.USED_UP, _reached(of_all.uses, coupon.total_limit)),
            (WhyNot.USED_BY_SHOPPER, _reached(own_uses, coupon.per_shopper_limit)),
            (WhyNot.BUDGET_SPENT, _reached(of_all.spent, coupon.budget)),
        )
        return next((why for why, holds in rules if holds), None)

    def _corrections(self) -> list[RunCorrection]:
        """Those that took something out of the shopper's list, the latest first."""
        if not self._taken_out:
            return []
        return list(
            self._run.corrections.standing()
            .filter(
                Q(shopper=self._shopper)
                | Q(correction_shoppers__shopper=self._shopper)
                | Q(shopper__isnull=True, segment_name="", coupon__in=self._taken_out),
                kind=RunCorrection.Kind.EXCLUDE,
            )
            .select_related("made_by")
            .order_by("-pk")
        )


_LEFT_OUT = {"cost": WhyNot.COST_UNKNOWN, "value": WhyNot.VALUE_UNKNOWN}


def _is_of_audience(run: Run, shopper: Shopper) -> bool:
    """Whether a run was computed for a shopper: shards hold the identifiers in their order, so a few tell."""
    shards = run.shards.order_by("number")
    low, high = 0, shards.count()
    while low < high:
        middle = (low + high) // 2
        identifiers = shards.values_list("shopper_ids", flat=True)[middle]
        if not identifiers or shopper.shopper_id > identifiers[-1]:
            low = middle + 1
        elif shopper.shopper_id < identifiers[0]:
            high = middle
        else:
            return shopper.shopper_id in identifiers
    return False


def _reached(used: int | Decimal | None, limit: int | Decimal | None) -> bool:
    return used is not None and limit is not None and used >= limit
