"""Coupons, with what they are for, as a spreadsheet."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from django.db.models import Count, QuerySet
from django.utils.translation import gettext as _
from import_export.fields import Field
from tablib import Dataset

from recommender.models import Category, Coupon, CouponTarget, Product
from recommender.services.spreadsheets.resources import SpreadsheetResource
from recommender.services.spreadsheets.widgets import Cell, SegmentWidget, TextWidget

Targets = tuple[str, ...]
KINDS = ("target_products", "target_categories", "target_brands")
#: A cell with more is neither read by people nor held by a spreadsheet: the targets are left as they are.
MAX_TARGETS = 200
MAX_CHARACTERS = 30_000
TOO_MANY: Targets = ("(too many to list)",)


class TargetsWidget(Cell):
    """Names, one a line within the cell. ``known`` are those that may be named; None means that all may."""

    def __init__(self) -> None:
        super().__init__()
        self.known: Collection[str] | None = None

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> Targets:
        names = split_cell(value)
        if names == TOO_MANY:
            return TOO_MANY
        unknown = [] if self.known is None else [name for name in names if name not in self.known]
        if unknown:
            raise ValueError(_("There is no %(name)s.") % {"name": unknown[0][:100]})
        return names

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return TextWidget().render("\n".join(value or ()))


class CouponResource(SpreadsheetResource):
    """A coupon's targets of a kind are replaced as a whole by its cell."""

    identifier = "coupon_id"
    segment = Field("segment", "segment", SegmentWidget())
    target_products = Field("target_products", "target_products", TargetsWidget())
    target_categories = Field("target_categories", "target_categories", TargetsWidget())
    target_brands = Field("target_brands", "target_brands", TargetsWidget())

    class Meta(SpreadsheetResource.Meta):
        model = Coupon
        import_id_fields = ("coupon_id",)
        fields = (
            *("coupon_id", "offer_id", "title", "code", "discount_type", "discount_value", "min_spend"),
            *("max_discount", "buy_quantity", "get_quantity", "total_limit", "per_shopper_limit", "per_day_limit"),
            *("per_week_limit", "per_month_limit", "first_order_only", "segment", "starts_at", "ends_at", "stackable"),
            *(
                "exclusion_group",
                "group_size",
                "group_hours",
                "budget",
                "funded_by",
                "funded_percent",
                "active",
                *KINDS,
            ),
        )
        widgets = {"active": {"empty": True}, "ends_at": {"through_day": True}}

    def get_queryset(self) -> QuerySet[Coupon]:
        return super().get_queryset().select_related("segment")

    def before_import(self, dataset: Dataset, **kwargs: Any) -> None:
        super().before_import(dataset, **kwargs)
        named = {
            kind: {name for cell in dataset[kind] for name in split_cell(cell)} if kind in dataset.headers else set()
            for kind in KINDS
        }
        products = Product.objects.in_bulk(named["target_products"], field_name="product_id")
        categories = Category.objects.in_bulk(named["target_categories"], field_name="path")
        self._products = {name: product.pk for name, product in products.items()}
        self._categories = {name: category.pk for name, category in categories.items()}
        self.fields["target_products"].widget.known = self._products
        self.fields["target_categories"].widget.known = self._categories
        coupon_ids = [TextWidget().clean(cell) for cell in dataset["coupon_id"]]
        stored = Coupon.objects.filter(coupon_id__in=coupon_ids)
        self._targets = read_targets(list(stored.values_list("pk", flat=True)))

    def after_init_instance(self, instance: Coupon, new: bool, row: Mapping[str, Any], **kwargs: Any) -> None:
        _show(instance, self._targets.get(instance.pk))

    def after_save_instance(self, instance: Coupon, row: Mapping[str, Any], **kwargs: Any) -> None:
        before = self._targets.get(instance.pk, {})
        for kind in KINDS:
            now = getattr(instance, kind)
            if now not in (TOO_MANY, before.get(kind, ())):
                self._replace(instance, kind, now)

    def iter_queryset(self, queryset: QuerySet[Coupon]) -> Iterator[Coupon]:
        coupons = list(queryset)
        targets = read_targets([coupon.pk for coupon in coupons])
        for coupon in coupons:
            _show(coupon, targets.get(coupon.pk))
            yield coupon

    def _replace(self, coupon: Coupon, kind: str, now: Targets) -> None:
        field = {"target_products": "product", "target_categories": "category", "target_brands": "brand"}[kind]
        lookup = {"product": "product__product_id", "category": "category__path", "brand": "brand"}[field]
        # From the table: of targets too many to list the cell said nothing.
        stored = CouponTarget.objects.filter(coupon=coupon, **{f"{lookup}__isnull": False}).exclude(**{lookup: ""})
        names = set(stored.values_list(lookup, flat=True))
        stored.filter(**{f"{lookup}__in": names - set(now)}).delete()
        CouponTarget.objects.bulk_create(self._target(coupon, field, name) for name in now if name not in names)

    def _target(self, coupon: Coupon, field: str, name: str) -> CouponTarget:
        if field == "product":
            return CouponTarget(coupon=coupon, product_id=self._products[name])
        if field == "category":
            return CouponTarget(coupon=coupon, category_id=self._categories[name])
        return CouponTarget(coupon=coupon, brand=name)


def split_cell(value: Any) -> Targets:
    """The names in a cell, each once, in order."""
    lines = (line.strip() for line in TextWidget().clean(value).splitlines())
    return tuple(sorted({line for line in lines if line}))


def read_targets(coupons: list[int]) -> dict[int, dict[str, Targets]]:
    """The targets of coupons, by their keys, as their cells show them."""
    counts = CouponTarget.objects.filter(coupon__in=coupons).values_list("coupon").annotate(Count("pk")).order_by()
    found: dict[int, dict[str, Targets]] = {}
    listed = []
    for coupon, count in counts:
        if count > MAX_TARGETS:
            found[coupon] = dict.fromkeys(KINDS, TOO_MANY)
        else:
            listed.append(coupon)
    names: dict[int, dict[str, list[str]]] = defaultdict(lambda: {kind: [] for kind in KINDS})
    rows = CouponTarget.objects.filter(coupon__in=listed).values_list(
        "coupon_id", "product__product_id", "category__path", "brand"
    )
    for coupon, product, category, brand in rows:
        cells = zip(KINDS, (product, category, brand), strict=True)
        kind, name = next((kind, name) for kind, name in cells if name)
        names[coupon][kind].append(name)
    for coupon, by_kind in names.items():
        found[coupon] = {kind: _fit(values) for kind, values in by_kind.items()}
    return found


def _fit(names: Iterable[str]) -> Targets:
    targets = tuple(sorted(names))
    return TOO_MANY if len("\n".join(targets)) > MAX_CHARACTERS else targets


def _show(coupon: Coupon, targets: Mapping[str, Targets] | None) -> None:
    """Give a coupon the attributes that its sheet's columns show."""
    for kind in KINDS:
        setattr(coupon, kind, (targets or {}).get(kind, ()))
