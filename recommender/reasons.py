"""Reasons in words, in the reader's language. The model layer knows only kinds and facts.

``log_odds`` of a reason, where it has one, is by how much it moves the log-odds of the score: below 0 it speaks against
the coupon, which is for those to read who want to know why it is not offered, or not first.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, wraps
from math import exp
from threading import local
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import get_language, gettext, ngettext

Reason = Mapping[str, Any]


class _Speaking(local):
    """The language of the list that is put into words, looked up once a list: there are dozens of words in one."""

    language: str | None = None


_speaking = _Speaking()


def _once_a_language(spell: Callable[..., str]) -> Callable[..., str]:
    """Remember what comes of a message, or of small numbers: the same return in every list."""

    @lru_cache(maxsize=4096)
    def spell_in(language: str | None, *given: Any) -> str:
        return spell(*given)

    @wraps(spell)
    def spelled(*given: Any) -> str:
        return spell_in(_speaking.language or get_language(), *given)

    return spelled


_ = _once_a_language(gettext)

DAYS_A_WEEK, DAYS_A_MONTH, DAYS_A_YEAR = 7, 30.4, 365.25


def speaking_for(reasons: Iterable[Reason]) -> list[Reason]:
    """Those that raise the score. Kinds without words are left out: a list may be older than a release that dropped
    one."""
    return [reason for reason in reasons if reason["kind"] in KINDS and reason.get("log_odds", 0) >= 0]


def speaking_against(reasons: Iterable[Reason]) -> list[Reason]:
    """Those that lower the score, likewise."""
    return [reason for reason in reasons if reason["kind"] in KINDS and reason.get("log_odds", 0) < 0]


def in_words(reasons: Iterable[Reason], *, language: str | None = None) -> list[str]:
    """One sentence a reason, without its full stop. ``language`` is the reader's, for who knows it already.

    Raises:
        KeyError: a kind that has no words.
    """
    _speaking.language = language or get_language()
    try:
        return [_WORDS[reason["kind"]](reason) for reason in reasons]
    finally:
        _speaking.language = None


def strength_in_words(reason: Reason) -> str:
    """How many times the odds of use are for this reason, such as “odds × 2.3”; empty where it is not known."""
    if "log_odds" not in reason:
        return ""
    factor = exp(reason["log_odds"])
    decimals = 2 if factor < 2 else 1 if factor < 10 else 0
    return _("odds × %(factor)s") % {"factor": _number(factor, decimals)}


# Numbers in words


@_once_a_language
def _times(count: int) -> str:
    if count == 1:
        return _("once")
    return ngettext("%(count)s time", "%(count)s times", count) % {"count": _number(count)}


def _duration(days: float) -> str:
    return _spell_duration(*_in_units(days))


def _in_units(days: float) -> tuple[float, int]:
    """In the unit that leaves a small number of them: its days, and how many."""
    if days < 2 * DAYS_A_WEEK:
        return 1, round(days)
    if days < 3 * DAYS_A_MONTH:
        return DAYS_A_WEEK, round(days / DAYS_A_WEEK)
    if days < 2 * DAYS_A_YEAR:
        return DAYS_A_MONTH, round(days / DAYS_A_MONTH)
    return DAYS_A_YEAR, round(days / DAYS_A_YEAR)


@_once_a_language
def _spell_duration(unit: float, count: int) -> str:
    spelled = {
        1: ngettext("%(count)d day", "%(count)d days", count),
        DAYS_A_WEEK: ngettext("%(count)d week", "%(count)d weeks", count),
        DAYS_A_MONTH: ngettext("%(count)d month", "%(count)d months", count),
        DAYS_A_YEAR: ngettext("%(count)d year", "%(count)d years", count),
    }
    return spelled[unit] % {"count": count}


def _ago(days: float) -> str:
    return _spell_ago(*_in_units(days))


@_once_a_language
def _spell_ago(unit: float, count: int) -> str:
    if count == 0:
        return _("hours ago")
    return _("%(duration)s ago") % {"duration": _spell_duration(unit, count)}


def _number(value: float, decimals: int = 0) -> str:
    # which by itself would cut, not round
    return _spell_number(round(value, decimals), decimals)


@_once_a_language
def _spell_number(rounded: float, decimals: int) -> str:
    return number_format(rounded, decimals, force_grouping=True)


def _percent(share: float) -> str:
    return _number(100 * share, 0 if share >= 0.1 else 1) + " %"


def _rhythm(rhythm: Mapping[str, Any]) -> str:
    """How often, at what rhythm and when last: “6 times in 8 weeks, usually every 9 days, last 11 days ago”."""
    last = _ago(rhythm["since_last"])
    if rhythm["days"] == 1:
        return _("once, %(last)s") % {"last": last}
    facts = {"times": _times(rhythm["days"]), "span": _duration(rhythm["since_first"]), "last": last}
    if rhythm["between"] is None:
        return _("%(times)s in %(span)s, last %(last)s") % facts
    between = rhythm["between"]
    every = _("every day") if round(between) == 1 else _("every %(duration)s") % {"duration": _duration(between)}
    return _("%(times)s in %(span)s, usually %(every)s, last %(last)s") % {**facts, "every": every}


# Words by kind


def _bought_products(reason: Reason) -> str:
    if rhythm := reason.get("rhythm"):
        return _("Bought %(name)s %(rhythm)s") % {"name": rhythm["name"], "rhythm": _rhythm(rhythm)}
    last = _ago(reason["days_since_last"])
    if reason["times"] == 1:
        return _("Bought what this coupon is for once, %(last)s") % {"last": last}
    return _("Bought what this coupon is for %(times)s, last %(last)s") % {
        "times": _times(reason["times"]),
        "last": last,
    }


def _bought_category(reason: Reason) -> str:
    if rhythm := reason.get("rhythm"):
        return _("Bought from %(name)s %(rhythm)s") % {"name": rhythm["name"], "rhythm": _rhythm(rhythm)}
    return _("Buys from the same part of the shop: %(times)s so far") % {"times": _times(reason["times"])}


def _bought_brand(reason: Reason) -> str:
    if rhythm := reason.get("rhythm"):
        return _("Bought the brand %(name)s %(rhythm)s") % {"name": rhythm["name"], "rhythm": _rhythm(rhythm)}
    return _("Buys the brand: %(times)s so far") % {"times": _times(reason["times"])}


def _never_bought(reason: Reason) -> str:
    return _("Never bought what this coupon is for")


def _never_bought_category(reason: Reason) -> str:
    return _("Never bought from the same part of the shop")


def _nothing_particular(reason: Reason) -> str:
    return _("Nothing in particular speaks for it")


def _uses_coupons(reason: Reason) -> str:
    used = ngettext(
        "Used %(count)s coupon of the shop before", "Used %(count)s coupons of the shop before", reason["count"]
    ) % {"count": _number(reason["count"])}
    if "days_since_last" not in reason:
        return used
    return _("%(used)s, last %(ago)s") % {"used": used, "ago": _ago(reason["days_since_last"])}


def _uses_no_coupons(reason: Reason) -> str:
    if not (campaigns := reason.get("campaigns")):
        return _("Used no coupon of the shop before")
    return ngettext(
        "Was sent %(campaigns)s campaign and used none of its coupons",
        "Was sent %(campaigns)s campaigns and used none of their coupons",
        campaigns,
    ) % {"campaigns": _number(campaigns)}


def _pays_with_coupons(reason: Reason) -> str:
    return _("Last paid with a coupon of any kind %(ago)s") % {"ago": _ago(reason["days_since_last"])}


def _buys_at_a_discount(reason: Reason) -> str:
    return _("Saves %(share)s of the price by discounts") % {"share": _percent(reason["share"])}


def _clicks_coupons(reason: Reason) -> str:
    return _("Clicked on or claimed coupons before")


def _used_offer(reason: Reason) -> str:
    return _("Used this very offer %(times)s") % {"times": _times(reason["times"])}


def _clicked_offer(reason: Reason) -> str:
    return _("Clicked on or claimed this very offer before")


def _likely_to_buy(reason: Reason) -> str:
    return _("Chance of buying what this coupon is for within %(days)d days: %(probability)s") % {
        "days": reason["days"],
        "probability": _percent(reason["probability"]),
    }


def _place_by_purchases(reason: Reason) -> str:
    return ngettext(
        "The best match of %(coupons)d coupons for what the shopper buys",
        "Among the best %(place)d of %(coupons)d coupons for what the shopper buys",
        reason["place"],
    ) % {"place": reason["place"], "coupons": reason["coupons"]}


def _place_by_category(reason: Reason) -> str:
    return ngettext(
        "The best match of %(coupons)d coupons for the parts of the shop that the shopper buys from",
        "Among the best %(place)d of %(coupons)d coupons for the parts of the shop that the shopper buys from",
        reason["place"],
    ) % {"place": reason["place"], "coupons": reason["coupons"]}


def _place_by_chance(reason: Reason) -> str:
    return ngettext(
        "Of %(coupons)d coupons the one whose products the shopper is most likely to buy",
        "Among the %(place)d of %(coupons)d coupons whose products the shopper is most likely to buy",
        reason["place"],
    ) % {"place": reason["place"], "coupons": reason["coupons"]}


def _buys_more_than_others(reason: Reason) -> str:
    return _("Buys more of what this coupon is for than %(share)s of shoppers") % {"share": _percent(reason["share"])}


def _buys_more_of_category_than_others(reason: Reason) -> str:
    return _("Buys more from this part of the shop than %(share)s of shoppers") % {"share": _percent(reason["share"])}


def _buys_often(reason: Reason) -> str:
    return _("Shops %(frequency)s times a month, last %(ago)s") % {
        "frequency": _number(reason["orders_a_month"], 1),
        "ago": _ago(reason["days_since_last"]),
    }


def _buys_variety(reason: Reason) -> str:
    return ngettext(
        "Bought %(count)s product so far", "Bought %(count)s different products so far", reason["count"]
    ) % {"count": _number(reason["count"])}


def _spends(reason: Reason) -> str:
    return _("Spends about %(amount)s a month") % {"amount": _number(reason["amount_a_month"])}


def _similar_shoppers(reason: Reason) -> str:
    return _("Shoppers with similar purchases buy what this coupon is for")


def _similar_products(reason: Reason) -> str:
    return _("What this coupon is for goes with what the shopper buys")


def _suits_taste(reason: Reason) -> str:
    return _("What this coupon is for is nearer to the shopper's taste than to that of %(share)s of shoppers") % {
        "share": _percent(reason["share"])
    }


def _goes_with_purchases(reason: Reason) -> str:
    return _("What the shopper buys elsewhere goes with this part of the shop, more than for %(share)s of shoppers") % {
        "share": _percent(reason["share"])
    }


def _people_alike_use_coupons(reason: Reason) -> str:
    return _("Shoppers with the same attributes use coupons %(factor)s times as often as others") % {
        "factor": _number(reason["factor"], 2)
    }


def _popular(reason: Reason) -> str:
    return ngettext(
        "%(shoppers)s shopper bought what this coupon is for",
        "%(shoppers)s shoppers bought what this coupon is for",
        reason["shoppers"],
    ) % {"shoppers": _number(reason["shoppers"])}


def _bought_with_coupons(reason: Reason) -> str:
    return _("About %(share)s of the purchases of what this coupon is for are made with coupons") % {
        "share": _percent(reason["share"])
    }


def _offer_used(reason: Reason) -> str:
    return _("About %(share)s of those who were sent this offer before used it") % {"share": _percent(reason["share"])}


def _breadth(reason: Reason) -> str:
    return ngettext(
        "The coupon is good for %(products)s product",
        "The coupon is good for %(products)s products",
        reason["products"],
    ) % {"products": _number(reason["products"])}


def _price(reason: Reason) -> str:
    return _("What this coupon is for costs about %(price)s") % {"price": _number(reason["price"], 2)}


def _part_wears(reason: Reason) -> str:
    worn = _("The part of the shopper's device that this coupon is for has used %(share)s of its life") % {
        "share": _percent(reason["share"])
    }
    if not 0 < reason["days"] < DAYS_A_YEAR - 1:
        return worn
    return _("%(worn)s, and is worn out in about %(duration)s") % {
        "worn": worn,
        "duration": _duration(max(1, reason["days"])),
    }


def _fits_own_device(reason: Reason) -> str:
    return _("What this coupon is for fits a device of the shopper's")


def _fits_no_own_device(reason: Reason) -> str:
    return _("What this coupon is for fits no device of the shopper's")


def _keeps_for(reason: Reason) -> str:
    return _("What is in stock of what this coupon is for keeps for about %(duration)s") % {
        "duration": _duration(max(1, reason["days"]))
    }


def _bought_every(reason: Reason) -> str:
    every = _duration(max(1, reason["days"]))
    if reason["ago"] is None:
        return _("The shopper bought such things about every %(duration)s, but not for long") % {"duration": every}
    return _("The shopper buys such things about every %(duration)s, and last did %(ago)s") % {
        "duration": every,
        "ago": _ago(reason["ago"]),
    }


def _season(reason: Reason) -> str:
    return _("At this time of the year such things sell %(factor)s times as well as usual") % {
        "factor": _number(reason["factor"], 2)
    }


def _needed_in_project(reason: Reason) -> str:
    if reason["stages"] == 0:
        return _("What this coupon is for is needed in the stage of a project that the shopper is at")
    if reason["stages"] == 1:
        return _("What this coupon is for is needed next in a project of the shopper's")
    return _("What this coupon is for is needed %(stages)s stages later in a project of the shopper's") % {
        "stages": _number(reason["stages"])
    }


def _behind_in_project(reason: Reason) -> str:
    return _("What this coupon is for was needed in a stage of the shopper's project that is over")


def _bought_for_project(reason: Reason) -> str:
    return _("The shopper has bought such things for this project already")


def _project_went_on(reason: Reason) -> str:
    return _("The shopper last bought for this project %(ago)s") % {"ago": _ago(reason["days"])}


def _finished_project(reason: Reason) -> str:
    return _("What this coupon is for is of a project that the shopper has finished")


_WORDS = {
    "bought_products": _bought_products,
    "bought_category": _bought_category,
    "bought_brand": _bought_brand,
    "never_bought": _never_bought,
    "never_bought_category": _never_bought_category,
    "nothing_particular": _nothing_particular,
    "uses_coupons": _uses_coupons,
    "uses_no_coupons": _uses_no_coupons,
    "pays_with_coupons": _pays_with_coupons,
    "buys_at_a_discount": _buys_at_a_discount,
    "clicks_coupons": _clicks_coupons,
    "used_offer": _used_offer,
    "clicked_offer": _clicked_offer,
    "likely_to_buy": _likely_to_buy,
    "place_by_purchases": _place_by_purchases,
    "place_by_category": _place_by_category,
    "place_by_chance": _place_by_chance,
    "buys_more_than_others": _buys_more_than_others,
    "buys_more_of_category_than_others": _buys_more_of_category_than_others,
    "buys_often": _buys_often,
    "buys_variety": _buys_variety,
    "spends": _spends,
    "suits_taste": _suits_taste,
    "goes_with_purchases": _goes_with_purchases,
    "people_alike_use_coupons": _people_alike_use_coupons,
    "people_alike_use_few_coupons": _people_alike_use_coupons,
    "similar_shoppers": _similar_shoppers,
    "similar_products": _similar_products,
    "popular": _popular,
    "bought_with_coupons": _bought_with_coupons,
    "offer_used": _offer_used,
    "breadth": _breadth,
    "price": _price,
    "part_wears": _part_wears,
    "fits_own_device": _fits_own_device,
    "fits_no_own_device": _fits_no_own_device,
    "needed_in_project": _needed_in_project,
    "behind_in_project": _behind_in_project,
    "bought_for_project": _bought_for_project,
    "project_went_on": _project_went_on,
    "finished_project": _finished_project,
    "keeps_for": _keeps_for,
    "bought_every": _bought_every,
    "in_season": _season,
    "out_of_season": _season,
}

#: Every kind that has words; the contract test of the algorithms holds theirs against it.
KINDS = frozenset(_WORDS)
