"""The first page: what is live, what waits for somebody, what went wrong, and what the machine works with."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Count, Max, Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recommender.admin import metrics
from recommender.admin.base import change_url, changelist_url, link_to
from recommender.admin.calibration import VERDICTS, sum_up
from recommender.admin.charts import Column, ColumnChart, column_chart
from recommender.admin.figures import count_of, in_currency, within_day
from recommender.admin.input_drift import note_on
from recommender.admin.input_drift import sum_up as sum_up_inputs
from recommender.admin.jobs import STATE_LABELS as JOB_LABELS
from recommender.admin.runs import tabulate_runs
from recommender.admin.summed_up import show_figures
from recommender.models import Job, ModelVersion, Order, Publication, Redemption, Run, Shop, Snapshot
from recommender.services.activity import Activity, Day
from recommender.services.drift import Verdict
from recommender.services.input_drift import measure_inputs
from recommender.services.summaries import Calibration, ShopActivity, find_alarming_experiments, find_incomparable

SHOWN = 6
RECENT = timedelta(days=1)
#: Data that nothing was added to for longer are called stale: a shop's export comes once a day.
DATA_STALE_AFTER = timedelta(days=3)
#: A champion that knows nothing of so much of the data is called stale: by then whole campaigns have ended unlearned.
CHAMPION_STALE_AFTER = timedelta(days=35)
VIEW_ORDER = "recommender.view_order"
WAITING = (Run.State.DRAFTED, Run.State.APPROVED)


@dataclass(frozen=True)
class Tile:
    """A figure that leads to the page behind it."""

    name: str
    figure: str
    note: str
    url: str
    warns: bool = False


@dataclass(frozen=True)
class DrawnActivity:
    """A figure of the shop day by day, with its sum and that of the period before."""

    name: str
    days: int
    until: str
    total: str
    before: str
    chart: ColumnChart | None


def describe_shop(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the context of the first page what its reader may see."""
    may_see_publications = request.user.has_perm("recommender.view_publication")
    may_see_runs = request.user.has_perm("recommender.view_run")
    may_see_jobs = request.user.has_perm("recommender.view_job")
    may_see_redemptions = request.user.has_perm("recommender.view_redemption")
    shop = Shop.current()
    tiles = []
    if may_see_publications:
        tiles.append(_describe_publications())
        context["publications"] = _tabulate_publications()
    if may_see_runs:
        tiles.append(_describe_waiting())
        waiting = Run.objects.filter(state__in=WAITING)
        context["runs"] = tabulate_runs(waiting.select_related("campaign", "model_version")[:SHOWN])
    if may_see_jobs:
        tiles.append(_describe_jobs())
        context["jobs"] = _tabulate_jobs()
    if may_see_redemptions:
        shown = show_figures(ShopActivity())
        context["shown"] = shown
        if shown.content is not None:
            context["activity"] = _describe_activity(
                shown.content, shop, may_see_orders=request.user.has_perm(VIEW_ORDER)
            )
    if may_see_redemptions and request.user.has_perm("recommender.view_campaign"):
        context["incomparable"] = [
            {"url": reverse("admin:recommender_campaign_results", args=[found.campaign.pk]), "campaign": found.campaign}
            for found in find_incomparable()
        ]
    if request.user.has_perm("recommender.view_experiment"):
        context["alarming_experiments"] = [
            {"url": change_url(found.experiment), "experiment": found.experiment}
            for found in find_alarming_experiments()
        ]
    if request.user.has_perm(VIEW_ORDER):
        tiles.append(_describe_data())
    if request.user.has_perm("recommender.view_modelversion"):
        tiles += [_describe_champion(shop), _describe_calibration(shop)]
        if shop.champion is not None and request.user.has_perm("recommender.view_runinput"):
            tiles.append(_describe_inputs(shop.champion))
    if request.user.has_perm("recommender.view_snapshot"):
        tiles.append(_describe_snapshot())
    return {
        **context,
        "title": shop.name,
        "tiles": tiles,
        "may_see_publications": may_see_publications,
        "may_see_runs": may_see_runs,
        "may_see_jobs": may_see_jobs,
    }


