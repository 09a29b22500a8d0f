"""User-based and item-based collaborative filtering.

Both start from the matrix of shoppers × products whose cells are log(1 + times bought, faded by age), find for each row
(shopper) or column (product) the K most alike by cosine or by Pearson's correlation, and carry what is known of the
neighbours over to coupons through the products that these are for. Pearson's correlation is the cosine of the cells
less the mean of their shopper's (or product's) cells over what was bought, as usual for sparse ratings (Herlocker et
al. 1999).

Sources: Resnick et al. 1994 (user-based), Sarwar et al. 2001 and Deshpande & Karypis 2004 (item-based).
"""

from abc import abstractmethod
from typing import Any, ClassVar, Literal, Self

import numpy as np
import polars as pl
from joblib import cpu_count
from scipy import sparse
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import normalize
from sparse_dot_topn import sp_matmul_topn

from recommender.ml import columns as c
from recommender.ml.algorithms.base import Algorithm, DescribedHistory, Inputs, Reason
from recommender.ml.algorithms.calibration import LogisticScale
from recommender.ml.catalogue import coupon_products
from recommender.ml.history import History
from recommender.ml.product_sets import BUYERS, BUYERS_SHARE, SET, ProductSets
from recommender.ml.purchases import FADED_TIMES, purchases

Similarity = Literal["cosine", "pearson"]
SIMILARITIES: tuple[Similarity, ...] = ("cosine", "pearson")
NEIGHBOURS = 50
#: A product that fewer bought is like another by accident.
FEWEST_BUYERS = 3
#: The part of a score that is left to popularity whatever the examples say of it, so that it still orders the coupons
#: of shoppers of whom neighbours know nothing.
TIE_BREAKER = 0.001
#: What a mean of logarithms may be off by.
ROUNDING = 1e-9
_COLUMNS = (*SIMILARITIES, BUYERS, BUYERS_SHARE)


def top_neighbours(
    ratings: sparse.csr_matrix, others: sparse.csr_matrix, similarity: Similarity, k: int
) -> sparse.csr_matrix:
    """The k rows of ``others`` most like each row of ``ratings``.

    Args:
        ratings: (n, f), positive cells are ratings, empty ones unknown.
        others: (m, f).
        similarity: ``cosine``, or ``pearson`` with each row's mean taken over its known cells.
        k: neighbours a row, the row itself included where it is among the others.

    Returns:
        (n, m), at most k positive cells a row: the similarities, in (0, 1].
    """
    if similarity == "pearson":
        ratings, others = _less_row_mean(ratings), _less_row_mean(others)
    return sp_matmul_topn(
        normalize(ratings), normalize(others).T.tocsr(), top_n=k, threshold=0.0, sort=True, n_threads=cpu_count()
    )


def _less_row_mean(ratings: sparse.csr_matrix) -> sparse.csr_matrix:
    counts = np.diff(ratings.indptr)
    means = np.asarray(ratings.sum(axis=1)).ravel() / np.maximum(counts, 1)
    centred = ratings.copy()
    centred.data = centred.data - np.repeat(means, counts)
    centred.data[np.abs(centred.data) < ROUNDING] = 0.0  # equal cells have no direction, whatever their mean rounds to
    return centred


class _Ratings:
    """Shoppers × products bought, and products × coupons, with the numbers of their rows and columns."""

    def __init__(self, history: History, coupons: pl.Series) -> None:
        bought = purchases(history).select(c.SHOPPER, c.PRODUCT, FADED_TIMES)
        common = bought.group_by(c.PRODUCT).len().filter(pl.col("len") >= FEWEST_BUYERS)
        bought = bought.join(common, on=c.PRODUCT, how="semi", maintain_order="left")
        self.shoppers = bought[c.SHOPPER].unique().sort()
        self.products = bought[c.PRODUCT].unique().sort()
        self.coupons = coupons.unique().sort()
        self.matrix = sparse.csr_matrix(
            (
                np.log1p(bought[FADED_TIMES].to_numpy()),
                (
                    self.shoppers.search_sorted(bought[c.SHOPPER]).to_numpy(),
                    self.products.search_sorted(bought[c.PRODUCT]).to_numpy(),
                ),
            ),
            shape=(len(self.shoppers), len(self.products)),
        )
        targeted = coupon_products(history, self.coupons).join(common, on=c.PRODUCT, how="semi")
        self.targets = sparse.csr_matrix(
            (
                np.ones(len(targeted)),
                (
                    self.products.search_sorted(targeted[c.PRODUCT]).to_numpy(),
                    self.coupons.search_sorted(targeted[c.COUPON]).to_numpy(),
                ),
            ),
            shape=(len(self.products), len(self.coupons)),
        )

    def rows_of(self, shoppers: pl.Series) -> np.ndarray:
        """Row of each shopper; -1 for one who bought nothing."""
        rows = self.shoppers.search_sorted(shoppers).to_numpy().astype(np.int64)
        known = np.isin(shoppers.to_numpy(), self.shoppers.to_numpy())
        return np.where(known, rows, -1)


