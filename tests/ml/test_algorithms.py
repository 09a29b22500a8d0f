"""The contract that every algorithm keeps, on a generated shop."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from recommender.ml import artifact
from recommender.ml import columns as c
from recommender.ml import features as f
from recommender.ml.algorithms import ALGORITHMS, UNTAUGHT, Algorithm, UnknownAlgorithm, algorithms_named
from recommender.ml.algorithms.calibration import PRIOR_USE_RATE
from recommender.ml.algorithms.neighbours import ItemBasedFiltering, UserBasedFiltering
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.algorithms.supervised import SupervisedAlgorithm, later_rows, sample_unused
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.examples import Casebook, Examples
from recommender.ml.history import History, Snapshot
from recommender.reasons import KINDS, in_words
from tests.ml.shops import (
    COUPONS,
    LAST_DAY,
    LAST_START,
    NEW_COUPON,
    WITHOUT_SALE,
    Shop,
    day,
    numbers_of,
    pairs_of,
)

Taught = Callable[[type[Algorithm]], Algorithm]
Described = Callable[[type[Algorithm]], pl.DataFrame]
SUPERVISED = [algorithm for algorithm in ALGORITHMS.values() if issubclass(algorithm, SupervisedAlgorithm)]
PERSONAL = [algorithm for algorithm in ALGORITHMS.values() if algorithm is not Popularity]

#: AUC that each reaches on the last campaign of the generated shop, less a margin for other library versions.
FLOORS = {
    "popularity": 0.55,
    "user_based_cf": 0.65,
    "item_based_cf": 0.65,
    "decision_tree": 0.75,
    "random_forest": 0.75,
    "support_vector_machine": 0.75,
    "gradient_boosting": 0.75,
}


@pytest.fixture(scope="module")
def examples(casebook: Casebook) -> Callable[[type[Algorithm]], Examples]:
    def of(algorithm: type[Algorithm]) -> Examples:
        found = casebook.examples(algorithm.inputs, LAST_START)
        assert found is not None
        return found

    return of


def test_seven_algorithms_by_name() -> None:
    assert list(ALGORITHMS) == list(FLOORS)
    assert UNTAUGHT in ALGORITHMS
    assert algorithms_named(None) == list(ALGORITHMS.values())
    assert algorithms_named(["item_based_cf", "popularity"]) == [Popularity, ItemBasedFiltering]
    with pytest.raises(UnknownAlgorithm, match=r"No algorithm is named magic, oracle. There are: popularity, user_"):
        algorithms_named(["oracle", "popularity", "magic"])


def test_fit_returns_the_algorithm_itself(
    algorithm: type[Algorithm], examples: Callable[[type[Algorithm]], Examples]
) -> None:
    known = examples(algorithm)
    model = algorithm()

    assert model.fit(known.inputs, known.labels, known.campaigns, 0) is model


def test_inputs_are_whole(algorithm: type[Algorithm], described: Described, pairs: pl.DataFrame) -> None:
    inputs = described(algorithm)

    assert inputs.schema == algorithm.inputs.none().schema
    assert len(inputs) == len(pairs)
    assert np.isfinite(inputs.to_numpy()).all()
    assert (inputs.to_numpy() >= 0).all()


def test_scores_are_probabilities(algorithm: type[Algorithm], taught: Taught, described: Described) -> None:
    scores = taught(algorithm).score(described(algorithm))

    assert scores.dtype == np.float64
    assert scores.shape == (len(described(algorithm)),)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert len(np.unique(scores)) > 3


def test_no_pairs_no_scores(algorithm: type[Algorithm], taught: Taught, history: History, pairs: pl.DataFrame) -> None:
    inputs = algorithm.inputs.prepare(history, pairs[c.COUPON]).describe(pairs.clear())

    assert inputs.equals(algorithm.inputs.none())


def test_the_same_seed_gives_the_same_scores(
    algorithm: type[Algorithm],
    taught: Taught,
    described: Described,
    examples: Callable[[type[Algorithm]], Examples],
) -> None:
    known = examples(algorithm)
    again = algorithm().fit(known.inputs, known.labels, known.campaigns, 0)

    np.testing.assert_array_equal(again.score(described(algorithm)), taught(algorithm).score(described(algorithm)))
    assert again.parameters() == taught(algorithm).parameters()
    json.dumps(again.parameters(), allow_nan=False)


def test_a_pair_is_described_and_scored_by_itself(
    algorithm: type[Algorithm], taught: Taught, described: Described, history: History, pairs: pl.DataFrame
) -> None:
    """Shards of any size, in any order, give exactly the inputs of all pairs at once, and the scores to rounding.

    A product of matrices rounds its rows differently by how many there are: the fifteenth digit.
    """
    prepared = algorithm.inputs.prepare(history, pairs[c.COUPON])
    order = np.random.default_rng(1).permutation(len(pairs))
    model = taught(algorithm)
    scores = model.score(described(algorithm))

    for start, size in ((0, 1), (1, 6), (7, 301), (308, len(pairs))):
        rows = order[start : start + size]
        shard = prepared.describe(pairs[rows])
        assert shard.equals(described(algorithm)[rows])
        np.testing.assert_allclose(model.score(shard), scores[rows], rtol=1e-12)


def test_a_model_survives_its_file(
    algorithm: type[Algorithm], taught: Taught, described: Described, tmp_path: Path
) -> None:
    digest = artifact.save(taught(algorithm), tmp_path / "model")
    loaded = artifact.load(tmp_path / "model", digest)

    np.testing.assert_array_equal(loaded.score(described(algorithm)), taught(algorithm).score(described(algorithm)))
    assert loaded.explain(described(algorithm)[:20]) == taught(algorithm).explain(described(algorithm)[:20])


def test_a_new_shopper_gets_a_list(
    algorithm: type[Algorithm], taught: Taught, described: Described, pairs: pl.DataFrame
) -> None:
    """Of somebody without history only the coupons are known: what more people buy comes before what nobody does.

    Only the decision tree, which knows as many scores as it has leaves, may find all coupons equal.
    """
    of_new = described(algorithm)[-len(COUPONS) :]
    scores = taught(algorithm).score(of_new)

    assert pairs[c.SHOPPER][-len(COUPONS) :].n_unique() == 1
    assert np.isfinite(scores).all()
    if algorithm is not DecisionTree:
        assert len(np.unique(scores)) > 1
        assert scores[COUPONS.index(WITHOUT_SALE)] < scores.max()


def test_a_coupon_that_nobody_could_use_yet(
    algorithm: type[Algorithm], taught: Taught, described: Described, pairs: pl.DataFrame, snapshot: Snapshot
) -> None:
    """A new coupon is told apart by what it is for; one for products without a sale ranks low, not nowhere."""
    numbers = numbers_of(snapshot, "coupon")
    scores = taught(algorithm).score(described(algorithm))
    by_coupon = {name: scores[(pairs[c.COUPON] == numbers[name]).to_numpy()] for name in COUPONS}

    assert np.isfinite(by_coupon[NEW_COUPON]).all()
    assert np.isfinite(by_coupon[WITHOUT_SALE]).all()
    assert by_coupon[WITHOUT_SALE].mean() < np.mean([by_coupon[name].mean() for name in COUPONS])
    if algorithm is not Popularity:
        assert len(np.unique(by_coupon[NEW_COUPON])) > 1


def test_without_any_example_known_tastes_decide(
    algorithm: type[Algorithm], described: Described, snapshot: Snapshot, pairs: pl.DataFrame
) -> None:
    model = algorithm().fit(algorithm.inputs.none(), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), 0)
    scores = model.score(described(algorithm))

    assert scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= PRIOR_USE_RATE)).all()
    assert len(np.unique(scores)) > 3
    assert all(model.explain(described(algorithm)))
    json.dumps(model.parameters())


def test_a_shop_without_any_history(algorithm: type[Algorithm], tmp_path: Path) -> None:
    shop = Shop().shopper("u").product("p", "Food").coupon("V", "p").coupon("W")
    snapshot = shop.campaign("only", day(1), day(9), ["V", "W"], ["u"]).write(tmp_path / "empty")
    pairs = pairs_of(snapshot, product(["u"], ["V", "W"]))
    inputs = algorithm.inputs.prepare(snapshot.before(day(1)), pairs[c.COUPON]).describe(pairs)
    model = algorithm().fit(algorithm.inputs.none(), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), 0)

    np.testing.assert_array_equal(model.score(inputs), [0.0, 0.0])
    assert all(model.explain(inputs))


@pytest.mark.parametrize("used", [False, True])
def test_outcomes_of_one_kind_teach_nothing(
    algorithm: type[Algorithm],
    used: bool,
    described: Described,
    examples: Callable[[type[Algorithm]], Examples],
) -> None:
    known = examples(algorithm)
    untaught = algorithm().fit(algorithm.inputs.none(), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), 0)

    model = algorithm().fit(known.inputs, np.full(len(known.labels), used), known.campaigns, 0)

    if algorithm not in (UserBasedFiltering, ItemBasedFiltering):  # where all were used, they still choose a similarity
        np.testing.assert_array_equal(model.score(described(algorithm)), untaught.score(described(algorithm)))
    assert np.isfinite(model.score(described(algorithm))).all()


def test_one_campaign_teaches_already(
    algorithm: type[Algorithm], described: Described, examples: Callable[[type[Algorithm]], Examples]
) -> None:
    """With one campaign there is no later one to choose parameters on."""
    known = examples(algorithm)
    first = known.campaigns == 0

    model = algorithm().fit(known.inputs.filter(first), known.labels[first], known.campaigns[first], 0)

    scores = model.score(described(algorithm))
    assert np.isfinite(scores).all()
    assert scores.max() > PRIOR_USE_RATE


def test_each_pair_has_reasons_with_words(algorithm: type[Algorithm], taught: Taught, described: Described) -> None:
    explained = taught(algorithm).explain(described(algorithm))

    assert len(explained) == len(described(algorithm))
    for reasons in explained:
        assert 1 <= len(reasons) <= 3
        assert {reason["kind"] for reason in reasons} <= KINDS
        assert json.loads(json.dumps(reasons, allow_nan=False)) == reasons
        assert all(sentence and "%(" not in sentence for sentence in in_words(reasons))


def test_learns_what_shoppers_like(
    algorithm: type[Algorithm], taught: Taught, casebook: Casebook, snapshot: Snapshot
) -> None:
    """On a campaign that it was not taught on. Popularity, the same list for everybody, is the bar."""
    last = numbers_of(snapshot, "campaign")["last"]
    labels = casebook.labels(last, day(LAST_DAY))

    def auc(of: type[Algorithm]) -> float:
        return roc_auc_score(labels, taught(of).score(casebook.described(of.inputs, last)))

    assert auc(algorithm) >= FLOORS[algorithm.name]
    if algorithm is not Popularity:
        assert auc(algorithm) > auc(Popularity) + 0.05


def test_scores_add_up_to_what_is_used(
    algorithm: type[Algorithm], taught: Taught, casebook: Casebook, snapshot: Snapshot
) -> None:
    """They are probabilities: on the next campaign their sum is near the number of used offers."""
    last = numbers_of(snapshot, "campaign")["last"]
    used = casebook.labels(last, day(LAST_DAY)).sum()

    expected = taught(algorithm).score(casebook.described(algorithm.inputs, last)).sum()

    assert expected == pytest.approx(used, rel=0.4)


# Reasons of the algorithms that learn from features


@pytest.mark.parametrize("supervised", SUPERVISED)
def test_contributions_are_what_the_model_itself_says(
    supervised: type[SupervisedAlgorithm],
    taught: Callable[[type[Algorithm]], SupervisedAlgorithm],
    described: Described,
    examples: Callable[[type[Algorithm]], Examples],
) -> None:
    """A group's contribution is the fall of the log-odds when the group alone has the medians of the examples."""
    model = taught(supervised)
    inputs = described(supervised)[::7]

    def log_odds(of: pl.DataFrame) -> np.ndarray:
        scores = np.clip(model.score(of), 1e-9, 1 - 1e-9)
        return np.log(scores / (1 - scores))

    medians = dict(zip(f.FEATURES, model.medians_, strict=True))
    np.testing.assert_array_equal(
        model.medians_, [np.median(column) for column in examples(supervised).inputs.select(f.FEATURES)]
    )
    contributions = model.contributions(inputs)
    assert np.abs(contributions).max() > 0.1
    for number, features in enumerate(f.GROUPS.values()):
        without = inputs.with_columns(pl.lit(medians[name]).cast(pl.Float32).alias(name) for name in features)
        np.testing.assert_allclose(contributions[:, number], log_odds(inputs) - log_odds(without), atol=1e-12)


