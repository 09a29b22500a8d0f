"""From a score that only ranks to a probability."""

from typing import Self

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

#: The share of offers that is used, as long as nothing was seen: about what the trade reports for paper coupons.
PRIOR_USE_RATE = 0.01


class LogisticScale:
    """A logistic regression on the logarithms of a few non-negative columns, whose weights are not below zero.

    So more of a column never means less likely, whatever few examples say.
    """

    def fit(self, columns: np.ndarray, labels: np.ndarray) -> Self:
        """Learn from n rows and their n boolean labels; labels of one kind leave the prior's rate times the mean
        column."""
        self.model_ = None
        self.kept_ = np.ones(columns.shape[1], dtype=bool)
        columns = np.asarray(columns, dtype=np.float64)
        if len(labels) == 0 or labels.all() or not labels.any():
            return self
        kept = np.ones(columns.shape[1], dtype=bool)
        while kept.any():
            model = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression(C=1.0))
            model.fit(columns[:, kept], labels)
            weights = model[-1].coef_[0]
            if (weights >= 0).all():
                self.model_, self.kept_ = model, kept
                return self
            kept[np.flatnonzero(kept)[weights.argmin()]] = False
        return self

    def probability(self, columns: np.ndarray) -> np.ndarray:
        """n probabilities."""
        columns = np.asarray(columns, dtype=np.float64)
        if self.model_ is None:
            strength = np.log1p(columns).mean(axis=1)
            return PRIOR_USE_RATE * strength / (1 + strength)
        return self.model_.predict_proba(columns[:, self.kept_])[:, 1]
