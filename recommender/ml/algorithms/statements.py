"""What can be said of a (shopper, coupon) pair, and the features through which a model knows of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log
from typing import Any

from recommender.ml import features as f
from recommender.ml import shopper_profile as profile
from recommender.ml.behaviour import HORIZON
from recommender.ml.contract import Reason
from recommender.ml.devices import DAYS_UNTIL_WORN, FITTED_DEVICES, MAY_HAVE, WORN_SHARE
from recommender.ml.freshness import DAYS_GOOD, GONE_SHARE, MOST_DAYS_GOOD, MOST_GONE, SEASON, USUAL_GAP, VISITS
from recommender.ml.people_alike import USE_BY_PEOPLE_ALIKE
from recommender.ml.product_sets import BUYERS
from recommender.ml.projects import (
    BOUGHT_ALREADY,
    DAYS_IN_STAGE,
    IN_PROJECT,
    MOST_STAGES,
    NOT_FINISHED,
    STAGE_GONE,
    STAGES_AHEAD,
    STAGES_BEHIND,
)
from recommender.ml.purchases import DAYS_SINCE_LAST, FADED_AMOUNT, FADED_TIMES, HALF_LIFE, TIMES
from recommender.ml.standing import PER_MILLE
from recommender.ml.tastes import NOT_KNOWN

DAYS_A_MONTH = 30.4

#: The features of a pair by name.
Row = dict[str, Any]
#: What is said of a pair; None where there is nothing that one would say.
Saying = Callable[[Row], Reason | None]


def _nothing(row: Row) -> Reason | None:
    return None


@dataclass(frozen=True)
class Statement:
    """Something that can be said of pairs.

    Attributes:
        group: the group of :data:`~recommender.ml.features.GROUPS` that it is about.
        features: those of the group that hold it; no two statements share one.
        reason: what is said where they raise a score.
        objection: what is said where they lower it.
    """

    group: str
    features: tuple[str, ...]
    reason: Saying
    objection: Saying = _nothing


def _count(kind: str, fact: str, feature: str) -> Saying:
    """A reason that counts something; none where there is nothing to count."""

    def reason(row: Row) -> Reason | None:
        count = round(row[feature])
        return {"kind": kind, fact: count} if count else None

    return reason


def _amount(kind: str, fact: str, feature: str) -> Saying:
    """A reason that names an amount or a share; none where it is 0."""
    return lambda row: {"kind": kind, fact: round(row[feature], 4)} if row[feature] > 0 else None


def _rate(kind: str, feature: str, prior: float) -> Saying:
    """A reason that names a rate which is drawn towards a prior; none up to it, where there may be nothing to know."""
    return lambda row: {"kind": kind, "share": round(row[feature], 4)} if row[feature] > 1.01 * prior else None


def _absence(kind: str, feature: str) -> Saying:
    """An objection that something never was."""
    return lambda row: {"kind": kind} if not row[feature] else None


def likely_to_buy(row: Row) -> Reason:
    return {"kind": "likely_to_buy", "probability": round(row[f.LIKELY_TO_BUY], 4), "days": HORIZON.days}


def _own_purchases(row: Row) -> Reason | None:
    bought = _count("bought_products", "times", TIMES)(row)
    return bought and {**bought, "days_since_last": round(row[DAYS_SINCE_LAST], 1)}


def _redemptions(row: Row) -> Reason | None:
    used = _count("uses_coupons", "count", profile.REDEMPTIONS)(row)
    return used and {**used, "days_since_last": round(row[profile.DAYS_SINCE_LAST_REDEMPTION], 1)}


def _few_redemptions(row: Row) -> Reason:
    return _redemptions(row) or {"kind": "uses_no_coupons", "campaigns": int(row[profile.CAMPAIGNS_RECEIVED])}


def _orders_with_coupon(row: Row) -> Reason | None:
    if not row[profile.COUPON_ORDERS]:
        return None
    return {"kind": "pays_with_coupons", "days_since_last": round(row[profile.DAYS_SINCE_LAST_COUPON], 1)}


def _a_month(faded: float) -> float:
    # A steady stream, faded by the half-life, adds up to its daily rate × half-life / ln 2.
    return round(faded * DAYS_A_MONTH * log(2) / HALF_LIFE, 2)


def _activity(row: Row) -> Reason | None:
    if not row[profile.FREQUENCY]:
        return None
    return {
        "kind": "buys_often",
        "orders_a_month": _a_month(row[profile.FREQUENCY]),
        "days_since_last": round(row[profile.DAYS_SINCE_LAST_ORDER], 1),
    }


def _spending(row: Row) -> Reason | None:
    return {"kind": "spends", "amount_a_month": _a_month(row[profile.SPEND])} if row[profile.SPEND] else None


def _place(kind: str, affinity: str) -> tuple[Saying, Saying]:
    """A coupon's place in the shopper's list, as a reason in the upper half and as an objection in the lower one."""
    share_of_best, rank = f.standing_in_the_list(affinity)

    def place(row: Row) -> Reason:
        # Equal ones share the middle of their places: a half is rounded to the one that claims less.
        return {"kind": kind, "place": ceil(row[rank]) + 1, "coupons": int(row[f.COUPONS_ON_OFFER])}

    def is_upper(row: Row) -> bool:
        return bool(row[share_of_best] > 0 and row[rank] < (row[f.COUPONS_ON_OFFER] - 1) / 2)

    return lambda row: place(row) if is_upper(row) else None, lambda row: None if is_upper(row) else place(row)


def _more_than_others(kind: str, affinity: str, *, without_any: float = 0.0) -> Saying:
    """A reason that names the share of shoppers who have less of an affinity, where it is more than a half."""
    above, _ = f.standing_among_shoppers(affinity)

    def reason(row: Row) -> Reason | None:
        below = floor(100 * (1 - row[above] / PER_MILLE)) / 100  # nobody has more than all, themselves included
        return {"kind": kind, "share": below} if row[affinity] > without_any and below > 0.5 else None

    return reason


def _people_alike(row: Row) -> Reason | None:
    factor = round(row[USE_BY_PEOPLE_ALIKE], 2)
    return {"kind": "people_alike_use_coupons", "factor": factor} if factor > 1 else None


def _people_alike_do_not(row: Row) -> Reason | None:
    factor = round(row[USE_BY_PEOPLE_ALIKE], 2)
    return {"kind": "people_alike_use_few_coupons", "factor": factor} if factor < 1 else None


def _wear(row: Row) -> Reason | None:
    if not row[WORN_SHARE]:
        return None
    return {"kind": "part_wears", "share": round(row[WORN_SHARE], 4), "days": round(row[DAYS_UNTIL_WORN], 1)}


def _fit(row: Row) -> Reason | None:
    return {"kind": "fits_own_device"} if row[FITTED_DEVICES] else None


def _no_fit(row: Row) -> Reason | None:
    return None if row[MAY_HAVE] else {"kind": "fits_no_own_device"}


def _keeping(row: Row) -> Reason | None:
    return {"kind": "keeps_for", "days": round(row[DAYS_GOOD], 1)} if row[DAYS_GOOD] < MOST_DAYS_GOOD else None


def _rhythm(row: Row) -> Reason | None:
    if not row[GONE_SHARE]:
        return None
    gap, gone = row[USUAL_GAP], row[GONE_SHARE]
    ago = round(gap * gone, 1) if gone < MOST_GONE else None  # or it is long ago
    return {"kind": "bought_every", "days": round(gap, 1), "ago": ago}


def _stage(row: Row) -> Reason | None:
    if not row[IN_PROJECT] or row[STAGES_AHEAD] >= MOST_STAGES:
        return None
    return {"kind": "needed_in_project", "stages": round(row[STAGES_AHEAD])}


def _other_stage(row: Row) -> Reason | None:
    behind = round(row[STAGES_BEHIND])
    if row[BOUGHT_ALREADY]:
        return {"kind": "bought_for_project"}
    return {"kind": "behind_in_project", "stages": behind} if behind else _stage(row)


def _time_in_stage(row: Row) -> Reason | None:
    return {"kind": "project_went_on", "days": round(row[DAYS_IN_STAGE], 1)} if row[IN_PROJECT] else None


def _finished_project(row: Row) -> Reason | None:
    return None if row[NOT_FINISHED] else {"kind": "finished_project"}


def _standing_in_the_list(kind: str, fact: str, affinities: Sequence[str]) -> Statement:
    features = tuple(feature for affinity in affinities for feature in f.standing_in_the_list(affinity))
    return Statement("standing in the list", features, *_place(kind, fact))


def _standing_among_shoppers(kind: str, fact: str, affinities: Sequence[str]) -> Statement:
    features = tuple(feature for affinity in affinities for feature in f.standing_among_shoppers(affinity))
    return Statement("standing among shoppers", features, _more_than_others(kind, fact))


def _whole(group: str, reason: Saying, objection: Saying = _nothing) -> Statement:
    return Statement(group, f.GROUPS[group], reason, objection)


#: All that can be said.
STATEMENTS: tuple[Statement, ...] = (
    _whole("own purchases", _own_purchases, lambda row: _own_purchases(row) or {"kind": "never_bought"}),
    _whole("behaviour", likely_to_buy, likely_to_buy),
    _whole(
        "category",
        _count("bought_category", "times", f.CATEGORY_TIMES),
        _absence("never_bought_category", f.CATEGORY_TIMES),
    ),
    _whole("brand", _count("bought_brand", "times", f.BRAND_TIMES)),
    _standing_in_the_list("place_by_purchases", FADED_TIMES, (*f.OWN_STANDINGS, FADED_AMOUNT)),
    _standing_in_the_list("place_by_category", f.CATEGORY_FADED_TIMES, f.CATEGORY_STANDINGS),
    _standing_in_the_list("place_by_chance", f.LIKELY_TO_BUY, (f.LIKELY_TO_BUY,)),
    _standing_among_shoppers("buys_more_than_others", FADED_TIMES, f.OWN_STANDINGS),
    _standing_among_shoppers("buys_more_of_category_than_others", f.CATEGORY_FADED_TIMES, f.CATEGORY_STANDINGS),
    _whole("taste", _more_than_others("suits_taste", f.TASTE, without_any=NOT_KNOWN)),
    _whole("association", _more_than_others("goes_with_purchases", f.ASSOCIATION, without_any=NOT_KNOWN)),
    _whole("people alike", _people_alike, _people_alike_do_not),
    Statement(
        "coupon habit",
        (
            profile.COUPON_USE_RATE,
            profile.CAMPAIGN_USE_RATE,
            profile.REDEMPTIONS,
            profile.FADED_REDEMPTIONS,
            profile.DAYS_SINCE_LAST_REDEMPTION,
            profile.REDEMPTION_DAYS,
            profile.USES_AGAINST_OTHERS,
            profile.CAMPAIGNS_USED_AGAINST_OTHERS,
            profile.CAMPAIGNS_RECEIVED,
        ),
        _redemptions,
        _few_redemptions,
    ),
    Statement(
        "coupon habit",
        (
            profile.COUPON_ORDERS,
            profile.COUPON_ORDER_RATE,
            profile.COUPON_LINES,
            profile.DAYS_SINCE_LAST_COUPON,
            profile.COUPON_DISCOUNT_SHARE,
        ),
        _orders_with_coupon,
    ),
    Statement(
        "coupon habit", (profile.DISCOUNT_SHARE,), _amount("buys_at_a_discount", "share", profile.DISCOUNT_SHARE)
    ),
    Statement(
        "coupon habit",
        (profile.CLICKS,),
        lambda row: {"kind": "clicks_coupons"} if row[profile.CLICKS] > 0 else None,
    ),
    Statement("own use of the offer", (f.OFFER_USES,), _count("used_offer", "times", f.OFFER_USES)),
    Statement(
        "own use of the offer",
        (f.OFFER_INTEREST,),
        lambda row: {"kind": "clicked_offer"} if row[f.OFFER_INTEREST] > 0 else None,
    ),
    _whole("use of the offer", _rate("offer_used", f.OFFER_USE_RATE, f.PRIOR_OFFER_USES / f.PRIOR_OFFER_CHANCES)),
    _whole("activity", _activity),
    _whole("variety", _count("buys_variety", "count", profile.DISTINCT_PRODUCTS)),
    _whole("spend", _spending),
    _whole("popularity", _count("popular", "shoppers", BUYERS)),
    _whole(
        "coupons on its products", _rate("bought_with_coupons", f.COUPON_RATE, f.PRIOR_COUPON_TIMES / f.PRIOR_TIMES)
    ),
    Statement("coupon", (f.PRODUCTS,), _count("breadth", "products", f.PRODUCTS)),
    Statement("coupon", (f.PRODUCT_PRICE,), _amount("price", "price", f.PRODUCT_PRICE)),
    Statement("devices", (WORN_SHARE, DAYS_UNTIL_WORN), _wear, _wear),
    Statement("devices", (MAY_HAVE, FITTED_DEVICES), _fit, _no_fit),
    Statement("freshness", (DAYS_GOOD, VISITS), _keeping, _keeping),
    Statement("freshness", (USUAL_GAP, GONE_SHARE), _rhythm, _rhythm),
    Statement(
        "freshness",
        (SEASON,),
        lambda row: {"kind": "in_season", "factor": round(row[SEASON], 2)} if row[SEASON] > 1.01 else None,
        lambda row: {"kind": "out_of_season", "factor": round(row[SEASON], 2)} if row[SEASON] < 0.99 else None,
    ),
    Statement("projects", (IN_PROJECT, STAGES_AHEAD, STAGES_BEHIND, BOUGHT_ALREADY), _stage, _other_stage),
    Statement("projects", (DAYS_IN_STAGE, STAGE_GONE), _time_in_stage, _time_in_stage),
    Statement("projects", (NOT_FINISHED,), _nothing, _finished_project),
)
