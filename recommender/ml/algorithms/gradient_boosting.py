"""Gradient-boosted trees, kept small and monotone, because used offers are few."""

from typing import Any, ClassVar

import numpy as np
from xgboost import XGBClassifier

from recommender.ml import features as f
from recommender.ml import shopper_profile as profile
from recommender.ml.algorithms.supervised import SupervisedAlgorithm, later_rows
from recommender.ml.purchases import DAYS_SINCE_LAST, FADED_AMOUNT, FADED_TIMES, RECENT_TIMES, TIMES

#: Directions that common sense gives: more of the first never lowers the score, more of the second never raises it.
RISING = {
    TIMES,
    FADED_TIMES,
    RECENT_TIMES,
    FADED_AMOUNT,
    f.LIKELY_TO_BUY,
    f.OFFER_USES,
    f.OFFER_INTEREST,
    f.CATEGORY_FADED_TIMES,
    profile.COUPON_USE_RATE,
    profile.CAMPAIGN_USE_RATE,
    profile.FADED_REDEMPTIONS,
}
FALLING = {DAYS_SINCE_LAST}


class GradientBoosting(SupervisedAlgorithm):
    """XGBoost with shallow trees. How many is what the latest campaigns ask for when the earlier ones teach."""

    name: ClassVar[str] = "gradient_boosting"

    def __init__(self, max_depth: int = 3, learning_rate: float = 0.05, most_trees: int = 400) -> None:
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.most_trees = most_trees

    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        later = later_rows(labels, campaigns)
        self.trees_ = self.most_trees // 2
        if later is not None:
            trial = self._booster(self.most_trees, seed, early_stopping_rounds=30)
            trial.fit(
                X[~later],
                labels[~later],
                sample_weight=weights[~later],
                eval_set=[(X[later], labels[later])],
                sample_weight_eval_set=[weights[later]],
                verbose=False,
            )
            self.trees_ = max(20, trial.best_iteration + 1)
        self.booster_ = self._booster(self.trees_, seed).fit(X, labels, sample_weight=weights)

    def _booster(self, trees: int, seed: int, early_stopping_rounds: int | None = None) -> XGBClassifier:
        return XGBClassifier(
            n_estimators=trees,
            max_depth=self.max_depth,
            learning_rate=self.learning_rate,
            min_child_weight=10,
            subsample=0.8,
            colsample_bytree=0.5,
            reg_lambda=5.0,
            tree_method="hist",
            eval_metric="logloss",
            early_stopping_rounds=early_stopping_rounds,
            monotone_constraints=tuple(1 if x in RISING else -1 if x in FALLING else 0 for x in f.FEATURES),
            random_state=seed,
            n_jobs=1,
        )

    def _probability(self, X: np.ndarray) -> np.ndarray:
        return self.booster_.predict_proba(X)[:, 1]

    def parameters(self) -> dict[str, Any]:
        if not self.informed_:
            return {}
        return {"trees": self.trees_, "max_depth": self.max_depth, "learning_rate": self.learning_rate}
