"""What came of a campaign: how far its offers went, and the money that moved.

An *offer* is a coupon for a shopper. It was sent if a published run lists it, or, where the campaign never published
one, if it is a coupon of the campaign and the shopper is among those that it was sent to. Who was held out was sent
nothing, whatever lists and events say.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from statistics import median
from typing import TypeVar

from django.db.models import Count, Exists, Model, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from recommender.models import (
    Campaign,
    CampaignShopper,
    Coupon,
    Event,
    ExperimentExposure,
    GroupBuy,
    GroupBuyMember,
    GroupInvitation,
    OrderLine,
    Publication,
    Recommendation,
    Redemption,
    Segment,
    Seller,
    Shop,
    Shopper,
)
from recommender.rules.funding import WHOLE
from recommender.services.segments import find_shoppers

SEGMENTS_TOLD_APART = 10  # each is a report of its own

STAGES = {Event.Kind.IMPRESSION: "seen", Event.Kind.CLICK: "clicked", Event.Kind.CLAIM: "claimed"}

Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Funnel:
    """How many got how far. Each stage is counted by itself: a coupon can be used without having been clicked."""

    sent: int = 0
    seen: int = 0
    clicked: int = 0
    claimed: int = 0
    redeemed: int = 0


@dataclass(frozen=True)
class Money:
    """What the uses of sent offers brought and cost.

    Attributes:
        uses: of sent offers, the second use of the same offer too.
        revenue: paid for the orders with such a use, each order once.
        without_order: uses of which no order is known, so that they bring no revenue here.
        discount: given in these uses, as far as it is known: by the use itself, or else by the lines of its order that
            name the coupon.
        unknown_discounts: uses of which neither tells the discount.
    """

    uses: int = 0
    revenue: Decimal = Decimal(0)
    without_order: int = 0
    discount: Decimal = Decimal(0)
    unknown_discounts: int = 0


@dataclass(frozen=True)
class Figures:
    offers: Funnel = Funnel()
    money: Money = Money()


@dataclass(frozen=True)
class Day:
    """What happened on a day by the shop's clock; an offer is counted at a stage on the first day that it got there."""

    day: date
    seen: int = 0
    clicked: int = 0
    claimed: int = 0
    redeemed: int = 0


@dataclass(frozen=True)
class GroupFigures:
    """What became of groups.

    Attributes:
        started: how many were begun; the others are those of them that filled in time, did not, and are open still.
        members: who joined them, whoever began them among these.
        hours_to_fill: the median of those that filled; None if none did.
        invited: how often the shop invited somebody; ``accepted`` of these joined the group afterwards.
    """

    started: int = 0
    filled: int = 0
    failed: int = 0
    open: int = 0
    members: int = 0
    hours_to_fill: float | None = None
    invited: int = 0
    accepted: int = 0


