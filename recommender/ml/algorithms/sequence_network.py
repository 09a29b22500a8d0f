"""The neural algorithm: what a network that read a shopper's baskets foretells of what a coupon is for.

Its library is optional (requirements-neural.txt). This module is imported without it; only describing pairs needs it.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars as pl
from scipy import sparse

from recommender.ml import columns as c
from recommender.ml.algorithms.basket_sequences import HALF_LIVES, TOKEN, days_of_history, pace
from recommender.ml.algorithms.calibration import PRIOR_USE_RATE, LogisticScale
from recommender.ml.behaviour import HORIZON
from recommender.ml.catalogue import coupon_products
from recommender.ml.contract import Algorithm, DescribedHistory, Inputs, Reason
from recommender.ml.history import History, Snapshot
from recommender.ml.product_sets import BUYERS, BUYERS_SHARE, SET, sets_of_coupons
from recommender.ml.purchases import FADED_TIMES, RECENT_TIMES, purchases
from recommender.ml.shopper_profile import CAMPAIGN_USE_RATE, NEW_SHOPPER, shopper_profiles

if TYPE_CHECKING:
    from recommender.ml.algorithms.rate_network import RateNetwork

REPEAT_RATE = "repeat_rate"
DISCOVERY_RATE = "discovery_rate"
COUPON_USE = "coupon_use_in_the_horizon"
#: A network serves the moments of so long: tastes change slowly, and fitting it is what costs.
REFITTED_EVERY = timedelta(days=56)
_COLUMNS = (REPEAT_RATE, DISCOVERY_RATE, COUPON_USE, CAMPAIGN_USE_RATE, BUYERS)
_WEIGHED = ("probability_to_buy", REPEAT_RATE, COUPON_USE, CAMPAIGN_USE_RATE)


class NeuralRequirementsMissing(ImportError):
    """PyTorch is not installed. The message names the file of requirements."""

    def __init__(self) -> None:
        super().__init__(
            f"The algorithm {BasketSequenceNetwork.name} needs PyTorch: "
            "run make neural, or pip install -r requirements-neural.txt."
        )


def neural_requirements_installed() -> bool:
    """Whether PyTorch can be imported; it is not imported to find out."""
    return find_spec("torch") is not None


def rate_network(history: History) -> "RateNetwork | None":
    """The network fitted as of the last multiple of :data:`REFITTED_EVERY` at or before the moment, counted from 1970.

    None where too little was known by then to learn from.

    Raises:
        NeuralRequirementsMissing: PyTorch is not installed.
    """
    if not neural_requirements_installed():
        raise NeuralRequirementsMissing
    since = datetime(1970, 1, 1, tzinfo=UTC)
    return _fit_rate_network(history.snapshot, since + (history.moment - since) // REFITTED_EVERY * REFITTED_EVERY)


@lru_cache(maxsize=32)
def _fit_rate_network(snapshot: Snapshot, moment: datetime) -> "RateNetwork | None":
    from recommender.ml.algorithms.rate_network import RateNetwork

    return RateNetwork().fit(snapshot.before(moment))


class ForetoldPurchases(Inputs):
    """How many purchases of what a coupon is for the network foretells, and how likely a coupon is used at all.

    ``repeat_rate`` and ``discovery_rate`` are expected purchases within the horizon of what the shopper bought before
    and of anything else; ``coupon_use_in_the_horizon`` is a probability. Before a network can be fitted the discovery
    rate is the share of shoppers who bought of it, and the others are 0.
    """

    name: ClassVar[str] = "foretold purchases"
    columns: ClassVar[tuple[str, ...]] = _COLUMNS

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _ForetoldPurchases(history, coupons)


class _ForetoldPurchases(DescribedHistory):
    def __init__(self, history: History, coupons: pl.Series) -> None:
        self._history = history
        self._network = rate_network(history)
        self._coupons = coupons.unique().sort()
        targets = coupon_products(history, self._coupons)
        self._popularity = sets_of_coupons(history, self._coupons).popularity
        self._profiles = shopper_profiles(history).select(c.SHOPPER, CAMPAIGN_USE_RATE)
        if self._network is None:
            return
        tokens = self._network.tokens
        self._shares = tokens.shares(history, targets, self._coupons)
        of_products = tokens.of_products(history, targets[c.PRODUCT])
        self._products = of_products[c.PRODUCT]
        days = days_of_history(history)
        paces = np.array([pace(half_life, days) for half_life in HALF_LIVES])
        self._repeatability = paces * self._network.repeatability[of_products[TOKEN].to_numpy()]
        self._targets = sparse.csr_matrix(
            (
                np.ones(len(targets)),
                (self._products.search_sorted(targets[c.PRODUCT]), self._coupons.search_sorted(targets[c.COUPON])),
            ),
            shape=(len(self._products), len(self._coupons)),
        )

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        known = (
            pairs.select(c.SHOPPER, pl.col(c.COUPON).alias(SET))
            .join(self._popularity, on=SET, how="left", maintain_order="left")
            .join(self._profiles, on=c.SHOPPER, how="left", maintain_order="left")
            .with_columns(
                pl.col(BUYERS, BUYERS_SHARE).fill_null(0.0),
                pl.col(CAMPAIGN_USE_RATE).fill_null(NEW_SHOPPER[CAMPAIGN_USE_RATE]),
            )
        )
        if self._network is None:
            foretold = {REPEAT_RATE: pl.lit(0.0), DISCOVERY_RATE: pl.col(BUYERS_SHARE), COUPON_USE: pl.lit(0.0)}
        else:
            foretold = self._foretell(self._network, pairs)
        return known.with_columns(**foretold).select(pl.col(column).cast(pl.Float32) for column in _COLUMNS)

    def _foretell(self, network: "RateNetwork", pairs: pl.DataFrame) -> dict[str, Any]:
        shoppers = pairs[c.SHOPPER].unique().sort()
        rates = network.foretell(self._history, shoppers)
        discovery = (self._shares.T @ rates.discovery.T).T
        repeating = (self._own_purchases(shoppers) @ self._targets).toarray() * rates.repeating[:, None]
        of_shopper = shoppers.search_sorted(pairs[c.SHOPPER]).to_numpy()
        of_coupon = self._coupons.search_sorted(pairs[c.COUPON]).to_numpy()
        return {
            REPEAT_RATE: pl.Series(repeating[of_shopper, of_coupon]),
            DISCOVERY_RATE: pl.Series(discovery[of_shopper, of_coupon]),
            COUPON_USE: pl.Series(rates.coupon_use[of_shopper]),
        }

    def _own_purchases(self, shoppers: pl.Series) -> sparse.csr_matrix:
        """(shoppers, products): Σ_k w_k · E_k, with the products' own purchases even where the network pools them."""
        bought = (
            purchases(self._history)
            .of(shoppers)
            .join(self._products.to_frame(c.PRODUCT), on=c.PRODUCT, how="semi", maintain_order="left")
        )
        columns = self._products.search_sorted(bought[c.PRODUCT]).to_numpy()
        faded = bought.select(FADED_TIMES, RECENT_TIMES).to_numpy()
        return sparse.csr_matrix(
            (
                (faded * self._repeatability[columns]).sum(axis=1),
                (shoppers.search_sorted(bought[c.SHOPPER]).to_numpy(), columns),
            ),
            shape=(len(shoppers), len(self._products)),
        )


