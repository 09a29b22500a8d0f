"""What the algorithms that learn from features have in common: examples, validation by time, reasons."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from recommender.ml import features as f
from recommender.ml import shopper_profile as profile
from recommender.ml.algorithms.base import Algorithm, Inputs, Reason
from recommender.ml.algorithms.calibration import PRIOR_USE_RATE
from recommender.ml.behaviour import HORIZON
from recommender.ml.product_sets import BUYERS
from recommender.ml.purchases import DAYS_SINCE_LAST, HALF_LIFE, TIMES

#: Unused offers outnumber used ones by hundreds. More of them than this teach little and cost much; those that are
#: kept weigh as much as all, so that probabilities stay what they are.
MOST_UNUSED = 60_000
#: The share of the used offers, the latest ones, that parameters are chosen on.
VALIDATION_SHARE = 0.3
REASONS = 3
DAYS_A_MONTH = 30.4


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
    """Learns from features. A subclass says how to fit a matrix and how to score one."""

    inputs: ClassVar[Inputs] = f.PairFeatures()

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        self.informed_ = bool(labels.any() and not labels.all())
        self.medians_ = np.zeros(len(f.FEATURES), dtype=np.float32)
        if self.informed_:
            rows, weights = sample_unused(labels, np.random.default_rng(seed))
            X = examples[rows].to_numpy()
            self.medians_ = np.median(X, axis=0)
            self._fit(X, labels[rows], weights, campaigns[rows], seed)
        return self

    @abstractmethod
    def _fit(self, X: np.ndarray, labels: np.ndarray, weights: np.ndarray, campaigns: np.ndarray, seed: int) -> None:
        """Learn from (n, features) and n labels of both kinds."""

    @abstractmethod
    def _probability(self, X: np.ndarray) -> np.ndarray:
        """n probabilities for (n, features)."""

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        if not self.informed_:  # no campaign has taught anything yet: who is likely to buy it is the best guess
            return PRIOR_USE_RATE * inputs[f.LIKELY_TO_BUY].to_numpy().astype(np.float64)
        return np.clip(self._probability(inputs.to_numpy()).astype(np.float64), 0.0, 1.0)

    def contributions(self, inputs: pl.DataFrame) -> np.ndarray:
        """(n, groups): how much each group of features moves the log-odds of the score.

        Measured on the model itself: the score as it is against the score with that group alone set to its median among
        the examples.
        """
        groups = list(f.GROUPS.values())
        if not self.informed_:
            moved = np.zeros((len(inputs), len(groups)))
            moved[:, list(f.GROUPS).index("behaviour")] = inputs[f.LIKELY_TO_BUY].to_numpy()
            return moved
        X = inputs.to_numpy()
        variants = [X]
        for group in groups:
            columns = [f.FEATURES.index(feature) for feature in group]
            variant = X.copy()
            variant[:, columns] = self.medians_[columns]
            variants.append(variant)
        scores = self._probability(np.concatenate(variants)).astype(np.float64).reshape(len(variants), len(X))
        scores = np.clip(scores, 1e-9, 1 - 1e-9)
        log_odds = np.log(scores / (1 - scores))
        return (log_odds[0] - log_odds[1:]).T

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        names = list(f.GROUPS)
        facts = inputs.to_dicts()
        reasons = []
        for row, contribution in zip(facts, self.contributions(inputs), strict=True):
            weightiest = [
                reason
                for group in np.argsort(-contribution, kind="stable")
                if contribution[group] > 0 and (reason := _REASONS[names[group]](row)) is not None
            ]
            reasons.append(weightiest[:REASONS] or [_breadth(row)])
        return reasons


def _breadth(row: dict[str, Any]) -> Reason:
    return {"kind": "breadth", "products": int(row[f.PRODUCTS])}


def _count(kind: str, fact: str, feature: str) -> Callable[[dict[str, Any]], Reason | None]:
    """A reason that counts something; none where there is nothing to count."""

    def reason(row: dict[str, Any]) -> Reason | None:
        count = round(row[feature])
        return {"kind": kind, fact: count} if count else None

    return reason


def _own_purchases(row: dict[str, Any]) -> Reason | None:
    bought = _count("bought_products", "times", TIMES)(row)
    return bought and {**bought, "days_since_last": round(row[DAYS_SINCE_LAST], 1)}


def _spending(row: dict[str, Any]) -> Reason:
    # A steady stream, faded by the half-life, adds up to its daily rate × half-life / ln 2.
    a_month = row[profile.SPEND] * DAYS_A_MONTH * np.log(2) / HALF_LIFE
    return {"kind": "spends", "amount_a_month": round(a_month, 2)}


#: The facts of a group of features that raise a score; None where they are no reason that one would give.
_REASONS: dict[str, Callable[[dict[str, Any]], Reason | None]] = {
    "own purchases": _own_purchases,
    "behaviour": lambda row: {
        "kind": "likely_to_buy",
        "probability": round(row[f.LIKELY_TO_BUY], 4),
        "days": HORIZON.days,
    },
    "category": _count("bought_category", "times", f.CATEGORY_TIMES),
    "brand": _count("bought_brand", "times", f.BRAND_TIMES),
    "coupon habit": _count("uses_coupons", "count", profile.REDEMPTIONS),
    "own use of the offer": _count("used_offer", "times", f.OFFER_USES),
    "use of the offer": lambda row: {"kind": "offer_used", "share": round(row[f.OFFER_USE_RATE], 4)},
    "activity": lambda row: {
        "kind": "bought_lately",
        "days_since_last": round(row[profile.DAYS_SINCE_LAST_ORDER], 1),
    },
    "variety": _count("buys_variety", "count", profile.DISTINCT_PRODUCTS),
    "spend": _spending,
    "popularity": _count("popular", "shoppers", BUYERS),
    "coupon": _breadth,
}
