"""Each campaign scored by what was known strictly before its start."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.algorithms import Algorithm
from recommender.ml.algorithms.blend import Blend
from recommender.ml.algorithms.configured import Candidate, Configured
from recommender.ml.evaluation.splits import walk_forward
from recommender.ml.examples import Casebook
from recommender.ml.memory import PeakMemory
from recommender.ml.redemption_timing import ObservedUses
from recommender.progress import Progress
from recommender.sentences import say

SCORES_SCHEMA = pl.Schema(
    {
        c.ALGORITHM: pl.String,
        c.CAMPAIGN: pl.UInt32,
        c.SHOPPER: pl.UInt32,
        c.COUPON: pl.UInt32,
        c.SCORE: pl.Float64,
        c.LABEL: pl.Boolean,
        c.SHARE: pl.Float64,
    }
)

#: An algorithm is fitted anew for a campaign when the used offers known by then have grown by more than this share
#: since it was fitted: what fewer add is less than the noise, and fitting is what costs.
WORTH_REFITTING = 0.1


@dataclass
class Fit:
    """An algorithm fitted as of a moment, and what that took."""

    model: Algorithm
    rows: int
    positives: int
    seconds: float


@dataclass
class Scored:
    """The scores of a campaign's pairs and what they took."""

    scores: np.ndarray
    seconds: float


@dataclass
class Cost:
    """What an algorithm took to score a period.

    Attributes:
        fit_seconds: of all its fits; a blend of what was fitted already takes as long as its members.
        score_seconds: of all its scores, its ``pairs``.
        peak_memory: bytes that the process held at most while it (its members) was fitted and scored; None where that
            is not known.
    """

    fit_seconds: float = 0.0
    score_seconds: float = 0.0
    pairs: int = 0
    peak_memory: int | None = None

    @property
    def seconds(self) -> float:
        return self.fit_seconds + self.score_seconds


@dataclass
class WalkForward:
    """The scores of a period (columns of :data:`SCORES_SCHEMA`) and what it cost each algorithm to get them."""

    scores: pl.DataFrame
    costs: dict[str, Cost]

    @property
    def seconds(self) -> dict[str, float]:
        """By algorithm, what fitting and scoring took together."""
        return {name: cost.seconds for name, cost in self.costs.items()}


def fit_as_of(
    algorithm: Candidate, casebook: Casebook, moment: datetime, seed: int, fits: Mapping[str, Fit] | None = None
) -> Fit:
    """Fit a new instance on all that was known strictly before the moment.

    Without a past campaign it is fitted on no examples, and scores by what it knows without.

    Args:
        fits: by name, algorithms fitted as of the same moment with the same seed: a blend of these is not fitted again.
    """
    kind = algorithm.algorithm if isinstance(algorithm, Configured) else algorithm
    if issubclass(kind, Blend) and fits and all(member.name in fits for member in kind.members):
        members = [fits[member.name] for member in kind.members]
        blend = kind.of([member.model for member in members])
        return Fit(blend, members[0].rows, members[0].positives, sum(member.seconds for member in members))
    examples = casebook.examples(algorithm.inputs, moment)
    started = time.perf_counter()
    if examples is None:
        model = algorithm().fit(algorithm.inputs.none(), np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64), seed)
        return Fit(model, 0, 0, time.perf_counter() - started)
    model = algorithm().fit(examples.inputs, examples.labels, examples.campaigns, seed)
    return Fit(model, len(examples.labels), int(examples.labels.sum()), time.perf_counter() - started)


def _members(algorithm: Candidate) -> tuple[str, ...]:
    """The names of what a blend is made of; none for any other algorithm."""
    kind = algorithm.algorithm if isinstance(algorithm, Configured) else algorithm
    return tuple(member.name for member in kind.members) if issubclass(kind, Blend) else ()


