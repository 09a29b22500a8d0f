"""What shoppers do with their own coupons."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from recommender.models import Coupon, Event, Publication, Redemption, RunCoupon, Shopper, TokenSigner
from recommender.services.access import issue_shopper_token
from recommender.services.shopper_tokens import create_signer
from tests.api.conftest import sign
from tests.api.shop_rows import LONG_AGO

Call = Callable[..., Any]
OWN = "own shopper"


def ids(answer: Any) -> list[str]:
    return [one["coupon"]["coupon_id"] for one in answer.json()["coupons"]]


def test_the_list_is_the_one_that_the_shop_sees(call: Call) -> None:
    assert call("GET", "me/coupons", caller=OWN).json() == call("GET", "shoppers/anna/coupons").json()
    assert ids(call("GET", "me/coupons?limit=1", caller=OWN)) == ["tea-spring"]
    assert call("GET", "me/coupons?limit=0", caller=OWN).status_code == 400
    assert call("GET", "me/coupons?campaign=winter", caller=OWN).status_code == 404


def test_why(call: Call, golden: Callable[..., None]) -> None:
    golden(call("GET", "me/coupons/tea-spring/why", caller=OWN), "own_coupon_why")


def test_what_is_not_offered(call: Call, golden: Callable[..., None]) -> None:
    for method, verb in (("GET", "why"), ("POST", "claim"), ("POST", "dismiss")):
        for coupon in ("nothing", "tea-spring"):
            answer = call(method, f"me/coupons/{coupon}/{verb}", caller="other shopper")
            assert answer.status_code == 404
    golden(call("GET", "me/coupons/nothing/why", caller=OWN), "not_offered")
    assert not Event.objects.exists()


def test_claiming(call: Call, golden: Callable[..., None]) -> None:
    first, second = (call("POST", "me/coupons/tea-spring/claim", caller=OWN) for _time in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    golden(first, "own_coupon_claimed", occurred_at="2026-03-10T12:00:00Z")
    assert second.json()["coupon_id"] == "tea-spring"
    event = Event.objects.get()
    assert (event.kind, event.shopper.shopper_id, event.campaign.campaign_id) == ("claim", "anna", "spring")  # type: ignore[union-attr]
    Coupon.objects.update(active=False)
    assert call("POST", "me/coupons/tea-spring/claim", caller=OWN).status_code == 200, "claimed is claimed"
    assert Event.objects.count() == 1


def test_nobody_can_take_the_key_of_anothers_claim(call: Call) -> None:
    call("POST", "me/coupons/tea-spring/claim", caller=OWN)
    key = Event.objects.get().event_key
    Event.objects.all().delete()
    event = {"event_id": key[:64], "kind": "click", "coupon_id": "tea-spring"}
    assert call("POST", "events", event, caller="other shopper").status_code == 200
    assert call("POST", "me/coupons/tea-spring/claim", caller=OWN).status_code == 201


def test_dismissing_takes_an_offer_off_the_list_for_a_while(call: Call) -> None:
    first, second = (call("POST", "me/coupons/tea-spring/dismiss", caller=OWN) for _time in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["kind"] == "dismiss"
    assert ids(call("GET", "me/coupons", caller=OWN)) == ["milk-spring"]
    assert call("POST", "me/coupons/tea-spring/claim", caller=OWN).status_code == 404
    Event.objects.update(occurred_at=timezone.now() - timedelta(days=91))
    assert ids(call("GET", "me/coupons", caller=OWN)) == ["tea-spring", "milk-spring"]
    assert call("POST", "me/coupons/tea-spring/dismiss", caller=OWN).status_code == 201
    assert Event.objects.count() == 2


def test_a_shopper_whom_the_shop_names_is_known_once_they_claim(call: Call, tokens: dict[str, str | None]) -> None:
    run = Publication.objects.get().run
    RunCoupon.objects.create(run=run, coupon=Coupon.objects.get(coupon_id="tea-spring"), mean_score=0.125)
    tokens["new"] = sign(create_signer(name="app", kind=TokenSigner.Kind.SECRET)[1], sub="zoe")
    answer = call("GET", "me/coupons", caller="new").json()
    assert (answer["personal"], [one["coupon"]["coupon_id"] for one in answer["coupons"]]) == (False, ["tea-spring"])
    assert call("GET", "me/coupons/tea-spring/why", caller="new").json()["personal"] is False
    assert not Shopper.objects.filter(shopper_id="zoe").exists(), "looking makes nobody known"
    assert call("POST", "me/coupons/tea-spring/claim", caller="new").status_code == 201
    assert Event.objects.get().shopper.shopper_id == "zoe"


def test_history(call: Call, golden: Callable[..., None]) -> None:
    anna, ben = Shopper.objects.get(shopper_id="anna"), Shopper.objects.get(shopper_id="ben")
    tea, milk = Coupon.objects.get(coupon_id="tea-spring"), Coupon.objects.get(coupon_id="milk-spring")
    campaign = tea.campaigns.get()
    order = anna.orders.get()
    Redemption.objects.create(
        shopper=anna, coupon=tea, campaign=campaign, order=order, redeemed_at=LONG_AGO, discount_amount="1.5"
    )
    Redemption.objects.create(shopper=ben, coupon=tea, redeemed_at=LONG_AGO)
    for minutes, kind in ((0, "claim"), (1, "dismiss"), (2, "click")):
        Event.objects.create(
            event_key=kind, shopper=anna, kind=kind, coupon=milk, occurred_at=LONG_AGO + timedelta(minutes=minutes)
        )
    golden(call("GET", "me/history", caller=OWN), "own_history")
    assert len(call("GET", "me/history", caller="other shopper").json()["entries"]) == 1


def test_a_use_names_its_order_before_that_is_loaded(call: Call) -> None:
    asked = {
        "shopper_id": "anna",
        "basket": {"lines": [{"line_id": "1", "product_id": "p1", "quantity": "1", "unit_price": "10"}]},
        "coupon_ids": ["tea-spring"],
    }
    coupon = Coupon.objects.get(coupon_id="tea-spring")
    Coupon.objects.filter(pk=coupon.pk).update(discount_type="amount", discount_value=1)
    coupon.targets.all().delete()
    held = call("POST", "checkout/reservations", asked, caller="shop", headers={"Idempotency-Key": str(uuid4())})
    assert held.status_code == 201, held.content
    path = f"checkout/reservations/{held.json()['reservation_id']}/confirm"
    done = call("POST", path, {"order_id": "later"}, caller="shop", headers={"Idempotency-Key": str(uuid4())})
    assert done.status_code == 200, done.content
    [entry] = [each for each in call("GET", "me/history", caller=OWN).json()["entries"] if each["did"] == "used"]
    assert entry["order_id"] == "later"


def test_a_long_history_is_read_page_by_page_without_a_gap_or_a_repetition(call: Call) -> None:
    anna, tea = Shopper.objects.get(shopper_id="anna"), Coupon.objects.get(coupon_id="tea-spring")
    for number in range(15):
        moment = LONG_AGO + timedelta(minutes=number // 4)  # several at the same moment
        Event.objects.create(event_key=str(number), shopper=anna, kind="claim", coupon=tea, occurred_at=moment)
        order = anna.orders.create(order_id=f"order-{number}", ordered_at=moment)
        Redemption.objects.create(shopper=anna, coupon=tea, redeemed_at=moment, order=order)
    whole = call("GET", "me/history?limit=100", caller=OWN).json()
    assert (len(whole["entries"]), whole["next"]) == (30, None)
    assert [entry["at"] for entry in whole["entries"]] == sorted((e["at"] for e in whole["entries"]), reverse=True)
    for limit in (1, 4, 7, 30):
        entries, cursor = [], ""
        while cursor is not None:
            page = call("GET", f"me/history?limit={limit}{cursor and '&cursor=' + cursor}", caller=OWN).json()
            entries += page["entries"]
            cursor = page["next"]
        assert entries == whole["entries"]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=101", "cursor=", "cursor=x", "cursor=!!!", "cursor=e30", "cursor=WzFd"),
        "cursor=WyJ4IiwwLDFd",  # ["x", 0, 1]
        "cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsNSwxXQ",  # ["2026-01-01T00:00:00Z", 5, 1]
        "cursor=WyIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsMCwtMV0",  # ["2026-01-01T00:00:00Z", 0, -1]
    ],
)
def test_a_cursor_that_is_none(query: str, call: Call) -> None:
    answer = call("GET", f"me/history?{query}", caller=OWN)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


def test_another_shoppers_cursor_shows_only_ones_own(call: Call) -> None:
    anna, tea = Shopper.objects.get(shopper_id="anna"), Coupon.objects.get(coupon_id="tea-spring")
    for number in range(3):
        Event.objects.create(event_key=str(number), shopper=anna, kind="claim", coupon=tea, occurred_at=LONG_AGO)
    cursor = call("GET", "me/history?limit=1", caller=OWN).json()["next"]
    assert call("GET", f"me/history?cursor={cursor}", caller="other shopper").json()["entries"] == []


def test_a_token_of_the_sites_own_is_as_good(call: Call, tokens: dict[str, str | None]) -> None:
    tokens["issued"] = issue_shopper_token(shopper_id="anna", at=timezone.now()).token
    assert call("GET", "me/coupons", caller="issued").json() == call("GET", "me/coupons", caller=OWN).json()
