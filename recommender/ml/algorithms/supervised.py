"""What the algorithms that learn from features have in common: examples, validation by time, reasons."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self

import numpy as np
import polars as pl
from scipy.special import logit

from recommender.ml import features as f
from recommender.ml.algorithms.calibration import PRIOR_USE_RATE
from recommender.ml.algorithms.explanation import NOTHING_PARTICULAR, contributions, reasons
from recommender.ml.algorithms.statements import STATEMENTS, likely_to_buy
from recommender.ml.contract import Algorithm, Inputs, Reason

#: Unused offers outnumber used ones by hundreds. More of them than this teach little and cost much; those that are
#: kept weigh as much as all, so that probabilities stay what they are.
MOST_UNUSED = 60_000
#: The share of the used offers, the latest ones, that parameters are chosen on.
VALIDATION_SHARE = 0.3


def sample_unused(
    labels: np.ndarray, generator: np.random.Generator, most: int = MOST_UNUSED
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from, in order, and their weights: all used offers, and at most so many of the others."""
    used, unused = np.flatnonzero(labels), np.flatnonzero(~labels)
    kept = unused if len(unused) <= most else generator.choice(unused, most, replace=False)
    rows = np.sort(np.concatenate([used, kept]))
    weights = np.where(labels[rows], 1.0, len(unused) / max(1, len(kept)))
    return rows, weights


def later_rows(labels: np.ndarray, campaigns: np.ndarray) -> np.ndarray | None:
    """Which rows are of the latest campaigns, that hold about :data:`VALIDATION_SHARE` of the used offers.

    None where either part would lack used or unused offers: then there is nothing to choose by.
    """
    used_by_campaign = np.bincount(campaigns, weights=labels)
    later = np.cumsum(used_by_campaign[::-1])[::-1] <= VALIDATION_SHARE * used_by_campaign.sum()
    mask = later[campaigns]
    parts = (labels[mask], labels[~mask])
    return mask if all(part.any() and not part.all() for part in parts) else None


class SupervisedAlgorithm(Algorithm):
    """Learns from features. A subclass says how to fit a matrix and how to score one.

    Attributes:
        features_: the names of those that the model is shown, in the order of its columns.
        medians_: theirs, among the examples that it learned from.
    """

    inputs: ClassVar[Inputs] = f.PairFeatures()
    most_unused: ClassVar[int] = MOST_UNUSED

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        self.informed_ = bool(labels.any() and not labels.all())
        self.features_ = f.told_by(examples)
        self.medians_ = np.zeros(len(self.features_), dtype=np.float32)
        if self.informed_:
            rows, weights = sample_unused(labels, np.random.default_rng(seed), self.most_unused)
            X = self._matrix(examples[rows])
            self.medians_ = np.median(X, axis=0)
            self._fit(X, labels[rows], weights, campaigns[rows], seed)
        return self

    def _matrix(self, inputs: pl.DataFrame) -> np.ndarray:
        """(n, features): those that the model was shown."""
        return inputs.select(self.features_).to_numpy()

    @abstractmethod
    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        """Learn from (n, features) and n labels of both kinds."""

    @abstractmethod
    def _probability(self, X: np.ndarray) -> np.ndarray:
        """n probabilities for (n, features)."""

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        if not self.informed_:  # no campaign has taught anything yet: who is likely to buy it is the best guess
            return PRIOR_USE_RATE * inputs[f.LIKELY_TO_BUY].to_numpy().astype(np.float64)
        return np.clip(self._probability(self._matrix(inputs)).astype(np.float64), 0.0, 1.0)

    def contributions(self, inputs: pl.DataFrame, parts: Sequence[Sequence[str]]) -> np.ndarray:
        """(n, parts): by how much the log-odds of the score fall when a part of the features, named, has the medians of
        the examples. For a model that examples have taught."""

        def log_odds(X: np.ndarray) -> np.ndarray:
            return logit(np.clip(self._probability(X).astype(np.float64), 1e-9, 1 - 1e-9))

        return contributions(log_odds, self._matrix(inputs), self.features_, self.medians_, parts)

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        if not self.informed_:
            return [
                [likely_to_buy(row)] if row[f.LIKELY_TO_BUY] > 0 else [NOTHING_PARTICULAR]
                for row in inputs.iter_rows(named=True)
            ]
        return reasons(inputs, self.contributions(inputs, [statement.features for statement in STATEMENTS]))
