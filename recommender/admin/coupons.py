"""Offers and what they are for."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from recommender.admin.base import LabelledInline, TableAdmin
from recommender.admin.figures import count_of, in_currency
from recommender.admin.long_lists import IdentifierSearchMixin
from recommender.admin.remarks import RemarksMixin
from recommender.admin.spreadsheets import SpreadsheetAdmin
from recommender.models import Coupon, CouponCounter, CouponTarget, Shop
from recommender.services.spreadsheets.coupons import CouponResource


@dataclass(frozen=True)
class UseInWords:
    """How often a coupon was used and what that took off, each with its limit if there is one."""

    uses: str
    spent: str


class CouponTargetInline(LabelledInline):
    model = CouponTarget
    autocomplete_fields = ("product", "category")
    ordering = ("pk",)
    extra = 0
    per_page = 20  # a coupon may be for thousands of products


@admin.register(Coupon)
class CouponAdmin(RemarksMixin, SpreadsheetAdmin):
    resource_classes = (CouponResource,)
    list_display = ("coupon_id", "title", "discount_type", "discount_value", "starts_at", "ends_at", "active")
    list_filter = ("active", "discount_type", "stackable")
    search_fields = ("coupon_id__startswith", "offer_id__startswith", "code__exact", "title")
    fieldsets = (
        (
            _("The offer"),
            {"fields": ("title", ("coupon_id", "offer_id"), "code", "active")},
        ),
        (
            _("What it takes off"),
            {
                "fields": (
                    ("discount_type", "discount_value"),
                    ("buy_quantity", "get_quantity"),
                    ("max_discount", "min_spend"),
                ),
                "description": _(
                    "What it is for stands below. A coupon for nothing in particular is for everything. It takes off "
                    "the lines that it is for and no others, and never more than they cost. “Buy some, get some” needs "
                    "both quantities: 2 to buy and 1 to get is three for the price of two, the cheapest discounted."
                ),
            },
        ),
        (
            _("When"),
            {
                "fields": ("starts_at", "ends_at"),
                "description": _("Empty: whenever a campaign with it runs. It never holds outside its campaigns."),
            },
        ),
        (
            _("For whom"),
            {
                "fields": ("segment", "first_order_only"),
                "description": _(
                    "Looked up whenever it is used, so that whoever leaves the segment or orders can no longer use it."
                ),
            },
        ),
        (
            _("How often, and who pays"),
            {
                "fields": (
                    ("per_shopper_limit", "total_limit"),
                    ("per_day_limit", "per_week_limit", "per_month_limit"),
                    "budget",
                    ("funded_by", "funded_percent"),
                ),
                "description": _(
                    "Empty: no limit. Days, weeks from Monday and months are those of the shop's clock. A budget is "
                    "never overdrawn: once what is left does not pay a whole discount, the coupon is refused rather "
                    "than shortened."
                ),
            },
        ),
        (
            _("Used so far"),
            {
                "fields": (("uses_so_far", "spent_so_far"),),
                "description": _("With what is held for baskets at the checkout and for members of groups."),
            },
        ),
        (
            _("With other coupons"),
            {
                "fields": (("stackable", "exclusion_group"),),
                "description": _(
                    "A coupon that is not stackable is used alone. Of all the coupons of a basket those are used that "
                    "may be used together and save the shopper the most."
                ),
            },
        ),
        (
            _("For groups"),
            {
                "fields": (("group_size", "group_hours"),),
                "description": _(
                    "Shoppers join a group, and the coupon holds for all of them once the group is full in time."
                ),
            },
        ),
    )
    autocomplete_fields = ("segment",)
    readonly_fields = ("uses_so_far", "spent_so_far")
    inlines = (CouponTargetInline,)
    change_form_outer_before_template = "admin/recommender/remarks.html"

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        from recommender.services.campaigns import propose_coupon

        return propose_coupon(now=timezone.now()) | super().get_changeform_initial_data(request)

    @display(description=_("uses"))
    def uses_so_far(self, coupon: Coupon) -> str:
        return _tell_use(coupon).uses

    @display(description=_("spent"))
    def spent_so_far(self, coupon: Coupon) -> str:
        return _tell_use(coupon).spent

    def find_remarks(self, obj: Coupon) -> list[str]:
        from recommender.services.remarks import remark_on_coupon

        return remark_on_coupon(coupon=obj, now=timezone.now())


def _tell_use(coupon: Coupon) -> UseInWords:
    """Kept with the coupon: the template asks for it time and again, and it may have to be counted."""
    if not hasattr(coupon, "use_in_words"):
        coupon.use_in_words = _put_in_words(coupon)  # type: ignore[attr-defined]
    return coupon.use_in_words  # type: ignore[attr-defined]


def _put_in_words(coupon: Coupon) -> UseInWords:
    from recommender.services.counters import read_counters

    shop, counter = Shop.current(), CouponCounter()
    if coupon.pk is not None:
        counter = read_counters(coupons=[coupon.pk], campaigns=[]).coupons[coupon.pk]
    uses, spent = count_of(counter.uses), in_currency(counter.spent, shop)
    return UseInWords(
        uses if coupon.total_limit is None else f"{uses} / {count_of(coupon.total_limit)}",
        spent if coupon.budget is None else f"{spent} / {in_currency(coupon.budget, shop)}",
    )


@admin.register(CouponTarget)
class CouponTargetAdmin(IdentifierSearchMixin, TableAdmin):
    list_display = ("coupon", "product", "category", "brand")
    list_select_related = ("coupon", "product", "category")
    search_fields = ("coupon__coupon_id", "product__product_id", "brand")
    search_help_text = _("A whole coupon id, product id or brand.")
    autocomplete_fields = ("coupon", "product", "category")
