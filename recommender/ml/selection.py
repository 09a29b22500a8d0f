"""The champion, chosen on a validation period."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from recommender.ml import columns as c
from recommender.ml.algorithms import UNTAUGHT
from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.gate import BASELINE, GateDecision, passes_gate
from recommender.ml.evaluation.thresholds import choose_threshold
from recommender.progress import Progress
from recommender.sentences import say

#: The champion fills shoppers' lists, so it is chosen by how good lists are.
METRIC = "ndcg_at_10"
#: Between those whose lists are as good as can be told, by how well all pairs are told apart: every pair has a say in
#: it, and how many uses a few campaigns happened to bring has none, as it would in a log loss.
TIE_BREAKER = "roc_auc"
RESAMPLES = 500


@dataclass(frozen=True)
class Selection:
    """Who won on the validation period.

    Attributes:
        champion: the name of the algorithm that scores from now on.
        decision: what the gate said of the best candidate; None where nothing could be compared.
        comparison: the figures of the validation period; None where it had no used offer.
        thresholds: by algorithm, the probability from which a pair counts as used; 0.5 where nothing could be chosen.
    """

    champion: str
    decision: GateDecision | None
    comparison: Comparison | None
    thresholds: dict[str, float]

    @property
    def reason(self) -> str:
        """Why the champion is the champion."""
        if self.decision is None:
            return say("No past campaign of the validation period has a used offer: chances of buying decide.")
        return str(self.decision)


def select_champion(
    scores: pl.DataFrame,
    candidates: Sequence[str],
    *,
    present: str | None,
    seed: int,
    progress: Progress,
) -> Selection:
    """Choose among the candidates, and keep the choice only if it passes the gate.

    Candidates whose :data:`METRIC` is not surely below the best one's (their paired interval holds 0) are equals; of
    these the one with the best :data:`TIE_BREAKER` is chosen.

    Args:
        scores: of the validation period, the baseline and the present champion's algorithm among them.
        present: the algorithm of the present champion; it stays where the best candidate does not pass. Without one the
            baseline takes the place.
    """
    names = scores[c.ALGORITHM].unique().to_list()
    if not scores[c.LABEL].any() or scores[c.LABEL].all():
        fallback = present or (UNTAUGHT if UNTAUGHT in candidates else candidates[0])
        return Selection(fallback, None, None, dict.fromkeys([*names, *candidates, BASELINE, fallback], 0.5))
    thresholds = {
        name: choose_threshold(its[c.SCORE].to_numpy(), its[c.LABEL].to_numpy())
        for (name,), its in scores.group_by(c.ALGORITHM)
    }
    comparison = compare(scores, thresholds, resamples=RESAMPLES, seed=seed, progress=progress)
    best = choose_candidate(comparison, candidates)
    decision = passes_gate(comparison, candidate=best, metric=METRIC, champion=present)
    return Selection(best if decision.passed else present or BASELINE, decision, comparison, thresholds)


def choose_candidate(comparison: Comparison, candidates: Sequence[str]) -> str:
    """The candidate with the best :data:`TIE_BREAKER` of those with the best :data:`METRIC`, as far as can be told."""
    leader = next(name for name in comparison.ranked(METRIC) if name in candidates)
    equals = [name for name in candidates if name == leader or _as_good(comparison, name, leader)]
    return next(name for name in comparison.ranked(TIE_BREAKER) if name in equals)


def _as_good(comparison: Comparison, name: str, leader: str) -> bool:
    gap = comparison.difference(leader, name, METRIC)
    return gap.low is not None and gap.low <= 0
