"""The first of two stages: what is kept, and that nothing of it depends on how the work is cut up."""

import json

import numpy as np
import polars as pl
import pytest

from recommender.ml import columns as c
from recommender.ml import retrieval
from recommender.ml.features import PairFeatures
from recommender.ml.history import History
from recommender.ml.retrieval import Retrieval, learn_retrieval

SHOPPERS, COUPONS, TOP = 400, 60, 5


def sketch_and_scores(
    noise: float, *worth: np.ndarray
) -> tuple[dict[str, np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Scores that follow two tables of three and the coupon, with so much that the sketch knows nothing of; and what is
    on lists by them, or by each of them times what the coupons are worth."""
    random = np.random.default_rng(0)
    shape = SHOPPERS, COUPONS
    sketch = {name: random.poisson(0.3, shape).astype(float) for name in ("own", "category", "nothing")}
    log_odds = (
        2 * np.log1p(sketch["own"])
        + np.log1p(sketch["category"])
        + random.normal(0, 1, COUPONS)
        + random.normal(0, 1, (SHOPPERS, 1))
        + random.normal(0, noise, shape)
    )
    chances = 1 / (1 + np.exp(4 - log_odds))
    scores = [chances * each for each in worth or (np.ones(COUPONS),)]
    listed = []
    for of_order in scores:
        marks = np.zeros(shape, dtype=bool)
        np.put_along_axis(marks, np.argsort(-of_order, axis=1)[:, :TOP], True, axis=1)
        listed.append(marks & (of_order > 0))
    return sketch, scores, listed


def test_scores_that_the_sketch_explains_need_few_coupons() -> None:
    learned = learn_retrieval(*sketch_and_scores(noise=0.001))

    assert learned is not None
    assert TOP <= learned.kept_coupons <= TOP + 1
    assert learned.measured_on == SHOPPERS // 2


def test_it_keeps_no_more_than_the_aim_asks_for() -> None:
    sketch, scores, [listed] = sketch_and_scores(noise=0.3)
    learned = learn_retrieval(sketch, scores, [listed])
    assert learned is not None
    measured = slice(1, None, 2)
    order = learned.order({name: table[measured] for name, table in sketch.items()})

    def kept_share(coupons: int) -> float:
        return np.take_along_axis(listed[measured], order[:, :coupons], axis=1).sum() / listed[measured].sum()

    assert learned.kept_share == pytest.approx(kept_share(learned.kept_coupons))
    assert learned.kept_share >= retrieval.KEPT_SHARE > kept_share(learned.kept_coupons - 1)
    assert retrieval.LEAST_KEPT_SHARE <= learned.kept_share_low < learned.kept_share <= learned.kept_share_high <= 1


def test_scores_that_the_sketch_knows_nothing_of_are_left_to_scoring_every_pair() -> None:
    assert learn_retrieval(*sketch_and_scores(noise=30)) is None


def test_several_orders_are_kept_at_once() -> None:
    odd = np.arange(COUPONS) % 2 == 1
    sketch, scores, listed = sketch_and_scores(0.001, np.ones(COUPONS), odd.astype(float), np.where(odd, 0.0, 0.5))
    each_for_itself = [learn_retrieval(sketch, [one], [marks]) for one, marks in zip(scores, listed, strict=True)]
    learned = learn_retrieval(sketch, scores, listed)
    assert learned is not None

    assert all(one is not None and one.kept_coupons <= TOP + 1 for one in each_for_itself)
    wanted = np.any(listed, axis=0)
    assert wanted.sum(axis=1).max() == 2 * TOP
    assert 2 * TOP <= learned.kept_coupons <= 2 * TOP + 2, "those of the second and the third, and they hold the first"
    kept = np.take_along_axis(wanted, learned.choose(sketch), axis=1)
    assert kept.sum() / wanted.sum() > 0.99
    assert len(learned.further_orders) == 2


def test_an_order_by_which_some_shoppers_have_nothing() -> None:
    sketch, scores, listed = sketch_and_scores(0.001, np.ones(COUPONS), np.ones(COUPONS))
    listed[1][: SHOPPERS // 2] = False

    learned = learn_retrieval(sketch, scores, listed)

    assert learned is not None
    assert learned.kept_coupons <= TOP + 1
    assert np.isfinite(learned.further_orders[0][1]).all()


def test_what_is_chosen_depends_on_no_other_shopper() -> None:
    sketch, scores, listed = sketch_and_scores(0.3, np.ones(COUPONS), np.arange(COUPONS) / COUPONS)
    learned = learn_retrieval(sketch, scores, listed)
    assert learned is not None
    together = learned.choose(sketch)

    for size in (1, 7, 399):
        parts = [
            learned.choose({name: table[start : start + size] for name, table in sketch.items()})
            for start in range(0, SHOPPERS, size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), together)
    assert (np.diff(together, axis=1) > 0).all()


def test_it_is_the_same_after_it_was_stored() -> None:
    sketch, scores, listed = sketch_and_scores(0.3, np.ones(COUPONS), np.arange(COUPONS) / COUPONS)
    learned = learn_retrieval(sketch, scores, listed)
    assert learned is not None

    stored = Retrieval(**json.loads(json.dumps(learned.as_json())))

    assert stored == learned == learn_retrieval(sketch, scores, listed)
    np.testing.assert_array_equal(stored.choose(sketch), learned.choose(sketch))


def test_one_order_is_stored_as_the_version_before_reads_it() -> None:
    learned = learn_retrieval(*sketch_and_scores(noise=0.3))
    assert learned is not None
    told = learned.as_json()
    assert "further_orders" not in told
    assert Retrieval(**json.loads(json.dumps(told))) == learned


@pytest.mark.parametrize("at_once", [7, 512])
def test_chosen_pairs_are_described_as_all_pairs_are(
    at_once: int, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recommender.ml.features.SHOPPERS_AT_ONCE", at_once)
    coupons = history.scan("coupons").select(c.COUPON).collect()[c.COUPON].sort()
    shoppers = history.scan("shoppers").select(c.SHOPPER).collect()[c.SHOPPER].sort()
    described = PairFeatures().prepare(history, coupons)
    every = shoppers.to_frame().join(coupons.to_frame(), how="cross", maintain_order="left_right")
    seen = described.sketch(shoppers)
    assert seen is not None

    def choose(sketch: object) -> np.ndarray:
        shape = len(next(iter(sketch.values()))), len(coupons)  # type: ignore[attr-defined]
        return np.sort(np.argsort(np.random.default_rng(1).random(shape), axis=1)[:, :5], axis=1)

    chosen = described.describe_chosen(shoppers, choose)

    asked = shoppers.search_sorted(chosen.pairs[c.SHOPPER]) * len(coupons) + coupons.search_sorted(
        chosen.pairs[c.COUPON]
    )
    assert chosen.pairs.height == 5 * len(shoppers)
    assert chosen.inputs.equals(described.describe(every)[asked])
    whole = described.describe(every)
    assert {"own_share_against_the_shop", "times_shoppers_above", "brand_faded_times"} <= set(seen)
    for name in set(seen) & set(whole.columns):
        assert pl.Series(seen[name].ravel()).cast(pl.Float32).to_list() == whole[name].to_list(), name
