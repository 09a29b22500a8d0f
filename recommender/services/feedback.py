"""What shoppers did with what they were offered, taken in as it happens."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, models
from django.utils.translation import gettext as _

from recommender.models import Campaign, Coupon, Event, Product, Shopper
from recommender.services.event_key import event_key
from recommender.services.patience import patient_transaction

ATTEMPTS = 3
#: From so many events on they are written by COPY; below, loading what that needs would cost more.
IN_BULK_FROM = 50

#: The columns that name other rows, by the shop's identifier. An event's foreign keys have the same names.
REFERENCES: dict[str, type[models.Model]] = {
    "shopper_id": Shopper,
    "coupon_id": Coupon,
    "product_id": Product,
    "campaign_id": Campaign,
}


#: An event as it is written: the columns of the table, in this order.
Row = tuple[Any, ...]
COLUMNS = ("event_key", "kind", "occurred_at", "value", *REFERENCES)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewEvent:
    """Something a shopper did, in the shop's own identifiers. ``occurred_at`` is aware.

    Attributes:
        by_shopper: it came by a shopper's token, and its ``event_id`` is that shopper's own.
    """

    shopper_id: str
    kind: str
    occurred_at: datetime
    event_id: str | None = None
    coupon_id: str | None = None
    product_id: str | None = None
    campaign_id: str | None = None
    value: float | None = None
    by_shopper: bool = False

    @property
    def key(self) -> str:
        return event_key(
            event_id=self.event_id,
            shopper_id=self.shopper_id,
            kind=self.kind,
            occurred_at=self.occurred_at,
            coupon_id=self.coupon_id,
            product_id=self.product_id,
            campaign_id=self.campaign_id,
            value=self.value,
            by_shopper=self.by_shopper,
        )


@dataclass
class RecordedEvents:
    """How many events are new and how many were known before; ``refused`` holds messages by field by position."""

    accepted: int = 0
    duplicates: int = 0
    refused: dict[int, dict[str, list[str]]] = field(default_factory=dict)


def record_events(*, events: Mapping[int, NewEvent]) -> RecordedEvents:
    """Keep each event once, whichever way and however often it comes.

    ``events`` are keyed by their position in what the caller was given. An event that names a shopper, coupon, product
    or campaign that the shop does not have is refused, and the others are kept, all in one transaction.

    Raises:
        Busy: others wrote for too long; nothing was kept.
    """
    recorded = RecordedEvents()
    known = {column: _primary_keys(model, column, events.values()) for column, model in REFERENCES.items()}
    rows: dict[str, Row] = {}
    for position, event in events.items():
        keys = [
            None if (identifier := getattr(event, column)) is None else of_column.get(identifier)
            for column, of_column in known.items()
        ]
        if None in keys and (errors := _unknown(event, known)):
            recorded.refused[position] = errors
        elif (key := event.key) in rows:
            recorded.duplicates += 1
        else:
            rows[key] = (key, event.kind, event.occurred_at, event.value, *keys)
    recorded.accepted = _insert_new(rows)
    recorded.duplicates += len(rows) - recorded.accepted
    return recorded


def _unknown(event: NewEvent, known: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """What an event names and the shop does not have."""
    return {
        column: [_no_such(column, getattr(event, column))]
        for column, of_column in known.items()
        if getattr(event, column) is not None and getattr(event, column) not in of_column
    }


def _primary_keys(model: type[models.Model], column: str, events: Iterable[NewEvent]) -> dict[str, int]:
    wanted = {getattr(event, column) for event in events} - {None}
    if not wanted:
        return {}
    return dict(model._default_manager.filter(**{f"{column}__in": wanted}).values_list(column, "pk"))


def _no_such(column: str, identifier: str) -> str:
    return _("There is no %(thing)s %(id)s.") % {"thing": REFERENCES[column]._meta.verbose_name, "id": identifier}


def _insert_new(rows: Mapping[str, Row]) -> int:
    """Insert the rows whose key is not there yet; how many those were.

    Two callers may bring the same event at once. The later one fails on the unique key and looks again, rather than
    ignoring the conflict, because the answer says exactly what was new.
    """
    for attempt in range(1, ATTEMPTS + 1):
        known = set(Event.objects.filter(event_key__in=rows).values_list("event_key", flat=True))
        new = [row for key, row in sorted(rows.items()) if key not in known]  # one order for all: no deadlock
        try:
            with patient_transaction():
                _insert(new)
        except IntegrityError:
            if attempt == ATTEMPTS:
                raise
        else:
            return len(new)
    raise AssertionError("unreachable")


def _insert(rows: Sequence[Row]) -> None:
    if len(rows) < IN_BULK_FROM:
        Event.objects.bulk_create(Event(**dict(zip(COLUMNS, row, strict=True))) for row in rows)
        return
    import polars as pl  # a web process that is sent single events does without

    from recommender.bulk import insert_frame

    types = [pl.String(), pl.String(), pl.Datetime("us", "UTC"), pl.Float64(), *[pl.Int64()] * len(REFERENCES)]
    columns = [
        pl.Series(name, values, dtype=kind)
        for name, kind, values in zip(COLUMNS, types, zip(*rows, strict=True), strict=True)
    ]
    insert_frame(Event, pl.DataFrame(columns))
