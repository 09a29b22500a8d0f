"""The worked example of the design that Couponsite started from, on Couponsite's own code.

U1 buys C1, C2 and C3 on three days in a row, each with a coupon, V1, V2 and V3. U2 buys C1 and C2 on the first two
days, without coupons. ``docs/design-example.md`` tells it in words: each test here is a paragraph there.
"""

from itertools import product

import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from recommender.ml import features as f
from recommender.ml import shopper_profile as profile
from recommender.ml.algorithms.forests import RandomForest
from recommender.ml.algorithms.gradient_boosting import GradientBoosting
from recommender.ml.algorithms.neighbours import ItemBasedFiltering, UserBasedFiltering
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.features import PairFeatures
from recommender.ml.history import History
from recommender.ml.purchases import FADED_TIMES, age_in_days, all_purchases, fading_weight
from recommender.ml.shopper_profile import shopper_profiles
from tests.ml.shops import Shop, day, numbers_of, pairs_of

#: The day after the last purchase: days 1, 2 and 3 are then 3, 2 and 1 days old.
MOMENT = day(3)
#: w_t of day t: what a half-life of 90 days leaves of it after its age, 4 − t days.
W = {t: 2 ** (-(4 - t) / 90) for t in (1, 2, 3)}
COUPONS = ["V1", "V2", "V3"]


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    shop = Shop()
    for number in (1, 2, 3):
        shop.coupon(f"V{number}", f"C{number}")
        order = shop.sell("U1", day(number - 1), f"C{number}", coupon=f"V{number}", coupon_discount=0.1)
        shop.redeem("U1", f"V{number}", None, day(number - 1), order)
    shop.sell("U2", day(0), "C1")
    shop.sell("U2", day(1), "C2")
    return shop.write(tmp_path_factory.mktemp("design") / "shop").before(MOMENT)


def profile_of(history: History, shopper: str) -> dict[str, float]:
    (row,) = shopper_profiles(history).filter(shopper=numbers_of(history.snapshot, "shopper")[shopper]).to_dicts()
    return row


def described(history: History) -> pl.DataFrame:
    """The features of both shoppers with all three coupons: U1's first."""
    pairs = pairs_of(history.snapshot, product(["U1", "U2"], COUPONS))
    return PairFeatures().prepare(history, pairs["coupon"]).describe(pairs)


def test_a_day_weighs_by_its_age(history: History) -> None:
    """All weights are taken at one moment, whoever the shopper is, so w_1 < w_2 < w_3."""
    ages = history.scan("orders").select("ordered_at", age_in_days("ordered_at", history).alias("age")).unique()
    weights = ages.sort("ordered_at").select(fading_weight(pl.col("age")).alias("w")).collect()["w"].to_list()

    assert weights == pytest.approx(list(W.values()))
    assert W[1] < W[2] < W[3] < 1


def test_what_the_shoppers_are(history: History) -> None:
    """E(U1) = w_1 + w_2 + w_3 and E(U2) = w_1 + w_2, as the design says."""
    assert profile_of(history, "U1")[profile.FREQUENCY] == pytest.approx(W[1] + W[2] + W[3], rel=1e-12)
    assert profile_of(history, "U2")[profile.FREQUENCY] == pytest.approx(W[1] + W[2], rel=1e-12)


def test_what_the_shoppers_are_in_ages(history: History) -> None:
    """With t for the age instead of the day the same numbers are w(1) + w(2) + w(3) and w(2) + w(3)."""

    def w(age: float) -> float:
        return pl.select(fading_weight(pl.lit(age))).item()

    assert profile_of(history, "U1")[profile.FREQUENCY] == pytest.approx(w(1) + w(2) + w(3), rel=1e-12)
    assert profile_of(history, "U2")[profile.FREQUENCY] == pytest.approx(w(2) + w(3), rel=1e-12)


def test_the_sum_over_one_product_is_another_number(history: History) -> None:
    """The design writes E with an indicator of C1, which each bought once, and sums over every product."""
    c1 = numbers_of(history.snapshot, "product")["C1"]
    of_c1 = all_purchases(history).filter(product=c1)[FADED_TIMES]

    assert of_c1.to_list() == pytest.approx([W[1], W[1]])


