"""Why a score is what it is: the statements that move it, each measured on the model itself.

The contribution of a statement is the fall of the score's log-odds when the features that hold it, and they alone, are
set to their medians among the examples. So what is said is what the model heeds.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl

from recommender.ml.algorithms.statements import STATEMENTS, Row
from recommender.ml.contract import Reason

#: The most that are given for a score, and against it.
REASONS, OBJECTIONS = 3, 1
#: Contributions are given to so many decimals.
DECIMALS = 4
#: A contribution that is smaller, one way or the other, is not worth a word: it changes the odds by a twentieth.
LEAST = 0.05
#: Given where no statement speaks for a pair.
NOTHING_PARTICULAR: Reason = {"kind": "nothing_particular"}


def contributions(
    log_odds: Callable[[np.ndarray], np.ndarray],
    X: np.ndarray,
    features: Sequence[str],
    medians: np.ndarray,
    parts: Sequence[Sequence[str]],
) -> np.ndarray:
    """(n, parts): how much each part of the features moves the log-odds of the score.

    Args:
        log_odds: of the model, n for (n, features).
        X: (n, features).
        features: the names of its columns.
        medians: (features,), among the examples.
        parts: names of features. Those that the model is not shown move nothing.
    """
    moved = np.zeros((len(X), len(parts)))
    column_of = {feature: column for column, feature in enumerate(features)}
    as_it_is = log_odds(X)
    for number, part in enumerate(parts):
        columns = [column_of[feature] for feature in part if feature in column_of]
        differing = np.flatnonzero((X[:, columns] != medians[columns]).any(axis=1))
        if len(differing):
            without = X[differing]
            without[:, columns] = medians[columns]
            moved[differing, number] = as_it_is[differing] - log_odds(without)
    return moved


def reasons(inputs: pl.DataFrame, moved: np.ndarray) -> list[list[Reason]]:
    """For each pair what speaks for it, the weightiest first, and then what speaks most against it.

    ``log_odds`` of a reason is its contribution. At most one statement of a group is given, since those of a group are
    much the same. Where nothing speaks for a pair, that is said.

    Args:
        inputs: n rows of features.
        moved: (n, statements), the contributions of :data:`STATEMENTS`.
    """
    moved = np.round(moved, DECIMALS)
    order = np.argsort(-moved, axis=1, kind="stable").tolist()
    return [
        (_weightiest(row, contribution, numbers) or [NOTHING_PARTICULAR]) + _objections(row, contribution, numbers)
        for row, contribution, numbers in zip(inputs.iter_rows(named=True), moved.tolist(), order, strict=True)
    ]


def _weightiest(row: Row, contribution: list[float], order: list[int]) -> list[Reason]:
    by_group: dict[str, Reason] = {}
    for number in order:
        statement = STATEMENTS[number]
        if contribution[number] < LEAST or len(by_group) == REASONS:
            break
        if statement.group not in by_group and (reason := statement.reason(row)) is not None:
            by_group[statement.group] = {**reason, "log_odds": contribution[number]}
    return list(by_group.values())


def _objections(row: Row, contribution: list[float], order: list[int]) -> list[Reason]:
    objections: list[Reason] = []
    for number in reversed(order):
        if contribution[number] > -LEAST or len(objections) == OBJECTIONS:
            break
        if (objection := STATEMENTS[number].objection(row)) is not None:
            objections.append({**objection, "log_odds": contribution[number]})
    return objections
