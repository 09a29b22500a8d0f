"""Experiments: strategies side by side, what came of each, and the one that becomes the default."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldBooleanWidget

from recommender.admin.base import LabelledInline, TableAdmin, link_to
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import count_of, decimal_of, exact_of, money_of, percent_of
from recommender.admin.summed_up import Shown, show_figures
from recommender.models import Experiment, ExperimentArm, Publication, Shop
from recommender.services.experiment_results import ArmResult, Comparison, ExperimentResults
from recommender.services.summaries import WhatArmsChanged
from recommender.wording import gettext as _
from recommender.wording import ngettext

STATE_LABELS = {
    Experiment.State.DRAFTED: "warning",
    Experiment.State.RUNNING: "success",
    Experiment.State.ENDED: "default",
}
#: What can be done with an experiment in each state.
ACTIONS = {Experiment.State.DRAFTED: ("start",), Experiment.State.RUNNING: ("make_default", "stop")}

OUTCOMES: dict[str, str | Promise] = {
    "revenue": gettext_lazy("Revenue"),
    "margin": gettext_lazy("Margin"),
    "orders": gettext_lazy("Orders"),
    "uses": gettext_lazy("Uses of the campaign's coupons"),
    "dismissals": gettext_lazy("Coupons dismissed"),
    "opt_outs": gettext_lazy("Shoppers who opted out"),
}
MONEY = ("revenue", "margin")
VERDICTS: dict[str, str | Promise] = {
    "more": gettext_lazy("Surely more than the default"),
    "less": gettext_lazy("Surely less than the default"),
    "same": gettext_lazy("About the same"),
    "not_enough": gettext_lazy("Not enough data yet"),
    "no_holdout": gettext_lazy("Nobody was served yet"),
}
#: Figures are told of so many shoppers: of one they are too small to read.
SHOPPERS = 100


class ArmFormSet(BaseInlineFormSet):
    """What can be said of all arms together."""

    def clean(self) -> None:
        super().clean()
        arms = [
            form.cleaned_data
            for form in self.forms
            if form.cleaned_data.get("run") is not None and not form.cleaned_data.get("DELETE")
        ]
        campaign = self.instance.campaign_id
        if campaign and any(arm["run"].campaign_id != campaign for arm in arms):
            raise forms.ValidationError(_("All arms have runs of the experiment's campaign."))
        whole = sum((arm.get("share_percent") or Decimal(0) for arm in arms), Decimal(0))
        if arms and whole != 100:
            raise forms.ValidationError(
                _("The shares of the arms add up to %(percent)s percent; they have to make 100.")
                % {"percent": exact_of(whole)}
            )


class ArmInline(LabelledInline):
    model = ExperimentArm
    formset = ArmFormSet
    fields = ("name", "run", "share_percent")
    verbose_name = gettext_lazy("arm")
    verbose_name_plural = gettext_lazy("arms")
    autocomplete_fields = ("run",)
    ordering = ("pk",)
    extra = 0
    min_num = 2

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).select_related("run__campaign")


class DefaultForm(forms.Form):
    """Which arm is made the default, and somebody's word where the figures do not speak for it."""

    arm = forms.ChoiceField(label=gettext_lazy("Make the default"), widget=UnfoldAdminSelectWidget())
    accepted = forms.BooleanField(
        label=gettext_lazy("I have read what speaks against it and do it all the same"),
        required=False,
        widget=UnfoldBooleanWidget(),
    )
    #: Of each arm what speaks against it; set by the class that a page makes of this one.
    doubts: Mapping[str, list[str]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.arms = {str(arm.pk): arm for arm in ExperimentArm.objects.filter(pk__in=self.doubts).order_by("pk")}
        self.fields["arm"].choices = [(key, str(arm)) for key, arm in self.arms.items()]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.doubts.get(cleaned.get("arm", "")) and not cleaned.get("accepted"):
            self.add_error("accepted", _("Something speaks against this arm. Read it first, and then tick this."))
        return cleaned


@admin.register(Experiment)
class ExperimentAdmin(TableAdmin):
    list_display = ("name", "campaign", "state_label", "outcome", "started_at", "ended_at", "winner")
    list_select_related = ("campaign", "winner")
    list_filter = ("state", "started_at")
    search_fields = ("name", "campaign__campaign_id__exact")
    fieldsets = (
        (
            None,
            {
                "fields": ("name", "campaign", "outcome"),
                "description": gettext_lazy(
                    "Each shopper is in one arm and stays there. One arm has the run that the campaign shows now: the "
                    "others are compared with it. Before the start nothing changes for anybody."
                ),
            },
        ),
        (gettext_lazy("What happened"), {"fields": (("started_at", "started_by"), ("ended_at", "ended_by"), "winner")}),
    )
    readonly_fields = ("started_at", "started_by", "ended_at", "ended_by", "winner")
    autocomplete_fields = ("campaign",)
    inlines = (ArmInline,)
    actions_detail = ("start", "make_default", "stop")
    change_form_outer_before_template = "admin/recommender/experiment.html"

    def get_fieldsets(self, request: HttpRequest, obj: Experiment | None = None) -> Any:
        what, happened = super().get_fieldsets(request, obj)
        return (what,) if obj is None or obj.state == Experiment.State.DRAFTED else (what, happened)

    @display(description=gettext_lazy("state"), ordering="state", label=STATE_LABELS)
    def state_label(self, experiment: Experiment) -> tuple[str, str]:
        return experiment.state, experiment.get_state_display()

    def has_change_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        """What was started stays as it was started."""
        return super().has_change_permission(request, obj) and (obj is None or obj.state == Experiment.State.DRAFTED)

    def has_delete_permission(self, request: HttpRequest, obj: Experiment | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.state == Experiment.State.DRAFTED)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without deleting several: some of them may have been started."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def list_possible_actions(self, obj: Experiment) -> Iterable[str]:
        return ACTIONS.get(Experiment.State(obj.state), ())

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        experiment = self.get_object(request, object_id)
        if experiment is not None and experiment.started_at and self.has_view_permission(request, experiment):
            may_decide = experiment.state == Experiment.State.RUNNING and request.user.has_perm(
                "recommender.publish_run"
            )
            extra_context = {
                **(extra_context or {}),
                "experiment": describe_experiment(experiment, _show(experiment), may_decide=may_decide),
            }
        return super().change_view(request, object_id, form_url, extra_context)

    @action(
        description=gettext_lazy("Start"),
        permissions=["recommender.publish_run"],
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
    )
    def start(self, request: HttpRequest, object_id: str) -> HttpResponse:
        from recommender.services.experiments import refuse_to_start, start_experiment

        experiment = self.get_viewable(request, object_id)
        arms = list(experiment.arms.select_related("run__campaign", "run__model_version"))
        live = Publication.objects.live().filter(campaign=experiment.campaign_id).first()

        def act(data: object) -> Outcome:
            start_experiment(experiment=experiment, started_by=request.user)  # type: ignore[arg-type]
            return Outcome(_("The experiment runs."))

        confirmation = Confirmation(
            title=_("Start the experiment"),
            text=_(
                "From now on each shopper is served by their arm. Until it ends nothing else can be published in the "
                "campaign, and arms and shares stay as they are. It can be ended at any moment."
            ),
            button=_("Start"),
            facts=[
                (_("Campaign"), experiment.campaign),
                (_("Decided by"), experiment.get_outcome_display()),
                *((arm.name, _describe_arm(arm)) for arm in arms),
            ],
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=experiment,
            refusal=refuse_to_start(experiment=experiment, arms=arms, live=live, now=timezone.now()),
            confirmation=confirmation,
            act=act,
        )

    @action(
        description=gettext_lazy("End without a change"),
        permissions=["recommender.publish_run"],
        icon="stop_circle",
        variant=ActionVariant.DANGER,
    )
    def stop(self, request: HttpRequest, object_id: str) -> HttpResponse:
        experiment = self.get_viewable(request, object_id)

        def act(data: object) -> Outcome:
            from recommender.services.experiments import stop_experiment

            stop_experiment(experiment=experiment, ended_by=request.user)  # type: ignore[arg-type]
            return Outcome(_("The experiment is over. Everybody is shown what was shown before it."))

        confirmation = Confirmation(
            title=_("End the experiment"),
            text=_(
                "Everybody is shown at once what the campaign showed before. The runs of the other arms can be used "
                "again."
            ),
            button=_("End it"),
            facts=[(_("Experiment"), experiment), (_("Campaign"), experiment.campaign)],
            dangerous=True,
        )
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=experiment,
            refusal=_refuse_unless_running(experiment),
            confirmation=confirmation,
            act=act,
        )

    @action(
        description=gettext_lazy("Make it the default"),
        permissions=["recommender.publish_run"],
        icon="trophy",
        variant=ActionVariant.PRIMARY,
    )
    def make_default(self, request: HttpRequest, object_id: str) -> HttpResponse:
        experiment = self.get_viewable(request, object_id)
        refusal = _refuse_unless_running(experiment)
        shown = Shown[ExperimentResults](None) if refusal else _show(experiment)
        arms = list(experiment.arms.select_related("run__campaign", "run__model_version"))
        doubts = {str(arm.pk): _find_doubts(arm, shown.content) for arm in arms}

        def act(data: Mapping[str, Any]) -> Outcome:
            from recommender.services.experiments import make_default

            arm = next(arm for arm in arms if str(arm.pk) == data["arm"])
            make_default(arm=arm, by=request.user)  # type: ignore[arg-type]
            return Outcome(
                _("Run %(run)s of arm “%(arm)s” is shown to everybody. The experiment is over.")
                % {"run": arm.run_id, "arm": arm.name}
            )

        facts: list[tuple[str, object]] = [(_("Campaign"), experiment.campaign)]
        for arm in arms:
            facts.append((arm.name, _describe_arm(arm)))
            facts += [(_("Speaks against %(arm)s") % {"arm": arm.name}, doubt) for doubt in doubts[str(arm.pk)]]
        return confirm_and_do(
            model_admin=self,
            request=request,
            obj=experiment,
            refusal=refusal,
            confirmation=Confirmation(
                title=_("Make it the default"),
                text=_(
                    "The experiment ends, and the run of this arm is shown to everybody at once. Rolling the campaign "
                    "back returns to what was shown before."
                ),
                button=_("Make it the default"),
                facts=facts,
            ),
            act=act,
            form_class=type("DefaultFormOfExperiment", (DefaultForm,), {"doubts": doubts}),
            initial={"arm": request.GET.get("arm") or _propose(shown.content)},
        )


