"""Callers who mean harm, or whose programs are broken: each is told what is wrong, and nothing is written."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from recommender.models import Coupon, CouponCounter, Event, TokenSigner
from recommender.services.access import TOKEN_AUDIENCE, create_api_key
from recommender.services.counters import recount_all
from recommender.services.shopper_tokens import create_signer

Send = Callable[..., Any]

BASKET = {"lines": [{"line_id": "1", "product_id": "green tea", "quantity": "1", "unit_price": "20"}]}
ASKED = {"shopper_id": "anna", "coupon_ids": ["tea-spring"], "basket": BASKET}
NO_ONE = UUID(int=0)
POSTS = [
    *("events", "orders", "redemptions", "recommendations", "shopper-tokens", "groups", "code-batches"),
    *("checkout/validate", "checkout/reservations", f"groups/{NO_ONE}/members"),
    *(f"checkout/reservations/{NO_ONE}/{step}" for step in ("confirm", "release", "reverse")),
]


@pytest.fixture
def send(tokens: dict[str, str], client: Client) -> Send:
    """``send(method, path, raw body, caller="shop", content_type=..., **headers)``; an error must be a problem."""

    def _send(
        method: str,
        path: str,
        body: bytes = b"",
        *,
        caller: str = "shop",
        bearer: str | None = None,
        content_type: str = "application/json",
        **headers: str,
    ) -> Any:
        answer: Any = client.generic(
            method,
            f"/api/v1/{path}",
            body,
            content_type=content_type,
            headers={
                "Authorization": f"Bearer {bearer or tokens[caller]}",
                "Idempotency-Key": str(uuid4()),
                **{name.replace("_", "-"): value for name, value in headers.items()},
            },
        )
        if answer.status_code >= 400 and method != "HEAD":
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert set(answer.json()) == {"type", "title", "status", "detail", "code", "errors"}
        return answer

    return _send


# Bodies


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"1",
        b'"x"',
        b"true",
        b"[null]",
        b"[[]]",
        b"{}garbage",
        b"\xef\xbb\xbf{}",
        b"\xff",
        b"[" + b"1" * 5000 + b"]",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"shopper_id": "\\ud800"}',
        b'[{"kind": "\\ud800", "occurred_at": "\\udfff"}]',
        b'{"shopper_id": "an\\u0000na"}',
        b'{"coupon_ids": {"0": 1}, "basket": [], "lines": {"0": null}}',
    ],
    ids=lambda body: str(body[:24]),
)
def test_a_body_that_is_none(path: str, body: bytes, send: Send, written: Callable[[], Any]) -> None:
    before = written()
    answer = send("POST", path, body)
    # Of a list what is wrong is refused by its index; a release reads no body.
    refused = answer.status_code == 200 and answer.json()["accepted"] == 0 and answer.json()["refused"]
    assert refused or answer.status_code in (400, 404), answer.content
    assert written() == before


@pytest.mark.parametrize("around", ["[]", '{"a":}'])
@pytest.mark.parametrize("depth", [100, 700, *range(880, 960, 8), 5_000])
def test_what_nests_is_read_or_refused_however_deep(
    depth: int, around: str, send: Send, written: Callable[[], Any]
) -> None:
    """What is read just so must not be too deep for whatever looks at it after."""
    deep = around[:-1] * depth + "1" + around[-1] * depth
    before = written()
    for path, body in [
        ("events", f'{{"kind": {deep}}}'),
        ("events", f'[{{"kind": "click", "value": {deep}, "occurred_at": {deep}}}]'),
        ("orders", f'[{{"lines": [{{"quantity": {deep}}}]}}]'),
        ("checkout/validate", f'{{"coupon_ids": {deep}, "basket": {{"lines": [{{"quantity": {deep}}}]}}}}'),
        ("checkout/reservations", f'{{"lifetime": {deep}}}'),
        ("redemptions", f'{{"discount_amount": {deep}}}'),
        ("code-batches", f'{{"count": {deep}, "prefix": {deep}}}'),
        ("recommendations", f'{{"limit": {deep}}}'),
    ]:
        answer = send("POST", path, body.encode())
        assert answer.status_code == 400 or answer.json()["refused"], path
    ignored = json.dumps({**ASKED, "else": 0})[:-2] + deep + "}"
    assert send("POST", "checkout/validate", ignored.encode()).status_code in (200, 400)
    assert written() == before


def test_half_a_character_is_refused_where_it_stands(send: Send) -> None:
    event = b'{"kind": "click", "coupon_id": "tea-spring", "shopper_id": "anna"}'
    answer = send("POST", "events", b'[{"kind": "\\uD83D"}, ' + event + b', {"event_id": "\\udead", "kind": "click"}]')
    assert answer.json()["accepted"] == 1
    assert [refused["index"] for refused in answer.json()["refused"]] == [0, 2]
    assert answer.json()["refused"][0]["errors"]["kind"] == ['"?" is not a valid choice.']
    whole = send("POST", "shopper-tokens", b'{"shopper_id": "\\ud83d\\ude00"}')
    assert whole.json()["detail"] == "There is no shopper \U0001f600."


@pytest.mark.parametrize("charset", ["utf-16", "unicode_escape", "utf-7", "bogus", "hex"])
def test_a_body_is_read_as_utf_8_whatever_it_is_said_to_be(charset: str, send: Send) -> None:
    answer = send("POST", "events", b"[]", content_type=f"application/json; charset={charset}")
    assert answer.status_code == 200


def test_of_two_fields_of_one_name_the_last_counts(send: Send) -> None:
    answer = send("POST", "shopper-tokens", b'{"shopper_id": "nobody", "shopper_id": "anna"}')
    assert answer.json()["shopper_id"] == "anna"
    body = b'{"shopper_id": "ben", "shopper_id": "anna", "kind": "click", "coupon_id": "tea-spring"}'
    assert send("POST", "events", body, caller="other shopper").status_code == 403
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("path", "name"), [("checkout/validate", "basket.lines"), ("recommendations", "shopper_ids"), ("orders", "lines")]
)
def test_a_list_that_is_too_long_is_counted_and_not_read(path: str, name: str, send: Send) -> None:
    many = [{}] * 100_000
    body: Any = {
        "checkout/validate": {**ASKED, "basket": {"lines": many}},
        "recommendations": {"shopper_ids": many},
        "orders": [{"order_id": "o", "shopper_id": "anna", "ordered_at": "2026-03-10T12:00:00Z", "lines": many}],
    }[path]
    answer = send("POST", path, json.dumps(body).encode()).json()
    errors = answer["refused"][0]["errors"] if path == "orders" else answer["errors"]
    assert errors == {name: ["Ensure this field has no more than 500 elements."]}


# Numbers and moments


@pytest.mark.parametrize(
    "number", ["NaN", "sNaN", "-Infinity", "1e999999999", "-1", "0x10", "1,5", "", [], {}, True, 10**30, -1e-320, 1e308]
)
@pytest.mark.parametrize("field", ["quantity", "unit_price"])
def test_a_number_that_is_no_amount(number: Any, field: str, send: Send) -> None:
    body = {**ASKED, "basket": {"lines": [{**BASKET["lines"][0], field: number}]}}
    answer = send("POST", "checkout/validate", json.dumps(body).encode())
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [f"basket.lines.0.{field}"])


@pytest.mark.parametrize("text", ["1_000", "1e3", "+1", " 1", "1 ", "\u0663", "\uff12", "1.", ".5", "1", "1.5", 1, 0.5])
def test_an_amount_is_written_out_in_digits(text: Any, send: Send) -> None:
    """As the description says, and nothing else that Python takes for a number."""
    is_one = text in ("1.", ".5", "1", "1.5", 1, 0.5)
    body = {**ASKED, "basket": {"lines": [{**BASKET["lines"][0], "quantity": text}], "shipping": text}}
    answer = send("POST", "checkout/validate", json.dumps(body).encode())
    assert answer.status_code == (200 if is_one else 400)
    line = {"product_id": "green tea", "quantity": text, "amount": text}
    order = {"order_id": "o7", "shopper_id": "anna", "ordered_at": "2026-03-10T12:00:00Z", "lines": [line]}
    assert send("POST", "orders", json.dumps([order]).encode()).json()["accepted"] == is_one
    use = {"shopper_id": "anna", "coupon_id": "tea-spring", "discount_amount": text}
    assert send("POST", "redemptions", json.dumps(use).encode()).status_code == (201 if is_one else 400)


def test_the_largest_amounts_add_up(send: Send) -> None:
    """A till that tells of nothing but the largest discounts spoils no shopper's list."""
    Coupon.objects.update(budget="99999999999.999")
    use = {"shopper_id": "anna", "coupon_id": "milk-spring", "discount_amount": "99999999999.999"}
    for number, status in enumerate([201, 409, 201, 201]):
        if status == 201:
            Coupon.objects.update(budget=None if number else "99999999999.999")
        body = {**use, "redeemed_at": f"2026-03-10T12:00:0{number}Z"}
        assert send("POST", "redemptions", json.dumps(body).encode()).status_code == status
    assert CouponCounter.objects.get().spent == Decimal("299999999999.997")
    assert send("GET", "shoppers/anna/coupons").status_code == 200
    body = {**ASKED, "coupon_ids": ["milk-spring"]}
    assert send("POST", "checkout/validate", json.dumps(body).encode()).status_code == 200
    assert recount_all(mend=False) == []


