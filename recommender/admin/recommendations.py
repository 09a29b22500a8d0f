"""The lists of the runs, shopper by shopper."""

from collections.abc import Sequence

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import action, display

from recommender.admin.base import ReadOnlyMixin, TableAdmin
from recommender.admin.figures import percent_of
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.models import Recommendation, Run, RunCorrection
from recommender.reasons import Reason, in_words, speaking_against, speaking_for, strength_in_words


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
    def take_out(self, request: HttpRequest, queryset: QuerySet[Recommendation]) -> None:
        if changed := self._correct(request, queryset, RunCorrection.Kind.EXCLUDE):
            text = ngettext(
                "%(count)d recommendation is taken out.", "%(count)d recommendations are taken out.", changed
            )
            messages.success(request, text % {"count": changed})

    @action(description=gettext_lazy("Put back into the lists"), permissions=["review"])
    def put_back(self, request: HttpRequest, queryset: QuerySet[Recommendation]) -> None:
        if changed := self._correct(request, queryset, RunCorrection.Kind.INCLUDE):
            text = ngettext("%(count)d recommendation is put back.", "%(count)d recommendations are put back.", changed)
            messages.success(request, text % {"count": changed})

    def _correct(self, request: HttpRequest, queryset: QuerySet[Recommendation], kind: RunCorrection.Kind) -> int:
        """Correct all that were chosen, or none and say why. How many."""
        from recommender.services.corrections import correct_run

        chosen = list(queryset.select_related("run__campaign", "run__model_version", "coupon", "shopper"))
        try:
            with transaction.atomic():
                for row in chosen:
                    correct_run(
                        run=row.run,
                        kind=kind,
                        coupon=row.coupon,
                        shopper=row.shopper,
                        made_by=request.user,  # type: ignore[arg-type]
                    )
        except ValueError as error:
            messages.error(request, str(error))
            return 0
        return len(chosen)


def list_reasons(reasons: list[Reason]) -> SafeString:
    """A line a reason, with how strong it is; nothing where there is none."""
    lines = format_html_join(
        "",
        '<span class="reason">{} <span class="reason-strength">{}</span></span>',
        zip(in_words(reasons), map(strength_in_words, reasons), strict=True),
    )
    return format_html('<span class="reasons">{}</span>', lines) if lines else lines
