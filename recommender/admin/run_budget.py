"""What a run within a budget shows of it: on its page, and on a page with the whole curve of spend."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recommender.admin.base import TableAdmin, change_url
from recommender.admin.charts import Line, LineChart, line_chart
from recommender.admin.figures import amount_of, count_of, money_of, percent_of, significant_of, uses_of
from recommender.models import Run, Shop
from recommender.services.budgeting import BudgetTerms, short_sellers
from recommender.services.spend_curve import AtBudget, SpendCurve

NAMED = 5


class RunBudgetMixin(TableAdmin):
    """What :class:`RunAdmin` shows of a run's budget."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.budget)
        return [path("<int:run_key>/budget/", view, name="recommender_run_budget"), *super().get_urls()]

    def budget(self, request: HttpRequest, run_key: int) -> HttpResponse:
        """What each budget would bring, and the way to a run within another."""
        run: Run = self.get_viewable(request, str(run_key))
        from recommender.services.estimates import sum_amounts

        currency, expected = Shop.current().currency, sum_amounts(run=run).discount.expected
        context = {
            **self.admin_site.each_context(request),
            "title": _("Budget"),
            "opts": self.opts,
            "original": run,
            "run": run,
            "run_url": change_url(run),
            "currency": currency,
            "within": describe_budget(run, expected, currency),
            **_describe_curve(run, expected, currency),
            "may_recommend": request.user.has_perm("recommender.start_job"),
            "recommend_url": reverse("admin:recommender_campaign_recommend", args=[run.campaign_id]),
        }
        return TemplateResponse(request, "admin/recommender/run/budget.html", context)


def describe_budget(run: Run, expected: float | None, currency: str) -> list[tuple[str, str]]:
    """Names and values of what a run keeps to and how well it does; nothing of one that is not within a budget.

    Args:
        expected: what is expected to be given in discounts, as the lists are now; None if that is not known.
    """
    if not run.is_allocated or run.allocation_terms is None:
        return []
    told = [(_("Brings the most"), str(run.get_objective_display()))]
    if run.budget is None:
        told.append((_("Budget"), _("none; coupons keep to what is left of theirs")))
    else:
        budget = f"{amount_of(run.budget)} {currency}"
        told.append(
            (_("Left of the campaign's budget") if run.allocation_terms["of_campaign"] else _("Budget"), budget)
        )
    if run.required_return is not None:
        told.append((_("Required return"), _per_unit(float(run.required_return), run, currency)))
    told += _describe_rules(run, run.allocation_terms)
    if run.state != Run.State.COMPUTING:
        told += _describe_outcome(run, expected, currency)
    if taught_by := run.allocation_terms.get("taught_by"):
        told.append((_("Whom coupons change is learned from the held out of"), _name_few(list(taught_by))))
    left_out = sorted(run.allocation_terms["left_out"])
    if left_out:
        told.append((_("Left out, as what they cost or bring is not known"), _name_few(left_out)))
    return told