@pytest.mark.parametrize("number", [5, 1e3, -1e308, True, 10**20])
def test_a_number_is_no_identifier_and_no_code(number: Any, send: Send, written: Callable[[], Any]) -> None:
    before = written()
    for path, field, body in [
        ("redemptions", "coupon_id", {"shopper_id": "anna", "coupon_id": number}),
        ("shopper-tokens", "shopper_id", {"shopper_id": number}),
        ("recommendations", "shopper_ids.0", {"shopper_ids": [number]}),
        ("checkout/reservations", "codes.0", {**ASKED, "coupon_ids": [], "codes": [number]}),
        (f"checkout/reservations/{NO_ONE}/confirm", "order_id", {"order_id": number}),
        ("code-batches", "prefix", {"coupon_id": "milk-spring", "count": 1, "prefix": number}),
        ("events", "coupon_id", {"shopper_id": "anna", "kind": "click", "coupon_id": number}),
    ]:
        answer = send("POST", path, json.dumps(body).encode())
        assert (answer.status_code, list(answer.json()["errors"])) == (400, [field])
    assert written() == before


@pytest.mark.parametrize("value", ["1" + "0" * 4000, "1e400", "-1e400", "1" + "0" * 309])
def test_a_number_that_is_none_of_a_float(value: str, send: Send) -> None:
    body = f'{{"kind": "click", "shopper_id": "anna", "coupon_id": "tea-spring", "value": {value}}}'
    answer = send("POST", "events", body.encode())
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["value"])


