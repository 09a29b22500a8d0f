"""Kinds of shoppers, and who they are before anything is saved."""

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.db.models import QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.admin import StackedInline
from unfold.decorators import action, display

from recommender.admin.base import TableAdmin, change_url
from recommender.admin.confirmation import Confirmation, Outcome, confirm_and_do
from recommender.admin.figures import count_of
from recommender.admin.spreadsheets import SpreadsheetAdmin
from recommender.models import CampaignSegment, Segment, SegmentCondition
from recommender.services.spreadsheets.segments import MOST_CONDITIONS, SegmentResource
from recommender.services.tiers import DAYS, NEW_DAYS

#: How each tier is cut, as :mod:`recommender.services.tiers` does it.
_RULES: dict[Segment.Tier, str | Promise] = {
    Segment.Tier.FREQUENT: gettext_lazy(
        "Ordered as lately as two thirds of the shoppers of the last %(days)s days, and as often as the quarter of "
        "them that orders most often. Without new ones."
    ),
    Segment.Tier.LOYAL: gettext_lazy(
        "Ordered as lately as two thirds of the shoppers of the last %(days)s days, less often than frequent ones, and "
        "spent as much as the half of them that spends the most. Without new ones."
    ),
    Segment.Tier.LAPSING: gettext_lazy(
        "Ordered within the last %(days)s days, but not as lately as two thirds of those who did. Without new ones."
    ),
    Segment.Tier.NEW: gettext_lazy("Ordered for the first time within the last %(new_days)s days."),
}
#: Set by the script, which wants the answer without the page around it.
FRAGMENT_HEADER = "X-Fragment"


class ConditionInline(StackedInline):
    model = SegmentCondition
    fields = (("kind", "comparison"), ("amount", "days"), "category", ("attribute", "value"))
    autocomplete_fields = ("category",)
    ordering = ("pk",)
    extra = 0
    min_num = 1
    max_num = MOST_CONDITIONS

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> type[BaseInlineFormSet]:
        return super().get_formset(request, obj, validate_min=True, validate_max=True, **kwargs)


@admin.register(Segment)
class SegmentAdmin(SpreadsheetAdmin):
    resource_classes = (SegmentResource,)
    list_display = ("name", "conditions_in_words")
    list_filter = ("match",)
    search_fields = ("name",)
    fields = ("name", "description", "how_it_is_cut", "match")
    readonly_fields = ("how_it_is_cut",)
    inlines = (ConditionInline,)
    actions_list = ("reckon_tiers",)
    change_form_after_template = "admin/recommender/segment_preview.html"

    class Media:
        js: ClassVar[list[str]] = ["recommender/segment_form.js"]

    def has_import_permission(self, request: HttpRequest) -> bool:
        """A sheet brings the conditions too, and takes some away."""
        needed = [f"recommender.{verb}_segmentcondition" for verb in ("add", "change", "delete")]
        return super().has_import_permission(request) and request.user.has_perms(needed)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Segment]:
        return super().get_queryset(request).prefetch_related("conditions__category")

    @display(description=gettext_lazy("conditions"))
    def conditions_in_words(self, segment: Segment) -> str:
        told = [describe_condition(condition) for condition in segment.conditions.all()]
        if len(told) > 1 and segment.match == Segment.Match.ANY:
            told = [_("any of: %(conditions)s") % {"conditions": "; ".join(told)}]
        return format_html('<span class="cell-text">{}</span>', "; ".join(told))

    @display(description=gettext_lazy("tier"))
    def how_it_is_cut(self, segment: Segment) -> str:
        if not segment.tier:
            return _("None: staff write its conditions.")
        told = _RULES[Segment.Tier(segment.tier)] % {"days": DAYS, "new_days": NEW_DAYS}
        again = _(
            "The numbers below are reckoned anew every night, but not from a sale event's warm-up until a day after it."
        )
        return f"{told} {again}"

    @action(description=gettext_lazy("Reckon tiers"), permissions=["reckon_tiers"], icon="stairs")
    def reckon_tiers(self, request: HttpRequest) -> HttpResponse:
        """Write the conditions of the four tiers from the shop's history."""

        def act(data: object) -> Outcome:
            from recommender.services.tiers import reckon_tiers

            cuts = reckon_tiers(at=timezone.now())
            text = _("The tiers were reckoned from %(shoppers)s shoppers.") % {"shoppers": count_of(cuts.shoppers)}
            return Outcome(text)

        confirmation = Confirmation(
            title=_("Reckon tiers"),
            text=_(
                "Four segments are made, or their conditions written anew: frequent, loyal, lapsing and new shoppers, "
                "by how lately, how often and for how much the shop's shoppers ordered."
            ),
            button=_("Reckon tiers"),
            facts=[(str(tier.label), _RULES[tier] % {"days": DAYS, "new_days": NEW_DAYS}) for tier in Segment.Tier],
        )
        return confirm_and_do(model_admin=self, request=request, confirmation=confirmation, act=act)

    def has_reckon_tiers_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.preview)
        return [
            path("preview/", view, name="recommender_segment_preview"),
            path("<int:segment_id>/preview/", view, name="recommender_segment_preview_of"),
            *super().get_urls(),
        ]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        extra_context = {**(extra_context or {}), "preview_url": self._preview_url(request, object_id)}
        return super().changeform_view(request, object_id, form_url, extra_context)

    def _preview_url(self, request: HttpRequest, object_id: str | None) -> str | None:
        if object_id is None:
            return reverse("admin:recommender_segment_preview")
        if not object_id.isdecimal() or not self.has_change_permission(request):
            return None
        return reverse("admin:recommender_segment_preview_of", args=[object_id])

    def preview(self, request: HttpRequest, segment_id: int | None = None) -> HttpResponse:
        """Who would belong to the segment if the form that is posted were saved. Nothing is."""
        segment = self.get_viewable(request, str(segment_id)) if segment_id is not None else None
        if segment is None and not self.has_add_permission(request):
            raise PermissionDenied
        if segment is not None and not self.has_change_permission(request, segment):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        context = self._preview(request, segment)
        if FRAGMENT_HEADER in request.headers:
            return TemplateResponse(request, "admin/recommender/segment_members.html", context)
        page = {
            **self.admin_site.each_context(request),
            "title": _("Who belongs to it"),
            "opts": self.opts,
            "original": segment,
            **context,
        }
        return TemplateResponse(request, "admin/recommender/segment_preview_page.html", page)

    def _preview(self, request: HttpRequest, segment: Segment | None) -> dict[str, Any]:
        from recommender.services.segments import preview_segment

        form = self.get_form(request, segment, change=segment is not None)(request.POST, instance=segment)
        match_errors = form.errors.get("match", [])
        formset = self._create_formsets(request, form.instance, change=segment is not None)[0][0]
        if match_errors or not formset.is_valid():
            return {"errors": [*match_errors, *_errors_of(formset)]}
        preview = preview_segment(
            conditions=[each.instance for each in formset.forms if not formset._should_delete_form(each)],
            match=form.cleaned_data["match"],
            at=timezone.now(),
        )
        return {
            "preview": preview,
            "addressable": count_of(preview.addressable),
            "opted_out": count_of(preview.opted_out),
            "shoppers": [{"shopper": shopper, "url": change_url(shopper)} for shopper in preview.sample],
        }


