"""How sure a figure is: the bootstrap over shoppers.

A shopper's pairs of all campaigns move together, since what one shopper does in two campaigns is not independent. A
resample draws as many shoppers as there are, with replacement; it is a column of weights, how often each was drawn. All
algorithms meet the same resamples, so that their differences are paired.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
# Weights and resamples held in memory at a time.
BLOCK_WEIGHTS = 4_000_000
BLOCK_RESAMPLES = 250


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % percentile interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


def draw_weights(shopper_count: int, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """The weights of the resamples, in blocks: shoppers × some of the resamples. The blocks' size changes no weight."""
    if resamples < 1:
        raise ValueError(f"{resamples} resamples were asked for; an interval needs at least 1.")
    random = np.random.default_rng(seed)
    share = np.full(shopper_count, 1 / shopper_count)
    size = min(BLOCK_RESAMPLES, max(1, BLOCK_WEIGHTS // shopper_count))
    for start in range(0, resamples, size):
        drawn = random.multinomial(shopper_count, share, size=min(size, resamples - start))
        yield np.ascontiguousarray(drawn.T, dtype=np.float64)


def estimate(value: float, draws: np.ndarray) -> Estimate:
    """A figure with the interval that its values in the resamples span.

    Args:
        value: the figure on all shoppers, NaN where it is undefined.
        draws: its value in each resample; those where it is undefined (a resample without a redemption) are left out.
    """
    defined = draws[~np.isnan(draws)]
    if np.isnan(value) or not len(defined):
        return Estimate(value=None if np.isnan(value) else float(value), low=None, high=None)
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value=float(value), low=float(low), high=float(high))
