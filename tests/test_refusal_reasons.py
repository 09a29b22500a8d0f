"""Why a coupon is not accepted, in words."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone, translation

from recommender.refusal_reasons import refusal_in_words
from recommender.rules.refusal import Refusal, RefusalCode

MOMENT = datetime(2024, 3, 1, 12, tzinfo=UTC)
#: Every code, with facts as the rules give them, and its sentence in both languages.
SENTENCES: list[tuple[str, dict[str, Any], str, str]] = [
    ("coupon_not_active", {}, "The coupon is not active.", "该优惠券未启用。"),
    ("terms_unknown", {}, "The coupon does not say what it takes off.", "该优惠券没有说明优惠内容。"),
    (
        "coupon_not_started",
        {"starts_at": MOMENT},
        "The coupon holds from March 1, 2024, 1 p.m. on.",
        "该优惠券自2024年3月1日 13:00起有效。",
    ),
    (
        "coupon_ended",
        {"ended_at": MOMENT},
        "Since March 1, 2024, 1 p.m. the coupon no longer holds.",
        "该优惠券已于2024年3月1日 13:00到期。",
    ),
    (
        "campaign_not_started",
        {"starts_at": MOMENT},
        "The campaign of the coupon runs from March 1, 2024, 1 p.m. on.",
        "该优惠券所属活动将于2024年3月1日 13:00开始。",
    ),
    (
        "campaign_ended",
        {"ended_at": MOMENT},
        "Since March 1, 2024, 1 p.m. the campaign of the coupon is over.",
        "该优惠券所属活动已于2024年3月1日 13:00结束。",
    ),
    (
        "sale_event_not_started",
        {"starts_at": MOMENT},
        "The sale event of the coupon runs from March 1, 2024, 1 p.m. on.",
        "该优惠券所属大促将于2024年3月1日 13:00开始。",
    ),
    (
        "sale_event_ended",
        {"ended_at": MOMENT},
        "Since March 1, 2024, 1 p.m. the sale event of the coupon is over.",
        "该优惠券所属大促已于2024年3月1日 13:00结束。",
    ),
    ("shopper_opted_out", {}, "The shopper asked not to be offered coupons.", "该顾客已选择不接收优惠券。"),
    (
        "not_in_segment",
        {},
        "The coupon is for certain shoppers, and this shopper is not among them.",
        "该优惠券仅限特定顾客使用，该顾客不在其中。",
    ),
    (
        "not_first_order",
        {},
        "The coupon is for a first order, and the shopper has ordered before.",
        "该优惠券仅限首单使用，该顾客已下过单。",
    ),
    (
        "group_not_joined",
        {"size": 3},
        "The coupon is for groups of 3 shoppers: join one or begin one.",
        "该优惠券需3位顾客成团使用：请参团或开团。",
    ),
    (
        "group_not_full",
        {"missing": 1, "closes_at": MOMENT},
        "Until March 1, 2024, 1 p.m. the group waits for 1 more shopper.",
        "该团还差1位顾客，将于2024年3月1日 13:00截止。",
    ),
    (
        "group_not_full",
        {"missing": 2, "closes_at": MOMENT},
        "Until March 1, 2024, 1 p.m. the group waits for 2 more shoppers.",
        "该团还差2位顾客，将于2024年3月1日 13:00截止。",
    ),
    (
        "group_not_filled_in_time",
        {"size": 3, "closed_at": MOMENT},
        "When the group closed on March 1, 2024, 1 p.m. it had fewer than 3 shoppers.",
        "该团截至2024年3月1日 13:00未满3位顾客，未能成团。",
    ),
    (
        "shopper_limit_reached",
        {"limit": 1},
        "The shopper used the coupon as often as one shopper may.",
        "该顾客使用该优惠券的次数已达每人上限。",
    ),
    (
        "month_limit_reached",
        {"limit": 2, "again_at": MOMENT},
        "The coupon may be used 2 times a month, and was. From March 1, 2024, 1 p.m. on it may be used again.",
        "该优惠券每人每月限用2次，本月已用完，自2024年3月1日 13:00起可再次使用。",
    ),
    (
        "week_limit_reached",
        {"limit": 1, "again_at": MOMENT},
        "The coupon may be used 1 time a week, and was. From March 1, 2024, 1 p.m. on it may be used again.",
        "该优惠券每人每周限用1次，本周已用完，自2024年3月1日 13:00起可再次使用。",
    ),
    (
        "day_limit_reached",
        {"limit": 1200, "again_at": MOMENT},
        "The coupon may be used 1,200 times a day, and was. From March 1, 2024, 1 p.m. on it may be used again.",
        "该优惠券每人每日限用1,200次，今日已用完，自2024年3月1日 13:00起可再次使用。",
    ),
    ("total_limit_reached", {"limit": 9}, "The coupon is used up.", "该优惠券已用完。"),
    ("nothing_it_is_for", {}, "Nothing in the basket is what the coupon is for.", "购物车中没有适用该优惠券的商品。"),
    (
        "minimum_spend_not_reached",
        {"min_spend": Decimal("1250.00"), "spend": Decimal("1249.50"), "missing": Decimal("0.50")},
        "0.50 more is needed of what the coupon is for: it holds from 1,250.00 up.",
        "适用商品还差0.50：满1,250.00可用。",
    ),
    (
        "too_few_items",
        {"needed": 3, "items": 2},
        "3 items of what the coupon is for are needed; the basket has 2.",
        "适用商品需满3件，购物车中有2件。",
    ),
    (
        "nothing_to_take_off",
        {},
        "There is nothing that the coupon could take off this basket.",
        "该优惠券在此购物车中没有可优惠的金额。",
    ),
    (
        "budget_used_up",
        {},
        "What is left of the coupon's budget does not pay for it.",
        "该优惠券剩余预算不足以支付本次优惠。",
    ),
    (
        "campaign_budget_used_up",
        {},
        "What is left of the campaign's budget does not pay for the coupon.",
        "活动剩余预算不足以支付该优惠券。",
    ),
    (
        "sale_event_hour_used_up",
        {"again_at": MOMENT},
        "What has come of the sale event's budget is used up. From March 1, 2024, 1 p.m. on there is more.",
        "大促本时段预算已用完，将于2024年3月1日 13:00继续发放。",
    ),
    (
        "sale_event_budget_used_up",
        {},
        "What is left of the sale event's budget does not pay for the coupon.",
        "大促剩余预算不足以支付该优惠券。",
    ),
    (
        "too_many_of_sale_event",
        {"most": 1, "others": ["A"]},
        "Of the sale event's coupons at most 1 may be used in a basket. Not beside A.",
        "每单最多可用1张大促优惠券，不能再与A同用。",
    ),
    (
        "too_many_of_sale_event",
        {"most": 2, "others": ["A", "B"]},
        "Of the sale event's coupons at most 2 may be used in a basket. Not beside A, B.",
        "每单最多可用2张大促优惠券，不能再与A, B同用。",
    ),
    (
        "too_many_beside_sale_event",
        {"most": 0, "others": ["A"]},
        "No other coupon may be used beside those of the sale event. Not beside A.",
        "大促优惠券不能与其他优惠券同用，不能与A同用。",
    ),
    (
        "too_many_beside_sale_event",
        {"most": 1, "others": ["A", "B"]},
        "Beside coupons of the sale event at most 1 other may be used. Not beside A, B.",
        "与大促优惠券同用的其他优惠券最多1张，不能再与A, B同用。",
    ),
    (
        "not_combinable",
        {"others": ["A", "B"]},
        "The coupon cannot be combined with A, B, which saves at least as much.",
        "该优惠券不能与A, B同时使用，后者优惠不低于该券。",
    ),
    (
        "one_of_its_group",
        {"others": ["A"]},
        "Of this coupon and A only one may be used.",
        "该优惠券与A只能使用其一。",
    ),
    (
        "nothing_left_to_take_off",
        {"others": ["A", "B"]},
        "A, B already take off all that this coupon could.",
        "A, B已抵扣该优惠券可优惠的全部金额。",
    ),
]


@pytest.mark.parametrize(("code", "facts", "english", "chinese"), SENTENCES)
def test_each_reason_has_words(code: str, facts: dict[str, Any], english: str, chinese: str) -> None:
    refusal = Refusal("c1", RefusalCode(code), facts)
    with timezone.override("Europe/Berlin"):
        with translation.override("en"):
            assert refusal_in_words(refusal) == english
        with translation.override("zh-hans"):
            assert refusal_in_words(refusal) == chinese


def test_no_code_is_without_words() -> None:
    assert {code for code, *_others in SENTENCES} == {str(code) for code in RefusalCode}
