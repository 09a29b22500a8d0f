"""The first of the two stages in which a large run scores: which coupons are worth describing for each shopper.

To describe and score a pair costs far more than to sketch it, and a shopper's list has room for few of the coupons.
A cheap score of all pairs, linear in the sketch, puts the coupons of each shopper in order, and only the first of them
are described and scored. It is learned from shoppers of the same run, all of whose pairs are scored; how many coupons
have to be kept is read off others of them. Nothing of it is taken from one run to the next.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import logit
from scipy.stats import norm

from recommender.ml.contract import Sketch
from recommender.ml.evaluation.bootstrap import CONFIDENCE
from recommender.ml.standing import share_of_best

#: The share of the lists' coupons that has to be kept, and the least that its interval may reach down to.
KEPT_SHARE, LEAST_KEPT_SHARE = 0.995, 0.99
#: Of the coupons, if more than these had to be kept, too little would be saved.
MOST_KEPT = 0.5
#: How near to 0 and 1 a score may be, so that its log-odds are finite.
NEAREST = 1e-9
#: The penalty on the weights, by the sum of squares of their columns: several columns tell almost the same.
PENALTY = 1e-4
#: What every coupon is credited with, in weights of a coupon on a list, so that a rare one has no effect of its own.
PRIOR_WEIGHT = 1.0
#: Effects of coupons and weights of columns are fitted in turn.
ROUNDS = 4


@dataclass(frozen=True)
class Retrieval:
    """A cheap order of the coupons, and how many of its first keep what matters.

    Attributes:
        tables: the names of the parts of a sketch that it looks at.
        weights: three for each of them: of the logarithm of one more, of its not being 0, and of its share of the
            largest of the shopper's.
        coupon_effects: (k,), of each coupon by itself, in their order.
        kept_coupons: m, how many of each shopper's are described and scored.
        kept_share: of the coupons on the lists that scoring every pair gives, those that are among these, on shoppers
            that nothing was learned from.
        kept_share_low: the lower end of its 95 % interval.
        kept_share_high: the upper end.
        measured_on: so many shoppers.
    """

    tables: Sequence[str]
    weights: Sequence[float]
    coupon_effects: Sequence[float]
    kept_coupons: int
    kept_share: float
    kept_share_low: float
    kept_share_high: float
    measured_on: int

    def choose(self, sketch: Sketch) -> np.ndarray:
        """(shoppers, m): the columns of the coupons that are worth describing, ascending in each row."""
        return np.sort(self.order(sketch)[:, : self.kept_coupons], axis=1)

    def order(self, sketch: Sketch) -> np.ndarray:
        """(shoppers, k): the columns of the coupons, the likeliest to be on the list first."""
        cheap = np.tile(np.array(self.coupon_effects), (len(next(iter(sketch.values()))), 1))
        # One product after the other: a product of matrices rounds its rows differently by how many there are.
        for weight, column in zip(self.weights, _columns(sketch, self.tables), strict=True):
            cheap += weight * column
        return np.argsort(-cheap, axis=1, kind="stable")

    def as_json(self) -> dict[str, Any]:
        """Every attribute as a JSON value: floats keep all their digits."""
        return asdict(self)


def learn_retrieval(sketch: Sketch, scores: np.ndarray, listed: np.ndarray) -> Retrieval | None:
    """Learn the cheap order from every other shopper, and read off the others how many coupons have to be kept.

    Args:
        sketch: of n shoppers, at least four.
        scores: (n, k), the probabilities that scoring every pair gives.
        listed: (n, k), whether a coupon is on the shopper's list by these scores; at least one is.

    Returns:
        None where so many coupons would have to be kept that describing every pair is as good.
    """
    taught = np.arange(len(scores)) % 2 == 0
    tables = sorted(sketch)
    weights, effects = _fit(
        list(_columns({name: table[taught] for name, table in sketch.items()}, tables)),
        logit(np.clip(scores[taught], NEAREST, 1 - NEAREST)),
        listed[taught],
    )
    asked = listed[~taught]
    every = Retrieval(tables, weights.tolist(), effects.tolist(), scores.shape[1], 1.0, 1.0, 1.0, len(asked))
    order = every.order({name: table[~taught] for name, table in sketch.items()})
    # (shoppers, k): of each shopper's list, the share that is among so many kept, from 1 up.
    kept = np.cumsum(np.take_along_axis(asked, order, axis=1), axis=1) / asked.sum(axis=1, keepdims=True)
    shares = kept.mean(axis=0)
    margins = norm.ppf((1 + CONFIDENCE) / 2) * kept.std(axis=0, ddof=1) / np.sqrt(len(kept))
    enough = (shares >= KEPT_SHARE) & (shares - margins >= LEAST_KEPT_SHARE)
    fewest = int(np.argmax(enough))  # of all coupons nothing is lost, so there is one
    if fewest + 1 > MOST_KEPT * scores.shape[1]:
        return None
    share, margin = float(shares[fewest]), float(margins[fewest])
    return replace(
        every,
        kept_coupons=fewest + 1,
        kept_share=share,
        kept_share_low=max(0.0, share - margin),
        kept_share_high=min(1.0, share + margin),
    )


def _columns(sketch: Sketch, tables: Sequence[str]) -> Iterator[np.ndarray]:
    """(shoppers, k), three of each table."""
    for name in tables:
        table = sketch[name]
        yield np.log1p(table)
        yield (table > 0).astype(np.float64)
        yield share_of_best(table)


def _fit(columns: Sequence[np.ndarray], log_odds: np.ndarray, listed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the columns and effects of the coupons that tell a shopper's coupons apart as the log-odds do.

    Least squares with a small penalty, on differences from the shopper's own mean. In what order the hopeless coupons
    are does not matter: one that lies below the last of its shopper's list by as much as coupons differ on the mean
    weighs half, and so on.
    """
    last = np.where(listed, log_odds, np.inf).min(axis=1, keepdims=True)
    spread = max(float(log_odds.std(axis=1).mean()), NEAREST)
    importance = 2.0 ** (np.minimum(0.0, log_odds - last) / spread)

    def within(values: np.ndarray) -> np.ndarray:
        return values - (importance * values).sum(axis=1, keepdims=True) / importance.sum(axis=1, keepdims=True)

    own = within(log_odds)
    told = [within(column) for column in columns]
    products = np.array([[(importance * one * other).sum() for other in told] for one in told])
    products[np.diag_indices_from(products)] *= 1 + PENALTY
    products += NEAREST * np.eye(len(told))  # a column of nothing but zeros
    weights, effects = np.zeros(len(told)), np.zeros(log_odds.shape[1])
    for _round in range(ROUNDS):
        rest = importance * within(own - effects)
        weights = np.linalg.solve(products, np.array([(rest * column).sum() for column in told]))
        unexplained = own - sum(weight * column for weight, column in zip(weights, told, strict=True))
        effects = (importance * unexplained).sum(axis=0) / (importance.sum(axis=0) + PRIOR_WEIGHT)
    return weights, effects
