"""Features of shoppers, coupons and pairs, by hand."""

from collections import Counter

import numpy as np
import polars as pl
import pytest

from recommender.ml import features as f
from recommender.ml import shopper_profile as profile
from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.catalogue import category_depth, coupon_products, product_categories
from recommender.ml.features import FEATURES, GROUPS, OPTIONAL_GROUPS, PairFeatures
from recommender.ml.history import History
from recommender.ml.purchases import NEVER
from recommender.ml.shopper_profile import NEW_SHOPPER, PRIOR_CHANCES, PRIOR_USES, shopper_profiles
from tests.ml.shops import Shop, day, numbers_of, pairs_of

#: Day 90 is the moment: what happened on day 0 is a half-life old, on day −90 two.
MOMENT = day(90)
COUPONS = ["hot", "milk", "milk again", "nothing sold", "shop"]


def small_shop() -> Shop:
    shop = Shop().shopper("new").shopper("bob")
    shop.product("milk", "Food / Fresh / Dairy", "Alm", price=2.0, rating=4.0)
    shop.product("cheese", "Food / Fresh / Dairy", "Alm", price=None, rating=None)
    shop.product("tea", "Drinks / Hot", "Leaf", price=3.0, rating=5.0)
    shop.product("coffee", "Drinks / Hot", "Alm", price=5.0, rating=3.0)
    shop.product("unsold", "Toys", price=7.0)
    shop.coupon("milk", "milk", offer="milk offer", value=0.5)
    shop.coupon("milk again", "milk", offer="milk offer", value=0.5).coupon("hot", "tea", "coffee", value=1.5)
    shop.coupon("shop").coupon("nothing sold", "unsold")
    shop.sell("ann", day(-90), "milk", amount=2.0)
    shop.sell("ann", day(0), "milk", "cheese", amount=3.0, quantity=2.0, discount=1.0, coupon_discount=2.0)
    shop.sell("ann", day(0), "milk", amount=2.0)
    shop.sell("bob", day(69), "tea", amount=3.0)
    shop.sell("refunding", day(80), "tea", amount=-50.0)
    shop.campaign("past", day(-20), day(10), ["milk"], ["ann", "bob", "refunding"], control=["new"])
    shop.campaign("other", day(20), day(30), ["hot"], ["ann"])
    shop.redeem("ann", "milk", "past", day(0))
    shop.event("ann", "click", day(0), "milk").event("ann", "claim", day(0), "milk")
    shop.event("ann", "dismiss", day(-90), "milk").event("ann", "view", day(0), "milk")
    shop.event("bob", "dismiss", day(0), "milk")
    return shop


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> History:
    return small_shop().write(tmp_path_factory.mktemp("features") / "shop").before(MOMENT)


def profile_of(history: History, shopper: str) -> dict[str, float]:
    (row,) = shopper_profiles(history).filter(shopper=numbers_of(history.snapshot, "shopper")[shopper]).to_dicts()
    return row


def features_of(history: History, shopper: str, coupon: str) -> dict[str, float]:
    pairs = pairs_of(history.snapshot, [(shopper, each) for each in COUPONS])
    described = PairFeatures().prepare(history, pairs["coupon"]).describe(pairs)
    return described.row(COUPONS.index(coupon), named=True)


def test_a_shopper_by_hand(small: History) -> None:
    ann = profile_of(small, "ann")

    assert ann[profile.FREQUENCY] == 0.25 + 0.5 + 0.5
    assert ann[profile.VARIETY] == 0.25 * 1 + 0.5 * 2 + 0.5 * 1
    assert ann[profile.SPEND] == 0.25 * 2 + 0.5 * 6 + 0.5 * 2
    assert ann[profile.RECENT_FREQUENCY] == pytest.approx(2 ** (-180 / 21) + 2 * 2 ** (-90 / 21))
    assert ann[profile.DISTINCT_PRODUCTS] == 2.0
    assert ann[profile.DAYS_SINCE_LAST_ORDER] == 90.0
    gross = 10.0 + 2.0 + 4.0
    assert ann[profile.DISCOUNT_SHARE] == pytest.approx(2.0 / gross)
    assert ann[profile.COUPON_DISCOUNT_SHARE] == pytest.approx(4.0 / gross)
    assert (ann[profile.REDEMPTIONS], ann[profile.FADED_REDEMPTIONS]) == (1.0, 0.5)
    assert ann[profile.CAMPAIGNS_RECEIVED] == 2.0
    assert ann[profile.CLICKS] == 0.5 + 0.5
    assert ann[profile.COUPON_USE_RATE] == pytest.approx((0.5 + PRIOR_USES) / (1.25 + PRIOR_CHANCES))
    assert ann[profile.CAMPAIGN_USE_RATE] == pytest.approx((1 + PRIOR_USES) / (2 + PRIOR_CHANCES))


