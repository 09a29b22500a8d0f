"""The description of the API: right, open to read, and served from here alone."""

import json
import re
import sys

import pytest
from django.core.management import call_command
from django.test import Client

from recommender.api.fields import IDENTIFIER_PATTERN
from recommender.api.views import DescriptionView


@pytest.fixture
def description(client: Client) -> dict:
    return json.loads(client.get("/api/v1/schema?format=json").content)


def test_the_description_is_valid_and_without_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn")
    assert capsys.readouterr().out.startswith("openapi: 3.0.3")


def test_it_names_every_address_and_who_may_call_it(description: dict) -> None:
    callers = {
        (path, method): sorted(name for requirement in operation["security"] for name in requirement)
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    }
    assert callers == {
        ("/api/v1/shoppers/{shopper_id}/coupons", "get"): ["shopKey", "shopperToken"],
        ("/api/v1/recommendations", "post"): ["shopKey"],
        ("/api/v1/me/coupons", "get"): ["shopperToken"],
        ("/api/v1/me/coupons/{coupon_id}/why", "get"): ["shopperToken"],
        ("/api/v1/me/coupons/{coupon_id}/claim", "post"): ["shopperToken"],
        ("/api/v1/me/coupons/{coupon_id}/dismiss", "post"): ["shopperToken"],
        ("/api/v1/me/history", "get"): ["shopperToken"],
        ("/api/v1/orders", "post"): ["shopKey"],
        ("/api/v1/segments", "get"): ["shopKey"],
        ("/api/v1/segments/{segment_id}/shoppers/{shopper_id}", "get"): ["shopKey"],
        ("/api/v1/events", "post"): ["shopKey", "shopperToken"],
        ("/api/v1/redemptions", "post"): ["shopKey"],
        ("/api/v1/shopper-tokens", "post"): ["shopKey"],
        ("/api/v1/checkout/validate", "post"): ["shopKey"],
        ("/api/v1/checkout/reservations", "post"): ["shopKey"],
        ("/api/v1/checkout/reservations/{reservation_id}", "get"): ["shopKey"],
        ("/api/v1/checkout/reservations/{reservation_id}/confirm", "post"): ["shopKey"],
        ("/api/v1/checkout/reservations/{reservation_id}/release", "post"): ["shopKey"],
        ("/api/v1/checkout/reservations/{reservation_id}/reverse", "post"): ["shopKey"],
        ("/api/v1/code-batches", "post"): ["shopKey"],
        ("/api/v1/code-batches/{batch_id}", "get"): ["shopKey"],
        ("/api/v1/code-batches/{batch_id}/codes", "get"): ["shopKey"],
        ("/api/v1/groups", "post"): ["shopKey", "shopperToken"],
        ("/api/v1/groups/{group_id}", "get"): ["shopKey", "shopperToken"],
        ("/api/v1/groups/{group_id}/members", "post"): ["shopKey", "shopperToken"],
        ("/api/v1/groups/{group_id}/invitees", "get"): ["shopKey"],
        ("/api/v1/groups/{group_id}/invitations", "post"): ["shopKey"],
        ("/api/v1/shoppers/{shopper_id}/open-groups", "get"): ["shopKey", "shopperToken"],
    }


def test_it_says_which_scope_a_key_needs(description: dict) -> None:
    assert "the scope `events:write`" in description["paths"]["/api/v1/events"]["post"]["description"]
    assert "scope" not in description["paths"]["/api/v1/me/history"]["get"]["description"]


def test_both_bearers_are_described(description: dict) -> None:
    schemes = description["components"]["securitySchemes"]
    assert {name: (scheme["type"], scheme["scheme"]) for name, scheme in schemes.items()} == {
        "shopKey": ("http", "bearer"),
        "shopperToken": ("http", "bearer"),
    }


def test_every_error_is_a_problem(description: dict) -> None:
    for operations in description["paths"].values():
        for operation in operations.values():
            errors = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
            assert {"401", "403", "429"} <= set(errors)
            for answer in errors.values():
                assert answer["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }


@pytest.mark.parametrize("address", ["/api/v1/schema", "/api/v1/docs"])
@pytest.mark.parametrize("header", [None, "Bearer garbage"])
def test_whoever_it_is_may_read_it(address: str, header: str | None, client: Client) -> None:
    assert client.get(address, headers={"Authorization": header} if header else {}).status_code == 200


def test_an_identifier_matches_unless_all_of_it_is_blank_or_any_is_nul() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1)]
    refused = {each for each in characters if not re.search(IDENTIFIER_PATTERN, each)}
    assert refused == {each for each in characters if not each.strip()} | {"\0"}
    assert re.search(IDENTIFIER_PATTERN, " a\n") and not re.search(IDENTIFIER_PATTERN, " \n\u3000")
    assert not re.search(IDENTIFIER_PATTERN, "a\0")


def test_an_identifier_is_described_as_it_is_read(description: dict) -> None:
    schemas = description["components"]["schemas"]
    told = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": IDENTIFIER_PATTERN}
    assert schemas["ShopperTokenRequest"]["properties"]["shopper_id"] == told
    event = schemas["EventRequest"]["properties"]["coupon_id"]
    assert event == {**told, "nullable": True}
    queried = description["paths"]["/api/v1/me/coupons"]["get"]["parameters"]
    assert [each["schema"] for each in queried if each["name"] == "campaign"] == [told]


def test_it_is_written_once_in_each_language_and_form(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask, and to write it takes a second of a processor."""
    monkeypatch.setattr(DescriptionView, "_written", {})
    made: list[str] = []
    write = DescriptionView._get_schema_response
    monkeypatch.setattr(DescriptionView, "_get_schema_response", lambda *args: made.append("") or write(*args))
    for _time in range(2):
        for language, form in (("en", "json"), ("zh-hans", "json"), ("en", "yaml")):
            address = f"/api/v1/schema?format={form}&lang=x{_time}&version={_time}"
            answer = client.get(address, headers={"Accept-Language": language})
            assert (
                answer.headers["Content-Type"]
                == f"application/vnd.oai.openapi{'+json' * (form == 'json')}; charset=utf-8"
            )
            assert ("优惠券" in answer.content.decode()) == (language == "zh-hans")
    assert len(made) == 3


def test_the_page_asks_no_other_host(client: Client) -> None:
    page = client.get("/api/v1/docs").content.decode()
    assert "swagger-ui-bundle.js" in page
    assert re.findall(r"""(?:src|href|url)\s*[=:]\s*["'](?:https?:)?//""", page) == []