def describe_experiment(
    experiment: Experiment, shown: Shown[ExperimentResults], *, may_decide: bool
) -> dict[str, object]:
    """What the template shows of it."""
    found = shown.content
    if found is None:
        return {"shown": shown}
    shop = Shop.current()
    return {
        "shown": shown,
        "warnings": _warn(found),
        "summary": _sum_up(found),
        "default": next((each.arm for each in found.arms if each.is_default), None),
        "arms": [
            {
                "name": each.arm.name,
                "run": link_to(each.arm.run),
                "is_default": each.is_default,
                "shoppers": count_of(each.shoppers),
                "share": percent_of(each.share, 1),
                "url": f"{reverse('admin:recommender_experiment_make_default', args=[experiment.pk])}?arm={each.arm.pk}"
                if may_decide and not each.is_default
                else "",
                "rows": [_tabulate(comparison, shop, comparable=found.comparable) for comparison in each.comparisons],
            }
            for each in found.arms
        ],
    }


def _show(experiment: Experiment) -> Shown[ExperimentResults]:
    return show_figures(WhatArmsChanged(experiment))


def _warn(found: ExperimentResults) -> list[str]:
    """Why nothing below may be believed, and what an arm harms."""
    warnings: list[str] = []
    if found.misplaced:
        warnings.append(
            ngettext(
                "%(count)s shopper is on record in another arm than their own. Do not believe the figures below.",
                "%(count)s shoppers are on record in another arm than their own. Do not believe the figures below.",
                found.misplaced,
            )
            % {"count": count_of(found.misplaced)}
        )
    elif not found.comparable:
        warnings.append(
            _(
                "The arms do not have the shares of the shoppers that they were given. By chance that happens less "
                "than once in 1,000 experiments: shoppers were lost from some arm. Do not believe the figures below."
            )
        )
    for each in found.arms:
        harmed = [str(OUTCOMES[comparison.outcome]) for comparison in each.comparisons if comparison.harms]
        if harmed:
            warnings.append(
                _("Arm “%(arm)s” surely does harm: %(outcomes)s.")
                % {"arm": each.arm.name, "outcomes": ", ".join(harmed)}
            )
    return warnings


