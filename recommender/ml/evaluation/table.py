"""What an evaluation found as plain text that is also Markdown."""

from collections.abc import Mapping, Sequence

from recommender.ml.evaluation.bootstrap import Estimate
from recommender.ml.evaluation.comparison import Comparison
from recommender.ml.evaluation.metrics import METRICS
from recommender.ml.evaluation.reliability import Decile
from recommender.ml.evaluation.slices import ENOUGH_REDEMPTIONS, JUDGED_BY, REPORTED, Slice, Verdict

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
    decisions = [
        [f"{comparison.thresholds[algorithm]:.4f}", *cells]
        for algorithm, cells in zip(algorithms, _rows(comparison, algorithms, OF_DECISIONS), strict=True)
    ]
    never = _figure("accuracy_of_never", comparison.estimates[algorithms[0]]["accuracy_of_never"])
    return "\n".join(
        [
            _main_table(comparison, algorithms),
            "",
            _table(algorithms, _titles(OF_SCORES), _rows(comparison, algorithms, OF_SCORES)),
            "",
            _table(algorithms, ["Threshold", *_titles(OF_DECISIONS)], decisions),
            "",
            f'Always answering "not redeemed" has an accuracy of {never}. Precision, recall and F1 are of the redeemed '
            "class;",
            "the weighted ones average both classes by their number of pairs.",
            "",
        ]
    )


def render_by_kind(by_kind: Mapping[str, Comparison], *, sort_by: str = "roc_auc") -> str:
    """The main metrics with their 95 % intervals, a table for each kind of campaign.

    Raises:
        ValueError: ``sort_by`` is unknown or no measure of quality.
    """
    return "\n".join(
        f"**{kind}**\n\n{_main_table(comparison, comparison.ranked(sort_by))}\n" for kind, comparison in by_kind.items()
    )


def _main_table(comparison: Comparison, algorithms: Sequence[str]) -> str:
    rows = _rows(comparison, algorithms, WITH_INTERVALS, interval=True)
    return (
        f"Campaigns: {comparison.campaign_count:,} · shoppers: {comparison.shopper_count:,} · "
        f"pairs: {comparison.pair_count:,} · redeemed: {comparison.redemption_count:,}\n"
        f"In brackets: 95 % intervals from {comparison.resamples:,} resamples of the shoppers.\n\n"
        f"{_table(algorithms, _titles(WITH_INTERVALS), rows)}"
    )


def _titles(metrics: Sequence[str]) -> list[str]:
    return [METRICS[name].title for name in metrics]


def _rows(
    comparison: Comparison, algorithms: Sequence[str], metrics: Sequence[str], *, interval: bool = False
) -> list[list[str]]:
    return [
        [_figure(name, comparison.estimates[algorithm][name], interval=interval) for name in metrics]
        for algorithm in algorithms
    ]


def _table(algorithms: Sequence[str], head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return align(["Algorithm", *head], [[name, *cells] for name, cells in zip(algorithms, rows, strict=True)])


def render_reliability(comparison: Comparison, reliability: Mapping[str, Sequence[Decile]]) -> str:
    """Every algorithm's calibration error and expected redemptions, then a table of deciles for each of some."""
    calibration = ("calibration_error", "expected_redemptions")
    lines = [
        "The calibration error is the mean over pairs of the difference, in the pair's tenth by probability, of mean "
        "probability and",
        "share used. Resampling adds to such differences, so its interval lies somewhat high.",
        "",
        align(
            ["Algorithm", *_titles(calibration), "Used"],
            [
                [
                    algorithm,
                    *(_figure(name, comparison.estimates[algorithm][name], interval=True) for name in calibration),
                    f"{comparison.redemption_count:,}",
                ]
                for algorithm in comparison.ranked("calibration_error")
            ],
        ),
        "",
    ]
    for algorithm, deciles in reliability.items():
        lines += [
            f"The pairs in ten equal parts by the probability from {algorithm}; equal ones stay together, and a part "
            "with nothing used has no interval.",
            "",
            align(
                ["Part", "Pairs", "Used", "Mean probability, %", "Share used, %"],
                [
                    [
                        f"{number}",
                        f"{decile.pairs:,}",
                        f"{decile.redemptions:,}",
                        f"{100 * decile.predicted:.3f}",
                        with_interval(decile.observed, decimals=3, scale=100),
                    ]
                    for number, decile in enumerate(deciles, start=1)
                ],
            ),
            "",
        ]
    return "\n".join(lines)


def render_slices(slices: Sequence[Slice]) -> str:
    """The candidate's and the baseline's figures on each slice, the gains with their intervals, and the verdicts."""
    if not slices:
        return "No slice has a pair.\n"
    found = {each.name for each in slices}
    absent = [name for _, name in REPORTED if name not in found]
    candidate, baseline = slices[0].candidate, slices[0].baseline
    figures = [
        [
            each.name,
            f"{each.comparison.pair_count:,}",
            f"{each.comparison.redemption_count:,}",
            *(
                _figure(metric, each.comparison.estimates[algorithm][metric])
                for metric in JUDGED_BY
                for algorithm in (candidate, baseline)
            ),
        ]
        for each in slices
    ]
    gains = [
        [
            each.name,
            *(with_interval(each.gain(metric), decimals=METRICS[metric].decimals, sign="+") for metric in JUDGED_BY),
            each.verdict.value,
        ]
        for each in slices
    ]
    titles = _titles(JUDGED_BY)
    weak = [each.name for each in slices if each.verdict in (Verdict.NO_CLEAR_DIFFERENCE, Verdict.WORSE)]
    return "\n".join(
        [
            align(
                ["Slice", "Pairs", "Used", *(f"{title}, {name}" for title in titles for name in (candidate, baseline))],
                figures,
            ),
            "",
            f"By how much the {candidate} is better than {baseline}, with the paired 95 % interval from "
            f"{slices[0].comparison.resamples:,} resamples of the slice's shoppers:",
            "",
            align(["Slice", *titles, "Verdict"], gains),
            "",
            "Better: by every metric the whole interval is above 0; better by some: by one or two it is, and by none "
            "below 0;",
            f"significantly worse: by one metric it is below 0. A slice with fewer than {ENOUGH_REDEMPTIONS} used is "
            "not judged.",
            f"Not better than {baseline}: {', '.join(weak) or 'no slice that is judged'}."
            + (f" Without a pair: {', '.join(absent)}." if absent else ""),
            "",
        ]
    )


def _figure(metric: str, found: Estimate, *, interval: bool = False) -> str:
    shown = found if interval else Estimate(found.value, None, None)
    return with_interval(shown, decimals=METRICS[metric].decimals)


def with_interval(found: Estimate, *, decimals: int, scale: float = 1, sign: str = "") -> str:
    """``0.52 [0.49, 0.55]``, without the brackets where there is no interval; a dash where there is no figure."""
    if found.value is None:
        return UNDEFINED

    def text(number: float) -> str:
        return f"{round(scale * number, decimals) + 0.0:{sign}.{decimals}f}"  # no -0.0

    if found.low is None or found.high is None:
        return text(found.value)
    return f"{text(found.value)} [{text(found.low)}, {text(found.high)}]"


def align(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])
