"""What was learned: compared, looked at, and made the champion."""

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from recommender.admin import metrics
from recommender.admin.base import ReadOnlyMixin, TableAdmin, change_url, link_to
from recommender.admin.calibration import tabulate_calibration
from recommender.admin.comparison import compare_versions
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.curves import draw_curves, name_first_groups, weigh_groups
from recommender.admin.figures import count_of, decimal_of, percent_of
from recommender.admin.input_drift import describe_inputs
from recommender.admin.summed_up import show_figures
from recommender.models import BACKTEST_FIGURE, Evaluation, Job, ModelVersion, Promotion, Shop, Snapshot
from recommender.services.input_drift import measure_inputs
from recommender.services.shared_files import has_file, open_file
from recommender.services.summaries import Calibration
from recommender.wording import gettext as _

PROMOTIONS_SHOWN = 50


class PromoteForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        help_text=gettext_lazy("Kept with the promotion for whoever asks later."),
        max_length=500,
        widget=UnfoldAdminTextInputWidget(),
    )


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("__str__", "created_at", "history_until", "rows", "size_on_disk")
    list_filter = ("created_at",)
    search_fields = ("fingerprint__startswith",)
    fields = ("fingerprint", "created_at", "history_until", "row_counts_in_words", "size_on_disk")
    readonly_fields = ("row_counts_in_words", "size_on_disk")

    @display(description=gettext_lazy("rows"))
    def rows(self, snapshot: Snapshot) -> str:
        return count_of(sum(snapshot.row_counts.values()))

    @display(description=gettext_lazy("rows"))
    def row_counts_in_words(self, snapshot: Snapshot) -> SafeString:
        counts = ((name.replace("_", " "), count_of(count)) for name, count in snapshot.row_counts.items())
        return format_html_join("", '<span class="fact">{} <b>{}</b></span>', counts)

    @display(description=gettext_lazy("size"), ordering="size")
    def size_on_disk(self, snapshot: Snapshot) -> str:
        return filesizeformat(snapshot.size)


