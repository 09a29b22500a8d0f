"""A decision tree, drawn so that somebody who does not know trees can read it."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.drawing import INK, SOFT, write_figure
from recommender.ml.feature_names import NAMES

SHADES = colormaps["YlOrBr"]
DARKEST = 0.5  # of the shades: black letters stay readable on it
# Inches
COLUMN, ROW = 2.95, 0.74  # from box to box
BOX_WIDTH, BOX_HEIGHT = 2.4, 0.62
MARGIN, TITLE_HEIGHT, LEAST_WIDTH = 0.3, 0.75, 6.5
#: How many questions deep a tree is drawn. What is asked further down is counted in words.
LEVELS = 4


@dataclass(frozen=True)
class Box:
    """A node of the tree as it is drawn.

    Attributes:
        column: how many questions were answered before it.
        row: its place from the top, in heights of a row.
        share: of the offers that come to it, how many were used.
        lines: what stands in it.
        answers: the boxes after a no and after a yes; none where nothing is asked.
    """

    column: int
    row: float
    share: float
    lines: tuple[str, ...]
    answers: tuple["Box", ...] = ()


def draw_tree(model: DecisionTree, path: Path, *, levels: int = LEVELS) -> None:
    """Write the top of a fitted tree: questions from left to right, a no leading up and a yes leading down.

    A box says how many offers of past campaigns come to it and what share of them was used. The larger the share, the
    darker the box, on a logarithmic scale.

    Args:
        model: a decision tree that examples have taught.
        path: of the file, replaced whole; its suffix, ``.png`` or ``.svg``, is the format.
        levels: how many questions deep, 1 or more.

    Raises:
        ValueError: nothing has taught the tree, so there is none.
    """
    root = lay_out(model, levels)
    boxes = list(_boxes_from(root))
    width = max(LEAST_WIDTH, 2 * MARGIN + max(box.column for box in boxes) * COLUMN + BOX_WIDTH)
    height = 2 * MARGIN + TITLE_HEIGHT + (1 + max(box.row for box in boxes)) * ROW
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    axes.text(
        MARGIN,
        MARGIN,
        f"What the decision tree asks, learned from {model.offers_[0]:,.0f} offers of past campaigns\n"
        "The darker a box, the more of its offers were used",
        va="top",
        linespacing=1.5,
        fontsize=11,
        color=INK,
    )
    shares = [box.share for box in boxes if box.share > 0]
    shade = LogNorm(min(shares), max(shares), clip=True)
    for box in boxes:
        _draw_box(axes, box, SHADES(DARKEST * float(shade(box.share or min(shares)))))
        for word, answer in zip(("no", "yes"), box.answers, strict=bool(box.answers)):
            _draw_answer(axes, box, answer, word)
    write_figure(figure, path)


def lay_out(model: DecisionTree, levels: int = LEVELS) -> Box:
    """The box of the first question, and through it all others.

    Raises:
        ValueError: nothing has taught the tree, so there is none.
    """
    if not model.informed_:
        raise ValueError("A decision tree that no example has taught cannot be drawn.")
    tree = model.tree_.tree_
    rows = count()

    def leaves_below(node: int) -> int:
        return sum(map(leaves_below, answers)) if (answers := answers_of(node)) else 1

    def answers_of(node: int) -> tuple[int, ...]:
        return () if tree.children_left[node] == -1 else (tree.children_left[node], tree.children_right[node])

    def box_of(node: int, column: int) -> Box:
        share = model.used_[node] / model.offers_[node]
        found = f"{share:.2%} of {model.offers_[node]:,.0f} used"
        if not answers_of(node):
            return Box(column, next(rows), share, (found,))
        if column == levels:
            return Box(column, next(rows), share, (found, f"asked on, into {leaves_below(node)} groups"))
        no, yes = (box_of(answer, column + 1) for answer in answers_of(node))
        feature = NAMES[model.features_[tree.feature[node]]]
        question = f"more than {_number(tree.threshold[node])}?"
        return Box(column, (no.row + yes.row) / 2, share, (feature, question, found), (no, yes))

    return box_of(0, 0)


def _boxes_from(box: Box) -> Iterator[Box]:
    yield box
    for answer in box.answers:
        yield from _boxes_from(answer)


def _left_and_middle(box: Box) -> tuple[float, float]:
    return MARGIN + box.column * COLUMN, MARGIN + TITLE_HEIGHT + (box.row + 0.5) * ROW


def _draw_box(axes: Axes, box: Box, colour: tuple[float, ...]) -> None:
    left, middle = _left_and_middle(box)
    axes.add_patch(
        FancyBboxPatch(
            (left, middle - BOX_HEIGHT / 2),
            BOX_WIDTH,
            BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colour,
            edgecolor=SOFT,
            linewidth=0.8,
        )
    )
    axes.text(
        left + BOX_WIDTH / 2,
        middle,
        "\n".join(box.lines),
        ha="center",
        va="center",
        fontsize=8.5,
        linespacing=1.25,
        color=INK,
    )


def _draw_answer(axes: Axes, box: Box, answer: Box, word: str) -> None:
    left, middle = _left_and_middle(box)
    start, (end, end_middle) = left + BOX_WIDTH, _left_and_middle(answer)
    axes.plot([start, end], [middle, end_middle], color=SOFT, linewidth=0.9, zorder=0)
    axes.text(
        (start + end) / 2,
        (middle + end_middle) / 2,
        word,
        ha="center",
        va="center",
        fontsize=8.5,
        color=SOFT,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _number(value: float) -> str:
    """Three digits, or all of a large number."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
