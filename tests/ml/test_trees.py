"""The decision tree, and how it is pruned and drawn."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.image import imread
from sklearn.metrics import roc_auc_score

from recommender.ml import features as f
from recommender.ml.algorithms import Algorithm
from recommender.ml.algorithms.tree_figure import Box, draw_tree, lay_out
from recommender.ml.algorithms.trees import DecisionTree, raise_used_share
from recommender.ml.feature_names import NAMES

CAMPAIGNS = 4
HABIT, TASTE = 0, 3  # columns that matter
SILENT = [feature for group in f.OPTIONAL_GROUPS for feature in f.GROUPS[group]]
Past = tuple[pl.DataFrame, np.ndarray, np.ndarray]


def past(noise: float, rows: int = 8_000, seed: int = 0) -> Past:
    """Examples whose chance of use is 30 % where two features are above a half, and ``noise`` elsewhere; of a shop that
    tells nothing of what only some kinds of shop do."""
    random = np.random.default_rng(seed)
    X = random.uniform(size=(rows, len(f.FEATURES) - len(SILENT))).astype(np.float32)
    chance = np.where((X[:, HABIT] > 0.5) & (X[:, TASTE] > 0.5), 0.3, noise)
    campaigns = np.arange(rows) * CAMPAIGNS // rows
    told = pl.DataFrame(X, schema=[feature for feature in f.FEATURES if feature not in SILENT])
    examples = told.with_columns(pl.lit(0.0, pl.Float32).alias(feature) for feature in SILENT).select(f.FEATURES)
    return examples, random.uniform(size=rows) < chance, campaigns


@pytest.fixture(scope="module")
def tree() -> DecisionTree:
    return DecisionTree().fit(*past(noise=0.01), 0)


def boxes_from(box: Box) -> list[Box]:
    return [box, *(each for answer in box.answers for each in boxes_from(answer))]


# Weights


def test_few_used_offers_weigh_a_tenth_of_all() -> None:
    labels = np.arange(100) == 7
    weights, factor = raise_used_share(labels, np.where(labels, 1.0, 2.0))

    assert factor == pytest.approx(22.0)
    assert weights.tolist() == [pytest.approx(22.0) if used else 2.0 for used in labels]
    assert weights[labels].sum() / weights.sum() == pytest.approx(0.1)


def test_many_used_offers_weigh_what_they_are() -> None:
    labels = np.arange(100) % 2 == 0
    weights, factor = raise_used_share(labels, np.ones(100))

    assert (weights.tolist(), factor) == ([1.0] * 100, 1.0)


# The tree


def test_the_tree_asks_what_matters(tree: DecisionTree) -> None:
    root = lay_out(tree, 2)
    names = {NAMES[f.FEATURES[HABIT]], NAMES[f.FEATURES[TASTE]]}

    assert tree.tree_.criterion == "entropy"
    assert root.lines[0] in names
    assert root.answers[1].lines[0] in names - {root.lines[0]}


def test_what_later_campaigns_contradict_is_pruned() -> None:
    """Where nothing matters a whole tree has dozens of leaves, and none of them tells anything of later campaigns."""
    random = np.random.default_rng(1)
    examples, labels, campaigns = past(noise=0.01)
    shuffled = random.permutation(labels)
    pruned = DecisionTree().fit(examples, shuffled, campaigns, 0).parameters()
    unpruned = DecisionTree().fit(examples, shuffled, np.zeros(len(labels), dtype=np.int64), 0).parameters()

    assert unpruned["ccp_alpha"] == 0.0, "one campaign has no later one to choose by"
    assert unpruned["leaves"] >= 20
    assert pruned["ccp_alpha"] > 0
    assert pruned["leaves"] <= unpruned["leaves"] / 3


def test_pruning_keeps_what_holds(tree: DecisionTree) -> None:
    later, labels, _ = past(noise=0.01, seed=9)
    chance = np.where((later.to_numpy()[:, HABIT] > 0.5) & (later.to_numpy()[:, TASTE] > 0.5), 0.3, 0.01)

    assert roc_auc_score(labels, tree.score(later)) > roc_auc_score(labels, chance) - 0.02


def test_a_leaf_is_drawn_towards_the_nodes_above_it(tree: DecisionTree) -> None:
    below = tree.tree_.tree_.children_left[0]
    overall = tree.used_[0] / tree.offers_[0]
    one_used_offer = 1 / overall

    assert (tree.offers_[0], tree.used_[0]) == (8_000, past(noise=0.01)[1].sum())
    assert tree.probabilities_[0] == overall
    assert tree.probabilities_[below] == pytest.approx(
        (tree.used_[below] + one_used_offer * overall) / (tree.offers_[below] + one_used_offer)
    )


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_no_leaf_says_never_or_always(noise: float) -> None:
    """Without noise three quarters of the offers are never used: a bare share would be 0."""
    examples, labels, campaigns = past(noise)
    if noise:
        labels = examples.to_numpy()[:, HABIT] > 0.5  # always, or never
    tree = DecisionTree().fit(examples, labels, campaigns, 0)
    leaves = tree.tree_.tree_.children_left == -1

    assert ((tree.used_ == 0) & leaves).any()
    assert ((tree.score(examples) > 0) & (tree.score(examples) < 1)).all()


def test_its_probabilities_add_up(tree: DecisionTree) -> None:
    examples, labels, _ = past(noise=0.01)

    assert tree.score(examples).sum() == pytest.approx(labels.sum(), rel=0.05)


# Its figure


def test_a_box_says_what_it_holds(tree: DecisionTree) -> None:
    """Counted anew from the examples."""
    examples, labels, _ = past(noise=0.01)
    root = lay_out(tree)
    threshold = tree.tree_.tree_.threshold[0]
    asked = f.FEATURES[tree.tree_.tree_.feature[0]]
    yes = (examples[asked] > threshold).to_numpy()

    assert root.lines == (
        NAMES[asked],
        f"more than {threshold:.3g}?",
        f"{labels.mean():.2%} of 8,000 used",
    )
    for answer, of_it in zip(root.answers, (~yes, yes), strict=True):
        assert answer.column == 1
        assert answer.share == pytest.approx(labels[of_it].mean())
        assert answer.lines[-1] == f"{labels[of_it].mean():.2%} of {of_it.sum():,} used"


def test_what_is_asked_further_down_is_counted(tree: DecisionTree) -> None:
    no, yes = lay_out(tree, 1).answers
    groups = [
        int(box.lines[1].removeprefix("asked on, into ").removesuffix(" groups")) if len(box.lines) > 1 else 1
        for box in (no, yes)
    ]

    assert (no.answers, yes.answers) == ((), ())
    assert sum(groups) == tree.parameters()["leaves"]


def test_boxes_do_not_overlap(tree: DecisionTree) -> None:
    boxes = boxes_from(lay_out(tree))
    at_the_end = [box.row for box in boxes if not box.answers]

    assert sorted(at_the_end) == list(range(len(at_the_end)))
    for column in range(5):
        rows = sorted(box.row for box in boxes if box.column == column)
        assert all(lower - upper >= 1 for upper, lower in pairwise(rows))


def test_the_tree_is_drawn(tree: DecisionTree, tmp_path: Path) -> None:
    draw_tree(tree, tmp_path / "figures" / "tree.png")

    assert imread(tmp_path / "figures" / "tree.png").shape[1] > 900
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["tree.png"]


def test_every_line_stands_in_the_figure(tree: DecisionTree, tmp_path: Path) -> None:
    (tmp_path / "tree.svg").write_text("an older figure")
    draw_tree(tree, tmp_path / "tree.svg", levels=2)
    drawn = (tmp_path / "tree.svg").read_text()

    lines = [line for box in boxes_from(lay_out(tree, 2)) for line in box.lines]
    assert len(lines) >= 7
    for line in [*lines, "yes", "no", "learned from 8,000 offers of past campaigns"]:
        assert line in drawn


def test_the_tree_of_the_generated_shop_is_drawn(
    taught: Callable[[type[Algorithm]], Algorithm], tmp_path: Path
) -> None:
    model = taught(DecisionTree)
    assert isinstance(model, DecisionTree)
    draw_tree(model, tmp_path / "tree.png")

    assert (tmp_path / "tree.png").stat().st_size > 10_000


def test_without_examples_there_is_no_tree_to_draw(tmp_path: Path) -> None:
    untaught = DecisionTree().fit(pl.DataFrame(schema=list(f.FEATURES)), np.zeros(0, dtype=bool), np.zeros(0), 0)
    with pytest.raises(ValueError, match="no example has taught"):
        draw_tree(untaught, tmp_path / "tree.png")
    assert list(tmp_path.iterdir()) == []