class BasketSequenceNetwork(Algorithm):
    """A logistic scale from the network's rates and the shopper's coupon habit to probabilities of use."""

    name: ClassVar[str] = "basket_sequence_network"
    inputs: ClassVar[Inputs] = ForetoldPurchases()

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        foretold = (examples[COUPON_USE] > 0).to_numpy()  # campaigns before there was a network teach nothing of it
        columns, labels = _scaled(examples)[foretold], labels[foretold]
        self.informed_ = bool(labels.any() and not labels.all())
        if self.informed_:
            self.scale_ = LogisticScale().fit(columns, labels)
        return self

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        if not self.informed_:  # no campaign has taught anything yet: who is likely to buy it is the best guess
            return PRIOR_USE_RATE * _probability_to_buy(inputs)
        return self.scale_.probability(_scaled(inputs))

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        heeded = not self.informed_ or self.scale_.kept_[:2].any()  # unless examples spoke against the rates
        return [
            [{"kind": "likely_to_buy", "probability": round(float(probability), 4), "days": HORIZON.days}]
            if heeded and probability > 0
            else [{"kind": "popular", "shoppers": int(buyers)}]
            for probability, buyers in zip(_probability_to_buy(inputs), inputs[BUYERS], strict=True)
        ]

    def parameters(self) -> dict[str, Any]:
        if not self.informed_:
            return {}
        return {"heeded": [column for column, kept in zip(_WEIGHED, self.scale_.kept_, strict=True) if kept]}


def _scaled(inputs: pl.DataFrame) -> np.ndarray:
    """(n, columns): what the logistic scale weighs, so large that the logarithm of 1 + x tells little from nothing."""
    return np.column_stack(
        [1000 * _probability_to_buy(inputs), 100 * inputs.select(REPEAT_RATE, COUPON_USE, CAMPAIGN_USE_RATE).to_numpy()]
    )


def _probability_to_buy(inputs: pl.DataFrame) -> np.ndarray:
    """Of at least one purchase, for purchases that come by at the foretold rates."""
    probability: np.ndarray = -np.expm1(-inputs.select(REPEAT_RATE, DISCOVERY_RATE).to_numpy().sum(axis=1, dtype=float))
    return probability
