"""Which open groups are for a shopper, and whom to invite to a group.

What was learned last is asked here, with nothing but the standard library; see :mod:`recommender.ml.group_model`. Who
must not be offered a coupon is neither shown its groups nor invited to them.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from recommender.ml.group_model import NOTHING_LEARNED, SECONDS_AN_HOUR, Basis, GroupState, Tie
from recommender.ml.group_model import GroupModel as Learned
from recommender.models import (
    CampaignShopper,
    Companion,
    Event,
    GroupBuy,
    GroupBuyMember,
    GroupModel,
    OrderLine,
    Product,
    Shop,
    Shopper,
)
from recommender.services.checkout.groups import find_group, may_join
from recommender.services.checkout.offers import Asked, as_counted, find_candidates
from recommender.services.checkout.refusals import CheckoutRefused, UnknownThing
from recommender.services.coupon_targets import find_products
from recommender.services.holding import disregard_overdue

State = GroupBuy.State
#: Of more open groups than this, those of companions and those that close first are looked at.
MOST_GROUPS = 500
#: Who bought what a coupon is for or the like, the most of it first, beside the companions of a group's members.
MOST_BUYERS = 200
#: As :data:`recommender.ml.group_learning.LATELY`, which is not loaded here.
LATELY = timedelta(days=180)
#: From this likeness on it is told as a reason.
ALIKE_ENOUGH = 0.3


@dataclass(frozen=True)
class Chance:
    """How likely a group fills in time, 0 to 1, and what that rests on; None where nothing is known."""

    value: float | None
    basis: Basis


@dataclass(frozen=True)
class RecommendedGroup:
    """An open group for a shopper.

    Attributes:
        chance: that it fills in time once the shopper joined.
        reasons: kinds with their facts, for :mod:`recommender.group_reasons`.
    """

    group: GroupBuy
    chance: Chance
    reasons: list[dict[str, Any]]


@dataclass(frozen=True)
class Invitee:
    """Somebody to invite, with the reasons likewise."""

    shopper_id: str
    reasons: list[dict[str, Any]]


def read_model() -> Learned:
    """What was learned last."""
    kept = GroupModel.objects.first()
    return NOTHING_LEARNED if kept is None else Learned.from_json(kept.content)


def estimate_chances(groups: Sequence[GroupBuy], *, at: datetime) -> dict[int, Chance]:
    """How likely open groups fill in time if nobody does anything about it, by primary key."""
    model, members = read_model(), _members_of(groups)
    companions = _count_companions(members.values())
    found = {}
    for group in groups:
        state = _describe(group, members[group.pk], companions, at)
        found[group.pk] = Chance(*model.chance_of(state, group.coupon_id))
    return found


def recommend_groups(*, shopper_id: str, at: datetime, limit: int) -> list[RecommendedGroup]:
    """The open groups that a shopper is likeliest to join and to get the coupon in, best first.

    Groups for coupons that the shopper may not use, is held out of, or waits for in another group are left out.

    Raises:
        UnknownThing: no such shopper.
    """
    shopper = Shopper.objects.filter(shopper_id=shopper_id).first()
    if shopper is None:
        raise UnknownThing("shopper", shopper_id)
    groups = _find_open(shopper, at)
    allowed = _usable_coupons(shopper, {group.coupon.coupon_id for group in groups}, at)
    groups = [group for group in groups if group.coupon_id in allowed]
    if not groups:
        return []
    model, members = read_model(), _members_of(groups)
    companions = _count_companions(members.values())
    of_members = {who for each in members.values() for who in each}
    ties = {
        member: tie
        for member, *tie in Companion.objects.filter(shopper__in=of_members, companion=shopper).values_list(
            "shopper", *_OF_COMPANIONS
        )
    }
    bought = _Bought([shopper.pk], {group.coupon_id for group in groups}, at)
    habits = _Habits([shopper.pk])
    scored = []
    for group in groups:
        inside = members[group.pk]
        own = [ties[member] for member in inside if member in ties]
        tie = _tie(own, bought.of(shopper.pk, group.coupon_id), habits.of(shopper.pk))
        state = _describe(group, inside, companions, at)
        chance = Chance(*model.chance_of(state.with_one_more(), group.coupon_id))
        likely = (state.joined + 1) / state.size if chance.value is None else chance.value
        score = model.attraction(state, tie, group.coupon_id) * likely
        people = sum(together > 0 for together, _closeness, _alike in own)
        scored.append((score, RecommendedGroup(group, chance, _reasons(tie, state, people=people))))
    scored.sort(key=lambda each: (-each[0], each[1].group.closes_at, each[1].group.pk))
    return [recommended for _score, recommended in scored[:limit]]


def recommend_invitees(*, group_id: UUID, at: datetime, limit: int) -> tuple[GroupBuy, Chance, list[Invitee]]:
    """Whom to invite to an open group, likeliest to join first: companions of its members, and who bought what the
    coupon is for or the like. Who may not use the coupon, is held out, waits in another group or was invited already is
    left out.

    Raises:
        UnknownThing: no such group.
        CheckoutRefused: ``group_full`` or ``group_closed``.
    """
    group = find_group(group_id=group_id)
    state = group.state_at(at)
    if state != State.OPEN:
        raise CheckoutRefused("group_full" if state == State.UNLOCKED else "group_closed")
    model, members = read_model(), _members_of([group])[group.pk]
    described = _describe(group, members, _count_companions([members]), at)
    chance = Chance(*model.chance_of(described, group.coupon_id))
    ties: dict[int, list[_OwnTie]] = defaultdict(list)
    for companion, *own in Companion.objects.filter(shopper__in=members).values_list("companion", *_OF_COMPANIONS):
        ties[companion].append(own)
    candidates = {*ties, *_find_buyers(group.coupon_id, at)} - set(members)
    candidates -= set(group.invitations.values_list("shopper", flat=True))
    bought = _Bought(candidates, {group.coupon_id}, at)
    habits = _Habits(candidates)
    scored = []
    for shopper in candidates:
        tie = _tie(ties.get(shopper, []), bought.of(shopper, group.coupon_id), habits.of(shopper))
        scored.append((-model.attraction(described, tie, group.coupon_id), shopper, tie))
    scored.sort(key=lambda each: each[:2])
    found: list[Invitee] = []
    for begin in range(0, len(scored), 2 * limit):
        some = scored[begin : begin + 2 * limit]
        shoppers = Shopper.objects.in_bulk([key for _score, key, _tie in some])
        for _score, key, tie in some:
            if len(found) == limit:
                return group, chance, found
            if _usable_coupons(shoppers[key], {group.coupon.coupon_id}, at):
                found.append(Invitee(shoppers[key].shopper_id, _reasons(tie, None, groups=tie.together)))
    return group, chance, found


def _find_open(shopper: Shopper, at: datetime) -> list[GroupBuy]:
    """Groups that are open and not the shopper's own: those with companions first, then those that close first."""
    open_now = GroupBuy.objects.filter(state=State.OPEN, closes_at__gt=at, opened_at__lte=at)
    open_now = open_now.exclude(members__shopper=shopper).select_related("coupon")
    of_companions = list(
        open_now.filter(members__shopper__companions__companion=shopper)
        .distinct()
        .order_by("closes_at", "pk")[:MOST_GROUPS]
    )
    others = open_now.exclude(pk__in=[group.pk for group in of_companions]).order_by("closes_at", "pk")
    return [*of_companions, *others[: MOST_GROUPS - len(of_companions)]]


