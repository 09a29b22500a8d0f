"""Errors have one shape, whatever went wrong."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client

Call = Callable[..., HttpResponse]


def test_strangers(call: Call, golden: Callable[..., None]) -> None:
    golden(call("GET", "shoppers/anna/coupons", caller="nobody"), "stranger")
    golden(call("GET", "shoppers/anna/coupons", caller="expired token"), "bad_token")
    golden(call("GET", "shoppers/anna/coupons", caller="revoked key"), "bad_key")


def test_forbidden(call: Call, golden: Callable[..., None]) -> None:
    golden(call("GET", "shoppers/anna/coupons", caller="other shopper"), "other_shopper")
    golden(call("POST", "redemptions", {}, caller="own shopper"), "shops_only")


@pytest.mark.parametrize("path", ["", "coupons", "shoppers/anna", "shoppers/anna/coupons/", "events/1", "admin"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize("caller", ["nobody", "shop"])
def test_an_address_that_is_none(path: str, method: str, caller: str, call: Call, golden: Callable[..., None]) -> None:
    response = call(method, path, caller=caller)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    golden(response, "unknown_address")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "shoppers/anna/coupons", "GET"),
        ("OPTIONS", "shoppers/anna/coupons", "GET"),
        ("GET", "events", "POST"),
        ("PUT", "redemptions", "POST"),
        ("GET", "shopper-tokens", "POST"),
    ],
)
def test_a_method_that_is_not_there(method: str, path: str, allowed: str, call: Call) -> None:
    response = call(method, path)
    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"  # type: ignore[attr-defined]
    assert allowed in response.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "media_type", "status", "code"),
    [
        (b"{", "application/json", 400, "parse_error"),
        (b'{"value": NaN}', "application/json", 400, "parse_error"),
        (b"\xff\xfe", "application/json", 400, "parse_error"),
        (b"[" * 100_000, "application/json", 400, "parse_error"),
        (b"kind=click", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b" " * 2_621_441, "application/json", 413, "too_large"),
        (b"", "application/json", 400, "invalid"),
    ],
)
def test_a_body_that_cannot_be_read(
    body: bytes, media_type: str, status: int, code: str, client: Client, tokens: dict[str, str]
) -> None:
    response: Any = client.post(
        "/api/v1/events", body, content_type=media_type, headers={"Authorization": f"Bearer {tokens['shop']}"}
    )
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == code
    assert set(response.json()) == {"type", "title", "status", "detail", "code", "errors"}


def test_a_body_in_chunks_is_refused_rather_than_taken_for_an_empty_one(call: Call) -> None:
    response = call("POST", "events", {}, caller="shop", headers={"Transfer-Encoding": "chunked"})
    assert (response.status_code, response.json()["code"]) == (411, "length_required")
