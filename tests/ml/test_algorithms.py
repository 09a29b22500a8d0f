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
from recommender.ml.algorithms import ALGORITHMS, UNTAUGHT, Algorithm, UnknownAlgorithm, algorithms_named
from recommender.ml.algorithms.blend import Blend
from recommender.ml.algorithms.calibration import PRIOR_USE_RATE
from recommender.ml.algorithms.neighbours import ItemBasedFiltering, UserBasedFiltering
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.algorithms.sequence_network import neural_requirements_installed
from recommender.ml.algorithms.supervised import SupervisedAlgorithm, later_rows, sample_unused
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.examples import Casebook, Examples
from recommender.ml.history import History, Snapshot
from recommender.reasons import KINDS, in_words, speaking_against, speaking_for
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
    "extra_trees": 0.75,
    "support_vector_machine": 0.75,
    "gradient_boosting": 0.75,
    "boosted_logistic_regression": 0.75,
    "blend": 0.75,
}
NEURAL = "basket_sequence_network"
if neural_requirements_installed():
    FLOORS[NEURAL] = 0.75


@pytest.fixture(scope="module")
def examples(casebook: Casebook) -> Callable[[type[Algorithm]], Examples]:
    def of(algorithm: type[Algorithm]) -> Examples:
        found = casebook.examples(algorithm.inputs, LAST_START)
        assert found is not None
        return found

    return of


def test_algorithms_by_name() -> None:
    assert list(ALGORITHMS) == list(FLOORS)
    assert UNTAUGHT in ALGORITHMS
    assert [each.name for each in algorithms_named(None)] == [name for name in FLOORS if name != NEURAL]
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

    A product of matrices rounds its rows differently by how many there are: the fifteenth digit, or the seventh where
    boosting goes on from it in single precision.
    """
    prepared = algorithm.inputs.prepare(history, pairs[c.COUPON])
    order = np.random.default_rng(1).permutation(len(pairs))
    model = taught(algorithm)
    scores = model.score(described(algorithm))

    for start, size in ((0, 1), (1, 6), (7, 301), (308, len(pairs))):
        rows = order[start : start + size]
        shard = prepared.describe(pairs[rows])
        assert shard.equals(described(algorithm)[rows])
        np.testing.assert_allclose(model.score(shard), scores[rows], rtol=1e-6)


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
        assert 1 <= len(speaking_for(reasons)) <= 3
        assert speaking_for(reasons) + speaking_against(reasons) == reasons
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


@pytest.mark.parametrize("similar", [UserBasedFiltering, ItemBasedFiltering])
def test_neighbours_are_named_only_where_they_speak(
    similar: type[Algorithm], taught: Taught, described: Described
) -> None:
    """They are a reason exactly where the score is lower without what they say."""
    model = taught(similar)
    inputs = described(similar)
    silent = inputs.with_columns(pl.lit(0.0, pl.Float32).alias(model.parameters()["similarity"]))
    spoke = model.score(inputs) > model.score(silent)

    kinds = [{reason["kind"] for reason in reasons} for reasons in model.explain(inputs)]

    assert [bool(each & {"similar_shoppers", "similar_products"}) for each in kinds] == spoke.tolist()
    assert all(each == {"popular"} for each in kinds[-len(COUPONS) :])  # of the new shopper nothing else is known


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
    assert chosen["decision_tree"]["depth"] <= chosen["decision_tree"]["max_depth"]
    assert chosen["decision_tree"]["leaves"] <= 2 ** chosen["decision_tree"]["depth"]
    assert chosen["support_vector_machine"]["kernel"] in ("linear", "rbf")
    assert 20 <= chosen["gradient_boosting"]["trees"] <= 300
    assert chosen["boosted_logistic_regression"]["C"] in (3e-4, 1e-3, 3e-3)
    assert chosen["blend"] == {member.name: chosen[member.name] for member in Blend.members}
    assert chosen["user_based_cf"]["similarity"] in ("cosine", "pearson")
