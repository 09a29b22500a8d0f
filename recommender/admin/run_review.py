"""What the page of a run shows for its review."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.db.models import F
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recommender.admin.base import change_url, changelist_url, link_to
from recommender.admin.figures import count_of, money_of, percent_of, uses_of
from recommender.admin.input_drift import describe_run_inputs
from recommender.admin.off_policy import describe_off_policy
from recommender.admin.run_budget import describe_budget
from recommender.admin.summed_up import Shown, show_figures
from recommender.models import Recommendation, Run, RunCorrection, RunCoupon, RunShard, Shop
from recommender.services.summaries import Checks as RunChecked
from recommender.services.summaries import RunChecks

if TYPE_CHECKING:
    from recommender.services.differences import CouponChange, Difference
    from recommender.services.estimates import Amount, RunAmounts
    from recommender.services.guardrails import Finding

COUPONS_SHOWN = 20
CORRECTIONS_SHOWN = 20
SHARDS_SHOWN = 20
UNDER_REVIEW = (Run.State.DRAFTED, Run.State.APPROVED)


@dataclass(frozen=True)
class Checks:
    """What was found out about a run against what is live, when, and the job that finds it out anew, if one does."""

    difference: "Difference"
    findings: "list[Finding]"
    made_at: datetime
    job_url: str


def describe_review(request: HttpRequest, run: Run) -> dict[str, Any]:
    """What the template of a run's review needs."""
    from recommender.services.estimates import sum_amounts

    currency, amounts = Shop.current().currency, sum_amounts(run=run)
    under_review = run.state in UNDER_REVIEW
    job = run.find_correction_job() if under_review else None
    shown = show_figures(RunChecks(run), anew="check" in request.GET) if under_review else None
    checks = shown and read_checks(shown)
    may_see_inputs = request.user.has_perms(["recommender.view_runinput", "recommender.view_modelversion"])
    may_correct = under_review and job is None and request.user.has_perm("recommender.review_run")
    return {
        "run": run,
        "correction_job": job,
        "correction_job_url": change_url(job) if job is not None else None,
        "failed_shards": _describe_failed_shards(run) if run.state == Run.State.COMPUTING else None,
        "shards_url": changelist_url(RunShard, {"run__id__exact": run.pk, "state__exact": RunShard.State.FAILED}),
        "tiles": _describe_amounts(run, amounts, currency),
        "within": describe_budget(run, amounts.discount.expected, currency),
        "budget_url": reverse("admin:recommender_run_budget", args=[run.pk]),
        "coupons": _describe_coupons(run, currency),
        "coupons_shown": COUPONS_SHOWN,
        "coupons_url": changelist_url(RunCoupon, {"run__id__exact": run.pk}),
        "lists_url": changelist_url(Recommendation, {"run": run.pk}),
        "campaign_url": change_url(run.campaign),
        "scores": _describe_scores(run),
        "inputs": describe_run_inputs(run) if may_see_inputs else None,
        "would_bring": describe_off_policy(run) if under_review else None,
        "shown": shown,
        "checks": checks,
        **(_describe_checks(checks) if checks else {}),
        "corrections": _describe_corrections(run),
        "corrections_url": changelist_url(RunCorrection, {"run__id__exact": run.pk}),
        "comments": list(run.comments.select_related("written_by")),
        "may_correct": may_correct,
        "may_comment": request.user.has_perm("recommender.add_runcomment"),
        "may_see_shoppers": request.user.has_perm("recommender.view_shopper"),
        "correct_url": reverse("admin:recommender_run_correct", args=[run.pk]),
        "comment_url": reverse("admin:recommender_run_comment", args=[run.pk]),
        "find_shopper_url": reverse("admin:recommender_run_find_shopper", args=[run.pk]),
        "sample_url": reverse("admin:recommender_run_sample", args=[run.pk]),
    }


def _describe_failed_shards(run: Run) -> list[dict[str, object]]:
    """The first shards that could not be scored: whom they are of, and why not."""
    failed = run.shards.filter(state=RunShard.State.FAILED).order_by("number")
    return [
        {"shard": shard, "first": shard.shopper_ids[0], "last": shard.shopper_ids[-1], "url": change_url(shard)}
        for shard in failed[:SHARDS_SHOWN]
    ]


def read_checks(shown: Shown[RunChecked]) -> Checks | None:
    """The guardrails and the difference from what is live, in the reader's language; None while they are found out."""
    if shown.content is None:
        return None
    content = shown.content
    return Checks(
        content.difference, content.findings_for_reader(), shown.made_at or timezone.localtime(), shown.job_url
    )


def describe_difference(difference: "Difference") -> list[tuple[str, object]]:
    """What changes for how many shoppers, as names and values."""
    if difference.live is None:
        return [(_("Live now"), _("nothing")), (_("Shoppers who get a list"), count_of(difference.new))]
    return [
        (_("Live now"), difference.live.run),
        (_("Shoppers whose coupons stay the same"), count_of(difference.kept)),
        (_("Shoppers whose coupons change"), count_of(difference.changed)),
        (_("Shoppers who get a list and have none now"), count_of(difference.new)),
        (_("Shoppers who have a list and lose it"), count_of(difference.lost)),
    ]


