"""Kinds of shoppers, told apart by what they did."""

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from recommender.models.catalogue import Category
from recommender.models.fields import MoneyField

#: Stands between the values of an attribute of which one is enough.
VALUE_SEPARATOR = ";"
MOST_DAYS = 36_500  # a century: the calendar ends somewhere


class Segment(models.Model):
    """A named set of conditions. Who meets them is looked up whenever it is asked: nothing is stored of it."""

    class Match(models.TextChoices):
        ALL = "all", _("all conditions hold")
        ANY = "any", _("any condition holds")

    class Tier(models.TextChoices):
        FREQUENT = "frequent", _("frequent shoppers")
        LOYAL = "loyal", _("loyal shoppers")
        LAPSING = "lapsing", _("lapsing shoppers")
        NEW = "new", _("new shoppers")

    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.CharField(
        _("description"), max_length=300, blank=True, help_text=_("What it is for, in your own words.")
    )
    match = models.CharField(_("a shopper belongs to it when"), max_length=8, choices=Match.choices, default=Match.ALL)
    tier = models.CharField(
        _("tier"),
        max_length=16,
        choices=Tier.choices,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text=_("Its conditions are reckoned from the shop's history. Empty: staff wrote them."),
    )

    class Meta:
        verbose_name = _("segment")
        verbose_name_plural = _("segments")
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(match__in=["all", "any"]), name="segment_match_known"),
            models.UniqueConstraint(fields=["tier"], condition=~Q(tier=""), name="segment_tier_once"),
        ]

    def __str__(self) -> str:
        return self.name


class SegmentCondition(models.Model):
    """Something that is true of a shopper or not.

    ``last_order``, ``first_order`` and ``joined`` compare an age with ``days``. ``orders``, ``spend``, ``category`` and
    ``redemptions`` compare with ``amount`` what happened in the last ``days``, or ever where there are none.
    ``attribute`` compares what the shop told with ``value``.
    """

    class Kind(models.TextChoices):
        LAST_ORDER = "last_order", _("days since the last order")
        FIRST_ORDER = "first_order", _("days since the first order")
        JOINED = "joined", _("days since joining")
        ORDERS = "orders", _("number of orders")
        SPEND = "spend", _("money spent")
        CATEGORY = "category", _("orders from a category")
        REDEMPTIONS = "redemptions", _("coupons used")
        ATTRIBUTE = "attribute", _("attribute")

    class Comparison(models.TextChoices):
        AT_LEAST = "at_least", _("at least")
        AT_MOST = "at_most", _("at most")
        IS = "is", _("is")
        IS_NOT = "is_not", _("is not")

    AGES = (Kind.LAST_ORDER, Kind.FIRST_ORDER, Kind.JOINED)
    SUMS = (Kind.ORDERS, Kind.SPEND, Kind.CATEGORY, Kind.REDEMPTIONS)

    segment = models.ForeignKey(Segment, verbose_name=_("segment"), on_delete=models.CASCADE, related_name="conditions")
    kind = models.CharField(_("what"), max_length=16, choices=Kind.choices)
    comparison = models.CharField(_("comparison"), max_length=16, choices=Comparison.choices)
    amount = MoneyField(
        _("amount"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text=_("How many orders or coupons, or how much money."),
    )
    days = models.PositiveIntegerField(
        _("days"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_DAYS)],
        help_text=_("How many days ago; for amounts: within how many days. Empty: ever."),
    )
    category = models.ForeignKey(
        Category,
        verbose_name=_("category"),
        null=True,
        blank=True,
        on_delete=models.PROTECT,  # without it the condition would hold for others than were meant
        related_name="+",
        help_text=_("With everything below it."),
    )
    attribute = models.CharField(_("attribute"), max_length=100, blank=True)
    value = models.CharField(
        _("value"), max_length=300, blank=True, help_text=_("Several are separated by semicolons: one is enough.")
    )

    class Meta:
        verbose_name = _("condition")
        verbose_name_plural = _("conditions")
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind__in=["last_order", "first_order", "joined"],
                    comparison__in=["at_least", "at_most"],
                    days__gte=1,
                    days__lte=MOST_DAYS,
                    days__isnull=False,
                    amount__isnull=True,
                    category__isnull=True,
                    attribute="",
                    value="",
                )
                | Q(
                    Q(kind="category", category__isnull=False)
                    | Q(kind__in=["orders", "spend", "redemptions"], category__isnull=True),
                    Q(days__isnull=True) | Q(days__gte=1, days__lte=MOST_DAYS),
                    comparison__in=["at_least", "at_most"],
                    amount__gte=0,
                    amount__isnull=False,
                    attribute="",
                    value="",
                )
                | (
                    Q(
                        kind="attribute",
                        comparison__in=["is", "is_not"],
                        days__isnull=True,
                        amount__isnull=True,
                        category__isnull=True,
                    )
                    & ~Q(attribute="")
                ),
                name="segment_condition_is_whole",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.get_comparison_display()}"

    def clean(self) -> None:
        """Say what is missing and what does not belong, field by field."""
        if self.kind not in self.Kind.values:
            return
        needed, allowed = self._fields()
        given = {
            "amount": self.amount is not None,
            "days": self.days is not None,
            "category": self.category_id is not None,
            "attribute": bool(self.attribute),
            "value": bool(self.value),
        }
        wrong = {name: _("“%(kind)s” needs this.") for name in needed if not given[name]}
        wrong |= {
            name: _("“%(kind)s” does not use this. Leave it empty.")
            for name, is_given in given.items()
            if is_given and name not in needed | allowed
        }
        equality = self.comparison in (self.Comparison.IS, self.Comparison.IS_NOT)
        if self.comparison and equality is not (self.kind == self.Kind.ATTRIBUTE):
            wrong["comparison"] = (
                _("“%(kind)s” is compared by “at least” or “at most”.")
                if equality
                else _("“%(kind)s” is compared by “is” or “is not”.")
            )
        if wrong:
            told = {"kind": self.get_kind_display()}
            raise ValidationError({name: ValidationError(text, params=told) for name, text in wrong.items()})

    def _fields(self) -> tuple[set[str], set[str]]:
        """What a condition of its kind needs, and what it may have besides."""
        if self.kind == self.Kind.ATTRIBUTE:
            return {"attribute"}, {"value"}
        if self.kind in self.AGES:
            return {"days"}, set()
        if self.kind == self.Kind.CATEGORY:
            return {"amount", "category"}, {"days"}
        return {"amount"}, {"days"}
