"""Learning: every algorithm is compared on later campaigns than it learned from, fitted and kept; one is champion."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

import polars as pl
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from recommender import models
from recommender.ml import artifact
from recommender.ml import columns as c
from recommender.ml.algorithms import ALGORITHMS, Algorithm, algorithms_named
from recommender.ml.algorithms.configured import Configured
from recommender.ml.algorithms.tree_figure import draw_tree
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.evaluation.curves import Curves, trace_curves
from recommender.ml.evaluation.figure import draw_comparison
from recommender.ml.evaluation.gate import BASELINE
from recommender.ml.evaluation.splits import default_validation_start
from recommender.ml.examples import Casebook
from recommender.ml.forecast import Outcome, past_outcomes
from recommender.ml.history import History
from recommender.ml.importance import measure_importance
from recommender.ml.input_drift import LearnedInputs, measure_learned
from recommender.ml.memory import PeakMemory
from recommender.ml.redemption_timing import ObservedUses
from recommender.ml.selection import RESAMPLES, Selection, select_champion
from recommender.ml.walk_forward import Cost, Fit, fit_as_of, score_period
from recommender.progress import Progress
from recommender.services.group_learning import learn_groups
from recommender.services.shared_files import share_file
from recommender.services.snapshot import open_snapshot, take_snapshot
from recommender.wording import gettext as _

SEED = 0


class NothingToLearnFrom(ValueError):
    """Nothing happened in the shop before the moment."""


@dataclass(frozen=True)
class TrainingData:
    """What there is to learn from: a snapshot, and the moment before which things count.

    Attributes:
        moment: at or before the end of what is known. A campaign that was still running then is not a finished one.
        period: the validation period, the last four months.
    """

    record: models.Snapshot
    moment: datetime

    @classmethod
    def take(cls, *, as_of: datetime | None, progress: Progress) -> Self:
        """Of everything that happened, or happened before a moment.

        Raises:
            NothingToLearnFrom: nothing happened at all.
        """
        record = take_snapshot(progress=progress)
        if record.history_until is None:
            raise NothingToLearnFrom(
                _("There is nothing to learn from: no order, redemption or event. Load history first.")
            )
        return cls(record, min(as_of or timezone.now(), record.history_until + timedelta(microseconds=1)))

    @property
    def period(self) -> tuple[datetime, datetime]:
        return default_validation_start(self.moment), self.moment

    def open(self) -> Casebook:
        """
        Raises:
            NothingToLearnFrom: nothing happened before the moment.
        """
        snapshot = open_snapshot(snapshot=self.record)
        _refuse_empty(snapshot.before(self.moment))
        return Casebook(snapshot, most_pairs=settings.TRAINING_PAIRS)

    def key_of(self, candidate: Configured) -> str:
        """Names what a candidate learns from these data, here and again."""
        decides = [
            candidate.algorithm.name,
            candidate.parameters,
            self.record.fingerprint,
            self.moment.timestamp(),
            settings.TRAINING_PAIRS,
            artifact.FORMAT,
            artifact.library_versions(),
            SEED,
        ]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


@dataclass(frozen=True)
class TrainingReport:
    """What a training came to.

    Attributes:
        versions: one for each algorithm, and one for the present champion's parameters where they are its own.
        champion: the version of the candidate that won; where none passed the gate, the present champion's, fitted
            anew.
        selection: how it was chosen; None where everything had been learned before.
        period: the validation period.
        seconds: by candidate, what fitting and scoring took on the validation period.
    """

    versions: list[models.ModelVersion]
    champion: models.ModelVersion
    selection: Selection | None
    period: tuple[datetime, datetime]
    seconds: dict[str, float]


def train(
    *,
    as_of: datetime | None = None,
    algorithms: Sequence[str] | None = None,
    progress: Progress = Progress(),
    job: models.Job | None = None,
) -> TrainingReport:
    """Compare the algorithms on the last four months, fit each on everything, and let the gate decide on the champion.

    What is known ends with the last thing that happened, however much later ``as_of`` is: a campaign that was still
    running then is not taken for a finished one. Doing it again with nothing new returns what is there. A training as
    of a moment before the present champion's leaves the champion in place.

    Algorithms are compared as they come. A champion that a search found (:mod:`recommender.services.search`) is one
    candidate more with the parameters that were found, so that they last until something does better.

    Where shoppers join groups, what is known of these is learned too (:mod:`recommender.services.group_learning`).

    Args:
        as_of: nothing dated at or after this moment is used; now if it is not given.
        algorithms: their names; all but the neural one if not given. The baseline and the present champion's are
            compared too.

    Raises:
        UnknownAlgorithm: there is no such algorithm.
        NothingToLearnFrom: nothing happened before the moment.
        Cancelled: somebody asked the work to stop; nothing is kept.
    """
    named = [Configured(algorithm) for algorithm in algorithms_named(algorithms)]
    learn_groups(as_of=as_of, progress=progress)
    champion = present_champion()
    compared = in_order([*named, baseline(), *([champion] if champion else [])])
    data = TrainingData.take(as_of=as_of, progress=progress)
    keys = [data.key_of(candidate) for candidate in compared]
    found = models.ModelVersion.objects.filter(key__in=keys)
    selection: Selection | None = None
    seconds: dict[str, float] = {}
    if set(keys) != {version.key for version in found} or not any(version.won for version in found):
        casebook = data.open()
        walk = score_period(
            casebook,
            compared,
            *data.period,
            labels_before=data.moment,
            seed=SEED,
            progress=progress,
            memory=PeakMemory(),
        )
        seconds = walk.seconds
        wanted = {candidate.algorithm for candidate in named}
        selection = select_champion(
            walk.scores,
            [candidate.name for candidate in compared if candidate.algorithm in wanted],
            present=champion.name if champion else None,
            seed=SEED,
            progress=progress,
        )
        keep_versions(
            data=data,
            casebook=casebook,
            candidates=compared,
            scores=walk.scores,
            costs=walk.costs,
            selection=selection,
            reason=selection.reason,
            figure=f"figures/training-{data.record.fingerprint[:12]}-{data.moment:%Y%m%dT%H%M%S}.png",
            job=job,
            progress=progress,
        )
    versions = sorted(found.all(), key=lambda version: keys.index(version.key))
    # A search on the same data may have found a better one since.
    winner = max((version for version in versions if version.won), key=lambda version: version.pk)
    return TrainingReport(versions, winner, selection, data.period, seconds)


def baseline() -> Configured:
    """What every candidate has to be better than."""
    return Configured(ALGORITHMS[BASELINE])


def present_champion() -> Configured | None:
    """The shop's champion as a candidate, with the parameters that it was fitted with.

    Raises:
        UnknownAlgorithm: there is no such algorithm any more.
    """
    version = models.Shop.current().champion
    if version is None:
        return None
    [algorithm] = algorithms_named([version.algorithm])
    return Configured.of(algorithm, version.configuration)


def in_order(candidates: Sequence[Configured]) -> list[Configured]:
    """Each candidate once, by algorithm in the order of the tables."""
    distinct = {candidate.name: candidate for candidate in candidates}
    return sorted(distinct.values(), key=lambda candidate: list(ALGORITHMS).index(candidate.algorithm.name))


def keep_versions(
    *,
    data: TrainingData,
    casebook: Casebook,
    candidates: Sequence[Configured],
    scores: pl.DataFrame,
    costs: Mapping[str, Cost],
    selection: Selection,
    reason: str,
    figure: str,
    job: models.Job | None,
    progress: Progress,
) -> None:
    """Fit candidates on everything and write them down, and make the selected one the champion.

    All of them or none, since a version that is there is not learned again. A champion that knows later things stays.

    Args:
        candidates: the selected one among them.
        scores: theirs of the validation period.
        costs: what these scores took, by the name of the candidate, as far as it was measured.
        reason: why the selected one is the champion, if it becomes it.
        figure: the file under the data directory to draw the comparison in.
    """
    fits: dict[str, Fit] = {}
    for candidate in candidates:
        progress.report(_("Fitting %(algorithm)s on everything") % {"algorithm": candidate.name})
        fits[candidate.name] = fit_as_of(candidate, casebook, data.moment, SEED, fits)
    observed = ObservedUses(casebook)
    outcomes = {name: past_outcomes(observed, scores.filter(pl.col(c.ALGORITHM) == name), data.moment) for name in fits}
    fitted = {name: fit.model for name, fit in fits.items()}
    importance = measure_importance(fitted, casebook, scores[c.CAMPAIGN].unique(), seed=SEED)
    progress.report(_("Counting what the inputs were like"))
    learned = {
        inputs.name: measure_learned(inputs, casebook, data.moment, seed=SEED)
        for inputs in {candidate.inputs.name: candidate.inputs for candidate in candidates}.values()
    }
    curves: Mapping[str, Curves] = {}
    if selection.comparison is None:
        figure = ""
    else:
        progress.report(_("Tracing the curves"))
        curves = trace_curves(scores, resamples=RESAMPLES, seed=SEED)
        file = settings.DATA_DIR / figure
        draw_comparison(selection.comparison, file, champion=selection.champion, period=data.period)
        share_file(figure)
    keys = {candidate.name: data.key_of(candidate) for candidate in candidates}
    files = {name: _save_model(fit, keys[name]) for name, fit in fits.items()}
    drawings = {name: _draw_model(fit.model, keys[name]) for name, fit in fits.items()}
    with transaction.atomic():
        for candidate in candidates:
            name = candidate.name
            _save_version(
                key=keys[name],
                candidate=candidate,
                fit=fits[name],
                file=files[name],
                data=data,
                selection=selection,
                outcomes=outcomes[name],
                cost=costs.get(name),
                curves=curves.get(name),
                importance=importance.get(name, {}),
                learned=learned[candidate.inputs.name],
                figure=figure,
                drawing=drawings[name],
                job=job,
            )
        promote_winner(data=data, key=keys[selection.champion], reason=reason)


def promote_winner(*, data: TrainingData, key: str, reason: str) -> None:
    """Make the version with this key the champion, unless the present one knows later things."""
    present = models.Shop.current().champion
    if present is None or data.moment >= present.learned_until:
        promote(model_version=models.ModelVersion.objects.get(key=key), reason=reason)


def promote(*, model_version: models.ModelVersion, reason: str, promoted_by: models.User | None = None) -> None:
    """Make a version the champion, with the reason kept. Does nothing when it is the champion already."""
    models.Shop.current()
    with transaction.atomic():
        shop = models.Shop.objects.select_for_update().get()
        if shop.champion_id == model_version.pk:
            return
        if models.ModelVersion.objects.filter(pk=model_version.pk, retired_at__isnull=False).exists():
            raise ValueError(
                _("%(version)s learned from a shopper who was erased, and does not become champion again.")
                % {"version": model_version}
            )
        models.Promotion.objects.create(
            model_version=model_version, previous=shop.champion, promoted_by=promoted_by, reason=reason
        )
        shop.champion = model_version
        shop.save(update_fields=["champion"])


def _refuse_empty(history: History) -> None:
    if all(history.scan(table).head(1).collect().is_empty() for table in ("orders", "redemptions", "events")):
        raise NothingToLearnFrom(
            _("There is nothing to learn from: no order, redemption or event before %(moment)s.")
            % {"moment": history.moment}
        )


def _draw_model(model: Algorithm, key: str) -> str:
    """The model itself drawn, as a path under the data directory; empty where it cannot be."""
    if not isinstance(model, DecisionTree) or not model.informed_:
        return ""
    path = f"figures/{model.name}-{key[:16]}.png"
    draw_tree(model, settings.DATA_DIR / path)
    share_file(path)
    return path


def _save_model(fit: Fit, key: str) -> tuple[str, str]:
    """Write a fitted algorithm: its path under the data directory and its digest."""
    path = f"models/{fit.model.name}-{key[:16]}.joblib"
    digest = artifact.save(fit.model, settings.DATA_DIR / path)
    share_file(path)
    return path, digest


def _save_version(
    *,
    key: str,
    candidate: Configured,
    fit: Fit,
    file: tuple[str, str],
    data: TrainingData,
    selection: Selection,
    outcomes: Sequence[Outcome],
    cost: Cost | None,
    curves: Curves | None,
    importance: Mapping[str, float],
    learned: Mapping[str, LearnedInputs],
    figure: str,
    drawing: str,
    job: models.Job | None,
) -> None:
    path, digest = file
    version, _is_new = models.ModelVersion.objects.update_or_create(
        key=key,
        defaults={
            "algorithm": candidate.algorithm.name,
            "configuration": candidate.parameters,
            "snapshot": data.record,
            "learned_until": data.moment,
            "parameters": fit.model.parameters(),
            "library_versions": artifact.library_versions(),
            "artifact": path,
            "artifact_digest": digest,
            "training_rows": fit.rows,
            "training_positives": fit.positives,
            "fit_seconds": fit.seconds,
            "score_seconds": 1e6 * cost.score_seconds / cost.pairs if cost and cost.pairs else None,
            "peak_memory": cost.peak_memory if cost else None,
            "curves": curves or {},
            "importance": importance,
            "threshold": selection.thresholds[candidate.name],
            "past_outcomes": outcomes,
            "won": candidate.name == selection.champion,
            "figure": figure,
            "drawing": drawing,
            "job": job,
        },
    )
    for kind, of_kind in learned.items():
        version.learned_inputs.update_or_create(
            kind=kind, defaults={"campaign_count": of_kind.campaigns, "inputs": of_kind.inputs}
        )
    version.evaluations.all().delete()
    if selection.comparison is not None:
        models.Evaluation.objects.bulk_create(
            models.Evaluation(model_version=version, metric=metric, **figures)
            for metric, figures in selection.comparison.figures(candidate.name).items()
        )