def _usable_coupons(shopper: Shopper, coupon_ids: Collection[str], at: datetime) -> set[int]:
    """Which of some coupons the shopper may use if a group fills, and is not kept from; their primary keys."""
    candidates, _unknown = find_candidates(
        [Asked(coupon_id=each) for each in sorted(coupon_ids)], shopper=shopper, at=at
    )
    candidates = [candidate for candidate in candidates if candidate.campaign is not None]
    if not candidates:
        return set()
    counted = as_counted(candidates, shopper=shopper, zone=Shop.current().zone, at=at)
    disregard_overdue(
        counted,
        coupons={candidate.coupon.pk: candidate.coupon for candidate in candidates},
        campaigns={candidate.campaign.pk: candidate.campaign for candidate in candidates if candidate.campaign},
        at=at,
    )
    held_out = set(
        CampaignShopper.objects.filter(
            shopper=shopper,
            campaign__in=[candidate.campaign for candidate in candidates],
            group=CampaignShopper.Group.CONTROL,
        ).values_list("campaign", flat=True)
    )
    waits = set(
        GroupBuyMember.objects.filter(
            shopper=shopper, group__coupon__in=[candidate.coupon for candidate in candidates], held_uses=1
        )
        .exclude(group__state=State.OPEN, group__closes_at__lte=at)
        .values_list("group__coupon", flat=True)
    )
    return {
        candidate.coupon.pk
        for candidate in candidates
        if candidate.coupon.pk not in waits
        and candidate.campaign is not None
        and candidate.campaign.pk not in held_out
        and may_join(candidate, shopper, counted, at) is None
    }


def _members_of(groups: Sequence[GroupBuy]) -> dict[int, list[int]]:
    members: dict[int, list[int]] = {group.pk: [] for group in groups}
    rows = GroupBuyMember.objects.filter(group__in=members).order_by("joined_at", "pk")
    for group, shopper in rows.values_list("group_id", "shopper_id"):
        members[group].append(shopper)
    return members


def _count_companions(members: Iterable[Sequence[int]]) -> Counter[int]:
    """With how many others each member joined groups before, as far as companions are kept."""
    keys = {member for each in members for member in each}
    counted = Companion.objects.filter(shopper__in=keys, groups_together__gt=0).values_list("shopper")
    return Counter(dict(counted.annotate(others=Count("pk")).order_by()))


