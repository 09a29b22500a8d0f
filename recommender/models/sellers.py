"""Who sells on a platform."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from recommender.models.fields import ShopIdentifierField


class Seller(models.Model):
    """A seller, as products and coupons name it: ``Product.seller_id``, ``Coupon.funded_by``."""

    seller_id = ShopIdentifierField(_("seller id"), unique=True)
    name = models.CharField(_("name"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("seller")
        verbose_name_plural = _("sellers")

    def __str__(self) -> str:
        return self.name or self.seller_id
