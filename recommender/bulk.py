"""Many rows in, many rows out: polars frames and tables, by COPY on PostgreSQL and in batches on SQLite.

Frames name columns as the models' attributes do (``shopper_id`` for the key of a shopper). Values are stored exactly as
Django stores them, so that a row written here and a row written by the ORM cannot be told apart. Every function works
on the default database and joins the transaction that is open.
"""

import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from uuid import uuid4

import polars as pl
from django.core.exceptions import EmptyResultSet
from django.db import connection, models, transaction
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL
from polars._typing import PolarsDataType

BATCH_ROWS = 50_000
#: Stands for NULL in what goes through COPY: a control character, because an empty string is a value.
NULL = "\x1f"
#: What COPY may hold in memory before it goes on in a temporary file.
SPOOL_BYTES = 256 * 2**20


def read_frame(queryset: QuerySet, schema: Mapping[str, PolarsDataType]) -> pl.DataFrame:
    """Read a query into a frame, without making objects of its rows.

    Args:
        queryset: a ``values_list()`` whose columns stand in the order of the schema.
        schema: names and polars types of the columns. Times are ``pl.Datetime("us", "UTC")``; decimals are
            ``pl.Decimal`` (exact) or ``pl.Float64``; JSON is ``pl.String`` and comes as text.
    """
    try:
        sql, parameters = queryset.query.sql_with_params()
    except EmptyResultSet:
        return pl.DataFrame(schema=schema)
    if connection.vendor == "postgresql":
        return _read_by_copy(sql, parameters, schema)
    return _read_by_cursor(sql, parameters, schema)


def insert_frame(model: type[models.Model], frame: pl.DataFrame) -> int:
    """Insert rows and return their number.

    Args:
        model: whose table takes the rows.
        frame: its columns are attributes of the model. Columns that it lacks must be nullable or the automatic key:
            defaults of the model are not filled in.
    """
    with transaction.atomic():
        _insert(model._meta.db_table, _columns(model, frame.columns), frame)
    return frame.height


def count_anew(model: type[models.Model]) -> None:
    """Have PostgreSQL look at what lies in a table into which many rows were written. It does so by itself, up to a
    minute later; until then it plans as if they were not there, and a query of a moment may take an hour."""
    _analyze(model._meta.db_table)


def insert_selected(model: type[models.Model], attributes: Sequence[str], queryset: QuerySet) -> int:
    """Insert what a ``values_list()`` selects, without bringing it here, and return the number of rows.

    ``attributes`` of the model stand in the order of its columns. Those that are left out are as for
    :func:`insert_frame`.
    """
    try:
        sql, parameters = queryset.query.sql_with_params()
    except EmptyResultSet:
        return 0
    names = ", ".join(map(_quoted, _columns(model, attributes)))
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {_quoted(model._meta.db_table)} ({names}) {sql}", parameters)
        return cursor.rowcount


def update_frame(model: type[models.Model], frame: pl.DataFrame) -> int:
    """Set the columns of a frame in the rows that its ``id`` column names, and return the number of rows."""
    columns = _columns(model, frame.columns)
    with transaction.atomic(), _staged(model._meta.db_table, columns, frame) as stage, connection.cursor() as cursor:
        key = _quoted(_columns(model, ["id"])[0])
        table = _quoted(model._meta.db_table)
        assignments = ", ".join(f"{_quoted(name)} = stage.{_quoted(name)}" for name in columns if _quoted(name) != key)
        cursor.execute(f"UPDATE {table} SET {assignments} FROM {stage} stage WHERE {table}.{key} = stage.{key}")  # noqa: S608
    return frame.height


def delete_rows(model: type[models.Model], ids: pl.Series) -> int:
    """Delete the rows with these primary keys, by the database alone: nothing cascades, references must not remain."""
    with transaction.atomic(), staged_values(model, "id", ids) as staged:
        return model._default_manager.filter(pk__in=staged)._raw_delete(connection.alias)


@contextmanager
def staged_values(model: type[models.Model], attribute: str, values: pl.Series) -> Iterator[RawSQL]:
    """Put any number of values where a query can look them up: ``filter(order_id__in=staged)``.

    ``attribute`` names the column of ``model`` that has the type of the values.
    """
    columns = _columns(model, [attribute])
    with transaction.atomic(), _staged(model._meta.db_table, columns, values.to_frame()) as stage:
        yield RawSQL(f"SELECT {_quoted(columns[0])} FROM {stage}", [])  # noqa: S608, S611


def _columns(model: type[models.Model], attributes: Sequence[str]) -> list[str]:
    """The table's columns for attributes of the model."""
    known = {field.attname: field.column or field.attname for field in model._meta.concrete_fields}
    return [known[attribute] for attribute in attributes]


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


@contextmanager
def _staged(table: str, columns: list[str], frame: pl.DataFrame) -> Iterator[str]:
    """A temporary table that holds the frame in columns of the table's types, under the quoted name that is yielded."""
    name = f"stage_{uuid4().hex}"
    names = ", ".join(map(_quoted, columns))
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE {_quoted(name)} AS SELECT {names} FROM {_quoted(table)} WHERE 1 = 0")  # noqa: S608
        _insert(name, columns, frame)
        _analyze(name)
        yield _quoted(name)
        # Not in a `finally`: after an error the transaction is rolled back, and the table goes with it.
        cursor.execute(f"DROP TABLE {_quoted(name)}")


