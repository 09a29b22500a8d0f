"""The neural algorithm: sequences by hand, what a network learns from them, and life without PyTorch."""

import pickle
import subprocess
import sys
from datetime import timedelta
from itertools import product
from math import log1p
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from recommender.ml import algorithms
from recommender.ml import columns as c
from recommender.ml.algorithms import UnknownAlgorithm, algorithms_named, sequence_network
from recommender.ml.algorithms.basket_sequences import (
    FEWEST_DAYS_AFTER,
    HALF_LIVES,
    HORIZON_DAYS,
    TOKEN,
    BasketSequences,
    TeachingMoments,
    Tokens,
    expand,
    pace,
)
from recommender.ml.algorithms.popularity import CouponPopularity
from recommender.ml.algorithms.sequence_network import (
    DISCOVERY_RATE,
    REFITTED_EVERY,
    REPEAT_RATE,
    BasketSequenceNetwork,
    ForetoldPurchases,
    NeuralRequirementsMissing,
    neural_requirements_installed,
    rate_network,
)
from recommender.ml.examples import Casebook
from recommender.ml.history import History, Snapshot
from recommender.ml.product_sets import BUYERS_SHARE
from recommender.ml.walk_forward import fit_as_of
from tests.ml.shops import DAY_0, LAST_DAY, LAST_START, Shop, day, numbers_of, pairs_of

needs_torch = pytest.mark.skipif(
    not neural_requirements_installed(), reason="PyTorch is not installed: make neural, then nothing here is skipped"
)


@pytest.fixture
def small_shop() -> Shop:
    """Three products that three shoppers buy, two rare ones of a category each, and one without a category."""
    shop = Shop()
    for number, name in enumerate(("bread", "milk", "tea")):
        shop.product(name, f"Food / Kind {number}")
    shop.product("rare bread", "Food / Kind 0").product("rare fish", "Food / Kind 3").product("thing")
    for shopper in ("u", "v", "w"):
        shop.sell(shopper, day(1), "bread", "milk")
        shop.sell(shopper, day(5), "tea", "rare bread" if shopper == "u" else "bread", coupon_discount=1.0)
    shop.sell("u", day(9), "rare fish", "thing", "milk", "milk", discount=1.0)
    return shop


def history_of(shop: Shop, folder: Path, moment: float = 10) -> History:
    return shop.write(folder / "shop").before(day(moment))


# Without PyTorch


def test_starting_imports_no_torch() -> None:
    code = "import sys, recommender.ml.algorithms; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_torch_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, history: History, pairs: pl.DataFrame
) -> None:
    monkeypatch.setattr(sequence_network, "neural_requirements_installed", lambda: False)

    with pytest.raises(NeuralRequirementsMissing, match=r"basket_sequence_network needs .* requirements-neural\.txt"):
        ForetoldPurchases().prepare(history, pairs[c.COUPON])


def test_without_torch_it_is_no_algorithm(monkeypatch: pytest.MonkeyPatch) -> None:
    others = {name: kind for name, kind in algorithms.ALGORITHMS.items() if kind is not BasketSequenceNetwork}
    monkeypatch.setattr(algorithms, "ALGORITHMS", others)

    assert BasketSequenceNetwork not in algorithms_named(None)
    for names in (["popularity", "basket_sequence_network"], ["all"]):
        with pytest.raises(UnknownAlgorithm, match=r"requirements-neural\.txt"):
            algorithms_named(names)


@needs_torch
def test_with_torch_it_is_an_algorithm_that_has_to_be_asked_for() -> None:
    assert algorithms_named(["basket_sequence_network"]) == [BasketSequenceNetwork]
    assert algorithms_named(["all"]) == [*algorithms_named(None), BasketSequenceNetwork]


def test_a_fitted_one_can_be_read_without_torch() -> None:
    """The network belongs to the history; what is kept is how its word is taken."""
    inputs = pl.DataFrame(
        {column: np.linspace(0, 1, 40) for column in ForetoldPurchases.columns},
        schema=ForetoldPurchases().none().schema,
    )
    model = BasketSequenceNetwork().fit(inputs, np.arange(40) % 8 > 5, np.zeros(40, dtype=np.int64), 0)

    assert b"torch" not in pickle.dumps(model)


# Tokens and sequences, by hand


def test_rare_products_are_pooled_by_category(small_shop: Shop, tmp_path: Path) -> None:
    small_shop.product("never sold", "Food / Kind 0").product("of a new kind", "Food / Kind 9")
    history = history_of(small_shop, tmp_path)
    tokens = Tokens.of(history)

    names = {number: name for name, number in numbers_of(history.snapshot, "product").items()}
    found = tokens.of_products(history, pl.Series(list(names), dtype=pl.UInt32))
    token = {names[number]: token for number, token in found.select(c.PRODUCT, TOKEN).iter_rows()}

    assert len(tokens) == 3 + 4 + 1
    assert [token[name] for name in ("bread", "milk", "tea")] == [0, 1, 2]
    assert token["rare bread"] == token["never sold"] == 3
    assert token["rare fish"] == 6
    assert token["thing"] == token["of a new kind"] == 7


