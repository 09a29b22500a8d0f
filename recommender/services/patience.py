"""Transactions of those who wait for an answer: whole or not at all, and never long waited for."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import OperationalError, connection, transaction

#: How long an answer waits for others who hold what it needs: on SQLite for any other write.
PATIENCE = 5.0  # seconds
#: PostgreSQL's codes for a lock that was not had in time, a deadlock that it broke, and a transaction to do again.
_MAY_BE_REPEATED = {"55P03", "40P01", "40001"}


class Busy(Exception):
    """Others held what was needed for too long. Nothing was done, and the same can be asked again."""


@contextmanager
def patient_transaction(*, seconds: float | None = None) -> Iterator[None]:
    """A transaction that gives up rather than wait longer than ``seconds``, by default ``PATIENCE``.

    One within another is a part of it, and waits as that does.

    Raises:
        Busy: nothing was done.
    """
    if connection.in_atomic_block:
        with transaction.atomic():
            yield
        return
    milliseconds = max(1, int((PATIENCE if seconds is None else seconds) * 1000))  # 0 is for ever on PostgreSQL
    try:
        with _patience_on_sqlite(milliseconds), transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{milliseconds}ms"])
            yield
    except OperationalError as error:
        if may_be_repeated(error):
            raise Busy from error
        raise


def may_be_repeated(error: OperationalError) -> bool:
    """Whether it tells that others held what was needed, and nothing else is wrong."""
    return "database is locked" in str(error) or getattr(error.__cause__, "pgcode", None) in _MAY_BE_REPEATED


@contextmanager
def _patience_on_sqlite(milliseconds: int) -> Iterator[None]:
    """Wait less long than other writers do: whoever stands at a till asks again."""
    if connection.vendor != "sqlite":
        yield
        return
    with connection.cursor() as cursor:
        usual = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
        cursor.execute(f"PRAGMA busy_timeout = {milliseconds}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {int(usual)}")
