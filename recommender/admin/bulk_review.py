"""Approving and rejecting several runs at once."""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, re_path, reverse
from django.utils.translation import gettext_lazy
from unfold.decorators import action

from recommender.admin.base import TableAdmin
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.models import Run
from recommender.wording import gettext as _
from recommender.wording import ngettext

OPEN_STATES = {"approve": (Run.State.DRAFTED,), "reject": (Run.State.DRAFTED, Run.State.APPROVED)}


class BulkReviewMixin(TableAdmin):
    """What :class:`RunAdmin` offers in its list: a page that names the runs, then a review of each."""

    def get_urls(self) -> list[URLPattern]:
        page = re_path(
            r"^review/(?P<verb>approve|reject)/$",
            self.admin_site.admin_view(self.review_chosen),
            name="recommender_run_review",
        )
        return [page, *super().get_urls()]

    def has_review_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("recommender.review_run")

    @action(description=gettext_lazy("Approve"), permissions=["review"])
    def approve_chosen(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse:
        return _ask("approve", queryset)

    @action(description=gettext_lazy("Reject"), permissions=["review"])
    def reject_chosen(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse:
        return _ask("reject", queryset)

    def review_chosen(self, request: HttpRequest, verb: str) -> HttpResponse:
        if not self.has_review_permission(request) or not self.has_view_permission(request):
            raise PermissionDenied
        keys = [key for key in request.GET.getlist("run") if key.isdecimal()]
        chosen = list(self.get_queryset(request).select_related("campaign").filter(pk__in=keys))
        possible = [run for run in chosen if run.state in OPEN_STATES[verb]]
        left = [run for run in chosen if run not in possible]

        def act(data: object) -> Outcome:
            from recommender.services.runs import approve_run, reject_run

            review: Callable[..., Run] = {"approve": approve_run, "reject": reject_run}[verb]
            done = 0
            for run in possible:
                try:
                    review(run=run, reviewed_by=request.user)
                except ValueError as error:
                    messages.warning(request, str(error))
                else:
                    done += 1
                    self.log_change(request, run, _said(verb, 1))
            if not done:
                raise ValueError(_("No run was changed."))
            return Outcome(_said(verb, done))

        facts: list[tuple[str, object]] = [(_("Run"), run) for run in possible]
        facts += [(_("Left as it is"), f"{run} ({run.get_state_display()})") for run in left]
        approving = verb == "approve"
        return confirm_and_do(
            model_admin=self,
            request=request,
            refusal=None if possible else _("This can be done with none of the chosen runs."),
            confirmation=Confirmation(
                title=_("Approve these runs") if approving else _("Reject these runs"),
                text=_("They can be published then. Shoppers see nothing of them yet.")
                if approving
                else _("They can never be published. Their lists stay on record."),
                button=_("Approve") if approving else _("Reject"),
                facts=facts,
                dangerous=not approving,
            ),
            act=act,
        )


def _ask(verb: str, queryset: QuerySet[Run]) -> HttpResponse:
    query = {"run": list(queryset.values_list("pk", flat=True))}
    return redirect(reverse("admin:recommender_run_review", args=[verb], query=query))


def _said(verb: str, count: int) -> str:
    if verb == "approve":
        return ngettext("%(count)d run is approved.", "%(count)d runs are approved.", count) % {"count": count}
    return ngettext("%(count)d run is rejected.", "%(count)d runs are rejected.", count) % {"count": count}
