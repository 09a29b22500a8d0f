"""Redemptions as they are posted."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.utils import timezone

from recommender.models import Coupon, Redemption

Call = Callable[..., HttpResponse]
USE = {
    "shopper_id": "anna",
    "coupon_id": "tea-spring",
    "redeemed_at": "2026-03-10T20:00:00+08:00",
    "order_id": "o1",
    "discount_amount": "1.5",
}


def test_the_first_time_and_the_second(call: Call, golden: Callable[..., None]) -> None:
    first = call("POST", "redemptions", USE)
    second = call("POST", "redemptions", {**USE, "discount_amount": "2"})
    assert (first.status_code, second.status_code) == (201, 200)
    golden(first, "redemption", redemption_id=1)
    assert second.json() == first.json()  # type: ignore[attr-defined]
    assert Redemption.objects.get().pk == first.json()["redemption_id"]  # type: ignore[attr-defined]


def test_the_least_that_can_be_sent(call: Call, golden: Callable[..., None]) -> None:
    before = timezone.now()
    response = call("POST", "redemptions", {"shopper_id": "anna", "coupon_id": "milk-spring"})
    assert response.status_code == 201
    golden(response, "redemption_least", redemption_id=1, redeemed_at="2026-03-10T12:00:00Z")
    assert before <= Redemption.objects.get().redeemed_at <= timezone.now()


def test_a_refusal(call: Call, golden: Callable[..., None]) -> None:
    Coupon.objects.update(per_shopper_limit=1)
    assert call("POST", "redemptions", USE).status_code == 201
    refused = call("POST", "redemptions", {**USE, "redeemed_at": "2026-03-11T12:00:00Z"})
    assert refused.status_code == 409
    golden(refused, "redemption_refused")
    assert Redemption.objects.count() == 1


def test_what_was_redeemed_up_to_the_limit_is_offered_no_longer(call: Call) -> None:
    Coupon.objects.update(per_shopper_limit=1)
    call("POST", "redemptions", USE)
    offered = call("GET", "shoppers/anna/coupons").json()["coupons"]  # type: ignore[attr-defined]
    assert [one["coupon"]["coupon_id"] for one in offered] == ["milk-spring"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"shopper_id": None}, "shopper_id"),
        ({"shopper_id": "nobody"}, "shopper_id"),
        ({"coupon_id": ""}, "coupon_id"),
        ({"coupon_id": "nothing"}, "coupon_id"),
        ({"campaign_id": "nothing"}, "campaign_id"),
        ({"order_id": "nothing"}, "order_id"),
        ({"redeemed_at": "2026-03-10T12:00:00"}, "redeemed_at"),
        ({"redeemed_at": "2999-01-01T00:00:00Z"}, "redeemed_at"),
        ({"discount_amount": "-1"}, "discount_amount"),
        ({"discount_amount": "1.2345"}, "discount_amount"),
        ({"discount_amount": "NaN"}, "discount_amount"),
    ],
)
def test_a_malformed_redemption(changes: dict[str, Any], field: str, call: Call) -> None:
    response = call("POST", "redemptions", {**USE, **changes})
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]  # type: ignore[attr-defined]
    assert not Redemption.objects.exists()


def test_a_list_is_no_redemption(call: Call) -> None:
    assert call("POST", "redemptions", [USE]).status_code == 400
    assert not Redemption.objects.exists()
