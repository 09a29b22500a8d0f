"""Sets of offers with a window, whom they are for, and who was sent them."""

from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Expression, F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from recommender.models.coupons import Coupon
from recommender.models.fields import MoneyField, ShopIdentifierField
from recommender.models.sale_events import SaleEvent
from recommender.models.segments import Segment
from recommender.models.shoppers import Shopper

MOST_HELD_OUT = 90  # percent: a campaign that is sent to hardly anyone shows nothing
MOST_EXPLORED = 20  # percent: to try coupons is to do worse for a while


def campaign_is_live(moment: datetime | Expression, path: str = "") -> Q:
    """Its window holds ``moment``. ``path`` leads to the campaign: ``run__campaign__``."""
    return Q((f"{path}starts_at__lte", moment), (f"{path}ends_at__gt", moment))


class CampaignQuerySet(models.QuerySet["Campaign"]):
    def live_at(self, moment: datetime) -> "CampaignQuerySet":
        """Campaigns whose window holds ``moment``."""
        return self.filter(campaign_is_live(moment))


class Campaign(models.Model):
    campaign_id = ShopIdentifierField(_("campaign id"), unique=True)
    name = models.CharField(_("name"), max_length=300, blank=True)
    kind = models.CharField(_("kind"), max_length=64, blank=True)
    starts_at = models.DateTimeField(_("starts"), db_index=True)
    ends_at = models.DateTimeField(_("ends"), help_text=_("The first moment it no longer runs."))
    budget = MoneyField(_("budget"), null=True, blank=True)
    holdout_percent = models.DecimalField(
        _("held out, percent"),
        max_digits=3,
        decimal_places=1,
        default=0,
        db_default=0,  # campaigns come in from the shop's export without it
        validators=[MinValueValidator(0), MaxValueValidator(MOST_HELD_OUT)],
        help_text=_("This share of the audience is offered nothing, so that the effect of the campaign can be seen."),
    )
    exploration_percent = models.DecimalField(
        _("lists that try something, percent"),
        max_digits=3,
        decimal_places=1,
        default=0,
        db_default=0,  # campaigns come in from the shop's export without it
        validators=[MinValueValidator(0), MaxValueValidator(MOST_EXPLORED)],
        help_text=_(
            "On the last place of this share of the lists stands a coupon that was drawn, those of which little is "
            "known more often: so that new coupons get a chance, and other lists can be judged before they go live. "
            "Runs within a budget, with rules of lists or for something else than redemptions try nothing."
        ),
    )
    one_per_category = models.BooleanField(
        _("one coupon of a category on a list"),
        default=False,
        db_default=False,  # campaigns come in from the shop's export without it
        help_text=_(
            "A list has at most one of the coupons that are for the same category. All lists are then made together, "
            "and a coupon of which nothing is expected stands on none."
        ),
    )
    seller_floor_percent = models.DecimalField(
        _("of all places at least so much for each seller, percent"),
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01")), MaxValueValidator(100)],
        help_text=_(
            "Of the places of all lists, each seller who funds coupons of the campaign gets at least this share. All "
            "lists are then made together, at the least cost in what they bring; what each seller got and what it cost "
            "is told with the run, and where limits leave no more, too. Empty: places go to whoever brings the most."
        ),
    )
    assigned_at = models.DateTimeField(
        _("audience recorded"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("When it was last decided who is sent the campaign and who is held out."),
    )
    sale_event = models.ForeignKey(
        SaleEvent,
        verbose_name=_("sale event"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,  # without its event its coupons would hold too early and too long
        related_name="campaigns",
        help_text=_("Its coupons hold within the event only, and keep to the event's rules. Chosen before it starts."),
    )
    coupons: models.ManyToManyField = models.ManyToManyField(
        Coupon, verbose_name=_("coupons"), through="CampaignCoupon", related_name="campaigns"
    )

    objects = CampaignQuerySet.as_manager()

    class Meta:
        verbose_name = _("campaign")
        verbose_name_plural = _("campaigns")
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=F("starts_at")), name="campaign_ends_after_start"),
            models.CheckConstraint(
                condition=Q(budget__isnull=True) | Q(budget__gte=0), name="campaign_budget_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(holdout_percent__gte=0, holdout_percent__lte=MOST_HELD_OUT),
                name="campaign_holdout_is_a_share",
            ),
            models.CheckConstraint(
                condition=Q(exploration_percent__gte=0, exploration_percent__lte=MOST_EXPLORED),
                name="campaign_exploration_is_a_share",
            ),
            models.CheckConstraint(
                condition=Q(seller_floor_percent__isnull=True)
                | Q(seller_floor_percent__gt=0, seller_floor_percent__lte=100),
                name="campaign_seller_floor_is_a_share",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.campaign_id

    def clean(self) -> None:
        if self.starts_at and self.ends_at and self.ends_at <= self.starts_at:
            raise ValidationError({"ends_at": _("The campaign must end after it starts.")})
        if self.budget is not None and self.budget < 0:
            raise ValidationError({"budget": _("A budget is not below 0.")})
        self._check_sale_event()

    def _check_sale_event(self) -> None:
        """What has started keeps its campaigns: what they took off stands in its hours."""
        before = Campaign.objects.select_related("sale_event").filter(pk=self.pk).first()
        left = before.sale_event if before is not None else None
        event, now = self.sale_event, timezone.now()
        if event != left and any(each is not None and each.starts_at <= now for each in (left, event)):
            raise ValidationError({"sale_event": _("A campaign joins or leaves a sale event before it starts.")})
        if event is None or not (self.starts_at and self.ends_at):
            return
        if self.starts_at >= event.ends_at or self.ends_at <= event.starts_at:
            raise ValidationError({"sale_event": _("The campaign does not run while the sale event is on.")})


class CampaignCoupon(models.Model):
    campaign = models.ForeignKey(
        Campaign,
        verbose_name=_("campaign"),
        on_delete=models.CASCADE,
        related_name="campaign_coupons",
        db_index=False,  # the unique constraint serves
    )
    coupon = models.ForeignKey(
        Coupon, verbose_name=_("coupon"), on_delete=models.CASCADE, related_name="campaign_coupons"
    )

    class Meta:
        verbose_name = _("coupon of a campaign")
        verbose_name_plural = _("coupons of campaigns")
        constraints = [models.UniqueConstraint(fields=["campaign", "coupon"], name="campaign_coupon_once")]

    def __str__(self) -> str:
        return str(self.coupon)


class CampaignSegment(models.Model):
    """Shoppers whom a campaign is for, or, when excluded, whom it is not for."""

    campaign = models.ForeignKey(
        Campaign,
        verbose_name=_("campaign"),
        on_delete=models.CASCADE,
        related_name="campaign_segments",
        db_index=False,  # the unique constraint serves
    )
    segment = models.ForeignKey(
        Segment,
        verbose_name=_("segment"),
        on_delete=models.PROTECT,  # without its segments a campaign would be for everyone
        related_name="campaign_segments",
    )
    excluded = models.BooleanField(
        _("excluded"), default=False, help_text=_("Its shoppers are left out, whatever other segments they are in.")
    )
    at_least_uses = models.PositiveIntegerField(
        _("at least so many expected uses"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "The lists of its shoppers are to bring so many uses. Budgets and limits come first: what cannot be "
            "reached within them is told with the run. Empty: as many as come."
        ),
    )

    class Meta:
        verbose_name = _("segment of a campaign")
        verbose_name_plural = _("segments of campaigns")
        constraints = [
            models.UniqueConstraint(fields=["campaign", "segment"], name="campaign_segment_once"),
            models.CheckConstraint(
                condition=Q(at_least_uses__isnull=True) | Q(at_least_uses__gte=1, excluded=False),
                name="campaign_segment_floor_of_included",
            ),
        ]

    def __str__(self) -> str:
        return str(self.segment)

    def clean(self) -> None:
        if self.excluded and self.at_least_uses is not None:
            raise ValidationError({"at_least_uses": _("Whoever is left out uses nothing. Leave it empty.")})


LISTED_TO_BE_SENT = Q(origin="shop", group="treatment") | Q(origin="holdout")


class CampaignShopperQuerySet(models.QuerySet["CampaignShopper"]):
    def listed_to_be_sent(self) -> "CampaignShopperQuerySet":
        """Those that the shop listed to be sent the campaign, whether or not they were held out here afterwards."""
        return self.filter(LISTED_TO_BE_SENT)


class CampaignShopper(models.Model):
    """A shopper whom a campaign was sent to, or who was held out of it so that its effect can be seen."""

    class Origin(models.TextChoices):
        SHOP = "shop", _("listed by the shop")
        HOLDOUT = "holdout", _("listed by the shop, held out here")
        AUDIENCE = "audience", _("of the audience that was recorded here")

    class Group(models.TextChoices):
        TREATMENT = "treatment", _("sent")
        CONTROL = "control", _("held out")

    campaign = models.ForeignKey(
        Campaign,
        verbose_name=_("campaign"),
        on_delete=models.CASCADE,
        related_name="campaign_shoppers",
        db_index=False,  # the unique constraint serves
    )
    shopper = models.ForeignKey(
        Shopper, verbose_name=_("shopper"), on_delete=models.CASCADE, related_name="campaign_shoppers"
    )
    group = models.CharField(_("group"), max_length=16, choices=Group.choices, default=Group.TREATMENT)
    origin = models.CharField(
        _("origin"),
        max_length=16,
        choices=Origin.choices,
        default=Origin.SHOP,
        db_default=Origin.SHOP,  # lists come in from the shop's export without it
        editable=False,
    )

    objects = CampaignShopperQuerySet.as_manager()

    class Meta:
        verbose_name = _("shopper of a campaign")
        verbose_name_plural = _("shoppers of campaigns")
        indexes = [
            models.Index(
                fields=["campaign", "shopper"], condition=Q(group="control"), name="campaign_shopper_held_out"
            ),
            models.Index(fields=["campaign"], condition=LISTED_TO_BE_SENT, name="campaign_shopper_listed"),
        ]
        constraints = [models.UniqueConstraint(fields=["campaign", "shopper"], name="campaign_shopper_once")]

    def __str__(self) -> str:
        return str(self.shopper)
