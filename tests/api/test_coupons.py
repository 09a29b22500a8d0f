"""The list of a shopper, as it is answered."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from recommender.models import Coupon, Publication, Recommendation, RunCoupon, Shopper
from recommender.reasons import in_words
from recommender.services.counters import make_counters
from tests.api.shop_rows import make_campaign, publish

Call = Callable[..., HttpResponse]
ADDRESS = "shoppers/anna/coupons"


def test_the_answer(call: Call, golden: Callable[..., None]) -> None:
    response = call("GET", ADDRESS)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    golden(response, "shopper_coupons")


def test_nobody_else_may_keep_it(call: Call) -> None:
    response = call("GET", ADDRESS)
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert {"Accept-Language", "Authorization"} <= set(response.headers["Vary"].split(", "))


def test_whoever_opted_out_has_an_empty_list(call: Call, golden: Callable[..., None]) -> None:
    Shopper.objects.update(opted_out=True)
    golden(call("GET", ADDRESS), "shopper_coupons_empty")
    golden(call("GET", ADDRESS, caller="own shopper"), "shopper_coupons_empty")


def test_one_campaign(call: Call) -> None:
    bread = Coupon.objects.create(coupon_id="bread")
    publish(make_campaign("summer", bread), (Shopper.objects.get(shopper_id="anna"), bread, 0.9))
    assert ids(call("GET", ADDRESS)) == ["bread", "tea-spring", "milk-spring"]
    assert ids(call("GET", f"{ADDRESS}?campaign=summer")) == ["bread"]
    assert ids(call("GET", f"{ADDRESS}?campaign=spring&limit=1")) == ["tea-spring"]


def test_unknown_campaign(call: Call, golden: Callable[..., None]) -> None:
    campaign = call("GET", f"{ADDRESS}?campaign=winter")
    assert campaign.status_code == 404
    golden(campaign, "unknown_campaign")


def test_a_shopper_never_seen_gets_what_is_best_for_all_and_the_answer_says_so(
    call: Call, golden: Callable[..., None]
) -> None:
    run = Publication.objects.get().run
    for coupon, mean_score in (("tea-spring", 0.125), ("milk-spring", 0.25)):
        RunCoupon.objects.create(run=run, coupon=Coupon.objects.get(coupon_id=coupon), mean_score=mean_score)
    golden(call("GET", "shoppers/nobody/coupons"), "shopper_coupons_not_personal")


@pytest.mark.parametrize("query", ["limit=0", "limit=101", "limit=x", "limit=", "campaign=", "campaign=a%00b"])
def test_parameters_that_cannot_be_read(query: str, call: Call) -> None:
    response = call("GET", f"{ADDRESS}?{query}")
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [query.partition("=")[0]]


@pytest.mark.parametrize("shopper_id", ["a/b", "安娜", "a b", "x" * 64])
def test_any_identifier_of_the_shop_has_an_address(shopper_id: str, call: Call) -> None:
    Shopper.objects.create(shopper_id=shopper_id)
    response = call("GET", f"shoppers/{quote(shopper_id)}/coupons")
    assert response.json() == {"shopper_id": shopper_id, "personal": False, "coupons": []}


@pytest.mark.parametrize("shopper_id", ["a%00b", "x" * 65])
def test_what_can_be_no_identifier_has_none(shopper_id: str, call: Call) -> None:
    assert call("GET", f"shoppers/{shopper_id}/coupons").status_code == 404


def test_reasons_come_in_the_language_that_is_asked_for(call: Call) -> None:
    facts = Recommendation.objects.first().reasons  # type: ignore[union-attr]
    for asked, language in [("zh-CN,zh;q=0.9", "zh-hans"), ("en-GB", "en"), ("tlh", "en")]:
        response = call("GET", ADDRESS, headers={"Accept-Language": asked})
        with translation.override(language):
            expected = in_words(facts)
        assert response.headers["Content-Language"] == language
        assert [reason["text"] for reason in response.json()["coupons"][0]["reasons"]] == expected


def test_a_reason_that_has_no_words_any_more_is_left_out(call: Call) -> None:
    Recommendation.objects.update(reasons=[{"kind": "horoscope"}, {"kind": "uses_no_coupons"}])
    assert call("GET", ADDRESS).json()["coupons"][0]["reasons"] == [
        {"kind": "uses_no_coupons", "text": "Used no coupon of the shop before"}
    ]


@pytest.mark.parametrize(
    ("caller", "query", "count"),
    [("own shopper", "", 1), ("shop", "", 2), ("own shopper", "?campaign=spring", 1), ("other shopper", "", 0)],
)
def test_the_number_of_queries_is_known(caller: str, query: str, count: int, call: Call) -> None:
    anna = Shopper.objects.get(shopper_id="anna")
    for number in range(3):
        coupons = [Coupon.objects.create(coupon_id=f"{number}-{place}", total_limit=9) for place in range(5)]
        publish(make_campaign(f"campaign-{number}", *coupons), *((anna, coupon, 0.3) for coupon in coupons))
        make_counters(coupons=[coupon.pk for coupon in coupons], campaigns=[])
    call("GET", ADDRESS, caller=caller)  # that a key was used is written once a minute
    with CaptureQueriesContext(connection) as queries:
        call("GET", ADDRESS + query, caller=caller)
    assert len(queries) == count, "\n".join(one["sql"] for one in queries)


def ids(response: HttpResponse) -> list[str]:
    return [offered["coupon"]["coupon_id"] for offered in response.json()["coupons"]]  # type: ignore[attr-defined]


def test_many_shoppers_at_once(call: Call, golden: Callable[..., None]) -> None:
    golden(call("POST", "recommendations", {"shopper_ids": ["ben", "anna"]}), "recommendations")
    asked = {"shopper_ids": ["anna", "anna"], "limit": 1, "campaign": "spring"}
    answer = call("POST", "recommendations", asked).json()  # type: ignore[attr-defined]
    assert [len(each["coupons"]) for each in answer["shoppers"]] == [1, 1]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "shopper_ids"),
        ({"shopper_ids": []}, "shopper_ids"),
        ({"shopper_ids": "anna"}, "shopper_ids"),
        ({"shopper_ids": ["x"] * 501}, "shopper_ids"),
        ({"shopper_ids": ["anna", "x" * 65]}, "shopper_ids.1"),
        ({"shopper_ids": ["anna"], "limit": 0}, "limit"),
        ([], "non_field_errors"),
    ],
)
def test_what_cannot_be_asked_of_many(body: object, field: str, call: Call) -> None:
    response = call("POST", "recommendations", body)
    assert response.status_code == 400
    assert list(response.json()["errors"]) == [field]  # type: ignore[attr-defined]


def test_the_number_of_queries_does_not_grow_with_the_shoppers(call: Call) -> None:
    Shopper.objects.bulk_create(Shopper(shopper_id=f"shopper-{number}") for number in range(100))

    def queries(count: int) -> int:
        asked = ["anna", *(f"shopper-{number}" for number in range(count)), "nobody"]
        call("POST", "recommendations", {"shopper_ids": asked})
        with CaptureQueriesContext(connection) as captured:
            call("POST", "recommendations", {"shopper_ids": asked})
        return len(captured)

    assert queries(2) == queries(100) <= 8
