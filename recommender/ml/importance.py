"""What matters most to a model: how much each group of features moves its scores."""

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl

from recommender.ml import features as f
from recommender.ml.algorithms.supervised import SupervisedAlgorithm
from recommender.ml.contract import Algorithm
from recommender.ml.examples import Casebook

#: Offers that are looked at.
SAMPLE = 2_000


def measure_importance(
    models: Mapping[str, Algorithm], casebook: Casebook, campaigns: Iterable[int], *, seed: int
) -> dict[str, dict[str, float]]:
    """By name of the model and group of :data:`~recommender.ml.features.GROUPS`, the mean size of the group's
    contribution, the largest first.

    A contribution is by how much the log-odds of a score fall when the group's features are set to their medians
    (:meth:`SupervisedAlgorithm.contributions`). There is nothing of a model that does not learn from features, or that
    no example has taught.

    Args:
        models: fitted ones.
        campaigns: their offers are looked at, :data:`SAMPLE` of them drawn from all alike.
        seed: of the draw.
    """
    taught = {
        name: model for name, model in models.items() if isinstance(model, SupervisedAlgorithm) and model.informed_
    }
    offers = _sample(casebook, campaigns, seed) if taught else SupervisedAlgorithm.inputs.none()
    return {} if offers.is_empty() else {name: _of_model(model, offers) for name, model in taught.items()}


def _sample(casebook: Casebook, campaigns: Iterable[int], seed: int) -> pl.DataFrame:
    inputs = SupervisedAlgorithm.inputs
    described = pl.concat([inputs.none(), *(casebook.described(inputs, campaign) for campaign in sorted(campaigns))])
    return described if described.height <= SAMPLE else described.sample(SAMPLE, seed=seed)


def _of_model(model: SupervisedAlgorithm, offers: pl.DataFrame) -> dict[str, float]:
    sizes = np.abs(model.contributions(offers, list(f.GROUPS.values()))).mean(axis=0)
    found = {group: round(float(size), 4) for group, size in zip(f.GROUPS, sizes, strict=True)}
    return dict(sorted(found.items(), key=lambda each: -each[1]))
