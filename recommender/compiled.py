"""Queries that are asked for at every request: turned into SQL once a process, and planned once a connection.

A query of many joins costs Django milliseconds to build and PostgreSQL as many to plan, and the same SQL comes out each
time. Here a query set is built once with :class:`Parameter` in the places of what differs. On PostgreSQL the SQL is a
prepared statement of the connection; where there is none, as behind a pooler that hands out another connection each
time, it is sent as it is.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, OperationalError, ProgrammingError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, JSONField, QuerySet
from django.db.models.expressions import Col
from django.db.models.query import FlatValuesListIterable, ModelIterable, ValuesIterable

#: PostgreSQL's codes for a statement that is not prepared, one that was before, and one whose columns changed since.
_NOT_AS_PREPARED = {"26000", "42P05", "0A000"}
#: The names of the statements that each connection has prepared.
_prepared: WeakKeyDictionary[Any, set[str]] = WeakKeyDictionary()


class Parameter(Expression):
    """Stands in a query for a value that is given when it is run, or within ``__in`` for so many values."""

    def __init__(self, name: str, output_field: Field, count: int | None = None) -> None:
        super().__init__(output_field=output_field)
        self.name = name
        self.count = count

    def as_sql(self, compiler: Any, connection: BaseDatabaseWrapper) -> Any:
        if self.count is None:
            return "%s", [_Place(self.name, None, self.output_field)]
        places = [_Place(self.name, number, self.output_field) for number in range(self.count)]
        return f"({', '.join(['%s'] * self.count)})", places


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value goes; of several values the one of a number."""

    name: str
    number: int | None
    field: Field

    def value(self, values: Mapping[str, Any], connection: BaseDatabaseWrapper) -> Any:
        value = values[self.name] if self.number is None else values[self.name][self.number]
        return self.field.get_db_prep_value(value, connection)


class Compiled:
    """A query set that is built once.

    Args:
        build: gives the query set, by the names of the parameters: of whole rows, without ``select_related``, or with
            ``values()``, or with ``values_list()`` of one column and ``flat``.
        parameters: the field that adapts each; in a list, one that takes several values, for ``__in``.

    >>> open_at = Compiled(lambda at: Coupon.objects.open_at(at), at=DateTimeField())
    >>> open_at(at=timezone.now())
    """

    def __init__(self, build: Callable[..., QuerySet], **parameters: Field | list[Field]) -> None:
        self._build = build
        self._parameters = parameters
        self._statements: dict[tuple[str, ...], _Statement] = {}

    def __call__(self, **values: Any) -> list[Any]:
        """The rows. Several values may be any number but none; their order and repetitions do not matter.

        Raises:
            EmptyResultSet: the query can give nothing, whatever the values are.
        """
        connection = connections[DEFAULT_DB_ALIAS]
        counts: dict[str, int] = {}
        for name, field in self._parameters.items():
            if isinstance(field, list):
                # A few statements serve any number of values: the last one is repeated up to a power of two.
                given = list(values[name])
                counts[name] = 1 << (len(given) - 1).bit_length()
                values[name] = given + given[-1:] * (counts[name] - len(given))
        key = (connection.vendor, *map(str, counts.values()))
        statement = self._statements.get(key)
        if statement is None:
            statement = self._statements[key] = self._compile(connection, counts)
        return statement.run(connection, values)

    def _compile(self, connection: BaseDatabaseWrapper, counts: Mapping[str, int]) -> "_Statement":
        parameters = {
            name: Parameter(name, field[0], counts[name]) if isinstance(field, list) else Parameter(name, field)
            for name, field in self._parameters.items()
        }
        return _Statement(self._build(**parameters), connection)


