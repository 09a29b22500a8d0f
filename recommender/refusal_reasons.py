"""Why a coupon is not accepted, in words, in the reader's language. The rules know only codes and facts."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from recommender.rules.refusal import Refusal, RefusalCode

Facts = Mapping[str, Any]


def refusal_in_words(refusal: Refusal) -> str:
    """A sentence. Moments are told by the clock of the time zone that is active, amounts as the facts have them."""
    return _WORDS[refusal.code](refusal.facts)


def _moment(moment: datetime) -> str:
    return date_format(timezone.localtime(moment), "DATETIME_FORMAT")


def _amount(amount: Decimal) -> str:
    return number_format(amount, force_grouping=True)


def _count(count: int) -> str:
    return number_format(count, force_grouping=True)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)


def _not_active(facts: Facts) -> str:
    return _("The coupon is not active.")


def _terms_unknown(facts: Facts) -> str:
    return _("The coupon does not say what it takes off.")


def _not_started(facts: Facts) -> str:
    return _("The coupon holds from %(moment)s on.") % {"moment": _moment(facts["starts_at"])}


def _ended(facts: Facts) -> str:
    return _("Since %(moment)s the coupon no longer holds.") % {"moment": _moment(facts["ended_at"])}


def _campaign_not_started(facts: Facts) -> str:
    return _("The campaign of the coupon runs from %(moment)s on.") % {"moment": _moment(facts["starts_at"])}


def _campaign_ended(facts: Facts) -> str:
    return _("Since %(moment)s the campaign of the coupon is over.") % {"moment": _moment(facts["ended_at"])}


def _event_not_started(facts: Facts) -> str:
    return _("The sale event of the coupon runs from %(moment)s on.") % {"moment": _moment(facts["starts_at"])}


def _event_ended(facts: Facts) -> str:
    return _("Since %(moment)s the sale event of the coupon is over.") % {"moment": _moment(facts["ended_at"])}


def _opted_out(facts: Facts) -> str:
    return _("The shopper asked not to be offered coupons.")


def _not_in_segment(facts: Facts) -> str:
    return _("The coupon is for certain shoppers, and this shopper is not among them.")


def _not_first_order(facts: Facts) -> str:
    return _("The coupon is for a first order, and the shopper has ordered before.")


def _group_not_joined(facts: Facts) -> str:
    return _("The coupon is for groups of %(size)s shoppers: join one or begin one.") % {"size": _count(facts["size"])}


def _group_not_full(facts: Facts) -> str:
    return ngettext(
        "Until %(moment)s the group waits for %(missing)s more shopper.",
        "Until %(moment)s the group waits for %(missing)s more shoppers.",
        facts["missing"],
    ) % {"missing": _count(facts["missing"]), "moment": _moment(facts["closes_at"])}


def _group_not_filled(facts: Facts) -> str:
    return _("When the group closed on %(moment)s it had fewer than %(size)s shoppers.") % {
        "size": _count(facts["size"]),
        "moment": _moment(facts["closed_at"]),
    }


def _shopper_limit(facts: Facts) -> str:
    return _("The shopper used the coupon as often as one shopper may.")


def _again(facts: Facts) -> dict[str, str]:
    return {"limit": _count(facts["limit"]), "moment": _moment(facts["again_at"])}


def _month_limit(facts: Facts) -> str:
    return ngettext(
        "The coupon may be used %(limit)s time a month, and was. From %(moment)s on it may be used again.",
        "The coupon may be used %(limit)s times a month, and was. From %(moment)s on it may be used again.",
        facts["limit"],
    ) % _again(facts)


def _week_limit(facts: Facts) -> str:
    return ngettext(
        "The coupon may be used %(limit)s time a week, and was. From %(moment)s on it may be used again.",
        "The coupon may be used %(limit)s times a week, and was. From %(moment)s on it may be used again.",
        facts["limit"],
    ) % _again(facts)


def _day_limit(facts: Facts) -> str:
    return ngettext(
        "The coupon may be used %(limit)s time a day, and was. From %(moment)s on it may be used again.",
        "The coupon may be used %(limit)s times a day, and was. From %(moment)s on it may be used again.",
        facts["limit"],
    ) % _again(facts)


def _total_limit(facts: Facts) -> str:
    return _("The coupon is used up.")


def _no_target(facts: Facts) -> str:
    return _("Nothing in the basket is what the coupon is for.")


def _min_spend(facts: Facts) -> str:
    return _("%(missing)s more is needed of what the coupon is for: it holds from %(min_spend)s up.") % {
        "missing": _amount(facts["missing"]),
        "min_spend": _amount(facts["min_spend"]),
    }


def _too_few_items(facts: Facts) -> str:
    return _("%(needed)s items of what the coupon is for are needed; the basket has %(items)s.") % {
        "needed": _count(facts["needed"]),
        "items": _count(facts["items"]),
    }


def _nothing_to_take_off(facts: Facts) -> str:
    return _("There is nothing that the coupon could take off this basket.")


def _budget(facts: Facts) -> str:
    return _("What is left of the coupon's budget does not pay for it.")


def _campaign_budget(facts: Facts) -> str:
    return _("What is left of the campaign's budget does not pay for the coupon.")


def _event_hour(facts: Facts) -> str:
    return _("What has come of the sale event's budget is used up. From %(moment)s on there is more.") % {
        "moment": _moment(facts["again_at"])
    }


def _event_budget(facts: Facts) -> str:
    return _("What is left of the sale event's budget does not pay for the coupon.")


def _not_stackable(facts: Facts) -> str:
    return _("The coupon cannot be combined with %(others)s, which saves at least as much.") % {
        "others": _names(facts["others"])
    }


def _exclusion_group(facts: Facts) -> str:
    return _("Of this coupon and %(others)s only one may be used.") % {"others": _names(facts["others"])}


def _event_coupons(facts: Facts) -> str:
    return _("Of the sale event's coupons at most %(most)s may be used in a basket. Not beside %(others)s.") % {
        "most": _count(facts["most"]),
        "others": _names(facts["others"]),
    }


def _beside_event(facts: Facts) -> str:
    others = _names(facts["others"])
    if not facts["most"]:
        return _("No other coupon may be used beside those of the sale event. Not beside %(others)s.") % {
            "others": others
        }
    return ngettext(
        "Beside coupons of the sale event at most %(most)s other may be used. Not beside %(others)s.",
        "Beside coupons of the sale event at most %(most)s others may be used. Not beside %(others)s.",
        facts["most"],
    ) % {"most": _count(facts["most"]), "others": others}


def _nothing_left(facts: Facts) -> str:
    return _("%(others)s already take off all that this coupon could.") % {"others": _names(facts["others"])}


_WORDS: dict[RefusalCode, Callable[[Facts], str]] = {
    RefusalCode.NOT_ACTIVE: _not_active,
    RefusalCode.TERMS_UNKNOWN: _terms_unknown,
    RefusalCode.NOT_STARTED: _not_started,
    RefusalCode.ENDED: _ended,
    RefusalCode.CAMPAIGN_NOT_STARTED: _campaign_not_started,
    RefusalCode.CAMPAIGN_ENDED: _campaign_ended,
    RefusalCode.EVENT_NOT_STARTED: _event_not_started,
    RefusalCode.EVENT_ENDED: _event_ended,
    RefusalCode.OPTED_OUT: _opted_out,
    RefusalCode.NOT_IN_SEGMENT: _not_in_segment,
    RefusalCode.NOT_FIRST_ORDER: _not_first_order,
    RefusalCode.GROUP_NOT_JOINED: _group_not_joined,
    RefusalCode.GROUP_NOT_FULL: _group_not_full,
    RefusalCode.GROUP_NOT_FILLED: _group_not_filled,
    RefusalCode.SHOPPER_LIMIT: _shopper_limit,
    RefusalCode.MONTH_LIMIT: _month_limit,
    RefusalCode.WEEK_LIMIT: _week_limit,
    RefusalCode.DAY_LIMIT: _day_limit,
    RefusalCode.TOTAL_LIMIT: _total_limit,
    RefusalCode.NO_TARGET: _no_target,
    RefusalCode.MIN_SPEND: _min_spend,
    RefusalCode.TOO_FEW_ITEMS: _too_few_items,
    RefusalCode.NOTHING_TO_TAKE_OFF: _nothing_to_take_off,
    RefusalCode.BUDGET: _budget,
    RefusalCode.CAMPAIGN_BUDGET: _campaign_budget,
    RefusalCode.EVENT_HOUR: _event_hour,
    RefusalCode.EVENT_BUDGET: _event_budget,
    RefusalCode.NOT_STACKABLE: _not_stackable,
    RefusalCode.EXCLUSION_GROUP: _exclusion_group,
    RefusalCode.EVENT_COUPONS: _event_coupons,
    RefusalCode.BESIDE_EVENT: _beside_event,
    RefusalCode.NOTHING_LEFT: _nothing_left,
}
