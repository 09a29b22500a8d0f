"""The algorithms by name, in the order in which tables show them."""

from collections.abc import Iterable

from recommender.ml.algorithms.blend import Blend
from recommender.ml.algorithms.boosted_logistic_regression import BoostedLogisticRegression
from recommender.ml.algorithms.forests import ExtraTrees, RandomForest
from recommender.ml.algorithms.gradient_boosting import GradientBoosting
from recommender.ml.algorithms.neighbours import ItemBasedFiltering, UserBasedFiltering
from recommender.ml.algorithms.popularity import Popularity
from recommender.ml.algorithms.sequence_network import (
    BasketSequenceNetwork,
    NeuralRequirementsMissing,
    neural_requirements_installed,
)
from recommender.ml.algorithms.support_vector_machine import SupportVectorMachine
from recommender.ml.algorithms.trees import DecisionTree
from recommender.ml.contract import Algorithm

ALGORITHMS: dict[str, type[Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (
        Popularity,
        UserBasedFiltering,
        ItemBasedFiltering,
        DecisionTree,
        RandomForest,
        ExtraTrees,
        SupportVectorMachine,
        GradientBoosting,
        BoostedLogisticRegression,
        Blend,
    )
}
if neural_requirements_installed():
    ALGORITHMS[BasketSequenceNetwork.name] = BasketSequenceNetwork
#: Stands for every algorithm, the neural one too.
ALL = "all"
#: What scores while no campaign has taught anything: it falls back on the behaviour model P(u, c).
UNTAUGHT = Blend.name


class UnknownAlgorithm(ValueError):
    """A name that no algorithm has."""


def algorithms_named(names: Iterable[str] | None) -> list[type[Algorithm]]:
    """The algorithms of these names, in the order of the tables.

    Args:
        names: :data:`ALL` among them stands for every algorithm. None stands for all but the neural one, which is worth
            its time to those only who ask for it.

    Raises:
        UnknownAlgorithm: the message lists the names there are, or says what the neural one needs.
    """
    neural = {BasketSequenceNetwork.name}
    wanted = set(ALGORITHMS) - neural if names is None else set(names)
    if ALL in wanted:
        wanted = wanted - {ALL} | set(ALGORITHMS) | neural
    if neural & wanted - set(ALGORITHMS):
        raise UnknownAlgorithm(str(NeuralRequirementsMissing()))
    if unknown := sorted(wanted - set(ALGORITHMS)):
        raise UnknownAlgorithm(f"No algorithm is named {', '.join(unknown)}. There are: {', '.join(ALGORITHMS)}.")
    return [algorithm for name, algorithm in ALGORITHMS.items() if name in wanted]


__all__ = ["ALGORITHMS", "ALL", "UNTAUGHT", "Algorithm", "UnknownAlgorithm", "algorithms_named"]
