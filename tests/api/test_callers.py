"""Who may do what: every address by every caller."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from recommender.api import urls
from recommender.api.views import UnknownAddressView
from recommender.models import Scope
from recommender.services.access import create_api_key
from tests.api.shop_rows import BATCH, CONFIRMED, GROUP, HELD

Call = Callable[..., HttpResponse]

STRANGERS = [
    "nobody",
    "garbage",
    "revoked key",
    "former key",
    "unknown key",
    "expired token",
    "forged token",
    "unsigned token",
    "token for elsewhere",
    "long-lived token",
    "token of a revoked signer",
]
SHOPPERS = {
    "own shopper": "own",
    "own shopper, by the shop": "own",
    "other shopper": "other",
    "other shopper, by the shop": "other",
}
EVENT = {"kind": "click", "shopper_id": "anna", "coupon_id": "tea-spring", "event_id": "e1"}
REDEMPTION = {"shopper_id": "anna", "coupon_id": "tea-spring"}
NO_ONE = "00000000-0000-0000-0000-000000000000"
CHECKOUT = {
    "shopper_id": "anna",
    "coupon_ids": ["tea-spring"],
    "basket": {"lines": [{"line_id": "1", "product_id": "green tea", "quantity": "1", "unit_price": "20"}]},
}
ORDER = {
    "order_id": "o2",
    "shopper_id": "anna",
    "ordered_at": "2026-03-10T12:00:00Z",
    "lines": [{"product_id": "green tea", "quantity": "1", "amount": "2.5"}],
}
ANNA, TEA = {"shopper_id": "anna"}, {"coupon_id": "tea-spring"}
NO_RESERVATION, NO_GROUP = {"reservation_id": NO_ONE}, {"group_id": NO_ONE}
EVERYBODY = (200, 200, 200)
OPEN = ("schema", "docs")
#: Addresses of things that only the full shop has.
OF_THE_FULL_SHOP = ("reservation", "code-batch", "group")


@dataclass(frozen=True)
class Row:
    """A request by the name of its address and its method, and its status for the shop, for Anna and for another
    shopper."""

    address: str
    method: str
    kwargs: dict[str, Any]
    statuses: tuple[int, int, int]
    body: Any = None
    query: str = ""


ROWS = [
    Row("schema", "GET", {}, EVERYBODY),
    Row("docs", "GET", {}, EVERYBODY),
    Row("shopper-coupons", "GET", ANNA, (200, 200, 403)),
    Row("shopper-coupons", "GET", {"shopper_id": "nobody"}, (200, 403, 403)),
    Row("shopper-coupons", "GET", ANNA, (200, 200, 403), query="?campaign=spring"),
    Row("recommendations", "POST", {}, (200, 403, 403), {"shopper_ids": ["anna", "ben"]}),
    Row("own-coupons", "GET", {}, (403, 200, 200)),
    Row("own-coupon-why", "GET", TEA, (403, 200, 404)),
    Row("own-coupon-claim", "POST", TEA, (403, 201, 404)),
    Row("own-coupon-dismiss", "POST", TEA, (403, 201, 404)),
    Row("own-history", "GET", {}, (403, 200, 200)),
    Row("events", "POST", {}, (200, 200, 403), EVENT),
    Row("events", "POST", {}, (200, 200, 403), [EVENT, {**EVENT, "event_id": "e2"}]),
    Row("events", "POST", {}, (400, 200, 200), {**EVENT, "shopper_id": None}),
    Row("orders", "POST", {}, (200, 403, 403), [ORDER]),
    Row("segments", "GET", {}, (200, 403, 403)),
    Row("segment-membership", "GET", {"segment_id": 1000, "shopper_id": "anna"}, (200, 403, 403)),
    Row("redemptions", "POST", {}, (201, 403, 403), REDEMPTION),
    Row("checkout-validate", "POST", {}, (200, 403, 403), CHECKOUT),
    Row("reservations", "POST", {}, (201, 403, 403), CHECKOUT),
    Row("reservation", "GET", {"reservation_id": HELD}, (200, 403, 403)),
    Row("reservation-confirm", "POST", {"reservation_id": HELD}, (200, 403, 403), {"order_id": "o"}),
    Row("reservation-release", "POST", {"reservation_id": HELD}, (200, 403, 403)),
    Row("reservation-reverse", "POST", {"reservation_id": CONFIRMED}, (200, 403, 403), {}),
    Row("code-batches", "POST", {}, (202, 403, 403), {"coupon_id": "milk-spring", "count": 1}),
    Row("code-batch", "GET", {"batch_id": BATCH}, (200, 403, 403)),
    Row("code-batch-codes", "GET", {"batch_id": BATCH}, (409, 403, 403)),
    Row("groups", "POST", {}, (400, 409, 201), {"coupon_id": "together"}),
    Row("groups", "POST", {}, (201, 403, 201), {"coupon_id": "together", "shopper_id": "ben"}),
    Row("group", "GET", {"group_id": GROUP}, EVERYBODY),
    Row("group-members", "POST", {"group_id": GROUP}, (400, 200, 200), {}),
    Row("group-members", "POST", {"group_id": GROUP}, (200, 403, 200), {"shopper_id": "ben"}),
    Row("open-groups", "GET", ANNA, (200, 200, 403)),
    Row("open-groups", "GET", ANNA, (400, 400, 403), query="?limit=0"),
    Row("open-groups", "GET", {"shopper_id": "nobody"}, (404, 403, 403)),
    Row("group-invitees", "GET", {"group_id": GROUP}, (200, 403, 403)),
    Row("group-invitees", "GET", NO_GROUP, (404, 403, 403)),
    Row("group-invitations", "POST", {"group_id": GROUP}, (200, 403, 403), {"shopper_ids": ["ben"]}),
    Row("group-invitations", "POST", NO_GROUP, (404, 403, 403), {"shopper_ids": ["ben"]}),
    Row("reservation", "GET", NO_RESERVATION, (404, 403, 403)),
    Row("reservation-confirm", "POST", NO_RESERVATION, (404, 403, 403), {"order_id": "o"}),
    Row("reservation-release", "POST", NO_RESERVATION, (404, 403, 403)),
    Row("reservation-reverse", "POST", NO_RESERVATION, (404, 403, 403), {}),
    Row("code-batches", "POST", {}, (404, 403, 403), {"coupon_id": "nothing", "count": 1}),
    Row("code-batch", "GET", {"batch_id": 1}, (404, 403, 403)),
    Row("code-batch-codes", "GET", {"batch_id": 1}, (404, 403, 403)),
    Row("groups", "POST", {}, (409, 409, 403), {"coupon_id": "tea-spring", "shopper_id": "anna"}),
    Row("group", "GET", NO_GROUP, (404, 404, 404)),
    Row("group-members", "POST", NO_GROUP, (404, 404, 403), {"shopper_id": "anna"}),
    Row("shopper-tokens", "POST", {}, (201, 403, 403), ANNA),
    Row("shopper-tokens", "POST", {}, (404, 403, 403), {"shopper_id": "nobody"}),
]


def operations() -> dict[tuple[str, str], Any]:
    """Every address of the API with each of its methods, and its view."""
    return {
        (pattern.name, method.upper()): pattern.callback.view_class
        for pattern in urls.urlpatterns
        if pattern.callback.view_class is not UnknownAddressView
        for method in pattern.callback.view_class.http_method_names
        if method not in ("head", "options") and hasattr(pattern.callback.view_class, method)
    }


def path_of(row: Row) -> str:
    return reverse(f"api:{row.address}", kwargs=row.kwargs).removeprefix("/api/v1/") + row.query


def test_every_address_has_a_row() -> None:
    assert {(row.address, row.method) for row in ROWS} == set(operations())


def test_every_address_that_opens_to_keys_asks_for_a_scope() -> None:
    without = {name for (name, _method), view in operations().items() if getattr(view, "scope", None) is None}
    assert without == {
        *("schema", "docs"),
        *("own-coupons", "own-coupon-why", "own-coupon-claim", "own-coupon-dismiss", "own-history"),
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.method} {row.address}{row.query}")
@pytest.mark.parametrize("caller", [*STRANGERS, "shop", *SHOPPERS, "narrow key", "exact key", "staff"])
def test_every_address_by_every_caller(
    row: Row,
    caller: str,
    call: Call,
    tokens: dict[str, str | None],
    written: Callable[[], dict[str, Any]],
    client: Client,
    request: pytest.FixtureRequest,
) -> None:
    if row.address.startswith(OF_THE_FULL_SHOP):
        request.getfixturevalue("full_shop")
    scope = getattr(operations()[row.address, row.method], "scope", None)
    shop, own, other = row.statuses
    match caller:
        case "shop":
            expected = shop
        case "exact key":
            tokens[caller] = create_api_key(name=caller, scopes=[scope] if scope else list(Scope.values))[1]
            expected = shop
        case "narrow key":
            tokens[caller] = create_api_key(name=caller, scopes=[each for each in Scope.values if each != scope])[1]
            expected = 200 if row.address in OPEN else 403
        case "staff":
            client.force_login(request.getfixturevalue("admin_user"))
            tokens[caller] = None
            expected = 200 if row.address in OPEN else 401
        case _ if caller in SHOPPERS:
            expected = own if SHOPPERS[caller] == "own" else other
        case _:
            expected = 200 if row.address in OPEN else 401
    before = written()
    response = call(row.method, path_of(row), row.body, caller=caller, headers={"Idempotency-Key": "k"})
    assert response.status_code == expected, response.content
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert written() == before
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith('Bearer realm="couponsite"')
    if caller == "narrow key" and scope:
        assert response.json()["code"] == "scope_missing"  # type: ignore[attr-defined]


def test_the_challenge_tells_a_bad_token_from_none(call: Call) -> None:
    nobody = call("GET", "shoppers/anna/coupons", caller="nobody")
    expired = call("GET", "shoppers/anna/coupons", caller="expired token")
    assert nobody.headers["WWW-Authenticate"] == 'Bearer realm="couponsite"'
    assert expired.headers["WWW-Authenticate"] == 'Bearer realm="couponsite", error="invalid_token"'


def test_another_shopper_cannot_tell_who_exists(call: Call) -> None:
    known = call("GET", "shoppers/anna/coupons", caller="other shopper")
    unknown = call("GET", "shoppers/nobody/coupons", caller="other shopper")
    assert known.content == unknown.content


def test_one_event_of_somebody_else_refuses_the_whole_list(call: Call, written: Callable[[], dict[str, Any]]) -> None:
    own = {**EVENT, "shopper_id": "ben", "event_id": "e2"}
    assert call("POST", "events", [own, EVENT], caller="other shopper").status_code == 403
    assert written()["Event"] == []
    assert call("POST", "events", [own], caller="other shopper").status_code == 200
    assert len(written()["Event"]) == 1


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic YTpi", "Token x", "bearer", "Bearer a b", "Bearer \xff"]
)
def test_other_credentials_are_strangers(header: str, call: Call) -> None:
    response = call("GET", "shoppers/anna/coupons", caller="nobody", headers={"Authorization": header})
    assert response.status_code == 401


def test_the_scheme_may_be_written_small(call: Call, tokens: dict[str, str]) -> None:
    header = {"Authorization": f"bearer {tokens['shop']}"}
    assert call("GET", "shoppers/anna/coupons", caller="nobody", headers=header).status_code == 200
