"""Long work: watched and cancelled."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from recommender.admin.base import ReadOnlyMixin, TableAdmin, link_to
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.clock import database_now
from recommender.models import Job, Run
from recommender.wording import gettext as _

STATE_LABELS = {
    Job.State.QUEUED: "default",
    Job.State.RUNNING: "info",
    Job.State.SUCCEEDED: "success",
    Job.State.FAILED: "danger",
    Job.State.CANCELLED: "warning",
}


@admin.register(Job)
class JobAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("__str__", "state_label", "percent_done", "message", "started_by", "created_at", "finished_at")
    list_select_related = ("started_by",)
    list_filter = ("state", "kind", "created_at")
    search_fields = ("key", "message", "error", "started_by__username")
    change_form_outer_before_template = "admin/recommender/job_progress.html"
    fieldsets = (
        (None, {"fields": ("kind", "started_by", "attempts")}),
        (
            gettext_lazy("Times"),
            {"fields": ("created_at", "not_before", "started_at", "heartbeat_at", "finished_at")},
        ),
        (gettext_lazy("For whoever looks after the site"), {"fields": ("key", "arguments", "result")}),
    )
    actions_detail = ("cancel",)

    class Media:
        js = ("recommender/job_progress.js",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        jobs = super().get_queryset(request)
        listed = request.resolver_match and request.resolver_match.url_name == "recommender_job_changelist"
        return jobs.defer("log", "error", "arguments", "result") if listed else jobs

    def get_fieldsets(self, request: HttpRequest, obj: Job | None = None) -> list[tuple[Any, dict[str, Any]]]:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or obj.result is not None:
            return fieldsets
        return [(title, {"fields": [name for name in part["fields"] if name != "result"]}) for title, part in fieldsets]

    @display(description=gettext_lazy("state"), ordering="state", label=STATE_LABELS)
    def state_label(self, job: Job) -> tuple[str, str]:
        return job.state, job.get_state_display()

    @display(description=gettext_lazy("progress"))
    def percent_done(self, job: Job) -> str:
        return "" if job.percent is None else f"{job.percent} %"

    def get_urls(self) -> list[URLPattern]:
        progress = path(
            "<int:job_id>/progress/", self.admin_site.admin_view(self.progress), name="recommender_job_progress"
        )
        return [progress, *super().get_urls()]

    def progress(self, request: HttpRequest, job_id: int) -> JsonResponse:
        """How far a job is, for the page that shows it."""
        return JsonResponse(describe_progress(self.get_viewable(request, str(job_id))))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        job = self.get_object(request, object_id)
        if job is not None and self.has_view_permission(request, job):
            extra_context = {
                **(extra_context or {}),
                "job": job,
                "state_variant": STATE_LABELS[Job.State(job.state)],
                "silence": describe_silence(job),
                "progress_url": reverse("admin:recommender_job_progress", args=[job.pk]),
                "made": [
                    link_to(row)
                    for row in (
                        *job.runs.select_related("campaign"),
                        *job.model_versions.all(),
                        *job.corrections.select_related("coupon", "shopper"),
                    )
                ],
                "about": link_to(_find_corrected(job)),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    def list_possible_actions(self, obj: Job) -> Iterable[str]:
        return () if obj.is_finished or obj.cancel_requested else self.actions_detail

    def has_cancel_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return may_cancel(request, None if object_id is None else self.get_object(request, object_id))

    @action(
        description=gettext_lazy("Cancel the job"),
        permissions=["cancel"],
        icon="cancel",
        variant=ActionVariant.DANGER,
    )
    def cancel(self, request: HttpRequest, object_id: str) -> HttpResponse:
        job = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.jobs import cancel_job

            now = cancel_job(job=job, by=request.user)  # type: ignore[arg-type]
            if now.state == Job.State.CANCELLED:
                return Outcome(_("The job is cancelled."))
            if now.is_finished:
                raise ValueError(_("The job was finished already: %(state)s.") % {"state": now.get_state_display()})
            return Outcome(_("The job stops at its next step."))

        confirmation = Confirmation(
            title=_("Cancel this job"),
            text=_(
                "Work that waits does not begin; work that runs stops at its next step and leaves nothing half-done."
            ),
            button=_("Cancel the job"),
            facts=[(_("Job"), job), (_("State"), job.get_state_display()), (_("Doing"), job.message or "–")],
            dangerous=True,
        )
        return confirm_and_do(model_admin=self, request=request, obj=job, confirmation=confirmation, act=act)


def may_cancel(request: HttpRequest, job: Job | None) -> bool:
    """Whether a member of staff may cancel anybody's work, or started this job, or may do what it does."""
    if request.user.has_perm("recommender.cancel_job"):
        return True
    if job is None:
        return False
    needed = {Job.Kind.PUBLISH: "recommender.publish_run", Job.Kind.CORRECT: "recommender.review_run"}
    may_do_it = job.kind in needed and request.user.has_perm(needed[Job.Kind(job.kind)])
    return job.started_by_id == request.user.pk or may_do_it


def _find_corrected(job: Job) -> Run | None:
    """The run that a job corrects."""
    if job.kind != Job.Kind.CORRECT:
        return None
    return Run.objects.select_related("campaign").filter(pk=job.arguments.get("run")).first()


def describe_progress(job: Job) -> dict[str, object]:
    """How far a job is, as its page's script reads it."""
    return {
        "state": job.state,
        "state_label": job.get_state_display(),
        "percent": job.percent,
        "done": job.done,
        "total": job.total,
        "message": job.message,
        "silence": describe_silence(job),
        "log": job.log,
        "error": job.error,
        "finished": job.is_finished,
    }


def describe_silence(job: Job) -> str:
    """What becomes of a job whose worker gives no sign of life; nothing while it does."""
    if job.state != Job.State.RUNNING or job.heartbeat_at is None or not job.is_silent_at(database_now()):
        return ""
    return _(
        "No sign of life since %(moment)s: its worker may have been stopped. Nothing is lost. The job is taken up "
        "again by itself, %(minutes)d minutes after the last sign."
    ) % {
        "moment": date_format(timezone.localtime(job.heartbeat_at), "DATETIME_FORMAT"),
        "minutes": Job.HEARTBEAT_EXPIRES.total_seconds() // 60,
    }
