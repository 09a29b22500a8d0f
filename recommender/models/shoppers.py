"""The people who buy."""

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.models.fields import ShopIdentifierField, attributes_field


class ShopperQuerySet(models.QuerySet["Shopper"]):
    def addressable(self) -> "ShopperQuerySet":
        """Who may be offered anything: everyone who has not opted out."""
        return self.filter(opted_out=False)


class Shopper(models.Model):
    shopper_id = ShopIdentifierField(_("shopper id"), unique=True)
    joined_at = models.DateTimeField(_("joined"), null=True, blank=True)
    opted_out = models.BooleanField(
        _("opted out"), default=False, help_text=_("Is never scored, offered or served anything.")
    )
    attributes = attributes_field()

    objects = ShopperQuerySet.as_manager()

    class Meta:
        verbose_name = _("shopper")
        verbose_name_plural = _("shoppers")
        indexes = [
            models.Index(fields=["joined_at"], name="shopper_joined"),
            models.Index(fields=["id"], condition=Q(opted_out=True), name="shopper_opted_out"),
        ]
        permissions = [("erase_shopper", "Can erase a shopper everywhere")]

    def __str__(self) -> str:
        return self.shopper_id
