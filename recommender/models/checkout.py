"""The life of a coupon in a basket, and the answers that were given on the way."""

import uuid
from datetime import datetime

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Expression, F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.campaigns import Campaign
from recommender.models.codes import Code
from recommender.models.coupons import Coupon
from recommender.models.feedback import Redemption
from recommender.models.fields import MoneyField, ShopIdentifierField
from recommender.models.groups import GroupBuyMember
from recommender.models.sale_events import SaleEvent
from recommender.models.shoppers import Shopper


class ReservationQuerySet(models.QuerySet["Reservation"]):
    def overdue_at(self, moment: datetime | Expression) -> "ReservationQuerySet":
        """Those whose time is over and that still hold what they held."""
        return self.filter(state=Reservation.State.RESERVED, expires_at__lte=moment)


class Reservation(models.Model):
    """Coupons that a basket holds.

    ``reserved`` → ``confirmed`` with an order → ``reversed`` when all of it came back; or ``reserved`` → ``released``
    or ``expired``. An expired one may still be confirmed if its coupons can be had.
    """

    class State(models.TextChoices):
        RESERVED = "reserved", _("reserved")
        CONFIRMED = "confirmed", _("confirmed")
        RELEASED = "released", _("released")
        EXPIRED = "expired", _("expired")
        REVERSED = "reversed", _("reversed")

    reservation_id = models.UUIDField(_("reservation id"), unique=True, default=uuid.uuid4, editable=False)
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.PROTECT, related_name="reservations"
    )
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.RESERVED)
    basket_digest = models.CharField(
        _("basket digest"), max_length=64, help_text=_("SHA-256 of the basket that the discount was reckoned for.")
    )
    lines = models.JSONField(
        _("lines"),
        encoder=DjangoJSONEncoder,
        help_text=_("The lines of the basket: how many pieces of each, and how many came back."),
    )
    created_at = models.DateTimeField(_("reserved at"), db_index=True)
    expires_at = models.DateTimeField(_("holds until"))
    confirmed_at = models.DateTimeField(_("confirmed at"), null=True)
    ended_at = models.DateTimeField(
        _("ended at"), null=True, help_text=_("When it was released, had expired, or was reversed as a whole.")
    )
    order_id = ShopIdentifierField(_("order id"), blank=True, db_index=True)

    objects = ReservationQuerySet.as_manager()

    class Meta:
        verbose_name = _("reservation")
        verbose_name_plural = _("reservations")
        ordering = ["-pk"]
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["expires_at"], condition=Q(state="reserved"), name="reservation_held_until"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["reserved", "confirmed", "released", "expired", "reversed"]),
                name="reservation_state_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["confirmed", "reversed"], confirmed_at__isnull=False) & ~Q(order_id="")
                | Q(state__in=["reserved", "released", "expired"], confirmed_at__isnull=True, order_id=""),
                name="reservation_confirmed_has_order",
            ),
        ]

    def __str__(self) -> str:
        return str(self.reservation_id)

    def state_at(self, moment: datetime) -> str:
        """The state as it is to be told: one whose time is over is expired, swept or not."""
        if self.state == self.State.RESERVED and self.expires_at <= moment:
            return self.State.EXPIRED
        return self.state


class ReservationCoupon(models.Model):
    """A coupon of a reservation. What it holds in the counters stands in ``held_uses`` and ``held_amount``."""

    reservation = models.ForeignKey(
        Reservation,
        verbose_name=_("reservation"),
        on_delete=models.CASCADE,
        related_name="coupons",
        db_index=False,  # the unique constraint serves
    )
    position = models.PositiveSmallIntegerField(_("place"), help_text=_("In which order it is taken off, from 0."))
    coupon = models.ForeignKey(
        Coupon, verbose_name=_("coupon"), on_delete=models.PROTECT, related_name="reservation_coupons"
    )
    campaign = models.ForeignKey(
        Campaign,
        verbose_name=_("campaign"),
        null=True,
        on_delete=models.PROTECT,
        related_name="reservation_coupons",
    )
    sale_event = models.ForeignKey(
        SaleEvent,
        verbose_name=_("sale event"),
        null=True,
        on_delete=models.PROTECT,
        related_name="reservation_coupons",
        help_text=_("In whose hours its use counts."),
    )
    code = models.ForeignKey(
        Code, verbose_name=_("code"), null=True, on_delete=models.PROTECT, related_name="reservation_coupons"
    )
    member = models.ForeignKey(
        GroupBuyMember,
        verbose_name=_("member of a group"),
        null=True,
        on_delete=models.PROTECT,
        related_name="reservation_coupons",
    )
    amount = MoneyField(_("discount"))
    shipping_amount = MoneyField(_("of it for shipping"), default=0)
    lines = models.JSONField(
        _("lines"),
        encoder=DjangoJSONEncoder,
        help_text=_("What it takes off each line."),
    )
    counted_at = models.DateTimeField(_("counted at"), help_text=_("The day, week and month that its use counts in."))
    held_uses = models.PositiveSmallIntegerField(_("uses held"))
    held_amount = MoneyField(_("budget held"))
    redemption = models.OneToOneField(
        Redemption,
        verbose_name=_("redemption"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="reservation_coupon",
    )

    class Meta:
        verbose_name = _("coupon of a reservation")
        verbose_name_plural = _("coupons of reservations")
        ordering = ["reservation", "position"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["reservation", "coupon"], name="reservation_coupon_once"),
            models.CheckConstraint(condition=Q(held_uses__lte=1), name="reservation_coupon_holds_one_use"),
            models.CheckConstraint(
                condition=Q(held_amount__gte=0, held_amount__lte=F("amount")),
                name="reservation_coupon_holds_its_amount",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.coupon} {self.amount}"


class IdempotencyRecordQuerySet(models.QuerySet["IdempotencyRecord"]):
    def forgettable_at(self, moment: datetime) -> "IdempotencyRecordQuerySet":
        return self.filter(expires_at__lte=moment)


class IdempotencyRecord(models.Model):
    """The answer that a caller was given under its key, written in the transaction of what was done."""

    caller = models.CharField(_("caller"), max_length=80)
    key = models.CharField(_("key"), max_length=255)
    digest = models.CharField(_("digest"), max_length=64, help_text=_("SHA-256 of method, address and body."))
    status = models.PositiveSmallIntegerField(_("status"), null=True)
    content_type = models.CharField(_("content type"), max_length=100, blank=True)
    body = models.TextField(_("body"), blank=True)
    expires_at = models.DateTimeField(_("kept until"), db_index=True)

    objects = IdempotencyRecordQuerySet.as_manager()

    class Meta:
        verbose_name = _("idempotency record")
        verbose_name_plural = _("idempotency records")
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="idempotency_record_once")]

    def __str__(self) -> str:
        return self.key
