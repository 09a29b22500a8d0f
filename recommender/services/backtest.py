"""A dress rehearsal on the past: each campaign scored by what was known strictly before its start."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from django.conf import settings

from recommender.ml import columns as c
from recommender.ml.ablation import Ablation, ablate
from recommender.ml.algorithms import algorithms_named
from recommender.ml.behaviour_evaluation import evaluate_behaviour
from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.figure import draw_comparison, draw_reliability
from recommender.ml.evaluation.gate import BASELINE
from recommender.ml.evaluation.reliability import Decile, measure_reliability
from recommender.ml.evaluation.slices import Slice, compare_by_kind, evaluate_slices, pair_facts
from recommender.ml.evaluation.splits import default_validation_start
from recommender.ml.examples import Casebook
from recommender.ml.forecast import forecast_campaigns
from recommender.ml.history import Snapshot
from recommender.ml.memory import PeakMemory, process_peak
from recommender.ml.selection import RESAMPLES, Selection, select_champion
from recommender.ml.walk_forward import Cost, WalkForward, score_period
from recommender.models import BACKTEST_FIGURE
from recommender.progress import Progress
from recommender.services.shared_files import share_file
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.wording import gettext as _

CHAMPION = "champion"
SEED = 0
END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)


class NothingToTest(ValueError):
    """No campaign with anybody to offer to starts in the period."""


@dataclass(frozen=True)
class Backtest:
    """What a backtest came to.

    Attributes:
        scores: columns algorithm, campaign_id, shopper_id, coupon_id, score and label; the champion's scores are there
            once more under the name ``champion``.
        comparison: the figures of the test period, at thresholds chosen on the validation period.
        selection: how the champion was chosen, on the validation period alone.
        behaviour: the behaviour model P(u, c) by itself over the test period, against the share of buyers; None where
            the period is too short.
        by_kind: the figures of the test period by kind of campaign; empty where there is one kind only.
        reliability: the champion's and the baseline's probabilities by decile, on the test period.
        forecasts: how many uses the champion expected of each campaign of the test period, to the end of the data, with
            90 % intervals; columns of :data:`~recommender.ml.forecast.FORECASTS_SCHEMA`.
        slices: the champion against the baseline on parts of the test period, the kinds of campaign among them.
        ablation: what each part brings on the validation period; None where it was not asked for, or could not be told.
        costs: by algorithm, what fitting and scoring took on the test period.
        peak_memory: bytes that the process held at most.
    """

    scores: pl.DataFrame
    comparison: Comparison
    selection: Selection
    period: tuple[datetime, datetime]
    validation_period: tuple[datetime, datetime]
    behaviour: Comparison | None
    by_kind: dict[str, Comparison]
    reliability: dict[str, tuple[Decile, ...]]
    forecasts: pl.DataFrame
    slices: list[Slice]
    ablation: Ablation | None
    costs: dict[str, Cost]
    peak_memory: int


def backtest(
    *,
    start: datetime,
    end: datetime | None = None,
    validation_start: datetime | None = None,
    algorithms: Sequence[str] | None = None,
    with_ablation: bool = False,
    taught_share: float = 1.0,
    progress: Progress = Progress(),
) -> Backtest:
    """Score every treated shopper × campaign coupon of the campaigns that start in [start, end).

    The champion and every threshold are chosen on the campaigns that start in [validation_start, start), whose uses
    count only until ``start``; the period itself is read once, for the figures.

    Args:
        end: the end of history if it is not given.
        validation_start: four months before ``start`` if it is not given.
        algorithms: their names; all but the neural one if not given. The baseline is compared too.
        with_ablation: measure what each part brings, on the validation period.
        taught_share: so many of the shoppers of past campaigns teach, evenly spread; all are scored.

    The comparison is drawn to :data:`~recommender.models.BACKTEST_FIGURE`, which the admin shows.

    Raises:
        UnknownAlgorithm: there is no such algorithm.
        NothingToTest: no campaign starts in the period, or it has no used offer, which the figures need.
        Cancelled: somebody asked the work to stop.
    """
    names = [algorithm.name for algorithm in algorithms_named(algorithms)]
    compared = algorithms_named({*names, BASELINE})
    validation_start = validation_start or default_validation_start(start)
    snapshot = open_snapshot(snapshot=take_snapshot(progress=progress))
    casebook = Casebook(snapshot, most_pairs=settings.TRAINING_PAIRS, taught_share=taught_share)

    validation = score_period(
        casebook, compared, validation_start, start, labels_before=start, seed=SEED, progress=progress
    )
    selection = select_champion(validation.scores, names, present=None, seed=SEED, progress=progress)
    ablation = None
    if with_ablation:
        ablation = ablate(
            casebook, validation.scores, validation_start, start, resamples=RESAMPLES, seed=SEED, progress=progress
        )
    memory = PeakMemory()
    tested = score_period(
        casebook,
        compared,
        start,
        end or END_OF_TIME,
        labels_before=END_OF_TIME,
        seed=SEED,
        progress=progress,
        memory=memory,
    )
    if not tested.scores[c.LABEL].any():
        raise NothingToTest(
            _("No campaign that starts between %(start)s and %(end)s has a used offer to be tested on.")
            % {"start": start.isoformat(), "end": end.isoformat() if end else _("the end of history")}
        )
    scores = _with_champion(tested, selection)
    # Where no campaign could be compared, nothing is known of the baseline unless it is a candidate.
    thresholds = selection.thresholds | {CHAMPION: selection.thresholds[selection.champion]}
    comparison = compare(scores, thresholds, resamples=RESAMPLES, seed=SEED, progress=progress)
    facts = pair_facts(casebook, scores[c.CAMPAIGN].unique().sort())
    by_kind = compare_by_kind(scores, facts, thresholds, resamples=RESAMPLES, seed=SEED, progress=progress)
    slices = evaluate_slices(
        scores,
        facts,
        thresholds,
        candidate=CHAMPION,
        baseline=BASELINE,
        resamples=RESAMPLES,
        seed=SEED,
        progress=progress,
    )
    slices += [Slice(f"campaigns: {kind}", found, CHAMPION, BASELINE) for kind, found in by_kind.items()]
    of_both = scores.filter(pl.col(c.ALGORITHM).is_in([CHAMPION, BASELINE]))
    reliability = measure_reliability(of_both, resamples=RESAMPLES, seed=SEED)
    walks = pl.concat([validation.scores, tested.scores]).filter(pl.col(c.ALGORITHM) == selection.champion)
    forecasts = forecast_campaigns(casebook, walks, until=END_OF_TIME)
    starts = casebook.campaigns[c.STARTS_AT]
    last_order = snapshot.scan("orders").select(pl.col(c.ORDERED_AT).max()).collect().item()
    behaviour = evaluate_behaviour(snapshot, start, min(end or last_order, last_order), seed=SEED, progress=progress)
    period = (start, end or max(starts))
    draw_comparison(comparison, settings.DATA_DIR / BACKTEST_FIGURE, champion=CHAMPION, period=period)
    share_file(BACKTEST_FIGURE)
    return Backtest(
        scores=_with_identifiers(scores, snapshot),
        comparison=comparison,
        selection=selection,
        period=period,
        validation_period=(validation_start, start),
        behaviour=behaviour,
        by_kind=by_kind,
        reliability=reliability,
        forecasts=forecasts.join(tested.scores, on=c.CAMPAIGN, how="semi", maintain_order="left"),
        slices=slices,
        ablation=ablation,
        costs=tested.costs,
        peak_memory=process_peak(),
    )


def draw_figures(result: Backtest, folder: Path) -> None:
    """Write ``comparison.png`` and ``reliability.png`` into a folder, which comes into being if need be."""
    draw_comparison(result.comparison, folder / "comparison.png", champion=CHAMPION, period=result.period)
    draw_reliability(
        result.reliability, result.comparison, folder / "reliability.png", champion=CHAMPION, period=result.period
    )


def _with_champion(walk: WalkForward, selection: Selection) -> pl.DataFrame:
    champion = walk.scores.filter(pl.col(c.ALGORITHM) == selection.champion)
    return pl.concat([walk.scores, champion.with_columns(pl.lit(CHAMPION).alias(c.ALGORITHM))])


def _with_identifiers(scores: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    """The scores with the shop's own identifiers in place of numbers."""
    frame = scores
    for table, number, identifier in (
        ("campaigns", c.CAMPAIGN, c.CAMPAIGN_ID),
        ("shoppers", c.SHOPPER, c.SHOPPER_ID),
        ("coupons", c.COUPON, c.COUPON_ID),
    ):
        names = snapshot.scan(table).select(number, identifier).collect()
        frame = frame.join(names, on=number, how="left", maintain_order="left")
    return frame.select(c.ALGORITHM, c.CAMPAIGN_ID, c.SHOPPER_ID, c.COUPON_ID, c.SCORE, c.LABEL)