class EvaluationInline(ReadOnlyMixin, TabularInline):
    model = Evaluation
    fields = ("title", "figure", "interval")
    readonly_fields = ("title", "figure", "interval")
    ordering = ("pk",)
    extra = 0
    hide_title = True

    @display(description=gettext_lazy("metric"))
    def title(self, evaluation: Evaluation) -> str:
        return str(metrics.title_of(evaluation.metric))

    @display(description=gettext_lazy("value"))
    def figure(self, evaluation: Evaluation) -> str:
        return metrics.value_of(evaluation)

    @display(description=gettext_lazy("95 % interval"))
    def interval(self, evaluation: Evaluation) -> str:
        return metrics.interval_of(evaluation)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyMixin, TableAdmin):
    list_display = (
        "__str__",
        "is_champion",
        "learned_until",
        *metrics.MAIN,
        "created_at",
    )
    list_filter = ("algorithm", "won", "created_at")
    search_fields = ("id__exact", "algorithm__startswith", "snapshot__fingerprint__startswith")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("algorithm", "is_the_champion"),
                    ("learned_until", "created_at"),
                    ("snapshot", "job"),
                    ("learned_from", "seconds_to_fit"),
                    ("seconds_to_score", "memory"),
                    ("threshold_in_percent", "won"),
                )
            },
        ),
        (
            gettext_lazy("How it can be made again"),
            {
                "classes": ("collapse",),
                "fields": ("configuration", "parameters", "library_versions", "artifact", "artifact_digest"),
            },
        ),
    )
    readonly_fields = (
        "is_the_champion",
        "learned_from",
        "seconds_to_fit",
        "seconds_to_score",
        "memory",
        "threshold_in_percent",
        "drawn_model",
    )
    change_form_outer_after_template = "admin/recommender/version.html"
    inlines = (EvaluationInline,)
    actions_list = ("train", "compare_latest", "explain_champion")
    actions_detail = ("promote", "compare")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelVersion]:
        main = Evaluation.objects.filter(metric__in=metrics.MAIN)
        return (
            super()
            .get_queryset(request)
            .annotate(champion=Exists(Shop.objects.filter(champion=OuterRef("pk"))))
            .prefetch_related(Prefetch("evaluations", queryset=main, to_attr="main_evaluations"))
            .defer("curves", "importance", "past_outcomes")
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.get_object(request, object_id)
        if version is not None and self.has_view_permission(request, version):
            extra_context = {
                **(extra_context or {}),
                "importance": weigh_groups(version),
                "curves": draw_curves([version]),
                "shown": (shown := show_figures(Calibration(version))),
                "calibration": shown.content and tabulate_calibration(shown.content),
                "inputs": describe_inputs(measure_inputs(version=version)),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    @display(description=gettext_lazy("champion"), label={True: "success"})
    def is_champion(self, version: ModelVersion) -> tuple[bool, str] | None:
        return (True, _("champion")) if version.champion else None  # type: ignore[attr-defined]

    @display(description=gettext_lazy("champion"), boolean=True)
    def is_the_champion(self, version: ModelVersion) -> bool:
        return version.champion  # type: ignore[attr-defined]

    @display(description=gettext_lazy("learned from"))
    def learned_from(self, version: ModelVersion) -> str:
        return _("%(offers)s offers, of which %(used)s were used") % {
            "offers": count_of(version.training_rows),
            "used": count_of(version.training_positives),
        }

    @display(description=gettext_lazy("seconds to fit"))
    def seconds_to_fit(self, version: ModelVersion) -> str:
        return decimal_of(version.fit_seconds)

    @display(description=gettext_lazy("seconds to score a million offers"))
    def seconds_to_score(self, version: ModelVersion) -> str:
        return metrics.UNDEFINED if version.score_seconds is None else decimal_of(version.score_seconds)

    @display(description=gettext_lazy("memory"))
    def memory(self, version: ModelVersion) -> str:
        return metrics.UNDEFINED if version.peak_memory is None else filesizeformat(version.peak_memory)

    @display(description=gettext_lazy("counted as used"))
    def threshold_in_percent(self, version: ModelVersion) -> str:
        return _("from a chance of %(threshold)s on, in accuracy, precision, recall and F1") % {
            "threshold": percent_of(version.threshold)
        }

    def get_fieldsets(self, request: HttpRequest, obj: ModelVersion | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is None or not obj.drawing:
            return fieldsets
        return [*fieldsets, (_("What it learned"), {"fields": ("drawn_model",)})]

    @display(description=gettext_lazy("drawing"))
    def drawn_model(self, version: ModelVersion) -> SafeString:
        return format_html(
            '<a class="drawing" href="{address}"><img src="{address}" alt="{title}"></a>',
            address=reverse("admin:recommender_modelversion_drawing", args=[version.pk]),
            title=_("The questions that the model asks, and how many offers were used after each answer"),
        )

    @display(description=metrics.COLUMNS["roc_auc"].title)
    def roc_auc(self, version: ModelVersion) -> str:
        return _main_figure(version, "roc_auc")

    @display(description=metrics.COLUMNS["pr_auc"].title)
    def pr_auc(self, version: ModelVersion) -> str:
        return _main_figure(version, "pr_auc")

    @display(description=metrics.COLUMNS["ndcg_at_10"].title)
    def ndcg_at_10(self, version: ModelVersion) -> str:
        return _main_figure(version, "ndcg_at_10")

    @display(description=metrics.COLUMNS["recall_at_10"].title)
    def recall_at_10(self, version: ModelVersion) -> str:
        return _main_figure(version, "recall_at_10")

    def get_urls(self) -> list[URLPattern]:
        figure = path(
            "<int:version_id>/figure/", self.admin_site.admin_view(self.figure), name="recommender_modelversion_figure"
        )
        drawing = path(
            "<int:version_id>/drawing/",
            self.admin_site.admin_view(self.drawing),
            name="recommender_modelversion_drawing",
        )
        backtest_figure = path(
            "backtest-figure/",
            self.admin_site.admin_view(self.backtest_figure),
            name="recommender_modelversion_backtest_figure",
        )
        return [figure, drawing, backtest_figure, *super().get_urls()]

    def figure(self, request: HttpRequest, version_id: int) -> FileResponse:
        """The figure that was drawn when the version was compared."""
        version = self.get_viewable(request, str(version_id))
        return _picture(version, version.figure)

    def drawing(self, request: HttpRequest, version_id: int) -> FileResponse:
        """The model itself, as it was drawn when it was learned."""
        version = self.get_viewable(request, str(version_id))
        return _picture(version, version.drawing)

    def backtest_figure(self, request: HttpRequest) -> FileResponse:
        """The figure of the latest backtest."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not has_file(BACKTEST_FIGURE):
            raise Http404(_("There has been no backtest."))
        return FileResponse(open_file(BACKTEST_FIGURE), content_type="image/png")

    def list_possible_actions(self, obj: ModelVersion) -> Iterable[str]:
        return ("compare",) if obj.champion else self.actions_detail  # type: ignore[attr-defined]

    @action(
        description=gettext_lazy("Compare and train"),
        permissions=["recommender.start_job"],
        icon="model_training",
        variant=ActionVariant.PRIMARY,
    )
    def train(self, request: HttpRequest) -> HttpResponse:
        def act(data: object) -> Outcome:
            from recommender.jobs import start_job

            job = start_job(
                kind=Job.Kind.TRAIN,
                key="train",
                arguments={},
                started_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(_("The algorithms are being compared and trained."), url=change_url(job))

        confirmation = Confirmation(
            title=_("Compare and train"),
            text=_(
                "Every algorithm is compared on the latest campaigns and learned anew. One that is clearly better "
                "becomes the champion. Shoppers see nothing of it before a run is published."
            ),
            button=_("Compare and train"),
            facts=[(_("Champion now"), Shop.current().champion or _("none"))],
        )
        return confirm_and_do(model_admin=self, request=request, confirmation=confirmation, act=act)

    @action(description=gettext_lazy("Latest comparison"), permissions=["view"], icon="bar_chart")
    def compare_latest(self, request: HttpRequest) -> HttpResponse:
        newest = ModelVersion.objects.order_by("-learned_until", "-pk").first()
        if newest is None:
            messages.info(request, _("Nothing was trained yet."))
            return redirect("admin:recommender_modelversion_changelist")
        return redirect("admin:recommender_modelversion_compare", newest.pk)

    @action(description=gettext_lazy("Compare"), permissions=["view"], icon="bar_chart")
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The versions of one training side by side."""
        version = self.get_viewable(request, object_id)
        versions = (
            self.get_queryset(request)
            .defer(None)
            .filter(snapshot=version.snapshot_id, learned_until=version.learned_until)
        )
        context = {
            **self.admin_site.each_context(request),
            "title": _("Comparison of the models"),
            "opts": self.opts,
            "original": version,
            "version": version,
            "snapshot_link": link_to(version.snapshot),
            "comparison": compare_versions(versions),
            "curves": draw_curves(by_name := list(versions.order_by("algorithm", "pk"))),
            "first_groups": name_first_groups(by_name),
            "backtest_figure_url": has_file(BACKTEST_FIGURE)
            and reverse("admin:recommender_modelversion_backtest_figure"),
            "figure_url": version.figure and reverse("admin:recommender_modelversion_figure", args=[version.pk]),
        }
        return TemplateResponse(request, "admin/recommender/comparison.html", context)

    @action(description=gettext_lazy("The champion"), permissions=["view"], icon="trophy")
    def explain_champion(self, request: HttpRequest) -> HttpResponse:
        """Why the champion is the champion, what it heeds, whether its promises came true, and who was it before."""
        key = Shop.current().champion_id
        if key is None:
            messages.info(request, _("Nothing was trained yet."))
            return redirect("admin:recommender_modelversion_changelist")
        champion = self.get_viewable(request, str(key))
        promotions = Promotion.objects.select_related("model_version", "previous", "promoted_by")
        shown = show_figures(Calibration())
        context = {
            **self.admin_site.each_context(request),
            "title": _("The champion"),
            "opts": self.opts,
            "champion": champion,
            "champion_link": link_to(champion),
            "figures": _describe_figures(champion),
            "promotion": promotions.filter(model_version=champion).first(),
            "promotions": [
                {
                    "promotion": promotion,
                    "link": link_to(promotion.model_version),
                    "previous": link_to(promotion.previous),
                }
                for promotion in promotions[:PROMOTIONS_SHOWN]
            ],
            "compare_url": reverse("admin:recommender_modelversion_compare", args=[champion.pk]),
            "importance": weigh_groups(champion),
            "shown": shown,
            "calibration": shown.content and tabulate_calibration(shown.content),
            "inputs": describe_inputs(measure_inputs(version=champion)),
        }
        return TemplateResponse(request, "admin/recommender/champion.html", context)

    @action(
        description=gettext_lazy("Promote"),
        permissions=["recommender.promote_modelversion"],
        icon="trophy",
        variant=ActionVariant.PRIMARY,
    )
    def promote(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = self.get_viewable(request, object_id)
        champion = Shop.current().champion

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.services.training import promote

            promote(
                model_version=version,
                reason=data["reason"],
                promoted_by=request.user,  # type: ignore[arg-type]
            )
            return Outcome(_("%(version)s is the champion.") % {"version": version})

        confirmation = Confirmation(
            title=_("Make it the champion"),
            text=_("It computes the runs from now on. What is live stays as it is."),
            button=_("Promote"),
            facts=[
                (_("Model version"), _describe(version)),
                (_("Champion now"), _describe(champion and self.get_queryset(request).get(pk=champion.pk))),
            ],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=version,
            confirmation=confirmation,
            act=act,
            form_class=PromoteForm,
        )


@admin.register(Evaluation)
class EvaluationAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("model_version", "title", "figure", "interval")
    list_select_related = ("model_version",)
    list_filter = ("metric",)
    search_fields = ("model_version__id__exact", "model_version__algorithm__startswith", "metric__startswith")
    ordering = ("-model_version", "pk")
    fields = ("version_link", "title", "figure", "interval")
    readonly_fields = fields

    @display(description=gettext_lazy("model version"))
    def version_link(self, evaluation: Evaluation) -> str | None:
        return link_to(evaluation.model_version)

    @display(description=gettext_lazy("metric"), ordering="metric")
    def title(self, evaluation: Evaluation) -> str:
        return str(metrics.title_of(evaluation.metric))

    @display(description=gettext_lazy("value"), ordering="value")
    def figure(self, evaluation: Evaluation) -> str:
        return metrics.value_of(evaluation)

    @display(description=gettext_lazy("95 % interval"))
    def interval(self, evaluation: Evaluation) -> str:
        return metrics.interval_of(evaluation)


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("model_version", "previous", "promoted_at", "promoted_by", "reason")
    list_select_related = ("model_version", "previous", "promoted_by")
    list_filter = ("promoted_at",)
    search_fields = ("model_version__id__exact", "model_version__algorithm__startswith", "reason")


def _picture(version: ModelVersion, name: str) -> FileResponse:
    """A picture of the version by its path under the data directory, and no other file."""
    folder = settings.DATA_DIR.resolve()
    file = (folder / name).resolve()
    if not file.is_relative_to(folder) or file.suffix != ".png" or not has_file(name):
        raise Http404(_("Model version %(version)s has no such figure.") % {"version": version})
    return FileResponse(open_file(name), content_type="image/png")


def _main_figure(version: ModelVersion, metric: str) -> str:
    figures = {figure.metric: figure for figure in version.main_evaluations}  # type: ignore[attr-defined]
    return metrics.value_of(figures[metric]) if metric in figures else metrics.UNDEFINED


def _describe(version: ModelVersion | None) -> str:
    """The version with its main figures."""
    if version is None:
        return _("none")
    return f"{version}: {_describe_figures(version)}"


def _describe_figures(version: ModelVersion) -> str:
    return ", ".join(f"{metrics.title_of(metric)} {_main_figure(version, metric)}" for metric in metrics.MAIN)
