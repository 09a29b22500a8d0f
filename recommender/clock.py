"""The one clock that all hosts share."""

from datetime import UTC, datetime

from django.db import connection
from django.utils import timezone


def database_now() -> datetime:
    """This moment by the database's clock: what several hosts compare must not depend on their own.

    SQLite has none but that of the only host.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")  # now() would be when the transaction began
        moment: datetime = cursor.fetchone()[0]
    return moment.astimezone(UTC)
