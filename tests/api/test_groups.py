"""Groups as shoppers and the shop's systems call them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.http import HttpResponse

from recommender.models import Coupon, GroupBuy, GroupBuyMember

Call = Callable[..., HttpResponse]
Golden = Callable[..., None]

SAME = {
    "group_id": "00000000-0000-0000-0000-000000000000",
    "opened_at": "2026-03-10T12:00:00Z",
    "closes_at": "2026-03-11T12:00:00Z",
}


@pytest.fixture
def write(call: Call, shop: None) -> Call:
    Coupon.objects.filter(coupon_id="tea-spring").update(group_size=2, group_hours=24)

    def _write(path: str, body: Any, *, caller: str = "shop") -> HttpResponse:
        return call("POST", path, body, caller=caller, headers={"Idempotency-Key": str(uuid4())})

    return _write


def test_beginning_joining_and_looking(call: Call, write: Call, golden: Golden) -> None:
    begun = write("groups", {"coupon_id": "tea-spring"}, caller="own shopper")
    assert begun.status_code == 201
    golden(begun, "group_open", **SAME)
    group_id = UUID(begun.json()["group_id"])  # type: ignore[attr-defined]
    joined = write(f"groups/{group_id}/members", {}, caller="other shopper")
    assert joined.status_code == 200
    golden(joined, "group_unlocked", **SAME)
    for caller in ("shop", "own shopper"):
        assert call("GET", f"groups/{group_id}", caller=caller).content == joined.content
    members = GroupBuyMember.objects.order_by("pk").values_list("shopper__shopper_id", flat=True)
    assert list(members) == ["anna", "ben"]


def test_the_shop_says_who(write: Call) -> None:
    assert write("groups", {"coupon_id": "tea-spring"}).status_code == 400
    begun = write("groups", {"coupon_id": "tea-spring", "shopper_id": "anna"})
    group_id = begun.json()["group_id"]  # type: ignore[attr-defined]
    assert write(f"groups/{group_id}/members", {}).status_code == 400
    assert write(f"groups/{group_id}/members", {"shopper_id": "ben"}).status_code == 200


def test_nobody_joins_for_somebody_else(write: Call) -> None:
    begun = write("groups", {"coupon_id": "tea-spring", "shopper_id": "ben"}, caller="own shopper")
    assert begun.status_code == 403
    assert not GroupBuy.objects.exists()
    group_id = write("groups", {"coupon_id": "tea-spring"}, caller="own shopper").json()["group_id"]  # type: ignore[attr-defined]
    joined = write(f"groups/{group_id}/members", {"shopper_id": "ben"}, caller="own shopper")
    assert joined.status_code == 403
    assert GroupBuyMember.objects.count() == 1


def test_refusals(call: Call, write: Call, golden: Golden) -> None:
    refused = write("groups", {"coupon_id": "milk-spring"}, caller="own shopper")
    assert refused.status_code == 409
    golden(refused, "not_for_groups")
    unknown = write(f"groups/{SAME['group_id']}/members", {}, caller="own shopper")
    assert unknown.status_code == 404
    golden(unknown, "unknown_group")
    assert call("GET", f"groups/{SAME['group_id']}").content == unknown.content
