"""How far the inputs of a model have moved since training: in words, as a list and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.decorators import display

from recommender.admin.base import ReadOnlyMixin, TableAdmin, change_url, changelist_url, link_to
from recommender.admin.charts import Column, ColumnChart, column_chart
from recommender.admin.figures import count_of, decimal_of, percent_of, significant_of
from recommender.admin.input_labels import label_of
from recommender.models import Run, RunInput
from recommender.services.input_drift import InputDrift

#: Inputs that a page draws, and that a sentence names.
DRAWN, NAMED = 6, 3

VARIANTS = {
    RunInput.Verdict.STEADY: "success",
    RunInput.Verdict.SHIFTED: "info",
    RunInput.Verdict.USUAL: "default",
    RunInput.Verdict.MOVED: "danger",
}


@dataclass(frozen=True)
class DrawnInput:
    """An input with its index, and its shares by bin then and now."""

    title: str
    index: str
    usual: str
    verdict: str | Promise
    variant: str
    chart: ColumnChart | None


@dataclass(frozen=True)
class RunInputsCard:
    """What ``run/inputs.html`` shows of one run."""

    verdict: str
    variant: str
    note: str
    list_url: str
    version_url: str


@dataclass(frozen=True)
class InputsCard:
    """What ``inputs.html`` shows."""

    verdict: str | Promise
    variant: str
    drawn: list[DrawnInput]
    explanation: str
    run_link: str | None
    list_url: str


def describe_inputs(drift: InputDrift) -> InputsCard:
    variant = ("danger" if drift.moved else "success") if drift.run else "default"
    return InputsCard(
        verdict=sum_up(drift),
        variant=variant,
        drawn=[draw_input(each) for each in drift.inputs[:DRAWN]],
        explanation=_explain(drift),
        run_link=link_to(drift.run),
        list_url=list_url(drift.run) if drift.run else "",
    )


def describe_run_inputs(run: Run) -> RunInputsCard:
    moved = list(run.inputs.moved().order_by("-index", "name"))
    compared = bool(moved) or run.inputs.exists()
    if compared:
        verdict, note = count_moved(len(moved)), name_inputs(moved)
    elif run.learned_inputs_id is None:
        verdict, note = _("not recorded at training"), ""
    else:
        verdict, note = _("not known yet"), _("It is not computed, or of too few shoppers to tell.")
    return RunInputsCard(
        verdict=verdict,
        variant=("danger" if moved else "success") if compared else "default",
        note=note,
        list_url=list_url(run) if compared else "",
        version_url=f"{change_url(run.model_version)}#inputs",
    )


def list_url(run: Run) -> str:
    """Where all inputs of a run are listed."""
    return changelist_url(RunInput, {"run__id__exact": run.pk})


def sum_up(drift: InputDrift) -> str:
    """How many moved, in few words."""
    if drift.run is None:
        return _("not known yet") if drift.recorded else _("not recorded at training")
    return count_moved(len(drift.moved))


def count_moved(count: int) -> str:
    if not count:
        return _("as learned")
    return ngettext("%(count)d input moved a lot", "%(count)d inputs moved a lot", count) % {"count": count}


def note_on(drift: InputDrift) -> str:
    """What to know beside :func:`sum_up`: which moved, or what there was to compare."""
    if drift.run is None:
        return _("No run was compared with what the champion learned from.")
    if not drift.moved:
        return _("Run %(run)s: none of %(count)d inputs moved a lot.") % {
            "run": drift.run,
            "count": len(drift.inputs),
        }
    return name_inputs(drift.moved)


def name_inputs(inputs: Sequence[RunInput]) -> str:
    """The first few by name; nothing of none."""
    names = ", ".join(str(label_of(each.name)) for each in inputs[:NAMED])
    return capfirst(f"{names}, …" if len(inputs) > NAMED else names)


def _explain(drift: InputDrift) -> str:
    if not drift.recorded:
        return _(
            "What the inputs were like was not recorded when this version was trained: it is older than that record, "
            "or fewer than three campaigns with enough shoppers had ended by then."
        )
    if drift.run is None or drift.run.learned_inputs is None:
        return _("No run by this version, of enough shoppers to tell, was computed since.")
    learned = drift.run.learned_inputs
    compared = (
        _("Compared with the %(count)s campaigns of kind “%(kind)s” that the version learned from.")
        if learned.kind
        else _("Compared with the %(count)s campaigns that the version learned from.")
    ) % {"count": count_of(learned.campaign_count), "kind": learned.kind}
    convention = _(
        "The population stability index compares how many offers lie in each tenth of what was learned from: by "
        "convention an input is steady below 0.1, shifted up to 0.25, and has moved above (Siddiqi 2006). Campaigns "
        "differ by themselves, in their coupons and shoppers: an input moved a lot only if it lies further off than "
        "any campaign learned from lies from the others."
    )
    advice = _("Chances of use rest on something else than what was learned: train anew, or ask what has changed.")
    return " ".join([compared, convention, *([advice] if drift.moved else [])])


def draw_input(row: RunInput) -> DrawnInput:
    return DrawnInput(
        title=capfirst(str(label_of(row.name))),
        index=decimal_of(row.index, 2),
        usual=decimal_of(row.usual, 2),
        verdict=row.verdict.label,
        variant=VARIANTS[row.verdict],
        chart=column_chart(_columns(row)),
    )


def _columns(row: RunInput) -> list[Column]:
    """The share of each bin that holds anything, now and then."""
    now, then = sum(row.counts), sum(row.learned_counts)
    return [
        Column(
            label=label,
            value=count / now,
            shown=percent_of(count / now, 1),
            url="",
            before=learned / then,
            before_shown=percent_of(learned / then, 1),
        )
        for label, count, learned in zip(_bins(row.edges), row.counts, row.learned_counts, strict=True)
        if count or learned
    ]


def _bins(edges: Sequence[float]) -> list[str]:
    """Each bin in words. An edge that reads as the next one lies just below it, and there is one value between them."""
    shown = [significant_of(edge) for edge in edges]
    if not shown:
        return [_("all"), _("not a number")]
    single = [low == high for low, high in pairwise(shown)]
    first = _("below %(edge)s") if single and single[0] else _("up to %(edge)s")
    between = [
        high if is_single else f"{low} – {high}" for (low, high), is_single in zip(pairwise(shown), single, strict=True)
    ]
    return [first % {"edge": shown[0]}, *between, _("above %(edge)s") % {"edge": shown[-1]}, _("not a number")]


class MovedFilter(admin.SimpleListFilter):
    title = gettext_lazy("moved a lot")
    parameter_name = "moved"

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin) -> list[tuple[str, str]]:
        return [("1", _("Yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet | None:
        return queryset.moved() if self.value() == "1" else None  # type: ignore[attr-defined]


@admin.register(RunInput)
class RunInputAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("label", "run", "stability_index", "usual_index", "verdict_label")
    list_select_related = ("run__campaign",)
    list_filter = (MovedFilter,)
    search_fields = ("name__icontains", "run__id__exact")
    ordering = ("-run_id", "-index", "name")
    fields = ("run", "label", "stability_index", "usual_index", "verdict_label")
    readonly_fields = fields
    change_form_outer_after_template = "admin/recommender/input.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        row = self.get_object(request, object_id)
        if row is not None and self.has_view_permission(request, row):
            extra_context = {**(extra_context or {}), "drawn": draw_input(row)}
        return super().change_view(request, object_id, form_url, extra_context)

    @display(description=gettext_lazy("input"), ordering="name")
    def label(self, row: RunInput) -> str:
        return capfirst(str(label_of(row.name)))

    @display(description=gettext_lazy("stability index"), ordering="index")
    def stability_index(self, row: RunInput) -> str:
        return decimal_of(row.index, 2)

    @display(description=gettext_lazy("usual among campaigns"), ordering="usual")
    def usual_index(self, row: RunInput) -> str:
        return decimal_of(row.usual, 2)

    @display(description=gettext_lazy("verdict"), label=VARIANTS)
    def verdict_label(self, row: RunInput) -> tuple[str, str | Promise]:
        return row.verdict, row.verdict.label

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "run__id__exact" or super().lookup_allowed(lookup, value, request)