def test_refunds_spend_nothing(small: History) -> None:
    assert profile_of(small, "refunding")[profile.SPEND] == 0.0


def test_who_did_nothing_has_no_profile_and_is_described_as_new(small: History) -> None:
    """Being held out of a campaign is not having received it."""
    assert numbers_of(small.snapshot, "shopper")["new"] not in shopper_profiles(small)["shopper"]
    new = features_of(small, "new", "milk")

    assert {name: new[name] for name in NEW_SHOPPER} == pytest.approx(NEW_SHOPPER)
    assert PRIOR_USES / PRIOR_CHANCES == NEW_SHOPPER[profile.COUPON_USE_RATE] == NEW_SHOPPER[profile.CAMPAIGN_USE_RATE]


def test_a_coupon_by_hand(small: History) -> None:
    hot = features_of(small, "new", "hot")

    assert hot[f.PRODUCTS] == 2.0
    assert hot[f.PRODUCT_PRICE] == 4.0
    assert hot[f.PRODUCT_RATING] == 4.0
    assert (hot[f.DISCOUNT_VALUE], hot[f.MIN_SPEND], hot[f.COUPONS_ON_OFFER]) == (1.5, 0.0, 5.0)
    assert hot["buyers"] == 2.0
    assert hot["buyers_share"] == pytest.approx(2 / 3)
    milk = features_of(small, "new", "milk")
    assert milk[f.PRODUCT_DISCOUNT] == pytest.approx(1.0 / (2.0 + 3.0 + 2.0 + 1.0))


def test_a_coupon_for_the_whole_shop_is_for_all_that_was_ever_bought(small: History) -> None:
    numbers = numbers_of(small.snapshot, "product")
    coupon = pl.Series([numbers_of(small.snapshot, "coupon")["shop"]], dtype=pl.UInt32)

    products = coupon_products(small, coupon)["product"].to_list()

    assert products == sorted(numbers[name] for name in ("milk", "cheese", "tea"))  # neither coffee nor what is unsold
    assert features_of(small, "ann", "shop")["times"] == 4.0
    assert features_of(small, "new", "shop")["buyers"] == 3.0


def test_the_price_of_a_product_without_one_is_what_was_paid(tmp_path_factory: pytest.TempPathFactory) -> None:
    shop = small_shop().coupon("milk", "cheese")
    history = shop.write(tmp_path_factory.mktemp("paid") / "shop").before(MOMENT)

    # of milk (2.00 by the list) and cheese (3.00 paid for two)
    assert features_of(history, "new", "milk")[f.PRODUCT_PRICE] == 1.75


def test_own_purchases_of_what_a_coupon_is_for(small: History) -> None:
    ann = features_of(small, "ann", "milk")

    assert (ann["times"], ann["faded_times"], ann["own_products"], ann["days_since_last"]) == (3.0, 1.25, 1.0, 90.0)
    assert ann["faded_amount"] == 0.25 * 2 + 0.5 * 3 + 0.5 * 2
    assert ann[f.OWN_SHARE] == pytest.approx(1.25 / 1.75)
    bob = features_of(small, "bob", "milk")
    assert (bob["times"], bob["days_since_last"], bob[f.OWN_SHARE]) == (0.0, NEVER, 0.0)


