"""What a shopper is offered at this moment.

Lists were computed before they were published, so whatever may have changed since is looked at again whenever they are
served: what is no longer to be had is left out, and the next ranks fill the places. How often coupons were used and
what that cost, what baskets hold included, is read of the counters; redemptions are never added up.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

from django.db.models import (
    Case,
    CharField,
    DateTimeField,
    Exists,
    Expression,
    F,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce

from recommender.compiled import Compiled
from recommender.models import (
    Batch,
    Campaign,
    CampaignShopper,
    DevicePart,
    Event,
    Experiment,
    ExperimentExposure,
    GroupBuyMember,
    Order,
    ProjectStage,
    Recommendation,
    Reservation,
    Run,
    RunCorrection,
    RunCoupon,
    SaleEvent,
    Segment,
    Shopper,
)
from recommender.models.campaigns import campaign_is_live
from recommender.models.coupons import coupon_is_open
from recommender.services.contact import ContactLimit, leave_out_contacted
from recommender.services.counters import SHOPPER_LIMITS, Span, read_counters, uses_ever, uses_of_shoppers
from recommender.services.fitting import OfDevices
from recommender.services.holdout import is_held_out
from recommender.services.projects import OfProjects
from recommender.services.segments import find_shoppers
from recommender.services.split import Exposure, choose_arm
from recommender.services.stock import Stock

#: For so long an offer that a shopper dismissed is not offered to them, in whatever guise.
DISMISSED_FOR = timedelta(days=90)


class CampaignUnknown(LookupError):
    """No campaign has this identifier."""


@dataclass(frozen=True, slots=True)
class ServedCoupon:
    """A coupon on a shopper's list. ``reasons`` are kinds and facts, for :mod:`recommender.reasons` to word.

    ``group_size`` and ``group_hours`` are those of a coupon that holds once so many shoppers have joined in so many
    hours; None for one that holds for each alone.
    """

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
    group_size: int | None
    group_hours: int | None
    reasons: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Offers:
    """A shopper's list. It is not ``personal`` if nothing on show was computed for this shopper: then it is what is
    best for the shoppers of the live campaigns, and has no reasons.

    ``exposures`` are the experiments that decided what stands on it, where that is not on record yet: whoever shows the
    list hands it to :func:`recommender.services.exposures.record_exposures`.
    """

    shopper_id: str
    personal: bool
    coupons: list[ServedCoupon] = field(default_factory=list)
    exposures: list[Exposure] = field(default_factory=list)


def offers_of(*, shopper_id: str, campaign_id: str | None = None, at: datetime, limit: int = 10) -> Offers:
    """What one shopper is offered; see :func:`offers_of_many`."""
    return offers_of_many(shopper_ids=[shopper_id], campaign_id=campaign_id, at=at, limit=limit)[0]


def offers_of_many(
    *, shopper_ids: Sequence[str], campaign_id: str | None = None, at: datetime, limit: int = 10
) -> list[Offers]:
    """The published coupons that hold for each shopper at a moment, ranked from 1, in the order of ``shopper_ids``.

    Where an experiment runs in a campaign, a shopper's list is that of their arm's run, and no other's.

    All live campaigns are merged, what staff put first before the rest, and then the best score first. With
    ``campaign_id`` only that one counts, in its published order, and it is empty while the campaign does not run. An
    offer is on the list once.

    Left out is what staff took out, what is not open, what is used up by this shopper (ever, or today, this week or
    month) or by all, what its own, its campaign's or its sale event's budget no longer pays for, what a sale event does
    not show yet or no longer, what is for a segment that the shopper is not in, for a first order that they made or for
    devices that they do not own, what is of a project that they have finished or no longer good before it could be
    used, what the shopper dismissed, and campaigns that they are held out of.
    Whoever opted out is offered nothing.

    A shopper for whom nothing on show was computed, known to the shop or not, gets the live campaigns that are for
    everyone, their coupons by the mean score over all shoppers; those of runs within a budget, which chose whom the
    money is for, are not for others. The digest that holds out says also of them who gets nothing; and so does a run's
    limit of contacts, for whom it left out.

    Raises:
        CampaignUnknown: no campaign has this identifier.
    """
    if len(shopper_ids) == 1 and (rows := _read_personal(shopper_ids[0], campaign_id, at)):
        rows, exposures = _of_own_arms(rows)
        offered = _still_offered(rows, at)
        if offered:
            return [Offers(shopper_ids[0], True, _ranked(offered, limit), exposures)]
    return _offers_of_many(shopper_ids, campaign_id, at, limit)


def _offers_of_many(shopper_ids: Sequence[str], campaign_id: str | None, at: datetime, limit: int) -> list[Offers]:
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
    lists: dict[int, list[Row]] = defaultdict(list)
    exposures: dict[int, list[Exposure]] = defaultdict(list)
    if addressable:
        rows, exposed = _of_own_arms(
            list(_personal(at, at - DISMISSED_FOR, campaign_id).filter(shopper__in=addressable))
        )
        for exposure in exposed:
            exposures[exposure.shopper].append(exposure)
        for row in _still_offered(rows, at):
            lists[row["shopper"]].append(row)
    without = addressable - lists.keys()
    had_a_list = _had_a_list(without, campaigns)
    for_everyone = _ForEveryone(campaigns, at, without - had_a_list)
    offers = []
    for shopper_id in shopper_ids:
        shopper = shoppers.get(shopper_id)
        if shopper is not None and (shopper.opted_out or shopper.pk in lists or shopper.pk in had_a_list):
            ranked = _ranked(lists.get(shopper.pk, ()), limit)
            offers.append(Offers(shopper_id, True, ranked, exposures.get(shopper.pk, [])))
        else:
            found = for_everyone.rows_for(shopper_id, None if shopper is None else shopper.pk)
            offers.append(Offers(shopper_id, False, _ranked(found, limit)))
    return offers


#: A coupon of a list, as the query has it.
Row = Mapping[str, Any]

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
    "group_size",
    "group_hours",
)
_SERVED_COLUMNS = (
    "run__campaign__campaign_id",
    "run__campaign__name",
    "run__campaign__ends_at",
    *(f"coupon__{column}" for column in _COUPON_COLUMNS),
)
_served_values = itemgetter(*_SERVED_COLUMNS)
#: What :class:`_Uses` looks at.
_LIMITING_COLUMNS = (
    "coupon",
    "coupon__total_limit",
    "coupon__budget",
    *(f"coupon__{column}" for column in SHOPPER_LIMITS.values()),
    "coupon__first_order_only",
    "coupon__segment",
    "coupon__counter__uses",
    "coupon__counter__spent",
    "run__campaign",
    "run__campaign__budget",
    "run__campaign__counter__spent",
    "run__campaign__sale_event",
)
#: What says for whom lists for everyone are not.
_DRAWING_COLUMNS = (
    *("run", "run__as_of", "run__contact_limit"),
    *("run__campaign__holdout_percent", "run__campaign__one_per_category"),
)
_PERIODS = {f"coupon__{column}": span for span, column in SHOPPER_LIMITS.items() if span != Span.EVER}


# Lists that were computed for the shopper


def _personal(
    at: datetime | Expression, dismissed_since: datetime | Expression, campaign: str | Expression | None = None
) -> QuerySet[Recommendation, dict[str, Any]]:
    """What is on show for shoppers of one campaign or of all, and what of it they dismissed or are held out of."""
    held_out = CampaignShopper.objects.filter(
        campaign=OuterRef("run__campaign"), shopper=OuterRef("shopper"), group=CampaignShopper.Group.CONTROL
    )
    dismissed = _dismissals(dismissed_since).filter(
        Q(coupon=OuterRef("coupon")) | (~Q(coupon__offer_id="") & Q(coupon__offer_id=OuterRef("coupon__offer_id"))),
        shopper=OuterRef("shopper"),
    )
    # Asked once a query, so that rows cost nothing more where no experiment runs.
    any_runs = Exists(Experiment.objects.running())
    running = Experiment.objects.running().filter(campaign=OuterRef("run__campaign"))
    exposed = ExperimentExposure.objects.filter(
        experiment__campaign=OuterRef("run__campaign"),
        experiment__state=Experiment.State.RUNNING,
        shopper=OuterRef("shopper"),
    )
    offered = (
        Recommendation.objects.live()
        .filter(campaign_is_live(at, "run__campaign__"), coupon_is_open(at, "coupon__"))
        # Told of each row rather than left out: a condition PostgreSQL may join, and read all that anybody dismissed.
        .annotate(
            shopper_uses=_shopper_uses(),
            held_out=Subquery(held_out.values("pk")[:1]),
            dismissed=Subquery(dismissed.values("pk")[:1]),
            split=Case(When(any_runs, then=Subquery(running.values("split")[:1]))),
            exposed=Case(When(any_runs, then=Subquery(exposed.values("pk")[:1]))),
            **_known_of_shop(),
        )
        .values(
            *("shopper", "shopper__shopper_id", "run", "score", "reasons", "shopper_uses"),
            *("held_out", "dismissed", "split", "exposed", *_KNOWN_OF_SHOP),
            *_SERVED_COLUMNS,
            *_LIMITING_COLUMNS,
        )
    )
    if campaign is None:
        return offered.order_by(*_MERGED)
    return offered.filter(run__campaign__campaign_id=campaign).order_by("rank")


def _of_shopper(shopper_id: Expression, **named: Any) -> QuerySet[Recommendation, dict[str, Any]]:
    return _personal(**named).filter(shopper__shopper_id=shopper_id, shopper__opted_out=False)


_MOMENTS = {"at": DateTimeField(), "dismissed_since": DateTimeField()}
_read_all = Compiled(_of_shopper, shopper_id=CharField(), **_MOMENTS)
_read_one_campaign = Compiled(_of_shopper, shopper_id=CharField(), campaign=CharField(), **_MOMENTS)


def _read_personal(shopper_id: str, campaign_id: str | None, at: datetime) -> list[Row]:
    """The list of a shopper who may be offered something; empty if there is none."""
    values = {"shopper_id": shopper_id, "at": at, "dismissed_since": at - DISMISSED_FOR}
    return _read_all(**values) if campaign_id is None else _read_one_campaign(**values, campaign=campaign_id)


def _of_own_arms(rows: list[Row]) -> tuple[list[Row], list[Exposure]]:
    """Of campaigns with an experiment the rows of each shopper's own arm, and whose arms are not on record yet.

    A shopper counts as served by their arm although nothing of it is left for them, as they do in the other arms.
    """
    if all(row["split"] is None for row in rows):
        return rows, []
    kept, exposures = [], {}
    for row in rows:
        if row["split"] is not None:
            arm = choose_arm(row["split"], row["shopper__shopper_id"])
            if row["exposed"] is None and row["held_out"] is None:
                exposures[arm.experiment, row["shopper"]] = Exposure(arm.experiment, arm.arm, row["shopper"])
            if row["run"] != arm.run:
                continue
        kept.append(row)
    return kept, list(exposures.values())


def _still_offered(rows: Sequence[Row], at: datetime) -> list[Row]:
    left = [row for row in rows if row["held_out"] is None and row["dismissed"] is None]
    may_use = _Uses(left, {row["shopper"] for row in left}, at).may_use
    return [row for row in left if may_use(row, row["shopper"], row["shopper_uses"])]


#: What in the shop makes something of its kind hold: what of it there is.
_KNOWN_OF_SHOP: Mapping[str, type[Model]] = {
    "knows_devices": DevicePart,
    "knows_batches": Batch,
    "knows_projects": ProjectStage,
}


def _known_of_shop() -> dict[str, Exists]:
    """Whether anything in the shop is for devices, in stock in batches, and of projects: told of each row, so that a
    shop without pays for nothing more."""
    return {name: Exists(model._default_manager.all()) for name, model in _KNOWN_OF_SHOP.items()}


def _shopper_uses() -> Expression:
    """How often the shopper ever used the coupon, where that is limited."""
    ever = uses_ever(coupon="coupon", shopper=OuterRef("shopper"))
    return Case(When(coupon__per_shopper_limit__isnull=False, then=ever), default=Value(0))


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
            self._groups = _groups_of_lists(
                {row["run"] for row in self._read if row["run__campaign__one_per_category"]}
            )
            self._read_shoppers()
        listed: set[tuple[int, int]] = set()
        for row in self._read:
            offer = row["coupon__offer_id"]
            held_out = is_held_out(
                campaign_id=row["run__campaign__campaign_id"],
                shopper_id=shopper_id,
                percent=row["run__campaign__holdout_percent"],
            )
            asked = (shopper_key, row["run__campaign"])
            if held_out or asked in self._held_out or asked in self._sent_enough:
                continue
            if (shopper_key, row["coupon"], "") in self._dismissed:
                continue
            if offer and (shopper_key, None, offer) in self._dismissed:
                continue
            group = self._groups.get((row["run"], row["coupon__coupon_id"]))
            if group in listed:
                continue
            if self._uses.may_use(row, shopper_key, self._ever.get((row["coupon"], shopper_key, Span.EVER), 0)):
                if group is not None:
                    listed.add(group)
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
                coupon_is_open(self._at, "coupon__"),
                mean_score__isnull=False,
                run__publications__ended_at__isnull=True,
                run__publications__isnull=False,
                run__publications__arm__isnull=True,  # nobody of these is in an experiment
                run__budget__isnull=True,  # whoever was allocated no money gets none
                run__required_return__isnull=True,
                run__campaign__in=for_everyone,
            )
            .annotate(
                score=F("mean_score"),
                correction=Coalesce(Subquery(latest), Value(str(RunCorrection.Kind.INCLUDE))),
                **_known_of_shop(),
            )
            .exclude(correction=RunCorrection.Kind.EXCLUDE)
            .order_by("-mean_score", "coupon__coupon_id")
            .values(*("score", *_DRAWING_COLUMNS, *_KNOWN_OF_SHOP), *_SERVED_COLUMNS, *_LIMITING_COLUMNS)
        )

    def _read_shoppers(self) -> None:
        """What these shoppers did and may not get; of those whom the shop does not know there is nothing to read."""
        keys = self._shopper_keys
        self._held_out: set[tuple[int | None, int]] = set()
        self._sent_enough: set[tuple[int | None, int]] = set()
        self._dismissed: set[tuple[int | None, int | None, str]] = set()
        self._uses = _Uses(self._read or [], keys, self._at)
        self._ever: Mapping[tuple[int, int | None, Span], int] = {}
        if not keys or not self._read:
            return
        held_out = CampaignShopper.objects.filter(
            shopper__in=keys,
            campaign__in={row["run__campaign"] for row in self._read},
            group=CampaignShopper.Group.CONTROL,
        )
        self._held_out.update(held_out.values_list("shopper_id", "campaign_id"))
        self._find_sent_enough()
        dismissals = _dismissals(self._at - DISMISSED_FOR).filter(shopper__in=keys)
        for shopper, coupon, offer in dismissals.values_list("shopper_id", "coupon_id", "coupon__offer_id"):
            self._dismissed.add((shopper, coupon, ""))
            if offer:
                self._dismissed.add((shopper, None, offer))
        limited = {row["coupon"] for row in self._read if row["coupon__per_shopper_limit"] is not None}
        self._ever = uses_of_shoppers(coupons=limited, shoppers=keys, spans=[Span.EVER], at=self._at)

    def _find_sent_enough(self) -> None:
        """Of runs with a limit of contacts, whom they left out for it: these have no list because they get none."""
        for row in {row["run"]: row for row in self._read or []}.values():
            limit = ContactLimit.kept(row["run__contact_limit"])
            if limit is not None:
                known, campaign_key = Shopper.objects.filter(pk__in=self._shopper_keys), row["run__campaign"]
                allowed = leave_out_contacted(
                    shoppers=known, campaign_key=campaign_key, limit=limit, at=row["run__as_of"]
                )
                left_out = self._shopper_keys - set(allowed.values_list("pk", flat=True))
                self._sent_enough.update((key, campaign_key) for key in left_out)


def _groups_of_lists(run_keys: set[int]) -> dict[tuple[int, str], tuple[int, int]]:
    """Of runs whose lists have one coupon of a category: by run and coupon, the run and the group of which that is."""
    if not run_keys:
        return {}
    runs = Run.objects.filter(pk__in=run_keys, allocation_terms__one_per_category=True)
    found = runs.values_list("pk", "allocation_terms__coupon_ids", "allocation_terms__groups")
    return {
        (key, coupon_id): (key, group)
        for key, coupon_ids, groups in found
        for coupon_id, group in zip(coupon_ids, groups, strict=True)
    }


# What holds


class _Uses:
    """Whether shoppers may still use coupons of lists. What only some coupons ask for is read when one is there."""

    def __init__(self, rows: Sequence[Row], shoppers: Iterable[int], at: datetime) -> None:
        self._at = at
        self._shoppers = set(shoppers)
        self._read_missing_counters(rows)
        limited = {name: {row["coupon"] for row in rows if row[name] is not None} for name in _PERIODS}
        self._in_period: Mapping[tuple[int, int | None, Span], int] = {}
        if spans := [_PERIODS[name] for name, coupons in limited.items() if coupons]:
            self._in_period = uses_of_shoppers(
                coupons=set.union(*limited.values()), shoppers=self._shoppers, spans=spans, at=at
            )
        segments = {row["coupon__segment"] for row in rows} - {None}
        self._members = self._find_members(segments) if segments else {}
        self._ordered = who_ordered(self._shoppers) if any(row["coupon__first_order_only"] for row in rows) else set()
        coupons = {row["coupon"] for row in rows}
        knows_devices, knows_batches, knows_projects = (any(row[known] for row in rows) for known in _KNOWN_OF_SHOP)
        self._devices = OfDevices(coupons, self._shoppers, at) if knows_devices else None
        self._stock = Stock(coupons, at) if knows_batches else None
        self._projects = OfProjects(coupons, self._shoppers, at) if knows_projects else None
        self._kept = self._find_kept({row["coupon"] for row in rows if row["coupon__group_size"] is not None})
        events = {row["run__campaign__sale_event"] for row in rows} - {None}
        self._events = self._find_events_on_show(events) if events else set()

    def may_use(self, row: Row, shopper: int | None, ever: int) -> bool:
        """Whether uses and budgets are left of a coupon for a shopper, and it is for them. ``shopper`` is None for
        somebody whom the shop does not know; ``ever`` is how often they used it."""
        return (
            self._is_left(row, shopper)
            and self._is_left_to(row, shopper, ever)
            and self._is_for(row, shopper)
            and (self._stock is None or self._stock.lasts(row["coupon"], self._at, row["coupon__ends_at"]))
        )

    def _is_left(self, row: Row, shopper: int | None) -> bool:
        coupon, limit, budget = row["coupon"], row["coupon__total_limit"], row["coupon__budget"]
        uses, spent = self._counters.get(coupon) or (row["coupon__counter__uses"], row["coupon__counter__spent"])
        if limit is not None and uses - ((coupon, shopper) in self._kept) >= limit:
            return False
        if budget is not None and spent >= budget:
            return False
        event = row["run__campaign__sale_event"]
        if event is not None and event not in self._events:
            return False
        campaign, budget = row["run__campaign"], row["run__campaign__budget"]
        return budget is None or self._spent.get(campaign, row["run__campaign__counter__spent"]) < budget

    def _is_left_to(self, row: Row, shopper: int | None, ever: int) -> bool:
        limit = row["coupon__per_shopper_limit"]
        return (limit is None or ever < limit) and all(
            row[name] is None or self._in_period.get((row["coupon"], shopper, span), 0) < row[name]
            for name, span in _PERIODS.items()
        )

    def _is_for(self, row: Row, shopper: int | None) -> bool:
        if row["coupon__segment"] is not None and shopper not in self._members[row["coupon__segment"]]:
            return False
        for rule in (self._devices, self._projects):
            if rule is not None and not rule.may_have(row["coupon"], shopper):
                return False
        return not (row["coupon__first_order_only"] and shopper in self._ordered)

    def _read_missing_counters(self, rows: Sequence[Row]) -> None:
        """Publishing makes the counters; of coupons that no publication of this release showed they are counted."""
        limits = ("coupon__total_limit", "coupon__budget")
        coupons = {
            row["coupon"]
            for row in rows
            if row["coupon__counter__uses"] is None and any(row[name] is not None for name in limits)
        }
        campaigns = {
            row["run__campaign"]
            for row in rows
            if row["run__campaign__counter__spent"] is None and row["run__campaign__budget"] is not None
        }
        self._counters: dict[int, tuple[int, Decimal]] = {}
        self._spent: dict[int, Decimal] = {}
        if coupons or campaigns:
            counted = read_counters(coupons=coupons, campaigns=campaigns)
            self._counters = {key: (counter.uses, counter.spent) for key, counter in counted.coupons.items()}
            self._spent = {key: counter.spent for key, counter in counted.campaigns.items()}

    def _find_members(self, segments: set[int]) -> dict[int, set[int | None]]:
        found = Segment.objects.in_bulk(segments)
        return {
            key: set(find_shoppers(segment=found[key], at=self._at).filter(self._among()).values_list("pk", flat=True))
            for key in segments
        }

    def _among(self) -> Q:
        # Of one shopper PostgreSQL adds up that shopper's rows; of several it adds up everybody's first.
        return Q(pk=next(iter(self._shoppers))) if len(self._shoppers) == 1 else Q(pk__in=self._shoppers)

    def _find_events_on_show(self, events: set[int]) -> set[int]:
        """Those that are warming up or on, with something left of their budget. What comes of it by the hour is for the
        checkout alone: who looks now may pay in the next."""
        found = SaleEvent.objects.filter(pk__in=events, warm_up_at__lte=self._at, ends_at__gt=self._at)
        spent_up = Q(budget__isnull=False, counter__spent__gte=F("budget"))
        return set(found.exclude(spent_up).values_list("pk", flat=True))

    def _find_kept(self, coupons: set[int]) -> set[tuple[int, int | None]]:
        """For whom a group keeps a use of a coupon: it is counted, and theirs."""
        if not coupons or not self._shoppers:
            return set()
        members = GroupBuyMember.objects.filter(shopper__in=self._shoppers, group__coupon__in=coupons, held_uses__gt=0)
        return set(members.values_list("group__coupon_id", "shopper_id"))


def who_ordered(shoppers: Iterable[int]) -> set[int | None]:
    """Those of some shoppers who ordered before. Orders that were confirmed here count although their lines were not
    loaded yet."""
    keys = list(shoppers)
    confirmed = Reservation.objects.filter(shopper__in=keys, state=Reservation.State.CONFIRMED)
    orders = Order.objects.filter(shopper__in=keys)
    return {
        *orders.order_by().values_list("shopper_id", flat=True).distinct(),
        *confirmed.values_list("shopper_id", flat=True),
    }


def _dismissals(since: datetime | Expression) -> QuerySet[Event]:
    return Event.objects.filter(kind=Event.Kind.DISMISS, coupon__isnull=False, occurred_at__gt=since)


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
        # By place, which is faster than by name: the columns are those of the class, in its order.
        values: tuple[Any, ...] = (len(served) + 1, row["score"], *_served_values(row), row.get("reasons", []))
        served.append(ServedCoupon(*values))
    return served
