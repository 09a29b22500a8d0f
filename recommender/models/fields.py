"""Fields that several models share."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db import models
from django.utils.translation import gettext_lazy as _


class ShopIdentifierField(models.CharField):
    """An identifier that the shop gave: a string of at most 64 characters, kept beside our own key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 64)
        super().__init__(*args, **kwargs)


class AmountField(forms.DecimalField):
    """Shows an amount without the zeros that the database keeps."""

    def prepare_value(self, value: Any) -> Any:
        return f"{value.normalize():f}" if isinstance(value, Decimal) else value


class MoneyField(models.DecimalField):
    """An amount in the shop's currency. Three decimals hold the minor unit of every currency in use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 14)
        kwargs.setdefault("decimal_places", 3)
        super().__init__(*args, **kwargs)

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"form_class": AmountField, **kwargs})


def attributes_field() -> models.JSONField:
    return models.JSONField(
        _("attributes"),
        default=dict,
        blank=True,
        help_text=_("What else the shop tells; the models may use it."),
    )
