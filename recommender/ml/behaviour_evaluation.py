"""The behaviour model P(u, c) held against what shoppers bought next."""

from datetime import datetime

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.behaviour import HORIZON, BehaviourModel, behaviour_examples
from recommender.ml.evaluation.comparison import Comparison, compare
from recommender.ml.evaluation.thresholds import choose_threshold
from recommender.ml.history import Snapshot
from recommender.ml.product_sets import RECENT_BUYERS_SHARE, SET
from recommender.progress import Progress
from recommender.sentences import say

BEHAVIOUR = "behaviour_model"
SHARE_OF_BUYERS = "share_of_buyers"
RESAMPLES = 200


def evaluate_behaviour(
    snapshot: Snapshot, start: datetime, end: datetime, *, seed: int, progress: Progress
) -> Comparison | None:
    """Compare P(u, c) with the share of shoppers who bought of c lately, which is the same for everybody.

    For each whole horizon in [start, end) the model is fitted on what was known at its beginning, and asked about
    shoppers and sets drawn from it. Thresholds are those of the first horizon, which is not evaluated itself. None
    where fewer than two horizons fit in or nothing was bought in them.
    """
    frames: list[pl.DataFrame] = []
    number = 0
    while start + (number + 1) * HORIZON <= end:
        moment = start + number * HORIZON
        progress.report(say("Evaluating the behaviour model"), number, (end - start) // HORIZON)
        examples = behaviour_examples(snapshot.before(moment + HORIZON), seed)
        if examples is not None:
            model = BehaviourModel(seed).fit(snapshot.before(moment))
            scores = {
                BEHAVIOUR: model.probability(examples.inputs),
                SHARE_OF_BUYERS: examples.inputs[RECENT_BUYERS_SHARE].to_numpy().clip(0, 1),
            }
            frames += [
                examples.pairs.select(
                    pl.lit(name).alias(c.ALGORITHM),
                    pl.lit(number, pl.UInt32).alias(c.CAMPAIGN),
                    c.SHOPPER,
                    pl.col(SET).alias(c.COUPON),
                    pl.Series(c.SCORE, np.asarray(values, dtype=np.float64)),
                    pl.Series(c.LABEL, examples.bought),
                )
                for name, values in scores.items()
            ]
        number += 1
    if not frames:
        return None
    scored = pl.concat(frames)
    first = scored.filter(pl.col(c.CAMPAIGN) == scored[c.CAMPAIGN].min())
    later = scored.filter(pl.col(c.CAMPAIGN) > scored[c.CAMPAIGN].min())
    if not later[c.LABEL].any():
        return None
    thresholds = {
        str(name): choose_threshold(its[c.SCORE].to_numpy(), its[c.LABEL].to_numpy())
        for (name,), its in first.group_by(c.ALGORITHM)
    }
    return compare(later, thresholds, resamples=RESAMPLES, seed=seed, progress=progress)
