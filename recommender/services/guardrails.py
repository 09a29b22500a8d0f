"""What is checked of a run before it goes live, one function a rule.

A rule that is broken either forbids publishing, whatever anybody says, or asks for somebody's word.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Aggregate, Count, Exists, F, FloatField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Cast, Coalesce
from django.utils import timezone
from django.utils.formats import number_format

from recommender.models import (
    CampaignShopper,
    Coupon,
    Order,
    Publication,
    Recommendation,
    Redemption,
    Run,
    RunCoupon,
    Segment,
    Shopper,
)
from recommender.services.budgeting import short_sellers
from recommender.services.correction_jobs import say_being_corrected
from recommender.services.differences import Difference, compare_with_live
from recommender.services.segments import find_shoppers
from recommender.wording import gettext as _
from recommender.wording import ngettext

MODEL_FRESH = timedelta(days=30)
SNAPSHOT_FRESH = timedelta(days=7)
#: Of the live lists, from which on a run is thought to leave enough as it is.
LEAST_SHARE_KEPT = 0.05
NAMED = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule came to.

    Attributes:
        rule: the rule in words.
        broken: why it is not kept; empty where it is.
        forbids: whether breaking it forbids publishing.
    """

    rule: str
    broken: str
    forbids: bool = False

    @property
    def kept(self) -> bool:
        return not self.broken


class PublishingForbidden(ValueError):
    """A run breaks a rule that nobody may overrule. The message says which."""


Rule = Callable[[Run, datetime], Finding]


def check_guardrails(
    *, run: Run, moment: datetime | None = None, difference: Difference | None = None
) -> list[Finding]:
    """Check a run against every rule, as of the moment at which it is to go live.

    Args:
        moment: now if it is not given.
        difference: from what is live, if that was found out before.
    """
    moment = moment or timezone.now()
    findings = [rule(run, moment) for rule in (*FORBIDDING, *ASKING)]
    return [*findings, check_share_kept(difference or compare_with_live(run=run))]


def forbid_or_pass(*, run: Run, moment: datetime) -> None:
    """Do nothing with a run that may go live at the moment.

    Raises:
        PublishingForbidden: it breaks a rule that nobody may overrule.
    """
    broken = [finding.broken for finding in (rule(run, moment) for rule in FORBIDDING) if not finding.kept]
    if broken:
        raise PublishingForbidden(_("Run %(run)s cannot go live: %(reasons)s") % {"run": run.pk, "reasons": broken})


# Rules that forbid


def check_opted_out(run: Run, moment: datetime) -> Finding:
    count = _count_among(run, Shopper.objects.filter(opted_out=True))
    broken = ngettext(
        "%(count)s shopper of the lists has opted out.", "%(count)s shoppers of the lists have opted out.", count
    )
    return Finding(_("Nobody who opted out"), _counted(broken, count), forbids=True)


def check_held_out(run: Run, moment: datetime) -> Finding:
    held_out = CampaignShopper.objects.filter(
        campaign=run.campaign_id, group=CampaignShopper.Group.CONTROL, shopper=OuterRef("pk")
    )
    count = _count_among(run, Shopper.objects.filter(Exists(held_out)))
    broken = ngettext(
        "%(count)s shopper of the lists is held out.", "%(count)s shoppers of the lists are held out.", count
    )
    return Finding(_("Nobody who is held out"), _counted(broken, count), forbids=True)


def check_campaign(run: Run, moment: datetime) -> Finding:
    over = run.campaign.ends_at <= moment
    broken = _("The campaign ended on %(day)s.") % {"day": timezone.localdate(run.campaign.ends_at)}
    return Finding(_("The campaign is not over"), broken if over else "", forbids=True)


def check_corrected(run: Run, moment: datetime) -> Finding:
    return Finding(_("No correction under way"), say_being_corrected(run=run), forbids=True)


def check_audience(run: Run, moment: datetime) -> Finding:
    """Who is held out was not decided anew since: the run may have lists for shoppers who are by now."""
    assigned_at = run.campaign.assigned_at
    changed = assigned_at is not None and assigned_at > run.created_at
    broken = _("The audience of the campaign has changed since the run was planned: compute it again.")
    return Finding(_("For the audience of today"), broken if changed else "", forbids=True)


# Rules that ask for somebody's word


def check_coupons_hold(run: Run, moment: datetime) -> Finding:
    """Active, and open at some moment of what is left of the campaign."""
    opens = max(moment, run.campaign.starts_at)
    closed = _offered(run).filter(Q(active=False) | Q(ends_at__lte=opens) | Q(starts_at__gte=run.campaign.ends_at))
    return Finding(_("No coupon that is inactive or expired"), _named(_("Inactive or expired: %(coupons)s."), closed))


