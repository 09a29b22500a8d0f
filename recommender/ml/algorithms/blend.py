"""The mean of unlike models."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from scipy.special import expit, logit

from recommender.ml.algorithms.boosted_logistic_regression import BoostedLogisticRegression
from recommender.ml.algorithms.forests import ExtraTrees
from recommender.ml.algorithms.supervised import SupervisedAlgorithm
from recommender.ml.contract import Algorithm

#: How near to 0 and 1 a member's probability may be, so that one that is too sure does not outvote the others.
NEAREST = 1e-7


class Blend(SupervisedAlgorithm):
    """The mean log-odds of a boosted logistic regression and of extremely randomised trees.

    They err differently: the one extends straight lines to what it has not seen, the other averages what it has. Equal
    weights, because weights learned from few used offers are worse than none (Claeskens et al. 2016).
    """

    name: ClassVar[str] = "blend"
    members: ClassVar[tuple[type[SupervisedAlgorithm], ...]] = (BoostedLogisticRegression, ExtraTrees)

    def __init__(self) -> None:
        self.members_: list[SupervisedAlgorithm] = []

    @classmethod
    def of(cls, members: Sequence[Algorithm]) -> Self:
        """A blend of its members, fitted on the same examples."""
        return cls()._join(members)

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        return self._join([member().fit(examples, labels, campaigns, seed) for member in self.members])

    def _join(self, members: Sequence[Algorithm]) -> Self:
        self.members_ = [member for member in members if isinstance(member, SupervisedAlgorithm)]
        first = self.members_[0]
        self.informed_, self.features_, self.medians_ = first.informed_, first.features_, first.medians_
        return self

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        raise NotImplementedError("A blend has nothing to fit but its members.")

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return self.combine([member._probability(X) for member in self.members_])

    @staticmethod
    def combine(scores: Sequence[np.ndarray]) -> np.ndarray:
        """n probabilities from those of each member."""
        return expit(np.mean([logit(np.clip(score, NEAREST, 1 - NEAREST)) for score in scores], axis=0))

    def parameters(self) -> dict[str, Any]:
        return {member.name: member.parameters() for member in self.members_}
