"""What happened, by shopper: the shopper was drawn into a group, so the shopper is what is counted."""

import numpy as np


def sum_by_shopper(
    shopper: np.ndarray, treated: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of shoppers, such as their orders, added up to a row a shopper.

    What one shopper buys on two days is not independent: rows of orders taken for independent would make intervals too
    narrow.

    Args:
        shopper: (rows,) numbers of shoppers.
        treated: (rows,) whether the shopper was sent the campaign.
        values: (rows,) or (rows, k).

    Returns:
        The shoppers ascending (n,), treated (n,) and the sums (n,) or (n, k).

    Raises:
        ValueError: the lengths differ, or a shopper is in both groups.
    """
    if not len(shopper) == len(treated) == len(values):
        raise ValueError(
            f"{len(shopper)} shoppers, {len(treated)} groups and {len(values)} values: a row has one of each."
        )
    found, first, of = np.unique(shopper, return_index=True, return_inverse=True)
    treated = np.asarray(treated, dtype=bool)
    both = np.flatnonzero(treated != treated[first][of])
    if len(both):
        raise ValueError(f"Shopper {shopper[both[0]]} is in both groups; expected one group a shopper.")
    sums = np.zeros((len(found), *values.shape[1:]))
    np.add.at(sums, of, values)
    return found, treated[first], sums


def check_groups(treated: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """Treated as booleans.

    Raises:
        ValueError: a column has another length, or a value is not a finite number.
    """
    for column in columns:
        if len(column) != len(treated):
            raise ValueError(f"{len(column)} values for {len(treated)} shoppers; expected one a shopper.")
        if not np.isfinite(column).all():
            raise ValueError(f"A value of shopper row {np.argwhere(~np.isfinite(column))[0][0]} is no finite number.")
    return np.asarray(treated, dtype=bool)