def test_categories_and_brands_carry_over(small: History) -> None:
    """Ann's milk and cheese are of one category and brand; coffee, in the hot coupon, is of that brand too."""
    milk = features_of(small, "ann", "milk")
    assert (milk[f.CATEGORY_TIMES], milk[f.BRAND_TIMES]) == (4.0, 4.0)
    assert milk[f.CATEGORY_FADED_TIMES] == 0.25 + 3 * 0.5

    hot = features_of(small, "ann", "hot")
    assert hot[f.CATEGORY_TIMES] == 0.0
    tea_sold, coffee_sold = 2 ** (-21 / 90) + 2 ** (-10 / 90) + 0.1, 0.1
    assert hot[f.BRAND_TIMES] == pytest.approx(4.0 * coffee_sold / (tea_sold + coffee_sold), rel=1e-6)


def test_own_history_with_the_offer(small: History) -> None:
    """The same offer in another campaign is another coupon, and counts; a dismissal takes away, never below 0."""
    for coupon in ("milk", "milk again"):
        ann, bob = features_of(small, "ann", coupon), features_of(small, "bob", coupon)
        assert (ann[f.OFFER_USES], ann[f.OFFER_INTEREST]) == (1.0, 0.5 + 0.5 - 0.25)
        assert (bob[f.OFFER_USES], bob[f.OFFER_INTEREST]) == (0.0, 0.0)
        assert ann[f.OFFER_USE_RATE] == pytest.approx((1 + 0.5) / (3 + 100))
    assert features_of(small, "ann", "hot")[f.OFFER_USE_RATE] == pytest.approx(0.5 / 101)
    assert features_of(small, "ann", "shop")[f.OFFER_USE_RATE] == pytest.approx(0.5 / 100)


def test_refunds_break_no_algorithm(small: History, algorithm: type[Algorithm]) -> None:
    """Algorithms take logarithms, so what they see of a shopper who got more back than was paid starts at 0 too."""
    pairs = pairs_of(small.snapshot, [("refunding", coupon) for coupon in COUPONS])
    inputs = algorithm.inputs.prepare(small, pairs["coupon"]).describe(pairs)

    assert (inputs.to_numpy() >= 0).all()


def test_groups_hold_each_feature_once() -> None:
    assert set(Counter(FEATURES).values()) == {1}
    assert sum(len(group) for group in GROUPS.values()) == len(FEATURES) == len(PairFeatures.columns)


def test_each_way_to_describe_pairs_has_a_name_of_its_own() -> None:
    kinds = {algorithm.inputs.name: type(algorithm.inputs) for algorithm in ALGORITHMS.values()}

    assert all(type(algorithm.inputs) is kinds[algorithm.inputs.name] for algorithm in ALGORITHMS.values())
    assert len(set(kinds.values())) == len(kinds)


def test_categories_at_a_depth(small: History) -> None:
    products, paths = numbers_of(small.snapshot, "product"), small.scan("categories").collect()
    names = dict(paths.select("category", "path").iter_rows())

    def at(depth: int) -> dict[str, str]:
        found = dict(product_categories(small, depth).iter_rows())
        return {name: names[found[products[name]]] for name in ("milk", "tea")}

    assert at(1) == {"milk": "Food", "tea": "Drinks"}
    assert at(2) == {"milk": "Food / Fresh", "tea": "Drinks / Hot"}
    assert at(3) == {"milk": "Food / Fresh / Dairy", "tea": "Drinks / Hot"}
    assert category_depth(small) == 1  # deeper levels tell no more of what was bought apart


def test_every_feature_tells_something(history: History, pairs: pl.DataFrame) -> None:
    """On the generated shop none is the same everywhere, but for what the shop never says: it knows no coupons at the
    till, no least amounts and nothing that only some kinds of shop tell, and all coupons are on offer at once."""
    described = PairFeatures().prepare(history, pairs["coupon"]).describe(pairs)
    constant = [name for name in FEATURES if np.ptp(described[name].to_numpy()) == 0]

    assert constant == [
        "faded_times_with_coupon",
        "category_faded_times_with_coupon",
        "subcategory_faded_times_with_coupon",
        profile.COUPON_DISCOUNT_SHARE,
        profile.COUPON_ORDERS,
        profile.COUPON_LINES,
        profile.DAYS_SINCE_LAST_COUPON,
        f.COUPONS_ON_OFFER,
        f.MIN_SPEND,
        *(feature for group in OPTIONAL_GROUPS for feature in GROUPS[group]),
    ]
