from collections.abc import Callable
from functools import cache
from itertools import product

import polars as pl
import pytest

from recommender.ml.algorithms import ALGORITHMS, Algorithm
from recommender.ml.examples import Casebook
from recommender.ml.history import History, Snapshot
from recommender.ml.walk_forward import fit_as_of
from tests.ml.shops import COUPONS, LAST_START, NEW_SHOPPER, SHOPPERS, generated_shop, pairs_of

SEED = 0


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The generated shop."""
    return generated_shop().write(tmp_path_factory.mktemp("generated") / "shop")


@pytest.fixture(scope="session")
def history(snapshot: Snapshot) -> History:
    """As of the start of the last campaign."""
    return snapshot.before(LAST_START)


@pytest.fixture(scope="session")
def casebook(snapshot: Snapshot) -> Casebook:
    return Casebook(snapshot)


@pytest.fixture(scope="session")
def pairs(snapshot: Snapshot) -> pl.DataFrame:
    """Every shopper, the one without history last, with every coupon."""
    return pairs_of(snapshot, product([*SHOPPERS, NEW_SHOPPER], COUPONS))


@pytest.fixture(params=ALGORITHMS.values(), ids=list(ALGORITHMS))
def algorithm(request: pytest.FixtureRequest) -> type[Algorithm]:
    """Each algorithm in turn."""
    return request.param


@pytest.fixture(scope="session")
def taught(casebook: Casebook) -> Callable[[type[Algorithm]], Algorithm]:
    """An algorithm fitted on all that the generated shop knew at the start of its last campaign."""
    return cache(lambda algorithm: fit_as_of(algorithm, casebook, LAST_START, SEED).model)


@pytest.fixture(scope="session")
def described(history: History, pairs: pl.DataFrame) -> Callable[[type[Algorithm]], pl.DataFrame]:
    """The inputs of all pairs as an algorithm sees them."""
    of_inputs = cache(lambda inputs: inputs.prepare(history, pairs["coupon"]).describe(pairs))
    return lambda algorithm: of_inputs(algorithm.inputs)
