"""User-based and item-based collaborative filtering.

Both start from the matrix of shoppers × products whose cells are log(1 + times bought, faded by age), find for each row
(shopper) or column (product) the K most alike (``neighbour_search``), and carry what is known of the neighbours over to
coupons through the products that these are for. Pearson's correlation is the cosine of the cells less the mean of their
shopper's (or product's) cells over what was bought, as usual for sparse ratings (Herlocker et al. 1999).

What neighbours say is weighed against what the shopper bought of the coupon's products themself, which says more about
coupons than anybody else's purchases, and against popularity, for those of whom neither knows anything.

Sources: Resnick et al. 1994 (user-based), Sarwar et al. 2001 and Deshpande & Karypis 2004 (item-based), Breese et al.
1998 (similarities raised to a power).
"""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from scipy import sparse
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import normalize

from recommender.ml import columns as c
from recommender.ml.algorithms.calibration import LogisticScale
from recommender.ml.algorithms.neighbour_search import SIMILARITIES, NeighbourSearch, top_neighbours
from recommender.ml.catalogue import coupon_products
from recommender.ml.contract import Algorithm, DescribedHistory, Inputs, Reason
from recommender.ml.history import History
from recommender.ml.product_sets import BUYERS, BUYERS_SHARE, SET, sets_of_coupons
from recommender.ml.purchases import DAYS_SINCE_LAST, FADED_TIMES, TIMES, all_purchases

NEIGHBOURS = 50
#: A product that fewer bought is like another by accident.
FEWEST_BUYERS = 3
#: The power that products' similarities are raised to, so that many hardly alike ones do not outvote a few alike ones.
AMPLIFICATION = 2
#: Cosine between products, with the cells of a shopper weighed by how few bought the product. How alike two products
#: are is the same with and without these weights.
TF_IDF = "tf_idf"
#: The part of a score that is left to popularity whatever the examples say of it, so that it still orders the coupons
#: of shoppers of whom neighbours know nothing.
TIE_BREAKER = 0.001
_OWN_AND_POPULARITY = (TIMES, FADED_TIMES, DAYS_SINCE_LAST, BUYERS, BUYERS_SHARE)


class _Ratings:
    """Shoppers × products bought, and products × coupons, with the numbers of their rows and columns."""

    def __init__(self, history: History, coupons: pl.Series) -> None:
        bought = all_purchases(history).select(c.SHOPPER, c.PRODUCT, FADED_TIMES)
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

    def weighed_by_rarity(self) -> sparse.csr_matrix:
        """The cells times log(shoppers / buyers of the product): the usual tf-idf, a shopper for a document."""
        buyers = self.matrix.getnnz(axis=0)
        return (self.matrix @ sparse.diags(np.log(len(self.shoppers) / np.maximum(buyers, 1)))).tocsr()


