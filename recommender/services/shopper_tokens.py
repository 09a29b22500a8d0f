"""Shoppers' tokens that the shop signs by itself, beside those that this site issues.

What a token says of itself only chooses with what it is checked; nothing of it is believed before. The algorithm
belongs to the signer and not to the token: a shared secret checks HS256 alone, a public key RS256 or ES256 by its own
type alone, so a public key can never be taken for a shared secret.
"""

import json
import logging
import re
import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from recommender.models import TokenSigner, User
from recommender.services.access import (
    TOKEN_AUDIENCE,
    TOKEN_ISSUER,
    TOKEN_LIFETIME_AT_MOST,
    TokenRefused,
    read_shopper_token,
)
from recommender.services.outbound import AddressRefused, RequestFailed, check_address, request
from recommender.services.patience import Busy, patient_transaction
from recommender.services.sealing import SecretUnreadable, seal, unseal

logger = logging.getLogger(__name__)

#: How far the clock of who signed may differ from ours.
LEEWAY = timedelta(seconds=60)
IDENTIFIER_LENGTH = 64  # of a shopper, as in the shop's export
LONGEST_TOKEN = 8_192
SIGNERS_AT_MOST = 10
SECRET_BYTES = 32

KEYS_AT_MOST = 20
RSA_BITS_AT_LEAST = 2_048
KEY_SET_SECONDS = 3.0
KEY_SET_LONGEST = 65_536
#: A key set is asked for again when it is this old, and for a key that it does not hold.
KEY_SET_FRESH = timedelta(minutes=10)
#: But never more often than this, whoever sends whatever tokens.
KEY_SET_ASKED_EVERY = timedelta(minutes=1)
#: Who asks does not wait long for others who write.
TURN_WITHIN = 0.05  # seconds
#: How long the last one serves while its address does not answer.
KEY_SET_KEPT = timedelta(days=1)


