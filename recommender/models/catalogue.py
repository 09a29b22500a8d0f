"""The things on sale."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.models.fields import MoneyField, ShopIdentifierField, attributes_field

CATEGORY_SEPARATOR = " / "


class Category(models.Model):
    """A level of the catalogue's tree, named by its path: ``Grocery / Frozen / Ice``."""

    path = models.CharField(_("path"), max_length=500, unique=True)
    parent = models.ForeignKey(
        "self", verbose_name=_("parent"), null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )

    class Meta:
        verbose_name = _("category")
        verbose_name_plural = _("categories")

    def __str__(self) -> str:
        return self.path

    @property
    def name(self) -> str:
        """The last level of the path."""
        return self.path.rsplit(CATEGORY_SEPARATOR, 1)[-1]


class ProductQuerySet(models.QuerySet["Product"]):
    def on_sale(self) -> "ProductQuerySet":
        return self.filter(active=True)


class Product(models.Model):
    product_id = ShopIdentifierField(_("product id"), unique=True)
    name = models.CharField(_("name"), max_length=300, blank=True)
    category = models.ForeignKey(
        Category, verbose_name=_("category"), null=True, blank=True, on_delete=models.PROTECT, related_name="products"
    )
    brand = models.CharField(_("brand"), max_length=200, blank=True)
    price = MoneyField(_("price"), null=True, blank=True)
    cost = MoneyField(_("cost"), null=True, blank=True, help_text=_("What the shop pays for one."))
    rating = models.FloatField(_("rating"), null=True, blank=True)
    seller_id = ShopIdentifierField(_("seller id"), blank=True)
    active = models.BooleanField(_("on sale"), default=True)
    attributes = attributes_field()

    objects = ProductQuerySet.as_manager()

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        indexes = [models.Index(fields=["brand"], name="product_brand")]
        constraints = [
            models.CheckConstraint(
                condition=Q(price__isnull=True) | Q(price__gte=0), name="product_price_not_negative"
            ),
            models.CheckConstraint(condition=Q(cost__isnull=True) | Q(cost__gte=0), name="product_cost_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.product_id})" if self.name else self.product_id
