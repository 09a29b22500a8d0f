"""Keys with scopes, rates, and answers that still hold."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisAway

from recommender.api.coupons import ShopperCouponsView
from recommender.api.limits import guesses_refused
from recommender.api.problems import problem_response
from recommender.api.views import Deprecation
from recommender.models import ApiKey, Campaign, Coupon, Publication, Shopper
from recommender.services.access import create_api_key, rotate_api_key
from recommender.services.guessing import TooManyGuesses
from tests.api.shop_rows import publish

Call = Callable[..., Any]
ADDRESS = "shoppers/anna/coupons"


# Scopes


def test_a_narrow_key(call: Call, tokens: dict[str, str | None], golden: Callable[..., None]) -> None:
    tokens["narrow"] = create_api_key(name="tracker", scopes=["events:write"])[1]
    response = call("GET", ADDRESS, caller="narrow")
    assert response.status_code == 403
    golden(response, "narrow_key")
    assert call("POST", "events", [], caller="narrow").status_code == 200


def test_an_address_without_a_scope_is_open_to_no_key(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShopperCouponsView, "scope", None)
    assert call("GET", ADDRESS).status_code == 403
    assert call("GET", ADDRESS, caller="own shopper").status_code == 200


def test_that_a_key_was_used_is_written_once_a_minute(call: Call) -> None:
    key = ApiKey.objects.get(name="till")
    assert key.last_used_at is None

    def writes() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert call("GET", ADDRESS).status_code == 200
        return sum(query["sql"].startswith("UPDATE") for query in queries)

    assert [writes() for _time in range(3)] == [1, 0, 0]
    key.refresh_from_db()
    assert key.last_used_at is not None
    before = key.last_used_at - timedelta(seconds=61)
    ApiKey.objects.filter(pk=key.pk).update(last_used_at=before)
    assert [writes() for _time in range(2)] == [1, 0]
    key.refresh_from_db()
    assert key.last_used_at > before + timedelta(seconds=60)


def test_a_rotated_key_opens_by_both_secrets_for_a_while(call: Call, tokens: dict[str, str | None]) -> None:
    key, tokens["old"] = create_api_key(name="web shop")
    now = timezone.now()
    tokens["new"] = rotate_api_key(api_key=key, at=now, grace=timedelta(hours=1))
    assert [call("GET", ADDRESS, caller=name).status_code for name in ("old", "new")] == [200, 200]
    tokens["newest"] = rotate_api_key(api_key=key, at=now, grace=timedelta(hours=1))
    assert [call("GET", ADDRESS, caller=name).status_code for name in ("old", "new", "newest")] == [401, 200, 200]
    ApiKey.objects.filter(pk=key.pk).update(previous_until=now - timedelta(seconds=1))
    assert [call("GET", ADDRESS, caller=name).status_code for name in ("new", "newest")] == [401, 200]


# Rates


@pytest.mark.parametrize(("caller", "policy"), [("shop", "key"), ("own shopper", "shopper")])
def test_who_calls_too_often_waits(
    caller: str, policy: str, call: Call, settings: Any, golden: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.KEY_REQUESTS_PER_MINUTE = settings.SHOPPER_REQUESTS_PER_MINUTE = 3
    monkeypatch.setattr("recommender.api.limits.time.time", lambda: 999_999_990.0)  # 30 seconds are left
    answers = [call("GET", ADDRESS, caller=caller) for _time in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit"] for answer in answers] == [f'"{policy}";r={left};t=30' for left in (2, 1, 0, 0)]
    assert answers[0].headers["RateLimit-Policy"] == f'"{policy}";q=3;w=60'
    assert answers[3].headers["Retry-After"] == "30"
    assert answers[3].headers["Content-Type"] == "application/problem+json"
    golden(answers[3], "too_many_requests")
    assert call("GET", "shoppers/ben/coupons", caller="other shopper").status_code == 200
    monkeypatch.setattr("recommender.api.limits.time.time", lambda: 1_000_000_021.0)
    assert call("GET", ADDRESS, caller=caller).status_code == 200


def test_a_shoppers_tokens_share_one_limit(call: Call, settings: Any) -> None:
    settings.SHOPPER_REQUESTS_PER_MINUTE = 2
    callers = ["own shopper", "own shopper, by the shop", "own shopper"]
    assert [call("GET", "me/coupons", caller=caller).status_code for caller in callers] == [200, 200, 429]


def test_no_limit(call: Call, settings: Any) -> None:
    settings.KEY_REQUESTS_PER_MINUTE = 0
    assert "RateLimit" not in call("GET", ADDRESS).headers


def test_without_the_cache_nobody_is_refused(call: Call, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*arguments: object, **options: object) -> None:
        raise RedisAway

    settings.KEY_REQUESTS_PER_MINUTE = 1
    monkeypatch.setattr(cache, "add", away)
    assert [call("GET", ADDRESS).status_code for _time in range(3)] == [200, 200, 200]


def test_guesses_are_refused_in_the_shape_of_all_problems(golden: Callable[..., None]) -> None:
    response = problem_response(guesses_refused(TooManyGuesses(timedelta(seconds=7.2))), {})
    assert response is not None
    assert (response.status_code, response.headers["Retry-After"]) == (429, "8")
    assert response.data["code"] == "too_many_guesses"


# Answers that still hold


def again(call: Call, answer: HttpResponse, address: str = ADDRESS, **headers: str) -> Any:
    return call("GET", address, headers={"If-None-Match": answer.headers["ETag"], **headers})


def test_an_answer_that_still_holds_is_not_sent_again(call: Call) -> None:
    first = call("GET", ADDRESS)
    second = again(call, first)
    assert (second.status_code, second.content) == (304, b"")
    assert second.headers["ETag"] == first.headers["ETag"]
    assert second.headers["Cache-Control"] == "private, no-cache"


def test_it_is_exact_after_a_publication_and_after_its_undoing(call: Call) -> None:
    campaign, anna = Campaign.objects.get(), Shopper.objects.get(shopper_id="anna")
    first = call("GET", ADDRESS)
    Publication.objects.update(ended_at=timezone.now())
    publication = publish(campaign, (anna, Coupon.objects.get(coupon_id="milk-spring"), 0.5))
    second = again(call, first)
    assert second.status_code == 200
    assert [one["coupon"]["coupon_id"] for one in second.json()["coupons"]] == ["milk-spring"]
    assert again(call, second).status_code == 304
    publication.delete()
    Publication.objects.update(ended_at=None)
    assert again(call, second).status_code == 200
    assert again(call, first).status_code == 304


@pytest.mark.parametrize(
    "change",
    [
        lambda: Coupon.objects.filter(coupon_id="tea-spring").update(active=False),
        lambda: Coupon.objects.filter(coupon_id="tea-spring").update(title="Half off tea"),
        lambda: Campaign.objects.update(budget=0),
        lambda: Shopper.objects.update(opted_out=True),
    ],
)
def test_whatever_changes_changes_the_tag(change: Callable[[], Any], call: Call) -> None:
    first = call("GET", ADDRESS)
    change()
    assert again(call, first).status_code == 200


def test_another_language_is_another_answer(call: Call) -> None:
    first = call("GET", ADDRESS, headers={"Accept-Language": "en"})
    assert again(call, first, **{"Accept-Language": "zh-hans"}).status_code == 200
    assert again(call, first, **{"Accept-Language": "en"}).status_code == 304


@pytest.mark.parametrize("address", ["me/coupons", "me/history"])
def test_a_shoppers_own_answers_have_tags_too(address: str, call: Call) -> None:
    first = call("GET", address, caller="own shopper")
    second = call("GET", address, caller="own shopper", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, second.status_code) == (200, 304)


def test_what_is_posted_and_what_is_refused_is_kept_by_nobody(call: Call) -> None:
    for answer in (call("POST", "events", []), call("GET", ADDRESS, caller="nobody")):
        assert answer.headers["Cache-Control"] == "private, no-store"
        assert "ETag" not in answer.headers


# Versions


def test_every_answer_tells_the_version(call: Call) -> None:
    for answer in (call("GET", ADDRESS), call("GET", "nothing"), call("GET", ADDRESS, caller="nobody")):
        assert answer.headers["API-Version"] == "1.1"
        assert "Deprecation" not in answer.headers


def test_an_address_that_is_to_go_says_so(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    going = Deprecation(
        since=datetime(2027, 1, 1, tzinfo=UTC), until=datetime(2028, 1, 1, tzinfo=UTC), link="https://shop.example/new"
    )
    monkeypatch.setattr(ShopperCouponsView, "deprecation", going)
    answer = call("GET", ADDRESS)
    assert answer.headers["Deprecation"] == "@1798761600"
    assert answer.headers["Sunset"] == "Sat, 01 Jan 2028 00:00:00 GMT"
    assert answer.headers["Link"] == '<https://shop.example/new>; rel="deprecation"'
