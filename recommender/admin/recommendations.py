"""The lists of the runs, shopper by shopper."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, re_path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display

from recommender.admin.base import ReadOnlyMixin, TableAdmin
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import percent_of
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.admin.run_corrections import ReasonForm, refuse_correction
from recommender.models import Recommendation, Run, RunCorrection
from recommender.reasons import Reason, in_words, speaking_against, speaking_for, strength_in_words
from recommender.wording import gettext as _
from recommender.wording import ngettext


class RunFilter(admin.SimpleListFilter):
    """The newest runs to choose from, and whichever the address names."""

    title = gettext_lazy("run")
    parameter_name = "run"
    newest = 15

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        runs = list(Run.objects.select_related("campaign")[: self.newest])
        named = request.GET.get(self.parameter_name, "")
        if named.isdecimal() and int(named) not in {run.pk for run in runs}:
            runs += Run.objects.select_related("campaign").filter(pk=named)
        return [(str(run.pk), f"{run} · {run.get_state_display()}") for run in runs]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet | None:
        run = self.value()
        if run is None:
            return None
        return queryset.filter(run=run) if run.isdecimal() else queryset.none()


@admin.register(Recommendation)
class RecommendationAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("shopper", "rank", "coupon", "chance", "why", "run", "is_offered")
    list_select_related = ("shopper", "coupon", "run__campaign")
    list_filter = (RunFilter, "excluded")
    list_disable_select_all = True  # a run may hold millions
    sortable_by = ()  # no other index serves
    search_fields = ("shopper__shopper_id", "coupon__coupon_id")
    search_help_text = gettext_lazy("A whole shopper id or coupon id.")
    fields = ("run", "shopper", "coupon", "rank", "chance", "why", "why_not", "excluded")
    readonly_fields = ("chance", "why", "why_not")
    actions = ("take_out", "put_back")

    def get_ordering(self, request: HttpRequest) -> Sequence[str]:
        # By list, as the indexes are: sorting them otherwise would read every row.
        return ("shopper", "rank") if RunFilter.parameter_name in request.GET else ("-run_id", "-shopper_id", "-rank")

    @display(description=gettext_lazy("chance of use"), ordering="score")
    def chance(self, recommendation: Recommendation) -> str:
        return percent_of(recommendation.score)

    @display(description=gettext_lazy("why"))
    def why(self, recommendation: Recommendation) -> SafeString:
        return list_reasons(speaking_for(recommendation.reasons))

    @display(description=gettext_lazy("what speaks against it"))
    def why_not(self, recommendation: Recommendation) -> SafeString:
        return list_reasons(speaking_against(recommendation.reasons))

    @display(description=gettext_lazy("offered"), boolean=True)
    def is_offered(self, recommendation: Recommendation) -> bool:
        return not recommendation.excluded

    def has_review_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("recommender.review_run")

    @action(description=gettext_lazy("Take out of the lists"), permissions=["review"])
    def take_out(self, request: HttpRequest, queryset: QuerySet[Recommendation]) -> HttpResponse:
        return _ask("exclude", queryset)

    @action(description=gettext_lazy("Put back into the lists"), permissions=["review"])
    def put_back(self, request: HttpRequest, queryset: QuerySet[Recommendation]) -> HttpResponse:
        return _ask("include", queryset)

    def get_urls(self) -> list[URLPattern]:
        page = re_path(
            r"^correct/(?P<kind>exclude|include)/$",
            self.admin_site.admin_view(self.correct_chosen),
            name="recommender_recommendation_correct",
        )
        return [page, *super().get_urls()]

    def correct_chosen(self, request: HttpRequest, kind: str) -> HttpResponse:
        """Correct all that were chosen, with one reason, or none and say why."""
        if not self.has_review_permission(request) or not self.has_view_permission(request):
            raise PermissionDenied
        keys = [key for key in request.GET.getlist("row") if key.isdecimal()]
        chosen = list(
            self.get_queryset(request)
            .select_related("run__campaign", "run__model_version", "coupon", "shopper")
            .filter(pk__in=keys)
            .order_by("pk")
        )

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.services.corrections import correct_run

            for row in chosen:
                correct_run(
                    run=row.run,
                    kind=RunCorrection.Kind(kind),
                    coupon=row.coupon,
                    shopper=row.shopper,
                    reason=data["reason"],
                    made_by=request.user,  # type: ignore[arg-type]
                )
            return Outcome(_said(kind, len(chosen)))

        excluding = kind == RunCorrection.Kind.EXCLUDE
        refusals = [refuse_correction(run) for run in {row.run_id: row.run for row in chosen}.values()]
        refusal = next((text for text in refusals if text is not None), None)
        return confirm_and_do(
            model_admin=self,
            request=request,
            refusal=refusal if chosen else _("Nothing was chosen."),
            confirmation=Confirmation(
                title=_("Take out of the lists") if excluding else _("Put back into the lists"),
                text=_("Each is a correction of its run, which can be undone until that is published."),
                button=_("Take out") if excluding else _("Put back"),
                facts=[(_("Recommendation"), row) for row in chosen],
            ),
            act=act,
            form_class=ReasonForm,
        )


def _ask(kind: str, queryset: QuerySet[Recommendation]) -> HttpResponse:
    query = {"row": list(queryset.values_list("pk", flat=True))}
    return redirect(reverse("admin:recommender_recommendation_correct", args=[kind], query=query))


def _said(kind: str, count: int) -> str:
    if kind == RunCorrection.Kind.EXCLUDE:
        text = ngettext("%(count)d recommendation is taken out.", "%(count)d recommendations are taken out.", count)
    else:
        text = ngettext("%(count)d recommendation is put back.", "%(count)d recommendations are put back.", count)
    return text % {"count": count}


def list_reasons(reasons: list[Reason]) -> SafeString:
    """A line a reason, with how strong it is; nothing where there is none."""
    lines = format_html_join(
        "",
        '<span class="reason">{} <span class="reason-strength">{}</span></span>',
        zip(in_words(reasons), map(strength_in_words, reasons), strict=True),
    )
    return format_html('<span class="reasons">{}</span>', lines) if lines else lines