def test_a_coupon_has_its_share_of_a_pool(tmp_path: Path) -> None:
    """Of the pool's three purchases one is of A; N, which nobody bought, counts as one more."""
    shop = Shop().product("A", "Food").product("B", "Food").product("N", "Food")
    shop.sell("u", day(1), "A", "B")
    shop.sell("v", day(2), "B")
    shop.coupon("for A", "A").coupon("for A and N", "A", "N").coupon("for all", "A", "B")
    history = history_of(shop, tmp_path)
    coupons = pl.Series(range(3), dtype=pl.UInt32)
    targets = history.scan("coupon_products").collect()

    shares = Tokens.of(history).shares(history, targets, coupons).toarray()

    np.testing.assert_allclose(shares, [[1 / 3, 2 / 4, 1.0], [0, 0, 0]])


def test_sequences_are_what_was_bought_in_time(small_shop: Shop, tmp_path: Path) -> None:
    history = history_of(small_shop, tmp_path, moment=9)
    later = history_of(small_shop, tmp_path / "later", moment=9.5)
    shoppers = pl.Series(list(numbers_of(history.snapshot, "shopper").values()), dtype=pl.UInt32)

    sequences = BasketSequences(history, Tokens.of(history), shoppers)
    of_u = BasketSequences(later, Tokens.of(later), shoppers[:1])

    assert sequences.first_baskets.tolist() == [0, 2, 4, 6]  # the basket at the moment itself is not known
    tokens, begins, facts = of_u.padded(np.array([0, 1]), np.array([3, 2]))
    assert tokens.tolist() == [0, 1, 2, 3, 1, 6, 7, 2, 3]  # double milk is one milk
    assert begins.tolist() == [0, 2, 4, 7, 9, 9]
    np.testing.assert_allclose(
        facts[0],
        [
            [0, 1, log1p(2), 0, 0],
            [log1p(4), 0, log1p(2), 0, 1],
            [log1p(4), 0, log1p(4), 1, 0],
        ],
        rtol=1e-6,
    )
    np.testing.assert_array_equal(facts[1][1:], 0)
    np.testing.assert_array_equal(of_u.baskets_before(np.zeros(3, dtype=int), of_u.times), [0, 1, 2])
    assert of_u.now - of_u.times[2] == pytest.approx(0.5)


@pytest.mark.parametrize("half_life", HALF_LIVES)
def test_a_steady_pace_is_told_from_a_long_history(half_life: float) -> None:
    """One purchase each noon: as many in the horizon as it has days, less in a short history."""
    faded = [(2.0 ** (-(np.arange(days) + 0.5) / half_life)).sum() for days in (2000, int(half_life))]

    assert pace(half_life, 2000) * faded[0] == pytest.approx(HORIZON_DAYS, rel=1e-3)
    assert pace(half_life, int(half_life)) * faded[1] == pytest.approx(HORIZON_DAYS * 2 / 3, rel=1e-3)


def test_expand() -> None:
    assert expand(np.array([5, 0, 9]), np.array([2, 0, 3])).tolist() == [5, 6, 9, 10, 11]


def test_moments_teach_what_followed_and_know_what_went_before(history: History) -> None:
    """Each against a slow count of its own."""
    tokens = Tokens.of(history)
    shoppers = history.scan("order_lines").collect()[c.SHOPPER].unique()
    sequences = BasketSequences(history, tokens, shoppers)

    moments = TeachingMoments.drawn(sequences, np.random.default_rng(0))

    assert moments is not None
    lines = history.scan("order_lines").collect()
    lines = lines.join(tokens.of_products(history, lines[c.PRODUCT]), on=c.PRODUCT)
    lines = lines.with_columns(
        time=(pl.col(c.ORDERED_AT) - DAY_0).dt.total_microseconds() / timedelta(days=1).total_seconds() / 1e6
    )
    now = (history.moment - DAY_0) / timedelta(days=1)
    first = lines["time"].min()
    assert isinstance(first, float)
    assert moments.exposure.max() == 1
    assert moments.exposure.min() >= FEWEST_DAYS_AFTER / HORIZON_DAYS
    for number in range(0, len(moments.rows), 97):
        own = lines.filter(pl.col(c.SHOPPER) == sequences.shoppers[int(moments.rows[number])])
        last = sequences.times[moments.ends[number] - 1] - (sequences.now - now)
        moment = last + moments.elapsed[number]
        before = own.filter(pl.col("time") < moment)
        after = own.filter(pl.col("time").is_between(moment, moment + HORIZON_DAYS, closed="left"))
        assert last == pytest.approx(before["time"].max(), abs=1e-6)
        assert moments.exposure[number] == pytest.approx(min(HORIZON_DAYS, now - moment) / HORIZON_DAYS)
        np.testing.assert_array_equal(
            moments.bought[number].toarray()[0], np.bincount(after[TOKEN], minlength=len(tokens))
        )
        for half_life, faded in zip(HALF_LIVES, moments.own, strict=True):
            weights = pace(half_life, moment - first) * 2.0 ** -((moment - before["time"].to_numpy()) / half_life)
            np.testing.assert_allclose(
                faded[number].toarray()[0], np.bincount(before[TOKEN], weights, minlength=len(tokens)), rtol=1e-5
            )