@pytest.mark.parametrize(
    "moment",
    [
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "2026-02-30T00:00:00Z"),
        *("2026-03-10T12:00:00", "2026-03-10T12:00:00+99:99", "2026-03-10T23:59:60Z", "-2026-03-10T12:00:00Z", 0, {}),
    ],
)
@pytest.mark.parametrize("path", ["redemptions", "events"])
def test_a_moment_that_is_none(moment: Any, path: str, send: Send, written: Callable[[], Any]) -> None:
    before = written()
    name = "redeemed_at" if path == "redemptions" else "occurred_at"
    body = {"kind": "click", "shopper_id": "anna", "coupon_id": "tea-spring", name: moment}
    answer = send("POST", path, json.dumps(body).encode())
    assert (answer.status_code, list(answer.json()["errors"])) == (400, [name])
    assert written() == before


@pytest.mark.parametrize(
    "parts",
    [
        *(["9999-12-31T23:59:59-14:00", 0, 1], ["0001-01-01T00:00:00+14:00", 1, 1], ["x", 0, 1], ["2026-03-10", 0, 1]),
        *(["2026-03-10T12:00:00Z", 2, 1], ["2026-03-10T12:00:00Z", 0, 2**63], ["2026-03-10T12:00:00Z", 0, True]),
        *(["2026-03-10T12:00:00Z", 0], [], [[]]),
    ],
)
def test_a_cursor_that_somebody_made(parts: Any, send: Send) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()
    answer = send("GET", f"me/history?cursor={cursor}", caller="own shopper")
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["cursor"])


