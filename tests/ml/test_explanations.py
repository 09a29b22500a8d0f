"""Reasons of the algorithms that learn from features: measured on the model, and true of the history."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest

from recommender.ml import columns as c
from recommender.ml import features as f
from recommender.ml import shopper_profile as profile
from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.algorithms.explanation import DECIMALS, LEAST, NOTHING_PARTICULAR, OBJECTIONS, REASONS, reasons
from recommender.ml.algorithms.statements import STATEMENTS, Statement
from recommender.ml.algorithms.supervised import SupervisedAlgorithm
from recommender.ml.contract import Reason
from recommender.ml.features import FEATURES, GROUPS, PairFeatures
from recommender.ml.purchases import TIMES
from recommender.reasons import KINDS, speaking_against, speaking_for
from tests.ml.shops import (
    COUPONS,
    LAST_START,
    LEAF_COUPONS,
    NEW_SHOPPER,
    PRODUCTS,
    SHOPPERS,
    Shop,
    generated_shop,
    pairs_of,
)

Taught = Callable[[type[Algorithm]], SupervisedAlgorithm]
Row = dict[str, Any]
SUPERVISED = [algorithm for algorithm in ALGORITHMS.values() if issubclass(algorithm, SupervisedAlgorithm)]
#: Of so many shoppers the history is changed, one at a time.
CHANGED = 4


@pytest.fixture(scope="module")
def inputs(history: Any, pairs: pl.DataFrame) -> pl.DataFrame:
    """What the supervised algorithms see of every shopper with every coupon."""
    return PairFeatures().prepare(history, pairs[c.COUPON]).describe(pairs)


@pytest.fixture(params=SUPERVISED, ids=[algorithm.name for algorithm in SUPERVISED])
def model(request: pytest.FixtureRequest, taught: Taught) -> SupervisedAlgorithm:
    """Each supervised algorithm in turn, fitted."""
    return taught(request.param)


def log_odds(model: SupervisedAlgorithm, inputs: pl.DataFrame) -> np.ndarray:
    scores = np.clip(model.score(inputs), 1e-9, 1 - 1e-9)
    return np.log(scores / (1 - scores))


def row_of(shopper: str, coupon: str) -> int:
    """Where a pair stands among all pairs."""
    return [*SHOPPERS, NEW_SHOPPER].index(shopper) * len(COUPONS) + COUPONS.index(coupon)


# What can be said


def test_a_statement_is_about_features_of_its_own() -> None:
    stated = [feature for statement in STATEMENTS for feature in statement.features]

    assert len(stated) == len(set(stated))
    assert all(set(statement.features) <= set(GROUPS[statement.group]) for statement in STATEMENTS)
    assert set(FEATURES) - set(stated) == {
        f.PRODUCT_RATING,
        f.PRODUCT_DISCOUNT,
        f.COUPONS_ON_OFFER,
        f.DISCOUNT_VALUE,
        f.MIN_SPEND,
    }


def test_all_that_is_said_has_words(inputs: pl.DataFrame) -> None:
    said = [
        saying(row)
        for row in inputs.iter_rows(named=True)
        for statement in STATEMENTS
        for saying in (statement.reason, statement.objection)
    ]

    assert {reason["kind"] for reason in said if reason is not None} | {NOTHING_PARTICULAR["kind"]} <= KINDS


def test_nothing_is_claimed_of_somebody_unknown(inputs: pl.DataFrame) -> None:
    """Of a shopper without history nothing is said but what holds of the coupon."""
    of_new = inputs[-len(COUPONS) :].to_dicts()
    of_the_coupon = {"behaviour", "use of the offer", "popularity", "coupons on its products", "coupon"}

    said = {statement.group for row in of_new for statement in STATEMENTS if statement.reason(row) is not None}
    assert said <= of_the_coupon | {"standing in the list"}
    objections = {kind(statement.objection(row)) for row in of_new for statement in STATEMENTS}
    assert {"never_bought", "never_bought_category", "uses_no_coupons"} <= objections


def kind(reason: Reason | None) -> str | None:
    return None if reason is None else reason["kind"]


def test_what_is_objected_to_a_shoppers_use_of_coupons() -> None:
    """Little use is told by what there was of it, and no use by the campaigns that might have led to one."""
    (statement,) = (each for each in STATEMENTS if profile.REDEMPTIONS in each.features)
    never = {profile.REDEMPTIONS: 0.0, profile.CAMPAIGNS_RECEIVED: 3.0}
    once = {profile.REDEMPTIONS: 1.0, profile.CAMPAIGNS_RECEIVED: 8.0, profile.DAYS_SINCE_LAST_REDEMPTION: 200.04}

    assert (statement.reason(never), statement.objection(never)) == (None, {"kind": "uses_no_coupons", "campaigns": 3})
    assert statement.reason(once) == statement.objection(once)
    assert statement.objection(once) == {"kind": "uses_coupons", "count": 1, "days_since_last": 200.0}


# Which are given


def test_the_weightiest_first_one_of_a_group_and_what_speaks_against(inputs: pl.DataFrame) -> None:
    best = inputs.sort(TIMES)[-1:]
    (row,) = best.to_dicts()
    moved = np.zeros((1, len(STATEMENTS)))
    weights = {
        "bought_products": 0.5,
        "place_by_purchases": 2.0,
        "place_by_chance": 1.5,  # of the same group
        "bought_category": 3.0,
        "likely_to_buy": 0.4,  # one too many
        "popular": -0.1,  # lowers the score, but is nothing to object
    }
    for number, statement in enumerate(STATEMENTS):
        moved[0, number] = weights.get(str(kind(statement.reason(row))), 0.0)

    (given,) = reasons(best, moved)

    assert [(each["kind"], each["log_odds"]) for each in given] == [
        ("bought_category", 3.0),
        ("place_by_purchases", 2.0),
        ("bought_products", 0.5),
    ]


def test_where_nothing_speaks_for_a_pair(inputs: pl.DataFrame) -> None:
    unknown = inputs[-1:]
    own_purchases = np.arange(len(STATEMENTS)) == 0
    too_little = np.full((1, len(STATEMENTS)), LEAST - 0.001)

    assert reasons(unknown, too_little) == reasons(unknown, -too_little) == [[NOTHING_PARTICULAR]]
    assert reasons(unknown, np.where(own_purchases, -2.0, too_little)) == [
        [NOTHING_PARTICULAR, {"kind": "never_bought", "log_odds": -2.0}]
    ]


# Faithful to the model


def medians_of(model: SupervisedAlgorithm) -> dict[str, float]:
    """By feature. Of those that the model is not shown, which move nothing, any value will do."""
    return dict.fromkeys(FEATURES, 0.0) | dict(zip(model.features_, model.medians_, strict=True))


def test_contributions_are_what_the_model_itself_says(model: SupervisedAlgorithm, inputs: pl.DataFrame) -> None:
    """That of a part is the fall of the log-odds when the part alone has the medians of the examples."""
    some = inputs[::7]
    parts = [statement.features for statement in STATEMENTS]
    medians = medians_of(model)

    contributions = model.contributions(some, parts)

    assert np.abs(contributions).max() > 0.1
    for number, part in enumerate(parts):
        without = some.with_columns(pl.lit(medians[name]).cast(pl.Float32).alias(name) for name in part)
        np.testing.assert_allclose(
            contributions[:, number], log_odds(model, some) - log_odds(model, without), atol=2e-6
        )


def test_every_reason_moves_the_score_as_it_says(model: SupervisedAlgorithm, inputs: pl.DataFrame) -> None:
    """Setting what a reason names back to what is usual lowers the score by the stated contribution, and what speaks
    against raises it."""
    medians = medians_of(model)
    given = model.explain(inputs)
    by_kind: dict[str, list[tuple[int, Reason]]] = {}
    for row, of_pair in enumerate(given):
        raising, lowering = speaking_for(of_pair), speaking_against(of_pair)
        assert len(raising) <= REASONS
        assert len(lowering) <= OBJECTIONS
        weights = [reason["log_odds"] for reason in raising if reason != NOTHING_PARTICULAR]
        assert weights == sorted(weights, reverse=True)
        assert all(weight > 0 for weight in weights)
        for reason in of_pair:
            by_kind.setdefault(reason["kind"], []).append((row, reason))
    by_kind.pop(NOTHING_PARTICULAR["kind"], None)
    assert len(by_kind) >= 3

    for named, those in by_kind.items():
        rows = [row for row, _ in those]
        as_it_is = inputs[rows]
        features = statement_of(named, as_it_is).features
        without = as_it_is.with_columns(pl.lit(medians[name]).cast(pl.Float32).alias(name) for name in features)
        np.testing.assert_allclose(
            [reason["log_odds"] for _, reason in those],
            log_odds(model, as_it_is) - log_odds(model, without),
            atol=10.0**-DECIMALS,
        )


def statement_of(named: str, inputs: pl.DataFrame) -> Statement:
    """The statement that is behind a kind of reason."""
    (row,) = inputs[:1].to_dicts()
    (statement,) = (
        statement for statement in STATEMENTS if named in (kind(statement.reason(row)), kind(statement.objection(row)))
    )
    return statement


def test_a_model_that_nothing_has_taught_goes_by_the_chance_of_buying(inputs: pl.DataFrame) -> None:
    untaught = SUPERVISED[0]().fit(inputs.clear(), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), 0)
    chances = inputs[f.LIKELY_TO_BUY].to_list()

    assert untaught.explain(inputs) == [
        [{"kind": "likely_to_buy", "probability": round(chance, 4), "days": 28}] if chance else [NOTHING_PARTICULAR]
        for chance in chances
    ]


# Faithful to the history


@pytest.fixture(scope="module")
def favourites(inputs: pl.DataFrame) -> list[tuple[str, str]]:
    """The coupon that suits each of some shoppers best, by how often they bought what it is for."""
    rows = np.argsort(-inputs[TIMES].to_numpy(), kind="stable")
    by_shopper: dict[str, str] = {}
    for row in rows:
        shopper, coupon = [*SHOPPERS, NEW_SHOPPER][row // len(COUPONS)], COUPONS[row % len(COUPONS)]
        if coupon in LEAF_COUPONS:
            by_shopper.setdefault(shopper, coupon)
    return list(by_shopper.items())


@pytest.fixture(scope="module")
def described_without(
    tmp_path_factory: pytest.TempPathFactory, pairs: pl.DataFrame
) -> Callable[[str, str, str], pl.DataFrame]:
    """A pair, when its shopper had never bought some products, or redeemed anything."""

    @cache
    def describe(shopper: str, coupon: str, without: str) -> pl.DataFrame:
        shop = generated_shop()
        first = 5 * LEAF_COUPONS.index(coupon)
        products = {"own purchases": PRODUCTS[first : first + 3], "category": PRODUCTS[first : first + 5]}
        if without == "redemptions":
            _drop(shop, "redemptions", lambda row: row["shopper"] == shopper)
        else:
            _drop(shop, "order_lines", lambda row: row["shopper"] == shopper and row["product"] in products[without])
        snapshot = shop.write(tmp_path_factory.mktemp("changed") / "shop")
        prepared = PairFeatures().prepare(snapshot.before(LAST_START), pairs[c.COUPON])
        return prepared.describe(pairs_of(snapshot, [(shopper, coupon)]))

    return describe


def _drop(shop: Shop, table: str, is_dropped: Callable[[Row], bool]) -> None:
    kept = [row for row in shop.rows[table] if not is_dropped(row)]
    assert len(kept) < len(shop.rows[table])
    shop.rows[table] = kept


@pytest.mark.parametrize("without", ["own purchases", "category"])
def test_without_the_purchases_the_score_is_lower(
    model: SupervisedAlgorithm,
    inputs: pl.DataFrame,
    favourites: list[tuple[str, str]],
    described_without: Callable[[str, str, str], pl.DataFrame],
    without: str,
) -> None:
    """Had they never been, the score would be a fraction, and no reason would name them."""
    named = {
        "bought_products",
        "place_by_purchases",
        "buys_more_than_others",
        *(
            ["bought_category", "place_by_category", "buys_more_of_category_than_others"]
            if without == "category"
            else []
        ),
    }
    said = set()
    for shopper, coupon in favourites[:CHANGED]:
        row = row_of(shopper, coupon)
        changed = described_without(shopper, coupon, without)
        said |= {reason["kind"] for reason in speaking_for(model.explain(inputs[row : row + 1])[0])} & named

        assert model.score(changed)[0] < model.score(inputs[row : row + 1])[0] / 2
        assert not {reason["kind"] for reason in speaking_for(model.explain(changed)[0])} & named
    assert said


def test_without_the_redemptions_the_score_is_lower(
    model: SupervisedAlgorithm,
    inputs: pl.DataFrame,
    favourites: list[tuple[str, str]],
    described_without: Callable[[str, str, str], pl.DataFrame],
) -> None:
    used = inputs[profile.REDEMPTIONS].to_list()
    eager = sorted(favourites, key=lambda pair: -used[row_of(*pair)])[:CHANGED]
    said = 0
    for shopper, coupon in eager:
        row = row_of(shopper, coupon)
        changed = described_without(shopper, coupon, "redemptions")
        if "uses_coupons" in [reason["kind"] for reason in speaking_for(model.explain(inputs[row : row + 1])[0])]:
            said += 1
            assert model.score(changed)[0] < model.score(inputs[row : row + 1])[0]
        assert "uses_coupons" not in [reason["kind"] for reason in model.explain(changed)[0]]
    assert said