class _DescribedNeighbours(DescribedHistory):
    def __init__(self, history: History, coupons: pl.Series) -> None:
        self._ratings = _Ratings(history, coupons)
        sets = ProductSets(history, coupon_products(history, coupons).rename({c.COUPON: SET}))
        self._popularity = sets.popularity.select(SET, BUYERS, BUYERS_SHARE)
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Do the work that all shoppers share."""

    @abstractmethod
    def _scores(self, rows: np.ndarray, similarity: Similarity) -> np.ndarray:
        """(len(rows), coupons): what the neighbours say, for rows of the ratings."""

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        shoppers = pairs[c.SHOPPER].unique().sort()
        rows = self._ratings.rows_of(shoppers)
        pair_rows = shoppers.search_sorted(pairs[c.SHOPPER]).to_numpy()
        pair_columns = self._ratings.coupons.search_sorted(pairs[c.COUPON]).to_numpy()
        frame = pairs.select(pl.col(c.COUPON).alias(SET)).join(
            self._popularity, on=SET, how="left", maintain_order="left"
        )
        scores = {}
        for similarity in SIMILARITIES:
            table = np.zeros((len(shoppers), len(self._ratings.coupons)))
            if (rows >= 0).any():
                table[rows >= 0] = self._scores(rows[rows >= 0], similarity)
            scores[similarity] = table[pair_rows, pair_columns]
        return frame.with_columns(pl.Series(name, values) for name, values in scores.items()).select(
            pl.col(column).fill_null(0.0).cast(pl.Float32) for column in _COLUMNS
        )


class _SimilarShoppers(_DescribedNeighbours):
    def _prepare(self) -> None:
        self._bought_for = (self._ratings.matrix @ self._ratings.targets).tocsr()  # shoppers × coupons

    def _scores(self, rows: np.ndarray, similarity: Similarity) -> np.ndarray:
        # One neighbour more, since each shopper finds themself first; who bought it themself is no news of others.
        neighbours = top_neighbours(self._ratings.matrix[rows], self._ratings.matrix, similarity, NEIGHBOURS + 1)
        neighbours = neighbours.tocoo()
        others = neighbours.col != rows[neighbours.row]
        neighbours = sparse.csr_matrix(
            (neighbours.data[others], (neighbours.row[others], neighbours.col[others])), shape=neighbours.shape
        )
        return (normalize(neighbours, norm="l1") @ self._bought_for).toarray()


class _SimilarProducts(_DescribedNeighbours):
    def _prepare(self) -> None:
        by_product = self._ratings.matrix.T.tocsr()
        targeted = np.flatnonzero(np.diff(self._ratings.targets.indptr))
        self._relevance = {}
        for similarity in SIMILARITIES:
            if not len(targeted):  # nobody bought anything that these coupons are for
                self._relevance[similarity] = sparse.csr_matrix(self._ratings.targets.shape)
                continue
            alike = top_neighbours(by_product[targeted], by_product, similarity, NEIGHBOURS)  # targeted × products
            # products × coupons: how much buying a product speaks for what a coupon is for
            self._relevance[similarity] = (alike.T @ self._ratings.targets[targeted]).tocsr()

    def _scores(self, rows: np.ndarray, similarity: Similarity) -> np.ndarray:
        return (self._ratings.matrix[rows] @ self._relevance[similarity]).toarray()


class SimilarShoppers(Inputs):
    """What the :data:`NEIGHBOURS` shoppers who buy most alike bought of what a coupon is for."""

    name: ClassVar[str] = "similar shoppers"
    columns: ClassVar[tuple[str, ...]] = _COLUMNS

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _SimilarShoppers(history, coupons)


class SimilarProducts(Inputs):
    """How alike what a shopper bought is to what a coupon is for, over the :data:`NEIGHBOURS` nearest products."""

    name: ClassVar[str] = "similar products"
    columns: ClassVar[tuple[str, ...]] = _COLUMNS

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _SimilarProducts(history, coupons)


class _CollaborativeFiltering(Algorithm):
    """The similarity that ranks the latest campaigns better, and popularity for those of whom nothing is known."""

    reason: ClassVar[str]

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        self.similarity_: Similarity = "cosine"
        if labels.any():
            self.similarity_ = max(
                SIMILARITIES, key=lambda similarity: average_precision_score(labels, examples[similarity].to_numpy())
            )
        self.scale_ = LogisticScale().fit(self._columns(examples), labels)
        return self

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        popularity = inputs[BUYERS_SHARE].to_numpy().astype(np.float64)
        return self.scale_.probability(self._columns(inputs)) * (1 - TIE_BREAKER * (1 - popularity))

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        heeded = self.scale_.kept_[0]  # unless examples spoke against the similarity
        return [
            [{"kind": self.reason}] if heeded and score > 0 else [{"kind": "popular", "shoppers": int(buyers)}]
            for score, buyers in zip(inputs[self.similarity_], inputs[BUYERS], strict=True)
        ]

    def parameters(self) -> dict[str, Any]:
        return {"similarity": self.similarity_, "neighbours": NEIGHBOURS}

    def _columns(self, inputs: pl.DataFrame) -> np.ndarray:
        # In hundredths, so that the logarithm that follows tells little from nothing.
        return 100 * inputs.select(self.similarity_, BUYERS_SHARE).to_numpy()


class UserBasedFiltering(_CollaborativeFiltering):
    name: ClassVar[str] = "user_based_cf"
    inputs: ClassVar[Inputs] = SimilarShoppers()
    reason: ClassVar[str] = "similar_shoppers"


class ItemBasedFiltering(_CollaborativeFiltering):
    name: ClassVar[str] = "item_based_cf"
    inputs: ClassVar[Inputs] = SimilarProducts()
    reason: ClassVar[str] = "similar_products"
