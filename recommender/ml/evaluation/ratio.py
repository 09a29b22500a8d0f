"""Division where nothing may be divided by."""

import numpy as np


def ratio(numerator: np.ndarray, denominator: np.ndarray, *, otherwise: float = np.nan) -> np.ndarray:
    """Elementwise ``numerator / denominator``, and ``otherwise`` where the denominator is 0."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), otherwise)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)
