"""A shop's own proof that nothing which becomes known later reaches a feature, a fit or a figure."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _

from recommender.ml.algorithms import ALGORITHMS, Algorithm, algorithms_named
from recommender.ml.contract import Inputs
from recommender.ml.examples import Casebook
from recommender.ml.leaks import (
    Moved,
    Occasion,
    choose_occasions,
    describe,
    kinds_of_inputs,
    moved_columns,
    moved_scores,
    thin,
    with_another_future,
)
from recommender.ml.shuffled_labels import (
    CHANCE,
    FALSE_ALARMS,
    Chance,
    auc_within_campaigns,
    chance,
    shuffle_outcomes,
    shuffled_evaluations,
    shuffled_task,
    shuffled_training,
)
from recommender.ml.walk_forward import Fit
from recommender.progress import Progress
from recommender.services.snapshot import open_snapshot, take_snapshot

SEED = 0
#: Shoppers that are looked at. A leak is in the code: it shows on any of them.
MOST_SHOPPERS = 250
#: Shuffles of the labels that scores are measured against; they cost next to nothing.
EVALUATION_SHUFFLES = 20
#: A single column that tells used offers from unused ones better than this, or better than the best algorithm by the
#: margin, is too good to be true until shown otherwise.
DOUBTFUL_AUC, DOUBTFUL_MARGIN = 0.96, 0.03
#: Fewer used offers than this say little of how good a column is.
FEWEST_USED = 20

#: The pairs of the occasion with a number as inputs see them.
_Described = Callable[[Inputs, int], pl.DataFrame]


class UnknownInputs(ValueError):
    """A name that no inputs have."""


@dataclass(frozen=True)
class TooGood:
    """A single column that ranks the pairs as only hindsight can, or as its makers' luck would have it."""

    inputs: str
    column: str
    roc_auc: float


@dataclass
class LeakReport:
    """What a check came to.

    Attributes:
        occasions: the past campaigns, or moments, that were looked at; empty where there was nothing to look at.
        columns: by inputs, the columns that another future moved.
        scores: by algorithm, where another future moved its scores of the same inputs.
        evaluations: by algorithm, its scores measured on shuffled labels; empty without a used offer.
        trainings: by algorithm, true labels scored after trainings on shuffled outcomes; empty where none can be made.
        roc_auc: by algorithm, within campaigns; empty without a used offer.
        too_good: columns to look at. They are doubts, no leaks.
    """

    occasions: list[Occasion]
    columns: dict[str, list[Moved]] = field(default_factory=dict)
    scores: dict[str, list[Moved]] = field(default_factory=dict)
    evaluations: dict[str, Chance] = field(default_factory=dict)
    trainings: dict[str, Chance] = field(default_factory=dict)
    roc_auc: dict[str, float] = field(default_factory=dict)
    too_good: list[TooGood] = field(default_factory=list)

    @property
    def biased(self) -> list[str]:
        """The algorithms whose scores are no chance on shuffled labels: then it is the measuring that leaks."""
        return [name for name, found in self.evaluations.items() if not found.low <= CHANCE <= found.high]

    @property
    def informed(self) -> list[str]:
        """The algorithms that order true outcomes though they were trained on shuffled ones."""
        return [name for name, found in self.trainings.items() if found.low > CHANCE]

    @property
    def is_clean(self) -> bool:
        moved = [*self.columns.values(), *self.scores.values()]
        return not any(moved) and not self.biased and not self.informed


def inputs_named(names: Sequence[str]) -> list[Inputs]:
    """Inputs by the names that the algorithms know them by, or by import path (``my_shop.features.MyInputs``).

    Raises:
        UnknownInputs: the message lists the names there are.
    """
    known = {inputs.name: inputs for inputs in kinds_of_inputs(ALGORITHMS.values())}
    return [known[name] if name in known else _import_inputs(name, list(known)) for name in dict.fromkeys(names)]


def _import_inputs(path: str, known: list[str]) -> Inputs:
    try:
        found = import_string(path)
    except ImportError as error:
        raise UnknownInputs(
            _("No inputs are named %(name)s. There are: %(known)s; yours go by import path, package.module.Name.")
            % {"name": path, "known": ", ".join(known)}
        ) from error
    inputs = found() if isinstance(found, type) and issubclass(found, Inputs) else found
    if not isinstance(inputs, Inputs):
        raise UnknownInputs(_("%(name)s is no kind of Inputs (recommender.ml.contract).") % {"name": path})
    return inputs


