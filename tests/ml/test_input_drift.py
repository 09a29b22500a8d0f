"""Drift of inputs: cuts, counts and the index by hand, and that it is found where it is and nowhere else."""

from datetime import datetime
from math import log
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recommender.ml import examples, input_drift
from recommender.ml.algorithms.popularity import CouponPopularity
from recommender.ml.examples import Casebook
from recommender.ml.features import FEATURES, PairFeatures
from recommender.ml.input_drift import (
    LearnedInput,
    LearnedInputs,
    add_counts,
    count_inputs,
    cut,
    measure_learned,
    population_stability_index,
)
from tests.ml.shops import CAMPAIGN_STARTS, LAST_START, Shop, day

FEATURES_OF_PAIRS = PairFeatures()


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


# The index


def test_the_index_by_hand() -> None:
    # Shares 0.5, 0.3, 0.2 and 0.25, 0.25, 0.5.
    expected = -0.25 * log(0.5) - 0.05 * log(0.25 / 0.3) + 0.3 * log(2.5)
    assert population_stability_index([50, 30, 20], [1, 1, 2]) == pytest.approx(expected)
    assert expected == pytest.approx(0.4573, abs=1e-4)


def test_the_index_of_the_same_shares_is_0_whatever_the_counts() -> None:
    assert population_stability_index([10, 30, 0], [1, 3, 0]) == 0


def test_an_empty_bin_counts_as_one_of_ten_thousand() -> None:
    assert population_stability_index([90, 10], [1, 0]) == pytest.approx(
        0.1 * log(1 / 0.9) + (1e-4 - 0.1) * log(1e-4 / 0.1)
    )


# Cuts and counts


@pytest.mark.parametrize(
    ("values", "edges"),
    [
        (range(1, 101), [10, 20, 30, 40, 50, 60, 70, 80, 90]),
        ([0] * 85 + [7] * 15, [-1e-45, 0, 7]),  # 7 is the last of the nine tenths alone
        ([5] * 10, [4.9999995, 5]),
        ([np.nan, 1, 2, np.inf], [0.99999994, 1, 1.9999999, 2]),
        ([np.nan], []),
        ([], []),
    ],
)
def test_values_are_cut_at_their_tenths_each_once(values: list[float], edges: list[float]) -> None:
    cuts = cut(floats(*values))
    assert [np.float32(edge) for edge in cuts] == [np.float32(edge) for edge in edges]


def test_every_value_is_counted_once() -> None:
    learned = [
        LearnedInput("mostly 0", [-1e-45, 0.0, 2.5], [0, 0, 0, 0, 0], 0.0),
        LearnedInput("constant", [3.2999997, 3.3], [0, 0, 0, 0], 0.0),
        LearnedInput("unknown", [], [0, 0], 0.0),
    ]
    inputs = pl.DataFrame(
        {
            "constant": floats(3.3, 3.3, 3.2, 3.4, np.nan),
            "mostly 0": floats(0, 0, 2.5, 2.6, -1),
            "unknown": floats(np.nan, np.nan, np.nan, 1, 2),
        }
    )
    counts = count_inputs(inputs, learned)
    assert counts == [[1, 2, 1, 1, 0], [1, 2, 1, 1], [2, 3]]
    assert add_counts(counts, counts) == [[2, 4, 2, 2, 0], [2, 4, 2, 2], [4, 6]]
    parts = [count_inputs(inputs[rows], learned) for rows in (slice(3, 5), slice(0, 3))]
    assert add_counts(*parts) == counts, "in whatever parts and order"


# What was learned from


@pytest.fixture
def few_shoppers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(input_drift, "FEWEST_SHOPPERS", 1)


def indices(learned: LearnedInputs, described: pl.DataFrame) -> dict[str, float]:
    counts = count_inputs(described, learned.inputs)
    return {
        each.name: population_stability_index(each.counts, after)
        for each, after in zip(learned.inputs, counts, strict=True)
    }


def pooled(casebook: Casebook, moment: datetime) -> pl.DataFrame:
    return pl.concat([casebook.described(FEATURES_OF_PAIRS, campaign) for campaign in casebook.teaching(moment)])


def test_the_pairs_that_were_learned_from_have_not_moved(casebook: Casebook, few_shoppers: None) -> None:
    learned = measure_learned(FEATURES_OF_PAIRS, casebook, LAST_START, seed=0)[""]
    assert learned.campaigns == len(CAMPAIGN_STARTS) - 1
    assert [each.name for each in learned.inputs] == FEATURES
    assert set(indices(learned, pooled(casebook, LAST_START)).values()) == {0.0}


