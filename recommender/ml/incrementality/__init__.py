"""Incrementality: what a campaign changed, by comparing whom it was sent to with whom it was held out from."""

from recommender.ml.incrementality.balance import check_balance
from recommender.ml.incrementality.bought_anyway import BoughtAnyway, measure_bought_anyway
from recommender.ml.incrementality.confidence_sequences import confidence_sequence
from recommender.ml.incrementality.effects import Effect, measure_effect
from recommender.ml.incrementality.outcomes import sum_by_shopper
from recommender.ml.incrementality.sample_ratio import SampleRatio, check_sample_ratio, check_shares
from recommender.ml.incrementality.verdicts import Verdict, judge

__all__ = [
    "BoughtAnyway",
    "Effect",
    "SampleRatio",
    "Verdict",
    "check_balance",
    "check_sample_ratio",
    "check_shares",
    "confidence_sequence",
    "judge",
    "measure_bought_anyway",
    "measure_effect",
    "sum_by_shopper",
]