def test_what_was_used_of_each_coupon(history: History) -> None:
    """Σ_t w_t 1(U1 used V at t) has one term a coupon: w_1, w_2, w_3. The latest is the largest: V3, not V1 nor V2."""
    used = (
        history.scan("redemptions")
        .select("shopper", "coupon", fading_weight(age_in_days("redeemed_at", history)).alias("weight"))
        .sort("coupon")
        .collect()
    )

    assert used["shopper"].unique().to_list() == [numbers_of(history.snapshot, "shopper")["U1"]]
    assert used["weight"].to_list() == pytest.approx([W[1], W[2], W[3]])
    assert profile_of(history, "U1")[profile.FADED_REDEMPTIONS] == pytest.approx(sum(W.values()))
    assert described(history)[f.OFFER_USES].to_list()[:3] == [1.0, 1.0, 1.0]
    assert int(used["weight"].arg_max() or 0) == COUPONS.index("V3")


@pytest.mark.parametrize("weights", [W, {1: 1.0, 2: 1.0, 3: 1.0}, {1: 0.7, 2: 0.2, 3: 0.1}])
def test_by_its_own_figures_the_design_would_recommend_v1(weights: dict[int, float]) -> None:
    """It prints w_1 + w_2 + w_3, w_1 + w_2 and w_1 for U1: whatever the weights, while they are above 0, V1 leads."""
    printed = np.cumsum([weights[1], weights[2], weights[3]])[::-1]

    assert COUPONS[int(printed.argmax())] == "V1"


def test_who_used_no_coupon_has_used_none(history: History) -> None:
    """The design gives U2 w_1 + w_2 for V1 and w_1 for V2. The sum it writes down is 0 for all three."""
    u2 = profile_of(history, "U2")

    assert (u2[profile.REDEMPTIONS], u2[profile.FADED_REDEMPTIONS]) == (0.0, 0.0)
    assert described(history)[f.OFFER_USES].to_list()[3:] == [0.0, 0.0, 0.0]
    assert u2[profile.COUPON_USE_RATE] < profile_of(history, "U1")[profile.COUPON_USE_RATE]


def test_that_u2_bought_is_seen(history: History) -> None:
    """The design sets U2's chance of C1 to 0, who bought it like U1. For V1 the purchases of both are the same."""
    rows = described(history).select("times", "faded_times", "days_since_last").rows()

    assert rows[COUPONS.index("V1")] == rows[3 + COUPONS.index("V1")]
    assert [times for times, *_ in rows] == [1.0, 1.0, 1.0, 1.0, 1.0, 0.0]


def test_three_days_of_history_teach_no_chance(history: History) -> None:
    """P(u, c) looks four weeks back for what came of it, and there is nothing: it says 0 and claims nothing."""
    inputs = described(history)
    model = GradientBoosting().fit(inputs.clear(), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), 0)

    assert inputs[f.LIKELY_TO_BUY].to_list() == [0.0] * 6
    assert model.score(inputs).tolist() == [0.0] * 6


def test_a_chance_that_factors_ranks_alike_for_all() -> None:
    """The design's derivation ends at P(U, C) = P(U) P(C): whatever the two are, everybody gets the same list."""
    random = np.random.default_rng(0)
    chances = random.uniform(size=(5, 1)) * random.uniform(size=(1, 8))

    assert len(np.unique(np.argsort(chances, axis=1), axis=0)) == 1


def test_what_is_called_collaborative_filtering_is_it() -> None:
    """The design's sample code fits a random forest under that name, and another one as its decision tree."""
    random = np.random.default_rng(0)
    labels = np.arange(300) % 7 == 0
    X = pl.DataFrame(random.uniform(size=(300, len(f.FEATURES))).astype(np.float32), schema=list(f.FEATURES))
    campaigns = np.zeros(300, dtype=np.int64)

    assert type(DecisionTree().fit(X, labels, campaigns, 0).tree_) is DecisionTreeClassifier
    assert type(RandomForest().fit(X, labels, campaigns, 0).forest_) is RandomForestClassifier
    for neighbours in (UserBasedFiltering, ItemBasedFiltering):
        assert not issubclass(neighbours, RandomForest)
        assert {"cosine", "pearson", "buyers", "buyers_share"} <= set(neighbours.inputs.columns)