def _describe_publications() -> Tile:
    live = Publication.objects.live().aggregate(campaigns=Count("pk"), shoppers=Sum("run__shopper_count", default=0))
    campaigns: int = live["campaigns"]
    return Tile(
        name=_("Live now"),
        figure=ngettext("%(count)s campaign", "%(count)s campaigns", campaigns) % {"count": count_of(campaigns)},
        note=ngettext("%(count)s list on show", "%(count)s lists on show", live["shoppers"])
        % {"count": count_of(live["shoppers"])},
        url=changelist_url(Publication, {"live": "1"}),
    )


def _describe_waiting() -> Tile:
    waiting = Run.objects.aggregate(
        drafted=Count("pk", filter=Q(state=Run.State.DRAFTED)), approved=Count("pk", filter=Q(state=Run.State.APPROVED))
    )
    return Tile(
        name=_("Waiting for review"),
        figure=ngettext("%(count)d run", "%(count)d runs", waiting["drafted"]) % {"count": waiting["drafted"]},
        note=_("%(count)d approved and not published") % {"count": waiting["approved"]},
        url=changelist_url(Run, {"state__exact": Run.State.DRAFTED}),
    )


def _describe_jobs() -> Tile:
    ended = Job.objects.filter(finished_at__gte=timezone.now() - RECENT).aggregate(
        done=Count("pk", filter=Q(state=Job.State.SUCCEEDED)), failed=Count("pk", filter=Q(state=Job.State.FAILED))
    )
    failed, unfinished = ended["failed"], Job.objects.unfinished().count()
    return Tile(
        name=_("Failed in the last 24 hours"),
        figure=ngettext("%(count)d job", "%(count)d jobs", failed) % {"count": failed},
        note=_("%(done)d done, %(unfinished)d waiting or running") % {"done": ended["done"], "unfinished": unfinished},
        url=changelist_url(Job, {"state__exact": Job.State.FAILED}),
        warns=failed > 0,
    )


def _describe_data() -> Tile:
    last_at = Order.objects.aggregate(last=Max("ordered_at"))["last"]
    if last_at is None:
        return Tile(_("Last order"), _("None"), _("No data was brought in yet."), changelist_url(Order))
    stale = timezone.now() - last_at > DATA_STALE_AFTER
    return Tile(
        name=_("Last order"),
        figure=_("%(age)s ago") % {"age": timesince(last_at, depth=1)},
        note=_("Stale: bring in newer data.") if stale else _("Data are fresh."),
        url=changelist_url(Order, {"ordered_at__gte": (last_at - RECENT).isoformat()}),
        warns=stale,
    )


def _describe_champion(shop: Shop) -> Tile:
    champion = shop.champion
    if champion is None:
        return Tile(_("Champion"), _("None"), _("Nothing was trained yet."), changelist_url(ModelVersion))
    until = Snapshot.objects.aggregate(last=Max("history_until"))["last"]
    stale = until is not None and until - champion.learned_until > CHAMPION_STALE_AFTER
    note = _("trained %(age)s ago") % {"age": timesince(champion.created_at, depth=1)}
    if stale:
        note = _("Stale: it knows nothing of the last %(age)s of data.") % {
            "age": timesince(champion.learned_until, until, depth=1)
        }
    roc_auc = champion.evaluations.filter(metric="roc_auc").first()
    if roc_auc is not None:
        note = f"{metrics.title_of('roc_auc')} {metrics.value_of(roc_auc)}, {note}"
    return Tile(_("Champion"), str(champion).replace("_", " "), note, change_url(champion), warns=stale)


