"""Tokens that the shop signs by itself: what is believed, and what is not."""

import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from django.utils import timezone

from recommender.models import TokenSigner
from recommender.services import shopper_tokens
from recommender.services.access import TokenRefused
from recommender.services.outbound import Answer, RequestFailed
from recommender.services.shopper_tokens import (
    SIGNERS_AT_MOST,
    SignerRefused,
    create_signer,
    read_any_shopper_token,
    revoke_signer,
)

pytestmark = pytest.mark.django_db

Kind = TokenSigner.Kind
ADDRESS = "https://shop.example/keys"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def claims(**changes: Any) -> dict[str, Any]:
    """A token's claims; what is None is left out, and a time may be told by how far from now it is."""
    now = timezone.now()
    told = {"sub": "anna", "aud": "couponsite-shopper-api", "iat": now, "exp": now + timedelta(minutes=5), **changes}
    return {
        name: now + value if isinstance(value, timedelta) else value
        for name, value in told.items()
        if value is not None
    }


def public(key: Any, **fields: Any) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), **fields}


def key_set(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"keys": list(keys)}


@pytest.fixture
def secret() -> str:
    return create_signer(name="web shop", kind=Kind.SECRET)[1]


# A shared secret


def test_the_secret_is_kept_encrypted(secret: str) -> None:
    kept = str(TokenSigner.objects.values().get())
    assert len(secret) == 43  # 256 bits
    assert secret not in kept
    assert read_any_shopper_token(token=jwt.encode(claims(), secret, algorithm="HS256")) == "anna"


def test_it_is_of_no_use_without_the_sites_own_secret(secret: str, settings: Any) -> None:
    token = jwt.encode(claims(), secret, algorithm="HS256")
    before, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    with pytest.raises(TokenRefused):
        read_any_shopper_token(token=token)
    settings.SECRET_KEY_FALLBACKS = [before]
    assert read_any_shopper_token(token=token) == "anna"


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": None},
        {"exp": None},
        {"iat": None},
        {"aud": None},
        {"aud": "elsewhere"},
        {"sub": ""},
        {"sub": "x" * 65},
        {"sub": "a\0b"},
        {"sub": 7},
        {"exp": timedelta(seconds=-70)},
        {"exp": timedelta(hours=1, minutes=5)},
        {"iat": timedelta(minutes=2)},
        {"nbf": timedelta(minutes=2)},
        {"iss": "couponsite"},
    ],
)
def test_claims_that_are_missing_or_wrong(changes: dict[str, Any], secret: str) -> None:
    with pytest.raises(TokenRefused):
        read_any_shopper_token(token=jwt.encode(claims(**changes), secret, algorithm="HS256"))


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": timedelta(seconds=-1), "iat": timedelta(minutes=-5)},
        {"iat": timedelta(seconds=30)},
        {"aud": ["elsewhere", "couponsite-shopper-api"]},
        {"iss": "anybody"},
    ],
)
def test_a_clock_may_be_a_little_off(changes: dict[str, Any], secret: str) -> None:
    assert read_any_shopper_token(token=jwt.encode(claims(**changes), secret, algorithm="HS256")) == "anna"


def test_another_algorithm_with_the_right_secret_is_refused(secret: str) -> None:
    for algorithm in ("HS384", "HS512", "none"):
        with pytest.raises(TokenRefused):
            read_any_shopper_token(
                token=jwt.encode(claims(), secret if algorithm != "none" else None, algorithm=algorithm)
            )


def test_a_revoked_signer_signs_nothing_any_more(secret: str) -> None:
    token = jwt.encode(claims(), secret, algorithm="HS256")
    signer, moment = TokenSigner.objects.get(), timezone.now()
    revoke_signer(signer=signer, at=moment)
    revoke_signer(signer=signer, at=moment + timedelta(days=1))
    assert signer.revoked_at == moment
    with pytest.raises(TokenRefused):
        read_any_shopper_token(token=token)


