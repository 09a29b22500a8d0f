"""Small frames of pairs that the tests of evaluation are written in."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from recommender.ml.evaluation.metrics import METRICS, Metrics
from recommender.ml.evaluation.pairs import read_pairs

PAIRS = {"campaign": pl.UInt32, "shopper": pl.UInt32, "coupon": pl.UInt32, "score": pl.Float64, "label": pl.Boolean}


def frame(*rows: tuple[int, int, int, float, int]) -> pl.DataFrame:
    """Rows of campaign, shopper, coupon, score and label."""
    return pl.DataFrame(
        [(campaign, shopper, coupon, score, bool(label)) for campaign, shopper, coupon, score, label in rows],
        schema=PAIRS,
        orient="row",
    )


def measure(pairs: pl.DataFrame, *, threshold: float = 0.5, seed: int = 0, edges: Any = None) -> dict[str, float]:
    """Every metric of a frame, each pair counted once."""
    read = read_pairs(pairs, seed=seed)
    scores = pairs.sort("campaign", "shopper", "coupon")["score"].to_numpy()
    metrics = Metrics(read, scores, threshold=threshold, edges=None if edges is None else np.asarray(edges))
    values = metrics.measure(np.ones((read.shopper_count, 1)))
    assert list(values) == list(METRICS)
    return {name: float(value) for name, (value,) in values.items()}


#: Few distinct scores, so many ties.
EIGHTHS = st.integers(0, 8).map(lambda number: number / 8)


@st.composite
def frames(draw: st.DrawFn, *, scores: st.SearchStrategy[float] = EIGHTHS) -> pl.DataFrame:
    """One to forty pairs of up to 2 campaigns, 4 shoppers and 13 coupons."""
    keys = draw(
        st.lists(
            st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=40, unique=True
        )
    )
    return frame(*((*key, draw(scores), draw(st.booleans())) for key in keys))
