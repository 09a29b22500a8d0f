"""Who may do what: every address by every caller."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse

Call = Callable[..., HttpResponse]

STRANGERS = [
    "nobody",
    "garbage",
    "revoked key",
    "unknown key",
    "expired token",
    "forged token",
    "unsigned token",
    "token for elsewhere",
]
EVENT = {"kind": "click", "shopper_id": "anna", "coupon_id": "tea-spring", "event_id": "e1"}
REDEMPTION = {"shopper_id": "anna", "coupon_id": "tea-spring"}
NO_ONE = "00000000-0000-0000-0000-000000000000"
CHECKOUT = {
    "shopper_id": "anna",
    "coupon_ids": ["tea-spring"],
    "basket": {"lines": [{"line_id": "1", "product_id": "green tea", "quantity": "1", "unit_price": "20"}]},
}

#: address: what is sent, and the status for the shop, for Anna herself, and for another shopper
REQUESTS: dict[str, tuple[str, str, Any, int, int, int]] = {
    "coupons": ("GET", "shoppers/anna/coupons", None, 200, 200, 403),
    "coupons of nobody": ("GET", "shoppers/nobody/coupons", None, 404, 403, 403),
    "coupons of a campaign": ("GET", "shoppers/anna/coupons?campaign=spring", None, 200, 200, 403),
    "event": ("POST", "events", EVENT, 200, 200, 403),
    "events": ("POST", "events", [EVENT, {**EVENT, "event_id": "e2"}], 200, 200, 403),
    "event of whoever calls": ("POST", "events", {**EVENT, "shopper_id": None}, 400, 200, 200),
    "redemption": ("POST", "redemptions", REDEMPTION, 201, 403, 403),
    "validate": ("POST", "checkout/validate", CHECKOUT, 200, 403, 403),
    "reserve": ("POST", "checkout/reservations", CHECKOUT, 201, 403, 403),
    "reservation": ("GET", f"checkout/reservations/{NO_ONE}", None, 404, 403, 403),
    "confirm": ("POST", f"checkout/reservations/{NO_ONE}/confirm", {"order_id": "o"}, 404, 403, 403),
    "release": ("POST", f"checkout/reservations/{NO_ONE}/release", None, 404, 403, 403),
    "reverse": ("POST", f"checkout/reservations/{NO_ONE}/reverse", {}, 404, 403, 403),
    "codes": ("POST", "code-batches", {"coupon_id": "nothing", "count": 1}, 404, 403, 403),
    "batch of codes": ("GET", "code-batches/1", None, 404, 403, 403),
    "file of codes": ("GET", "code-batches/1/codes", None, 404, 403, 403),
    "group": ("POST", "groups", {"coupon_id": "tea-spring", "shopper_id": "anna"}, 409, 409, 403),
    "group of nobody": ("GET", f"groups/{NO_ONE}", None, 404, 404, 404),
    "member": ("POST", f"groups/{NO_ONE}/members", {"shopper_id": "anna"}, 404, 404, 403),
    "token": ("POST", "shopper-tokens", {"shopper_id": "anna"}, 201, 403, 403),
    "token of nobody": ("POST", "shopper-tokens", {"shopper_id": "nobody"}, 404, 403, 403),
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("caller", [*STRANGERS, "shop", "own shopper", "other shopper"])
def test_every_address_by_every_caller(
    name: str, caller: str, call: Call, written: Callable[[], dict[str, Any]]
) -> None:
    method, path, body, shop, own, other = REQUESTS[name]
    expected = {"shop": shop, "own shopper": own, "other shopper": other}.get(caller, 401)
    before = written()
    response = call(method, path, body, caller=caller, headers={"Idempotency-Key": "k"})
    assert response.status_code == expected, response.content
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json"
        assert written() == before
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith('Bearer realm="couponsite"')


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


def test_a_session_of_staff_opens_nothing(call: Call, client: Any, admin_user: Any) -> None:
    client.force_login(admin_user)
    assert call("GET", "shoppers/anna/coupons", caller="nobody").status_code == 401
