"""Groups as shoppers and the shop's systems call them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.http import HttpResponse
from django.utils import timezone

from recommender.models import (
    CampaignShopper,
    Companion,
    Coupon,
    CouponTarget,
    GroupBuy,
    GroupBuyMember,
    GroupInvitation,
    GroupModel,
    Order,
    OrderLine,
    Product,
    Segment,
    Shop,
    Shopper,
)
from recommender.services.checkout.groups import join_group, start_group

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


# Which group for whom


@pytest.fixture
def group_id(write: Call) -> UUID:
    """A group for two that Ben began, who joined one with Anna before; both bought tea."""
    begun = write("groups", {"coupon_id": "tea-spring"}, caller="other shopper")
    anna, ben = Shopper.objects.get(shopper_id="anna"), Shopper.objects.get(shopper_id="ben")
    Companion.objects.create(shopper=ben, companion=anna, groups_together=2, closeness=0.5, alike=0.4)
    order = Order.objects.create(order_id="o7", shopper=anna, ordered_at=timezone.now() - timedelta(days=3))
    OrderLine.objects.create(
        order=order, position=0, product=Product.objects.get(product_id="green tea"), quantity=1, amount=2
    )
    CouponTarget.objects.create(
        coupon=Coupon.objects.get(coupon_id="tea-spring"), product=Product.objects.get(product_id="green tea")
    )
    return UUID(begun.json()["group_id"])  # type: ignore[attr-defined]


def answered(answer: HttpResponse) -> Any:
    assert answer.status_code == 200, answer.content
    return answer.json()  # type: ignore[attr-defined]


def test_open_groups_for_a_shopper(call: Call, group_id: UUID, golden: Golden) -> None:
    Shop.objects.update(group_page="https://shop.example/groups/{group}?from=app")
    answer = call("GET", "shoppers/anna/open-groups", caller="own shopper")
    (found,) = answered(answer)["groups"]
    assert found["group"]["share_link"] == f"https://shop.example/groups/{group_id}?from=app"
    golden(answer, "open_groups", groups=[{**found, "group": {**found["group"], **SAME, "share_link": "https://…"}}])
    assert call("GET", "shoppers/anna/open-groups").content == answer.content
    golden(call("GET", "shoppers/ben/open-groups"), "open_groups_none")


def test_what_the_chance_rests_on(call: Call, group_id: UUID) -> None:
    GroupBuy.objects.update(size=3)

    def told() -> tuple[object, str]:
        (found,) = answered(call("GET", "shoppers/anna/open-groups"))["groups"]
        return found["chance"], found["chance_rests_on"]

    assert told() == (None, "unknown")
    half = {"ended": 10, "filled": 5, "joins": 9, "hours": 100.0}
    GroupModel.objects.create(
        learned_until=timezone.now(),
        content={
            **{"overall": half, "by_coupon": {}, "by_size": {"3": half}},
            **dict.fromkeys(("chance", "joining", "check")),
        },
    )
    assert told() == (0.5, "base_rate")


def test_whom_to_invite(call: Call, group_id: UUID, golden: Golden) -> None:
    answer = call("GET", f"groups/{group_id}/invitees")
    assert answer.status_code == 200
    golden(answer, "group_invitees", group_id=SAME["group_id"])
    posted = {"shopper_ids": ["anna", "ben", "nobody", "anna"]}
    for _time in range(2):
        invited = call("POST", f"groups/{group_id}/invitations", posted)
        assert invited.status_code == 200
        golden(invited, "group_invitations")
        assert GroupInvitation.objects.count() == 1
    assert answered(call("GET", f"groups/{group_id}/invitees"))["invitees"] == []


@pytest.mark.parametrize(
    "kept_from",
    ["opted out", "held out", "used up", "waits elsewhere", "another segment"],
)
def test_who_may_not_have_the_coupon_is_neither_shown_nor_invited(kept_from: str, call: Call, group_id: UUID) -> None:
    anna, coupon = Shopper.objects.get(shopper_id="anna"), Coupon.objects.get(coupon_id="tea-spring")
    match kept_from:
        case "opted out":
            Shopper.objects.update(opted_out=True)
        case "held out":
            CampaignShopper.objects.create(campaign=coupon.campaigns.get(), shopper=anna, group="control")
        case "used up":
            Coupon.objects.update(total_limit=1)
        case "waits elsewhere":
            start_group(shopper_id="anna", coupon_id="tea-spring", at=timezone.now())
        case _:
            Coupon.objects.update(segment=Segment.objects.create(name="nobody's"))
            Segment.objects.get(name="nobody's").conditions.create(kind="orders", comparison="at_least", amount=99)
    assert answered(call("GET", "shoppers/anna/open-groups"))["groups"] == []
    assert answered(call("GET", f"groups/{group_id}/invitees"))["invitees"] == []


@pytest.mark.parametrize(("state", "code"), [("unlocked", "group_full"), ("failed", "group_closed")])
def test_nobody_is_invited_to_a_group_that_ended(state: str, code: str, call: Call, group_id: UUID) -> None:
    if state == "failed":
        GroupBuy.objects.update(closes_at=timezone.now())
    else:
        join_group(shopper_id="anna", group_id=group_id, at=timezone.now())
    assert answered(call("GET", "shoppers/anna/open-groups"))["groups"] == []
    for answer in (
        call("GET", f"groups/{group_id}/invitees"),
        call("POST", f"groups/{group_id}/invitations", {"shopper_ids": ["anna"]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, code)  # type: ignore[attr-defined]
    assert not GroupInvitation.objects.exists()
