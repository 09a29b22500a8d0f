"""What the features are called where people read them."""

from collections.abc import Mapping
from types import MappingProxyType

from recommender.ml import devices, freshness, projects
from recommender.ml import features as f
from recommender.ml import product_sets as sets
from recommender.ml import purchases as bought
from recommender.ml import shopper_profile as profile
from recommender.ml.people_alike import USE_BY_PEOPLE_ALIKE

#: The affinities whose standing is told, in few words.
_AFFINITIES = {
    bought.TIMES: "times bought",
    bought.FADED_TIMES: "times bought, faded",
    bought.RECENT_TIMES: "times bought lately",
    bought.FADED_AMOUNT: "money spent on it",
    f.CATEGORY_FADED_TIMES: "category purchases",
    f.CATEGORY_STANDINGS[1]: "subcategory purchases",
    f.LIKELY_TO_BUY: "chance of buying",
    f.TASTE: "nearness of taste",
    f.ASSOCIATION: "association",
}


def _standings() -> dict[str, str]:
    names: dict[str, str] = {}
    for affinity, words in _AFFINITIES.items():
        of_best, rank = f.standing_in_the_list(affinity)
        above, rank_above = f.standing_among_shoppers(affinity)
        names |= {
            of_best: f"{words}, of the best",
            rank: f"{words}: rank",
            above: f"{words}: those above",
            rank_above: f"{words}: rank by them",
        }
    return names


def _levels() -> dict[str, str]:
    return {
        f"{level}_{what}": words.format(level=level)
        for level in f.CATEGORY_LEVELS
        for what, words in {
            bought.FADED_TIMES: "{level}: times bought, faded",
            bought.RECENT_TIMES: "{level}: times bought lately",
            bought.FADED_TIMES_WITH_COUPON: "{level}: bought with a coupon",
            f.LIFT: "{level}: own share by the shop's",
            f.OWN_PART: "its products' part of {level}",
            f.COUPON_RATE: "{level}: share with coupons",
        }.items()
    }


_ALL = {
    **_standings(),
    **_levels(),
    bought.TIMES: "times its products were bought",
    bought.FADED_TIMES: "times bought, faded by age",
    bought.RECENT_TIMES: "times bought lately",
    bought.FADED_TIMES_WITH_COUPON: "times bought with a coupon, faded",
    bought.FADED_AMOUNT: "money spent on it, faded by age",
    sets.OWN_PRODUCTS: "different products of it bought",
    bought.DAYS_SINCE_LAST: "days since it was bought",
    f.OWN_SHARE: "its share of own purchases",
    f.OWN_LIFT: "own share of it by the shop's",
    f.LIKELY_TO_BUY: "chance of buying in four weeks",
    f.CATEGORY_TIMES: "category: times bought",
    f.CATEGORY_SHARE: "category: share of own purchases",
    f.BRAND_TIMES: "brand: times bought",
    f.BRAND_FADED_TIMES: "brand: times bought, faded",
    f.TASTE: "nearness to the shopper's taste",
    f.ASSOCIATION: "association with own purchases",
    profile.COUPON_USE_RATE: "coupons used by orders",
    profile.CAMPAIGN_USE_RATE: "campaigns used by those received",
    profile.REDEMPTIONS: "coupons used so far",
    profile.FADED_REDEMPTIONS: "coupons used, faded by age",
    profile.DAYS_SINCE_LAST_REDEMPTION: "days since a coupon was used",
    profile.REDEMPTION_DAYS: "days on which coupons were used",
    profile.USES_AGAINST_OTHERS: "coupons used, by what others use",
    profile.CAMPAIGNS_USED_AGAINST_OTHERS: "campaigns used, by what others use",
    profile.CAMPAIGNS_RECEIVED: "campaigns received",
    profile.COUPON_DISCOUNT_SHARE: "share of spend saved by coupons",
    profile.COUPON_ORDERS: "orders with a coupon",
    profile.COUPON_ORDER_RATE: "share of orders with a coupon",
    profile.COUPON_LINES: "order lines with a coupon",
    profile.DAYS_SINCE_LAST_COUPON: "days since an order with a coupon",
    profile.DISCOUNT_SHARE: "share of spend saved by discounts",
    profile.CLICKS: "coupons clicked",
    USE_BY_PEOPLE_ALIKE: "use by shoppers alike",
    f.OFFER_USES: "own uses of the same offer",
    f.OFFER_INTEREST: "own clicks and claims of the offer",
    f.OFFER_USE_RATE: "everybody's use of the same offer",
    profile.FREQUENCY: "orders, faded by age",
    profile.RECENT_FREQUENCY: "orders lately",
    profile.DAYS_SINCE_LAST_ORDER: "days since the last order",
    profile.VARIETY: "different things an order, faded",
    profile.DISTINCT_PRODUCTS: "different products bought",
    profile.SPEND: "money spent, faded by age",
    sets.BUYERS: "buyers of its products",
    sets.BUYERS_SHARE: "share of shoppers who buy it",
    sets.RECENT_BUYERS_SHARE: "share of shoppers who buy it lately",
    f.SALES_SHARE: "its share of the shop's sales",
    f.COUPON_RATE: "share of it bought with coupons",
    f.PRODUCTS: "products that it is for",
    f.PRODUCT_PRICE: "price of its products",
    f.PRODUCT_RATING: "rating of its products",
    f.PRODUCT_DISCOUNT: "discount on its products",
    f.COUPONS_ON_OFFER: "coupons on offer",
    f.DISCOUNT_VALUE: "value of its discount",
    f.MIN_SPEND: "least spend that it asks for",
    devices.MAY_HAVE: "for no device, or an own one",
    devices.FITTED_DEVICES: "own devices that it fits",
    devices.WORN_SHARE: "share of its part's life used",
    devices.DAYS_UNTIL_WORN: "days until its part is worn out",
    freshness.DAYS_GOOD: "days that its stock keeps",
    freshness.VISITS: "visits while its stock keeps",
    freshness.USUAL_GAP: "usual days between purchases",
    freshness.GONE_SHARE: "share of the usual days gone",
    freshness.SEASON: "its sales after this day last year",
    projects.NOT_FINISHED: "of no finished project",
    projects.IN_PROJECT: "of an own project",
    projects.STAGES_AHEAD: "stages of the project until it",
    projects.STAGES_BEHIND: "stages of the project since it",
    projects.BOUGHT_ALREADY: "its kind bought for the project",
    projects.DAYS_IN_STAGE: "days since the project went on",
    projects.STAGE_GONE: "share of a stage's days gone",
}

#: By feature, few enough words for a box of a drawing; no two are the same.
NAMES: Mapping[str, str] = MappingProxyType({feature: _ALL[feature] for feature in f.FEATURES})