def check_shoppers_of_coupons(run: Run, moment: datetime) -> Finding:
    """Coupons of a segment on the lists of its shoppers only, those for a first order of those who never ordered."""
    lists = run.recommendations.offered().order_by()
    ordered = Order.objects.filter(shopper=OuterRef("shopper"), ordered_at__lt=moment)
    wrong = lists.filter(Exists(ordered), coupon__first_order_only=True).values("coupon")
    beyond = Q(pk__in=wrong)
    for segment in Segment.objects.filter(coupons__in=_offered(run).order_by()).distinct():
        belonging = find_shoppers(segment=segment, at=moment).filter(pk=OuterRef("shopper"))
        beyond |= Q(pk__in=lists.filter(~Exists(belonging), coupon__segment=segment).values("coupon"))
    return Finding(
        _("Coupons for certain shoppers on their lists only"),
        _named(_("On lists of shoppers whom they are not for: %(coupons)s."), _offered(run).filter(beyond)),
    )


def check_total_limits(run: Run, moment: datetime) -> Finding:
    """What was used and what is expected keep the total limit of each coupon."""
    beyond = _with_expectations(run).filter(total_limit__isnull=False, total_limit__lt=F("uses") + F("expected"))
    return Finding(
        _("No coupon beyond its limit"),
        _named(_("More uses are expected than the limit leaves: %(coupons)s."), beyond),
    )


def check_coupon_budgets(run: Run, moment: datetime) -> Finding:
    """What was taken off and what is expected to be keep the budget of each coupon."""
    beyond = _with_expectations(run).filter(budget__isnull=False, budget__lt=F("spent") + F("expected_discount"))
    return Finding(
        _("No coupon beyond its budget"),
        _named(_("Expected to cost more than the budget leaves: %(coupons)s."), beyond),
    )


def check_campaign_budget(run: Run, moment: datetime) -> Finding:
    rule = _("The campaign within its budget")
    budget = run.campaign.budget
    if budget is None:
        return Finding(rule, "")
    spent = Redemption.objects.filter(campaign=run.campaign_id).aggregate(spent=Sum("discount_amount", default=0))
    total = float(spent["spent"]) + _expected_discount(run)
    if total <= budget:
        return Finding(rule, "")
    facts = {"total": number_format(round(total, 2), 2), "budget": number_format(budget, 2)}
    return Finding(rule, _("Discounts given and expected come to %(total)s, the budget is %(budget)s.") % facts)


def check_run_budget(run: Run, moment: datetime) -> Finding:
    """What is expected to be given, as the lists are now, keeps the budget that they were made within."""
    rule = _("The run within its budget")
    if run.budget is None:
        return Finding(rule, "")
    expected = _expected_discount(run)
    if expected <= run.budget:
        return Finding(rule, "")
    facts = {"expected": number_format(round(expected, 2), 2), "budget": number_format(run.budget, 2)}
    return Finding(rule, _("Discounts of %(expected)s are expected, the run is to keep within %(budget)s.") % facts)


def check_floors(run: Run, moment: datetime) -> Finding:
    """The lists, as they were allocated, bring the uses that segments are promised."""
    names = (run.allocation_terms or {}).get("floor_segments", [])
    lacking = [
        f"{name} (−{number_format(short, 1)})"
        for name, short in zip(names, run.floor_shortages or [0] * len(names), strict=True)
        if short
    ]
    broken = _("Fewer uses are expected than segments are promised: %(segments)s.") % {"segments": ", ".join(lacking)}
    return Finding(_("Segments get the uses that they are promised"), broken if lacking else "")


def check_sellers(run: Run, moment: datetime) -> Finding:
    """The lists, as they were allocated, give each seller the places that it is promised."""
    rule = _("Sellers get the places that they are promised")
    short = short_sellers(run)
    if not short:
        return Finding(rule, "")
    named = ", ".join(f"{seller} (−{number_format(lacks)})" for seller, lacks in list(short.items())[:NAMED])
    if len(short) > NAMED:
        named = _("%(sellers)s and others") % {"sellers": named}
    broken = ngettext(
        "%(count)s seller gets fewer places than it is promised: %(sellers)s.",
        "%(count)s sellers get fewer places than they are promised: %(sellers)s.",
        len(short),
    )
    return Finding(rule, broken % {"count": number_format(len(short)), "sellers": named})


def check_same_offer(run: Run, moment: datetime) -> Finding:
    """No list holds the same offer twice, by the count that is kept with the estimates."""
    count = run.same_offer_lists
    broken = ngettext(
        "%(count)s list holds the same offer twice.", "%(count)s lists hold the same offer twice.", count or 0
    )
    rule = _("No two coupons of the same offer on a list")
    return Finding(rule, _not_counted() if count is None else _counted(broken, count))


def check_exclusive(run: Run, moment: datetime) -> Finding:
    """No list holds coupons of which a shopper must choose, by the count that is kept with the estimates."""
    count = run.exclusive_lists
    broken = ngettext(
        "%(count)s list holds several coupons for exactly the same that cannot be combined: the shopper must choose.",
        "%(count)s lists hold several coupons for exactly the same that cannot be combined: the shopper must choose.",
        count or 0,
    )
    rule = _("No two coupons for the same on a list that cannot be combined")
    return Finding(rule, _not_counted() if count is None else _counted(broken, count))


