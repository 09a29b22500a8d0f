"""Features on one scale, for models that draw straight lines through them."""

import numpy as np
from numpy.typing import DTypeLike
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

#: Further than this from the mean, in standard deviations, nothing is known: a straight line must not run on.
FARTHEST = 6.0


def standardised_logarithms(dtype: DTypeLike | None = None) -> Pipeline:
    """From n × m features, none below 0, to their logarithms, log(1 + x), in standard deviations from the mean.

    Args:
        dtype: to compute the logarithms in; that of the features if not given.
    """
    return make_pipeline(
        FunctionTransformer(np.log1p, kw_args={"dtype": dtype}),
        StandardScaler(),
        FunctionTransformer(np.clip, kw_args={"a_min": -FARTHEST, "a_max": FARTHEST}),
    )