def test_several_signers_stand_side_by_side(secret: str) -> None:
    _row, newer = create_signer(name="next", kind=Kind.SECRET, issuer="app")
    assert read_any_shopper_token(token=jwt.encode(claims(), secret, algorithm="HS256")) == "anna"
    assert read_any_shopper_token(token=jwt.encode(claims(iss="app"), newer, algorithm="HS256")) == "anna"
    for told in (claims(), claims(iss="web")):
        with pytest.raises(TokenRefused):
            read_any_shopper_token(token=jwt.encode(told, newer, algorithm="HS256"))


@pytest.mark.parametrize("token", ["", "a.b.c", "x" * 9000, "e30.e30.", "eyJhbGciOlsxXX0.e30.AA"])
def test_what_is_no_token(token: str, secret: str) -> None:
    with pytest.raises(TokenRefused):
        read_any_shopper_token(token=token)


# Public keys


def sign_with(key: Any, algorithm: str, **headers: Any) -> str:
    return jwt.encode(claims(), key, algorithm=algorithm, headers=headers or None)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256")])
def test_a_pasted_key_set(key: Any, algorithm: str) -> None:
    create_signer(name="app", kind=Kind.KEY_SET, key_set=key_set(public(key, kid="1")))
    assert read_any_shopper_token(token=sign_with(key, algorithm, kid="1")) == "anna"
    assert read_any_shopper_token(token=sign_with(key, algorithm)) == "anna"
    for token in (sign_with(key, algorithm, kid="2"), sign_with(OTHER_RSA_KEY, "RS256", kid="1")):
        with pytest.raises(TokenRefused):
            read_any_shopper_token(token=token)


def test_a_public_key_is_never_taken_for_a_shared_secret(secret: str) -> None:
    create_signer(name="app", kind=Kind.KEY_SET, key_set=key_set(public(RSA_KEY)))
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = jwt.utils.base64url_encode(b'{"alg":"HS256","typ":"JWT"}')
    now = int(timezone.now().timestamp())
    body = jwt.utils.base64url_encode(json.dumps(claims(iat=now, exp=now + 60)).encode())
    signing = head + b"." + body
    signature = jwt.utils.base64url_encode(jwt.algorithms.HMACAlgorithm("sha256").sign(signing, pem))
    with pytest.raises(TokenRefused):
        read_any_shopper_token(token=(signing + b"." + signature).decode())


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS512"), (RSA_KEY, "PS256")])
def test_other_algorithms_of_a_good_key_are_refused(key: Any, algorithm: str) -> None:
    create_signer(name="app", kind=Kind.KEY_SET, key_set=key_set(public(RSA_KEY), public(EC_KEY)))
    with pytest.raises(TokenRefused):
        read_any_shopper_token(token=sign_with(key, algorithm))


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": []},
        {"keys": "x"},
        {"keys": [1]},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]},
        {"keys": [public(RSA_KEY, use="enc")]},
        {"keys": [public(RSA_KEY, alg="RS512")]},
        {"keys": [jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY, as_dict=True)]},
        {"keys": [public(rsa.generate_private_key(public_exponent=65537, key_size=1024))]},
        {"keys": [public(ec.generate_private_key(ec.SECP384R1()))]},
        {"keys": [public(RSA_KEY)] * 21},
    ],
)
def test_a_key_set_that_cannot_be_used(document: Any) -> None:
    with pytest.raises(SignerRefused) as refusal:
        create_signer(name="app", kind=Kind.KEY_SET, key_set=document)
    assert refusal.value.field == "key_set"
    assert not TokenSigner.objects.exists()


# Keys at an address


class Shop:
    """What lies at the shop's address, and how often it was asked for."""

    def __init__(self) -> None:
        self.keys: Any = key_set(public(RSA_KEY, kid="1"))
        self.asked = 0

    def request(self, **arguments: Any) -> Answer:
        assert arguments["url"] == ADDRESS
        assert arguments["seconds"] <= 3
        self.asked += 1
        if self.keys is None:
            raise RequestFailed("away")
        return Answer(200, json.dumps(self.keys).encode())


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop()
    monkeypatch.setattr(shopper_tokens, "request", shop.request)
    create_signer(name="app", kind=Kind.KEY_SET_ADDRESS, key_set_address=ADDRESS)
    return shop


