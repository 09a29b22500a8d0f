"""What a run within a budget keeps to: what a use of each coupon brings and costs, and what is left of its limits.

It is decided once, when the run is planned, and kept with the run: what staff, history or the checkout change while
workers score would otherwise let lists of one run follow different limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from math import ceil
from typing import Any

from recommender.models import Campaign, CampaignSegment, Coupon, ModelVersion, Run, RunCoupon
from recommender.rules.funding import WHOLE
from recommender.services.categories import find_categories
from recommender.services.counters import Counted, read_counters
from recommender.services.estimates import estimate_uses, forecaster_of
from recommender.wording import gettext as _
from recommender.wording import sentence_of

MICRO = 1_000_000
#: What one pair may bring or cost at most, in whole units, stays this far below what an allocation takes.
MOST_OF_PAIR = 10**11
#: A return beyond this is a slip of the pen.
MOST_RETURN = Decimal(100_000)
#: As many as an allocation tells apart.
MOST_FLOORS = 64
NAMED = 3

#: Why a coupon is left out of a run within a budget.
COST_UNKNOWN, VALUE_UNKNOWN = "cost", "value"


class BudgetRefused(ValueError):
    """A budget, a return or an objective that a run cannot have. The message says why."""


@dataclass(frozen=True)
class BudgetTerms:
    """What the lists of a run keep to, in whole numbers.

    Attributes:
        coupon_ids: what is offered, by the shop's identifiers; coupons are numbered in this order.
        groups: which coupons a list holds one of: the number of the first of them. They are the same offer, or where
            lists have one coupon of a category, linked by offers and categories.
        level: how many uses come for each that scores add up to.
        value_per_use, cost_per_use: of each coupon, in units of the objective and of the currency. A cost that nothing
            depends on may be unknown: None.
        value_unit, cost_unit: how many whole units make one of the objective, and of the currency.
        cost_limit: of all lists together, in whole units; None without one.
        cost_limits, use_limits: of each coupon that has one; uses in millionths.
        of_campaign: whether the limit of all is what is left of the campaign's budget, not one that was asked for.
        left_out: coupons that are not offered because of what is not known of them, and what that is.
        lost_per_use: of each coupon what the shop loses by a use in a purchase that would have been made anyway, in the
            currency; empty unless incremental margin is the objective.
        taught_by: the campaigns that tell how many uses are such, by the shop's identifiers, and the chance that their
            shoppers were sent them.
        one_per_category: whether a list has at most one coupon of a category.
        categories: of each coupon that has one, where that counts.
        floor_segments, floor_uses: the names of the segments that are promised something, and how many uses.
        seller_coupons: of each seller who is promised places the numbers of the coupons that it funds.
        seller_floor_percent: so much of all places each of them is promised; None: nothing.
        places: of all lists.
    """

    coupon_ids: list[str]
    groups: list[int]
    level: float
    value_per_use: list[float]
    cost_per_use: list[float | None]
    value_unit: int
    cost_unit: int
    cost_limit: int | None
    cost_limits: dict[str, int]
    use_limits: dict[str, int]
    of_campaign: bool
    left_out: dict[str, str]
    lost_per_use: list[float] = field(default_factory=list)
    taught_by: dict[str, float] = field(default_factory=dict)
    one_per_category: bool = False
    categories: dict[str, str] = field(default_factory=dict)
    floor_segments: list[str] = field(default_factory=list)
    floor_uses: list[int] = field(default_factory=list)
    seller_coupons: dict[str, list[int]] = field(default_factory=dict)
    seller_floor_percent: float | None = None
    places: int = 0

    @classmethod
    def of(cls, run: Run) -> "BudgetTerms | None":
        """Those of a run; None where it is not within a budget."""
        return None if run.allocation_terms is None else cls(**run.allocation_terms)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def seller_floor(self) -> int:
        """How many places each seller is promised."""
        return places_promised(self.seller_floor_percent or 0, self.places)

    def in_whole_units(self, required_return: Decimal) -> float:
        """A return in the units of the objective and the currency, in whole units of both."""
        return float(required_return) * self.value_unit / self.cost_unit

    @property
    def costs_are_known(self) -> bool:
        return None not in self.cost_per_use


@dataclass(frozen=True)
class Budget:
    """What a run is to bring, within what.

    Attributes:
        objective: what lists bring the most of.
        amount: no more is expected to be given in discounts; None: what the campaign has left, if it has a budget.
        required_return: so much of the objective for each unit of discount, over all lists together.
    """

    objective: Run.Objective | None = None
    amount: Decimal | None = None
    required_return: Decimal | None = None

    def __post_init__(self) -> None:
        if self.amount is not None and not (self.amount.is_finite() and self.amount > 0):
            raise BudgetRefused(_("A budget is above 0, not %(budget)s.") % {"budget": self.amount})
        required = self.required_return
        if required is not None and not (required.is_finite() and 0 < required <= MOST_RETURN):
            raise BudgetRefused(
                _("A required return is above 0 and at most %(most)s, not %(return)s.")
                % {"most": MOST_RETURN, "return": required}
            )


#: Nothing is asked for: what the campaign and its coupons have left is kept to.
AS_IT_IS = Budget()


def left_of_campaign(campaign: Campaign) -> Decimal | None:
    """What is left of a campaign's budget; None if it has none."""
    if campaign.budget is None:
        return None
    spent = read_counters(coupons=(), campaigns=[campaign.pk]).campaigns[campaign.pk].spent
    return max(Decimal(0), campaign.budget - spent)