def _describe_rules(run: Run, terms: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the campaign asks of lists besides budgets, and how far it is kept."""
    told = []
    if terms.get("one_per_category"):
        count = len(set(terms["categories"].values()))
        among = ngettext(
            "one; its coupons are of %(count)s category", "one; its coupons are of %(count)s categories", count
        )
        told.append((_("Coupons of a category on a list"), among % {"count": count_of(count)}))
    shortages = run.floor_shortages or [None] * len(terms.get("floor_segments", []))
    floors = zip(terms.get("floor_segments", []), terms.get("floor_uses", []), shortages, strict=True)
    for segment, uses, short in floors:
        name = _("Expected uses for “%(segment)s”") % {"segment": segment}
        told.append((name, _describe_floor(uses, short)))
    return told + _describe_sellers(run)


def _describe_sellers(run: Run) -> list[tuple[str, str]]:
    """What sellers are promised, what they got, and what that costs."""
    terms = BudgetTerms.of(run)
    if terms is None or terms.seller_floor_percent is None:
        return []
    facts = {
        "percent": percent_of(terms.seller_floor_percent / 100, 2),
        "places": count_of(terms.places),
        "floor": count_of(terms.seller_floor),
    }
    promised = _("at least %(percent)s of all %(places)s places, which are %(floor)s") % facts
    told = [(_("Places for each seller"), promised)]
    if run.seller_places is None:
        return told
    sellers, short = run.seller_places["sellers"], short_sellers(run)
    if not short:
        count = ngettext("%(count)s seller, all of them", "%(count)s sellers, all of them", len(sellers))
        told.append((_("Reached for"), count % {"count": count_of(len(sellers))}))
    else:
        reached = _("%(reached)s of %(count)s sellers") % {
            "reached": count_of(len(sellers) - len(short)),
            "count": count_of(len(sellers)),
        }
        named = [f"{seller} (−{count_of(lacks)})" for seller, lacks in short.items()]
        told += [(_("Reached for"), reached), (_("Fewer places, as the limits leave no more"), _name_few(named))]
    fewest = min(sellers, key=lambda seller: (sellers[seller], seller))
    facts = {"seller": fewest, "places": count_of(sellers[fewest])}
    told.append((_("The fewest places"), _("%(seller)s: %(places)s") % facts))
    if run.allocation_value is not None:
        without = run.seller_places["value_without"]
        cost = max(0.0, without - run.allocation_value)
        facts = {
            "cost": _value_of(cost, run, Shop.current().currency),
            "without": _value_of(without, run, Shop.current().currency),
            "share": percent_of(cost / without if without > 0 else 0.0, 2),
        }
        told.append((_("What the places for sellers cost"), _("%(cost)s of %(without)s, %(share)s") % facts))
    return told


def _describe_floor(uses: int, short: float | None) -> str:
    if short is None:
        return _("at least %(uses)s") % {"uses": count_of(uses)}
    if not short:
        return _("at least %(uses)s: reached") % {"uses": count_of(uses)}
    facts = {"uses": count_of(uses), "short": number_format(short, 1)}
    return _("at least %(uses)s: %(short)s fewer, as the limits leave no more") % facts


def _describe_outcome(run: Run, expected: float | None, currency: str) -> list[tuple[str, str]]:
    told = []
    if expected is not None:
        spend = money_of(expected, currency)
        if run.budget:
            spend = _("%(amount)s, %(share)s of the budget") % {
                "amount": spend,
                "share": percent_of(expected / float(run.budget), 1),
            }
        told.append((_("Expected discounts"), spend))
    if run.allocation_value is not None and run.allocation_bound is not None:
        value, bound = _value_of(run.allocation_value, run, currency), _value_of(run.allocation_bound, run, currency)
        share = run.allocation_value / run.allocation_bound if run.allocation_bound > 0 else 1.0
        facts = {"value": value, "bound": bound, "share": percent_of(min(share, 1.0), 2)}
        told.append(
            (
                _("Of the best possible"),
                _("at least %(share)s: the lists bring %(value)s, no lists within the limits bring more than %(bound)s")
                % facts,
            )
        )
    if run.marginal_return is not None and run.budget is not None:
        curve = SpendCurve.of(run)
        ended = curve is not None and curve.is_ended_by_return and float(run.budget) >= curve.worth_spending
        marginal = 0.0 if ended else run.marginal_return
        told.append((_("One unit of budget more brings"), _per_unit(marginal, run, currency)))
    return told


def _describe_curve(run: Run, expected: float | None, currency: str) -> dict[str, Any]:
    """The curve as rows, the row of the run's own budget or of what it spends without one, and two pictures; no rows
    where there is no curve."""
    curve = SpendCurve.of(run)
    if curve is None:
        return {"rows": []}
    own = expected and round(expected, 3) if run.budget is None else float(run.budget)
    points = curve.list_budgets(own)
    rows = [_describe_point(point, run, currency, is_own=point.budget == own) for point in points]
    chosen = next((number for number, point in enumerate(points) if point.budget == own), len(points) - 1)
    return {
        "rows": rows,
        "chosen": chosen,
        "first": rows[chosen],
        "last": len(rows) - 1,
        "charts": _draw(run, curve, points, currency),
        "stops_at": money_of(curve.worth_spending, currency),
        "is_ended_by_return": curve.is_ended_by_return,
        "objective": run.objective,
        "top": run.top,
        "required_return": "" if run.required_return is None else f"{run.required_return.normalize():f}",
    }


def _describe_point(point: AtBudget, run: Run, currency: str, *, is_own: bool) -> dict[str, Any]:
    offers = run.recommendation_count if is_own else round(point.offers)
    return {
        "amount": f"{point.budget:.3f}".rstrip("0").rstrip("."),
        "budget": money_of(point.budget, currency),
        "value": _value_of(point.value, run, currency),
        "marginal": _per_unit(point.marginal_return, run, currency),
        "uses": uses_of(point.uses),
        "offers": count_of(offers),
        "is_own": is_own,
        "stops": point.marginal_return <= 0,
    }


def _draw(run: Run, curve: SpendCurve, points: list[AtBudget], currency: str) -> list[LineChart]:
    objective = str(run.get_objective_display())
    charts = [
        line_chart(
            title=_("What a budget brings"),
            x_title=_("Budget"),
            y_title=objective,
            lines=[Line(objective, 1, [(0.0, 0.0), *((point.budget, point.value) for point in points)])],
            to_one=False,
            shown=lambda x, y: (money_of(x, currency), _figure_of(y, run, currency)),
        ),
        line_chart(
            title=_("What one unit more brings"),
            x_title=_("Budget"),
            y_title=_("One unit of budget more brings"),
            lines=[Line(objective, 2, _steps(curve, points[-1].budget))],
            to_one=False,
            shown=lambda x, y: (money_of(x, currency), _per_unit(y, run, currency)),
        ),
    ]
    return [chart for chart in charts if chart is not None]


def _steps(curve: SpendCurve, end: float) -> list[tuple[float, float]]:
    """The marginal return falls at each point of the curve to the next, and to nothing where it is not worth more."""
    corners: list[tuple[float, float]] = []
    begin = 0.0
    for rate, cost in zip(curve.marginal_return, [*curve.cost[:-1], end], strict=True):
        if cost >= curve.worth_spending:
            return [*corners, (begin, rate), *((curve.worth_spending, each) for each in (rate, 0.0)), (end, 0.0)]
        corners += [(begin, rate), (cost, rate)]
        begin = cost
    return corners


def _value_of(value: float, run: Run, currency: str) -> str:
    """An amount of the objective."""
    if run.objective == Run.Objective.REDEMPTIONS:
        return _("%(uses)s redemptions") % {"uses": uses_of(value)}
    return money_of(value, currency)


def _figure_of(value: float, run: Run, currency: str) -> str:
    """An amount of the objective, beside its name."""
    return uses_of(value) if run.objective == Run.Objective.REDEMPTIONS else money_of(value, currency)


def _per_unit(value: float, run: Run, currency: str) -> str:
    """So much of the objective for a unit of money."""
    figure = significant_of(value)
    if run.objective == Run.Objective.REDEMPTIONS:
        return _("%(figure)s redemptions for 1 %(currency)s") % {"figure": figure, "currency": currency}
    return _("%(figure)s %(currency)s for 1 %(currency)s") % {"figure": figure, "currency": currency}


def _name_few(names: list[str]) -> str:
    named = ", ".join(names[:NAMED])
    return named if len(names) <= NAMED else _("%(coupons)s and others") % {"coupons": named}
