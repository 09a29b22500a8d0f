"""The digest that says who is held out of a campaign."""

import hashlib
from decimal import Decimal

#: Every digest is read as a number below this one.
DIGESTS = 2**64


def is_held_out(*, campaign_id: str, shopper_id: str, percent: Decimal) -> bool:
    """Whether a shopper falls into the share of a campaign that is held out.

    The campaign's identifier salts the digest: other campaigns hold out others. Nothing but the shop's identifiers and
    the share decides, so that it is the same on every host and database, and whoever is held out at a share is held
    out at every larger one.
    """
    return digest_of(campaign_id=campaign_id, shopper_id=shopper_id) < int(percent * DIGESTS / 100)


def digest_of(*, campaign_id: str, shopper_id: str) -> int:
    """Whoever has a digest below the campaign's share of :data:`DIGESTS` is held out."""
    return int.from_bytes(hashlib.sha256(f"{campaign_id}\0{shopper_id}".encode()).digest()[:8], "big")