@pytest.mark.parametrize("supervised", SUPERVISED)
def test_no_reason_that_speaks_against(
    supervised: type[SupervisedAlgorithm],
    taught: Callable[[type[Algorithm]], SupervisedAlgorithm],
    described: Described,
) -> None:
    """Nobody is told that they buy what they never bought, nor that a habit speaks for what it speaks against."""
    model = taught(supervised)
    inputs = described(supervised)
    names = list(f.GROUPS)
    facts = inputs.to_dicts()

    for row, contribution, reasons in zip(facts, model.contributions(inputs), model.explain(inputs), strict=True):
        kinds = [reason["kind"] for reason in reasons]
        if "bought_products" in kinds:
            assert row["times"] >= 1
            assert contribution[names.index("own purchases")] > 0
        if "uses_coupons" in kinds:
            assert row["redemptions"] >= 1
            assert contribution[names.index("coupon habit")] > 0
        if "likely_to_buy" in kinds:
            assert contribution[names.index("behaviour")] > 0


@pytest.mark.parametrize("similar", [UserBasedFiltering, ItemBasedFiltering])
def test_neighbours_are_named_only_where_they_speak(
    similar: type[Algorithm], taught: Taught, described: Described
) -> None:
    model = taught(similar)
    inputs = described(similar)
    said = inputs[model.parameters()["similarity"]].to_numpy() > 0

    kinds = [reasons[0]["kind"] for reasons in model.explain(inputs)]

    assert [kind in ("similar_shoppers", "similar_products") for kind in kinds] == said.tolist()
    assert set(kinds[-len(COUPONS) :]) == {"popular"}  # of the new shopper nothing else is known


