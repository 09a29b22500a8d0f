"""Keys and tokens: what is kept of them, and what is refused."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils import timezone

from recommender.models import ApiKey, Shopper
from recommender.services import access
from recommender.services.access import (
    ShopperUnknown,
    TokenRefused,
    create_api_key,
    find_api_key,
    issue_shopper_token,
    read_shopper_token,
    record_use,
    revoke_api_key,
    rotate_api_key,
)

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def anna() -> Shopper:
    return Shopper.objects.create(shopper_id="anna")


def test_of_a_key_only_its_digest_and_its_beginning_are_kept() -> None:
    row, key = create_api_key(name="till")
    kept = ApiKey.objects.filter(pk=row.pk).values().get()
    assert key.startswith("csk_") and len(key) == len("csk_") + 43  # 256 bits, urlsafe
    assert kept["digest"] == hashlib.sha256(key.encode()).hexdigest()
    assert kept["prefix"] == key[:12]
    assert key not in str(kept)
    assert find_api_key(key=key) == row


def test_two_keys_differ() -> None:
    assert create_api_key(name="till")[1] != create_api_key(name="till")[1]


def test_a_key_that_is_nearly_right_is_not_found() -> None:
    _row, key = create_api_key(name="till")
    assert find_api_key(key=key[:-1]) is None
    assert find_api_key(key=key.upper()) is None
    assert find_api_key(key="csk_") is None


def test_a_revoked_key_is_not_found_and_keeps_its_first_time() -> None:
    row, key = create_api_key(name="till")
    _other_row, other_key = create_api_key(name="web shop")
    revoke_api_key(api_key=row, at=NOW)
    revoke_api_key(api_key=row, at=NOW + timedelta(days=1))
    assert row.revoked_at == NOW
    assert find_api_key(key=key) is None
    assert find_api_key(key=other_key) is not None


def test_a_token_names_its_shopper_until_it_expires(anna: Shopper) -> None:
    now = timezone.now()
    issued = issue_shopper_token(shopper_id="anna", at=now)
    assert read_shopper_token(token=issued.token) == "anna"
    assert issued.expires_at == now.replace(microsecond=0) + timedelta(minutes=15)
    expired = issue_shopper_token(shopper_id="anna", at=now - timedelta(minutes=15, seconds=1))
    with pytest.raises(TokenRefused):
        read_shopper_token(token=expired.token)


def test_whoever_opted_out_gets_a_token_too(anna: Shopper) -> None:
    Shopper.objects.update(opted_out=True)
    assert read_shopper_token(token=issue_shopper_token(shopper_id="anna", at=timezone.now()).token) == "anna"


def test_no_token_for_whom_the_shop_does_not_know() -> None:
    with pytest.raises(ShopperUnknown):
        issue_shopper_token(shopper_id="nobody", at=NOW)


@pytest.mark.parametrize("seconds", [-1, 0, 3601])
def test_a_lifetime_beyond_an_hour_is_refused(anna: Shopper, seconds: int) -> None:
    with pytest.raises(ValueError, match="not between a second and 1:00:00"):
        issue_shopper_token(shopper_id="anna", at=NOW, lifetime=timedelta(seconds=seconds))


def claims(**changes: object) -> dict[str, object]:
    now = timezone.now()
    return {
        "iss": "couponsite",
        "aud": "couponsite-shopper-api",
        "sub": "anna",
        "iat": now,
        "exp": now + timedelta(minutes=5),
    } | changes


def test_the_claims_of_the_tests_are_right() -> None:
    token = jwt.encode(claims(), access._signing_key(), algorithm="HS256")
    assert read_shopper_token(token=token) == "anna"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "elsewhere"},
        {"aud": "elsewhere"},
        {"exp": datetime(2026, 1, 1, tzinfo=UTC)},
        {"iat": datetime(2090, 1, 1, tzinfo=UTC)},
        {"sub": 7},
    ],
)
def test_a_token_meant_for_something_else_is_refused(changes: dict[str, object]) -> None:
    token = jwt.encode(claims(**changes), access._signing_key(), algorithm="HS256")
    with pytest.raises(TokenRefused):
        read_shopper_token(token=token)


@pytest.mark.parametrize("missing", ["iss", "aud", "sub", "iat", "exp"])
def test_a_token_without_one_of_its_claims_is_refused(missing: str) -> None:
    rest = {name: value for name, value in claims().items() if name != missing}
    with pytest.raises(TokenRefused):
        read_shopper_token(token=jwt.encode(rest, access._signing_key(), algorithm="HS256"))


def test_a_token_signed_otherwise_is_refused() -> None:
    forged = [
        jwt.encode(claims(), "x" * 32, algorithm="HS256"),
        jwt.encode(claims(), settings.SECRET_KEY, algorithm="HS256"),  # the site's own secret signs other things
        jwt.encode(claims(), access._signing_key() * 2, algorithm="HS512"),
        jwt.encode(claims(), access._signing_key() * 2, algorithm="HS384"),
        jwt.encode(claims(), None, algorithm="none"),
        "",
        "a.b.c",
        "not a token",
    ]
    for token in forged:
        with pytest.raises(TokenRefused):
            read_shopper_token(token=token)


def test_the_same_key_with_another_algorithm_is_refused() -> None:
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.encode(claims(), access._signing_key(), algorithm="HS512")
    with pytest.raises(TokenRefused):
        read_shopper_token(token=token)


def test_a_rotated_key_keeps_its_row_and_gets_another_secret() -> None:
    row, key = create_api_key(name="till", scopes=["checkout", "events:write"])
    newer = rotate_api_key(api_key=row, at=NOW, grace=timedelta(hours=1))
    kept = str(ApiKey.objects.values().get())
    assert newer != key and newer not in kept and key not in kept
    assert row.prefix == newer[:12]
    assert row.scopes == ["events:write", "checkout"], "in their own order"
    for moment, found in ((NOW, [row, row]), (NOW + timedelta(hours=1), [None, row])):
        assert [find_api_key(key=each, at=moment) for each in (key, newer)] == found
    revoke_api_key(api_key=row, at=NOW)
    assert [find_api_key(key=each, at=NOW) for each in (key, newer)] == [None, None]
    with pytest.raises(ValueError, match="revoked"):
        rotate_api_key(api_key=row, at=NOW)


@pytest.mark.parametrize("grace", [timedelta(seconds=-1), timedelta(days=30, seconds=1)])
def test_a_grace_out_of_range_is_refused(grace: timedelta) -> None:
    row, key = create_api_key(name="till")
    with pytest.raises(ValueError, match="0 to 30 days"):
        rotate_api_key(api_key=row, at=NOW, grace=grace)
    assert find_api_key(key=key, at=NOW) == row


@pytest.mark.parametrize("scopes", [[], ["everything"], ["checkout", "checkout"]])
def test_a_key_needs_scopes_that_are_some(scopes: list[str]) -> None:
    with pytest.raises(ValidationError):
        create_api_key(name="till", scopes=scopes)
    assert not ApiKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_another_who_writes_down_that_the_key_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "USE_RECORDED_WITHIN", 30.0 if connection.vendor == "postgresql" else 0.05)
    row, _key = create_api_key(name="till")

    def call() -> None:
        try:
            record_use(api_key=row, at=NOW)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            ApiKey.objects.filter(pk=row.pk).update(last_used_at=NOW - timedelta(minutes=2))
            pool.submit(call).result(timeout=20)
        row.refresh_from_db()
        assert row.last_used_at == NOW - timedelta(minutes=2)
        pool.submit(call).result(timeout=20)
    row.refresh_from_db()
    assert row.last_used_at == NOW
