"""The champion, chosen on a validation period."""

import numpy as np
import polars as pl
import pytest

from recommender.ml.algorithms import ALGORITHMS, UNTAUGHT
from recommender.ml.evaluation.thresholds import choose_threshold
from recommender.ml.selection import METRIC, Selection, select_champion
from recommender.ml.walk_forward import SCORES_SCHEMA
from recommender.progress import Progress

SHOPPERS, COUPONS = 60, 12
CANDIDATES = ["popularity", "item_based_cf", "gradient_boosting"]


def scores(use: bool = True, **noise: float) -> pl.DataFrame:
    """A campaign of which each shopper uses one coupon of twelve; each algorithm is wrong by so much noise."""
    random = np.random.default_rng(5)
    labels = np.zeros((SHOPPERS, COUPONS), dtype=bool)
    if use:
        labels[np.arange(SHOPPERS), random.integers(0, COUPONS, SHOPPERS)] = True
    labels = labels.ravel()
    frames = [
        pl.DataFrame(
            {
                "algorithm": name,
                "campaign": 0,
                "shopper": np.repeat(np.arange(SHOPPERS), COUPONS),
                "coupon": np.tile(np.arange(COUPONS), SHOPPERS),
                "score": 1 / (1 + np.exp(-(2 * labels + spread * random.normal(size=labels.size)))),
                "label": labels,
                "share": 1.0,
            },
            schema=SCORES_SCHEMA,
        )
        for name, spread in noise.items()
    ]
    return pl.concat(frames) if frames else pl.DataFrame(schema=SCORES_SCHEMA)


def select(frame: pl.DataFrame, candidates: list[str] = CANDIDATES, present: str | None = None) -> Selection:
    return select_champion(frame, candidates, present=present, seed=0, progress=Progress())


CLEAR = scores(popularity=9.0, item_based_cf=1.5, gradient_boosting=0.5)


def test_the_best_by_the_metric_wins_when_it_passes_the_gate() -> None:
    selection = select(CLEAR)

    assert selection.comparison is not None
    assert selection.decision is not None
    assert selection.champion == selection.comparison.ranked(METRIC)[0] == "gradient_boosting"
    assert selection.decision.passed
    assert selection.reason.startswith("gradient_boosting is better than popularity by ndcg_at_10: gain +0.")


def test_between_lists_as_good_as_each_other_all_pairs_decide() -> None:
    """Both order each list alike, but one of them cannot tell whose list is the better."""
    frame = scores(popularity=9.0, gradient_boosting=0.5)
    shift = np.repeat(np.random.default_rng(1).normal(scale=3, size=SHOPPERS), COUPONS)
    odds = pl.col("score") / (1 - pl.col("score")) * pl.Series(np.exp(shift))
    blurred = frame.filter(algorithm="gradient_boosting").with_columns(
        score=odds / (1 + odds), algorithm=pl.lit("item_based_cf")
    )
    selection = select(pl.concat([blurred, frame]))

    assert selection.comparison is not None
    assert selection.comparison.difference("gradient_boosting", "item_based_cf", METRIC).value == 0
    assert selection.champion == "gradient_boosting"
    assert selection.comparison.ranked("roc_auc")[0] == "gradient_boosting"


def test_each_threshold_is_chosen_on_the_period() -> None:
    selection = select(CLEAR)

    assert selection.thresholds == {
        name: choose_threshold(*(CLEAR.filter(algorithm=name)[column].to_numpy() for column in ("score", "label")))
        for name in CANDIDATES
    }
    assert selection.comparison is not None
    assert selection.comparison.thresholds == selection.thresholds


def test_only_candidates_can_win() -> None:
    assert select(CLEAR, ["popularity", "item_based_cf"]).champion == "item_based_cf"


def test_without_a_sure_gain_the_baseline_takes_the_place() -> None:
    frame = scores(popularity=3.0, item_based_cf=3.0, gradient_boosting=9.0)

    selection = select(frame, ["item_based_cf", "gradient_boosting"])

    assert selection.champion == "popularity"
    assert selection.decision is not None
    assert not selection.decision.passed
    assert "not surely better than popularity" in selection.reason


def test_the_present_champion_stays_where_nothing_better_passes() -> None:
    """The present one is better than the only candidate, though that one beats the baseline."""
    selection = select(CLEAR, ["popularity", "item_based_cf"], present="gradient_boosting")

    assert selection.champion == "gradient_boosting"
    assert selection.decision is not None
    assert selection.decision.candidate == "item_based_cf"
    assert [finding.holds for finding in selection.decision.findings] == [True, False]


def test_a_better_candidate_replaces_the_present_champion() -> None:
    assert select(CLEAR, present="item_based_cf").champion == "gradient_boosting"


@pytest.mark.parametrize("frame", [scores(), scores(use=False, popularity=1.0, gradient_boosting=1.0)])
def test_nothing_to_compare_leaves_all_as_it_is(frame: pl.DataFrame) -> None:
    selection = select(frame, present="item_based_cf")

    assert selection.champion == "item_based_cf"
    assert (selection.decision, selection.comparison) == (None, None)
    assert selection.thresholds == dict.fromkeys(CANDIDATES, 0.5)
    assert selection.reason == ("No past campaign of the validation period has a used offer: chances of buying decide.")


def test_nothing_to_compare_and_no_champion_yet() -> None:
    """Then it is the algorithm that falls back on the behaviour model, if one may choose it."""
    assert select(scores(), list(ALGORITHMS)).champion == UNTAUGHT
    assert select(scores(), ["decision_tree", "random_forest"]).champion == "decision_tree"