def find_floors(campaign: Campaign) -> list[CampaignSegment]:
    """The segments of a campaign that are promised so many uses."""
    floors = campaign.campaign_segments.filter(at_least_uses__isnull=False)
    return list(floors.select_related("segment").order_by("pk"))


def decide_terms(
    *,
    campaign: Campaign,
    coupon_ids: Sequence[str],
    version: ModelVersion,
    as_of: datetime,
    budget: Budget,
    floors: Sequence[CampaignSegment] = (),
    shoppers: int = 0,
    top: int = 0,
) -> BudgetTerms | None:
    """What a run keeps to. None where nothing limits it, its campaign has no rule of lists, and it is to bring
    redemptions: each list then has the likeliest coupons.

    What a use costs is what the coupon's own terms say, or past uses, or prices. A coupon of which none says is left
    out where its cost counts, and so is one of which it is not known what a use brings.

    Args:
        shoppers, top: how many lists there are, and how many coupons one may have.

    Raises:
        BudgetRefused: the campaign has less left than was asked for, or nothing, or of no coupon enough is known, or
            there are more floors than an allocation tells apart, or sellers are promised more than everything.
    """
    if len(floors) > MOST_FLOORS:
        raise BudgetRefused(
            _("At most %(most)s segments of a campaign can be promised uses, not %(count)s.")
            % {"most": MOST_FLOORS, "count": len(floors)}
        )
    coupons = list(Coupon.objects.filter(coupon_id__in=coupon_ids).order_by("coupon_id"))
    objective = budget.objective or Run.Objective.REDEMPTIONS
    left = left_of_campaign(campaign)
    if left is not None and budget.amount is not None and budget.amount > left:
        raise BudgetRefused(
            _("Campaign %(campaign)s has %(left)s of its budget left; %(budget)s is more.")
            % {"campaign": campaign.campaign_id, "left": _plain(left), "budget": _plain(budget.amount)}
        )
    amount = budget.amount if budget.amount is not None else left
    limited = any(coupon.budget is not None or coupon.total_limit is not None for coupon in coupons)
    within = amount is not None or budget.required_return is not None or limited
    within = within or campaign.one_per_category or bool(floors) or campaign.seller_floor_percent is not None
    if not within and objective == Run.Objective.REDEMPTIONS:
        return None
    if amount is not None and amount <= 0:
        raise BudgetRefused(
            _("Nothing is left of the budget of campaign %(campaign)s.") % {"campaign": campaign.campaign_id}
        )
    uses = estimate_uses(coupons=coupons, before=as_of)
    cost_counts = amount is not None or budget.required_return is not None
    left_out: dict[str, str] = {}
    for coupon, use in zip(coupons, uses, strict=True):
        if use.discount_per_use is None and (cost_counts or coupon.budget is not None):
            left_out[coupon.coupon_id] = COST_UNKNOWN
        elif _value_of(use, objective) is None:
            left_out[coupon.coupon_id] = VALUE_UNKNOWN
    known = [pair for pair in zip(coupons, uses, strict=True) if pair[0].coupon_id not in left_out]
    if not known:
        raise BudgetRefused(_say_nothing_known(left_out, objective))
    sellers = _find_sellers(campaign, [coupon for coupon, _use in known])
    counted = read_counters(coupons=[coupon.pk for coupon, _use in known], campaigns=())
    values = [float(_value_of(use, objective) or 0) for _coupon, use in known]
    costs = [None if use.discount_per_use is None else float(use.discount_per_use) for _coupon, use in known]
    level = forecaster_of(version=version, kind=campaign.kind).level
    cost_unit = _unit(costs, level)
    categories = find_categories(coupons=[coupon for coupon, _use in known]) if campaign.one_per_category else {}
    groups = _group([coupon for coupon, _use in known], categories)
    return BudgetTerms(
        coupon_ids=[coupon.coupon_id for coupon, _use in known],
        groups=groups,
        level=level,
        value_per_use=values,
        cost_per_use=costs,
        value_unit=_unit(values, level),
        cost_unit=cost_unit,
        cost_limit=None if amount is None else int(amount * cost_unit),
        cost_limits=_left_of_budgets(known, counted, cost_unit),
        use_limits={
            coupon.coupon_id: max(0, coupon.total_limit - counted.coupons[coupon.pk].uses) * MICRO
            for coupon, _use in known
            if coupon.total_limit is not None
        },
        of_campaign=budget.amount is None and amount is not None,
        left_out=left_out,
        lost_per_use=_lost_per_use(known) if objective == Run.Objective.INCREMENTAL_MARGIN else [],
        one_per_category=campaign.one_per_category,
        categories=categories,
        floor_segments=[floor.segment.name for floor in floors],
        floor_uses=[floor.at_least_uses or 0 for floor in floors],
        seller_coupons=sellers,
        seller_floor_percent=float(campaign.seller_floor_percent or 0) if sellers else None,
        places=shoppers * min(top, len(set(groups))),
    )


