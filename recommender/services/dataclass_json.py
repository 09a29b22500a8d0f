"""Dataclasses as JSON and back, by the types of their fields. A row of the database is kept by its key."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from django.db.models import Model
from django.utils.dateparse import parse_date, parse_datetime

Content = TypeVar("Content")

#: Relations that a row's name is made of.
_NAMED_BY = {"Run": ("campaign",), "Publication": ("campaign", "run__campaign")}
_PLAIN: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys((bool, int, float, str), lambda plain: plain),
    **{Decimal: Decimal, datetime: parse_datetime, date: parse_date},
}
_FindRow = Callable[[type[Model], Any], Any]


def as_json(value: Any) -> Any:
    """What :func:`from_json` reads. Dates and decimals are left to :class:`DjangoJSONEncoder`."""
    if isinstance(value, Model):
        return value.pk
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()  # Django's encoder leaves out what is below a millisecond
    return value


def from_json(kind: type[Content], value: Any) -> Content:
    """The value of a type from what :func:`as_json` made of it, with one query for each model that it names.

    Raises:
        KeyError, TypeError: the value is of another type, or a row that it names is gone.
    """
    keys: dict[type[Model], set[Any]] = {}
    _read(kind, value, lambda model, key: keys.setdefault(model, set()).add(key))
    rows = {
        model: model._default_manager.select_related(*_NAMED_BY.get(model.__name__, ())).in_bulk(list(found))
        for model, found in keys.items()
    }
    return _read(kind, value, lambda model, key: rows[model][key])


def _read(kind: Any, value: Any, find_row: _FindRow) -> Any:
    if value is None:
        return None
    if get_origin(kind) is not None:
        return _read_made_of(get_origin(kind), get_args(kind), value, find_row)
    if is_dataclass(kind):
        types = get_type_hints(kind)
        values = {field.name: _read(types[field.name], value[field.name], find_row) for field in fields(kind)}
        return kind(**values)  # type: ignore[operator]
    if issubclass(kind, Model):
        return find_row(kind, value)
    return _PLAIN[kind](value)


def _read_made_of(origin: Any, inner: tuple[Any, ...], value: Any, find_row: _FindRow) -> Any:
    """A value of a type that is made of others, such as ``list[int]`` or ``int | None``."""
    if origin is UnionType:
        return _read(next(each for each in inner if each is not NoneType), value, find_row)
    if origin is dict:
        return {inner[0](key): _read(inner[1], each, find_row) for key, each in value.items()}
    if origin is tuple and inner[-1] is not Ellipsis:
        return tuple(_read(of, each, find_row) for of, each in zip(inner, value, strict=True))
    read = [_read(inner[0], each, find_row) for each in value]
    return tuple(read) if origin is tuple else read