@admin.register(SegmentCondition)
class SegmentConditionAdmin(TableAdmin):
    list_display = ("segment", "kind", "comparison", "amount", "days", "category", "attribute", "value")
    list_select_related = ("segment", "category")
    list_filter = ("kind",)
    search_fields = ("segment__name__startswith", "attribute__startswith")
    autocomplete_fields = ("segment", "category")


@admin.register(CampaignSegment)
class CampaignSegmentAdmin(TableAdmin):
    list_display = ("segment", "campaign", "excluded", "at_least_uses")
    list_select_related = ("segment", "campaign")
    list_filter = ("excluded",)
    search_fields = ("segment__name__startswith", "campaign__campaign_id__exact")
    autocomplete_fields = ("segment", "campaign")


def describe_condition(condition: SegmentCondition) -> str:
    """A condition in words, such as “number of orders at least 4 in 90 days”."""
    told = {
        "kind": condition.get_kind_display(),
        "category": condition.category,
        "comparison": condition.get_comparison_display(),
        "amount": number_format(condition.amount.normalize(), force_grouping=True)
        if condition.amount is not None
        else "",
        "days": count_of(condition.days or 0),
        "attribute": condition.attribute,
        "value": condition.value,
    }
    if condition.kind == SegmentCondition.Kind.ATTRIBUTE:
        return _("%(attribute)s %(comparison)s “%(value)s”") % told
    if condition.kind in SegmentCondition.AGES:
        return _("%(kind)s %(comparison)s %(days)s") % told
    if condition.kind == SegmentCondition.Kind.CATEGORY:
        told["kind"] = _("orders from “%(category)s”") % told
    if condition.days is None:
        return _("%(kind)s %(comparison)s %(amount)s") % told
    return _("%(kind)s %(comparison)s %(amount)s in %(days)s days") % told


def _errors_of(formset: BaseInlineFormSet) -> Sequence[str]:
    """What is wrong with conditions, each with the name of its field."""
    told = [str(error) for error in formset.non_form_errors()]
    for number, form in enumerate(formset.forms, start=1):
        for name, errors in form.errors.items():
            label = form.fields[name].label if name != NON_FIELD_ERRORS else ""
            told += [
                _("Condition %(number)s, %(field)s: %(error)s")
                % {"number": number, "field": label or _("as a whole"), "error": error}
                for error in errors
            ]
    return told