@dataclass(frozen=True)
class Groups:
    """What became of a campaign's groups, in all and by coupon, the most begun first; and those begun on each day."""

    total: GroupFigures = GroupFigures()
    by_coupon: list[tuple[Coupon, GroupFigures]] = field(default_factory=list)
    by_day: list[tuple[date, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Payer:
    """Who paid for uses.

    Attributes:
        seller_id: '' is the shop; None where it is not recorded who paid how much.
        uses: for which something was, or would be, paid.
        paid: of what was taken off.
        name: of the seller, where it is known.
    """

    seller_id: str | None
    uses: int
    paid: Decimal
    name: str = ""


@dataclass(frozen=True)
class CampaignReport:
    """
    Attributes:
        total: of all offers.
        shoppers: the same funnel in shoppers, each counted once a stage.
        held_out: shoppers who were to be sent nothing.
        other_uses: uses in the campaign of what was not sent: by who was held out, or got the coupon elsewhere.
        by_coupon: the most used coupons first. An order with two coupons counts for both of them.
        by_group: of shoppers. Who is in several groups counts in each.
        by_day: days on which anything happened, the first one first.
        groups: for its coupons that were begun while it ran, whoever was sent it.
    """

    campaign: Campaign
    total: Figures
    shoppers: Funnel
    held_out: int
    other_uses: int
    by_coupon: list[tuple[Coupon, Figures]] = field(default_factory=list)
    by_group: list[tuple[str, Figures]] = field(default_factory=list)
    by_day: list[Day] = field(default_factory=list)
    groups: Groups = Groups()
    by_payer: list[Payer] = field(default_factory=list)


@dataclass(frozen=True)
class CampaignUses:
    """How many shoppers are recorded as sent a campaign, how often its coupons were used, by how many shoppers, and how
    many shoppers are recorded as held out."""

    listed: int = 0
    uses: int = 0
    users: int = 0
    held_out: int = 0


def count_uses() -> dict[int, CampaignUses]:
    """The uses of each campaign, by its key; one that was neither sent nor used is left out."""
    groups = {
        campaign: (sent, held_out)
        for campaign, sent, held_out in CampaignShopper.objects.values_list("campaign")
        .annotate(
            sent=Count("pk", filter=Q(group=CampaignShopper.Group.TREATMENT)),
            held_out=Count("pk", filter=Q(group=CampaignShopper.Group.CONTROL)),
        )
        .order_by()
    }
    used = {
        campaign: (uses, users)
        for campaign, uses, users in Redemption.objects.filter(campaign__isnull=False)
        .values_list("campaign")
        .annotate(uses=Count("pk"), users=Count("shopper", distinct=True))
        .order_by()
    }
    found = {}
    for key in groups.keys() | used.keys():
        (listed, held_out), (uses, users) = groups.get(key, (0, 0)), used.get(key, (0, 0))
        found[key] = CampaignUses(listed, uses, users, held_out)
    return found


def report_campaign(*, campaign: Campaign, groups: Mapping[str, QuerySet[Shopper]] | None = None) -> CampaignReport:
    """Sum up a campaign. What came in late stands on the day when it happened, and what came twice counts once.

    Args:
        groups: shoppers by the name of their group; the shop's segments if not given.
    """
    groups = group_by_segment(campaign=campaign) if groups is None else groups
    whole = _Sent(campaign)
    uses = Redemption.objects.filter(campaign=campaign)
    return CampaignReport(
        campaign=campaign,
        total=Figures(whole.count_offers(), whole.sum_money()),
        shoppers=whole.count_shoppers(),
        held_out=campaign.campaign_shoppers.filter(group=CampaignShopper.Group.CONTROL).count(),
        other_uses=uses.count() - whole.uses.count(),
        by_coupon=whole.by_coupon(),
        by_group=[(name, _of_group(campaign, shoppers)) for name, shoppers in groups.items()],
        by_day=whole.by_day(Shop.current()),
        groups=report_groups(groups=groups_of(campaign=campaign), at=timezone.now()),
        by_payer=whole.by_payer(),
    )


def groups_of(*, campaign: Campaign) -> QuerySet[GroupBuy]:
    """The groups for a campaign's coupons that were begun while it ran."""
    return GroupBuy.objects.filter(
        coupon__campaigns=campaign, opened_at__gte=campaign.starts_at, opened_at__lt=campaign.ends_at
    )


def report_groups(*, groups: QuerySet[GroupBuy], at: datetime) -> Groups:
    """What became of groups until now."""
    zone = Shop.current().zone
    rows = list(groups.order_by("pk").values_list("coupon_id", "state", "joined", "opened_at", "closes_at", "ended_at"))
    if not rows:
        return Groups()
    invitations = GroupInvitation.objects.filter(group__in=groups)
    joined_after = GroupBuyMember.objects.filter(
        group=OuterRef("group"), shopper=OuterRef("shopper"), joined_at__gte=OuterRef("invited_at")
    )
    invited: dict[int, tuple[int, int]] = {
        coupon: (count, accepted)
        for coupon, count, accepted in invitations.values_list("group__coupon")
        .annotate(count=Count("pk"), accepted=Count("pk", filter=Exists(joined_after)))
        .order_by()
    }
    by_coupon: dict[int, list[tuple]] = defaultdict(list)
    by_day: Counter[date] = Counter()
    for coupon, state, joined, opened_at, closes_at, ended_at in rows:
        group = GroupBuy(state=state, joined=joined, opened_at=opened_at, closes_at=closes_at, ended_at=ended_at)
        by_coupon[coupon].append((group.state_at(at), joined, opened_at, ended_at))
        by_day[opened_at.astimezone(zone).date()] += 1
    coupons = Coupon.objects.in_bulk(list(by_coupon))
    figures = [(coupons[coupon], _sum_up_groups(of, invited.get(coupon, (0, 0)))) for coupon, of in by_coupon.items()]
    figures.sort(key=lambda each: (-each[1].started, each[0].coupon_id))
    everything = [row for of_coupon in by_coupon.values() for row in of_coupon]
    sent, accepted = (sum(each) for each in zip((0, 0), *invited.values(), strict=True))
    return Groups(_sum_up_groups(everything, (sent, accepted)), figures, sorted(by_day.items()))


def _sum_up_groups(rows: Sequence[tuple], invited: tuple[int, int]) -> GroupFigures:
    """Of rows with the state, the members, and when a group was begun and ended."""
    states = Counter(state for state, _joined, _opened, _ended in rows)
    hours = [
        (ended - opened).total_seconds() / 3_600
        for state, _joined, opened, ended in rows
        if state == GroupBuy.State.UNLOCKED
    ]
    return GroupFigures(
        started=len(rows),
        filled=states[GroupBuy.State.UNLOCKED],
        failed=states[GroupBuy.State.FAILED],
        open=states[GroupBuy.State.OPEN],
        members=sum(joined for _state, joined, _opened, _ended in rows),
        hours_to_fill=median(hours) if hours else None,
        invited=invited[0],
        accepted=invited[1],
    )


def group_by_segment(*, campaign: Campaign) -> dict[str, QuerySet[Shopper]]:
    """Who belonged to each of the first segments by name when the campaign began."""
    segments = Segment.objects.all()[:SEGMENTS_TOLD_APART]
    return {segment.name: find_shoppers(segment=segment, at=campaign.starts_at) for segment in segments}


def _of_group(campaign: Campaign, shoppers: QuerySet[Shopper]) -> Figures:
    sent = _Sent(campaign, shoppers)
    return Figures(sent.count_offers(), sent.sum_money())


class _Sent:
    """What a campaign sent to some shoppers, or to all, and what became of it."""

    def __init__(self, campaign: Campaign, shoppers: QuerySet[Shopper] | None = None) -> None:
        self.campaign = campaign
        self._shoppers = shoppers
        shown = set(Publication.objects.filter(campaign=campaign).values_list("run", "arm"))
        self._runs = {run for run, _arm in shown}
        self._runs_for_all = {run for run, arm in shown if arm is None}
        self.events = self._only_sent(
            Event.objects.filter(campaign=campaign, kind__in=list(STAGES), coupon__isnull=False)
        )
        self.uses = self._only_sent(Redemption.objects.filter(campaign=campaign))
        self._first_events = self.events.filter(~Exists(_earlier(Event, "occurred_at", kind=OuterRef("kind"))))
        self._first_uses = self.uses.filter(~Exists(_earlier(Redemption, "redeemed_at")))

    # What was sent

    def _treated(self) -> QuerySet[CampaignShopper]:
        treated = self.campaign.campaign_shoppers.filter(group=CampaignShopper.Group.TREATMENT)
        return treated if self._shoppers is None else treated.filter(shopper__in=self._shoppers)

    def _held_out(self) -> QuerySet[CampaignShopper]:
        return CampaignShopper.objects.filter(campaign=self.campaign, group=CampaignShopper.Group.CONTROL)

    def _offered(self) -> QuerySet[Recommendation]:
        """What stood on lists; of a run for a share of an experiment's shoppers, on the lists that were served."""
        offered = Recommendation.objects.offered().filter(run__in=self._runs)
        if self._runs == self._runs_for_all:
            return offered
        served = ExperimentExposure.objects.filter(arm__run=OuterRef("run"), shopper=OuterRef("shopper"))
        return offered.filter(Q(run__in=self._runs_for_all) | Q(Exists(served)))

    def _listed(self) -> QuerySet[Recommendation]:
        listed = self._offered()
        listed = listed.exclude(shopper__in=self._held_out().values("shopper"))
        return listed if self._shoppers is None else listed.filter(shopper__in=self._shoppers)

    def _only_sent(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Of rows with a shopper and a coupon, those about an offer that was sent."""
        if self._runs:
            pair = {"shopper": OuterRef("shopper"), "coupon": OuterRef("coupon")}
            offered = self._offered().filter(**pair)
            sent = rows.filter(Exists(offered)).exclude(shopper__in=self._held_out().values("shopper"))
        else:
            sent = rows.filter(
                shopper__in=self._treated().values("shopper"), coupon__in=self.campaign.coupons.values("pk")
            )
        return sent if self._shoppers is None else sent.filter(shopper__in=self._shoppers)

    def _sent_by_coupon(self) -> dict[int, int]:
        if self._runs:
            counted = self._listed().values("coupon").annotate(shoppers=Count("shopper", distinct=True))
            return {int(row["coupon"]): row["shoppers"] for row in counted}
        return dict.fromkeys(self.campaign.coupons.values_list("pk", flat=True), self._treated().count())

    # How far it went

    def count_offers(self) -> Funnel:
        found = self._first_events.values_list("kind").annotate(offers=Count("pk")).order_by()
        stages = {STAGES[Event.Kind(kind)]: offers for kind, offers in found}
        return Funnel(sum(self._sent_by_coupon().values()), **stages, redeemed=self._first_uses.count())

    def count_shoppers(self) -> Funnel:
        found = self.events.values_list("kind").annotate(shoppers=Count("shopper", distinct=True)).order_by()
        everyone: QuerySet = self._listed() if self._runs else self._treated()
        return Funnel(
            everyone.aggregate(shoppers=Count("shopper", distinct=True))["shoppers"],
            **{STAGES[Event.Kind(kind)]: shoppers for kind, shoppers in found},
            redeemed=self.uses.aggregate(shoppers=Count("shopper", distinct=True))["shoppers"],
        )

    def by_day(self, shop: Shop) -> list[Day]:
        def truncated(name: str) -> TruncDate:
            return TruncDate(name, tzinfo=shop.zone)

        days: dict[date, dict[str, int]] = {}
        events = self._first_events.annotate(day=truncated("occurred_at")).values_list("day", "kind")
        for day, kind, offers in events.annotate(offers=Count("pk")).order_by():
            days.setdefault(day, {})[STAGES[Event.Kind(kind)]] = offers
        uses = self._first_uses.annotate(day=truncated("redeemed_at")).values_list("day")
        for day, offers in uses.annotate(offers=Count("pk")).order_by():
            days.setdefault(day, {})["redeemed"] = offers
        return [Day(day, **stages) for day, stages in sorted(days.items())]

    # Money

    def sum_money(self) -> Money:
        lines = OrderLine.objects.filter(order__in=self.uses.values("order"))
        told = self._sum_told()
        known = self.uses.aggregate(
            uses=Count("pk"),
            without_order=Count("pk", filter=Q(order__isnull=True)),
            discount=Sum("discount_amount", default=Decimal(0)),
            unknown=Count("pk", filter=Q(discount_amount__isnull=True) & ~Q(Exists(_lines_of_use()))),
        )
        return Money(
            uses=known["uses"],
            revenue=lines.aggregate(total=Sum("amount", default=Decimal(0)))["total"],
            without_order=known["without_order"],
            discount=known["discount"] + told,
            unknown_discounts=known["unknown"],
        )

    def _sum_told(self, silent: QuerySet[Redemption] | None = None) -> Decimal:
        lines = self._lines_that_tell(silent)
        total: Decimal = lines.aggregate(total=Sum("coupon_discount", default=Decimal(0)))["total"]
        return total

    def _lines_that_tell(self, silent: QuerySet[Redemption] | None = None) -> QuerySet[OrderLine]:
        """Order lines whose coupon was used without a word of the discount."""
        silent = self.uses.filter(discount_amount__isnull=True) if silent is None else silent
        named = silent.filter(order=OuterRef("order"), coupon=OuterRef("coupon"))
        return OrderLine.objects.filter(Exists(named), order__in=silent.values("order"))  # by index, not all lines

    def by_payer(self) -> list[Payer]:
        """What was taken off, by who paid it: the shop, each seller by what was paid, and what is not known to be
        either's. Nothing where no seller paid for anything."""
        funded = self.uses.exclude(funded_by="")
        paid = list(funded.values_list("funded_by").annotate(uses=Count("pk"), total=Sum("seller_amount")).order_by())
        if not paid:
            return []
        names = dict(Seller.objects.values_list("seller_id", "name"))
        sellers = [Payer(seller, uses, _exact(total), names.get(seller, "")) for seller, uses, total in paid]
        sellers.sort(key=lambda payer: (-payer.paid, payer.seller_id or ""))
        # What only order lines tell was not divided when it was loaded. Where no seller pays it is the shop's.
        silent = funded.filter(discount_amount__isnull=True)
        not_divided = _exact(self._sum_told(silent))
        of_shop = _exact(self.sum_money().discount) - sum(payer.paid for payer in sellers) - not_divided
        return [
            Payer("", self.uses.filter(funded_percent__lt=WHOLE).count(), of_shop),
            *sellers,
            *([Payer(None, silent.count(), not_divided)] if not_divided else []),
        ]

    def by_coupon(self) -> list[tuple[Coupon, Figures]]:
        offers = {coupon: Funnel(sent) for coupon, sent in self._sent_by_coupon().items()}
        events = self._first_events.values_list("coupon", "kind").annotate(offers=Count("pk")).order_by()
        for coupon, kind, number in events:
            offers[coupon] = replace(offers[coupon], **{STAGES[Event.Kind(kind)]: number})
        for coupon, number in self._first_uses.values_list("coupon").annotate(offers=Count("pk")).order_by():
            offers[coupon] = replace(offers[coupon], redeemed=number)
        money = self._money_by_coupon()
        coupons = Coupon.objects.in_bulk(list(offers))
        found = [(coupons[coupon], Figures(funnel, money.get(coupon, Money()))) for coupon, funnel in offers.items()]
        return sorted(found, key=lambda each: (-each[1].offers.redeemed, -each[1].offers.sent, each[0].coupon_id))

    def _money_by_coupon(self) -> dict[int, Money]:
        same = {name: OuterRef(name) for name in ("campaign", "shopper", "coupon", "order")}
        once = self.uses.filter(~Exists(Redemption.objects.filter(**same, pk__lt=OuterRef("pk"))))
        revenue = dict(
            once.values_list("coupon").annotate(total=Sum("order__lines__amount", default=Decimal(0))).order_by()
        )
        told = dict(
            self._lines_that_tell()
            .values_list("coupon")
            .annotate(total=Sum("coupon_discount", default=Decimal(0)))
            .order_by()
        )
        known = (
            self.uses.values_list("coupon")
            .annotate(
                uses=Count("pk"),
                without_order=Count("pk", filter=Q(order__isnull=True)),
                discount=Sum("discount_amount", default=Decimal(0)),
                unknown=Count("pk", filter=Q(discount_amount__isnull=True) & ~Q(Exists(_lines_of_use()))),
            )
            .order_by()
        )
        return {
            coupon: Money(
                uses=uses,
                revenue=revenue.get(coupon, Decimal(0)),
                without_order=without_order,
                discount=discount + told.get(coupon, Decimal(0)),
                unknown_discounts=unknown,
            )
            for coupon, uses, without_order, discount, unknown in known
        }


def _earlier(model: type[Row], moment: str, **same: OuterRef) -> QuerySet[Row]:
    """For a row, those of the same campaign, shopper and coupon that happened before it."""
    before = Q(**{f"{moment}__lt": OuterRef(moment)}) | Q(**{moment: OuterRef(moment)}, pk__lt=OuterRef("pk"))
    pair = {name: OuterRef(name) for name in ("campaign", "shopper", "coupon")}
    return model._default_manager.filter(before, **pair, **same)


def _exact(amount: Decimal) -> Decimal:
    """A sum as the tables would hold it: SQLite adds floats."""
    return amount.quantize(Decimal("0.001"))


def _lines_of_use() -> QuerySet[OrderLine]:
    """The order lines that name the coupon of a use."""
    return OrderLine.objects.filter(order=OuterRef("order"), coupon=OuterRef("coupon"))
