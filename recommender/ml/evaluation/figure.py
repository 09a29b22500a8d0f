"""The comparison of the algorithms, drawn."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, PercentFormatter

from recommender.ml import columns as c
from recommender.ml.evaluation.comparison import Comparison
from recommender.ml.evaluation.curves import precision_recall_curve, reliability
from recommender.ml.evaluation.metrics import METRICS

PANELS = ("roc_auc", "pr_auc", "ndcg_at_10", "recall_at_10", "f1")
INK, SOFT, GRID = "#1b1f24", "#57606a", "#d8dee4"
# Okabe and Ito's colours, which readers with any kind of colour vision tell apart
HIGHLIGHT, OTHER, PALE = "#d55e00", "#0072b2", "#9aa4ae"
WIDTH = 12.8  # inches
DOTS_PER_INCH = 150
COLUMNS = 4


def draw_comparison(
    comparison: Comparison,
    path: Path,
    *,
    champion: str | None = None,
    period: tuple[datetime, datetime] | None = None,
    metrics: Sequence[str] = PANELS,
) -> None:
    """Write a panel for each metric: every algorithm's value as a dot, its 95 % interval as a line.

    Args:
        comparison: what is drawn; the algorithms stand in the order of the first metric, the best on top.
        path: of the file, replaced whole; its suffix, ``.png`` or ``.svg``, is the format.
        champion: the algorithm to point out.
        period: first and last day of the campaigns, for the title.
        metrics: names of :data:`METRICS`.
    """
    algorithms = comparison.ranked(metrics[0])
    figure = Figure(figsize=(WIDTH, 1.9 + 0.4 * len(algorithms)), layout=ConstrainedLayoutEngine(w_pad=0.1))
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    rows = np.arange(len(algorithms))
    for axes, metric in zip(panels, metrics, strict=True):
        for row, algorithm in zip(rows, algorithms, strict=True):
            found = comparison.estimates[algorithm][metric]
            colour = HIGHLIGHT if algorithm == champion else OTHER
            if found.value is None:
                axes.text(0.5, row, "undefined", transform=axes.get_yaxis_transform(), ha="center", va="center")
                continue
            if found.low is not None and found.high is not None:
                axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
            axes.plot([found.value], [row], "o", color=colour, markersize=7)
            axes.annotate(
                f"{found.value:.3f}",
                (found.value, row),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=8.5,
                color=INK,
            )
        direction = "" if METRICS[metric].better > 0 else " (less is better)"
        axes.set_title(f"{METRICS[metric].title}{direction}", fontsize=11, fontweight="bold", color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.margins(x=0.14)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        _plain(axes)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(rows, [_name(algorithm) for algorithm in algorithms])
    panels[0].set_ylim(len(algorithms) - 0.5, -0.7)
    for label, algorithm in zip(panels[0].get_yticklabels(), algorithms, strict=True):
        label.set(fontsize=10, color=HIGHLIGHT if algorithm == champion else INK)
        label.set_fontweight("bold" if algorithm == champion else "normal")
    _entitle(figure, comparison, "How well the algorithms foresee which coupons are used", period)
    note = f"Dot: all shoppers. Line: 95 % interval from {comparison.resamples:,} resamples of the shoppers."
    if champion in algorithms:
        note += " Orange: the champion."
    figure.supxlabel(f"{note} Each panel has a scale of its own.", fontsize=9, color=SOFT)
    _write(figure, path)


def draw_curves(
    scores: pl.DataFrame,
    comparison: Comparison,
    path: Path,
    *,
    champion: str | None = None,
    period: tuple[datetime, datetime] | None = None,
) -> None:
    """Write the precision-recall curves of all algorithms and, for each, how true its probabilities are by decile.

    Args:
        scores: the frame that was compared.
        comparison: of these scores.
        path: of the file, replaced whole; its suffix, ``.png`` or ``.svg``, is the format.
        champion: the algorithm to point out.
        period: first and last day of the campaigns, for the title.
    """
    algorithms = comparison.ranked("pr_auc")
    outcomes = {
        str(name): (frame[c.SCORE].to_numpy(), frame[c.LABEL].to_numpy())
        for (name,), frame in scores.group_by(c.ALGORITHM)
    }
    lines = -(-len(algorithms) // COLUMNS)
    figure = Figure(figsize=(WIDTH, 4.9 + 2.4 * lines), layout=ConstrainedLayoutEngine(w_pad=0.1))
    grid = figure.add_gridspec(1 + lines, COLUMNS, height_ratios=[3.6] + [2.4] * lines)
    _draw_precision_recall(figure.add_subplot(grid[0, : COLUMNS - 1]), algorithms, outcomes, comparison, champion)
    _draw_reliability(
        [figure.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS]) for number in range(len(algorithms))],
        algorithms,
        outcomes,
        champion,
    )
    figure.supxlabel(
        "Small panels: pairs in ten equal parts by probability; on the dashed line the probabilities are true. "
        "Hollow: nothing redeemed. A point on the left edge lies beyond it.",
        fontsize=9.5,
        color=SOFT,
    )
    _entitle(figure, comparison, "How precise the algorithms are, and how true their probabilities", period)
    _write(figure, path)


#: By algorithm, its scores and the labels.
Outcomes = Mapping[str, tuple[np.ndarray, np.ndarray]]


def _draw_precision_recall(
    axes: Axes,
    algorithms: Sequence[str],
    outcomes: Outcomes,
    comparison: Comparison,
    champion: str | None,
) -> None:
    colours = iter(("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f", "#a6761d"))
    styles = iter(("-", "--", "-.", ":") * len(algorithms))
    for algorithm in algorithms:
        recall, precision = precision_recall_curve(*outcomes[algorithm])
        if not len(recall):
            continue
        found = comparison.estimates[algorithm]["pr_auc"].value
        pointed_out = algorithm == champion
        axes.plot(
            np.concatenate([[0], recall]),
            np.concatenate([precision[:1], precision]),
            drawstyle="steps-pre",  # the area below is then the average precision
            color=HIGHLIGHT if pointed_out else next(colours, PALE),
            linestyle="-" if pointed_out else next(styles),
            linewidth=2.6 if pointed_out else 1.5,
            zorder=3 if pointed_out else 2,
            label=f"{found:.3f}  {_name(algorithm)}",
        )
    share = comparison.redemption_count / comparison.pair_count
    axes.axhline(share, color=SOFT, linewidth=1, linestyle=(0, (1, 2)), label=f"{share:.3f}  at random")
    axes.set(xlim=(0, 1), ylim=(0, None))
    axes.set_xlabel("recall: share of all redemptions that are answered “redeemed”", fontsize=9.5, color=SOFT)
    axes.set_ylabel("precision: share right among these", fontsize=9.5, color=SOFT)
    axes.set_title("Precision and recall as the threshold falls", fontsize=11, fontweight="bold", color=INK)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=GRID, linewidth=0.8)
    _plain(axes)
    legend = axes.legend(loc="center left", bbox_to_anchor=(1.03, 0.5), frameon=False, fontsize=9.5)
    legend.set_title("PR-AUC (area below)")
    legend.set_in_layout(False)  # it stands in the empty column beside


def _draw_reliability(
    panels: Sequence[Axes],
    algorithms: Sequence[str],
    outcomes: Outcomes,
    champion: str | None,
) -> None:
    points = {algorithm: reliability(*outcomes[algorithm]) for algorithm in algorithms}
    positive = [number for mean, share, _ in points.values() for values in (mean, share) for number in values if number]
    low, high = (min(positive) / 3, max(positive) * 2) if positive else (1e-3, 1.0)
    low = max(low, 1e-6)
    for axes, algorithm in zip(panels, algorithms, strict=True):
        colour = HIGHLIGHT if algorithm == champion else OTHER
        mean, share, _ = points[algorithm]
        axes.plot([low, high], [low, high], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
        mean, redeemed = np.maximum(mean, low), share > 0
        if redeemed.any():  # an empty line that is not clipped breaks the layout
            axes.plot(mean[redeemed], share[redeemed], "o-", color=colour, markersize=5, clip_on=False)
        if not redeemed.all():
            bottom = np.full(np.count_nonzero(~redeemed), low)
            axes.plot(mean[~redeemed], bottom, "v", color=colour, markerfacecolor="white", clip_on=False)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        axes.set_title(_name(algorithm), fontsize=10, color=colour if algorithm == champion else INK)
        axes.grid(color=GRID, linewidth=0.8)
        _plain(axes)
    for axes in panels[::COLUMNS]:
        axes.set_ylabel("share redeemed", fontsize=9.5, color=SOFT)
    for axes in panels[-COLUMNS:]:
        axes.set_xlabel("mean probability", fontsize=9.5, color=SOFT)


def _entitle(figure: Figure, comparison: Comparison, title: str, period: tuple[datetime, datetime] | None) -> None:
    days = " to ".join(f"{moment.day} {moment:%B %Y}" for moment in period or ())
    figure.suptitle(
        f"{title}\nCampaigns: {comparison.campaign_count:,}{f' ({days})' if days else ''} · "
        f"pairs of shopper and coupon: {comparison.pair_count:,} · redeemed: {comparison.redemption_count:,}",
        fontsize=12.5,
        color=INK,
    )


def _name(algorithm: str) -> str:
    return algorithm.replace("_", " ")


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=SOFT, labelsize=9)


def _write(figure: Figure, path: Path) -> None:
    drawn = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(drawn, format=path.suffix.removeprefix("."), dpi=DOTS_PER_INCH)
    aside = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside.write_bytes(drawn.getvalue())
    aside.replace(path)
