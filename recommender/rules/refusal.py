"""Why a coupon is not accepted, as a code for machines and facts for the sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from recommender.rules.offer import SaleEvent


class RefusalCode(StrEnum):
    """Codes are answered by the API: none is renamed."""

    # By the moment and the shopper, whatever the basket
    NOT_ACTIVE = "coupon_not_active"
    TERMS_UNKNOWN = "terms_unknown"
    NOT_STARTED = "coupon_not_started"  # starts_at
    ENDED = "coupon_ended"  # ended_at
    CAMPAIGN_NOT_STARTED = "campaign_not_started"  # starts_at
    CAMPAIGN_ENDED = "campaign_ended"  # ended_at
    EVENT_NOT_STARTED = "sale_event_not_started"  # starts_at
    EVENT_ENDED = "sale_event_ended"  # ended_at
    OPTED_OUT = "shopper_opted_out"
    NOT_IN_SEGMENT = "not_in_segment"
    NOT_FIRST_ORDER = "not_first_order"
    GROUP_NOT_JOINED = "group_not_joined"  # size
    GROUP_NOT_FULL = "group_not_full"  # missing, closes_at
    GROUP_NOT_FILLED = "group_not_filled_in_time"  # size, closed_at
    SHOPPER_LIMIT = "shopper_limit_reached"  # limit
    MONTH_LIMIT = "month_limit_reached"  # limit, again_at
    WEEK_LIMIT = "week_limit_reached"  # limit, again_at
    DAY_LIMIT = "day_limit_reached"  # limit, again_at
    TOTAL_LIMIT = "total_limit_reached"  # limit
    # By the basket
    NO_TARGET = "nothing_it_is_for"
    MIN_SPEND = "minimum_spend_not_reached"  # min_spend, spend, missing
    TOO_FEW_ITEMS = "too_few_items"  # needed, items
    NOTHING_TO_TAKE_OFF = "nothing_to_take_off"
    # By the money that is left
    BUDGET = "budget_used_up"
    CAMPAIGN_BUDGET = "campaign_budget_used_up"
    EVENT_HOUR = "sale_event_hour_used_up"  # again_at
    EVENT_BUDGET = "sale_event_budget_used_up"
    # By the other coupons
    NOT_STACKABLE = "not_combinable"  # others
    EXCLUSION_GROUP = "one_of_its_group"  # others
    EVENT_COUPONS = "too_many_of_sale_event"  # most, others
    BESIDE_EVENT = "too_many_beside_sale_event"  # most, others
    NOTHING_LEFT = "nothing_left_to_take_off"  # others


@dataclass(frozen=True, slots=True)
class Refusal:
    """A coupon that is not accepted. ``facts`` are those that stand beside the code above."""

    coupon_id: str
    code: RefusalCode
    facts: Mapping[str, Any] = field(default_factory=dict)


def event_budget_refusal(event: SaleEvent) -> tuple[RefusalCode, dict[str, Any]]:
    """That what came of an event's budget is used up, and when more comes if it does."""
    if event.more_at is None:
        return RefusalCode.EVENT_BUDGET, {}
    return RefusalCode.EVENT_HOUR, {"again_at": event.more_at}
