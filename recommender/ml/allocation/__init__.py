"""Allocation: who gets which coupons within budgets and limits, so that it brings the most."""

from recommender.ml.allocation.allocate import Allocation, allocate
from recommender.ml.allocation.curve import Curve, draw_curve
from recommender.ml.allocation.terms import (
    MICRO,
    NO_LIMIT,
    Blocks,
    CandidateBlock,
    Floor,
    Resource,
    Terms,
)

__all__ = [
    "MICRO",
    "NO_LIMIT",
    "Allocation",
    "Blocks",
    "CandidateBlock",
    "Curve",
    "Floor",
    "Resource",
    "Terms",
    "allocate",
    "draw_curve",
]