def _describe_calibration(shop: Shop) -> Tile:
    drift = show_figures(Calibration()).content
    if drift is None:
        note = _("This is being summed up.")
    else:
        note = sum_up(drift) if drift.runs else _("No campaign with a published run is over yet.")
    return Tile(
        name=_("Uses of published runs"),
        figure=str(VERDICTS[Verdict.UNKNOWN if drift is None else drift.verdict][0]),
        note=note,
        url=reverse("admin:recommender_modelversion_explain_champion")
        if shop.champion_id
        else changelist_url(ModelVersion),
        warns=drift is not None and drift.warns,
    )


def _describe_inputs(champion: ModelVersion) -> Tile:
    drift = measure_inputs(version=champion)
    return Tile(
        name=_("Inputs since training"),
        figure=sum_up_inputs(drift),
        note=note_on(drift),
        url=f"{change_url(champion)}#inputs",
        warns=bool(drift.moved),
    )


def _describe_snapshot() -> Tile:
    snapshot = Snapshot.objects.first()
    if snapshot is None:
        return Tile(_("Latest snapshot"), _("None"), _("No data was read yet."), changelist_url(Snapshot))
    return Tile(
        name=_("Latest snapshot"),
        figure=_("%(age)s ago") % {"age": timesince(snapshot.created_at, depth=1)},
        note=_("%(count)s rows") % {"count": count_of(sum(snapshot.row_counts.values()))},
        url=change_url(snapshot),
    )


def _describe_activity(activity: Activity, shop: Shop, *, may_see_orders: bool) -> list[DrawnActivity]:
    """What happened day by day, beside the same day of the period before."""
    if not activity.days:
        return []
    pairs = list(zip(activity.days, activity.before, strict=True))
    until = date_format(activity.days[-1].day)

    def uses(day: Day) -> str:
        return count_of(day.redemptions)

    def revenue(day: Day) -> str:
        return in_currency(day.revenue, shop)

    drawn = [
        DrawnActivity(
            name=_("Redemptions"),
            days=len(pairs),
            until=until,
            total=count_of(sum(day.redemptions for day in activity.days)),
            before=count_of(sum(day.redemptions for day in activity.before)),
            chart=column_chart(
                [
                    Column(
                        label=date_format(day.day),
                        value=day.redemptions,
                        shown=uses(day),
                        url=changelist_url(Redemption, within_day("redeemed_at", day.day, shop)),
                        before=before.redemptions,
                        before_shown=uses(before),
                    )
                    for day, before in pairs
                ]
            ),
        )
    ]
    if may_see_orders:
        drawn.append(
            DrawnActivity(
                name=_("Revenue of orders with a coupon used"),
                days=len(pairs),
                until=until,
                total=in_currency(sum((day.revenue for day in activity.days), Decimal(0)), shop),
                before=in_currency(sum((day.revenue for day in activity.before), Decimal(0)), shop),
                chart=column_chart(
                    [
                        Column(
                            label=date_format(day.day),
                            value=float(day.revenue),
                            shown=revenue(day),
                            url=changelist_url(Redemption, within_day("redeemed_at", day.day, shop)),
                            before=float(before.revenue),
                            before_shown=revenue(before),
                        )
                        for day, before in pairs
                    ]
                ),
            )
        )
    return drawn


def _tabulate_publications() -> list[dict[str, object]]:
    live = Publication.objects.live().select_related("campaign", "run__campaign")[:SHOWN]
    return [
        {
            "campaign_link": link_to(publication.campaign),
            "since": _("for %(age)s") % {"age": timesince(publication.published_at, depth=1)},
            "run_link": link_to(publication.run, publication.run_id),
            "shoppers": count_of(publication.run.shopper_count),
        }
        for publication in live
    ]


def _tabulate_jobs() -> list[dict[str, object]]:
    of_people = Job.objects.exclude(kind=Job.Kind.SUM_UP)  # which comes of looking at pages
    jobs = of_people.select_related("started_by").defer("log", "arguments", "result")[:SHOWN]
    return [{"job": job, "link": link_to(job), "variant": JOB_LABELS[Job.State(job.state)]} for job in jobs]
