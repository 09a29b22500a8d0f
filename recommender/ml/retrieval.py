"""The first of the two stages in which a large run scores: which coupons are worth describing for each shopper.

To describe and score a pair costs far more than to sketch it, and a shopper's list has room for few of the coupons.
A cheap score of all pairs, linear in the sketch, puts the coupons of each shopper in order, and only the first of them
are described and scored. It is learned from shoppers of the same run, all of whose pairs are scored; how many coupons
have to be kept is read off others of them. Nothing of it is taken from one run to the next.

Where lists depend on something that is not known before all are made, such as the price that a budget comes to have,
there is such an order for each of some cases, and a coupon is as near as in the order in which it is nearest.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
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
#: The effect of a coupon that is on nobody's list, such as one that costs more than it brings.
HOPELESS = -1e6
#: Effects of coupons and weights of columns are fitted in turn.
ROUNDS = 4


@dataclass(frozen=True)
class Retrieval:
    """Cheap orders of the coupons, and how many of their first keep what matters.

    Attributes:
        tables: the names of the parts of a sketch that it looks at.
        weights: three for each of them: of the logarithm of one more, of its not being 0, and of its share of the
            largest of the shopper's.
        coupon_effects: (k,), of each coupon by itself, in the coupons' order.
        kept_coupons: m, how many of each shopper's are described and scored.
        kept_share: of the coupons on the lists that scoring every pair gives, those that are among these, on shoppers
            that nothing was learned from.
        kept_share_low: the lower end of its 95 % interval.
        kept_share_high: the upper end.
        measured_on: so many shoppers.
        further_orders: weights and coupon effects of each order beside the first.
    """

    tables: Sequence[str]
    weights: Sequence[float]
    coupon_effects: Sequence[float]
    kept_coupons: int
    kept_share: float
    kept_share_low: float
    kept_share_high: float
    measured_on: int
    further_orders: Sequence[Sequence[Sequence[float]]] = field(default_factory=list)

    def choose(self, sketch: Sketch) -> np.ndarray:
        """(shoppers, m): the columns of the coupons that are worth describing, ascending in each row."""
        return np.sort(self.order(sketch)[:, : self.kept_coupons], axis=1)

    def order(self, sketch: Sketch) -> np.ndarray:
        """(shoppers, k): the columns of the coupons, the likeliest to be on the list first."""
        fitted = [(self.weights, self.coupon_effects), *self.further_orders]
        shoppers = len(next(iter(sketch.values())))
        cheap = [np.tile(np.array(effects), (shoppers, 1)) for _weights, effects in fitted]
        # One product after the other: a product of matrices rounds its rows differently by how many there are.
        for number, column in enumerate(_columns(sketch, self.tables)):
            for of_order, (weights, _effects) in zip(cheap, fitted, strict=True):
                np.add(of_order, weights[number] * column, out=of_order)
        orders = [np.argsort(-of_order, axis=1, kind="stable") for of_order in cheap]
        return orders[0] if len(orders) == 1 else _merge(orders)

    def as_json(self) -> dict[str, Any]:
        """Every attribute as a JSON value: floats keep all their digits. Further orders only where there are some: a
        worker of the version before knows of none, and refuses a run that it would choose for otherwise."""
        told = asdict(self)
        return told if self.further_orders else {name: told[name] for name in told if name != "further_orders"}


def learn_retrieval(sketch: Sketch, scores: Sequence[np.ndarray], listed: Sequence[np.ndarray]) -> Retrieval | None:
    """Learn the cheap orders from every other shopper, and read off the others how many coupons have to be kept.

    Args:
        sketch: of n shoppers, at least four.
        scores: (n, k) for each order, the probabilities that scoring every pair gives, or what follows from them,
            between 0 and 1.
        listed: (n, k) for each order, whether a coupon is on the shopper's list by these scores; of each shopper one
            is by some order, and one of those whom is learned from by each.

    Returns:
        None where so many coupons would have to be kept that describing every pair is as good.
    """
    taught = np.arange(len(scores[0])) % 2 == 0
    tables = sorted(sketch)
    columns = list(_columns({name: table[taught] for name, table in sketch.items()}, tables))
    first, *further = (
        _fit(columns, logit(np.clip(of_order[taught], NEAREST, 1 - NEAREST)), on_list[taught])
        for of_order, on_list in zip(scores, listed, strict=True)
    )
    asked = np.any(listed, axis=0)[~taught]
    coupons = asked.shape[1]
    every = Retrieval(tables, first[0], first[1], coupons, 1.0, 1.0, 1.0, len(asked), further)
    order = every.order({name: table[~taught] for name, table in sketch.items()})
    # (shoppers, k): of each shopper's list, the share that is among so many kept, from 1 up.
    kept = np.cumsum(np.take_along_axis(asked, order, axis=1), axis=1) / asked.sum(axis=1, keepdims=True)
    shares = kept.mean(axis=0)
    margins = norm.ppf((1 + CONFIDENCE) / 2) * kept.std(axis=0, ddof=1) / np.sqrt(len(kept))
    enough = (shares >= KEPT_SHARE) & (shares - margins >= LEAST_KEPT_SHARE)
    fewest = int(np.argmax(enough))  # of all coupons nothing is lost, so there is one
    if fewest + 1 > MOST_KEPT * coupons:
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


def _merge(orders: Sequence[np.ndarray]) -> np.ndarray:
    """(shoppers, k): the columns by the place in the order in which each comes first, of equals as they stand."""
    places = np.tile(np.arange(orders[0].shape[1]), (len(orders[0]), 1))
    nearest, place = np.full_like(places, places.shape[1]), np.empty_like(places)
    for order in orders:
        np.put_along_axis(place, order, places, axis=1)
        np.minimum(nearest, place, out=nearest)
    return np.argsort(nearest, axis=1, kind="stable")


def _fit(columns: Sequence[np.ndarray], log_odds: np.ndarray, listed: np.ndarray) -> list[list[float]]:
    """Weights of the columns and effects of the coupons that tell a shopper's coupons apart as the log-odds do.

    Least squares with a small penalty, on differences from the shopper's own mean. In what order the hopeless coupons
    are does not matter: one that lies below the last of its shopper's list by as much as coupons differ on the mean
    weighs half, and so on, and one without any chance weighs nothing.
    """
    some = listed.any(axis=1)  # at a high price some shoppers are offered nothing
    if not some.all():
        columns, log_odds, listed = [column[some] for column in columns], log_odds[some], listed[some]
    last = np.where(listed, log_odds, np.inf).min(axis=1, keepdims=True)
    possible = listed | (log_odds > logit(NEAREST))
    spread = max(float(log_odds.std(axis=1, where=possible).mean()), NEAREST)
    importance = possible * 2.0 ** (np.minimum(0.0, log_odds - last) / spread)

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
    effects[~possible.any(axis=0)] = HOPELESS
    return [weights.tolist(), effects.tolist()]
