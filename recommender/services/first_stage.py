"""The first stage of a run: which pairs are worth scoring, learned from some shoppers all of whose pairs are."""

from collections.abc import Sequence
from itertools import compress
from typing import Any

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.contract import Sketch
from recommender.ml.input_drift import add_counts, count_inputs
from recommender.ml.retrieval import MOST_KEPT, learn_retrieval
from recommender.models import Run
from recommender.services.expected_prices import expect_prices, list_at_price, worth_at_price
from recommender.services.scorer import Scorer

#: Shoppers that a run's first stage is learned from and measured on. Half of them tell a kept share of 99.5 % to some
#: 0.2 %, and what each coupon scores on the mean to a few hundredths of itself.
SAMPLE_SHOPPERS = 2_000
FEWEST_WITH_CANDIDATES = 50  # of them, or every pair is scored
FEWEST_SHOPPERS = 4 * SAMPLE_SHOPPERS  # of a run in two stages


def is_worth_two_stages(shoppers: int, coupons: int, top: int) -> bool:
    """Whether it may save anything to choose the coupons that are scored: lists are short beside the coupons, and the
    shoppers that this is learned from are few beside the others."""
    return shoppers >= FEWEST_SHOPPERS and top < MOST_KEPT * coupons


def choose_pairs(scorer: Scorer, shoppers: pl.DataFrame, run: Run) -> dict[str, Any]:
    """What :attr:`Run.retrieval` keeps: learned from some shoppers of the run, all of whose pairs are scored.

    Of a run within a budget it is not yet known what it will be worth. What is learned to be kept is what stands on
    lists at the price that the budget has among these shoppers, and at others around it.
    """
    sketches: list[Sketch] = []
    scores: list[np.ndarray] = []
    best: list[pl.DataFrame] = []
    counts: list[list[int]] = []
    for part in shoppers.iter_slices(scorer.block_shoppers):
        sketch = scorer.described().sketch(part[c.SHOPPER])
        if sketch is None:
            return {}
        scored, inputs = scorer.score_all(part)
        pairs_before = sum(of_part.size for of_part in scores)
        best.append(scorer.choose_best(scored, run.top).with_columns(pl.col("pair") + pairs_before))
        sketches.append(sketch)
        scores.append(scored[c.SCORE].to_numpy().reshape(part.height, -1))
        counts = add_counts(counts, count_inputs(inputs, scorer.learned))
    together = {name: np.concatenate([sketch[name] for sketch in sketches]) for name in sketches[0]}
    all_scores, all_best = np.concatenate(scores), pl.concat(best)
    prices = None
    if scorer.terms is not None:
        prices = expect_prices(all_best, scorer.terms, run, shoppers=shoppers.height)
    listed = _mark_listed(scorer, all_best, run.top, prices, all_scores.shape)
    if prices is not None:  # at a high one hardly anybody is offered anything
        enough = [marks.any(axis=1).sum() >= FEWEST_WITH_CANDIDATES for marks in listed]
        prices, listed = list(compress(prices, enough)), list(compress(listed, enough))
    # Within a budget some shoppers have no candidate: whoever brings nothing.
    some = np.any(listed, axis=(0, 2)) if listed else np.zeros(len(all_scores), dtype=bool)
    if some.sum() < FEWEST_WITH_CANDIDATES:
        return {}
    tables = {name: table[some] for name, table in together.items()}
    retrieval = learn_retrieval(
        tables, [all_scores[some] * worth for worth in _worth(scorer, prices)], [marks[some] for marks in listed]
    )
    if retrieval is None:
        return {}
    sums = zip(scorer.coupons[c.COUPON_ID], all_scores.sum(axis=0).tolist(), strict=True)
    return {
        "first_stage": retrieval.as_json(),
        "prices": prices,
        "score_sums": {coupon_id: (len(all_scores), total) for coupon_id, total in sums},
        "input_counts": counts,
    }


def count_kept(scorer: Scorer, shoppers: pl.DataFrame, top: int, prices: Sequence[float] | None) -> tuple[int, int]:
    """Of what stands on some shoppers' lists when every pair is scored, how much the first stage keeps, and all."""
    scored, _inputs = scorer.score_all(shoppers)
    shape = (shoppers.height, scorer.coupons.height)
    listed = np.any(_mark_listed(scorer, scorer.choose_best(scored, top), top, prices, shape), axis=0)
    sketch = None if scorer.retrieval is None else scorer.described().sketch(shoppers[c.SHOPPER])
    if scorer.retrieval is None or sketch is None:
        return int(listed.sum()), int(listed.sum())
    kept = np.take_along_axis(listed, scorer.retrieval.choose(sketch), axis=1)
    return int(kept.sum()), int(listed.sum())


def _mark_listed(
    scorer: Scorer, best: pl.DataFrame, top: int, prices: Sequence[float] | None, shape: tuple[int, ...]
) -> list[np.ndarray]:
    """(shoppers, coupons) at each price: which pairs the first stage has to keep, of those that may stand on lists.
    Where lists follow from no price, once."""
    if scorer.terms is None or prices is None:
        lists = [best]
    else:
        lists = [list_at_price(best, scorer.terms, top, price) for price in prices]
    listed = [np.zeros(shape, dtype=bool) for _list in lists]
    for marks, on_list in zip(listed, lists, strict=True):
        marks.flat[on_list["pair"].to_numpy()] = True
    return listed


def _worth(scorer: Scorer, prices: Sequence[float] | None) -> list[np.ndarray]:
    """(coupons,) at each price: by what a coupon's chances are multiplied for its place on lists."""
    if scorer.terms is None or prices is None:
        return [np.ones(scorer.coupons.height)]
    numbers = {coupon_id: number for number, coupon_id in enumerate(scorer.terms.coupon_ids)}
    in_order = [numbers[coupon_id] for coupon_id in scorer.coupons[c.COUPON_ID]]
    return [worth_at_price(scorer.terms, price)[in_order] for price in prices]
