"""Uplift: whom a campaign changes, learned from whom it was sent to and whom it was held out from at random."""

from recommender.ml.uplift.contract import NotRandomised, UpliftModel, check_randomised
from recommender.ml.uplift.evaluation import UpliftFigures, evaluate_uplift
from recommender.ml.uplift.models import UPLIFT_MODELS, ClassTransformation, TwoModels, XLearner
from recommender.ml.uplift.new_uses import DrawnCampaign, NewUses, judge_new_uses
from recommender.ml.uplift.past_campaigns import describe_shoppers, is_comparable, read_drawn_campaign
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
    "DrawnCampaign",
    "ListPairs",
    "NewUses",
    "NotRandomised",
    "PolicyValue",
    "TwoModels",
    "UpliftFigures",
    "UpliftModel",
    "XLearner",
    "check_randomised",
    "compare_policies",
    "describe_shoppers",
    "evaluate_uplift",
    "is_comparable",
    "judge_new_uses",
    "predict_outcomes",
    "read_drawn_campaign",
    "value_by_doubly_robust",
    "value_by_inverse_propensity",
    "value_of_lists",
]
