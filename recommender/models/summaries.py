"""What pages show of many rows, summed up ahead of them."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.translation import gettext_lazy as _


class Summary(models.Model):
    """Figures of more rows than a page can wait for, and when they were summed up.

    ``key`` names what is summed up. ``basis`` names the state of the rows: figures of another state are not shown.
    """

    key = models.CharField(_("key"), max_length=100, unique=True)
    basis = models.CharField(_("basis"), max_length=200, blank=True)
    content = models.JSONField(_("figures"), encoder=DjangoJSONEncoder)
    made_at = models.DateTimeField(_("summed up"))

    class Meta:
        verbose_name = _("summary")
        verbose_name_plural = _("summaries")
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
