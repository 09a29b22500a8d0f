"""The comparison of the algorithms and the truth of their probabilities, drawn."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, MaxNLocator

from recommender.ml.drawing import INK, SOFT, write_figure
from recommender.ml.evaluation.comparison import Comparison
from recommender.ml.evaluation.metrics import METRICS
from recommender.ml.evaluation.reliability import Decile

PANELS = ("roc_auc", "pr_auc", "ndcg_at_10", "recall_at_10", "f1")
GRID = "#d8dee4"
# Okabe and Ito's colours, which readers with any kind of colour vision tell apart
HIGHLIGHT, OTHER = "#d55e00", "#0072b2"
WIDTH = 12.8  # inches


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
    write_figure(figure, path)


def draw_reliability(
    reliability: Mapping[str, Sequence[Decile]],
    comparison: Comparison,
    path: Path,
    *,
    champion: str | None = None,
    period: tuple[datetime, datetime] | None = None,
) -> None:
    """Write a panel for each algorithm: by decile, the share used against the mean probability.

    Both scales are logarithmic, since rates of one in a thousand stand beside rates of one in ten. What lies below
    them, a share of 0 or the end of an interval there, is drawn on the lower edge.

    Args:
        reliability: by algorithm, from :func:`~recommender.ml.evaluation.reliability.measure_reliability`.
        comparison: of the same scores.
        path: of the file, replaced whole; its suffix, ``.png`` or ``.svg``, is the format.
        champion: the algorithm to point out.
        period: first and last day of the campaigns, for the title.
    """
    figure = Figure(figsize=(WIDTH, 7.6), layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    panels = figure.subplots(1, len(reliability), sharex=True, sharey=True, squeeze=False)[0]
    deciles = [decile for its in reliability.values() for decile in its]
    rates = [rate for decile in deciles for rate in (decile.predicted, decile.observed.value, decile.observed.high)]
    positive = [rate for rate in rates if rate]
    low, high = (max(min(positive) / 3, 1e-6), max(positive) * 2) if positive else (1e-3, 1.0)
    for axes, (algorithm, its) in zip(panels, reliability.items(), strict=True):
        colour = HIGHLIGHT if algorithm == champion else OTHER
        axes.plot([low, high], [low, high], color=SOFT, linewidth=1, linestyle=(0, (4, 3)))
        for decile in its:
            x, observed = max(decile.predicted, low), decile.observed
            if observed.low is not None and observed.high is not None:
                axes.plot([x, x], [max(observed.low, low), max(observed.high, low)], color=colour, linewidth=2.2)
            used = decile.redemptions > 0
            axes.plot(
                [x],
                [max(observed.value or 0.0, low)],
                "o" if used else "v",
                color=colour,
                markerfacecolor=colour if used else "white",
                markersize=7,
                clip_on=False,
            )
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:.6f}".rstrip("0").rstrip(".") + " %"))
        axes.set_xlabel("mean probability", fontsize=9.5, color=SOFT)
        error = comparison.estimates[algorithm]["calibration_error"]
        interval = f" [{error.low:.5f}, {error.high:.5f}]" if error.low is not None and error.high is not None else ""
        axes.set_title(
            f"{_name(algorithm)}\ncalibration error {error.value:.5f}{interval}",
            fontsize=11,
            color=colour if algorithm == champion else INK,
        )
        axes.grid(color=GRID, linewidth=0.8)
        _plain(axes)
    panels[0].set_ylabel("share used", fontsize=9.5, color=SOFT)
    figure.supxlabel(
        "Dot: a tenth of the pairs by probability. Line: 95 % interval of the share used, over the shoppers. On the "
        "dashed line probabilities are true. Hollow: nothing used.",
        fontsize=9,
        color=SOFT,
    )
    _entitle(figure, comparison, "How true the probabilities are", period)
    write_figure(figure, path)


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
