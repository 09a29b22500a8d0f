"""What is kept of the review of runs: expectations by coupon, corrections and comments."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from recommender.admin.base import ReadOnlyMixin, TableAdmin, changelist_url
from recommender.admin.figures import count_of, uses_of
from recommender.admin.long_lists import IdentifierSearchMixin, tell_count
from recommender.admin.run_review import basis_in_words
from recommender.models import RunComment, RunCorrection, RunCorrectionShopper, RunCoupon


@admin.register(RunCoupon)
class RunCouponAdmin(ReadOnlyMixin, TableAdmin):
    list_display = (
        "coupon",
        "run",
        "shoppers",
        "uses",
        "discount_per_use",
        "revenue_per_use",
        "margin_per_use",
        "discount_rests_on",
        "revenue_rests_on",
    )
    list_select_related = ("coupon", "run__campaign")
    list_filter = ("spend_basis", "discount_basis")
    search_fields = ("coupon__coupon_id__exact", "run__id__exact")
    ordering = ("-run_id", "-shopper_count", "coupon_id")

    @display(description=gettext_lazy("shoppers"), ordering="shopper_count")
    def shoppers(self, row: RunCoupon) -> str:
        return count_of(row.shopper_count)

    @display(description=gettext_lazy("expected uses"), ordering="expected_uses")
    def uses(self, row: RunCoupon) -> str:
        return uses_of(row.expected_uses)

    @display(description=gettext_lazy("discount rests on"), ordering="discount_basis")
    def discount_rests_on(self, row: RunCoupon) -> str:
        return basis_in_words(row.discount_basis, row.discount_count)

    @display(description=gettext_lazy("revenue rests on"), ordering="spend_basis")
    def revenue_rests_on(self, row: RunCoupon) -> str:
        return basis_in_words(row.spend_basis, row.spend_count)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "run__id__exact" or super().lookup_allowed(lookup, value, request)


@admin.register(RunCorrection)
class RunCorrectionAdmin(ReadOnlyMixin, TableAdmin):
    list_display = (
        "run",
        "kind",
        "coupon",
        "shopper",
        "segment_name",
        "reason",
        "made_by",
        "made_at",
        "undone_by",
        "undone_at",
    )
    list_select_related = ("run__campaign", "coupon", "shopper", "made_by", "undone_by")
    list_filter = ("kind", "made_at")
    search_fields = ("coupon__coupon_id__exact", "shopper__shopper_id__exact", "run__id__exact")
    fields = (
        *("run", "kind", "coupon", "shopper", "segment", "segment_name", "reached", "reason", "job"),
        *("made_by", "made_at", "undone_by", "undone_at"),
    )
    readonly_fields = ("reached",)

    @display(description=gettext_lazy("shoppers of the segment"))
    def reached(self, correction: RunCorrection) -> SafeString | None:
        """How many it reached, with the way to them."""
        if not correction.segment_name:
            return None
        url = changelist_url(RunCorrectionShopper, {"correction__id__exact": correction.pk})
        count = tell_count(correction.correction_shoppers.all())
        return format_html('<a class="text-link" href="{}">{}</a>', url, count)


@admin.register(RunCorrectionShopper)
class RunCorrectionShopperAdmin(ReadOnlyMixin, IdentifierSearchMixin, TableAdmin):
    list_display = ("shopper", "correction")
    list_select_related = ("shopper", "correction__coupon")
    search_fields = ("shopper__shopper_id",)
    search_help_text = gettext_lazy("A whole shopper id.")
    ordering = ("-correction_id", "-shopper_id")
    sortable_by = ()  # no other index serves

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "correction__id__exact" or super().lookup_allowed(lookup, value, request)


@admin.register(RunComment)
class RunCommentAdmin(ReadOnlyMixin, TableAdmin):
    list_display = ("run", "text", "written_by", "written_at")
    list_select_related = ("run__campaign", "written_by")
    list_filter = ("written_at",)
    search_fields = ("text", "run__id__exact")
    ordering = ("-pk",)
