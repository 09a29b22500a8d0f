"""The search for a model: its trail, and the button that starts it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from recommender.admin import metrics
from recommender.admin.base import ReadOnlyMixin, TableAdmin, change_url
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import decimal_of
from recommender.models import Job, ModelVersion, SearchTrial, Shop
from recommender.wording import gettext as _

#: A worker gives no work more than three hours, and what comes after the last trial takes its time too.
MOST_MINUTES = 120
#: Rounded as everywhere; under their fields' own names Django would show the fields.
FIGURES = tuple(f"{name}_shown" for name in metrics.MAIN)


class SearchForm(forms.Form):
    minutes = forms.IntegerField(
        label=gettext_lazy("Minutes"),
        help_text=gettext_lazy(
            "The trial that is under way is finished; the comparison with the champion comes on top."
        ),
        min_value=1,
        max_value=MOST_MINUTES,
        initial=10,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


@admin.register(SearchTrial)
class SearchTrialAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("name", *FIGURES, "seconds_taken", "learned_until", "version", "created_at")
    list_filter = ("algorithm", "learned_until", "created_at")
    search_fields = ("id__exact", "algorithm__startswith", "snapshot__fingerprint__startswith")
    list_before_template = "admin/recommender/search_trials.html"
    fields = (
        "name",
        ("ndcg_at_10_shown", "recall_at_10_shown"),
        ("roc_auc_shown", "pr_auc_shown"),
        "seconds_taken",
        ("snapshot", "learned_until"),
        ("version", "job"),
        "created_at",
    )
    readonly_fields = ("name", *FIGURES, "seconds_taken", "version")
    actions_list = ("search",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SearchTrial]:
        fitted = ModelVersion.objects.filter(key=OuterRef("key")).values("pk")
        return super().get_queryset(request).annotate(version_id=Subquery(fitted))

    @display(description=gettext_lazy("configuration"), ordering="algorithm")
    def name(self, trial: SearchTrial) -> str:
        return trial.name

    @display(description=gettext_lazy("seconds"), ordering="seconds")
    def seconds_taken(self, trial: SearchTrial) -> str:
        return decimal_of(trial.seconds)

    @display(description=gettext_lazy("fitted as"))
    def version(self, trial: SearchTrial) -> SafeString | None:
        """The model version that the same configuration became, if it was fitted on the same data."""
        key = trial.version_id  # type: ignore[attr-defined]
        if key is None:
            return None
        address = reverse("admin:recommender_modelversion_change", args=[key])
        return format_html('<a class="text-link" href="{}">{} {}</a>', address, trial.algorithm, key)

    @display(description=metrics.COLUMNS["ndcg_at_10"].title, ordering="ndcg_at_10")
    def ndcg_at_10_shown(self, trial: SearchTrial) -> str:
        return metrics.COLUMNS["ndcg_at_10"].format(trial.ndcg_at_10)

    @display(description=metrics.COLUMNS["recall_at_10"].title, ordering="recall_at_10")
    def recall_at_10_shown(self, trial: SearchTrial) -> str:
        return metrics.COLUMNS["recall_at_10"].format(trial.recall_at_10)

    @display(description=metrics.COLUMNS["roc_auc"].title, ordering="roc_auc")
    def roc_auc_shown(self, trial: SearchTrial) -> str:
        return metrics.COLUMNS["roc_auc"].format(trial.roc_auc)

    @display(description=metrics.COLUMNS["pr_auc"].title, ordering="pr_auc")
    def pr_auc_shown(self, trial: SearchTrial) -> str:
        return metrics.COLUMNS["pr_auc"].format(trial.pr_auc)

    @action(
        description=gettext_lazy("Search for the model"),
        permissions=["recommender.start_job"],
        icon="search",
        variant=ActionVariant.PRIMARY,
    )
    def search(self, request: HttpRequest) -> HttpResponse:
        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.jobs import start_job

            job = start_job(
                kind=Job.Kind.SEARCH,
                key="search",
                arguments={"seconds": timedelta(minutes=data["minutes"]).total_seconds()},
                started_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(_("The search is under way."), url=change_url(job))

        confirmation = Confirmation(
            title=_("Search for the model"),
            text=_(
                "Parameters of the algorithms are tried on the latest campaigns. The best becomes the champion if "
                "shoppers that it was not chosen by confirm it. A search on the same history goes on where the last "
                "one stopped. Shoppers see nothing of it before a run is published."
            ),
            button=_("Search"),
            facts=[(_("Champion now"), Shop.current().champion or _("none"))],
        )
        return confirm_and_do(
            model_admin=self, request=request, confirmation=confirmation, act=act, form_class=SearchForm
        )
