"""A comparison as plain text that is also Markdown."""

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.evaluation.comparison import Comparison
from recommender.ml.evaluation.metrics import METRICS

WITH_INTERVALS = ("roc_auc", "pr_auc", "ndcg_at_10", "recall_at_10")
OF_SCORES = (
    "auc_within",
    "map_at_10",
    "hits_at_10",
    "coverage_at_10",
    "log_loss",
    "brier",
    "calibration_error",
    "expected_redemptions",
)
OF_DECISIONS = (
    "accuracy",
    "precision",
    "recall",
    "f1",
    "precision_weighted",
    "recall_weighted",
    "f1_weighted",
)
UNDEFINED = "–"


def render_table(comparison: Comparison, *, sort_by: str = "roc_auc") -> str:
    """Three tables, the best algorithm by ``sort_by`` first, with notes on what they rest on; ends with a newline.

    The first has the main metrics with their 95 % intervals, the second the other metrics of the scores, the third the
    metrics of the answers at each algorithm's threshold.

    Raises:
        ValueError: ``sort_by`` is unknown or no measure of quality.
    """
    algorithms = comparison.ranked(sort_by)

    def rows(metrics: tuple[str, ...], *, interval: bool = False) -> list[list[str]]:
        return [
            [_figure(name, comparison.estimates[algorithm][name], interval=interval) for name in metrics]
            for algorithm in algorithms
        ]

    def table(head: list[str], body: list[list[str]]) -> str:
        return _align(
            ["Algorithm", *head], [[algorithm, *cells] for algorithm, cells in zip(algorithms, body, strict=True)]
        )

    decisions = [
        [f"{comparison.thresholds[algorithm]:.4f}", *cells]
        for algorithm, cells in zip(algorithms, rows(OF_DECISIONS), strict=True)
    ]
    never = _figure("accuracy_of_never", comparison.estimates[algorithms[0]]["accuracy_of_never"])
    return "\n".join(
        [
            f"Campaigns: {comparison.campaign_count:,} · shoppers: {comparison.shopper_count:,} · "
            f"pairs: {comparison.pair_count:,} · redeemed: {comparison.redemption_count:,}",
            f"In brackets: 95 % intervals from {comparison.resamples:,} resamples of the shoppers.",
            "",
            table([METRICS[name].title for name in WITH_INTERVALS], rows(WITH_INTERVALS, interval=True)),
            "",
            table([METRICS[name].title for name in OF_SCORES], rows(OF_SCORES)),
            "",
            table(["Threshold", *(METRICS[name].title for name in OF_DECISIONS)], decisions),
            "",
            f'Always answering "not redeemed" has an accuracy of {never}. Precision, recall and F1 are of the redeemed '
            "class;",
            "the weighted ones average both classes by their number of pairs.",
            "",
        ]
    )


def _figure(metric: str, found: Estimate, *, interval: bool = False) -> str:
    if found.value is None:
        return UNDEFINED
    decimals = METRICS[metric].decimals
    text = f"{found.value:.{decimals}f}"
    if interval and found.low is not None and found.high is not None:
        text += f" [{found.low:.{decimals}f}, {found.high:.{decimals}f}]"
    return text


def _align(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: list[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])
