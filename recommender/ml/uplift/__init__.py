"""Uplift: whom a campaign changes, learned from whom it was sent to and whom it was held out from at random."""

from recommender.ml.uplift.contract import NotRandomised, UpliftModel, check_randomised
from recommender.ml.uplift.evaluation import UpliftFigures, evaluate_uplift
from recommender.ml.uplift.models import UPLIFT_MODELS, ClassTransformation, TwoModels, XLearner
from recommender.ml.uplift.policy_value import (
    ListPairs,
    PolicyValue,
    compare_policies,
    predict_outcomes,
    value_by_doubly_robust,
    value_by_inverse_propensity,
    value_of_lists,
)

__all__ = [
    "UPLIFT_MODELS",
    "ClassTransformation",
    "ListPairs",
    "NotRandomised",
    "PolicyValue",
    "TwoModels",
    "UpliftFigures",
    "UpliftModel",
    "XLearner",
    "check_randomised",
    "compare_policies",
    "evaluate_uplift",
    "predict_outcomes",
    "value_by_doubly_robust",
    "value_by_inverse_propensity",
    "value_of_lists",
]
