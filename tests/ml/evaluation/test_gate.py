"""Who becomes the champion, and why."""

import json

import numpy as np
import pytest

from recommender.ml.evaluation.bootstrap import Estimate, estimate
from recommender.ml.evaluation.comparison import Comparison
from recommender.ml.evaluation.gate import choose_champion, passes_gate


def comparison(**draws: tuple[float, ...]) -> Comparison:
    """Algorithms with a value and its values in the resamples, the same for ``roc_auc`` and ``log_loss``."""
    metrics = ("roc_auc", "log_loss")
    return Comparison(
        estimates={
            name: {metric: estimate(values[0], np.array(values[1:])) for metric in metrics}
            for name, values in draws.items()
        },
        draws={name: {metric: np.array(values[1:]) for metric in metrics} for name, values in draws.items()},
        thresholds=dict.fromkeys(draws, 0.5),
        campaign_count=1,
        shopper_count=2,
        pair_count=3,
        redemption_count=1,
        resamples=3,
    )


NAN = float("nan")
SOME = comparison(
    popularity=(0.60, 0.59, 0.60, 0.61),
    forest=(0.70, 0.69, 0.70, 0.71),
    tree=(0.65, 0.58, 0.65, 0.70),
    boosting=(0.70, 0.70, 0.71, 0.72),
    empty=(NAN, NAN, NAN, NAN),
)


def test_the_best_is_chosen_and_of_equals_the_first_by_name() -> None:
    assert choose_champion(SOME, "roc_auc") == "boosting"
    assert choose_champion(SOME, "log_loss") == "popularity"


def test_no_choice_without_a_defined_figure() -> None:
    with pytest.raises(ValueError, match="roc_auc is undefined for every algorithm: 1 of 3 pairs were redeemed"):
        choose_champion(comparison(one=(NAN, NAN)), "roc_auc")
    with pytest.raises(ValueError, match="'charm' does not say which algorithm is better"):
        choose_champion(SOME, "charm")


def test_surely_better_than_the_baseline_passes() -> None:
    decision = passes_gate(SOME, candidate="forest", metric="roc_auc")

    assert decision.passed
    (finding,) = decision.findings
    assert (finding.kind, finding.holds, finding.other) == ("better_than_baseline", True, "popularity")
    assert finding.gain.low == pytest.approx(0.1)
    assert str(decision) == (
        "forest is better than popularity by roc_auc: gain +0.1000 (95 % interval +0.1000 to +0.1000)"
    )
    assert json.loads(json.dumps(decision.as_json()))["findings"][0]["kind"] == "better_than_baseline"


def test_better_by_luck_does_not_pass() -> None:
    decision = passes_gate(SOME, candidate="tree", metric="roc_auc")

    assert not decision.passed
    assert decision.findings[0].gain.value == pytest.approx(0.05)
    assert decision.findings[0].gain.low < 0
    assert str(decision).startswith(
        "tree is not surely better than popularity by roc_auc: gain +0.0500 (95 % interval -0"
    )


def test_equal_to_the_baseline_does_not_pass() -> None:
    same = comparison(popularity=(0.6, 0.5, 0.7), twin=(0.6, 0.5, 0.7))

    assert not passes_gate(same, candidate="twin", metric="roc_auc").passed


def test_the_present_champion_is_not_replaced_by_a_worse_one() -> None:
    worse = comparison(popularity=(0.5, 0.5), champion=(0.7, 0.7), candidate=(0.69, 0.71))
    decision = passes_gate(worse, candidate="candidate", champion="champion", metric="roc_auc")

    assert not decision.passed
    assert [(finding.kind, finding.holds) for finding in decision.findings] == [
        ("better_than_baseline", True),
        ("not_below_champion", False),
    ]
    assert "candidate is below champion by roc_auc: gain -0.0100 (95 % interval +0.0100 to +0.0100)" in str(decision)


def test_an_equal_replaces_the_present_champion() -> None:
    same = comparison(popularity=(0.5, 0.5), champion=(0.7, 0.6, 0.8), candidate=(0.7, 0.6, 0.8))
    decision = passes_gate(same, candidate="candidate", champion="champion", metric="roc_auc")

    assert decision.passed
    assert str(decision.findings[1]).startswith("candidate is not below champion by roc_auc: gain +0.0000")


def test_an_interval_wholly_below_the_champion_does_not_pass() -> None:
    odd = comparison(popularity=(0.5, 0.5), champion=(0.7, 0.7), candidate=(0.7, 0.69))

    assert not passes_gate(odd, candidate="candidate", champion="champion", metric="roc_auc").passed


def test_where_less_is_better_the_gain_is_a_fall() -> None:
    less = comparison(popularity=(0.6, 0.6), champion=(0.5, 0.5), candidate=(0.4, 0.4))
    decision = passes_gate(less, candidate="candidate", champion="champion", metric="log_loss")

    assert decision.passed
    assert [finding.gain.value for finding in decision.findings] == pytest.approx([0.2, 0.1])
    assert not passes_gate(less, candidate="popularity", champion="champion", metric="log_loss").passed


def test_the_baseline_need_not_beat_itself_nor_the_champion_itself() -> None:
    assert passes_gate(SOME, candidate="popularity", metric="roc_auc").passed
    assert str(passes_gate(SOME, candidate="popularity", metric="roc_auc")) == "popularity is the baseline itself"
    assert len(passes_gate(SOME, candidate="forest", champion="forest", metric="roc_auc").findings) == 1


def test_what_cannot_be_measured_does_not_pass() -> None:
    decision = passes_gate(SOME, candidate="empty", champion="forest", metric="roc_auc")

    assert not decision.passed
    assert [finding.gain for finding in decision.findings] == [Estimate(None, None, None)] * 2
    assert str(decision).startswith("empty and popularity cannot be compared: roc_auc is undefined")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="'nobody' is not in the comparison; expected one of popularity, forest"):
        passes_gate(SOME, candidate="nobody", metric="roc_auc")
    with pytest.raises(ValueError, match="'before' is not in the comparison"):
        passes_gate(SOME, candidate="forest", champion="before", metric="roc_auc")
    with pytest.raises(ValueError, match="'redemptions' does not say"):
        passes_gate(SOME, candidate="forest", metric="redemptions")
