"""Who may call the API: keys of the shop's systems, and short-lived tokens of shoppers."""

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt
from django.db.models import CharField, DateTimeField, F, Q
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from recommender.compiled import Compiled
from recommender.models import ApiKey, Scope, Shopper, User
from recommender.models.access import validate_scopes
from recommender.services.patience import Busy, patient_transaction

KEY_BEGINS_WITH = "csk_"
KEY_BYTES = 32
VISIBLE_CHARACTERS = 12
NAME_LENGTH = 100
USE_RECORDED_EVERY = timedelta(minutes=1)
USE_RECORDED_WITHIN = 0.05  # seconds
#: How long the secret that a rotated key had before is accepted beside the new one.
ROTATION_GRACE = timedelta(days=1)
ROTATION_GRACE_AT_MOST = timedelta(days=30)

TOKEN_ALGORITHM = "HS256"  # noqa: S105
TOKEN_ISSUER = "couponsite"  # noqa: S105
TOKEN_AUDIENCE = "couponsite-shopper-api"  # noqa: S105
TOKEN_LIFETIME = timedelta(minutes=15)
TOKEN_LIFETIME_AT_MOST = timedelta(hours=1)


class ShopperUnknown(LookupError):
    """No shopper has this identifier."""


class TokenRefused(ValueError):
    """A shopper's token that this site did not sign, or that holds no longer."""


@dataclass(frozen=True)
class ShopperToken:
    token: str
    expires_at: datetime


def create_api_key(
    *, name: str, scopes: Sequence[str] = tuple(Scope.values), created_by: User | None = None
) -> tuple[ApiKey, str]:
    """Make a key for one of the shop's systems.

    Returns the row and the key itself, which is nowhere kept: this is the only time that it can be shown.

    Raises:
        ValidationError: there is no such scope, or none is given.
    """
    validate_scopes(list(scopes))
    key = _new_key()
    row = ApiKey.objects.create(
        name=name,
        prefix=key[:VISIBLE_CHARACTERS],
        digest=_digest(key),
        scopes=[scope for scope in Scope.values if scope in scopes],
        created_by=created_by,
    )
    return row, key


def find_api_key(*, key: str, at: datetime | None = None) -> ApiKey | None:
    """The row of a key that was not revoked, by its secret or by the former one while that is accepted."""
    found = _find_key(digest=_digest(key), moment=at or timezone.now())
    return found[0] if found else None


_find_key = Compiled(
    lambda digest, moment: ApiKey.objects.usable().of_digest(digest, moment).order_by("-pk")[:1],
    digest=CharField(),
    moment=DateTimeField(),
)


def record_use(*, api_key: ApiKey, at: datetime) -> None:
    """Remember that a key was used, with one write a minute however often it is. No call waits for it, nor fails."""
    if api_key.last_used_at is not None and api_key.last_used_at > at - USE_RECORDED_EVERY:
        return
    unrecorded = Q(last_used_at__isnull=True) | Q(last_used_at__lte=at - USE_RECORDED_EVERY)
    with suppress(Busy), patient_transaction(seconds=USE_RECORDED_WITHIN):
        # All calls of a second find that it is due: one of them writes, and the others pass it by.
        due = ApiKey.objects.select_for_update(skip_locked=True).filter(unrecorded, pk=api_key.pk)
        ApiKey.objects.filter(pk__in=list(due.values_list("pk", flat=True))).update(last_used_at=at)


def rotate_api_key(*, api_key: ApiKey, at: datetime, grace: timedelta = ROTATION_GRACE) -> str:
    """Give a key a new secret, which is returned this once. The one it had opens the API for ``grace`` more.

    A former secret that was still accepted is not any more: there are never more than two.

    Raises:
        ValueError: the key is revoked, or ``grace`` is negative or longer than 30 days.
    """
    if not timedelta() <= grace <= ROTATION_GRACE_AT_MOST:
        raise ValueError(_("Expected a grace of 0 to %(days)d days.") % {"days": ROTATION_GRACE_AT_MOST.days})
    key = _new_key()
    rotated = ApiKey.objects.usable().filter(pk=api_key.pk)
    changed = rotated.update(
        previous_digest=F("digest"), previous_until=at + grace, digest=_digest(key), prefix=key[:VISIBLE_CHARACTERS]
    )
    if not changed:
        raise ValueError(_("The key is revoked: make a new one instead."))
    api_key.refresh_from_db()
    return key


def revoke_api_key(*, api_key: ApiKey, at: datetime) -> None:
    """Refuse the key from now on, its former secret too. A key that was revoked before keeps its first time."""
    ApiKey.objects.usable().filter(pk=api_key.pk).update(revoked_at=at)
    api_key.refresh_from_db(fields=["revoked_at"])


def issue_shopper_token(*, shopper_id: str, at: datetime, lifetime: timedelta = TOKEN_LIFETIME) -> ShopperToken:
    """Sign a token with which one shopper's page or app may speak for that shopper alone.

    A shopper who opted out gets one too: their list is empty, and a page need not know why.

    Raises:
        ShopperUnknown: nobody has this identifier.
        ValueError: ``lifetime`` is not between a second and an hour.
    """
    if not timedelta(seconds=1) <= lifetime <= TOKEN_LIFETIME_AT_MOST:
        raise ValueError(f"lifetime {lifetime} is not between a second and {TOKEN_LIFETIME_AT_MOST}.")
    if not Shopper.objects.filter(shopper_id=shopper_id).exists():
        raise ShopperUnknown(shopper_id)
    issued_at = at.replace(microsecond=0)  # the token's times are whole seconds
    claims: dict[str, Any] = {
        "iss": TOKEN_ISSUER,
        "aud": TOKEN_AUDIENCE,
        "sub": shopper_id,
        "iat": issued_at,
        "exp": issued_at + lifetime,
    }
    return ShopperToken(
        token=jwt.encode(claims, _signing_key(), algorithm=TOKEN_ALGORITHM), expires_at=issued_at + lifetime
    )


def read_shopper_token(*, token: str) -> str:
    """The identifier of the shopper for whom this site signed ``token``.

    Raises:
        TokenRefused: it is expired, forged, unsigned, or meant for something else.
    """
    try:
        claims = jwt.decode(
            token,
            _signing_key(),
            algorithms=[TOKEN_ALGORITHM],
            audience=TOKEN_AUDIENCE,
            issuer=TOKEN_ISSUER,
            options={"require": ["exp", "iat", "aud", "iss", "sub"]},
        )
    except jwt.InvalidTokenError as error:
        raise TokenRefused(str(error)) from error
    shopper_id: str = claims["sub"]
    return shopper_id


def _new_key() -> str:
    return KEY_BEGINS_WITH + secrets.token_urlsafe(KEY_BYTES)


def _digest(key: str) -> str:
    # A fast digest is enough for 256 random bits: there is nothing to guess from.
    return hashlib.sha256(key.encode()).hexdigest()


def _signing_key() -> bytes:
    return salted_hmac("recommender.services.access", "shopper token", algorithm="sha256").digest()
