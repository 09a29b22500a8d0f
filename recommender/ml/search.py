"""The search for a model: what to try next, and whether the best of what was tried replaces the champion.

Configurations are drawn at random from what each algorithm offers (Bergstra & Bengio 2012). The best of many trials
looks better than it is on whatever it was chosen by, the more so the more trials there are. So the shoppers are
divided: one half chooses among the trials, and what it chose is compared with the champion on the other half.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, isnan

import numpy as np
import polars as pl
from sklearn.model_selection import ParameterGrid

from recommender.ml import columns as c
from recommender.ml.algorithms import Algorithm
from recommender.ml.algorithms.configured import Configured
from recommender.ml.evaluation.gate import BASELINE, GateDecision
from recommender.ml.evaluation.metrics import Metrics
from recommender.ml.evaluation.pairs import read_scores
from recommender.ml.evaluation.thresholds import UNINFORMED
from recommender.ml.selection import Selection, select_champion
from recommender.progress import Progress


class NothingToSearchBy(ValueError):
    """Too few shoppers used an offer of the validation period to tell configurations apart."""


@dataclass(frozen=True)
class Trial:
    """A configuration, and its value of :data:`recommender.ml.selection.METRIC` by the shoppers that choose; None where
    it is undefined."""

    candidate: Configured
    value: float | None


def configurations(algorithm: type[Algorithm], seed: int) -> Iterator[Configured]:
    """The algorithm as it comes, then every configuration of its search space in random order."""
    yield Configured(algorithm)
    # Not ParameterSampler: drawing all of a grid, it keeps the grid's order.
    grid = _grid(algorithm)
    for number in np.random.default_rng(seed).permutation(len(grid)):
        yield Configured.of(algorithm, grid[number])


def _grid(algorithm: type[Algorithm]) -> ParameterGrid:
    return ParameterGrid(dict(algorithm.search_space))


def next_candidate(
    first: Sequence[Configured], algorithms: Sequence[type[Algorithm]], trials: Sequence[Trial], seed: int
) -> Configured | None:
    """What to try after these trials; None when everything was tried.

    It depends on nothing else, so that a search that was broken off goes on as if it had not been.

    Args:
        first: tried before all others. Then each algorithm is tried as it comes, the one with the largest search space
            first; then the better half of those that have anything left to try, the one with the fewest trials first.
    """
    tried = {trial.candidate.name for trial in trials}
    by_choices = sorted(algorithms, key=lambda algorithm: len(_grid(algorithm)), reverse=True)
    for candidate in [*first, *map(Configured, by_choices)]:
        if candidate.name not in tried:
            return candidate
    left = {}
    for algorithm in algorithms:
        untried = (each for each in configurations(algorithm, seed) if each.name not in tried)
        if (drawn := next(untried, None)) is not None:
            left[algorithm] = drawn
    if not left:
        return None
    of_algorithm = {
        algorithm: [trial for trial in trials if trial.candidate.algorithm is algorithm] for algorithm in left
    }
    ranked = sorted(left, key=lambda algorithm: max(map(_rank, of_algorithm[algorithm])), reverse=True)
    better_half = ranked[: ceil(len(ranked) / 2)]
    return left[min(better_half, key=lambda algorithm: len(of_algorithm[algorithm]))]


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The one with the largest value; of equals the earliest."""
    return max(trials, key=_rank)


def _rank(trial: Trial) -> float:
    return -np.inf if trial.value is None else trial.value


def choosing_shoppers(outcomes: pl.DataFrame, seed: int) -> pl.Series:
    """The half of the shoppers that chooses among trials.

    They are drawn at random among those who used as many offers, so that either half knows as much as the other.

    Args:
        outcomes: columns ``shopper`` and ``label``, a row for each pair of the validation period.

    Raises:
        NothingToSearchBy: fewer than two shoppers used an offer, so that a half would know of none.
    """
    shoppers = outcomes.group_by(c.SHOPPER).agg(pl.col(c.LABEL).sum()).sort(c.SHOPPER)
    uses = shoppers[c.LABEL].to_numpy().astype(np.int64)
    if (users := np.count_nonzero(uses)) < 2:
        raise NothingToSearchBy(
            f"{users} of {len(uses)} shoppers used an offer of the validation period; a search needs at least two: "
            "one to choose by and one to confirm the choice."
        )
    order = np.lexsort((np.random.default_rng(seed).permutation(len(uses)), -uses))
    return shoppers[c.SHOPPER][order[::2]]


def measure(scores: pl.DataFrame, seed: int) -> dict[str, float | None]:
    """Every metric of the one candidate of a scores frame; None where it is undefined."""
    pairs, by_candidate = read_scores(scores, seed=seed)
    [probabilities] = by_candidate.values()
    # No threshold is chosen: what depends on one is not looked at.
    metrics = Metrics(pairs, probabilities, threshold=UNINFORMED)
    found = {name: float(value) for name, [value] in metrics.measure(np.ones((pairs.shopper_count, 1))).items()}
    return {name: None if isnan(value) else value for name, value in found.items()}


def confirm(
    scores: pl.DataFrame, choosing: pl.Series, candidate: str, *, present: str | None, seed: int, progress: Progress
) -> Selection:
    """Whether the candidate that was chosen replaces the champion: what the other shoppers say.

    It does if it passes the gate by them and their points say better, of the champion too: a draw changes nothing.

    Args:
        scores: of the validation period: the candidate's, the baseline's and the present champion's.
        choosing: the shoppers that the candidate was chosen by.
        present: the name of the present champion; without one the baseline takes the place of what does not pass.

    Returns:
        The decision by the shoppers that did not choose; figures and thresholds by all of them, as after a training.
    """
    others = scores.filter(~pl.col(c.SHOPPER).is_in(choosing.implode()))
    confirmed = select_champion(others, [candidate], present=present, seed=seed, progress=progress)
    by_all = select_champion(scores, [candidate], present=present, seed=seed, progress=progress)
    better = confirmed.decision is not None and _says_better(confirmed.decision)
    return replace(by_all, champion=candidate if better else present or BASELINE, decision=confirmed.decision)


def _says_better(decision: GateDecision) -> bool:
    return decision.passed and all(
        finding.gain.value is not None and finding.gain.value > 0 for finding in decision.findings
    )
