"""The support vector machine of the design, at a cost that grows linearly with the examples."""

from typing import Any, ClassVar

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from recommender.ml.algorithms.supervised import SupervisedAlgorithm, later_rows


class SupportVectorMachine(SupervisedAlgorithm):
    """The widest margin on the logarithms of the features, either linear or through an RBF kernel.

    The kernel is approximated by the Nyström method (Williams & Seeger 2001). Kernel and C are those that rank the
    latest campaigns best when learned from the campaigns before them; the distances from the boundary become
    probabilities by a sigmoid (Platt 1999) that is fitted on those later campaigns too, not on what the machine was
    fitted on.
    """

    name: ClassVar[str] = "support_vector_machine"

    def __init__(
        self,
        penalties: tuple[float, ...] = (1e-5, 1e-4),
        kernels: tuple[str, ...] = ("linear", "rbf"),
        landmarks: int = 100,
    ) -> None:
        self.penalties = penalties
        self.kernels = kernels
        self.landmarks = landmarks

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        later = later_rows(labels, campaigns)
        choices = [(kernel, C) for kernel in self.kernels for C in self.penalties]
        if later is None:
            self.kernel_, self.C_ = choices[0]
            self.machine_ = self._machine(self.kernel_, self.C_, seed).fit(X, labels)
            calibrated_on, decision = np.ones(len(X), dtype=bool), self.machine_.decision_function(X)
        else:
            calibrated_on = later
            decisions = [
                self._machine(kernel, C, seed).fit(X[~later], labels[~later]).decision_function(X[later])
                for kernel, C in choices
            ]
            precision = [
                average_precision_score(labels[later], each, sample_weight=weights[later]) for each in decisions
            ]
            best = int(np.argmax(precision))
            (self.kernel_, self.C_), decision = choices[best], decisions[best]
            self.machine_ = self._machine(self.kernel_, self.C_, seed).fit(X, labels)
        self.sigmoid_ = LogisticRegression(C=1e6).fit(
            decision[:, None], labels[calibrated_on], sample_weight=weights[calibrated_on]
        )

    def _machine(self, kernel: str, C: float, seed: int) -> Pipeline:
        steps: list[Any] = [FunctionTransformer(np.log1p), StandardScaler()]
        if kernel == "rbf":
            steps.append(Nystroem(kernel="rbf", n_components=self.landmarks, random_state=seed))
        steps.append(LinearSVC(C=C, class_weight="balanced", dual=False, random_state=seed))
        return make_pipeline(*steps)

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return self.sigmoid_.predict_proba(self.machine_.decision_function(X)[:, None])[:, 1]

    def parameters(self) -> dict[str, Any]:
        return {"kernel": self.kernel_, "C": self.C_} if self.informed_ else {}
