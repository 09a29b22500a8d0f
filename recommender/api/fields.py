"""Fields that several requests share."""

import math
import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

#: How far a caller's clock may be ahead of ours.
CLOCK_TOLERANCE = timedelta(minutes=5)


class StringField(serializers.CharField):
    """A string. A number is none: 1e3 would become ``1000.0``, and a large one another."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


#: All that Python strips, written out: other languages' ``\s`` is something else.
_BLANK = r"\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
IDENTIFIER_PATTERN = rf"^[^\u0000]*[^\u0000{_BLANK}][^\u0000]*$"


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": 64, "pattern": IDENTIFIER_PATTERN})
class IdentifierField(StringField):
    """An identifier of the shop's: a string of 1 to 64 characters, of which none is NUL and one at least not blank."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, **kwargs)


class BoundedListField(serializers.ListField):
    """A list of at most ``max_length`` things. How many they are is looked at before what each of them is."""

    def __init__(self, *, max_length: int, **kwargs: Any) -> None:
        super().__init__(max_length=max_length, **kwargs)

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list):
            self.run_validators(data)
        return super().to_internal_value(data)


class PastTimeField(serializers.DateTimeField):
    """A time in ISO 8601 with its offset, no later than now."""

    default_error_messages = {
        "no_offset": _("Expected an offset from UTC, as in 2026-01-31T12:00:00Z."),
        "future": _("Expected a time that is not in the future."),
    }

    def enforce_timezone(self, value: datetime) -> datetime:
        if timezone.is_naive(value):
            self.fail("no_offset")
        return super().enforce_timezone(value)

    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        if moment > timezone.now() + CLOCK_TOLERANCE:
            self.fail("future")
        return moment


_WRITTEN_OUT = re.compile(r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)\Z")


class ExactDecimalField(serializers.DecimalField):
    """Money or pieces: a string of digits with a point, so that none is lost, or a number.

    Of strings nothing else is read that Python takes for a number, such as ``1_000`` or ``1e3``.
    """

    def __init__(self, *, max_digits: int, decimal_places: int, **kwargs: Any) -> None:
        super().__init__(max_digits=max_digits, decimal_places=decimal_places, **kwargs)
        whole, after = f"{{1,{max_digits - decimal_places}}}", f"{{0,{decimal_places}}}"
        pattern = rf"^-?(?:[0-9]{whole}(?:\.[0-9]{after})?|\.[0-9]{{1,{decimal_places}}})$"
        written = {"type": "string", "format": "decimal", "pattern": pattern}
        set_override(self, "field", {"oneOf": [written, {"type": "number"}]})

    def to_internal_value(self, data: Any) -> Decimal:
        if isinstance(data, str) and not _WRITTEN_OUT.match(data):
            self.fail("invalid")
        amount: Decimal = super().to_internal_value(data)
        return amount


class FiniteFloatField(serializers.FloatField):
    default_error_messages = {"not_finite": _("Expected a finite number.")}

    def to_internal_value(self, value: Any) -> float:
        number = super().to_internal_value(value)
        if not math.isfinite(number):
            self.fail("not_finite")
        return number