def describe_change(change: "CouponChange") -> str:
    """How many more or fewer shoppers a coupon is offered to."""
    sign = "+" if change.change > 0 else "−"
    return _("%(change)s, to %(after)s") % {
        "change": sign + count_of(abs(change.change)),
        "after": count_of(change.after),
    }


def _describe_checks(checks: Checks) -> dict[str, Any]:
    difference = checks.difference
    return {
        "difference": describe_difference(difference),
        "gaining": [(change.coupon, describe_change(change)) for change in difference.gaining],
        "losing": [(change.coupon, describe_change(change)) for change in difference.losing],
    }


def _describe_amounts(run: Run, amounts: "RunAmounts", currency: str) -> list[dict[str, object]]:
    return [
        {
            "name": _("Shoppers covered"),
            "figure": count_of(run.shopper_count),
            "note": ngettext("%(count)s recommendation", "%(count)s recommendations", run.recommendation_count)
            % {"count": count_of(run.recommendation_count)},
        },
        _describe_uses(run),
        _describe_amount(_("Discount cost"), amounts.discount, currency),
        _describe_amount(_("Revenue"), amounts.revenue, currency),
        # A margin that leaves some coupons out would be a guess at the whole.
        _describe_amount(_("Margin"), amounts.margin, currency, whole=True),
    ]


def _describe_uses(run: Run) -> dict[str, object]:
    if run.expected_redemptions is None:
        return {"name": _("Expected redemptions"), "figure": _("unknown"), "note": ""}
    note = ""
    if run.expected_low is not None and run.expected_high is not None:
        note = _("90 of 100 times %(low)s to %(high)s") % {
            "low": count_of(run.expected_low),
            "high": count_of(run.expected_high),
        }
    return {"name": _("Expected redemptions"), "figure": uses_of(run.expected_redemptions), "note": note}


def _describe_amount(name: str, amount: "Amount", currency: str, *, whole: bool = False) -> dict[str, object]:
    missing = ngettext("not known of %(count)s coupon", "not known of %(count)s coupons", amount.coupons_without) % {
        "count": count_of(amount.coupons_without)
    }
    if amount.expected is None or (whole and amount.coupons_without):
        return {"name": name, "figure": _("unknown"), "note": missing if amount.coupons_without else ""}
    notes = []
    if amount.low is not None and amount.high is not None:
        notes.append(
            _("90 of 100 times %(low)s to %(high)s")
            % {"low": money_of(amount.low, currency), "high": money_of(amount.high, currency)}
        )
    if amount.coupons_without:
        notes.append(missing)
    return {"name": name, "figure": money_of(amount.expected, currency), "note": "; ".join(notes)}


def _describe_coupons(run: Run, currency: str) -> list[dict[str, Any]]:
    """The coupons that are offered most often."""
    rows = (
        run.run_coupons.filter(shopper_count__gt=0)
        .select_related("coupon")
        .order_by("-shopper_count", "coupon")[:COUPONS_SHOWN]
    )
    return [
        {
            "link": link_to(row.coupon),
            "coupon_id": row.coupon.coupon_id,
            "shoppers": count_of(row.shopper_count),
            "uses": uses_of(row.expected_uses),
            "discount": _per_use(row.discount_per_use, currency),
            "discount_basis": basis_in_words(row.discount_basis, row.discount_count),
            "revenue": _per_use(row.revenue_per_use, currency),
            "revenue_basis": basis_in_words(row.spend_basis, row.spend_count),
            "margin": _per_use(row.margin_per_use, currency),
        }
        for row in rows
    ]


def _per_use(amount: object, currency: str) -> str:
    return _("unknown") if amount is None else money_of(float(str(amount)), currency)


def basis_in_words(basis: str, count: int) -> str:
    """What an amount rests on, and on how many redemptions."""
    if basis == RunCoupon.Basis.UNKNOWN:
        return ""
    label = RunCoupon.Basis(basis).label
    if basis in (RunCoupon.Basis.TERMS, RunCoupon.Basis.PRICES):
        return str(label)
    return _("%(basis)s: %(count)s") % {"basis": label, "count": count_of(count)}


def _describe_scores(run: Run) -> list[dict[str, Any]]:
    """The bars of the distribution, with what each says in numbers."""
    total = sum(count for _low, _high, count in run.score_histogram)
    most = max((count for _low, _high, count in run.score_histogram), default=0)
    return [
        {
            "range": _("%(low)s to %(high)s %%") % {"low": _edge(low), "high": _edge(high)},
            "count": count,
            "most": most,
            "shown": count_of(count),
            "share": percent_of(count / total, 1),
        }
        for low, high, count in run.score_histogram
        if total
    ]


def _edge(score: float) -> str:
    percent = f"{100 * score:g}"
    return number_format(percent, len(percent.partition(".")[2]))


def _describe_corrections(run: Run) -> list[dict[str, Any]]:
    """The latest, those that stand before those that were undone."""
    corrections = run.corrections.select_related("coupon", "shopper", "made_by", "undone_by").order_by(
        F("undone_at").desc(nulls_first=True), "-pk"
    )
    return [
        {
            "correction": correction,
            "undo_url": reverse("admin:recommender_run_undo_correction", args=[run.pk, correction.pk]),
        }
        for correction in corrections[:CORRECTIONS_SHOWN]
    ]
