"""What the shop's systems are told as it happens."""

import uuid
from datetime import datetime

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _


class WebhookEvent(models.TextChoices):
    PUBLISHED = "campaign.published", _("a run was published")
    ROLLED_BACK = "campaign.rolled_back", _("a publication was rolled back")
    REDEEMED = "coupon.redeemed", _("a coupon was used")
    BUDGET_NEARLY_SPENT = "budget.nearly_spent", _("a budget is nearly spent")


def validate_webhook_events(events: object) -> None:
    if not isinstance(events, list) or not events:
        raise ValidationError(_("Choose at least one event."))
    unknown = [event for event in events if event not in WebhookEvent.values]
    if unknown or len(set(events)) != len(events):
        raise ValidationError(
            _("Expected some of %(known)s, each once."), params={"known": ", ".join(WebhookEvent.values)}
        )


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def active(self) -> "WebhookEndpointQuerySet":
        return self.filter(active=True)


class WebhookEndpoint(models.Model):
    """An address of the shop's that is told of some events. What is sent is signed with a secret that both know."""

    name = models.CharField(_("name"), max_length=100)
    url = models.URLField(_("address"), max_length=500, help_text=_("https, at a public address."))
    events = models.JSONField(_("events"), default=list, validators=[validate_webhook_events])
    sealed_secret = models.TextField(_("encrypted secret"), editable=False)
    active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_("One that is not is told of nothing. What waited for it is sent when it is active again."),
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("created by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )

    objects = WebhookEndpointQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering = ["-pk"]

    def __str__(self) -> str:
        return self.name


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def due_at(self, moment: datetime) -> "WebhookDeliveryQuerySet":
        return self.filter(state=WebhookDelivery.State.WAITING, next_attempt_at__lte=moment)

    def forgettable_before(self, moment: datetime) -> "WebhookDeliveryQuerySet":
        """Those that are finished, or wait for an endpoint that is not active."""
        is_done = ~Q(state=WebhookDelivery.State.WAITING) | Q(endpoint__active=False)
        return self.filter(is_done, created_at__lt=moment)


class WebhookDelivery(models.Model):
    """A message to one endpoint, written in the transaction of what it tells of.

    ``waiting`` → ``delivered`` or, after too many attempts, ``failed``. Whoever sends it moves ``next_attempt_at`` on
    first, so that a sender that dies is followed by another: a message comes once or more, always with the same
    ``message_id``.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waiting")
        DELIVERED = "delivered", _("delivered")
        FAILED = "failed", _("given up")

    endpoint = models.ForeignKey(
        WebhookEndpoint, verbose_name=_("webhook"), on_delete=models.CASCADE, related_name="deliveries"
    )
    message_id = models.UUIDField(_("message id"), default=uuid.uuid4, editable=False)
    event = models.CharField(_("event"), max_length=32, choices=WebhookEvent.choices)
    happened_at = models.DateTimeField(_("happened"))
    data = models.JSONField(_("data"), default=dict, encoder=DjangoJSONEncoder)
    state = models.CharField(_("state"), max_length=16, choices=State.choices, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"))
    claim = models.UUIDField(_("claim"), null=True, blank=True, editable=False)
    log = models.JSONField(
        _("log"), default=list, encoder=DjangoJSONEncoder, help_text=_("Of each attempt: when, and what came of it.")
    )
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(state="waiting"), name="webhook_delivery_due"),
            models.Index(fields=["created_at"], name="webhook_delivery_created"),
        ]
        constraints = [
            # In this order, so that it also finds a message by its id.
            models.UniqueConstraint(fields=["message_id", "endpoint"], name="webhook_delivery_once"),
            models.CheckConstraint(
                condition=Q(state="waiting", finished_at__isnull=True)
                | Q(state__in=["delivered", "failed"], finished_at__isnull=False),
                name="webhook_delivery_finished_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_event_display()} → {self.endpoint}"


class BudgetNotice(models.Model):
    """That it was told once that a budget is nearly spent. ``key`` names the budget and its amount: a budget that is
    raised is told of again."""

    key = models.CharField(_("key"), max_length=64, primary_key=True)
    told_at = models.DateTimeField(_("told"), auto_now_add=True)

    class Meta:
        verbose_name = _("notice of a budget")
        verbose_name_plural = _("notices of budgets")
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
