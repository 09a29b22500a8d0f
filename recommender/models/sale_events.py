"""Big sale events: when coupons are shown and when they hold, what may be used together, and how the money is paced.

The rows of hours and of the sum are written by :mod:`recommender.services.counters` alone where uses are counted, and
by :mod:`recommender.services.sale_events` where the plan is made.
"""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.fields import MoneyField

#: Of what many amounts come to; each of them may be as large as its field lets it.
SUM_DIGITS = 24
LONGEST = timedelta(days=31)  # an hour is a row


class SaleEvent(models.Model):
    """Campaigns that belong together. From the warm-up on their coupons are shown, from the start to the end they hold.

    An hour of the event is sixty minutes, counted from its start.
    """

    class Pacing(models.TextChoices):
        AT_ONCE = "at_once", _("all at once")
        EVEN = "even", _("the same every hour")
        PAST_ORDERS = "past_orders", _("as orders came in the past, by the hour of the day")

    name = models.CharField(_("name"), max_length=100, unique=True)
    warm_up_at = models.DateTimeField(
        _("warm-up from"), help_text=_("From then on its coupons are shown and can be claimed. They do not hold yet.")
    )
    starts_at = models.DateTimeField(_("starts"), help_text=_("From then on its coupons hold."))
    ends_at = models.DateTimeField(
        _("ends"), help_text=_("The first moment when its coupons are neither shown nor hold.")
    )
    budget = MoneyField(
        _("budget"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_("What all its campaigns may take off together. Empty: as much as their own budgets allow."),
    )
    pacing = models.CharField(
        _("budget comes"),
        max_length=16,
        choices=Pacing.choices,
        default=Pacing.EVEN,
        help_text=_("No more is taken off in an hour than came until then. What is left of an hour is for the next."),
    )
    most_coupons = models.PositiveSmallIntegerField(
        _("event coupons in a basket"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("At most so many. Empty: as many as may be used together."),
    )
    most_others = models.PositiveSmallIntegerField(
        _("other coupons beside them"),
        null=True,
        blank=True,
        help_text=_("At most so many; 0 for none. Empty: as many as may be used together."),
    )

    class Meta:
        verbose_name = _("sale event")
        verbose_name_plural = _("sale events")
        ordering = ["-starts_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=Q(warm_up_at__lte=F("starts_at"), starts_at__lt=F("ends_at")), name="sale_event_in_order"
            ),
            models.CheckConstraint(
                condition=Q(budget__isnull=True) | Q(budget__gte=0), name="sale_event_budget_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(most_coupons__isnull=True) | Q(most_coupons__gte=1), name="sale_event_allows_a_coupon"
            ),
            models.CheckConstraint(
                condition=Q(pacing__in=["at_once", "even", "past_orders"]), name="sale_event_pacing_known"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        if not (self.warm_up_at and self.starts_at and self.ends_at):
            return  # the fields say so themselves
        wrong = {}
        if self.warm_up_at > self.starts_at:
            wrong["warm_up_at"] = _("The warm-up must not begin after the event.")
        if self.ends_at <= self.starts_at:
            wrong["ends_at"] = _("The event must end after it starts.")
        elif self.ends_at > self.starts_at + LONGEST:
            wrong["ends_at"] = _("An event lasts 31 days at most.")
        if wrong:
            raise ValidationError(wrong)


class SaleEventCounter(models.Model):
    """What the discounts of an event come to. The row is the event's lock, and ``spent_ceiling`` what had come of its
    budget when the last use was counted."""

    sale_event = models.OneToOneField(
        SaleEvent, verbose_name=_("sale event"), on_delete=models.CASCADE, related_name="counter"
    )
    spent = MoneyField(_("spent"), max_digits=SUM_DIGITS, default=0)
    spent_ceiling = MoneyField(_("spent at most"), max_digits=SUM_DIGITS, null=True)

    class Meta:
        verbose_name = _("counter of a sale event")
        verbose_name_plural = _("counters of sale events")
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=Q(spent_ceiling__isnull=True) | Q(spent__lte=F("spent_ceiling")),
                name="sale_event_counter_keeps_pace",
            ),
            models.CheckConstraint(condition=Q(spent__gte=0), name="sale_event_counter_spent_not_negative"),
        ]

    def __str__(self) -> str:
        return str(self.sale_event_id)


class SaleEventHour(models.Model):
    """An hour of an event: what of the budget comes with it, and what was done in it.

    ``spent`` and ``uses`` are of the uses that were counted in this hour and still are. ``spent_ceiling`` is what could
    be spent in it, with what the hours before left, when the last use was counted.
    """

    sale_event = models.ForeignKey(
        SaleEvent,
        verbose_name=_("sale event"),
        on_delete=models.CASCADE,
        related_name="hours",
        db_index=False,  # the unique constraint serves
    )
    starts_at = models.DateTimeField(_("hour from"))
    planned = MoneyField(_("planned"), null=True, help_text=_("Empty where the event has no budget."))
    spent = MoneyField(_("spent"), max_digits=SUM_DIGITS, default=0)
    spent_ceiling = MoneyField(_("spent at most"), max_digits=SUM_DIGITS, null=True)
    uses = models.PositiveBigIntegerField(_("uses"), default=0)
    refused = models.PositiveBigIntegerField(
        _("refused"), default=0, help_text=_("Coupons that were not reserved because no money was left till the next.")
    )

    class Meta:
        verbose_name = _("hour of a sale event")
        verbose_name_plural = _("hours of sale events")
        ordering = ["sale_event", "starts_at"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["sale_event", "starts_at"], name="sale_event_hour_once"),
            models.CheckConstraint(
                condition=Q(spent_ceiling__isnull=True) | Q(spent__lte=F("spent_ceiling")),
                name="sale_event_hour_keeps_pace",
            ),
            models.CheckConstraint(
                condition=Q(spent__gte=0) & (Q(planned__isnull=True) | Q(planned__gte=0)),
                name="sale_event_hour_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sale_event_id} · {self.starts_at}"
