"""Connections to PostgreSQL that notice when the other end has vanished."""

from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError

#: Seconds of silence before the other end is asked for a sign of life, between questions, and how many stay unanswered.
TCP_IDLE, TCP_INTERVAL, TCP_COUNT = 15, 5, 3
#: Milliseconds for which what was sent may stay unacknowledged.
TCP_USER_TIMEOUT = 1000 * (TCP_IDLE + TCP_INTERVAL * TCP_COUNT)
#: PostgreSQL's codes for a server that ends, has ended or is starting, a lost connection, and one too many.
_AWAY = ("57P", "08", "53300")


def is_away(error: BaseException | None) -> bool:
    """Whether an error says that the database cannot be reached, so that the same may go well in a moment."""
    if isinstance(error, InterfaceError):  # the connection was lost before
        return True
    # The driver has no class of its own for a server that dies in the middle of an answer.
    if error is None or type(error) not in (OperationalError, DatabaseError):
        return False
    code = getattr(error.__cause__, "pgcode", "")  # none where there was nobody to give one
    return code is None or code.startswith(_AWAY)


def tell_server_to_notice(*, connection: Any, **signal: Any) -> None:
    """Have the server end a session whose client has vanished, and so let go of what that had locked.

    By itself it waits for hours. Asked for by a query rather than at the connection's start, which poolers refuse.
    """
    if connection.vendor != "postgresql":
        return
    # The driver's own cursor: this belongs to nobody's queries.
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('tcp_keepalives_idle', %s, false), set_config('tcp_keepalives_interval', %s, false),"
            " set_config('tcp_keepalives_count', %s, false), set_config('tcp_user_timeout', %s, false)",
            [str(TCP_IDLE), str(TCP_INTERVAL), str(TCP_COUNT), str(TCP_USER_TIMEOUT)],
        )
