"""The pages that look into single shoppers of a run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from recommender.admin.base import TableAdmin, change_url, link_to
from recommender.admin.figures import count_of, money_of, percent_of
from recommender.admin.recommendations import list_reasons
from recommender.admin.run_corrections import refuse_correction
from recommender.admin.summed_up import show_figures
from recommender.models import Run, RunCorrection, Shop, Shopper
from recommender.reasons import speaking_against, speaking_for
from recommender.services.summaries import UsesOfCoupons

if TYPE_CHECKING:
    from recommender.services.shopper_review import History, NotOffered

SAMPLE = 10


class RunShoppersMixin(TableAdmin):
    """What :class:`RunAdmin` offers to look into shoppers."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:run_key>/find-shopper/", view(self.find_shopper), name="recommender_run_find_shopper"),
            path("<int:run_key>/sample/", view(self.sample), name="recommender_run_sample"),
            path("<int:run_key>/shoppers/<int:shopper_key>/", view(self.shopper), name="recommender_run_shopper"),
            *super().get_urls(),
        ]

    def find_shopper(self, request: HttpRequest, run_key: int) -> HttpResponse:
        """To the page of the shopper with the identifier that was typed."""
        run = self._get_run(request, run_key)
        identifier = request.GET.get("shopper_id", "").strip()
        shopper = Shopper.objects.filter(shopper_id=identifier).first()
        if shopper is None:
            messages.error(request, _("There is no shopper %(id)s. A whole identifier is needed.") % {"id": identifier})
            return redirect(change_url(run))
        return redirect(shopper_url(run, shopper))

    def sample(self, request: HttpRequest, run_key: int) -> HttpResponse:
        """A few shoppers of the run, others at each look."""
        from recommender.services.shopper_review import draw_shoppers

        run = self._get_run(request, run_key)
        shoppers = draw_shoppers(run=run, count=SAMPLE)
        lists = {
            row["shopper_id"]: row
            for row in run.recommendations.offered()
            .filter(shopper__in=shoppers)
            .order_by()
            .values("shopper_id")
            .annotate(coupons=Count("pk"), best=Max("score"))
        }
        context = {
            "title": _("A sample of shoppers"),
            "rows": [
                {
                    "url": shopper_url(run, shopper),
                    "shopper": shopper,
                    "coupons": count_of(lists[shopper.pk]["coupons"]),
                    "best": percent_of(lists[shopper.pk]["best"]),
                }
                for shopper in shoppers
            ],
        }
        return self._answer(request, run, "sample", context)

    def shopper(self, request: HttpRequest, run_key: int, shopper_key: int) -> HttpResponse:
        """What is known of a shopper, the list and why, and why not the other coupons."""
        from recommender.services.shopper_review import explain_absence, find_pins, list_of, look_up_history

        run = self._get_run(request, run_key)
        shopper = Shopper.objects.filter(pk=shopper_key).first()
        if shopper is None:
            raise Http404(_("There is no such shopper."))
        currency = Shop.current().currency
        shown = show_figures(UsesOfCoupons())
        may_correct = refuse_correction(run) is None and request.user.has_perm("recommender.review_run")
        listed = list(list_of(run=run, shopper=shopper))
        pins = find_pins(listed=listed)
        context = {
            "title": _("Shopper %(shopper)s") % {"shopper": shopper},
            "shopper": shopper,
            "shopper_link": change_url(shopper),
            "history": _describe_history(look_up_history(shopper=shopper), currency),
            "offers": [
                {
                    "rank": place,
                    "link": link_to(row.coupon),
                    "chance": percent_of(row.score),
                    "tried": ""
                    if row.propensity is None or row.propensity == 1
                    else _("on this place with a chance of %(chance)s") % {"chance": percent_of(row.propensity)},
                    "pinned": _put_first(pins[row.pin]) if row.pin in pins else "",
                    "why": list_reasons(speaking_for(row.reasons)),
                    "why_not": list_reasons(speaking_against(row.reasons)),
                    "take_out_url": correct_url(run, RunCorrection.Kind.EXCLUDE, row.coupon.coupon_id, shopper),
                    "pin_url": correct_url(run, RunCorrection.Kind.PIN, row.coupon.coupon_id, shopper),
                }
                for place, row in enumerate(listed, start=1)
            ],
            "others": [
                {
                    "link": link_to(other.coupon),
                    "why": _WORDS[other.why.value](other),
                    "bring_back_url": correct_url(run, RunCorrection.Kind.INCLUDE, other.coupon.coupon_id, shopper)
                    if other.why.value == "taken_out"
                    else None,
                }
                for other in explain_absence(run=run, shopper=shopper, moment=timezone.now(), uses=shown.content or {})
            ],
            "shown": shown,
            "may_correct": may_correct,
            "take_out_url": correct_url(run, RunCorrection.Kind.EXCLUDE, "", shopper),
        }
        return self._answer(request, run, "shopper", context)

    def _get_run(self, request: HttpRequest, run_key: int) -> Run:
        """The run, for those who may see shoppers too."""
        run: Run = self.get_viewable(request, str(run_key))
        if not request.user.has_perm("recommender.view_shopper"):
            raise PermissionDenied
        return run

    def _answer(self, request: HttpRequest, run: Run, name: str, context: dict[str, Any]) -> HttpResponse:
        return TemplateResponse(
            request,
            f"admin/recommender/run/{name}.html",
            {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "original": run,
                "run": run,
                "run_url": change_url(run),
                "find_shopper_url": reverse("admin:recommender_run_find_shopper", args=[run.pk]),
                "sample_url": reverse("admin:recommender_run_sample", args=[run.pk]),
                **context,
            },
        )