# Addresses, methods and headers


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("shoppers/%00/coupons", 404),
        ("shoppers/%ED%A0%80/coupons", 200),
        (f"shoppers/{'x' * 65}/coupons", 404),
        ("segments/9223372036854775808/shoppers/anna", 404),
        (f"segments/{'9' * 4000}/shoppers/anna", 404),
        ("code-batches/99999999999999999999999999", 404),
        ("groups/not-a-uuid", 404),
        ("shoppers/anna/coupons?limit=" + "9" * 5000, 400),
        ("shoppers/anna/coupons?campaign=%00", 400),
        ("shoppers/anna/coupons?" + "&".join(f"a{number}=1" for number in range(1001)), 400),
        ("segments?cursor=%00", 400),
    ],
    ids=lambda each: str(each)[:50],
)
def test_an_address_that_somebody_made(path: str, status: int, send: Send) -> None:
    assert send("GET", path).status_code == status


@pytest.mark.parametrize("path", ["me/coupons", "schema", "docs"])
@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "PROPFIND"])
def test_a_method_that_nothing_has(path: str, method: str, send: Send) -> None:
    answer = send(method, path, caller="own shopper")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_no_header_makes_another_method_of_one(send: Send) -> None:
    answer = send("POST", "me/coupons?_method=GET", caller="own shopper", X_HTTP_Method_Override="GET")
    assert answer.status_code == 405


@pytest.mark.parametrize("path", ["me/coupons", "schema", "docs", "nothing"])
@pytest.mark.parametrize("accept", ["application/xml", "garbage", ";;;", "a" * 5000])
def test_an_answer_in_another_type(path: str, accept: str, send: Send, golden: Callable[..., None]) -> None:
    answer = send("GET", path, caller="own shopper", Accept=accept)
    assert answer.status_code == 406
    golden(answer, "not_acceptable")


@pytest.mark.parametrize("headers", [{"If_Match": '"x"'}, {"If_Unmodified_Since": "Sat, 01 Jan 2000 00:00:00 GMT"}])
def test_who_asks_for_another_answer_than_there_is(
    headers: dict[str, str], send: Send, golden: Callable[..., None]
) -> None:
    answer = send("GET", "me/coupons", caller="own shopper", **headers)
    assert answer.status_code == 412
    golden(answer, "precondition_failed")


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: x=1", "é", "\x00"])
def test_no_header_of_an_answer_is_the_callers(text: str, send: Send) -> None:
    for headers in ({"Accept_Language": text}, {"Idempotency_Key": text}):
        answer = send("POST", "checkout/reservations", json.dumps(ASKED).encode(), **headers)
        assert "Set-Cookie" not in answer.headers
        assert answer.status_code == (400 if "Idempotency_Key" in headers else 201)


# Tokens


def encode(part: Any) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign(header: Any, claims: Any, secret: str) -> str:
    """A token with whatever header and claims, signed by HS256 whatever the header says."""
    told = f"{encode(header)}.{encode(claims)}"
    return f"{told}.{encode(hmac.new(secret.encode(), told.encode(), hashlib.sha256).digest())}"


@pytest.fixture
def secret(tokens: dict[str, str]) -> str:
    return create_signer(name="hostile", kind=TokenSigner.Kind.SECRET)[1]


@pytest.fixture
def claims() -> dict[str, Any]:
    now = int(timezone.now().timestamp())
    return {"sub": "anna", "aud": TOKEN_AUDIENCE, "iat": now, "exp": now + 60}


HS256 = {"alg": "HS256", "typ": "JWT"}


def test_the_tokens_below_are_refused_for_what_is_changed(send: Send, secret: str, claims: dict[str, Any]) -> None:
    assert send("GET", "me/coupons", bearer=sign(HS256, claims, secret)).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        *({"sub": sub} for sub in (1, ["anna"], None, "", "an\0na", "\ud800", "x" * 65)),
        *({"exp": exp} for exp in (10**30, float("inf"), float("nan"), -1, True, [1], "x")),
        *({"iat": iat} for iat in (None, {}, float("nan"), -(10**20), 10**12)),
        *({"iss": iss} for iss in ("couponsite",)),
        *({"aud": aud} for aud in ("else", {}, [])),
        {"nbf": 10**12},
    ],
    ids=str,
)
def test_claims_that_nobody_signs(changes: dict[str, Any], send: Send, secret: str, claims: dict[str, Any]) -> None:
    assert send("GET", "me/coupons", bearer=sign(HS256, {**claims, **changes}, secret)).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        *({"alg": alg} for alg in ("none", "None", None, 5, ["HS256"], {}, "HS512", "RS256", "ES256")),
        *({}, [1], None, b"\xff", b'{"a":' * 900),
        {"alg": "RS256", "kid": {}},
        {"alg": "RS256", "jku": "http://127.0.0.1/"},
        {"alg": "HS256", "kid": 5},
        {"alg": "HS256", "crit": ["x"], "x": 1},
        {"alg": "none", "kid": "../../../dev/null"},
    ],
    ids=str,
)
def test_headers_that_choose_how_they_are_checked(header: Any, send: Send, secret: str, claims: dict[str, Any]) -> None:
    token = sign(header, claims, secret)
    assert send("GET", "me/coupons", bearer=token).status_code == 401
    assert send("GET", "me/coupons", bearer=token.rpartition(".")[0] + ".").status_code == 401
    own = jwt.encode({**claims, "iss": "couponsite"}, "x" * 32, algorithm="HS256", headers={"kid": "../../dev/null"})
    assert send("GET", "me/coupons", bearer=own).status_code == 401