def check_other_campaigns(run: Run, moment: datetime) -> Finding:
    """No coupon is also on live lists of a campaign with another window, where it would hold longer or shorter."""
    window = Q(run__campaign__starts_at=run.campaign.starts_at, run__campaign__ends_at=run.campaign.ends_at)
    elsewhere = (
        RunCoupon.objects.filter(
            run__in=Publication.objects.on_show().values("run"),
            run__campaign__ends_at__gt=moment,
            shopper_count__gt=0,
        )
        .exclude(run__campaign=run.campaign_id)
        .exclude(window)
    )
    shared = _offered(run).filter(pk__in=elsewhere.values("coupon"))
    return Finding(
        _("No coupon on lists of another live campaign with another window"),
        _named(_("Also on live lists of a campaign with another window: %(coupons)s."), shared),
    )


def check_model_age(run: Run, moment: datetime) -> Finding:
    age = (moment - run.model_version.learned_until).days
    broken = ngettext(
        "What the model learned ended %(count)s day ago.", "What the model learned ended %(count)s days ago.", age
    )
    rule = _("The model learned within %(days)s days") % {"days": MODEL_FRESH.days}
    return Finding(rule, _counted(broken, age if age > MODEL_FRESH.days else 0))


def check_snapshot_age(run: Run, moment: datetime) -> Finding:
    rule = _("The data reach into the last %(days)s days") % {"days": SNAPSHOT_FRESH.days}
    until = run.snapshot.history_until
    if until is None:
        return Finding(rule, _("It is not known until when the data reach."))
    age = (moment - until).days
    broken = ngettext("The data ended %(count)s day ago.", "The data ended %(count)s days ago.", age)
    return Finding(rule, _counted(broken, age if age > SNAPSHOT_FRESH.days else 0))


def check_share_kept(difference: Difference) -> Finding:
    share = difference.share_kept
    broken = ""
    if share is not None and share < LEAST_SHARE_KEPT:
        percent = number_format(round(100 * share, 1), 1)
        broken = _("Only %(share)s %% of the live lists stay as they are.") % {"share": percent}
    return Finding(_("Not nearly every live list changes"), broken)


FORBIDDING: tuple[Rule, ...] = (
    check_opted_out,
    check_held_out,
    check_campaign,
    check_audience,
    check_corrected,
)
ASKING: tuple[Rule, ...] = (
    check_coupons_hold,
    check_shoppers_of_coupons,
    check_total_limits,
    check_coupon_budgets,
    check_campaign_budget,
    check_run_budget,
    check_floors,
    check_sellers,
    check_same_offer,
    check_exclusive,
    check_other_campaigns,
    check_model_age,
    check_snapshot_age,
)


# Shared


def _count_among(run: Run, shoppers: QuerySet[Shopper]) -> int:
    """How many of them have something on their list. An index on shopper and run serves."""
    return shoppers.filter(Exists(Recommendation.objects.offered().filter(run=run.pk, shopper=OuterRef("pk")))).count()


def _offered(run: Run) -> QuerySet[Coupon]:
    return Coupon.objects.filter(run_coupons__run=run.pk, run_coupons__shopper_count__gt=0).order_by("coupon_id")


def _with_expectations(run: Run) -> QuerySet[Coupon]:
    """The offered coupons with uses and discounts so far (``uses``, ``spent``) and expected ones."""
    return _offered(run).annotate(
        uses=_sum_redemptions(Count("pk")),
        spent=_sum_redemptions(Sum(Cast("discount_amount", FloatField()))),
        expected=F("run_coupons__expected_uses"),
        expected_discount=F("run_coupons__expected_uses") * Cast("run_coupons__discount_per_use", FloatField()),
    )


def _expected_discount(run: Run) -> float:
    """Of all coupons of which it is known what a use takes off."""
    per_use = F("expected_uses") * Cast("discount_per_use", FloatField())
    expected: float = run.run_coupons.aggregate(expected=Sum(per_use, default=0.0))["expected"]
    return expected


def _sum_redemptions(expression: Aggregate) -> Coalesce:
    redemptions = Redemption.objects.filter(coupon=OuterRef("pk")).order_by().values("coupon")
    summed = redemptions.annotate(sum=expression).values("sum")
    return Coalesce(Subquery(summed, output_field=FloatField()), 0.0, output_field=FloatField())


def _not_counted() -> str:
    return _("Not counted: the run was estimated before this was checked.")


def _counted(text: str, count: int) -> str:
    return text % {"count": number_format(count, force_grouping=True)} if count else ""


def _named(text: str, coupons: QuerySet[Coupon]) -> str:
    """The text with the first few coupons; empty where there is none."""
    found = list(coupons[: NAMED + 1])
    if not found:
        return ""
    names = ", ".join(str(coupon) for coupon in found[:NAMED])
    return text % {"coupons": _("%(coupons)s and others") % {"coupons": names} if len(found) > NAMED else names}