class SignerRefused(ValueError):
    """A signer cannot be made so. ``field`` is where it is wrong, the message for people."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


# Signers


def create_signer(
    *,
    name: str,
    kind: TokenSigner.Kind,
    issuer: str = "",
    key_set_address: str = "",
    key_set: Any = None,
    created_by: User | None = None,
) -> tuple[TokenSigner, str]:
    """Let the shop sign its shoppers' tokens.

    Returns:
        The row, and the shared secret if it is of that kind, else an empty string. It is shown only this once.

    Raises:
        SignerRefused: the address or the keys cannot be used, the issuer is this site's, or there are too many signers.
    """
    check_signer(kind=kind, issuer=issuer, key_set_address=key_set_address, key_set=key_set)
    secret = secrets.token_urlsafe(SECRET_BYTES) if kind == TokenSigner.Kind.SECRET else ""
    row = TokenSigner.objects.create(
        name=name,
        kind=kind,
        issuer=issuer,
        sealed_secret=seal(secret=secret) if secret else "",
        key_set_address=key_set_address if kind == TokenSigner.Kind.KEY_SET_ADDRESS else "",
        key_set=key_set if kind == TokenSigner.Kind.KEY_SET else None,
        created_by=created_by,
    )
    return row, secret


def check_signer(*, kind: TokenSigner.Kind, issuer: str, key_set_address: str, key_set: Any) -> None:
    """Whether such a signer can be made. Keys at an address are not asked for: it need not answer yet.

    Raises:
        SignerRefused: see :func:`create_signer`.
    """
    if issuer == TOKEN_ISSUER:
        raise SignerRefused("issuer", _("“%(issuer)s” stands for this site's own tokens.") % {"issuer": issuer})
    if TokenSigner.objects.usable().count() >= SIGNERS_AT_MOST:
        raise SignerRefused("name", _("There are %(most)d signers: revoke one first.") % {"most": SIGNERS_AT_MOST})
    try:
        if kind == TokenSigner.Kind.KEY_SET_ADDRESS:
            check_address(key_set_address)
        elif kind == TokenSigner.Kind.KEY_SET:
            _read_keys(json.dumps(key_set))
    except ValueError as error:
        raise SignerRefused(kind.value, str(error)) from error


def revoke_signer(*, signer: TokenSigner, at: datetime) -> None:
    """Believe no token of this signer any more. One that was revoked before keeps its first time."""
    TokenSigner.objects.usable().filter(pk=signer.pk).update(revoked_at=at)
    signer.refresh_from_db(fields=["revoked_at"])


# Tokens


def read_any_shopper_token(*, token: str) -> str:
    """The identifier of the shopper for whom this site or the shop signed ``token``.

    Raises:
        TokenRefused: it is expired, forged, unsigned, lives too long, or is meant for something else.
    """
    if len(token) > LONGEST_TOKEN:
        raise TokenRefused("The token is too long.")
    try:
        return read_shopper_token(token=token)  # as most are: what it says of itself need not be looked at first
    except TokenRefused as error:
        refused_here = error
    try:
        header = jwt.get_unverified_header(token)
        claimed = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError as error:
        raise TokenRefused(str(error)) from error
    issuer, algorithm = claimed.get("iss"), header.get("alg")
    if issuer == TOKEN_ISSUER:
        raise refused_here
    refusal: Exception | None = None
    for signer in TokenSigner.objects.usable()[:SIGNERS_AT_MOST]:
        if signer.issuer not in ("", issuer):
            continue
        for key in _keys_of(signer, algorithm, header.get("kid")):
            try:
                return _read(token, key, str(algorithm))
            except jwt.InvalidTokenError as error:
                refusal = error
    raise TokenRefused(str(refusal or "Nobody who may sign tokens signed this one.")) from refusal


def _read(token: str, key: Any, algorithm: str) -> str:
    claims = jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=TOKEN_AUDIENCE,
        leeway=LEEWAY,
        options={"require": ["exp", "iat", "aud", "sub"]},
    )
    # Whole numbers by now; the lifetime is what the shop wrote, so the leeway does not count.
    if not 0 < int(claims["exp"]) - int(claims["iat"]) <= TOKEN_LIFETIME_AT_MOST.total_seconds():
        raise jwt.InvalidTokenError("The token lives too long.")
    shopper_id: str = claims["sub"]
    # Half of a surrogate pair is no character, and no database keeps it.
    if not 1 <= len(shopper_id) <= IDENTIFIER_LENGTH or re.search("[\0\ud800-\udfff]", shopper_id):
        raise jwt.InvalidTokenError("Its subject can be no shopper.")
    return shopper_id


def _keys_of(signer: TokenSigner, algorithm: object, key_id: object) -> Iterator[Any]:
    """The keys of a signer that may have signed a token with this header."""
    if signer.kind == TokenSigner.Kind.SECRET:
        if algorithm == "HS256":
            try:
                yield unseal(sealed=signer.sealed_secret).encode()
            except SecretUnreadable:
                return  # of no use any more: staff make a new one
        return
    if signer.kind == TokenSigner.Kind.KEY_SET:
        keys = _read_keys(json.dumps(signer.key_set))
    else:
        keys = _fetched_keys(signer, algorithm, key_id)
    yield from _fitting(keys, algorithm, key_id)


def _fitting(keys: tuple["_Key", ...], algorithm: object, key_id: object) -> list[Any]:
    return [
        key
        for its_id, its_algorithm, key in keys
        if its_algorithm == algorithm and (key_id is None or its_id is None or its_id == key_id)
    ]


# Key sets

#: A key's identifier if it has one, the algorithm that it checks, and the key.
_Key = tuple[str | None, str, Any]


@lru_cache(maxsize=SIGNERS_AT_MOST)
def _read_keys(document: str) -> tuple[_Key, ...]:
    """The usable keys of a JSON Web Key Set.

    Raises:
        ValueError: it is none, or holds a secret, a weak key, or no key that can be used.
    """
    try:
        found = json.loads(document)
        entries = found["keys"]
        keys = [_read_key(entry) for entry in entries]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError(_("Expected a JSON Web Key Set: {“keys”: […]}.")) from error
    usable = tuple(key for key in keys if key is not None)
    if not usable or len(usable) > KEYS_AT_MOST:
        raise ValueError(
            _("Expected 1 to %(most)d public keys for RS256 or ES256, found %(count)d.")
            % {"most": KEYS_AT_MOST, "count": len(usable)}
        )
    return usable


def _read_key(entry: dict[str, Any]) -> _Key | None:
    """None for a key that is for something else."""
    if entry["kty"] not in {"RSA", "EC"} or entry.get("use", "sig") != "sig":
        return None
    if "d" in entry:
        raise ValueError(_("A private key was pasted: replace it, and paste its public half."))
    algorithm = "RS256" if entry["kty"] == "RSA" else "ES256"
    if entry.get("alg", algorithm) != algorithm or (algorithm == "ES256" and entry.get("crv") != "P-256"):
        return None
    key = jwt.PyJWK(entry, algorithm=algorithm).key
    if isinstance(key, RSAPublicKey) and key.key_size < RSA_BITS_AT_LEAST:
        raise ValueError(_("An RSA key has at least %(bits)d bits.") % {"bits": RSA_BITS_AT_LEAST})
    if not isinstance(key, RSAPublicKey) and not (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return None
    return entry.get("kid"), algorithm, key


def _fetched_keys(signer: TokenSigner, algorithm: object, key_id: object) -> tuple[_Key, ...]:
    """The keys at a signer's address: as they were fetched last, or anew if those are old or lack the one wanted.

    What was fetched lies in the signer's row, so that all processes share it, and who asks takes the row's turn.
    """
    if algorithm not in {"RS256", "ES256"}:
        return ()
    now = timezone.now()
    keys: tuple[_Key, ...] = ()
    if signer.fetched_at is not None and signer.fetched_at > now - KEY_SET_KEPT:
        keys = _read_keys(signer.fetched_key_set)
        if signer.fetched_at > now - KEY_SET_FRESH and _fitting(keys, algorithm, key_id):
            return keys
    may_ask = Q(asked_at__isnull=True) | Q(asked_at__lte=now - KEY_SET_ASKED_EVERY)
    try:
        with patient_transaction(seconds=TURN_WITHIN):
            has_turn = TokenSigner.objects.filter(may_ask, pk=signer.pk).update(asked_at=now)
        if not has_turn:
            return keys
        answer = request(method="GET", url=signer.key_set_address, seconds=KEY_SET_SECONDS, longest=KEY_SET_LONGEST)
        if answer.status != HTTPStatus.OK:
            raise RequestFailed(f"status {answer.status}")
        fetched = answer.body.decode()
        keys = _read_keys(fetched)
        with patient_transaction():
            TokenSigner.objects.filter(pk=signer.pk).update(fetched_key_set=fetched, fetched_at=now)
    except (AddressRefused, RequestFailed, ValueError) as error:
        logger.warning("The keys of signer %s could not be fetched: %s", signer, error)
    except Busy:
        logger.warning("The keys of signer %s could not be kept: others write to the database.", signer)
    return keys