def check_leaks(
    *,
    campaigns: int = 3,
    algorithms: Sequence[type[Algorithm]] | None = None,
    inputs: Sequence[Inputs] | None = None,
    shuffles: int = 5,
    progress: Progress = Progress(),
) -> LeakReport:
    """Look for leaks in what describes pairs and in what learns from them, on the shop's own history.

    - With another future, no input of a past campaign's pairs is another, and no score by an algorithm that was fitted
      as of that campaign.
    - Measured on shuffled labels, every algorithm's scores are chance.
    - Fitted on shuffled outcomes, every algorithm scores true ones by chance, in the mean.
    - No single input tells used offers from unused ones as only hindsight can.

    It reads a snapshot and works on copies of a part of it, so its cost hardly grows with the shop.

    Args:
        campaigns: past campaigns to look at, spread over time.
        algorithms: all but the neural one if not given; with ``inputs`` given, those that use one of these.
        inputs: those of the algorithms if not given.
        shuffles: trainings on shuffled outcomes, at least 2. More find smaller leaks.

    Raises:
        Cancelled: somebody asked the work to stop.
    """
    if algorithms is None:
        wanted = [each.name for each in inputs or ()]
        algorithms = (
            algorithms_named(None)
            if inputs is None
            else [each for each in ALGORITHMS.values() if each.inputs.name in wanted]
        )
    kinds = kinds_of_inputs(algorithms) if inputs is None else inputs
    snapshot = open_snapshot(snapshot=take_snapshot(progress=progress))
    with tempfile.TemporaryDirectory(prefix="leak-check-") as name:
        folder = Path(name)
        casebook = Casebook(thin(snapshot, folder / "shop", MOST_SHOPPERS, SEED))
        report = LeakReport(choose_occasions(casebook, campaigns, SEED))
        described = cache(lambda inputs, number: describe(inputs, casebook.snapshot, report.occasions[number]))
        scores = _change_the_future(
            report,
            casebook,
            algorithms=algorithms,
            kinds=kinds,
            described=described,
            folder=folder,
            progress=progress,
        )
        if any(occasion.labels.any() for occasion in report.occasions):
            _measure_shuffled_labels(report, scores, progress)
            _train_on_shuffled_outcomes(
                report, casebook, algorithms=algorithms, shuffles=shuffles, folder=folder, progress=progress
            )
            _look_for_hindsight(report, kinds, described)
    return report


def _change_the_future(
    report: LeakReport,
    casebook: Casebook,
    *,
    algorithms: Sequence[type[Algorithm]],
    kinds: Sequence[Inputs],
    described: _Described,
    folder: Path,
    progress: Progress,
) -> dict[str, list[np.ndarray]]:
    """Compare what is described and scored under two futures. Returns each algorithm's scores of each occasion."""
    scores: dict[str, list[np.ndarray]] = {algorithm.name: [] for algorithm in algorithms}
    report.columns = {inputs.name: [] for inputs in kinds}
    report.scores = {algorithm.name: [] for algorithm in algorithms}
    for number, occasion in enumerate(report.occasions):
        message = _("Another future for %(occasion)s") % {"occasion": occasion.name}
        progress.report(message)
        other = Casebook(with_another_future(casebook.snapshot, occasion, folder / f"future-{number}", SEED + number))
        for inputs in kinds:
            progress.report(f"{message}: {inputs.name}")
            report.columns[inputs.name] += moved_columns(inputs, casebook.snapshot, other.snapshot, occasion)
        fits: tuple[dict[str, Fit], dict[str, Fit]] = ({}, {})
        for algorithm in algorithms:
            progress.report(f"{message}: {algorithm.name}")
            pairs = described(algorithm.inputs, number)
            found, moved = moved_scores(algorithm, casebook, other, occasion, described=pairs, fits=fits)
            scores[algorithm.name].append(found)
            report.scores[algorithm.name] += [moved] if moved is not None else []
    return scores


def _measure_shuffled_labels(report: LeakReport, scores: dict[str, list[np.ndarray]], progress: Progress) -> None:
    for name, of_occasions in scores.items():
        progress.report(_("Measuring %(algorithm)s on shuffled labels") % {"algorithm": name})
        report.roc_auc[name] = auc_within_campaigns(report.occasions, of_occasions)
        values = shuffled_evaluations(report.occasions, of_occasions, EVALUATION_SHUFFLES, SEED)
        report.evaluations[name] = chance(values, false_alarms=FALSE_ALARMS / len(scores))


def _train_on_shuffled_outcomes(
    report: LeakReport,
    casebook: Casebook,
    *,
    algorithms: Sequence[type[Algorithm]],
    shuffles: int,
    folder: Path,
    progress: Progress,
) -> None:
    """Train before the middle occasion, so that campaigns teach before it and others ask after it."""
    later = [occasion for occasion in report.occasions[len(report.occasions) // 2 :] if occasion.labels.any()]
    if not later or not casebook.teaching(later[0].moment):
        return
    worlds = [
        shuffle_outcomes(casebook, later[0], folder / f"shuffled-{number}", SEED + number) for number in range(shuffles)
    ]
    for inputs in kinds_of_inputs(algorithms):
        tasks = []
        for number, world in enumerate(worlds):
            progress.report(_("Shuffling outcomes for %(inputs)s") % {"inputs": inputs.name}, number, len(worlds))
            tasks.append(shuffled_task(inputs, world, later, SEED + number))
        taught = [task for task in tasks if task is not None]
        for algorithm in algorithms:
            if algorithm.inputs.name != inputs.name or len(taught) < 2:
                continue
            values = []
            for number, task in enumerate(taught):
                message = _("Training %(algorithm)s on shuffled outcomes") % {"algorithm": algorithm.name}
                progress.report(message, number, len(taught))
                values.append(shuffled_training(algorithm, task))
            report.trainings[algorithm.name] = chance(values, false_alarms=FALSE_ALARMS / len(algorithms))


def _look_for_hindsight(report: LeakReport, kinds: Sequence[Inputs], described: _Described) -> None:
    if sum(occasion.labels.sum() for occasion in report.occasions) < FEWEST_USED:
        return
    most = min(DOUBTFUL_AUC, max(report.roc_auc.values(), default=1.0) + DOUBTFUL_MARGIN)
    for inputs in kinds:
        of_occasions = [described(inputs, number) for number in range(len(report.occasions))]
        for column in inputs.columns:
            rising = auc_within_campaigns(report.occasions, [each[column].to_numpy() for each in of_occasions])
            roc_auc = max(rising, 1 - rising)
            if roc_auc > most:
                report.too_good.append(TooGood(inputs.name, column, roc_auc))
