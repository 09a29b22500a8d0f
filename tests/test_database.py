"""Which errors say that the database cannot be reached."""

import pytest
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError, ProgrammingError

from couponsite.database import is_away


def error(kind: type[Exception], code: str | None = "") -> Exception:
    made = kind("what the driver said")
    if code != "":
        cause = DatabaseError("its own")
        cause.pgcode = code  # type: ignore[attr-defined]
        made.__cause__ = cause
    return made


@pytest.mark.parametrize(
    "away",
    [
        error(InterfaceError),
        error(OperationalError, None),
        error(DatabaseError, None),
        error(OperationalError, "57P01"),
        error(OperationalError, "57P03"),
        error(OperationalError, "08006"),
        error(OperationalError, "53300"),
    ],
)
def test_it_is_away(away: Exception) -> None:
    assert is_away(away)


@pytest.mark.parametrize(
    "other",
    [
        None,
        ValueError(),
        error(OperationalError),  # SQLite's, of a disk or a lock
        error(OperationalError, "53100"),  # a full disk
        error(OperationalError, "40P01"),
        error(ProgrammingError, None),
        error(IntegrityError, "23505"),
    ],
)
def test_it_is_not(other: Exception | None) -> None:
    assert not is_away(other)