# What the algorithms that learn from features have in common


def test_unused_offers_are_drawn_and_weigh_as_much_as_all() -> None:
    labels = np.zeros(1000, dtype=bool)
    labels[[3, 500, 999]] = True

    rows, weights = sample_unused(labels, np.random.default_rng(0), most=100)

    assert (np.diff(rows) > 0).all()
    assert set(np.flatnonzero(labels)) <= set(rows)
    assert len(rows) == 103
    np.testing.assert_array_equal(weights[labels[rows]], 1.0)
    assert weights[~labels[rows]].sum() == pytest.approx(997)


def test_few_unused_offers_are_all_kept() -> None:
    rows, weights = sample_unused(np.array([True, False, False]), np.random.default_rng(0))

    assert rows.tolist() == [0, 1, 2]
    assert weights.tolist() == [1.0, 1.0, 1.0]


def test_parameters_are_chosen_on_the_latest_campaigns() -> None:
    campaigns = np.repeat([0, 1, 2, 3], 10)
    labels = np.tile([True] + 9 * [False], 4)  # a used offer a campaign: the last is a quarter of them

    later = later_rows(labels, campaigns)

    assert later is not None
    assert np.unique(campaigns[later]).tolist() == [3]
    assert np.unique(campaigns[~later]).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("labels", "campaigns"),
    [
        pytest.param([1, 0, 1, 0], [0, 0, 0, 0], id="one campaign"),
        pytest.param([1, 0, 1, 1], [0, 0, 1, 1], id="the last has half of them"),
        pytest.param([1, 1, 1, 1, 0], [0, 0, 0, 0, 1], id="nothing used in the last"),
    ],
)
def test_nothing_to_choose_parameters_on(labels: list[int], campaigns: list[int]) -> None:
    assert later_rows(np.array(labels, dtype=bool), np.array(campaigns)) is None


def test_parameters_name_what_was_chosen(taught: Taught) -> None:
    chosen = {algorithm.name: taught(algorithm).parameters() for algorithm in ALGORITHMS.values()}

    assert chosen["decision_tree"]["criterion"] == "entropy"
    assert chosen["decision_tree"]["max_depth"] in (3, 4, 6)
    assert chosen["decision_tree"]["leaves"] <= 2 ** chosen["decision_tree"]["max_depth"]
    assert chosen["support_vector_machine"]["kernel"] in ("linear", "rbf")
    assert chosen["gradient_boosting"]["trees"] < 400
    assert chosen["user_based_cf"]["similarity"] in ("cosine", "pearson")
