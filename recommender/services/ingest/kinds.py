"""The kinds of value that a column of the shop export can hold, and how each is read.

``parse`` turns a column as it stands in the file into a column of the type that the tables keep. What cannot be read
becomes null; ``expected`` finishes the sentence that tells staff why. CSV holds text only; Parquet may hold numbers,
times and flags, which are taken as they are.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

import polars as pl

from recommender.models import CATEGORY_SEPARATOR
from recommender.wording import gettext as _

TIME = pl.Datetime("us", "UTC")
LARGEST_WHOLE = 2**31 - 1
#: Control characters have no place in a table, and PostgreSQL cannot store the first of them.
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f]"
MOMENT = (
    r"^(?P<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?P<minute>\d{2}:\d{2})(?::(?P<second>\d{2})(?:\.(?P<fraction>\d{1,6})\d*)?)?"
    r" ?(?:(?P<zulu>[Zz])|(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)?)?$"
)

UUID_FORM = r"^(?:[0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"


class UnreadableTypeError(Exception):
    """A Parquet column has a type that the kind of value cannot be read from."""


class Kind(ABC):
    @property
    @abstractmethod
    def expected(self) -> str:
        """What a value is, such as “true or false”."""

    @abstractmethod
    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        """The values of a column whose type in the file is ``dtype``; null where empty or not of this kind.

        Raises:
            UnreadableTypeError: no value of this kind can be in a column of that type.
        """


def as_text(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """A column as text, whatever scalar type it has; an empty string is null.

    A float that is whole loses its decimals: tools make floats of identifiers as soon as one of them is missing.
    """
    if dtype == pl.String:
        return pl.when(column != "").then(column)
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise UnreadableTypeError(f"{dtype}")
    if dtype.is_float():
        number = column.fill_nan(None)
        whole = (number == number.round()) & (number.abs() < 2**53)
        return (
            pl.when(whole).then(number.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(number.cast(pl.String))
        )
    return column.cast(pl.String)


@dataclass(frozen=True)
class Text(Kind):
    max_length: int

    @property
    def expected(self) -> str:
        return _("text of at most %(most)d characters without control characters") % {"most": self.max_length}

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        text = as_text(column, dtype)
        return pl.when(text.str.len_chars() <= self.max_length, ~text.str.contains(CONTROL)).then(text)


@dataclass(frozen=True)
class UniqueId(Kind):
    """A UUID, as 32 digits however it is written."""

    @property
    def expected(self) -> str:
        return _("a UUID such as 0b9a6a0e-5d1c-4c7e-9f55-2f3f6f1f8a10")

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        text = as_text(column, dtype).str.to_lowercase()
        digits = text.str.replace_all("-", "", literal=True)
        return pl.when(text.str.contains(UUID_FORM)).then(digits)


@dataclass(frozen=True)
class CategoryPath(Kind):
    max_length: int = 500

    @property
    def expected(self) -> str:
        told = _("a path of levels joined by '%(separator)s', none of them empty, of at most %(most)d characters")
        return told % {"separator": CATEGORY_SEPARATOR, "most": self.max_length}

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        text = Text(self.max_length).parse(column, dtype, zone)
        empty_level = text.str.split(CATEGORY_SEPARATOR).list.eval(pl.element().str.strip_chars() == "").list.any()
        return pl.when(~empty_level).then(text)


@dataclass(frozen=True)
class Choice(Kind):
    values: tuple[str, ...]

    @property
    def expected(self) -> str:
        return _("one of %(values)s") % {"values": ", ".join(self.values)}

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        text = as_text(column, dtype)
        return pl.when(text.is_in(self.values)).then(text)


@dataclass(frozen=True)
class Flag(Kind):
    @property
    def expected(self) -> str:
        return _("true or false")

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        if dtype == pl.Boolean:
            return column
        text = as_text(column, dtype).str.to_lowercase()
        return pl.when(text.is_in(["true", "1"])).then(True).when(text.is_in(["false", "0"])).then(False)


@dataclass(frozen=True)
class Whole(Kind):
    @property
    def expected(self) -> str:
        return _("a whole number from 0 to %(most)d") % {"most": LARGEST_WHOLE}

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        text = as_text(column, dtype)
        number = pl.when(text.str.contains(r"^\d{1,10}$")).then(text).cast(pl.Int64, strict=False)
        return pl.when(number <= LARGEST_WHOLE).then(number)


@dataclass(frozen=True)
class Real(Kind):
    @property
    def expected(self) -> str:
        return _("a number such as 4.5")

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        number = as_text(column, dtype).cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number)


@dataclass(frozen=True)
class Exact(Kind):
    """A decimal number kept exactly: money and quantities."""

    digits: int = 14
    decimals: int = 3
    negative: bool = False
    dtype: pl.Decimal = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", pl.Decimal(self.digits, self.decimals))

    @property
    def expected(self) -> str:
        told = _(
            "a number from 0 up such as 12.50, with a decimal point, at most %(before)d digits before it and %(after)d "
            "after it"
        )
        if self.negative:
            told = _(
                "a number such as 12.50, with a decimal point, at most %(before)d digits before it and %(after)d "
                "after it"
            )
        return told % {"before": self.digits - self.decimals, "after": self.decimals}

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        if dtype.is_float():
            # 0.1 + 0.2 is taken for 0.3, 0.1234 is not taken for 0.123.
            rounded = column.round(self.decimals)
            fits = ((column - rounded).abs() < 1e-6) & (column.abs() < 10 ** (self.digits - self.decimals))
            number = pl.when(fits).then(rounded).cast(self.dtype, strict=False)
        elif dtype.is_integer():
            number = column.cast(self.dtype, strict=False)
        else:
            text = as_text(column, dtype)
            plain = text.str.contains(rf"^[+-]?\d{{1,{self.digits - self.decimals}}}(\.\d{{0,{self.decimals}}}0*)?$")
            number = pl.when(plain).then(text).cast(self.dtype, strict=False)
        return number if self.negative else pl.when(number >= 0).then(number)


@dataclass(frozen=True)
class Moment(Kind):
    """A point in time. One without an offset is read in the shop's time zone, a day alone as its first moment.

    With ``through_day`` a day alone is read as the first moment of the day after: an end that lasts through that day.
    Where clocks go back, a time that comes twice is the first of the two; one that clocks skip cannot be read.
    """

    through_day: bool = False

    @property
    def expected(self) -> str:
        return _("a date or time such as 2024-03-01, 2024-03-01T18:30:00 or 2024-03-01T18:30:00+02:00")

    def parse(self, column: pl.Expr, dtype: pl.DataType, zone: ZoneInfo) -> pl.Expr:
        if isinstance(dtype, pl.Datetime):
            if dtype.time_zone is not None:
                return column.cast(TIME)
            return _in_zone(column.cast(pl.Datetime("us")), zone)
        if dtype == pl.Date:
            return self._of_day(column.cast(pl.Datetime("us")), zone)
        if dtype == pl.Null:
            return column.cast(TIME)
        if dtype != pl.String:
            raise UnreadableTypeError(f"{dtype}")
        part = column.str.extract_groups(MOMENT).struct
        minute, second, fraction = part.field("minute"), part.field("second"), part.field("fraction")
        clock = pl.concat_str(
            part.field("date"),
            pl.lit(" "),
            minute.fill_null("00:00"),
            pl.lit(":"),
            second.fill_null("00"),
            pl.lit("."),
            fraction.fill_null("0").str.pad_end(6, "0"),
        ).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us", strict=False)
        sign = pl.when(part.field("sign") == "-").then(-1).otherwise(1)
        hours, minutes = part.field("hours").cast(pl.Int64), part.field("minutes").cast(pl.Int64).fill_null(0)
        offset = pl.when((hours < 24) & (minutes < 60)).then(pl.duration(minutes=sign * (hours * 60 + minutes)))
        return (
            pl.when(minute.is_null())
            .then(self._of_day(clock, zone))
            .when(part.field("zulu").is_not_null())
            .then(clock.dt.replace_time_zone("UTC"))
            .when(hours.is_not_null())
            .then((clock - offset).dt.replace_time_zone("UTC"))
            .otherwise(_in_zone(clock, zone))
        )

    def _of_day(self, midnight: pl.Expr, zone: ZoneInfo) -> pl.Expr:
        first = midnight.dt.offset_by("1d") if self.through_day else midnight
        # In some zones clocks skip midnight itself, and the day begins at one.
        return pl.coalesce(_in_zone(first, zone), _in_zone(first.dt.offset_by("1h"), zone))


def _in_zone(clock: pl.Expr, zone: ZoneInfo) -> pl.Expr:
    local = clock.dt.replace_time_zone(zone.key, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC")