def _score(
    algorithm: Candidate, fitted: Fit, casebook: Casebook, campaign: int, scored: Mapping[str, Scored]
) -> Scored:
    """The pairs of a campaign by a model; a blend of what has scored them is not asked again."""
    if isinstance(fitted.model, Blend) and fitted.model.informed_ and scored.keys() >= set(_members(algorithm)):
        members = [scored[name] for name in _members(algorithm)]
        scores = fitted.model.combine([member.scores for member in members])
        return Scored(scores, sum(member.seconds for member in members))
    described = casebook.described(algorithm.inputs, campaign)
    started = time.perf_counter()
    scores = fitted.model.score(described)
    return Scored(scores, time.perf_counter() - started)


def score_period(
    casebook: Casebook,
    algorithms: Sequence[Candidate],
    start: datetime,
    end: datetime,
    *,
    labels_before: datetime,
    seed: int,
    progress: Progress,
    memory: PeakMemory | None = None,
) -> WalkForward:
    """Score every pair of every campaign that starts in [start, end), each as of its own start.

    Args:
        labels_before: only uses strictly before this moment count as such; ``share`` is the share of the campaign's
            uses that was to be expected by then, as far as data go.
        memory: measures the peak of each algorithm; without it no peak is known.
    """
    campaigns = [
        (campaign, casebook.decided_at(campaign))
        for campaign in walk_forward(casebook.campaigns, start, end)[c.CAMPAIGN]
        if not casebook.pairs(campaign).is_empty()
    ]
    # A campaign by a campaign, so that what its kinds of inputs share of its history is computed once.
    kinds = {algorithm.inputs.name: algorithm.inputs for algorithm in algorithms}.values()
    wanted = sorted({*casebook.teaching(end), *(campaign for campaign, _moment in campaigns)})
    for number, campaign in enumerate(wanted):
        progress.report(say("Describing past campaigns"), number, len(wanted))
        for inputs in kinds:
            casebook.described(inputs, campaign)

    observed = ObservedUses(casebook)
    shares = {campaign: observed.expected_share(campaign, labels_before) for campaign, _moment in campaigns}
    frames: list[pl.DataFrame] = []
    uses_known = {
        moment: sum(int(casebook.labels(campaign, moment).sum()) for campaign in casebook.teaching(moment))
        for _, moment in campaigns
    }
    costs: dict[str, Cost] = {}
    fits: dict[datetime, dict[str, Fit]] = {moment: {} for _, moment in campaigns}
    scored: dict[int, dict[str, Scored]] = {campaign: {} for campaign, _ in campaigns}
    for place, algorithm in enumerate(algorithms):
        known = -1
        fitted: Fit | None = None
        cost = costs[algorithm.name] = Cost()
        if memory is not None:
            memory.begin()
        for number, (campaign, moment) in enumerate(campaigns):
            progress.report(
                say("Scoring past campaigns by %(algorithm)s", algorithm=algorithm.name),
                place * len(campaigns) + number,
                len(algorithms) * len(campaigns),
            )
            if fitted is None or uses_known[moment] > (1 + WORTH_REFITTING) * known:
                known, fitted = uses_known[moment], fit_as_of(algorithm, casebook, moment, seed, fits[moment])
                fits[moment][algorithm.name] = fitted
                cost.fit_seconds += fitted.seconds
            result = scored[campaign][algorithm.name] = _score(algorithm, fitted, casebook, campaign, scored[campaign])
            cost.score_seconds += result.seconds
            cost.pairs += len(result.scores)
            frames.append(
                casebook.pairs(campaign).select(
                    pl.lit(algorithm.name).alias(c.ALGORITHM),
                    c.CAMPAIGN,
                    c.SHOPPER,
                    c.COUPON,
                    pl.Series(c.SCORE, result.scores),
                    pl.Series(c.LABEL, casebook.labels(campaign, labels_before)),
                    pl.lit(shares[campaign]).alias(c.SHARE),
                )
            )
        if memory is not None and (peak := memory.end()) is not None:
            fitted_before = [costs[name].peak_memory or 0 for name in _members(algorithm) if name in costs]
            cost.peak_memory = max(peak, *fitted_before, 0)
    empty = pl.DataFrame(schema=SCORES_SCHEMA)
    return WalkForward(pl.concat([empty, *(frame.cast(SCORES_SCHEMA) for frame in frames)]), costs)