@pytest.mark.parametrize(
    "bearer", ["...", "a.b", "a.b.c.d", "a." * 5000, "ä.ö.ü", "csk_" + "a" * 100_000, "csk_é", "csk_\0"], ids=repr
)
def test_bearers_that_are_none(bearer: str, send: Send) -> None:
    assert send("GET", "me/coupons", bearer=bearer).status_code == 401


def test_an_unknown_key_is_looked_up_as_a_known_one(send: Send, tokens: dict[str, str]) -> None:
    """Both are one query by their digest, so a clock tells nothing of how much of a key is right."""

    def queries(bearer: str) -> list[str]:
        with CaptureQueriesContext(connection) as found:
            send("GET", "segments", bearer=bearer)
        return [query["sql"] for query in found if '"recommender_apikey"."digest" = ' in query["sql"]]

    _row, known = create_api_key(name="timed")
    unknown = known[:-1] + ("A" if known[-1] != "A" else "B")
    assert len(queries(known)) == len(queries(unknown)) == 1
    assert known not in queries(known)[0]  # the database sees a digest


# What is another's


def test_nobody_keeps_events_away_by_sending_theirs_first(send: Send) -> None:
    event = {"event_id": "order-17", "kind": "click", "coupon_id": "tea-spring"}

    def accepted(caller: str, **more: str) -> int:
        return send("POST", "events", json.dumps({**event, **more}).encode(), caller=caller).json()["accepted"]

    assert accepted("other shopper") == 1
    assert accepted("own shopper") == accepted("shop", shopper_id="anna") == 1
    # And each of them once, however often it comes.
    assert accepted("other shopper") == accepted("own shopper, by the shop") == accepted("shop", shopper_id="ben") == 0
    assert [event.shopper.shopper_id for event in Event.objects.order_by("pk")] == ["ben", "anna", "anna"]


def test_an_order_is_one_shoppers_before_it_is_loaded_too(send: Send) -> None:
    def reserved(shopper_id: str) -> str:
        answer = send("POST", "checkout/reservations", json.dumps({**ASKED, "shopper_id": shopper_id}).encode())
        return f"checkout/reservations/{answer.json()['reservation_id']}/confirm"

    assert send("POST", reserved("anna"), b'{"order_id": "later"}').status_code == 200
    refused = send("POST", reserved("ben"), b'{"order_id": "later"}')
    assert (refused.status_code, refused.json()["code"]) == (409, "order_of_another_shopper")
    assert send("POST", reserved("anna"), b'{"order_id": "later"}').status_code == 200


# Idempotency keys of others


def test_a_key_that_was_used_elsewhere_or_by_somebody_else(send: Send, tokens: dict[str, str]) -> None:
    first = send("POST", "checkout/reservations", json.dumps(ASKED).encode(), Idempotency_Key="k")
    reservation_id = first.json()["reservation_id"]
    released = send("POST", f"checkout/reservations/{reservation_id}/release", Idempotency_Key="k")
    assert (released.status_code, released.json()["code"]) == (422, "idempotency_key_reused")
    tokens["other till"] = create_api_key(name="other till")[1]
    other = send("POST", "checkout/reservations", json.dumps(ASKED).encode(), caller="other till", Idempotency_Key="k")
    assert other.status_code == 201
    assert other.json()["reservation_id"] != reservation_id
    shopper = send("POST", "groups", b'{"coupon_id": "tea-spring"}', caller="own shopper", Idempotency_Key="k")
    assert "Idempotency-Replayed" not in shopper.headers
