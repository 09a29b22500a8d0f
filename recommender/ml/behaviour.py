"""The design's behaviour model P(u, c): how likely shopper u buys of c within the next four weeks.

c is any set of products: a product, a category, or all that a coupon is for. One logistic regression serves them all,
since what it looks at (how often, how lately, how popular) means the same for each. It is fitted on the four weeks
before the moment, as they looked from their beginning, and so gives probabilities of the four weeks that follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from recommender.ml import columns as c
from recommender.ml.catalogue import category_depth, product_categories
from recommender.ml.history import History, Snapshot
from recommender.ml.product_sets import (
    BUYERS_SHARE,
    OWN_PRODUCTS,
    RECENT_BUYERS_SHARE,
    SET,
    ProductSets,
)
from recommender.ml.purchases import DAYS_SINCE_LAST, FADED_TIMES, RECENT_TIMES, TIMES, passing_purchases
from recommender.ml.shopper_profile import (
    DAYS_SINCE_LAST_ORDER,
    FREQUENCY,
    NEW_SHOPPER,
    RECENT_FREQUENCY,
    shoppers_orders,
)

HORIZON = timedelta(days=28)
#: (shopper, set) pairs that it is fitted on; more change the third decimal of nothing.
MOST_EXAMPLES = 75_000
#: Single products among the sets that it is fitted on; as many of its sets are categories.
MOST_PRODUCTS = 400

_OF_THE_SET = [
    TIMES,
    FADED_TIMES,
    RECENT_TIMES,
    DAYS_SINCE_LAST,
    OWN_PRODUCTS,
    BUYERS_SHARE,
    RECENT_BUYERS_SHARE,
]
_OF_THE_SHOPPER = [FREQUENCY, RECENT_FREQUENCY, DAYS_SINCE_LAST_ORDER]


@dataclass(frozen=True)
class BehaviourExamples:
    """n pairs of ``shopper`` and ``set`` as a history looked a horizon ago, and whether anything was bought since."""

    pairs: pl.DataFrame
    inputs: pl.DataFrame
    bought: np.ndarray


def describe_behaviour(described: pl.DataFrame, profiles: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """What the model looks at, for pairs of ``shopper`` and ``set`` that :meth:`ProductSets.describe` described.

    Args:
        profiles: of the shoppers who bought; at least the columns that the model looks at.
    """
    shoppers = (
        pairs.select(c.SHOPPER)
        .join(profiles.select(c.SHOPPER, *_OF_THE_SHOPPER), on=c.SHOPPER, how="left", maintain_order="left")
        .select(pl.col(column).fill_null(NEW_SHOPPER[column]) for column in _OF_THE_SHOPPER)
    )
    return pl.concat([described.select(_OF_THE_SET), shoppers], how="horizontal")


def behaviour_examples(history: History, seed: int) -> BehaviourExamples | None:
    """Pairs of shoppers and sets as of a horizon before the history's moment, and whether the horizon saw a purchase.

    Shoppers and sets are drawn from those that had been bought by then. None where nobody had.
    """
    then = history.snapshot.before(history.moment - HORIZON)
    bought_then = passing_purchases(then)
    if bought_then.shoppers.is_empty():
        return None
    generator = np.random.default_rng(seed)
    categories = product_categories(then, category_depth(then)).join(
        bought_then.products.to_frame(), on=c.PRODUCT, how="semi"
    )
    by_buyers = bought_then.products.gather(np.argsort(-bought_then.buyers, kind="stable"))
    products = by_buyers.head(MOST_PRODUCTS).sort()
    first_free = categories.select(pl.col(c.CATEGORY).max().fill_null(0)).item() + 1
    members = pl.concat(
        [
            categories.select(pl.col(c.CATEGORY).alias(SET), c.PRODUCT),
            pl.DataFrame(
                {SET: np.arange(first_free, first_free + len(products), dtype=np.uint32), c.PRODUCT: products}
            ),
        ]
    )
    shoppers = bought_then.shoppers
    set_names = members[SET].unique().sort()
    cells = len(shoppers) * len(set_names)
    drawn = np.sort(generator.choice(cells, size=min(cells, MOST_EXAMPLES), replace=False))
    pairs = pl.DataFrame(
        {c.SHOPPER: shoppers.gather(drawn // len(set_names)), SET: set_names.gather(drawn % len(set_names))}
    )
    since = (
        history.scan("order_lines")
        .filter(pl.col(c.ORDERED_AT) >= then.moment)
        .select(c.SHOPPER, c.PRODUCT)
        .unique()
        .join(members.lazy(), on=c.PRODUCT)
        .select(c.SHOPPER, SET)
        .unique()
        .with_columns(pl.lit(True).alias(c.LABEL))
    )
    outcome = pairs.lazy().join(since, on=[c.SHOPPER, SET], how="left", maintain_order="left").collect()
    return BehaviourExamples(
        pairs=pairs,
        inputs=describe_behaviour(
            ProductSets(then, members).describe(pairs),
            shoppers_orders(then),
            pairs,
        ),
        bought=outcome[c.LABEL].fill_null(False).to_numpy(),
    )


def behaviour_tables(tables: Mapping[str, np.ndarray], profiles: pl.DataFrame, shoppers: pl.Series) -> np.ndarray:
    """As :func:`describe_behaviour` of a grid, the sets of one shopper after the other: (pairs, inputs), by columns.

    Args:
        tables: (shoppers, sets) by name, of :meth:`ProductSets.tables`.
        profiles: of the shoppers who bought.
    """
    of_shoppers = (
        shoppers.to_frame(c.SHOPPER)
        .join(profiles.select(c.SHOPPER, *_OF_THE_SHOPPER), on=c.SHOPPER, how="left", maintain_order="left")
        .select(pl.col(column).fill_null(NEW_SHOPPER[column]) for column in _OF_THE_SHOPPER)
    )
    sets = tables[TIMES].shape[1]
    described = np.empty((len(shoppers) * sets, len(_OF_THE_SET) + len(_OF_THE_SHOPPER)), dtype=np.float32, order="F")
    for place, name in enumerate(_OF_THE_SET):
        described[:, place] = tables[name].ravel()
    for place, name in enumerate(_OF_THE_SHOPPER, len(_OF_THE_SET)):
        described[:, place] = np.repeat(of_shoppers[name].to_numpy(), sets)
    return described.astype(np.float64)


class BehaviourModel:
    """P(u, c), calibrated, for the horizon after the moment of the history that it was fitted on."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, history: History) -> "BehaviourModel":
        """Learn from the horizon before the history's moment. With nothing to learn from, P is 0 for everything."""
        examples = behaviour_examples(history, self.seed)
        self.model_: Pipeline | None = None
        if examples is not None and 0 < examples.bought.sum() < len(examples.bought):
            self.model_ = make_pipeline(
                FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression(C=1.0, solver="newton-cholesky")
            )
            self.model_.fit(_matrix(examples.inputs), examples.bought)
        return self

    def probability(self, inputs: pl.DataFrame | np.ndarray) -> np.ndarray:
        """n probabilities, for the n rows of :func:`describe_behaviour` or :func:`behaviour_tables`."""
        if self.model_ is None or not len(inputs):
            return np.zeros(len(inputs))
        return self.model_.predict_proba(inputs if isinstance(inputs, np.ndarray) else _matrix(inputs))[:, 1]


def behaviour_model(history: History) -> BehaviourModel:
    """The model fitted as of the last multiple of the horizon at or before the moment, counted from 1970.

    How often means likely changes slowly: one fit serves all moments of four weeks.
    """
    since = datetime(1970, 1, 1, tzinfo=UTC)
    return _fit_behaviour_model(history.snapshot, since + (history.moment - since) // HORIZON * HORIZON)


@lru_cache(maxsize=32)
def _fit_behaviour_model(snapshot: Snapshot, moment: datetime) -> BehaviourModel:
    return BehaviourModel().fit(snapshot.before(moment))


def _matrix(inputs: pl.DataFrame) -> np.ndarray:
    # Sums over groups add up in any order: single precision drops the digits in which one time differs from the next.
    return inputs.cast(pl.Float32).to_numpy().astype(np.float64)