def _sum_up(found: ExperimentResults) -> str:
    if found.until is None:
        return _("Nothing is known yet of what was bought since the experiment began.")
    if not found.comparable:
        return ""
    better = [each.arm.name for each in found.arms if each.is_better and not each.harms]
    if better:
        return _("Surely better than the default, and no harm found: %(arms)s.") % {"arms": ", ".join(better)}
    return _("No arm is surely better than the default so far.")


def _tabulate(comparison: Comparison, shop: Shop, *, comparable: bool) -> dict[str, object]:
    def write(number: float | None) -> str:
        if number is None:
            return ""
        number = number * SHOPPERS + 0.0
        return money_of(number, shop.currency) if comparison.outcome in MONEY else decimal_of(number, 1)

    low, high = write(comparison.low), write(comparison.high)
    verdict = VERDICTS[comparison.verdict] if comparable else _("Not to be believed")
    return {
        "outcome": OUTCOMES[comparison.outcome],
        "decides": comparison.decides,
        "harms": comparison.harms,
        "mean": write(comparison.mean),
        "default_mean": write(comparison.default_mean),
        "value": write(comparison.value),
        "interval": _("%(low)s to %(high)s") % {"low": low, "high": high} if low and high else "",
        "verdict": verdict,
    }


def _find_doubts(arm: ExperimentArm, found: ExperimentResults | None) -> list[str]:
    """What speaks against making an arm the default; of the one that is the default already nothing does."""
    if found is None:
        return [_("Its figures are not summed up yet.")]
    result = next((each for each in found.arms if each.arm.pk == arm.pk), None)
    if result is None or result.is_default:
        return []
    doubts: list[str] = _warn(found) if not found.comparable else []
    harmed = [str(OUTCOMES[comparison.outcome]) for comparison in result.comparisons if comparison.harms]
    if harmed:
        doubts.append(_("It surely does harm: %(outcomes)s.") % {"outcomes": ", ".join(harmed)})
    if not result.is_better:
        doubts.append(_("It is not surely better than the default."))
    return doubts


def _propose(found: ExperimentResults | None) -> str:
    """The arm that the figures speak for; else the one that is the default."""
    arms: list[ArmResult] = found.arms if found is not None else []
    better = [each for each in arms if found is not None and not _find_doubts(each.arm, found)]
    chosen = next((each for each in better if not each.is_default), next(iter(better), None))
    return "" if chosen is None else str(chosen.arm.pk)


def _describe_arm(arm: ExperimentArm) -> str:
    return _("%(share)s of the shoppers: run %(run)s by %(model)s, at most %(top)s coupons, %(objective)s") % {
        "share": percent_of(float(arm.share_percent) / 100, 1),
        "run": arm.run_id,
        "model": arm.run.model_version,
        "top": arm.run.top,
        "objective": arm.run.get_objective_display() or _("the likeliest coupons"),
    }


def _refuse_unless_running(experiment: Experiment) -> str | None:
    return None if experiment.state == Experiment.State.RUNNING else _("This experiment is not running.")
