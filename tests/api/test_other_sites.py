"""Pages of the shop call the API from a browser only where the environment names their site, and only for shoppers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings as site
from django.http import HttpResponse
from django.test import Client, override_settings

SHOP = "https://shop.example.com"
ELSEWHERE = "https://evil.example.com"
#: How couponsite.settings puts it where origins are named.
NAMED = {
    "INSTALLED_APPS": [*site.INSTALLED_APPS, "corsheaders"],
    "MIDDLEWARE": ["corsheaders.middleware.CorsMiddleware", *site.MIDDLEWARE],
    "CORS_ALLOWED_ORIGINS": [SHOP],
}


@pytest.fixture
def named() -> Iterator[None]:
    with override_settings(**NAMED):
        yield


@pytest.fixture
def ask(tokens: dict[str, str]) -> Callable[..., HttpResponse]:
    """``ask(method, path, origin)`` as a browser does for a page of that origin."""

    def _ask(method: str, path: str, origin: str, **headers: str) -> Any:
        told = {"Origin": origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if method != "OPTIONS":
            told["Authorization"] = f"Bearer {tokens['own shopper']}"
        return Client().generic(method, f"/api/v1/{path}", headers=told)

    return _ask


def leave_of(answer: HttpResponse) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def preflight(ask: Callable[..., HttpResponse], path: str, origin: str, method: str = "POST") -> HttpResponse:
    asked = {"Access_Control_Request_Method": method, "Access_Control_Request_Headers": "authorization"}
    return ask("OPTIONS", path, origin, **asked)


def test_nobody_is_named_by_default(ask: Callable[..., HttpResponse]) -> None:
    assert "corsheaders" not in site.INSTALLED_APPS
    assert not any("corsheaders" in each for each in site.MIDDLEWARE)
    answers = [ask("GET", "me/coupons", SHOP), preflight(ask, "me/coupons", SHOP)]
    assert [(answer.status_code, leave_of(answer)) for answer in answers] == [(200, {}), (401, {})]


def test_a_page_of_the_shop_may_ask_and_read(ask: Callable[..., HttpResponse], named: None) -> None:
    asked = preflight(ask, "me/coupons/tea-spring/claim", SHOP)
    assert asked.status_code == 200
    leave = leave_of(asked)
    assert leave["access-control-allow-origin"] == SHOP
    assert leave["access-control-allow-methods"] == "GET, POST"
    assert "authorization" in leave["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in leave
    answer = ask("GET", "me/coupons", SHOP)
    assert answer.status_code == 200
    assert leave_of(answer)["access-control-allow-origin"] == SHOP
    assert "ETag" in leave_of(answer)["access-control-expose-headers"]
    assert "origin" in answer.headers["Vary"]


def test_it_may_read_what_is_refused_too(ask: Callable[..., HttpResponse], named: None) -> None:
    answer = Client().get("/api/v1/me/coupons", headers={"Origin": SHOP})
    assert (answer.status_code, leave_of(answer)["access-control-allow-origin"]) == (401, SHOP)


@pytest.mark.parametrize(
    "origin", [ELSEWHERE, "http://shop.example.com", f"{SHOP}:8443", f"{SHOP}.evil.example.com", "null", "*", ""]
)
def test_no_other_page_may(origin: str, ask: Callable[..., HttpResponse], named: None) -> None:
    for answer in (ask("GET", "me/coupons", origin), preflight(ask, "me/coupons", origin)):
        assert "access-control-allow-origin" not in leave_of(answer)


@pytest.mark.parametrize("path", ["shoppers/anna/coupons", "events", "checkout/validate", "segments", "schema", "men"])
def test_what_shops_call_is_for_no_page(path: str, ask: Callable[..., HttpResponse], named: None) -> None:
    for answer in (ask("GET", path, SHOP), preflight(ask, path, SHOP)):
        assert leave_of(answer) == {}


@pytest.mark.django_db
def test_nothing_else_of_the_site_is(named: None) -> None:
    assert leave_of(Client().get("/admin/login/", headers={"Origin": SHOP})) == {}
