"""Answers to the pages that ask before something is done."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Answer(models.Model):
    """That a page was answered: its key is the one that the page was shown with, so a second click does nothing more.

    Written in the transaction of what was done, and needed only while such a page may still be open.
    """

    key = models.UUIDField(_("key"), primary_key=True)
    answered_at = models.DateTimeField(_("answered"), auto_now_add=True, db_index=True)
    url = models.CharField(_("went on with"), max_length=500)

    class Meta:
        verbose_name = _("answer")
        verbose_name_plural = _("answers")
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.key)
