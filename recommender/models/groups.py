"""Coupons that unlock when enough shoppers join in time."""

import uuid
from datetime import datetime

from django.db import models
from django.db.models import Expression, F, Q
from django.utils.translation import gettext_lazy as _

from recommender.models.coupons import Coupon
from recommender.models.shoppers import Shopper


class GroupBuyQuerySet(models.QuerySet["GroupBuy"]):
    def overdue_at(self, moment: datetime | Expression) -> "GroupBuyQuerySet":
        """Those that nobody can join any more and that were not enough."""
        return self.filter(state=GroupBuy.State.OPEN, closes_at__lte=moment)


class GroupBuy(models.Model):
    """Shoppers who want a coupon together. ``open`` → ``unlocked`` when enough joined in time, else ``failed``."""

    class State(models.TextChoices):
        OPEN = "open", _("open")
        UNLOCKED = "unlocked", _("unlocked")
        FAILED = "failed", _("failed")

    group_id = models.UUIDField(_("group id"), unique=True, default=uuid.uuid4, editable=False)
    coupon = models.ForeignKey(Coupon, verbose_name=_("coupon"), on_delete=models.PROTECT, related_name="group_buys")
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.OPEN)
    size = models.PositiveIntegerField(_("members needed"))
    joined = models.PositiveIntegerField(_("members joined"), default=0)
    opened_at = models.DateTimeField(_("opened"))
    closes_at = models.DateTimeField(_("closes"))
    ended_at = models.DateTimeField(_("ended"), null=True)

    objects = GroupBuyQuerySet.as_manager()

    class Meta:
        verbose_name = _("group buy")
        verbose_name_plural = _("group buys")
        ordering = ["-pk"]
        default_permissions = ("view",)
        indexes = [models.Index(fields=["closes_at"], condition=Q(state="open"), name="group_buy_open_until")]
        constraints = [
            models.CheckConstraint(condition=Q(joined__lte=F("size")), name="group_buy_not_overfull"),
            models.CheckConstraint(
                condition=Q(state="unlocked", joined=F("size")) | ~Q(state="unlocked"),
                name="group_buy_unlocked_is_full",
            ),
        ]

    def __str__(self) -> str:
        return str(self.group_id)

    def state_at(self, moment: datetime) -> str:
        """The state as it is to be told: one whose time is over has failed, swept or not."""
        if self.state == self.State.OPEN and self.closes_at <= moment:
            return self.State.FAILED
        return self.state


class GroupBuyMember(models.Model):
    """A shopper of a group. ``held_uses`` is the use of the coupon that is kept for them until a basket takes it."""

    group = models.ForeignKey(GroupBuy, verbose_name=_("group buy"), on_delete=models.PROTECT, related_name="members")
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.PROTECT, related_name="group_memberships"
    )
    joined_at = models.DateTimeField(_("joined"))
    held_uses = models.PositiveSmallIntegerField(_("uses held"))

    class Meta:
        verbose_name = _("member of a group")
        verbose_name_plural = _("members of groups")
        ordering = ["pk"]
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["group", "shopper"], name="group_buy_member_once"),
            models.CheckConstraint(condition=Q(held_uses__lte=1), name="group_buy_member_holds_one_use"),
        ]

    def __str__(self) -> str:
        return str(self.shopper)


class GroupInvitation(models.Model):
    """That the shop told a shopper of an open group."""

    group = models.ForeignKey(
        GroupBuy,
        verbose_name=_("group buy"),
        on_delete=models.PROTECT,
        related_name="invitations",
        db_index=False,  # the unique constraint serves
    )
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.PROTECT, related_name="group_invitations"
    )
    invited_at = models.DateTimeField(_("invited"))

    class Meta:
        verbose_name = _("invitation to a group")
        verbose_name_plural = _("invitations to groups")
        ordering = ["pk"]
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["group", "shopper"], name="group_invitation_once")]

    def __str__(self) -> str:
        return str(self.shopper)


class Companion(models.Model):
    """Somebody who bought together with a shopper who joins groups, as of the last learning: of ``shopper`` the
    ``companion`` is one of the nearest. It is not told the other way round, unless that is so too."""

    shopper = models.ForeignKey(
        Shopper,
        verbose_name=_("shopper"),
        on_delete=models.CASCADE,
        related_name="companions",
        db_index=False,  # the unique constraint serves
    )
    companion = models.ForeignKey(
        Shopper, verbose_name=_("companion"), on_delete=models.CASCADE, related_name="companion_of"
    )
    groups_together = models.PositiveIntegerField(_("groups joined together"))
    closeness = models.FloatField(
        _("closeness"), help_text=_("Of the groups that either joined, from 0, none together, to 1, all of them.")
    )
    alike = models.FloatField(_("likeness of what they buy"), help_text=_("From 0, nothing in common, to 1."))

    class Meta:
        verbose_name = _("companion")
        verbose_name_plural = _("companions")
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["shopper", "companion"], name="companion_once")]

    def __str__(self) -> str:
        return f"{self.shopper} – {self.companion}"


class GroupModel(models.Model):
    """What was learned of how groups fill and who joins them: one row a learning, of which the last counts.

    ``content`` is a :class:`recommender.ml.group_model.GroupModel` as JSON.
    """

    learned_until = models.DateTimeField(_("learned until"))
    content = models.JSONField(_("content"))

    class Meta:
        verbose_name = _("model of groups")
        verbose_name_plural = _("models of groups")
        ordering = ["-pk"]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.learned_until)
