"""The search for a model: configurations tried within a time, each kept, and the best one against the champion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from time import monotonic

import polars as pl
from django.db import transaction

from recommender import models
from recommender.ml import columns as c
from recommender.ml.algorithms import ALGORITHMS, Algorithm, algorithms_named
from recommender.ml.algorithms.configured import Configured
from recommender.ml.evaluation.splits import walk_forward
from recommender.ml.examples import Casebook
from recommender.ml.search import Trial, best_trial, choosing_shoppers, confirm, measure, next_candidate
from recommender.ml.selection import METRIC, Selection
from recommender.ml.walk_forward import WalkForward, score_period
from recommender.progress import Progress
from recommender.services.training import (
    SEED,
    TrainingData,
    baseline,
    in_order,
    keep_versions,
    present_champion,
    promote_winner,
)
from recommender.wording import gettext as _

#: Those that a trial's row has fields for.
KEPT_METRICS = ("roc_auc", "pr_auc", "ndcg_at_10", "recall_at_10")


@dataclass(frozen=True)
class SearchReport:
    """What a search came to.

    Attributes:
        trials: all that were finished on these data, now or before, the best first.
        new: how many of them were finished now.
        exhausted: whether there is nothing left to try.
        best: the name of the one that was compared with the champion.
        selection: how that was decided.
        champion: the version of the winner.
        period: the validation period.
    """

    trials: list[models.SearchTrial]
    new: int
    exhausted: bool
    best: str
    selection: Selection
    champion: models.ModelVersion
    period: tuple[datetime, datetime]


def search(
    *,
    budget: timedelta,
    as_of: datetime | None = None,
    algorithms: Sequence[str] | None = None,
    progress: Progress = Progress(),
    job: models.Job | None = None,
) -> SearchReport:
    """Try configurations of the algorithms on the validation period of a training, and let the best replace the
    champion if shoppers that it was not chosen by confirm it.

    A trial is scored as a training scores a candidate, and kept as soon as it is finished. A search on the same data
    goes on where the last one stopped, whether its time was up, it was cancelled or it died. The winner is fitted on
    everything, as after a training; where that is the present champion's configuration, it is fitted anew if there is
    anything new. A search as of a moment before the present champion's leaves the champion in place.

    Args:
        budget: no trial begins after so long, but one is finished in any case. The comparison with the champion and
            fitting the winner come on top.
        as_of: nothing dated at or after this moment is used; now if it is not given.
        algorithms: whose configurations are tried; of all but the neural one if not given. The present champion and the
            baseline are tried first in any case.

    Raises:
        ValueError: there is no time to search.
        UnknownAlgorithm: there is no such algorithm.
        NothingToLearnFrom: nothing happened before the moment.
        NothingToSearchBy: too few shoppers used an offer of the validation period.
        Cancelled: somebody asked the work to stop; finished trials are kept.
    """
    if budget <= timedelta(0):
        raise ValueError(_("A search needs time: give it more than 0 seconds."))
    began = monotonic()
    searched = algorithms_named(algorithms)
    present = present_champion()
    first = [*([present] if present else []), baseline()]
    data = TrainingData.take(as_of=as_of, progress=progress)
    casebook = data.open()
    choosing = choosing_shoppers(_outcomes(casebook, data), SEED)
    trials = [_as_trial(row) for row in _trail(data)]
    scores: dict[str, pl.DataFrame] = {}  # of the first and of the best so far: no others will be compared
    new = 0
    while (candidate := next_candidate(first, searched, trials, SEED)) is not None:
        if new and monotonic() - began >= budget.total_seconds():
            break
        watched = _TrialProgress(progress, f"Trial {len(trials) + 1}: {candidate.name}", began, budget)
        walk = _score(candidate, data, casebook, watched)
        figures = measure(walk.scores.filter(pl.col(c.SHOPPER).is_in(choosing.implode())), SEED)
        _keep_trial(candidate, data, figures, walk.seconds[candidate.name], job)
        new += 1
        trials.append(Trial(candidate, figures[METRIC]))
        scores[candidate.name] = walk.scores
        compared = {finalist.name for finalist in [*first, _best(trials, first, searched)]}
        scores = {name: its for name, its in scores.items() if name in compared}

    best = _best(trials, first, searched)
    finalists = in_order([*first, best])
    for finalist in finalists:
        if finalist.name not in scores:  # tried by an earlier search, which kept its figures only
            scores[finalist.name] = _score(finalist, data, casebook, progress).scores
    selection = confirm(
        pl.concat(scores[finalist.name] for finalist in finalists),
        choosing,
        best.name,
        present=present.name if present else None,
        seed=SEED,
        progress=progress,
    )
    winner = next(finalist for finalist in finalists if finalist.name == selection.champion)
    reason = _("After a search of %(count)d trials, by the shoppers that it was not chosen by: %(reason)s") % {
        "count": len(trials),
        "reason": selection.reason,
    }
    if not models.ModelVersion.objects.filter(key=data.key_of(winner)).exists():
        keep_versions(
            data=data,
            casebook=casebook,
            candidates=[winner],
            scores=pl.concat(scores.values()),
            costs={},  # its trial has them
            selection=selection,
            reason=reason,
            figure=f"figures/search-{data.key_of(winner)[:16]}.png",
            job=job,
            progress=progress,
        )
    version = _declare_winner(data, data.key_of(winner), reason)
    return SearchReport(
        trials=sorted(_trail(data), key=lambda row: row.ndcg_at_10 or 0.0, reverse=True),
        new=new,
        exhausted=next_candidate(first, searched, trials, SEED) is None,
        best=best.name,
        selection=selection,
        champion=version,
        period=data.period,
    )


def _outcomes(casebook: Casebook, data: TrainingData) -> pl.DataFrame:
    """The pairs of the validation period, labelled by what was known at its end."""
    campaigns = walk_forward(casebook.campaigns, *data.period)[c.CAMPAIGN]
    labelled = [
        casebook.pairs(campaign).with_columns(pl.Series(c.LABEL, casebook.labels(campaign, data.moment)))
        for campaign in campaigns
    ]
    return pl.concat([pl.DataFrame(schema={c.SHOPPER: pl.UInt32, c.LABEL: pl.Boolean}), *labelled], how="diagonal")


def _score(candidate: Configured, data: TrainingData, casebook: Casebook, progress: Progress) -> WalkForward:
    return score_period(casebook, [candidate], *data.period, labels_before=data.moment, seed=SEED, progress=progress)


def _best(trials: Sequence[Trial], first: Sequence[Configured], searched: Sequence[type[Algorithm]]) -> Configured:
    """The best of what this search is about: an earlier one may have tried other algorithms."""
    return best_trial(
        [trial for trial in trials if trial.candidate in first or trial.candidate.algorithm in searched]
    ).candidate


def _trail(data: TrainingData) -> list[models.SearchTrial]:
    """The finished trials on these data, the earliest first, without those of other code or libraries."""
    rows = models.SearchTrial.objects.filter(
        snapshot=data.record, learned_until=data.moment, algorithm__in=ALGORITHMS
    ).order_by("pk")
    return [row for row in rows if row.key == data.key_of(_as_trial(row).candidate)]


def _as_trial(row: models.SearchTrial) -> Trial:
    return Trial(Configured.of(ALGORITHMS[row.algorithm], row.configuration), getattr(row, METRIC))


def _keep_trial(
    candidate: Configured,
    data: TrainingData,
    figures: Mapping[str, float | None],
    seconds: float,
    job: models.Job | None,
) -> None:
    models.SearchTrial.objects.get_or_create(
        key=data.key_of(candidate),
        defaults={
            "algorithm": candidate.algorithm.name,
            "configuration": candidate.parameters,
            "snapshot": data.record,
            "learned_until": data.moment,
            **{metric: figures[metric] for metric in KEPT_METRICS},
            "seconds": seconds,
            "job": job,
        },
    )


def _declare_winner(data: TrainingData, key: str, reason: str) -> models.ModelVersion:
    """The version with this key is the best that these data gave, and champion if it may be."""
    versions = models.ModelVersion.objects.filter(snapshot=data.record, learned_until=data.moment)
    with transaction.atomic():
        versions.exclude(key=key).update(won=False)
        versions.filter(key=key).update(won=True)
        promote_winner(data=data, key=key, reason=reason)
    return versions.get(key=key)


class _TrialProgress(Progress):
    """Shows a trial as one step, and how much of the time is over."""

    def __init__(self, progress: Progress, message: str, began: float, budget: timedelta) -> None:
        self._progress = progress
        self._message = message
        self._began = began
        self._seconds = ceil(budget.total_seconds())

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        self._progress.report(self._message, min(int(monotonic() - self._began), self._seconds), self._seconds)
