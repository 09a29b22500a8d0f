"""Reasons in words, in the reader's language. The model layer knows only kinds and facts."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext


def in_words(reasons: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence a reason, without its full stop.

    Raises:
        KeyError: a kind that has no words.
    """
    return [_WORDS[reason["kind"]](reason) for reason in reasons]


def _days_ago(days: float) -> str:
    whole = round(days)
    return ngettext("%(days)d day ago", "%(days)d days ago", whole) % {"days": whole}


def _percent(share: float) -> str:
    return number_format(100 * share, decimal_pos=0 if share >= 0.1 else 1) + " %"


def _bought_products(reason: Mapping[str, Any]) -> str:
    times = ngettext("%(times)d time", "%(times)d times", reason["times"]) % {"times": reason["times"]}
    return _("Bought what this coupon is for %(times)s, last %(ago)s") % {
        "times": times,
        "ago": _days_ago(reason["days_since_last"]),
    }


def _bought_category(reason: Mapping[str, Any]) -> str:
    return _("Buys from the same part of the shop: %(times)d times so far") % {"times": reason["times"]}


def _bought_brand(reason: Mapping[str, Any]) -> str:
    return _("Buys the brand: %(times)d times so far") % {"times": reason["times"]}


def _never_bought(reason: Mapping[str, Any]) -> str:
    return _("Never bought what this coupon is for")


def _uses_coupons(reason: Mapping[str, Any]) -> str:
    return ngettext("Used %(count)d coupon before", "Used %(count)d coupons before", reason["count"]) % {
        "count": reason["count"]
    }


def _uses_no_coupons(reason: Mapping[str, Any]) -> str:
    return _("Used no coupon before")


def _used_offer(reason: Mapping[str, Any]) -> str:
    return ngettext("Used this very offer %(times)d time", "Used this very offer %(times)d times", reason["times"]) % {
        "times": reason["times"]
    }


def _likely_to_buy(reason: Mapping[str, Any]) -> str:
    return _("Chance of buying what it is for within %(days)d days: %(probability)s") % {
        "days": reason["days"],
        "probability": _percent(reason["probability"]),
    }


def _buys_often(reason: Mapping[str, Any]) -> str:
    return _("Buys %(frequency)s times a month") % {"frequency": number_format(reason["orders_a_month"], decimal_pos=1)}


def _buys_variety(reason: Mapping[str, Any]) -> str:
    return _("Buys %(count)d different products") % {"count": reason["count"]}


def _spends(reason: Mapping[str, Any]) -> str:
    return _("Spends %(amount)s a month") % {"amount": number_format(reason["amount_a_month"], decimal_pos=0)}


def _bought_lately(reason: Mapping[str, Any]) -> str:
    return _("Last bought something %(ago)s") % {"ago": _days_ago(reason["days_since_last"])}


def _similar_shoppers(reason: Mapping[str, Any]) -> str:
    return _("Shoppers who buy alike buy what this coupon is for")


def _similar_products(reason: Mapping[str, Any]) -> str:
    return _("What this coupon is for goes with what the shopper buys")


def _popular(reason: Mapping[str, Any]) -> str:
    return ngettext(
        "%(shoppers)d shopper bought what this coupon is for",
        "%(shoppers)d shoppers bought what this coupon is for",
        reason["shoppers"],
    ) % {"shoppers": reason["shoppers"]}


def _offer_used(reason: Mapping[str, Any]) -> str:
    return _("%(share)s of those who were sent this offer before used it") % {"share": _percent(reason["share"])}


def _breadth(reason: Mapping[str, Any]) -> str:
    return ngettext(
        "The coupon is good for %(products)d product",
        "The coupon is good for %(products)d products",
        reason["products"],
    ) % {"products": reason["products"]}


_WORDS = {
    "bought_products": _bought_products,
    "bought_category": _bought_category,
    "bought_brand": _bought_brand,
    "never_bought": _never_bought,
    "uses_coupons": _uses_coupons,
    "uses_no_coupons": _uses_no_coupons,
    "used_offer": _used_offer,
    "likely_to_buy": _likely_to_buy,
    "buys_often": _buys_often,
    "buys_variety": _buys_variety,
    "spends": _spends,
    "bought_lately": _bought_lately,
    "similar_shoppers": _similar_shoppers,
    "similar_products": _similar_products,
    "popular": _popular,
    "offer_used": _offer_used,
    "breadth": _breadth,
}

#: Every kind that has words; the contract test of the algorithms holds theirs against it.
KINDS = frozenset(_WORDS)
