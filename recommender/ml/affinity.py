"""How drawn shoppers are to coupons, as matrices of shoppers × coupons.

A matrix holds one kind of purchases (:data:`~recommender.ml.purchases.FADED_TIMES` and the like), either of a coupon's
own products or of the categories (brands) that these are in.
"""

from collections.abc import Collection

import numpy as np
import polars as pl
from scipy import sparse

from recommender.ml import columns as c
from recommender.ml.history import History
from recommender.ml.purchases import purchases

#: Purchases that every product of a coupon is credited with, so that one that nobody bought still has a category.
UNSOLD = 0.1


class PurchaseMatrix:
    """Shoppers × products that were bought before a moment; of shoppers some rows at a time.

    Attributes:
        shoppers: the numbers of the m shoppers who bought anything, sorted.
        products: the numbers of the n products that anybody bought, sorted.
    """

    def __init__(self, history: History) -> None:
        bought = purchases(history)
        self.shoppers, self.products, self.sold = bought.shoppers, bought.products, bought.sold
        self._columns = np.zeros(int(self.products.max() or 0) + 1, dtype=np.int32)  # type: ignore[arg-type]
        self._columns[self.products.to_numpy()] = np.arange(len(self.products))

    def rows(self, bought: pl.DataFrame, shoppers: pl.Series, kinds: Collection[str]) -> dict[str, sparse.csr_matrix]:
        """(shoppers, n) by kind of purchases; the row of who bought nothing is empty.

        Args:
            bought: the purchases of these shoppers, from :class:`~recommender.ml.purchases.Purchases`.
        """
        buyers = bought[c.SHOPPER].to_numpy()
        ordered, place = np.unique(shoppers.to_numpy(), return_inverse=True)
        starts = np.append(buyers.searchsorted(ordered), len(buyers))
        shape = len(ordered), len(self.products)
        columns = self._columns[bought[c.PRODUCT].to_numpy()]
        rows = {}
        for kind in kinds:
            matrix = sparse.csr_matrix((bought[kind].to_numpy(), columns, starts), shape=shape, copy=True)
            matrix.eliminate_zeros()  # most of what was bought was bought without a coupon
            rows[kind] = matrix if (place[1:] > place[:-1]).all() else matrix[place]
        return rows

    def places_of(self, shoppers: pl.Series) -> np.ndarray:
        """The place of each shopper among :attr:`shoppers`, m of those who bought nothing."""
        places = self.shoppers.search_sorted(shoppers).to_numpy().astype(np.int64)
        return np.where(np.isin(shoppers.to_numpy(), self.shoppers.to_numpy()), places, len(self.shoppers))

    def membership(self, members: pl.DataFrame, sets: pl.Series, column: str) -> sparse.csr_matrix:
        """(n, sets): 1 where a product is in a set; ``sets`` is sorted, products that nobody bought are left out.

        Args:
            members: a row for each product of a set, the set in the named column.
        """
        known = members.filter(pl.col(c.PRODUCT).is_in(self.products.implode()))
        rows = self.products.search_sorted(known[c.PRODUCT]).to_numpy()
        columns = sets.search_sorted(known[column]).to_numpy()
        return sparse.csr_matrix((np.ones(len(known)), (rows, columns)), shape=(len(self.products), len(sets)))


class GroupShares:
    """The groups (categories, brands) that coupons' products are in.

    A coupon's groups weigh by the share of its products' sales that each has, so that one stray product does not make
    a coffee coupon a tea coupon.

    Args:
        matrix: what was bought.
        members: columns ``coupon`` and ``product``.
        groups: columns ``product`` and ``category``, at most one a product.
        coupons: sorted, k of them.

    Attributes:
        shares: (g, k): by column the weights of a coupon's groups, which add up to 1, or to 0 without any group.
    """

    def __init__(self, matrix: PurchaseMatrix, members: pl.DataFrame, groups: pl.DataFrame, coupons: pl.Series) -> None:
        self._numbers = groups[c.CATEGORY].unique().sort()
        sold = pl.DataFrame({c.PRODUCT: matrix.products, "sold": matrix.sold()})
        weights = (
            members.join(groups, on=c.PRODUCT, maintain_order="left")
            .join(sold, on=c.PRODUCT, how="left", maintain_order="left")
            .group_by(c.COUPON, c.CATEGORY, maintain_order=True)
            .agg((pl.col("sold").fill_null(0.0) + UNSOLD).sum().alias("weight"))
            .with_columns(pl.col("weight") / pl.col("weight").sum().over(c.COUPON))
        )
        self.shares = sparse.csr_matrix(
            (
                weights["weight"].to_numpy(),
                (
                    self._numbers.search_sorted(weights[c.CATEGORY]).to_numpy(),
                    coupons.search_sorted(weights[c.COUPON]).to_numpy(),
                ),
            ),
            shape=(len(self._numbers), len(coupons)),
        )
        self._of_product = matrix.membership(groups, self._numbers, c.CATEGORY)

    def by_group(self, bought: sparse.csr_matrix) -> sparse.csr_matrix:
        """(rows, g): purchases of each group.

        Args:
            bought: (rows, n), from :meth:`PurchaseMatrix.rows`.
        """
        return bought @ self._of_product

    def of_shoppers(self, bought: sparse.csr_matrix) -> np.ndarray:
        """(rows, k): purchases of a coupon's groups, averaged by their shares.

        Args:
            bought: (rows, n), from :meth:`PurchaseMatrix.rows`.
        """
        return (self.by_group(bought) @ self.shares).toarray()

    def of_the_shop(self, values: np.ndarray) -> np.ndarray:
        """(g,): the sums of (n,) values of products by group."""
        return np.asarray(values @ self._of_product).ravel()

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """(k,): (g,) values of groups, averaged over each coupon's groups."""
        return np.asarray(values @ self.shares).ravel()
