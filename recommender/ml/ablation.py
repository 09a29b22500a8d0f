"""What each part brings: the figures without each group of features, and of the blend without each of its members."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar, Self

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.algorithms import Algorithm
from recommender.ml.algorithms.blend import Blend
from recommender.ml.algorithms.boosted_logistic_regression import BoostedLogisticRegression
from recommender.ml.algorithms.configured import Candidate, Configured
from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.metrics import METRICS
from recommender.ml.evaluation.table import UNDEFINED, align, with_interval
from recommender.ml.evaluation.thresholds import UNINFORMED
from recommender.ml.examples import Casebook
from recommender.ml.features import GROUPS, OPTIONAL_GROUPS
from recommender.ml.walk_forward import score_period
from recommender.progress import Progress

#: The one that is fitted without each group: it uses all of them, and is quick to fit.
LEARNER = BoostedLogisticRegression
MEASURED = ("roc_auc", "pr_auc", "ndcg_at_10")
#: The name of that from which nothing is left out.
WHOLE = "nothing"


class WithoutGroup(LEARNER):
    """The learner with one group of features set to 0 for every pair, so that they can tell it nothing."""

    name: ClassVar[str] = f"{LEARNER.name}_without"

    def __init__(self, *, group: str) -> None:
        super().__init__()
        self.group = group

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        return super().fit(self._without(examples), labels, campaigns, seed)

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        return super().score(self._without(inputs))

    def _without(self, inputs: pl.DataFrame) -> pl.DataFrame:
        return inputs.with_columns(pl.lit(0.0, pl.Float32).alias(feature) for feature in GROUPS[self.group])


@dataclass(frozen=True)
class Ablation:
    """Two comparisons, each of :data:`WHOLE` left out with what is left without a part, under the part's name.

    Attributes:
        groups: of the learner, by groups of features.
        members: of the blend, by its members.
    """

    groups: Comparison
    members: Comparison


def ablate(
    casebook: Casebook,
    scores: pl.DataFrame,
    start: datetime,
    end: datetime,
    *,
    resamples: int,
    seed: int,
    progress: Progress,
) -> Ablation | None:
    """Leave out each part in turn, on the campaigns that start in [start, end), with labels cut at the end.

    Args:
        scores: what :func:`~recommender.ml.walk_forward.score_period` found for this period, of any algorithms: the
            learner and the blend's members are not fitted once more if they are among them.

    Returns:
        None where no campaign of the period has a used offer.
    """
    if not scores[c.LABEL].any():
        return None
    known = set(scores[c.ALGORITHM].unique())
    telling = [group for group in GROUPS if group not in OPTIONAL_GROUPS or OPTIONAL_GROUPS[group](casebook.snapshot)]
    without = {group: Configured(WithoutGroup, {"group": group}) for group in telling}
    wholes: Iterable[type[Algorithm]] = dict.fromkeys((LEARNER, *Blend.members))
    candidates: list[Candidate] = [algorithm for algorithm in wholes if algorithm.name not in known]
    walk = score_period(
        casebook, [*candidates, *without.values()], start, end, labels_before=end, seed=seed, progress=progress
    )
    found = {name: its for (name,), its in pl.concat([scores, walk.scores]).group_by(c.ALGORITHM, maintain_order=True)}
    groups = {WHOLE: found[LEARNER.name]} | {group: found[candidate.name] for group, candidate in without.items()}
    names = [member.name for member in Blend.members]
    members = {WHOLE: _blend([found[name] for name in names])}
    if len(names) > 1:
        members |= {left_out: _blend([found[name] for name in names if name != left_out]) for left_out in names}

    def compare_parts(parts: dict[str, pl.DataFrame]) -> Comparison:
        # One by one, for memory: the same seed and the same pairs give the same resamples.
        alone = [
            compare(
                frame.with_columns(pl.lit(name).alias(c.ALGORITHM)),
                {name: UNINFORMED},  # nothing that is shown depends on the threshold
                resamples=resamples,
                seed=seed,
                progress=progress,
            )
            for name, frame in parts.items()
        ]
        return replace(
            alone[0],
            estimates={name: each.estimates[name] for name, each in zip(parts, alone, strict=True)},
            draws={name: each.draws[name] for name, each in zip(parts, alone, strict=True)},
            thresholds=dict.fromkeys(parts, UNINFORMED),
        )

    return Ablation(compare_parts(groups), compare_parts(members))


def _blend(scores: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The scores of a blend of those that gave these, of the same pairs in the same order."""
    return scores[0].with_columns(pl.Series(c.SCORE, Blend.combine([each[c.SCORE].to_numpy() for each in scores])))


def render_ablation(ablation: Ablation, period: tuple[datetime, datetime]) -> str:
    """Both comparisons as Markdown, with the paired 95 % interval of each difference; ends with a newline."""
    begin, end = period
    found = ablation.groups
    return (
        f"Measured on the validation campaigns ({begin:%Y-%m-%d} to {end:%Y-%m-%d}, labels cut at its end: "
        f"{found.pair_count:,} pairs, {found.redemption_count:,}\n"
        "used), so that what is kept can be chosen by it; the test period has no part in it. A difference below 0 is "
        "what the part\n"
        f"brings beside all the others; in brackets its paired 95 % interval from {found.resamples:,} resamples of the "
        "shoppers.\n\n"
        f"{LEARNER.name}, fitted anew without each group of features:\n\n{_table(ablation.groups)}\n\n"
        f"{Blend.name}, without each of its members:\n\n{_table(ablation.members)}\n"
    )


def _table(comparison: Comparison) -> str:
    head = ["Left out"]
    for metric in MEASURED:
        head += [METRICS[metric].title, "difference"]
    parts = [WHOLE, *(part for part in reversed(comparison.ranked(MEASURED[0])) if part != WHOLE)]
    rows = []
    for part in parts:
        row = [part]
        for metric in MEASURED:
            decimals = METRICS[metric].decimals
            value = comparison.estimates[part][metric].value
            row.append(UNDEFINED if value is None else f"{value:.{decimals}f}")
            difference = comparison.difference(part, WHOLE, metric)
            row.append("" if part == WHOLE else with_interval(difference, decimals=decimals, sign="+"))
        rows.append(row)
    return align(head, rows)
