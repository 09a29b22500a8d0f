"""The support vector machine of the design, at a cost that grows linearly with the examples."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit, logit
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from recommender.ml.algorithms.forward_validation import forward_folds
from recommender.ml.algorithms.scaling import standardised_logarithms
from recommender.ml.algorithms.supervised import SupervisedAlgorithm

#: The RBF kernel is exp(-RBF_DECAY) for two offers that are a standard deviation apart in every feature.
RBF_DECAY = 0.1
#: Parts that the offers are cut into to calibrate (Platt, 1999, takes 3).
CALIBRATION_PARTS = 3


class SupportVectorMachine(SupervisedAlgorithm):
    """The widest margin, on the logarithms of the features, between used and unused offers, which weigh the same.

    The kernel is either the mean, over the features, of the products or an RBF kernel approximated by the Nyström
    method (Williams & Seeger, 2001), with half of its landmarks among the used offers. Both are about 1 for an offer
    and itself, and C is the cost of the mean squared hinge, so that C means the same whatever the kernel, the number of
    features and the size of the shop.

    Kernel and C are chosen by time-ordered cross-validation: the past is cut into parts, and each part is foretold from
    the campaigns before it. Distances from the boundary become probabilities by a sigmoid (Platt, 1999), fitted on
    offers that the machine which decided them did not learn from.

    Attributes:
        kernel_: the kernel that was chosen.
        C_: the C that was chosen.
        machine_: from features to distances from the boundary.
        slope_: of the sigmoid, from distances to log-odds; 0 where the distances of unseen offers say nothing.
        intercept_: of the sigmoid.
    """

    name: ClassVar[str] = "support_vector_machine"
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "penalties": ((0.1, 0.3, 1.0, 3.0), (1.0, 3.0, 10.0, 30.0)),
        "landmarks": (50, 100, 200, 400),
    }
    most_unused: ClassVar[int] = 20_000  # three times as many rank no better, and each candidate is fitted on all folds

    def __init__(
        self,
        penalties: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0),
        kernels: tuple[str, ...] = ("linear", "rbf"),
        landmarks: int = 100,
    ) -> None:
        self.penalties = penalties
        self.kernels = kernels
        self.landmarks = landmarks

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        self.kernel_, self.C_ = self._choose(X, labels, weights, campaigns, seed)
        self.machine_ = self._machine(self.kernel_, self.C_, X, labels, seed)
        self.slope_, self.intercept_ = fit_sigmoid(self._decide_unseen(X, labels, seed), labels, weights)

    def _choose(
        self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int
    ) -> tuple[str, float]:
        """The kernel and C with the least log loss on later campaigns once the sigmoid that suits these best is laid
        on: what calibration can mend is not held against a machine. Without a fold, the first of each."""
        candidates = list(product(self.kernels, self.penalties))
        losses = dict.fromkeys(candidates, 0.0)
        for (early, later), kernel in product(forward_folds(labels, campaigns), self.kernels):
            space, Z = self._space(kernel, X[early], labels[early], seed)
            Z_later = space.transform(X[later])
            for C in self.penalties:
                decision = _separate(kernel, C, Z, labels[early], features=X.shape[1], seed=seed).decision_function(
                    Z_later
                )
                slope, intercept = fit_sigmoid(decision, labels[later], weights[later])
                loss = log_loss(labels[later], expit(slope * decision + intercept), sample_weight=weights[later])
                losses[kernel, C] += labels[later].sum() * loss
        return min(candidates, key=lambda candidate: losses[candidate])

    def _machine(self, kernel: str, C: float, X: np.ndarray, labels: np.ndarray, seed: int) -> Pipeline:
        space, Z = self._space(kernel, X, labels, seed)
        space.steps.append(("linearsvc", _separate(kernel, C, Z, labels, features=X.shape[1], seed=seed)))
        return space

    def _space(self, kernel: str, X: np.ndarray, labels: np.ndarray, seed: int) -> tuple[Pipeline, np.ndarray]:
        """The way from features into the space in which a kernel's boundary is flat, and n offers there."""
        # In single precision an offer's distance to the landmarks would depend on the offers scored with it.
        space = standardised_logarithms(np.float64)
        Z = space.fit_transform(X)
        if kernel == "rbf":
            landmarks = _landmarks(labels, self.landmarks, np.random.default_rng(seed))
            nystroem = Nystroem(gamma=RBF_DECAY / X.shape[1], n_components=len(landmarks), random_state=seed)
            Z = nystroem.fit(Z[landmarks]).transform(Z)
            space.steps.append(("nystroem", nystroem))
        return space, Z

    def _decide_unseen(self, X: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
        """n distances from the boundary, each by a machine that learned from the other parts of the offers.

        All are by the machine that learned from all if there are not two offers of a kind.
        """
        parts = min(CALIBRATION_PARTS, int(np.bincount(labels).min()))
        decision = self.machine_.decision_function(X)
        if parts > 1:
            for known, unseen in StratifiedKFold(parts, shuffle=True, random_state=seed).split(X, labels):
                machine = self._machine(self.kernel_, self.C_, X[known], labels[known], seed)
                decision[unseen] = machine.decision_function(X[unseen])
        return decision

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return expit(self.slope_ * self.machine_.decision_function(X) + self.intercept_)

    def parameters(self) -> dict[str, Any]:
        return {"kernel": self.kernel_, "C": self.C_} if self.informed_ else {}


def _separate(kernel: str, C: float, Z: np.ndarray, labels: np.ndarray, *, features: int, seed: int) -> LinearSVC:
    """The boundary between n offers of a kernel's space, at the cost C of the mean squared hinge."""
    # A product of standardised offers adds up over the features: its mean is meant.
    cost = C / len(Z) if kernel == "rbf" else C / features / len(Z)
    # The tolerance is a multiple of the rarer class's share, which makes the default needlessly strict.
    return LinearSVC(C=cost, class_weight="balanced", dual=False, tol=1e-2, random_state=seed).fit(Z, labels)


def fit_sigmoid(decision: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """The slope and the intercept that make log-odds of n decisions.

    Labels are softened by one offer of each kind, as Platt does, so that few offers never make anything certain.
    Decisions that say nothing, or the opposite, get slope 0 and the log-odds of the overall rate.
    """
    used, unused = weights[labels].sum(), weights[~labels].sum()
    chance = np.where(labels, (used + 1) / (used + 2), 1 / (unused + 2))
    model = LogisticRegression(C=1e6).fit(
        np.concatenate([decision, decision])[:, None],
        np.repeat([True, False], len(decision)),
        sample_weight=np.concatenate([weights * chance, weights * (1 - chance)]),
    )
    slope = float(model.coef_[0, 0])
    return (slope, float(model.intercept_[0])) if slope > 0 else (0.0, float(logit(used / (used + unused))))


def _landmarks(labels: np.ndarray, most: int, generator: np.random.Generator) -> np.ndarray:
    """Rows drawn from the used offers and from the others, half of them each as far as they go."""
    kinds = (np.flatnonzero(labels), np.flatnonzero(~labels))
    return np.concatenate([generator.choice(kind, min(len(kind), most // 2), replace=False) for kind in kinds])
