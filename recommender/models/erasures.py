"""Who was forgotten, without saying who."""

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _


class Erasure(models.Model):
    """The record of a shopper who was erased: when, by whom, and what was removed. The identifier is a keyed digest,
    which answers whether somebody was erased to whoever asks with the identifier, and tells nobody who it was."""

    identifier_hash = models.CharField(_("digest of the identifier"), max_length=64, db_index=True)
    erased_at = models.DateTimeField(_("erased"))
    erased_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("erased by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    removed = models.JSONField(_("removed"), default=dict, help_text=_("How many rows and files, by kind."))
    snapshots = models.JSONField(
        _("snapshots written anew"),
        default=list,
        encoder=DjangoJSONEncoder,
        help_text=_("The fingerprint that each had, and the one that it has now."),
    )
    retired_models = models.JSONField(
        _("models retired"), default=list, help_text=_("The keys of versions that had learned from the shopper.")
    )

    class Meta:
        verbose_name = _("erasure")
        verbose_name_plural = _("erasures")
        ordering = ["-pk"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.erased_at:%Y-%m-%d} · {self.identifier_hash[:12]}"
