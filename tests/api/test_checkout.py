"""The checkout as it is called: every answer word for word, and every write once."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.utils import timezone

from recommender.models import Coupon, CouponCounter, IdempotencyRecord, Redemption, Reservation
from recommender.services import patience
from recommender.services.checkout import idempotency
from tests.services.checkout.shop import count_by_sql

Call = Callable[..., HttpResponse]
Golden = Callable[..., None]

TIMES = ("created_at", "expires_at", "confirmed_at", "ended_at")
BASKET = {
    "lines": [
        {"line_id": "1", "product_id": "green tea", "quantity": "2", "unit_price": "10"},
        {"line_id": "2", "product_id": "not loaded yet", "quantity": "0.5", "unit_price": "4.99"},
    ],
    "shipping": "3.90",
}
ASKED = {"shopper_id": "anna", "basket": BASKET, "coupon_ids": ["tea-spring"]}
NO_ONE = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def write(call: Call) -> Call:
    """``write(path, body, key="...")``: a write with a key of its own, unless one is given."""

    def _write(path: str, body: Any = None, *, key: str | None = None, **options: Any) -> HttpResponse:
        headers = {"Idempotency-Key": key or str(uuid4()), **options.pop("headers", {})}
        return call("POST", path, body, headers=headers, **options)

    return _write


@pytest.fixture
def reservation_id(write: Call) -> str:
    response = write("checkout/reservations", ASKED)
    assert response.status_code == 201, response.content
    return response.json()["reservation_id"]  # type: ignore[attr-defined]


def same(golden: Golden, response: HttpResponse, name: str) -> None:
    """Compare a reservation with its file; of identifiers and moments only that they are there."""
    answer = response.json()  # type: ignore[attr-defined]
    UUID(answer["reservation_id"])
    replaced: dict[str, Any] = {"reservation_id": NO_ONE}
    for name_of_time in TIMES:
        replaced[name_of_time] = answer[name_of_time] and "2026-03-10T12:00:00Z"
    coupons = [{**coupon, "redemption_id": coupon["redemption_id"] and 1} for coupon in answer["coupons"]]
    golden(response, name, coupons=coupons, **replaced)


def test_validating(call: Call, golden: Golden) -> None:
    body = {**ASKED, "coupon_ids": ["milk-spring", "nothing"], "codes": ["tea2o", "guess"]}
    response = call("POST", "checkout/validate", body)
    assert response.status_code == 200
    golden(response, "checkout_quote")
    assert not CouponCounter.objects.exists()


def test_validating_in_chinese(call: Call) -> None:
    body = {**ASKED, "coupon_ids": ["milk-spring"], "codes": ["guess"]}
    response = call("POST", "checkout/validate", body, headers={"Accept-Language": "zh-hans"})
    texts = [refused["text"] for refused in response.json()["refused"]]  # type: ignore[attr-defined]
    assert texts == ["没有这个券码。", "该优惠券没有说明优惠内容。"]


def test_reserving_and_looking(call: Call, write: Call, golden: Golden) -> None:
    before = timezone.now()
    response = write("checkout/reservations", {**ASKED, "coupon_ids": ["tea-spring", "nothing"], "lifetime": 60})
    assert response.status_code == 201
    same(golden, response, "reservation_new")
    reservation = Reservation.objects.get()
    assert before <= reservation.created_at <= timezone.now()
    assert reservation.expires_at - reservation.created_at == timedelta(seconds=60)
    assert count_by_sql()["tea-spring"] == (1, Decimal("4.5"))
    looked = call("GET", f"checkout/reservations/{reservation.reservation_id}")
    assert looked.status_code == 200
    same(golden, looked, "reservation")
    Reservation.objects.update(expires_at=timezone.now())
    over = call("GET", f"checkout/reservations/{reservation.reservation_id}")
    assert over.json()["state"] == "expired"  # type: ignore[attr-defined]


def test_confirming(write: Call, golden: Golden, reservation_id: str) -> None:
    response = write(f"checkout/reservations/{reservation_id}/confirm", {"order_id": "o1"})
    assert response.status_code == 200
    same(golden, response, "reservation_confirmed")
    assert response.json()["coupons"][0]["redemption_id"] == Redemption.objects.get().pk  # type: ignore[attr-defined]
    again = write(f"checkout/reservations/{reservation_id}/confirm", {"order_id": "o1"})
    assert again.json() == response.json()  # type: ignore[attr-defined]
    other = write(f"checkout/reservations/{reservation_id}/confirm", {"order_id": "o2"})
    assert other.status_code == 409
    golden(other, "reservation_confirmed_otherwise")
    assert Redemption.objects.count() == 1


def test_releasing(write: Call, golden: Golden, reservation_id: str) -> None:
    response = write(f"checkout/reservations/{reservation_id}/release")
    assert response.status_code == 200
    same(golden, response, "reservation_released")
    assert count_by_sql()["tea-spring"] == (0, 0)


def test_reversing_a_part_and_the_rest(write: Call, golden: Golden, reservation_id: str) -> None:
    early = write(f"checkout/reservations/{reservation_id}/reverse", {})
    assert early.status_code == 409
    golden(early, "reservation_not_confirmed")
    write(f"checkout/reservations/{reservation_id}/confirm", {"order_id": "o1"})
    part = write(f"checkout/reservations/{reservation_id}/reverse", {"lines": [{"line_id": "1", "quantity": "0.5"}]})
    assert part.status_code == 200
    same(golden, part, "reservation_reversed_in_part")
    assert count_by_sql()["tea-spring"] == (1, Decimal("3.5"))
    whole = write(f"checkout/reservations/{reservation_id}/reverse", {})
    same(golden, whole, "reservation_reversed")
    assert count_by_sql()["tea-spring"] == (0, 0)
    assert not Redemption.objects.exists()


def test_a_refusal_of_one_coupon_is_the_problem_itself(write: Call, golden: Golden) -> None:
    Coupon.objects.filter(coupon_id="tea-spring").update(total_limit=0)
    response = write("checkout/reservations", ASKED)
    assert response.status_code == 409
    golden(response, "reservation_refused")
    assert not Reservation.objects.exists()


def test_of_several_each_has_its_reason(write: Call, golden: Golden) -> None:
    response = write("checkout/reservations", {**ASKED, "coupon_ids": ["milk-spring"], "codes": ["guess"]})
    assert response.status_code == 409
    golden(response, "reservation_refused_all")


@pytest.mark.parametrize("step", ["confirm", "release", "reverse"])
def test_an_unknown_reservation(step: str, write: Call, golden: Golden) -> None:
    response = write(f"checkout/reservations/{NO_ONE}/{step}", {"order_id": "o"} if step == "confirm" else {})
    assert response.status_code == 404
    golden(response, "unknown_reservation")


def test_an_unknown_shopper(call: Call, write: Call, golden: Golden) -> None:
    body = {**ASKED, "shopper_id": "nobody"}
    for response in (call("POST", "checkout/validate", body), write("checkout/reservations", body)):
        assert response.status_code == 404
        golden(response, "unknown_shopper")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"shopper_id": None}, "shopper_id"),
        ({"coupon_ids": []}, "non_field_errors"),
        ({"coupon_ids": [f"c{n}" for n in range(8)], "codes": ["x"]}, "non_field_errors"),
        ({"basket": {"lines": []}}, "basket.lines"),
        ({"basket": {"lines": [BASKET["lines"][0]] * 2}}, "basket.lines"),
        ({"basket": {"lines": [{**BASKET["lines"][0], "quantity": "0"}]}}, "basket.lines.0.quantity"),
        ({"basket": {"lines": [{**BASKET["lines"][0], "quantity": "1e9999"}]}}, "basket.lines.0.quantity"),
        ({"basket": {"lines": [{**BASKET["lines"][0], "unit_price": "-1"}]}}, "basket.lines.0.unit_price"),
        ({"basket": {"lines": [{**BASKET["lines"][0], "unit_price": "1.2345"}]}}, "basket.lines.0.unit_price"),
        (
            {"basket": {"lines": [{**BASKET["lines"][0], "quantity": "999999999", "unit_price": "99999999999"}]}},
            "basket",
        ),
        ({"lifetime": 0}, "lifetime"),
        ({"lifetime": 86_401}, "lifetime"),
    ],
)
def test_a_malformed_request(changes: dict[str, Any], field: str, write: Call) -> None:
    response = write("checkout/reservations", {**ASKED, **changes})
    assert response.status_code == 400, response.content
    assert list(response.json()["errors"]) == [field]  # type: ignore[attr-defined]
    assert not Reservation.objects.exists()
    assert not CouponCounter.objects.exists()


@pytest.mark.parametrize("lines", [[], [None], [{"line_id": "1", "quantity": "0"}], [{"line_id": "1"}] * 2, {}])
def test_a_malformed_return(lines: Any, write: Call, reservation_id: str) -> None:
    write(f"checkout/reservations/{reservation_id}/confirm", {"order_id": "o1"})
    before = count_by_sql()
    response = write(f"checkout/reservations/{reservation_id}/reverse", {"lines": lines})
    assert response.status_code == 400, response.content
    assert count_by_sql() == before


# Once


def test_the_same_again_is_answered_by_the_first_answer(write: Call) -> None:
    first = write("checkout/reservations", ASKED, key="k")
    reordered = {name: ASKED[name] for name in reversed(ASKED)}
    second = write("checkout/reservations", reordered, key="k")
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["Content-Type"] == first.headers["Content-Type"] == "application/json"
    assert (first.headers.get("Idempotency-Replayed"), second.headers["Idempotency-Replayed"]) == (None, "true")
    assert Reservation.objects.count() == 1


def test_a_refusal_is_repeated_too(write: Call) -> None:
    Coupon.objects.filter(coupon_id="tea-spring").update(total_limit=0)
    first = write("checkout/reservations", ASKED, key="k")
    Coupon.objects.filter(coupon_id="tea-spring").update(total_limit=9)
    second = write("checkout/reservations", ASKED, key="k")
    assert (first.status_code, second.status_code) == (409, 409)
    assert second.content == first.content
    assert second.headers["Content-Type"] == "application/problem+json"
    assert not Reservation.objects.exists()


def test_the_same_key_for_something_else_is_refused(write: Call, golden: Golden, reservation_id: str) -> None:
    write(f"checkout/reservations/{reservation_id}/release", key="k")
    before = count_by_sql()
    for path, body in (
        ("checkout/reservations", ASKED),
        (f"checkout/reservations/{NO_ONE}/release", None),
        (f"checkout/reservations/{reservation_id}/release", {"note": "x"}),
    ):
        response = write(path, body, key="k")
        assert response.status_code == 422
        golden(response, "idempotency_key_reused")
    assert count_by_sql() == before


def test_keys_of_two_callers_are_two(write: Call, tokens: dict[str, Any]) -> None:
    from recommender.services.access import create_api_key

    tokens["other shop"] = create_api_key(name="other till")[1]
    assert write("checkout/reservations", ASKED, key="k").status_code == 201
    other = write("checkout/reservations", {**ASKED, "shopper_id": "ben"}, key="k", caller="other shop")
    assert other.status_code == 201
    assert Reservation.objects.count() == 2


def test_a_key_is_needed_and_is_short(call: Call, write: Call, golden: Golden) -> None:
    response = call("POST", "checkout/reservations", ASKED)
    assert response.status_code == 400
    golden(response, "idempotency_key_missing")
    for key in ("x" * 256, "a b", "\xff"):
        assert write("checkout/reservations", ASKED, key=key).status_code == 400
    assert not Reservation.objects.exists()


def test_a_key_is_free_again_after_a_day(write: Call) -> None:
    write("checkout/reservations", ASKED, key="k")
    IdempotencyRecord.objects.update(expires_at=timezone.now())
    assert write("checkout/reservations", ASKED, key="k").headers.get("Idempotency-Replayed") is None
    assert Reservation.objects.count() == 2
    assert IdempotencyRecord.objects.count() == 1
    idempotency.forget_old_answers(at=timezone.now() + idempotency.KEPT + timedelta(seconds=1))
    assert not IdempotencyRecord.objects.exists()


def test_what_failed_is_not_remembered(write: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("recommender.api.checkout.reserve", fail)
        write("checkout/reservations", ASKED, key="k")
    assert not IdempotencyRecord.objects.exists()
    assert write("checkout/reservations", ASKED, key="k").status_code == 201


@pytest.mark.django_db(transaction=True)
def test_the_same_at_the_same_moment_is_done_once(write: Call) -> None:
    start = Barrier(8)

    def go(_: int) -> HttpResponse:
        start.wait()
        try:
            while True:
                answer = write("checkout/reservations", ASKED, key="k")
                if answer.status_code != 503:  # on a slow machine, for who waited too long: nothing was done
                    return answer
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(go, range(8)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers].count("true") == 7
    assert Reservation.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_who_waits_too_long_is_told_when_to_come_again(
    write: Call, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import transaction

    write("checkout/reservations", ASKED)
    monkeypatch.setattr(patience, "PATIENCE", 0.05)

    def go() -> HttpResponse:
        try:
            return write("checkout/reservations", ASKED)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool, transaction.atomic():
        CouponCounter.objects.select_for_update().get()
        response = pool.submit(go).result()
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    golden(response, "busy")
    assert Reservation.objects.count() == 1


def test_other_faults_of_the_database_are_ours(write: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**options: Any) -> None:
        raise OperationalError("disk I/O error")

    monkeypatch.setattr("recommender.api.checkout.reserve", fail)
    with pytest.raises(OperationalError):
        write("checkout/reservations", ASKED)


def test_answers_are_what_the_description_says(call: Call, reservation_id: str, client: Any) -> None:
    description = json.loads(client.get("/api/v1/schema?format=json").content)["components"]["schemas"]
    answer = call("GET", f"checkout/reservations/{reservation_id}").json()  # type: ignore[attr-defined]
    assert list(answer) == list(description["Reservation"]["properties"])
    assert list(answer["coupons"][0]) == list(description["HeldCoupon"]["properties"])


# Guessing


def test_wrong_codes_get_slower_and_slower(call: Call, write: Call, golden: Golden) -> None:
    def guess(*codes: str, shopper_id: str = "anna") -> HttpResponse:
        return call("POST", "checkout/validate", {**ASKED, "shopper_id": shopper_id, "coupon_ids": [], "codes": codes})

    assert [guess(f"wrong {number}").status_code for number in range(5)] == [200] * 5
    assert guess("wrong once more").status_code == 200, "it is the first after which there is a wait"
    refused = guess("tea20")
    assert (refused.status_code, refused.json()["code"], refused["Retry-After"]) == (429, "too_many_guesses", "1")  # type: ignore[attr-defined]
    assert guess("tea20", shopper_id="ben").status_code == 200, "whoever did not guess is not delayed"
    assert call("POST", "checkout/validate", ASKED).status_code == 200, "and who enters no code is not either"
    body = {**ASKED, "coupon_ids": [], "codes": ["tea20"]}
    later = write("checkout/reservations", body, key="later")
    assert (later.status_code, later.json()["code"]) == (429, "too_many_guesses")  # type: ignore[attr-defined]
    assert not Reservation.objects.exists()
    cache.clear()  # as time does
    assert write("checkout/reservations", body, key="later").status_code == 201, "that refusal was not kept"


@pytest.mark.parametrize("path", ["checkout/validate", "checkout/reservations"])
def test_a_public_code_that_everybody_knows_takes_back_no_wrong_one(path: str, call: Call, write: Call) -> None:
    def guess(code: str) -> int:
        return write(path, {**ASKED, "coupon_ids": [], "codes": [code]}).status_code

    wrong = {"checkout/validate": 200, "checkout/reservations": 409}[path]
    assert [guess(f"wrong {number}") for number in range(5)] == [wrong] * 5
    assert guess("tea20") in (200, 201)
    assert [guess("wrong"), guess("tea20"), guess("wrong")] == [wrong, 429, 429]


def test_several_wrong_codes_count_as_several(call: Call) -> None:
    body = {**ASKED, "coupon_ids": [], "codes": ["tea20", *(f"wrong {number}" for number in range(7))]}
    assert call("POST", "checkout/validate", body).status_code == 200
    refused = call("POST", "checkout/validate", {**body, "codes": ["tea20"]})
    assert (refused.status_code, refused["Retry-After"]) == (429, "2")


def test_wrong_codes_that_are_to_be_reserved_count_too(write: Call) -> None:
    body = {**ASKED, "coupon_ids": [], "codes": ["wrong"]}
    assert [write("checkout/reservations", body).status_code for _time in range(7)] == [409] * 6 + [429]


def test_right_codes_are_never_slowed(call: Call) -> None:
    body = {**ASKED, "coupon_ids": [], "codes": ["tea20"]}
    assert {call("POST", "checkout/validate", body).status_code for _time in range(20)} == {200}


@pytest.mark.parametrize("path", ["checkout/validate", "checkout/reservations"])
def test_who_was_told_nothing_of_a_code_did_not_guess(path: str, write: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(**options: Any) -> None:
        raise patience.Busy

    body = {**ASKED, "coupon_ids": [], "codes": ["tea20"]}
    step = {"checkout/validate": "validate", "checkout/reservations": "reserve"}[path]
    with monkeypatch.context() as patch:
        patch.setattr(f"recommender.api.checkout.{step}", busy)
        assert {write(path, body).status_code for _time in range(20)} == {503}
    assert {write(path, {**body, "shopper_id": "nobody"}).status_code for _time in range(20)} == {404}
    # So whoever asks again, as they were told to, is not slowed.
    wrong = {"checkout/validate": 200, "checkout/reservations": 409}[path]
    assert [write(path, {**body, "codes": ["wrong"]}).status_code for _time in range(5)] == [wrong] * 5
    assert write(path, body).status_code in (200, 201)
