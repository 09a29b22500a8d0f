"""The first page: what is live, what waits for somebody, what went wrong, and what the machine works with."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recommender.admin import metrics
from recommender.admin.base import change_url, changelist_url, link_to
from recommender.admin.jobs import STATE_LABELS as JOB_LABELS
from recommender.admin.runs import tabulate_runs
from recommender.models import Job, ModelVersion, Publication, Run, Shop, Snapshot

SHOWN = 6
RECENT = timedelta(days=7)
WAITING = (Run.State.DRAFTED, Run.State.APPROVED)


@dataclass(frozen=True)
class Tile:
    """A figure that leads to the page behind it."""

    name: str
    figure: str
    note: str
    url: str
    warns: bool = False


def describe_shop(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the context of the first page what its reader may see."""
    may_see_publications = request.user.has_perm("recommender.view_publication")
    may_see_runs = request.user.has_perm("recommender.view_run")
    may_see_jobs = request.user.has_perm("recommender.view_job")
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
    if request.user.has_perm("recommender.view_modelversion"):
        tiles.append(_describe_champion())
    if request.user.has_perm("recommender.view_snapshot"):
        tiles.append(_describe_snapshot())
    return {
        **context,
        "title": Shop.current().name,
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
        figure=ngettext("%(count)s campaign", "%(count)s campaigns", campaigns) % {"count": f"{campaigns:,}"},
        note=ngettext("%(count)s list on show", "%(count)s lists on show", live["shoppers"])
        % {"count": f"{live['shoppers']:,}"},
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
    failed = Job.objects.filter(state=Job.State.FAILED, finished_at__gte=timezone.now() - RECENT).count()
    unfinished = Job.objects.unfinished().count()
    return Tile(
        name=_("Failed in the last %(days)d days") % {"days": RECENT.days},
        figure=ngettext("%(count)d job", "%(count)d jobs", failed) % {"count": failed},
        note=_("%(count)d waiting or running") % {"count": unfinished},
        url=changelist_url(Job, {"state__exact": Job.State.FAILED}),
        warns=failed > 0,
    )


def _describe_champion() -> Tile:
    champion = Shop.current().champion
    if champion is None:
        return Tile(_("Champion"), _("None"), _("Nothing was trained yet."), changelist_url(ModelVersion))
    note = _("trained %(age)s ago") % {"age": timesince(champion.created_at, depth=1)}
    roc_auc = champion.evaluations.filter(metric="roc_auc").first()
    if roc_auc is not None:
        note = f"{metrics.title_of('roc_auc')} {metrics.value_of(roc_auc)}, {note}"
    return Tile(_("Champion"), str(champion).replace("_", " "), note, change_url(champion))


def _describe_snapshot() -> Tile:
    snapshot = Snapshot.objects.first()
    if snapshot is None:
        return Tile(_("Latest snapshot"), _("None"), _("No data was read yet."), changelist_url(Snapshot))
    return Tile(
        name=_("Latest snapshot"),
        figure=_("%(age)s ago") % {"age": timesince(snapshot.created_at, depth=1)},
        note=_("%(count)s rows") % {"count": f"{sum(snapshot.row_counts.values()):,}"},
        url=change_url(snapshot),
    )


def _tabulate_publications() -> list[dict[str, object]]:
    live = Publication.objects.live().select_related("campaign", "run__campaign")[:SHOWN]
    return [
        {
            "campaign_link": link_to(publication.campaign),
            "since": _("for %(age)s") % {"age": timesince(publication.published_at, depth=1)},
            "run_link": link_to(publication.run, publication.run_id),
            "shoppers": f"{publication.run.shopper_count:,}",
        }
        for publication in live
    ]


def _tabulate_jobs() -> list[dict[str, object]]:
    jobs = Job.objects.select_related("started_by").defer("log", "arguments", "result")[:SHOWN]
    return [{"job": job, "link": link_to(job), "variant": JOB_LABELS[Job.State(job.state)]} for job in jobs]
