"""What purchases say of products that a shopper never bought.

Two views of the same purchases, each turned into an affinity of shoppers to coupons: how near a shopper's taste is to
what a coupon is for, and how much the parts of the shop that a shopper buys from speak for the coupon's parts.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import cholesky, lapack
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

#: Directions in which tastes differ. Half and twice as many tell about as much on the sample's validation campaigns.
DIRECTIONS = 16
#: The affinity of a shopper (to a coupon) of whom (of which) nothing is known.
NOT_KNOWN = 1.0
#: A product (category) that fewer bought (from) says nothing of those who did.
FEWEST_BUYERS = 3
#: Products and categories that are learned from, at most: those that most shoppers bought (from). What associations
#: cost grows with the third power of the categories.
MOST_PRODUCTS, MOST_CATEGORIES = 50_000, 1_000
#: Of how many shoppers' purchases both views are learned, at most; all shoppers are seen by them.
MOST_TAUGHT_BY = 20_000
#: Of these, how many are written out at once.
ROWS_AT_ONCE = 4_096
#: The penalty on associations, in squared logarithms of purchases summed over shoppers.
PENALTY = 100.0


def taught_by(shoppers: int) -> np.ndarray:
    """Rows of the shoppers to learn from: all, or :data:`MOST_TAUGHT_BY` of them, spread evenly."""
    if shoppers <= MOST_TAUGHT_BY:
        return np.arange(shoppers)
    return np.linspace(0, shoppers - 1, MOST_TAUGHT_BY).round().astype(np.int64)


def _most_bought(bought: sparse.csr_matrix, most: int) -> np.ndarray:
    """Columns, in order: those that most shoppers bought, and no fewer than :data:`FEWEST_BUYERS`."""
    buyers = bought.getnnz(axis=0)
    known = np.flatnonzero(buyers >= FEWEST_BUYERS)
    return np.sort(known[np.argsort(-buyers[known], kind="stable")[:most]])


class LatentTastes:
    """How near shoppers' tastes are to coupons, in the few directions in which purchases differ most.

    Latent semantic analysis (Deerwester et al. 1990) with a shopper for a document and a product for a word: the
    logarithms of purchases, weighed by how few bought the product, at unit length, in their leading singular
    directions. A coupon's place is the sum of its products' places, weighed by the square root of their sales.

    Args:
        bought: (m, n), purchases of the shoppers to learn from.
        sold: (n,), purchases of each product by everybody.
        members: (n, k), 1 where a product is a coupon's.
        seed: of the random projection (Halko, Martinsson and Tropp 2011).
    """

    def __init__(
        self, bought: sparse.csr_matrix, sold: np.ndarray, members: sparse.csr_matrix, *, seed: int = 0
    ) -> None:
        self._known = _most_bought(bought, MOST_PRODUCTS)
        self._coupons = np.zeros((0, members.shape[1]))
        directions = min(DIRECTIONS, bought.shape[0] - 1, len(self._known) - 1)
        if directions < 1:
            return
        learned = bought[:, self._known]
        self._rarity = np.log((1 + bought.shape[0]) / (1 + learned.getnnz(axis=0)))
        self._directions = TruncatedSVD(directions, n_iter=7, random_state=seed).fit(self._weighed(learned))
        weights = self._rarity * np.sqrt(sold[self._known])
        self._coupons = normalize(self._directions.components_ @ sparse.diags(weights) @ members[self._known], axis=0)

    def _weighed(self, bought: sparse.csr_matrix) -> sparse.csr_matrix:
        return normalize(bought.log1p() @ sparse.diags(self._rarity))

    def of_shoppers(self, bought: sparse.csr_matrix) -> np.ndarray:
        """(rows, k): 1 + the projection of a shopper's purchases on each coupon's direction, in [0, 2]; 1 where nothing
        is known.

        Args:
            bought: (rows, n).
        """
        if not len(self._coupons):
            return np.full((bought.shape[0], self._coupons.shape[1]), NOT_KNOWN)
        tastes = self._directions.transform(self._weighed(bought[:, self._known]))
        return np.clip(NOT_KNOWN + tastes @ self._coupons, 0.0, 2.0)


class Associations:
    """How much purchases from some categories speak for purchases from others.

    The logarithm of purchases from each category is predicted from those from all others by one penalised linear
    regression in closed form (EASE; Steck 2019).

    Args:
        bought: (m, g), purchases by category of the shoppers to learn from.
        shares: (g, k), the weights of each coupon's categories, which add up to 1.
    """

    def __init__(self, bought: sparse.csr_matrix, shares: sparse.csr_matrix) -> None:
        self._known = _most_bought(bought, MOST_CATEGORIES)
        asked = shares[self._known].toarray()
        self._weights = np.zeros(asked.shape)
        if len(self._known):
            logarithms = bought[:, self._known].log1p()
            gram = PENALTY * np.eye(len(self._known))
            for start in range(0, logarithms.shape[0], ROWS_AT_ONCE):
                dense = logarithms[start : start + ROWS_AT_ONCE].toarray()
                gram += dense.T @ dense
            # With P the inverse of the Gram matrix, category i speaks for another one j by -P_ij / P_jj, and for itself
            # not at all.
            factor = cholesky(gram, lower=True, overwrite_a=True, check_finite=False)
            of_inverse, _ = lapack.dtrtri(factor, lower=1)
            diagonal = np.square(of_inverse).sum(axis=0)
            self._weights = asked - of_inverse.T @ (of_inverse @ (asked / diagonal[:, None]))

    def of_shoppers(self, bought: sparse.csr_matrix) -> np.ndarray:
        """(rows, k): 1 + the logarithm of purchases that the shopper's other categories speak for, averaged over each
        coupon's categories; from 0 up, and 1 where nothing is known.

        Args:
            bought: (rows, g).
        """
        return np.clip(NOT_KNOWN + bought[:, self._known].log1p() @ self._weights, 0.0, None)