def is_believed(token: str) -> bool:
    try:
        return read_any_shopper_token(token=token) == "anna"
    except TokenRefused:
        return False


def pass_time(**passed: float) -> None:
    """Let so many minutes pass since the keys were asked for, since they were fetched, or both."""
    signer = TokenSigner.objects.get()
    for name, minutes in passed.items():
        moment = getattr(signer, name)
        TokenSigner.objects.update(**{name: moment and moment - timedelta(minutes=minutes)})


def test_keys_are_asked_for_once_and_kept(shop: Shop) -> None:
    assert shop.asked == 0, "it need not answer when it is made"
    assert all(is_believed(sign_with(RSA_KEY, "RS256", kid="1")) for _time in range(3))
    assert shop.asked == 1


def test_an_unknown_key_is_asked_for_at_most_once_a_minute(shop: Shop) -> None:
    assert is_believed(sign_with(RSA_KEY, "RS256", kid="1"))
    shop.keys = key_set(public(RSA_KEY, kid="1"), public(OTHER_RSA_KEY, kid="2"))
    assert not is_believed(sign_with(OTHER_RSA_KEY, "RS256", kid="2")), "it was asked a moment ago"
    assert shop.asked == 1
    pass_time(asked_at=2)
    assert is_believed(sign_with(OTHER_RSA_KEY, "RS256", kid="2"))
    assert not any(is_believed(sign_with(EC_KEY, "ES256", kid=str(number))) for number in range(5))
    assert shop.asked == 2


def test_what_was_fetched_serves_while_the_address_is_away_and_a_dropped_key_ends(shop: Shop) -> None:
    token = sign_with(RSA_KEY, "RS256", kid="1")
    assert is_believed(token)
    shop.keys = None
    pass_time(asked_at=11, fetched_at=11)
    assert is_believed(token)
    pass_time(asked_at=2, fetched_at=24 * 60)
    assert not is_believed(token), "too old"
    shop.keys = key_set(public(OTHER_RSA_KEY, kid="2"))
    pass_time(asked_at=2)
    assert not is_believed(token)
    assert is_believed(sign_with(OTHER_RSA_KEY, "RS256", kid="2"))
    assert shop.asked == 4


def test_an_address_that_never_answered_opens_nothing(shop: Shop) -> None:
    shop.keys = None
    assert not is_believed(sign_with(RSA_KEY, "RS256", kid="1"))
    shop.keys = {"keys": "nonsense"}
    pass_time(asked_at=2)
    assert not is_believed(sign_with(RSA_KEY, "RS256", kid="1"))


def test_tokens_of_other_kinds_ask_nobody(shop: Shop) -> None:
    assert not is_believed(jwt.encode(claims(), "x" * 32, algorithm="HS256"))
    assert shop.asked == 0


@pytest.mark.parametrize(
    "address",
    [
        "http://shop.example/keys",
        "https://127.0.0.1/keys",
        "https://[::1]/",
        "ftp://shop.example",
        "https://a:b@shop.example",
    ],
)
def test_an_address_that_the_site_does_not_speak_to(address: str) -> None:
    with pytest.raises(SignerRefused) as refusal:
        create_signer(name="app", kind=Kind.KEY_SET_ADDRESS, key_set_address=address)
    assert refusal.value.field == "key_set_address"
    assert not TokenSigner.objects.exists()


def test_nobody_signs_in_this_sites_name() -> None:
    with pytest.raises(SignerRefused):
        create_signer(name="app", kind=Kind.SECRET, issuer="couponsite")


def test_there_are_so_many_signers_and_no_more() -> None:
    for number in range(SIGNERS_AT_MOST):
        create_signer(name=str(number), kind=Kind.SECRET)
    with pytest.raises(SignerRefused):
        create_signer(name="one more", kind=Kind.SECRET)