class _Statement:
    """SQL, what goes into it, and how to read what comes out of it. The same for all threads."""

    def __init__(self, rows: QuerySet, connection: BaseDatabaseWrapper) -> None:
        compiler = rows.query.get_compiler(connection=connection)
        self._sql, self._params = compiler.as_sql()
        columns = [expression for expression, _sql, _alias in compiler.select]
        converters = compiler.get_converters(columns)
        self._converters = [
            (place, [_read_json] if _is_plain_json(column) else each, column)
            for place, (each, column) in converters.items()
        ]
        self._make_row = _row_maker(rows, columns)
        # A parameter that stands in several places is one of the prepared statement.
        self._places = list(dict.fromkeys(each for each in self._params if isinstance(each, _Place)))
        self._numbers = [self._places.index(each) if isinstance(each, _Place) else None for each in self._params]
        # Other processes may share the connection through a pooler: what has the same name is the same.
        self._name = f"couponsite_{hashlib.sha256(repr((self._sql, self._params)).encode()).hexdigest()[:20]}"
        self._execute = f"EXECUTE {self._name}" + (
            f" ({', '.join(['%s'] * len(self._places))})" if self._places else ""
        )

    def run(self, connection: BaseDatabaseWrapper, values: Mapping[str, Any]) -> list[Any]:
        given = [place.value(values, connection) for place in self._places]
        with connection.cursor() as cursor:
            if not self._run_prepared(cursor, connection, given):
                pairs = zip(self._params, self._numbers, strict=True)
                cursor.execute(self._sql, [each if number is None else given[number] for each, number in pairs])
            found = cursor.fetchall()
        return [self._make_row(self._converted(row, connection)) for row in found]

    def _run_prepared(self, cursor: Any, connection: BaseDatabaseWrapper, given: list[Any]) -> bool:
        """Whether it was run as a prepared statement. An error within a transaction would end that, so there it is
        not tried."""
        if connection.vendor != "postgresql" or connection.in_atomic_block:
            return False
        prepared = _prepared.setdefault(connection.connection, set())
        try:
            if self._name not in prepared:
                literals = [
                    cursor.mogrify("%s", [each]).decode() if number is None else f"${number + 1}"
                    for each, number in zip(self._params, self._numbers, strict=True)
                ]
                cursor.execute(f"PREPARE {self._name} AS {self._sql % tuple(literals)}")
                prepared.add(self._name)
            cursor.execute(self._execute, given)
        except (ProgrammingError, OperationalError, NotSupportedError) as error:
            if getattr(error.__cause__, "pgcode", None) not in _NOT_AS_PREPARED:
                raise
            prepared.discard(self._name)
            return False
        return True

    def _converted(self, row: Sequence[Any], connection: BaseDatabaseWrapper) -> Sequence[Any]:
        if not self._converters:
            return row
        values = list(row)
        for place, converters, column in self._converters:
            for convert in converters:
                values[place] = convert(values[place], column, connection)
        return values


def _is_plain_json(column: Any) -> bool:
    return (
        isinstance(column, Col) and isinstance(column.output_field, JSONField) and column.output_field.decoder is None
    )


def _read_json(value: str | None, _column: Any, _connection: BaseDatabaseWrapper) -> Any:
    # As JSONField.from_db_value, in a fifth of the time.
    return None if value is None else orjson.loads(value)


def _row_maker(rows: QuerySet, columns: Sequence[Any]) -> Callable[[Sequence[Any]], Any]:
    """What makes of the values of a row what the query set would: a dictionary, a tuple, a single value or a model."""
    if issubclass(rows._iterable_class, ValuesIterable):
        names = list(rows.query.selected or ())
        return lambda values: dict(zip(names, values, strict=False))  # what is only ordered by comes after
    if issubclass(rows._iterable_class, FlatValuesListIterable):
        return itemgetter(0)
    assert issubclass(rows._iterable_class, ModelIterable), "other kinds of rows are not needed so far"
    assert not rows.query.select_related, "related rows are not read along"
    names = [column.target.attname for column in columns]
    model = rows.model
    return lambda values: model.from_db(DEFAULT_DB_ALIAS, names, values)
