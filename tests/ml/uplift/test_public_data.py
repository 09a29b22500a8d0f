"""Public randomised data, as the package `causaldata` ships them, which is no requirement: pip install causaldata.

Its loaders want statsmodels; the files alone are read here.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GroupKFold

from recommender.ml.incrementality import Verdict, judge, measure_effect
from recommender.ml.uplift import (
    UPLIFT_MODELS,
    compare_policies,
    evaluate_uplift,
    predict_outcomes,
    value_by_doubly_robust,
)
from recommender.ml.uplift.models import default_classifier, expected, fit_clone
from tests.ml.uplift.proofs import first

PACKAGE = find_spec("causaldata")
pytestmark = [
    pytest.mark.prove,
    pytest.mark.skipif(PACKAGE is None, reason="pip install --no-deps causaldata"),
]


def read(name: str) -> pd.DataFrame:
    assert PACKAGE is not None
    [folder] = PACKAGE.submodule_search_locations or []
    return pd.read_stata(Path(folder) / name / f"{name}.dta")


def test_the_effect_of_job_training_is_the_published_one() -> None:
    """The National Supported Work experiment: LaLonde (1986), by Dehejia and Wahba (1999), 1,794 dollars."""
    people = read("nsw_mixtape")
    treated, earned = people["treat"].to_numpy() == 1, people["re78"].to_numpy()

    plain = measure_effect(treated, earned)
    cuped = measure_effect(treated, earned, people[["re74", "re75"]].to_numpy())

    assert plain.value == pytest.approx(1794.34, abs=0.01)
    assert plain.interval() == pytest.approx((474.0, 3114.7), abs=0.1)
    assert cuped.value == pytest.approx(1771.3, abs=0.1)
    assert cuped.standard_error < plain.standard_error
    assert judge(cuped, cuped.interval()) == Verdict.MORE


@pytest.mark.parametrize("name", UPLIFT_MODELS)
def test_money_to_fetch_a_result_works_and_distance_and_age_do_not_tell_on_whom(name: str) -> None:
    """Thornton (2008): people drew vouchers for fetching the result of a test. In villages that taught nothing, neither
    the order by uplift nor that by likelihood is surely better than chance, or than the other: two features say too
    little. What is to be seen here is that nothing is claimed."""
    people = read("thornton_hiv").dropna(subset=["got", "any", "distvct", "age", "villnum"])
    treated, fetched = people["any"].to_numpy() == 1, people["got"].to_numpy(dtype=float)
    X, villages = people[["distvct", "age"]].to_numpy(dtype=float), people["villnum"].to_numpy()
    propensity, rows = float(treated.mean()), np.arange(len(people))

    effect = measure_effect(treated, fetched)
    assert (len(people), round(effect.value, 3)) == (2_825, 0.451)
    assert judge(effect, effect.interval()) == Verdict.MORE

    uplift, likely = np.empty(len(people)), np.empty(len(people))
    for learned, asked in GroupKFold(5).split(X, fetched, villages):
        model = UPLIFT_MODELS[name]().fit(X[learned], treated[learned], fetched[learned], propensity=propensity, seed=0)
        uplift[asked] = model.predict(X[asked])
        sent = learned[treated[learned]]
        likely[asked] = expected(fit_clone(default_classifier(), X[sent], fetched[sent], 0), X[asked])

    predicted = predict_outcomes(X, treated.astype(int), fetched, actions=(0, 1), seed=0)
    values = []
    for score in (uplift, likely):
        chosen = first(score, 0.5)
        values.append(
            value_by_doubly_robust(
                fetched,
                np.where(treated, propensity, 1 - propensity),
                (treated == chosen).astype(float),
                predicted=predicted[rows, treated.astype(int)],
                predicted_policy=predicted[rows, chosen.astype(int)],
            )
        )
        qini = evaluate_uplift(score, treated, fetched, propensity=propensity, seed=0).qini
        assert qini.low < 0 < qini.high
    _gain, low, high = compare_policies(*values)
    assert low < 0 < high
    assert values[0].value == pytest.approx(0.545, abs=0.02)
