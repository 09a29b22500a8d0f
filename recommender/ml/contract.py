"""The contract that every algorithm keeps.

An algorithm sees a (shopper, coupon) pair through its *inputs*: a row of numbers computed from history as of a moment.
:class:`Inputs` makes them, in two steps so that what is the same for all pairs is computed once and the pairs can be
described shard by shard. The algorithm itself is fitted on inputs of past pairs whose outcome is known, and turns the
inputs of new pairs into probabilities.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from recommender.ml.history import History

#: A reason is a kind and its facts: ``{"kind": "bought_products", "times": 6, "days_since_last": 11}``. Faces put it
#: into words (``recommender.reasons``).
Reason = dict[str, Any]


#: What can be told of all pairs of some shoppers cheaply: (shoppers, coupons) by name, the coupons in their order.
Sketch = Mapping[str, np.ndarray]
#: Chooses coupons by a sketch: (shoppers, m) of its columns, ascending in each row.
Choose = Callable[[Sketch], np.ndarray]


@dataclass(frozen=True)
class ChosenPairs:
    """n pairs (columns ``shopper`` and ``coupon``) and their inputs; m of each shopper, in the order of the shoppers,
    and then of the coupons."""

    pairs: pl.DataFrame
    inputs: pl.DataFrame


class DescribedHistory(ABC):
    """History prepared for a set of coupons; describes pairs of any shopper with one of these coupons."""

    @abstractmethod
    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """Inputs of pairs.

        Args:
            pairs: columns ``shopper`` and ``coupon`` (numbers of the snapshot), n rows.

        Returns:
            n rows in the order of the pairs, the float32 columns of the inputs, NaN nowhere. A pair's row depends on
            that pair and the history alone, never on the other pairs.
        """

    def sketch(self, shoppers: pl.Series) -> Sketch | None:
        """What can be told of all pairs of some shoppers at a fraction of what describing them costs. None where pairs
        cannot be told apart before they are described.

        Args:
            shoppers: numbers of the snapshot, sorted, none twice.
        """
        return None

    def describe_chosen(self, shoppers: pl.Series, choose: Choose) -> ChosenPairs:
        """Inputs of the pairs that are chosen by the sketch: to the last digit what :meth:`describe` gives of these.

        Args:
            shoppers: as for :meth:`sketch`, which gives something.
        """
        raise NotImplementedError(f"{type(self).__name__} has no sketch of pairs to choose by.")


class Inputs(ABC):
    """A way to describe pairs. ``name`` is unique: what was described is cached under it. ``columns`` names the
    inputs."""

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]

    def none(self) -> pl.DataFrame:
        """The inputs of no pairs at all."""
        return pl.DataFrame(schema=dict.fromkeys(self.columns, pl.Float32))

    @abstractmethod
    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        """Do the work that all pairs share.

        Args:
            history: what was known before the moment of decision.
            coupons: the numbers of the coupons that will be described.
        """


class Algorithm(ABC):
    """One algorithm. As in scikit-learn, parameters are stored in ``__init__`` and learned names end in ``_``.

    ``search_space`` has, for parameters of the constructor that are worth a search, the values to try: JSON values.
    """

    name: ClassVar[str]
    inputs: ClassVar[Inputs]
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {}

    @abstractmethod
    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        """Learn from pairs whose outcome is known.

        Args:
            examples: inputs, n rows, ordered by the start of their campaign.
            labels: n booleans, whether the coupon was used in its campaign.
            campaigns: n numbers, 0 for the earliest campaign and growing with time, for time-ordered validation.
            seed: all randomness comes from it.

        With no examples, or outcomes of one kind only, the algorithm still fits, and scores by what it knows without
        them.
        """

    @abstractmethod
    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        """n probabilities in [0, 1] that the coupon is used, float64."""

    @abstractmethod
    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        """For each pair the few reasons that weigh most in its score, the weightiest first; never empty.

        Where the algorithm measures them, ``log_odds`` of a reason is by how much it moves the log-odds of the score,
        and a last one below 0 is what speaks most against the pair.
        """

    def parameters(self) -> dict[str, Any]:
        """What was chosen or learned that a person would want to read: JSON values."""
        return {}
