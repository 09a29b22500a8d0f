"""How cells are read and written: what a column cannot hold is an error that says so, never a guess."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from import_export.widgets import Widget

from recommender.models import Category, Segment

#: What spreadsheets take for the beginning of a formula. Such text is written behind an apostrophe, and read without.
FORMULA = re.compile(r"^'*[=+\-@\t\r]")
DECIMALS = 3
LARGEST_WHOLE = 2**31 - 1


class Cell(Widget):
    """A cell. The library hands options of its own widgets to all; these have no use for them."""

    def __init__(self, **options: Any) -> None:
        super().__init__()


class TextWidget(Cell):
    """Text. Numbers become text: spreadsheets make them of identifiers."""

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> str:
        if value is None:
            return ""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        text = str(value)
        return text[1:] if text.startswith("'") and FORMULA.match(text) else text

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        text = "" if value is None else str(value)
        return f"'{text}" if FORMULA.match(text) else text


class FlagWidget(Cell):
    def __init__(self, empty: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._empty = empty

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> bool:
        text = TextWidget().clean(value).strip().lower()
        if not text:
            return self._empty
        if text not in ("true", "1", "false", "0"):
            raise ValueError(_("Expected true or false, not %(value)s.") % {"value": text[:60]})
        return text in ("true", "1")

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "true" if value else "false"


class ExactWidget(Cell):
    """A decimal number. A binary one of a spreadsheet that is off by a millionth is taken for what was typed."""

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> Decimal | None:
        if value is None or value == "":
            return None
        if isinstance(value, float) and abs(value - round(value, DECIMALS)) < 1e-6:
            value = round(value, DECIMALS)
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            number = Decimal("NaN")
        if isinstance(value, bool) or not number.is_finite():
            raise ValueError(_("Expected a number such as 12.50, not %(value)s.") % {"value": str(value)[:60]})
        return number

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else f"{value:f}"


class WholeWidget(Cell):
    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> int | None:
        text = TextWidget().clean(value).strip()
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > LARGEST_WHOLE:
            raise ValueError(
                _("Expected a whole number from 0 to %(largest)d, not %(value)s.")
                % {"largest": LARGEST_WHOLE, "value": text[:60]}
            )
        return int(text)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else str(value)


class RealWidget(Cell):
    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> float | None:
        number = ExactWidget().clean(value)
        return None if number is None else float(number)

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else repr(value)


class MomentWidget(Cell):
    """A point in time, in the shop's time zone.

    With ``through_day`` a day alone, written as text, is an end that lasts through that day.
    """

    def __init__(self, through_day: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self._through_day = through_day

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> datetime | None:
        if value is None or value == "":
            return None
        moment = value if isinstance(value, datetime) else self._parse(value)
        return timezone.make_aware(moment) if timezone.is_naive(moment) else moment

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S%z")

    def _parse(self, value: Any) -> datetime:
        text = str(value).strip()
        try:
            day = value if isinstance(value, date) else parse_date(text)
            moment = datetime.combine(day, time()) if day else parse_datetime(text)
        except ValueError:
            day = moment = None
        if moment is None:
            raise ValueError(
                _("Expected a date or time such as 2024-03-01 or 2024-03-01 18:30, not %(value)s.")
                % {"value": text[:60]}
            )
        return moment + timedelta(days=1) if day and self._through_day else moment


class CategoryWidget(Cell):
    """A category by its path. One that is not there is an error: most often it is misspelt."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._found: dict[str, Category | None] = {}

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> Category | None:
        path = TextWidget().clean(value)
        if not path:
            return None
        if path not in self._found:
            self._found[path] = Category.objects.filter(path=path).first()
        category = self._found[path]
        if category is None:
            raise ValueError(_("There is no category %(path)s.") % {"path": path[:60]})
        return category

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return TextWidget().render(value.path) if value else ""


class SegmentWidget(Cell):
    """A segment by its name. One that is not there is an error: without it a coupon would be for everyone."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._found: dict[str, Segment | None] = {}

    def clean(self, value: Any, row: Mapping[str, Any] | None = None, **kwargs: Any) -> Segment | None:
        name = TextWidget().clean(value)
        if not name:
            return None
        if name not in self._found:
            self._found[name] = Segment.objects.filter(name=name).first()
        segment = self._found[name]
        if segment is None:
            raise ValueError(_("There is no segment %(name)s.") % {"name": name[:60]})
        return segment

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return TextWidget().render(value.name) if value else ""