def shopper_url(run: Run, shopper: Shopper) -> str:
    return reverse("admin:recommender_run_shopper", args=[run.pk, shopper.pk])


def correct_url(run: Run, kind: RunCorrection.Kind, coupon_id: str, shopper: Shopper | None = None) -> str:
    """The page that corrects a run, filled in."""
    query = {"kind": kind.value, "coupon": coupon_id, "shopper": shopper.shopper_id if shopper else ""}
    return reverse("admin:recommender_run_correct", args=[run.pk], query={k: v for k, v in query.items() if v})


def _describe_history(history: "History", currency: str) -> dict[str, Any]:
    return {
        "tiles": [
            (_("Orders"), count_of(history.order_count), history.last_order_at),
            (_("Spent in all"), money_of(float(history.spent), currency), None),
            (_("Coupons redeemed"), count_of(history.redemption_count), None),
        ],
        "orders": [
            (link_to(order), order.ordered_at, money_of(float(order.paid or 0), currency))  # type: ignore[attr-defined]
            for order in history.orders
        ],
        "products": [
            (
                link_to(bought.product, bought.product.name or bought.product.product_id),
                bought.product.category,
                count_of(bought.orders),
                money_of(float(bought.amount), currency),
            )
            for bought in history.products
        ],
        "redemptions": [(link_to(row.coupon), row.redeemed_at, row.campaign) for row in history.redemptions],
        "campaigns": [
            (link_to(row.campaign), row.campaign.starts_at, row.get_group_display()) for row in history.campaigns
        ],
    }


def _put_first(correction: RunCorrection) -> str:
    if correction.segment_name:
        return _("Put first for the segment “%(segment)s” by %(who)s: %(reason)s") % _tell(correction)
    return _("Put first by %(who)s: %(reason)s") % _tell(correction)


def _taken_out(other: "NotOffered") -> str:
    if other.correction is None:
        return _("Taken out by staff.")
    if other.correction.segment_name:
        return _("Taken out with the segment “%(segment)s” by %(who)s: %(reason)s") % _tell(other.correction)
    return _("Taken out by %(who)s: %(reason)s") % _tell(other.correction)


def _tell(correction: RunCorrection) -> dict[str, object]:
    return {
        "segment": correction.segment_name,
        "who": correction.made_by or _("somebody whose account is gone"),
        "reason": correction.reason or "–",
    }


def _ranked_lower(other: "NotOffered") -> str:
    return _("Ranked lower: no likelier to be used than the last of the list, %(score)s.") % {
        "score": percent_of(other.last_score or 0)
    }


_WORDS: dict[str, Callable[["NotOffered"], str]] = {
    "opted_out": lambda other: _("The shopper opted out and is offered nothing."),
    "held_out": lambda other: _("The shopper is held out of the campaign."),
    "contacted": lambda other: _(
        "The shopper had been sent as many other campaigns as the shop allows when the run was computed."
    ),
    "no_list": lambda other: _("The shopper was not among those whom the run was computed for."),
    "inactive": lambda other: _("The coupon is not active."),
    "not_open": lambda other: _("The coupon does not hold in what is left of the campaign."),
    "not_good_long_enough": lambda other: _("What it is for is no longer good before the coupon could be used."),
    "project_finished": lambda other: _("It is of a project that the shopper has finished."),
    "fits_no_device": lambda other: _("It is for devices, and fits none that the shopper owns."),
    "used_up": lambda other: _("All shoppers together used it as often as it may be used."),
    "used_by_shopper": lambda other: _("The shopper used it as often as one shopper may."),
    "budget_spent": lambda other: _("Its budget is spent."),
    "taken_out": _taken_out,
    "not_chosen_from": lambda other: _("The run did not choose from it: it was added later, or did not hold then."),
    "cost_unknown": lambda other: _(
        "Left out of the budget: it is not known what a use costs, neither by its terms nor by past redemptions nor by "
        "prices."
    ),
    "value_unknown": lambda other: _("Left out of the budget: it is not known what a use brings of the objective."),
    "place_drawn": lambda other: _("The list has a single place, on which something may be tried."),
    "brings_nothing": lambda other: _("A use of it brings nothing of the objective."),
    "budget": lambda other: _(
        "The budget: within it and the limits of coupons, other offers bring more for what they cost."
    ),
    "worth_less": lambda other: _("What is on the list brings more of the objective for what it costs."),
    "places_of_sellers": lambda other: _(
        "What is on the list brings more of the objective for what it costs, or has its place because each seller is "
        "promised some."
    ),
    "not_new": lambda other: _(
        "What the shopper would have bought anyway counts against it: other offers bring more for what they cost, or "
        "this one takes off more than it would bring."
    ),
    "same_offer": lambda other: _("The same offer is on the list already: %(coupon)s.") % {"coupon": other.same_as},
    "same_category": lambda other: (
        _("A list has one coupon of a category, and another is on it already: %(coupon)s.") % {"coupon": other.same_as}
    ),
    "ranked_lower": _ranked_lower,
}