# The network


@pytest.fixture(scope="module")
def model(casebook: Casebook) -> BasketSequenceNetwork:
    fitted = fit_as_of(BasketSequenceNetwork, casebook, LAST_START, seed=0).model
    assert isinstance(fitted, BasketSequenceNetwork)
    return fitted


@needs_torch
def test_it_learns_what_shoppers_like(model: BasketSequenceNetwork, casebook: Casebook, snapshot: Snapshot) -> None:
    last = numbers_of(snapshot, "campaign")["last"]
    labels = casebook.labels(last, day(LAST_DAY))
    inputs = casebook.described(model.inputs, last)
    popular = casebook.described(CouponPopularity(), last)[BUYERS_SHARE]
    untaught = BasketSequenceNetwork().fit(inputs.clear(), labels[:0], labels[:0].astype(np.int64), 0)

    bar = roc_auc_score(labels, popular)
    assert roc_auc_score(labels, inputs[REPEAT_RATE]) > bar + 0.1
    assert roc_auc_score(labels, untaught.score(inputs)) > bar + 0.1
    assert roc_auc_score(labels, model.score(inputs)) > 0.75


@needs_torch
def test_rates_add_up_to_what_is_bought(history: History, pairs: pl.DataFrame) -> None:
    """Whole-shop coupons foretell all purchases of the next four weeks."""
    whole_shop = numbers_of(history.snapshot, "coupon")["V-whole-shop"]
    asked = pairs.filter(pl.col(c.COUPON) == whole_shop)
    inputs = ForetoldPurchases().prepare(history, asked[c.COUPON]).describe(asked)
    since = history.snapshot.before(history.moment + timedelta(days=HORIZON_DAYS))
    now, before = (each.scan("order_lines").collect().height for each in (since, history))
    bought = now - before

    assert inputs.select(REPEAT_RATE, DISCOVERY_RATE).to_numpy().sum() == pytest.approx(bought, rel=0.3)


@needs_torch
def test_the_same_history_gives_the_same_network(history: History, pairs: pl.DataFrame) -> None:
    before = ForetoldPurchases().prepare(history, pairs[c.COUPON]).describe(pairs)
    sequence_network._fit_rate_network.cache_clear()
    again = ForetoldPurchases().prepare(history, pairs[c.COUPON]).describe(pairs)

    assert again.equals(before)


@needs_torch
def test_fitting_leaves_torch_as_it_was(tmp_path: Path, small_shop: Shop) -> None:
    import torch

    from recommender.ml.algorithms.rate_network import RateNetwork

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    assert RateNetwork().fit(history_of(small_shop, tmp_path)) is not None

    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


@needs_torch
def test_a_network_serves_a_while(history: History) -> None:
    at_grid = rate_network(history.snapshot.before(DAY_0 + (LAST_START - DAY_0) // REFITTED_EVERY * REFITTED_EVERY))

    assert rate_network(history) is rate_network(history.snapshot.before(LAST_START + timedelta(hours=1)))
    assert at_grid is not None


@needs_torch
def test_too_little_to_learn_from_leaves_popularity(tmp_path: Path) -> None:
    shop = Shop()
    shop.sell("u", day(1), "A", "B")
    shop.sell("v", day(2), "A")
    snapshot = shop.coupon("for A", "A").coupon("for B", "B").write(tmp_path / "shop")
    asked = pairs_of(snapshot, product("uv", ["for A", "for B"]))

    inputs = ForetoldPurchases().prepare(snapshot.before(day(3)), asked[c.COUPON]).describe(asked)

    assert inputs[DISCOVERY_RATE].to_list() == [1.0, 0.5, 1.0, 0.5]
    assert inputs[REPEAT_RATE].to_list() == [0.0] * 4


@needs_torch
def test_own_purchases_of_a_pooled_product_are_its_buyers(tmp_path: Path) -> None:
    """The network pools two rare products; who bought which is not forgotten."""
    shop = Shop().product("A", "Food").product("B", "Food").product("bread", "Food")
    for number in range(0, 120, 4):
        shop.sell("u", day(number), "A")
        shop.sell("v", day(number + 1), "B")
        shop.sell("w", day(number + 2), "bread")
    snapshot = shop.coupon("for A", "A").coupon("for B", "B").write(tmp_path / "shop")
    asked = pairs_of(snapshot, product("uv", ["for A", "for B"]))

    inputs = ForetoldPurchases().prepare(snapshot.before(day(120)), asked[c.COUPON]).describe(asked)

    (u_A, u_B, v_A, v_B) = inputs[REPEAT_RATE]
    assert min(u_A, v_B) > 0.5
    assert u_B == v_A == 0