class _DescribedNeighbours(DescribedHistory):
    def __init__(self, history: History, coupons: pl.Series, verdicts: tuple[str, ...]) -> None:
        self._verdicts = verdicts
        self._ratings = _Ratings(history, coupons)
        self._sets = sets_of_coupons(history, coupons)
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Do the work that all shoppers share."""

    @abstractmethod
    def _scores(self, rows: np.ndarray, verdict: str) -> np.ndarray:
        """(len(rows), coupons): what the neighbours say, for rows of the ratings."""

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        shoppers = pairs[c.SHOPPER].unique().sort()
        rows = self._ratings.rows_of(shoppers)
        pair_rows = shoppers.search_sorted(pairs[c.SHOPPER]).to_numpy()
        pair_columns = self._ratings.coupons.search_sorted(pairs[c.COUPON]).to_numpy()
        frame = self._sets.describe(pairs.select(c.SHOPPER, pl.col(c.COUPON).alias(SET)))
        scores = {}
        for verdict in self._verdicts:
            table = np.zeros((len(shoppers), len(self._ratings.coupons)))
            if (rows >= 0).any():
                table[rows >= 0] = self._scores(rows[rows >= 0], verdict)
            scores[verdict] = table[pair_rows, pair_columns]
        return frame.with_columns(pl.Series(name, values) for name, values in scores.items()).select(
            pl.col(column).cast(pl.Float32) for column in (*self._verdicts, *_OWN_AND_POPULARITY)
        )


class _SimilarShoppers(_DescribedNeighbours):
    def _prepare(self) -> None:
        # log(1 + times bought of all that the coupon is for), so that breadth alone is not taken for liking
        self._bought_for = (self._ratings.matrix.expm1() @ self._ratings.targets).log1p().tocsr()  # shoppers × coupons
        self._searches: dict[str, NeighbourSearch] = {
            similarity: NeighbourSearch(self._ratings.matrix, similarity)
            for similarity in SIMILARITIES
            if len(self._ratings.shoppers)
        }

    def _scores(self, rows: np.ndarray, verdict: str) -> np.ndarray:
        # One neighbour more, since each shopper finds themself first; who bought it themself is no news of others.
        neighbours = self._searches[verdict].neighbours(rows, NEIGHBOURS + 1).tocoo()
        others = neighbours.col != rows[neighbours.row]
        neighbours = sparse.csr_matrix(
            (neighbours.data[others], (neighbours.row[others], neighbours.col[others])), shape=neighbours.shape
        )
        return (normalize(neighbours, norm="l1") @ self._bought_for).toarray()


class _SimilarProducts(_DescribedNeighbours):
    def _prepare(self) -> None:
        targets = self._ratings.targets
        targeted = np.flatnonzero(np.diff(targets.indptr))
        # Between the sum over what a coupon is for, which takes breadth for liking, and the mean, which takes it for
        # indifference.
        breadth = sparse.diags(1 / np.sqrt(np.maximum(targets.getnnz(axis=0), 1)))
        by_product = self._ratings.matrix.T.tocsr()
        self._cells: dict[str, sparse.csr_matrix] = {
            **dict.fromkeys(SIMILARITIES, self._ratings.matrix),
            TF_IDF: self._ratings.weighed_by_rarity(),
        }
        self._relevance: dict[str, sparse.csr_matrix] = {}
        for similarity in SIMILARITIES:
            if not len(targeted):  # nobody bought anything that these coupons are for
                self._relevance[similarity] = sparse.csr_matrix(targets.shape)
                continue
            alike = top_neighbours(by_product[targeted], by_product, similarity, NEIGHBOURS)  # targeted × products
            # A mean, since similarities grow with the length of the history, which is no reason to buy.
            weights = normalize(alike.power(AMPLIFICATION), norm="l1")
            # products × coupons: how much buying a product speaks for what a coupon is for
            self._relevance[similarity] = (weights.T @ targets[targeted] @ breadth).tocsr()
        self._relevance[TF_IDF] = self._relevance["cosine"]

    def _scores(self, rows: np.ndarray, verdict: str) -> np.ndarray:
        return (self._cells[verdict][rows] @ self._relevance[verdict]).toarray()


class SimilarShoppers(Inputs):
    """What the :data:`NEIGHBOURS` shoppers who buy most alike bought of what a coupon is for, and what the shopper and
    everybody did."""

    name: ClassVar[str] = "similar shoppers"
    verdicts: ClassVar[tuple[str, ...]] = SIMILARITIES
    columns: ClassVar[tuple[str, ...]] = (*verdicts, *_OWN_AND_POPULARITY)

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _SimilarShoppers(history, coupons, self.verdicts)


class SimilarProducts(Inputs):
    """How alike what a shopper bought is to what a coupon is for, over the :data:`NEIGHBOURS` nearest products, and how
    much of that the shopper and everybody bought."""

    name: ClassVar[str] = "similar products"
    verdicts: ClassVar[tuple[str, ...]] = (*SIMILARITIES, TF_IDF)
    columns: ClassVar[tuple[str, ...]] = (*verdicts, *_OWN_AND_POPULARITY)

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _SimilarProducts(history, coupons, self.verdicts)


class _CollaborativeFiltering(Algorithm):
    """What neighbours say by the similarity that ranks past campaigns best, weighed with own purchases and popularity
    by a logistic regression on past campaigns whose weights are not below zero."""

    inputs: ClassVar[SimilarShoppers | SimilarProducts]
    reason: ClassVar[str]

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        self.similarity_ = self.inputs.verdicts[0]
        if labels.any():
            self.similarity_ = max(
                self.inputs.verdicts,
                key=lambda similarity: average_precision_score(labels, self._verdict(examples, similarity)),
            )
        self.scale_ = LogisticScale().fit(self._columns(examples), labels)
        return self

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        popularity = inputs[BUYERS_SHARE].to_numpy().astype(np.float64)
        return self.scale_.probability(self._columns(inputs)) * (1 - TIE_BREAKER * (1 - popularity))

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        """What the score would lose without the neighbours' verdict, and without own purchases, the larger loss first;
        popularity where it would lose by neither."""
        losses = [self._loss_without(column, inputs) for column in (self.similarity_, FADED_TIMES)]
        explained = []
        for neighbours, own, times, days, buyers in zip(
            *losses, inputs[TIMES], inputs[DAYS_SINCE_LAST], inputs[BUYERS], strict=True
        ):
            reasons: list[tuple[float, Reason]] = [
                (neighbours, {"kind": self.reason}),
                (own, {"kind": "bought_products", "times": int(times), "days_since_last": round(days, 1)}),
            ]
            said = [reason for loss, reason in sorted(reasons, key=lambda each: -each[0]) if loss > 0]
            explained.append(said or [{"kind": "popular", "shoppers": int(buyers)}])
        return explained

    def parameters(self) -> dict[str, Any]:
        """The similarity chosen, and the columns that the examples did not speak against."""
        names = ("neighbours", "own purchases", "popularity")
        return {
            "similarity": self.similarity_,
            "neighbours": NEIGHBOURS,
            "weighs": [name for name, kept in zip(names, self.scale_.kept_, strict=True) if kept],
        }

    @abstractmethod
    def _verdict(self, inputs: pl.DataFrame, similarity: str) -> np.ndarray:
        """n numbers: what the neighbours by this similarity say, the shopper or product itself being one of them."""

    def _loss_without(self, column: str, inputs: pl.DataFrame) -> np.ndarray:
        without = inputs.with_columns(pl.lit(0, dtype=pl.Float32).alias(column))
        return self.scale_.probability(self._columns(inputs)) - self.scale_.probability(self._columns(without))

    def _columns(self, inputs: pl.DataFrame) -> np.ndarray:
        columns = (self._verdict(inputs, self.similarity_), inputs[FADED_TIMES], inputs[BUYERS_SHARE])
        # In hundredths, so that the logarithm that follows tells little from nothing.
        return 100 * np.column_stack(columns).astype(np.float64)


class UserBasedFiltering(_CollaborativeFiltering):
    name: ClassVar[str] = "user_based_cf"
    inputs: ClassVar[SimilarShoppers] = SimilarShoppers()
    reason: ClassVar[str] = "similar_shoppers"

    def _verdict(self, inputs: pl.DataFrame, similarity: str) -> np.ndarray:
        # Nobody is more like the shopper than the shopper, who counts as much as all neighbours together.
        return inputs[similarity].to_numpy() + np.log1p(inputs[FADED_TIMES].to_numpy())


class ItemBasedFiltering(_CollaborativeFiltering):
    name: ClassVar[str] = "item_based_cf"
    inputs: ClassVar[SimilarProducts] = SimilarProducts()
    reason: ClassVar[str] = "similar_products"

    def parameters(self) -> dict[str, Any]:
        return super().parameters() | {"amplification": AMPLIFICATION}

    def _verdict(self, inputs: pl.DataFrame, similarity: str) -> np.ndarray:
        return inputs[similarity].to_numpy()
