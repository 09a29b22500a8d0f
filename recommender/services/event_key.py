"""What tells one event from another, wherever it comes in."""

import hashlib
import json
from datetime import UTC, datetime


def event_key(
    *,
    event_id: str | None,
    shopper_id: str,
    kind: str,
    occurred_at: datetime,
    coupon_id: str | None = None,
    product_id: str | None = None,
    campaign_id: str | None = None,
    value: float | None = None,
    by_shopper: bool = False,
) -> str:
    """The key of an event: its identifier where the shop gave one, else a digest of all that is known of it.

    Identifiers are the shop's own and ``occurred_at`` is aware. The same event gives the same key whether it was posted
    or loaded, and an identifier can never be taken for a digest. What a shopper sends by a token (``by_shopper``) has
    identifiers of its own: nobody keeps the shop's events away, or another shopper's, by sending theirs first.
    """
    if event_id and by_shopper:
        return f"shopper:{hashlib.sha256(json.dumps([shopper_id, event_id]).encode()).hexdigest()}"
    if event_id:
        return f"id:{event_id}"
    facts = [
        shopper_id,
        kind,
        occurred_at.astimezone(UTC).isoformat(timespec="microseconds"),
        coupon_id or "",
        product_id or "",
        campaign_id or "",
        "" if value is None else repr(float(value)),
    ]
    return f"sha256:{hashlib.sha256(json.dumps(facts).encode()).hexdigest()}"
