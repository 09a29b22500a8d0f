"""Few candidates are allocated by HiGHS's branch and bound, which finds the best lists or lists about as good."""

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, milp

from recommender.ml.allocation.candidates import Candidates
from recommender.ml.allocation.terms import MICRO, NO_LIMIT, Resource

#: Of lists this close to the best the search for better ones ends, and after so many nodes: a time would make the
#: result depend on the machine.
GAP = 1e-4
NODES = 2_000
#: What a floor lacks costs so many times the value of everything, so that only what cannot be helped is lacking.
SHORTAGE = 10.0


def constraints_of(candidates: Candidates) -> tuple[sparse.csr_matrix, np.ndarray, sparse.csr_matrix, np.ndarray]:
    """The terms as A x ≤ b over the candidates, and the floors as F x ≥ f, all divided by their limits.

    Returns:
        A, (b,), F and (f,).
    """
    terms, size = candidates.terms, len(candidates)
    pairs = np.arange(size)
    blocks: list[sparse.csr_matrix] = []
    limits: list[np.ndarray] = []

    def add(row: np.ndarray, of: np.ndarray, amounts: np.ndarray, most: np.ndarray) -> None:
        blocks.append(sparse.csr_matrix((amounts, (row, of)), shape=(len(most), size)))
        limits.append(most)

    add(candidates.row, pairs, np.ones(size), candidates.capacity.astype(float))
    if terms.has_groups:
        add(candidates.cell, pairs, np.ones(size), np.full(len(candidates.cell_starts), float(terms.most_of_group)))
    for resource in Resource:
        amounts = candidates.amounts[resource].astype(float)
        if resource in terms.limits:
            unit = float(max(terms.limits[resource], 1))
            add(np.zeros(size, dtype=int), pairs, amounts / unit, np.array([terms.limits[resource] / unit]))
        of_place = terms.limits_at[resource]
        limited = np.flatnonzero(of_place[candidates.place] != NO_LIMIT)
        if len(limited):
            place = candidates.place[limited]
            units = np.maximum(of_place, 1).astype(float)
            most = np.where(of_place == NO_LIMIT, 1.0, of_place / units)
            add(place, limited, amounts[limited] / units[place], most)
    if terms.return_micro is not None:
        owed = terms.return_micro / MICRO * candidates.amounts[Resource.COST] - candidates.value
        unit = max(float(np.abs(owed).max()), 1.0)
        add(np.zeros(size, dtype=int), pairs, owed / unit, np.zeros(1))
    units = np.array([max(floor.at_least, 1) for floor in terms.floors], dtype=float)
    floors = sparse.csr_matrix(
        np.array([given / unit for given, unit in zip(candidates.given(), units, strict=True)]).reshape(
            len(units), size
        )
    )
    least = np.array([floor.at_least for floor in terms.floors], dtype=float) / units if len(units) else np.empty(0)
    return sparse.vstack(blocks, format="csr"), np.concatenate(limits), floors, least


def solve_exactly(candidates: Candidates) -> np.ndarray:
    """The chosen pairs, ascending; rounding may let them exceed a limit by a millionth part."""
    size = len(candidates)
    A, most, floors, least = constraints_of(candidates)
    value = candidates.value.astype(float)
    unit = max(float(np.abs(value).sum()), 1.0)
    shortages = len(least)
    found = milp(
        np.concatenate([-value / unit, np.full(shortages, SHORTAGE)]),
        integrality=np.concatenate([np.ones(size), np.zeros(shortages)]),
        bounds=Bounds(0, np.concatenate([np.ones(size), np.full(shortages, np.inf)])),
        constraints=[
            LinearConstraint(
                sparse.hstack([A, sparse.csr_matrix((A.shape[0], shortages))], format="csr"), -np.inf, most
            ),
            *(
                [LinearConstraint(sparse.hstack([floors, sparse.eye(shortages)], format="csr"), least, np.inf)]
                if shortages
                else []
            ),
        ],
        options={"mip_rel_gap": GAP, "node_limit": NODES},
    )
    return np.flatnonzero(found.x[:size] > 0.5) if found.x is not None else np.empty(0, dtype=np.int64)