def _analyze(table: str) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:  # who looks already, or rebuilds an index for an hour, is not waited for
            cursor.execute(f"ANALYZE (SKIP_LOCKED) {_quoted(table)}")


def _insert(table: str, columns: list[str], frame: pl.DataFrame) -> None:
    insert = _insert_by_copy if connection.vendor == "postgresql" else _insert_by_batches
    insert(table, columns, frame)


# PostgreSQL


def _read_by_copy(sql: str, parameters: tuple, schema: Mapping[str, PolarsDataType]) -> pl.DataFrame:
    # Of what CSV can hold, polars reads these as they are meant; the rest comes as text and is converted below.
    as_they_are = {name: kind if _is_plain_number(kind) else pl.String for name, kind in schema.items()}
    with connection.cursor() as cursor, tempfile.SpooledTemporaryFile(SPOOL_BYTES) as file:
        query = connection.ops.compose_sql(sql, parameters)  # type: ignore[attr-defined]
        with connection.wrap_database_errors:
            cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH (FORMAT csv, NULL '{NULL}')", file)
        if not file.tell():
            return pl.DataFrame(schema=schema)
        file.seek(0)
        frame = pl.read_csv(file, has_header=False, schema=as_they_are, null_values=NULL, empty_string_is_null=False)
    return frame.select(
        pl.col(name).eq("t").alias(name) if kind == pl.Boolean else _from_text(name, kind)
        for name, kind in schema.items()
    )


def _insert_by_copy(table: str, columns: list[str], frame: pl.DataFrame) -> None:
    from psycopg2 import sql

    statement = sql.SQL("COPY {table} ({columns}) FROM STDIN WITH (FORMAT csv, NULL {null})").format(
        table=sql.Identifier(table),
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        null=sql.Literal(NULL),
    )
    with connection.cursor() as cursor:
        for batch in frame.iter_slices(BATCH_ROWS):
            file = io.BytesIO()
            batch.write_csv(file, include_header=False, null_value=NULL, datetime_format="%Y-%m-%d %H:%M:%S%.6f%:z")
            file.seek(0)
            with connection.wrap_database_errors:
                cursor.copy_expert(statement, file)


# SQLite


def _read_by_cursor(sql: str, parameters: tuple, schema: Mapping[str, PolarsDataType]) -> pl.DataFrame:
    held = {name: _type_in_sqlite(kind) for name, kind in schema.items()}
    names = ", ".join(map(_quoted, schema))
    # The plus makes an expression of the column, which has no declared type: else Django's converters would make an
    # object of every time and flag.
    values = ", ".join(f"+{_quoted(name)}" for name in schema)
    batches = [pl.DataFrame(schema=held)]
    with connection.cursor() as cursor:
        cursor.execute(f"WITH result ({names}) AS ({sql}) SELECT {values} FROM result", parameters)  # noqa: S608
        while rows := cursor.fetchmany(BATCH_ROWS):
            batches.append(pl.DataFrame(rows, schema=held, orient="row", strict=False))
    return pl.concat(batches).select(_from_text(name, kind) for name, kind in schema.items())


def _insert_by_batches(table: str, columns: list[str], frame: pl.DataFrame) -> None:
    names = ", ".join(map(_quoted, columns))
    places = ", ".join(["%s"] * len(columns))
    as_stored = [_as_sqlite_stores(name, kind) for name, kind in frame.schema.items()]
    with connection.cursor() as cursor:
        for batch in frame.iter_slices(BATCH_ROWS):
            rows = batch.select(as_stored).rows()
            cursor.executemany(f"INSERT INTO {_quoted(table)} ({names}) VALUES ({places})", rows)  # noqa: S608


def _type_in_sqlite(kind: PolarsDataType) -> PolarsDataType:
    if kind == pl.Boolean:
        return pl.Int8
    if isinstance(kind, pl.Decimal):  # held as integers where they are whole, else as floats
        return pl.Float64
    return kind if _is_plain_number(kind) else pl.String


def _as_sqlite_stores(name: str, kind: PolarsDataType) -> pl.Expr:
    """SQLite knows no times, for which Django writes text, and no decimals, of which its columns make numbers."""
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC")
        whole = utc.dt.microsecond() == 0
        return (
            pl.when(whole)
            .then(utc.dt.to_string("%Y-%m-%d %H:%M:%S"))
            .otherwise(utc.dt.to_string("%Y-%m-%d %H:%M:%S%.6f"))
            .alias(name)
        )
    return column.cast(pl.Float64) if isinstance(kind, pl.Decimal) else column


# Both


def _is_plain_number(kind: PolarsDataType) -> bool:
    return kind.is_integer() or kind.is_float()


def _from_text(name: str, kind: PolarsDataType) -> pl.Expr:
    """A column as its database gave it, in the type that was asked for."""
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        # PostgreSQL speaks in the time zone of the connection, which Django keeps at UTC.
        return column.str.strip_suffix("+00").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_zone="UTC", time_unit="us")
    return column.cast(kind)
