"""Which share of a shopper's uses are of purchases that would not have been made otherwise, learned from drawn groups.

A use in a purchase that would have been made anyway only costs what it takes off. Among shoppers alike, the share of
the others is what the campaign added to their purchases, by how often they used its coupons. Who is alike is learned:
an X-learner says what a campaign adds to a shopper's purchases, a regressor how often the shopper uses its coupons, and
by the ratio of the two shoppers are cut into groups. What is said of a group is measured on it, and into which one a
shopper falls is said by models that the shopper taught nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.isotonic import IsotonicRegression
from threadpoolctl import threadpool_limits

from recommender.ml.uplift.contract import UpliftModel
from recommender.ml.uplift.evaluation import UpliftFigures, evaluate_uplift
from recommender.ml.uplift.models import XLearner, default_regressor, expected, fit_clone

GROUPS = 5
FOLDS = 3
#: Of the mean of all: fewer uses are not told apart from it.
FEWEST_USES = 0.1
RESAMPLES = 400


@dataclass(frozen=True)
class DrawnCampaign:
    """Shoppers of a campaign that is over, who were drawn into those whom it was sent to and those held out.

    Attributes:
        X: (n, k) features as of its start, finite.
        treated: (n,) whether the shopper was sent it.
        purchases: (n,) how often the shopper bought what its coupons are for, with a coupon or without.
        uses: (n,) how often the shopper used its coupons.
        chance: with which the shoppers were sent it.
    """

    X: np.ndarray
    treated: np.ndarray
    purchases: np.ndarray
    uses: np.ndarray
    chance: float


class NewUses:
    """The share of a shopper's uses that are of purchases which would not have been made otherwise.

    What is learned stands in names that end in ``_``: ``share_`` is that of all shoppers together, ``shares_`` those of
    the groups, (groups,) ascending.
    """

    # Its many small fits are over before threads that wait for each other, on a machine with other work, get a turn.
    @threadpool_limits.wrap(limits=1)
    def fit(self, campaigns: Sequence[DrawnCampaign], *, seed: int) -> Self:
        """
        Raises:
            NotRandomised: see :func:`~recommender.ml.uplift.contract.check_randomised`.
            ValueError: the campaigns tell of other features each, or nobody used a coupon.
        """
        together = _join(campaigns)
        self.share_ = _measure_share(together, np.ones(len(together.treated), dtype=bool))
        ratio = np.empty(len(together.treated))
        fold = np.random.default_rng(seed).integers(0, FOLDS, len(ratio))
        for number in range(FOLDS):
            others, own = _Order(seed).fit(together.of(fold != number)), fold == number
            ratio[own] = others.predict(together.X[own])
        self.edges_ = np.unique(np.quantile(ratio, np.linspace(0, 1, GROUPS + 1)[1:-1]))
        group = np.searchsorted(self.edges_, ratio, side="right")
        members = [group == number for number in range(len(self.edges_) + 1)]
        measured = [_measure_share(together, each, otherwise=self.share_) for each in members]
        uses = [max(float(together.uses[each].sum()), 1.0) for each in members]
        rising = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        self.shares_ = rising.fit_transform(np.arange(len(members)), measured, sample_weight=uses)
        self.order_ = _Order(seed).fit(together)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(n,): shares from 0 to 1.

        Raises:
            ValueError: it was fitted on another number of features.
        """
        return self.shares_[np.searchsorted(self.edges_, self.order_.predict(X), side="right")]


def judge_new_uses(campaigns: Sequence[DrawnCampaign], *, seed: int) -> UpliftFigures:
    """Whether those whose uses are said to be new more often buy more because of a later campaign, by their uses.

    All campaigns but the last teach. On the last one the outcome is purchases less what the uses would account for if
    all shoppers had the same share: what a campaign adds to it is above 0 for those whose share is greater, and an
    order by shares that are nobody's own has a Qini of 0.

    Args:
        campaigns: two or more, the earliest first.

    Raises:
        NotRandomised, ValueError: as for :meth:`NewUses.fit`.
    """
    *earlier, last = campaigns
    taught = NewUses().fit(earlier, seed=seed)
    return evaluate_uplift(
        taught.predict(last.X),
        last.treated,
        last.purchases - taught.share_ * np.where(last.treated, last.uses, 0.0),
        propensity=last.chance,
        resamples=RESAMPLES,
        seed=seed,
    )


@dataclass(frozen=True)
class _Together:
    """Shoppers of several campaigns, a row for each campaign of a shopper."""

    X: np.ndarray
    treated: np.ndarray
    purchases: np.ndarray
    uses: np.ndarray
    chances: np.ndarray

    def of(self, chosen: np.ndarray) -> "_Together":
        return _Together(*(each[chosen] for each in (self.X, self.treated, self.purchases, self.uses, self.chances)))


class _Order:
    """By what campaigns add to purchases, for each use."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def fit(self, shoppers: _Together) -> Self:
        treated = shoppers.treated
        self._adds: UpliftModel = XLearner().fit(
            shoppers.X, treated, shoppers.purchases, propensity=shoppers.chances, seed=self._seed
        )
        uses: Any = fit_clone(default_regressor(), shoppers.X[treated], shoppers.uses[treated], self._seed)
        self._uses, self._fewest = uses, FEWEST_USES * float(shoppers.uses[treated].mean())
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self._adds.predict(X) / np.maximum(expected(self._uses, X), self._fewest)


def _join(campaigns: Sequence[DrawnCampaign]) -> _Together:
    together = _Together(
        X=np.concatenate([each.X for each in campaigns]),
        treated=np.concatenate([each.treated for each in campaigns]),
        purchases=np.concatenate([each.purchases for each in campaigns]).astype(np.float64),
        uses=np.concatenate([np.where(each.treated, each.uses, 0.0) for each in campaigns]),
        chances=np.concatenate([np.full(len(each.treated), each.chance) for each in campaigns]),
    )
    if not together.uses.any():
        raise ValueError("Nobody used a coupon of the campaigns, so nothing is known of uses.")
    return together


def _measure_share(shoppers: _Together, members: np.ndarray, *, otherwise: float = 0.0) -> float:
    """What campaigns added to the purchases of some shoppers for each of their uses, within 0 and 1; each shopper
    counts by the chance of their own group (Hájek). ``otherwise`` is said where a group has nobody or no use."""
    treated, held_out = members & shoppers.treated, members & ~shoppers.treated
    if not shoppers.uses[treated].any() or not held_out.any():
        return otherwise
    sent, kept = 1 / shoppers.chances[treated], 1 / (1 - shoppers.chances[held_out])
    added = np.average(shoppers.purchases[treated], weights=sent) - np.average(
        shoppers.purchases[held_out], weights=kept
    )
    return float(np.clip(added / np.average(shoppers.uses[treated], weights=sent), 0.0, 1.0))
