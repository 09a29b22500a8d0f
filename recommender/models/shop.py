"""The shop that this installation serves, and the people who work for it."""

from zoneinfo import ZoneInfo, available_timezones

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, URLValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

MOST_CONTACT_DAYS = 366


class User(AbstractUser):
    """A member of staff."""

    class Meta(AbstractUser.Meta):
        verbose_name = _("member of staff")  # type: ignore[assignment]
        verbose_name_plural = _("staff")  # type: ignore[assignment]


def validate_time_zone(name: str) -> None:
    if name not in available_timezones():
        raise ValidationError(
            _("%(name)s is not a time zone. Expected a name such as Europe/Berlin."), params={"name": name}
        )


#: Stands for a group's id in the address of its page.
GROUP_PLACE = "{group}"


def validate_group_page(address: str) -> None:
    if address.count(GROUP_PLACE) != 1 or any(mark in address.replace(GROUP_PLACE, "") for mark in "{}"):
        raise ValidationError(_("Expected an address with {group} once, where the id of the group stands."))
    URLValidator(schemes=["https"])(address.replace(GROUP_PLACE, "0"))


class Shop(models.Model):
    """The settings of the shop: one row, because one installation is one shop."""

    name = models.CharField(_("name"), max_length=200, default="Shop")
    time_zone = models.CharField(
        _("time zone"),
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text=_("A day begins and ends by this clock, and times without an offset are read in it."),
    )
    currency = models.CharField(_("currency"), max_length=3, default="USD", help_text=_("ISO 4217, such as USD."))
    preset = models.CharField(
        _("kind of shop"),
        max_length=32,
        blank=True,
        default="",
        db_default="",
        help_text=_("What the shop sells, and so what its export may hold besides."),
    )
    group_page = models.CharField(
        _("page of a group"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        validators=[validate_group_page],
        help_text=_(
            "The address in the shop at which shoppers join a group, such as https://shop.example/groups/{group}. It "
            "is the link that members share."
        ),
    )
    champion = models.ForeignKey(
        "recommender.ModelVersion",
        verbose_name=_("champion"),
        null=True,
        blank=True,
        editable=False,
        on_delete=models.PROTECT,
        related_name="+",
        help_text=_("The model that recommends. It changes by promotion only."),
    )
    may_approve_own_runs = models.BooleanField(
        _("whoever started a run may approve it"),
        default=False,
        help_text=_("Otherwise a run needs two pairs of eyes: whoever started it cannot approve it."),
    )
    contact_most = models.PositiveSmallIntegerField(
        _("campaigns for a shopper, at most"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_(
            "Whoever was sent so many other campaigns within the days below is left out of a run when it is computed. "
            "Both empty: no limit."
        ),
    )
    contact_days = models.PositiveSmallIntegerField(
        _("within days"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_CONTACT_DAYS)],
        help_text=_("Counted back from the moment that a run is computed as of."),
    )

    class Meta:
        verbose_name = _("shop")
        verbose_name_plural = _("shop")
        constraints = [
            models.CheckConstraint(condition=Q(pk=1), name="shop_is_one_row"),
            models.CheckConstraint(
                condition=Q(contact_most__isnull=True, contact_days__isnull=True)
                | Q(
                    contact_most__isnull=False,
                    contact_days__isnull=False,
                    contact_most__gte=1,
                    contact_days__gte=1,
                    contact_days__lte=MOST_CONTACT_DAYS,
                ),
                name="shop_contact_limit_is_whole",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: object, **kwargs: object) -> None:
        self.pk = 1
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def clean(self) -> None:
        if (self.contact_most is None) != (self.contact_days is None):
            missing = "contact_most" if self.contact_most is None else "contact_days"
            raise ValidationError({missing: _("Say how many campaigns within how many days, or leave both empty.")})

    @classmethod
    def current(cls) -> "Shop":
        """The one row, made with its defaults if it is not there yet."""
        return cls.objects.get_or_create(pk=1)[0]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)