def test_a_shift_is_found_in_the_input_that_has_it_and_no_other(casebook: Casebook, few_shoppers: None) -> None:
    learned = measure_learned(FEATURES_OF_PAIRS, casebook, LAST_START, seed=0)[""]
    shifted = pooled(casebook, LAST_START).with_columns(pl.col("spend") * 1.5)
    found = indices(learned, shifted)
    assert found.pop("spend") > 0.25
    assert set(found.values()) == {0.0}


def test_a_campaign_lies_from_the_others_no_further_than_is_usual(casebook: Casebook, few_shoppers: None) -> None:
    learned = measure_learned(FEATURES_OF_PAIRS, casebook, LAST_START, seed=0)[""]
    largest = dict.fromkeys(FEATURES, 0.0)
    for campaign in casebook.teaching(LAST_START):
        own = count_inputs(casebook.described(FEATURES_OF_PAIRS, campaign), learned.inputs)
        for each, counts in zip(learned.inputs, own, strict=True):
            others = [total - part for total, part in zip(each.counts, counts, strict=True)]
            largest[each.name] = max(largest[each.name], population_stability_index(others, counts))
    assert {each.name: each.usual for each in learned.inputs} == pytest.approx(largest, abs=1e-4)
    assert max(largest.values()) > 0.25, "coupons differ from campaign to campaign"


def shop_of(kinds: list[str], shoppers: int) -> Shop:
    """Campaigns of ten days, one after the other, each for all shoppers."""
    shop = Shop().coupon("V", "milk").coupon("W", "tea")
    names = [f"s{number:03}" for number in range(shoppers)]
    for number, name in enumerate(names):
        shop.sell(name, day(-5 - number % 20), "milk")
        shop.sell(name, day(-3), "tea")
    for number, kind in enumerate(kinds):
        shop.campaign(f"c{number}", day(20 * number), day(20 * number + 10), ["V", "W"], names)
        shop.things["campaigns"][f"c{number}"]["kind"] = kind
    return shop


@pytest.mark.parametrize(
    ("kinds", "shoppers", "groups"),
    [
        (["mail", "app", "mail", "", "mail"], 100, {"": 5, "mail": 3}),
        (["", "", ""], 100, {"": 3}),
        (["", ""], 100, {}),
        (["", "", ""], 99, {}),
    ],
)
def test_campaigns_are_taken_together_by_kind_where_there_are_enough(
    tmp_path: Path, kinds: list[str], shoppers: int, groups: dict[str, int]
) -> None:
    casebook = Casebook(shop_of(kinds, shoppers).write(tmp_path / "shop"))
    learned = measure_learned(CouponPopularity(), casebook, day(200), seed=0)
    assert {kind: of_kind.campaigns for kind, of_kind in learned.items()} == groups
    assert all(
        sum(each.counts) == 2 * shoppers * of_kind.campaigns for of_kind in learned.values() for each in of_kind.inputs
    )


def test_what_a_run_offered_is_compared_as_it_was_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The best of the pairs are not like all of them, so all count, or as many as are described stand for all."""
    shop = shop_of(["", "", ""], 100)
    expected = measure_learned(CouponPopularity(), Casebook(shop.write(tmp_path / "before")), day(200), seed=0)[""]
    for number in range(100):
        shop.offer("c1", f"s{number:03}", "V", day(20))
    casebook = Casebook(shop.write(tmp_path / "shop"))
    assert len(casebook.pairs(1)) == 100
    whole = casebook.scored(CouponPopularity(), 1)
    assert (whole.shoppers, whole.inputs.height, whole.weight) == (100, 200, 1.0)
    assert measure_learned(CouponPopularity(), casebook, day(200), seed=0)[""] == expected

    monkeypatch.setattr(examples, "MOST_SCORED", 50)
    sample = casebook.scored(CouponPopularity(), 1)
    assert (sample.shoppers, sample.inputs.height, sample.weight, sample.size) == (100, 50, 4.0, 200.0)
    sampled = measure_learned(CouponPopularity(), casebook, day(200), seed=0)[""]
    assert [sum(each.counts) for each in sampled.inputs] == [600] * 3
    assert sampled.inputs[:2] == expected.inputs[:2], "of these every coupon has the same value"
