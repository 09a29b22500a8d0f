"""What every uplift model keeps."""

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np

from recommender.ml.incrementality.outcomes import check_groups
from recommender.ml.incrementality.verdicts import LEAST_SHOPPERS
from recommender.sentences import say


class NotRandomised(ValueError):
    """Nobody was held out at random, so that nobody can tell what the campaign changed: rank by likelihood instead."""


def check_randomised(treated: np.ndarray, propensity: float | np.ndarray) -> np.ndarray:
    """The chance of each shopper to be sent the campaign, (n,).

    Who was chosen by what is known of them differs from the others before any campaign: what then looks like its effect
    is that difference.

    Args:
        treated: (n,) whether the shopper was sent the campaign.
        propensity: the chance with which that was drawn, one for all or (n,). It is known, not estimated: the draw's.

    Raises:
        NotRandomised: a group has fewer than 100 shoppers, or somebody was sent the campaign, or held out, for sure.
    """
    treated = np.asarray(treated, dtype=bool)
    chances = np.broadcast_to(np.asarray(propensity, dtype=np.float64), treated.shape)
    sent, held_out = int(treated.sum()), int((~treated).sum())
    if min(sent, held_out) < LEAST_SHOPPERS:
        raise NotRandomised(
            say(
                "Uplift is learned from shoppers who were drawn: %(sent)s were sent the campaign and %(held_out)s held "
                "out, and each group needs %(least)s. Without them, coupons go to those who are likeliest to use them.",
                sent=sent,
                held_out=held_out,
                least=LEAST_SHOPPERS,
            )
        )
    if not ((chances > 0) & (chances < 1)).all():
        raise NotRandomised(
            say(
                "Uplift is learned from shoppers who could have been in either group: the chance to be sent the "
                "campaign must be above 0 and below 1. Without that, coupons go to those who are likeliest to use them."
            )
        )
    return chances


class UpliftModel(ABC):
    """Says of each shopper what being sent a campaign changes in their outcome.

    What is learned stands in names that end in ``_``.
    """

    name: ClassVar[str]

    def fit(
        self,
        X: np.ndarray,
        treated: np.ndarray,
        outcome: np.ndarray,
        *,
        propensity: float | np.ndarray,
        seed: int,
    ) -> Self:
        """Learn from shoppers who were drawn into groups.

        Args:
            X: (n, k) features as of before the campaign, finite.
            treated: (n,) whether the shopper was sent it.
            outcome: (n,) finite.
            propensity: the chance with which the shoppers were sent it, one for all or (n,).
            seed: for what is drawn.

        Raises:
            NotRandomised: see :func:`check_randomised`.
            ValueError: the lengths differ or a value is not finite, or what the model says of its own.
        """
        X, outcome = np.asarray(X, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
        treated = check_groups(treated, X, outcome)
        chances = check_randomised(treated, propensity)
        self.features_ = X.shape[1]
        self._fit(X, treated, outcome, chances, seed)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """(n,): what being sent the campaign changes, in units of the outcome.

        Raises:
            ValueError: it was fitted on another number of features.
        """
        X = np.asarray(X, dtype=np.float64)
        if X.shape[1] != self.features_:
            raise ValueError(f"{X.shape[1]} features; {self.name} was fitted on {self.features_}.")
        return self._predict(X)

    @abstractmethod
    def _fit(self, X: np.ndarray, treated: np.ndarray, outcome: np.ndarray, chances: np.ndarray, seed: int) -> None: ...

    @abstractmethod
    def _predict(self, X: np.ndarray) -> np.ndarray: ...
