"""What a shop has in stock, and how long it is good."""

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.catalogue import Product
from recommender.models.fields import ShopIdentifierField


class Batch(models.Model):
    """Pieces of a product that came in together, to be had from ``received_at`` until they are sold out or no longer
    good.

    A product with any such row is offered only while something of it can be had that is good; see
    :mod:`recommender.services.stock`.
    """

    batch_id = ShopIdentifierField(_("batch id"), unique=True)
    product = models.ForeignKey(Product, verbose_name=_("product"), on_delete=models.CASCADE, related_name="batches")
    received_at = models.DateTimeField(
        _("received"), help_text=_("From when on it is to be had. Of a delivery that is expected it lies ahead.")
    )
    best_before = models.DateTimeField(_("best before"), help_text=_("The first moment at which it is no longer good."))
    sold_out_at = models.DateTimeField(
        _("sold out"), null=True, blank=True, help_text=_("Since when nothing of it is left. Empty: some of it is.")
    )

    class Meta:
        verbose_name = _("batch")
        verbose_name_plural = _("batches")
        constraints = [
            models.CheckConstraint(condition=Q(best_before__gt=F("received_at")), name="batch_good_when_received"),
            models.CheckConstraint(
                condition=Q(sold_out_at__isnull=True) | Q(sold_out_at__gt=F("received_at")),
                name="batch_sold_out_after_received",
            ),
        ]
        indexes = [models.Index(fields=["product", "best_before"], name="batch_product_best_before")]

    def __str__(self) -> str:
        return self.batch_id
