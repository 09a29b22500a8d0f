"""Reasons in words."""

import pytest
from django.utils import translation

from recommender.reasons import KINDS, Reason, in_words, speaking_against, speaking_for, strength_in_words

RHYTHM = {"name": "yoghurt", "days": 6, "since_first": 56.0, "between": 9.0, "since_last": 11.0}


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ({"rhythm": RHYTHM}, "Bought yoghurt 6 times in 8 weeks, usually every 9 days, last 11 days ago"),
        (
            {"rhythm": RHYTHM | {"between": 1.0}},
            "Bought yoghurt 6 times in 8 weeks, usually every day, last 11 days ago",
        ),
        (
            {"rhythm": RHYTHM | {"days": 2, "between": None, "since_first": 10.2, "since_last": 0.3}},
            "Bought yoghurt 2 times in 10 days, last hours ago",
        ),
        ({"rhythm": RHYTHM | {"days": 1, "between": None, "since_last": 400.0}}, "Bought yoghurt once, 13 months ago"),
        (
            {"rhythm": RHYTHM | {"since_first": 1100.0, "since_last": 1.2}},
            "Bought yoghurt 6 times in 3 years, usually every 9 days, last 1 day ago",
        ),
        (
            {"rhythm": RHYTHM | {"between": 26.0, "since_last": 27.0}},
            "Bought yoghurt 6 times in 8 weeks, usually every 4 weeks, last 4 weeks ago",
        ),
        ({}, "Bought what this coupon is for once, 3 weeks ago"),
        ({"times": 1_200}, "Bought what this coupon is for 1,200 times, last 3 weeks ago"),
    ],
)
def test_own_purchases(reason: Reason, sentence: str) -> None:
    assert in_words([{"kind": "bought_products", "times": 1, "days_since_last": 20.0, **reason}]) == [sentence]


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (
            {"kind": "bought_category", "times": 9, "rhythm": RHYTHM | {"name": "Dairy"}},
            "Bought from Dairy 6 times in 8 weeks, usually every 9 days, last 11 days ago",
        ),
        ({"kind": "bought_category", "times": 1}, "Buys from the same part of the shop: once so far"),
        (
            {"kind": "bought_brand", "times": 9, "rhythm": RHYTHM | {"name": "Alm"}},
            "Bought the brand Alm 6 times in 8 weeks, usually every 9 days, last 11 days ago",
        ),
        ({"kind": "bought_brand", "times": 3}, "Buys the brand: 3 times so far"),
        (
            {"kind": "uses_coupons", "count": 1, "days_since_last": 3.0},
            "Used 1 coupon of the shop before, last 3 days ago",
        ),
        ({"kind": "uses_coupons", "count": 2}, "Used 2 coupons of the shop before"),
        ({"kind": "uses_no_coupons", "campaigns": 8}, "Was sent 8 campaigns and used none of their coupons"),
        ({"kind": "uses_no_coupons", "campaigns": 1}, "Was sent 1 campaign and used none of its coupons"),
        ({"kind": "uses_no_coupons", "campaigns": 0}, "Used no coupon of the shop before"),
        ({"kind": "uses_no_coupons"}, "Used no coupon of the shop before"),
        ({"kind": "pays_with_coupons", "days_since_last": 0.3}, "Last paid with a coupon of any kind hours ago"),
        ({"kind": "used_offer", "times": 1}, "Used this very offer once"),
        ({"kind": "used_offer", "times": 3}, "Used this very offer 3 times"),
        ({"kind": "buys_variety", "count": 1_043}, "Bought 1,043 different products so far"),
        ({"kind": "popular", "shoppers": 1_246}, "1,246 shoppers bought what this coupon is for"),
        ({"kind": "breadth", "products": 1}, "The coupon is good for 1 product"),
        ({"kind": "spends", "amount_a_month": 319.6}, "Spends about 320 a month"),
        (
            {"kind": "place_by_purchases", "place": 1, "coupons": 207},
            "The best match of 207 coupons for what the shopper buys",
        ),
        (
            {"kind": "place_by_purchases", "place": 3, "coupons": 207},
            "Among the best 3 of 207 coupons for what the shopper buys",
        ),
        (
            {"kind": "buys_more_than_others", "share": 0.96},
            "Buys more of what this coupon is for than 96 % of shoppers",
        ),
        (
            {"kind": "bought_with_coupons", "share": 0.314},
            "About 31 % of the purchases of what this coupon is for are made with coupons",
        ),
        ({"kind": "offer_used", "share": 0.0123}, "About 1.2 % of those who were sent this offer before used it"),
        (
            {"kind": "buys_often", "orders_a_month": 5.21, "days_since_last": 2.0},
            "Shops 5.2 times a month, last 2 days ago",
        ),
    ],
)
def test_other_reasons(reason: Reason, sentence: str) -> None:
    assert in_words([reason]) == [sentence]


def test_numbers_are_written_as_the_reader_writes_them() -> None:
    with translation.override("de"):
        (sentence,) = in_words([{"kind": "price", "price": 2.5}])

    assert "2,50" in sentence


@pytest.mark.parametrize(
    ("log_odds", "strength"),
    [(-0.2877, "odds × 0.75"), (0.0953, "odds × 1.10"), (0.8329, "odds × 2.3"), (3.0, "odds × 20")],
)
def test_strength(log_odds: float, strength: str) -> None:
    assert strength_in_words({"kind": "popular", "shoppers": 1, "log_odds": log_odds}) == strength


def test_a_strength_that_nobody_measured() -> None:
    assert not strength_in_words({"kind": "popular", "shoppers": 1})


def test_what_speaks_for_a_coupon_and_what_against_it() -> None:
    unmeasured, raises = {"kind": "never_bought"}, {"kind": "popular", "shoppers": 2, "log_odds": 0.5}
    lowers, without_words = {"kind": "uses_no_coupons", "log_odds": -0.5}, {"kind": "horoscope", "log_odds": -1.0}
    reasons = [unmeasured, raises, lowers, without_words]

    assert speaking_for(reasons) == [unmeasured, raises]
    assert speaking_against(reasons) == [lowers]
    with pytest.raises(KeyError, match="horoscope"):
        in_words([without_words])
    assert "horoscope" not in KINDS
