"""Learning: every algorithm is compared on later campaigns than it learned from, fitted and kept; one is champion."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from recommender import models
from recommender.ml import artifact
from recommender.ml.algorithms import algorithms_named
from recommender.ml.evaluation.figure import draw_comparison
from recommender.ml.evaluation.gate import BASELINE
from recommender.ml.evaluation.splits import default_validation_start
from recommender.ml.examples import Casebook
from recommender.ml.history import History
from recommender.ml.selection import Selection, select_champion
from recommender.ml.walk_forward import Fit, fit_as_of, score_period
from recommender.progress import Progress
from recommender.services.snapshot import open_snapshot, take_snapshot

SEED = 0


class NothingToLearnFrom(ValueError):
    """Nothing happened in the shop before the moment."""


@dataclass(frozen=True)
class TrainingReport:
    """What a training came to.

    Attributes:
        versions: one for each algorithm.
        champion: the version of the algorithm that won; where no candidate passed the gate, the present champion's
            algorithm, fitted anew.
        selection: how it was chosen; None where everything had been learned before.
        period: the validation period.
        seconds: by algorithm, what fitting and scoring took on the validation period.
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

    Args:
        as_of: nothing dated at or after this moment is used; now if it is not given.
        algorithms: their names; all of them if not given. The baseline and the present champion's are compared too.

    Raises:
        UnknownAlgorithm: there is no such algorithm.
        NothingToLearnFrom: nothing happened before the moment.
        Cancelled: somebody asked the work to stop; nothing is kept.
    """
    candidates = [algorithm.name for algorithm in algorithms_named(algorithms)]
    present = models.Shop.current().champion
    compared = algorithms_named({*candidates, BASELINE, *([present.algorithm] if present else [])})
    record = take_snapshot(progress=progress)
    moment = _known_until(record, as_of or timezone.now())
    period = (default_validation_start(moment), moment)
    keys = {algorithm.name: _version_key(algorithm.name, record, moment) for algorithm in compared}
    found = models.ModelVersion.objects.filter(key__in=keys.values())
    selection: Selection | None = None
    seconds: dict[str, float] = {}
    if set(keys) != {version.algorithm for version in found} or not any(version.won for version in found):
        snapshot = open_snapshot(snapshot=record)
        _refuse_empty(snapshot.before(moment))
        casebook = Casebook(snapshot)
        walk = score_period(casebook, compared, *period, labels_before=moment, seed=SEED, progress=progress)
        seconds = walk.seconds
        selection = select_champion(
            walk.scores, candidates, present=present.algorithm if present else None, seed=SEED, progress=progress
        )
        fits = []
        for algorithm in compared:
            progress.report(f"Fitting {algorithm.name} on everything")
            fits.append(fit_as_of(algorithm, casebook, moment, SEED))
        figure = _draw_figure(selection, record, period)
        files = {fit.model.name: _save_model(fit, keys[fit.model.name]) for fit in fits}
        # All versions and the champion, or none: a version that is there is not learned again.
        with transaction.atomic():
            for fit in fits:
                _save_version(
                    key=keys[fit.model.name],
                    fit=fit,
                    file=files[fit.model.name],
                    snapshot=record,
                    moment=moment,
                    selection=selection,
                    figure=figure,
                    job=job,
                )
            if present is None or moment >= present.learned_until:
                promote(model_version=found.get(algorithm=selection.champion), reason=selection.reason)
    versions = sorted(found.all(), key=lambda version: list(keys).index(version.algorithm))
    winner = next(version for version in versions if version.won)
    return TrainingReport(versions, winner, selection, period, seconds)


def promote(*, model_version: models.ModelVersion, reason: str, promoted_by: models.User | None = None) -> None:
    """Make a version the champion, with the reason kept. Does nothing when it is the champion already."""
    models.Shop.current()
    with transaction.atomic():
        shop = models.Shop.objects.select_for_update().get()
        if shop.champion_id == model_version.pk:
            return
        models.Promotion.objects.create(
            model_version=model_version, previous=shop.champion, promoted_by=promoted_by, reason=reason[:500]
        )
        shop.champion = model_version
        shop.save(update_fields=["champion"])


def _known_until(snapshot: models.Snapshot, as_of: datetime) -> datetime:
    if snapshot.history_until is None:
        raise NothingToLearnFrom(
            _("There is nothing to learn from: no order, redemption or event. Load history first.")
        )
    return min(as_of, snapshot.history_until + timedelta(microseconds=1))


def _refuse_empty(history: History) -> None:
    if all(history.scan(table).head(1).collect().is_empty() for table in ("orders", "redemptions", "events")):
        raise NothingToLearnFrom(
            _("There is nothing to learn from: no order, redemption or event before %(moment)s.")
            % {"moment": history.moment.isoformat()}
        )


def _version_key(algorithm: str, snapshot: models.Snapshot, moment: datetime) -> str:
    decides = [algorithm, snapshot.fingerprint, moment.timestamp(), artifact.FORMAT, artifact.library_versions(), SEED]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _draw_figure(selection: Selection, snapshot: models.Snapshot, period: tuple[datetime, datetime]) -> str:
    """The comparison drawn, as a path under the data directory; empty where there is nothing to draw."""
    if selection.comparison is None:
        return ""
    name = f"figures/training-{snapshot.fingerprint[:12]}-{period[1]:%Y%m%dT%H%M%S}.png"
    draw_comparison(selection.comparison, settings.DATA_DIR / name, champion=selection.champion, period=period)
    return name


def _save_model(fit: Fit, key: str) -> tuple[str, str]:
    """Write a fitted algorithm: its path under the data directory and its digest."""
    path = f"models/{fit.model.name}-{key[:16]}.joblib"
    return path, artifact.save(fit.model, settings.DATA_DIR / path)


def _save_version(
    *,
    key: str,
    fit: Fit,
    file: tuple[str, str],
    snapshot: models.Snapshot,
    moment: datetime,
    selection: Selection,
    figure: str,
    job: models.Job | None,
) -> None:
    algorithm = fit.model.name
    path, digest = file
    version, _is_new = models.ModelVersion.objects.update_or_create(
        key=key,
        defaults={
            "algorithm": algorithm,
            "snapshot": snapshot,
            "learned_until": moment,
            "parameters": fit.model.parameters(),
            "library_versions": artifact.library_versions(),
            "artifact": path,
            "artifact_digest": digest,
            "training_rows": fit.rows,
            "training_positives": fit.positives,
            "fit_seconds": fit.seconds,
            "threshold": selection.thresholds[algorithm],
            "won": algorithm == selection.champion,
            "figure": figure,
            "job": job,
        },
    )
    version.evaluations.all().delete()
    if selection.comparison is not None:
        models.Evaluation.objects.bulk_create(
            models.Evaluation(model_version=version, metric=metric, **figures)
            for metric, figures in selection.comparison.figures(algorithm).items()
        )