def _describe(group: GroupBuy, members: Sequence[int], companions: Mapping[int, int], at: datetime) -> GroupState:
    return GroupState(
        size=group.size,
        joined=group.joined,
        hours_open=(at - group.opened_at).total_seconds() / SECONDS_AN_HOUR,
        hours_left=(group.closes_at - at).total_seconds() / SECONDS_AN_HOUR,
        companions=max((companions.get(member, 0) for member in members), default=0),
    )


#: Groups joined together, closeness and likeness of a shopper and a member of a group.
_OwnTie = Sequence[Any]
_OF_COMPANIONS = ("groups_together", "closeness", "alike")


def _tie(own: Sequence[_OwnTie], bought: tuple[int, int, int], habits: tuple[int, int]) -> Tie:
    """
    Args:
        own: one for each member who is a companion.
        bought: as :meth:`_Bought.of` says, and ``habits`` as :meth:`_Habits.of`.
    """
    of_it, of_its_kind, at_all = bought
    joined_before, looked_before = habits
    return Tie(
        together=sum(together for together, _closeness, _alike in own),
        closeness=max((closeness for _together, closeness, _alike in own), default=0.0),
        alike=max((alike for _together, _closeness, alike in own), default=0.0),
        bought=of_it,
        bought_kind=of_its_kind,
        bought_at_all=at_all,
        joined_before=joined_before,
        looked_before=looked_before,
    )


class _Habits:
    """How often shoppers joined groups of others, and how often they looked at what coupons for groups are about."""

    def __init__(self, shoppers: Collection[int]) -> None:
        earlier = GroupBuyMember.objects.filter(group=OuterRef("group"), joined_at__lt=OuterRef("joined_at"))
        joined = GroupBuyMember.objects.filter(Exists(earlier), shopper__in=shoppers)
        looked = Event.objects.filter(kind=Event.Kind.VIEW, shopper__in=shoppers, coupon__group_size__isnull=False)
        self._joined, self._looked = (
            Counter(dict(rows.order_by().values_list("shopper").annotate(times=Count("pk"))))
            for rows in (joined, looked)
        )

    def of(self, shopper: int) -> tuple[int, int]:
        return self._joined[shopper], self._looked[shopper]


def _reasons(tie: Tie, state: GroupState | None, *, people: int = 0, groups: int = 0) -> list[dict[str, Any]]:
    reasons: list[dict[str, Any]] = []
    if people:
        reasons.append({"kind": "companions_in_it", "people": people})
    if groups:
        reasons.append({"kind": "joined_together", "times": groups})
    if tie.alike >= ALIKE_ENOUGH:
        reasons.append({"kind": "buys_alike"})
    if tie.bought:
        reasons.append({"kind": "buys_it", "times": tie.bought})
    elif tie.bought_kind:
        reasons.append({"kind": "buys_its_kind", "times": tie.bought_kind})
    if state is not None and state.places_left == 1:
        reasons.append({"kind": "one_place_left"})
    return reasons


def _lines(at: datetime) -> QuerySet[OrderLine]:
    return OrderLine.objects.filter(quantity__gt=0, order__ordered_at__gte=at - LATELY, order__ordered_at__lt=at)


class _Bought:
    """What shoppers bought lately of what coupons are for, and of the same categories."""

    def __init__(self, shoppers: Collection[int], coupons: Collection[int], at: datetime) -> None:
        self._targets = find_products(coupons)
        self._times: dict[int, Counter[int]] = defaultdict(Counter)
        self._kinds: dict[int, Counter[int]] = defaultdict(Counter)
        rows = (
            _lines(at)
            .filter(order__shopper__in=shoppers)
            .order_by()
            .values_list("order__shopper", "product", "product__category")
            .annotate(times=Count("pk"))
        )
        for shopper, product, category, times in rows:
            self._times[shopper][product] += times
            if category is not None:
                self._kinds[shopper][category] += times
        self._categories = _categories_of(set().union(*self._targets.values()))

    def of(self, shopper: int, coupon: int) -> tuple[int, int, int]:
        """Purchases of what a coupon is for, of the same categories, and of anything."""
        times, kinds = self._times[shopper], self._kinds[shopper]
        targets, at_all = self._targets.get(coupon), times.total()
        if targets is None:
            return at_all, at_all, at_all
        categories = {self._categories[product] for product in targets if product in self._categories}
        of_it, of_its_kind = sum(times[product] for product in targets), sum(kinds[each] for each in categories)
        return of_it, of_its_kind, at_all


def _categories_of(products: Collection[int]) -> dict[int, int]:
    rows = Product.objects.filter(pk__in=products, category__isnull=False)
    return dict(rows.values_list("pk", "category"))


def _find_buyers(coupon: int, at: datetime) -> list[int]:
    """Who bought the most lately of the categories of what a coupon is for."""
    lines = _lines(at)
    if (targets := find_products([coupon]).get(coupon)) is not None:
        categories = set(_categories_of(targets).values())
        lines = lines.filter(Q(product__in=targets) | Q(product__category__in=categories))
    bought = lines.order_by().values("order__shopper_id").annotate(times=Count("pk"))
    return [row["order__shopper_id"] for row in bought.order_by("-times", "order__shopper_id")[:MOST_BUYERS]]
