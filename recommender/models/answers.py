"""Answers to the pages that ask before something is done."""

from datetime import datetime, timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _


class AnswerQuerySet(models.QuerySet["Answer"]):
    def forgettable_at(self, moment: datetime) -> "AnswerQuerySet":
        """Those of pages that nobody has open any more."""
        return self.filter(answered_at__lt=moment - Answer.KEPT)


class Answer(models.Model):
    """That a page was answered, and what came of it: a second click on the same page is told that and does nothing.

    The key is the one that the page was shown with. The row is written in the transaction of what was done.
    """

    KEPT = timedelta(days=2)

    key = models.UUIDField(_("key"), primary_key=True)
    answered_at = models.DateTimeField(_("answered"), auto_now_add=True, db_index=True)
    message = models.TextField(_("message"))
    url = models.CharField(_("page to go on with"), max_length=500)

    objects = AnswerQuerySet.as_manager()

    class Meta:
        verbose_name = _("answer")
        verbose_name_plural = _("answers")
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.key)