def places_promised(percent: float, places: int) -> int:
    """So much of all places, in whole ones; an unfinished one is a whole one."""
    return ceil(Decimal(str(percent)) * places / WHOLE)


def short_sellers(run: Run) -> dict[str, int]:
    """How many places sellers lack of those that they are promised, as the lists were allocated; who lacks most comes
    first, and who lacks none is left out."""
    terms = BudgetTerms.of(run)
    if terms is None or run.seller_places is None:
        return {}
    lacking = {seller: terms.seller_floor - places for seller, places in run.seller_places["sellers"].items()}
    return {
        seller: lacks for seller, lacks in sorted(lacking.items(), key=lambda each: (-each[1], each[0])) if lacks > 0
    }


def _find_sellers(campaign: Campaign, coupons: Sequence[Coupon]) -> dict[str, list[int]]:
    """The numbers of the coupons of each seller who funds any, where sellers are promised places.

    Raises:
        BudgetRefused: that is more than everything.
    """
    sellers: dict[str, list[int]] = {}
    percent = campaign.seller_floor_percent
    if percent is None:
        return sellers
    for number, coupon in enumerate(coupons):
        if coupon.funded_by:
            sellers.setdefault(coupon.funded_by, []).append(number)
    if percent * len(sellers) > WHOLE:
        raise BudgetRefused(
            _(
                "%(sellers)s sellers fund coupons of campaign %(campaign)s. %(percent)s percent of all places for each "
                "of them is more than all places."
            )
            % {"sellers": len(sellers), "campaign": campaign.campaign_id, "percent": _plain(percent)}
        )
    return dict(sorted(sellers.items()))


def amount_of(terms: BudgetTerms) -> Decimal | None:
    """The limit of all lists together, as money."""
    return None if terms.cost_limit is None else Decimal(terms.cost_limit) / terms.cost_unit


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def _lost_per_use(known: Sequence[tuple[Coupon, RunCoupon]]) -> list[float]:
    """What the shop pays of what coupons take off. It is known wherever the margin is."""
    return [float(use.discount_per_use or 0) * (WHOLE - coupon.percent_of_seller) / WHOLE for coupon, use in known]


def _value_of(use: RunCoupon, objective: str) -> Decimal | None:
    """What a use brings, of incremental margin one in a purchase that is new; None if that is not known."""
    match objective:
        case Run.Objective.REDEMPTIONS:
            return Decimal(1)
        case Run.Objective.REVENUE:
            return use.revenue_per_use
        case _:
            return use.margin_per_use


def _group(coupons: Sequence[Coupon], categories: Mapping[str, str]) -> list[int]:
    """Of each coupon the first that it is linked with, be it over others, by the same offer or category.

    One with neither stands for itself.
    """
    parent = list(range(len(coupons)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    first: dict[tuple[str, str], int] = {}
    for number, coupon in enumerate(coupons):
        links = {"offer": coupon.offer_id, "category": categories.get(coupon.coupon_id, "")}
        for link in links.items():
            if link[1]:
                one, other = sorted((root(first.setdefault(link, number)), root(number)))
                parent[other] = one
    return [root(number) for number in range(len(coupons))]


def _left_of_budgets(known: Sequence[tuple[Coupon, RunCoupon]], counted: Counted, cost_unit: int) -> dict[str, int]:
    return {
        coupon.coupon_id: int(max(Decimal(0), coupon.budget - counted.coupons[coupon.pk].spent) * cost_unit)
        for coupon, _use in known
        if coupon.budget is not None
    }


def _unit(amounts: Sequence[float | None], level: float) -> int:
    """Whole units of one: millionths, or fewer where amounts are so large that they would not fit."""
    most = max((abs(amount) * level for amount in amounts if amount is not None), default=0.0)
    unit = MICRO
    while unit > 1 and most * unit > MOST_OF_PAIR:
        unit //= 10
    return unit


def _say_nothing_known(left_out: Mapping[str, str], objective: Run.Objective) -> str:
    named = ", ".join(list(left_out)[:NAMED])
    if len(left_out) > NAMED:
        named = _("%(coupons)s and others") % {"coupons": named}
    if COST_UNKNOWN in left_out.values():
        return _(
            "Of no coupon it is known what a use costs, neither by its terms nor by past redemptions nor by prices, so "
            "nothing can be offered within a budget: %(coupons)s. Say what they take off, or compute without a budget."
        ) % {"coupons": named}
    return _(
        "Of no coupon it is known what a use brings in %(objective)s: %(coupons)s. Choose another objective, or bring "
        "in what is missing (costs of products, orders with coupons)."
    ) % {"objective": sentence_of(objective.label), "coupons": named}
