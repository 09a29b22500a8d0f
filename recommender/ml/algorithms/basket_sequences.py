"""Baskets as a sequence network reads them: tokens, sequences in time, and moments to learn from."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

import numpy as np
import polars as pl
from scipy import sparse

from recommender.ml import columns as c
from recommender.ml.behaviour import HORIZON
from recommender.ml.catalogue import category_depth, product_categories
from recommender.ml.history import TIME, History
from recommender.ml.purchases import HALF_LIFE, SHORT_HALF_LIFE

#: Of a product that fewer bought, nothing can be learned but what its category says.
FEWEST_BUYERS = 3
#: Products that are tokens of their own: the most bought ones. What the network costs grows with them.
MOST_PRODUCTS = 6_000
HORIZON_DAYS = HORIZON / timedelta(days=1)
#: A moment teaches once it was followed by this much.
FEWEST_DAYS_AFTER = 7.0
MOST_MOMENTS = 10_000
MOST_MOMENTS_A_SHOPPER = 32
HALF_LIVES = (HALF_LIFE, SHORT_HALF_LIFE)
#: Days since the previous basket (as a logarithm), whether there was none, how much was in it, which part of it was
#: reduced, and whether a coupon was used.
BASKET_FACTS = 5

TOKEN = "token"  # noqa: S105
_LINES = "lines"
_TIME = "time"
_DAY_0 = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Tokens:
    """What the network tells apart: the products that many bought, and the rest pooled by category.

    Numbered from 0: ``products``, then the pools of ``categories`` (at ``depth`` of the tree), then one for all that
    has no category. ``lines`` has a row for each product bought, with its ``token`` and how often it was bought.
    """

    products: pl.Series
    categories: pl.Series
    depth: int
    lines: pl.DataFrame

    @classmethod
    def of(cls, history: History) -> Self:
        bought = (
            history.scan("order_lines")
            .group_by(c.PRODUCT)
            .agg(pl.len().alias(_LINES), pl.col(c.SHOPPER).n_unique().alias("buyers"))
            .collect()
        )
        common = bought.filter(pl.col("buyers") >= FEWEST_BUYERS).sort(_LINES, c.PRODUCT, descending=[True, False])
        depth = category_depth(history)
        categories = product_categories(history, depth).join(bought, on=c.PRODUCT, how="semi")[c.CATEGORY]
        tokens = cls(common.head(MOST_PRODUCTS)[c.PRODUCT].sort(), categories.unique().sort(), depth, pl.DataFrame())
        lines = tokens.of_products(history, bought[c.PRODUCT]).join(bought.drop("buyers"), on=c.PRODUCT).sort(c.PRODUCT)
        return cls(tokens.products, tokens.categories, depth, lines)

    def __len__(self) -> int:
        return len(self.products) + len(self.categories) + 1

    def of_products(self, history: History, products: pl.Series) -> pl.DataFrame:
        """Columns ``product`` and ``token``, sorted, a row for each of these products, bought or not."""
        pools = pl.DataFrame({c.CATEGORY: self.categories}).with_row_index("pool", offset=len(self.products))
        return (
            products.unique()
            .sort()
            .to_frame(c.PRODUCT)
            .lazy()
            .join(
                pl.LazyFrame({c.PRODUCT: self.products}).with_row_index("own"),
                on=c.PRODUCT,
                how="left",
                maintain_order="left",
            )
            .join(product_categories(history, self.depth).lazy(), on=c.PRODUCT, how="left", maintain_order="left")
            .join(pools.lazy(), on=c.CATEGORY, how="left", maintain_order="left")
            .select(c.PRODUCT, pl.coalesce("own", "pool", len(self) - 1).cast(pl.Int64).alias(TOKEN))
            .collect()
        )

    def shares(self, history: History, targets: pl.DataFrame, coupons: pl.Series) -> sparse.csr_matrix:
        """(tokens, coupons): which share of a token's purchases is of the products that a coupon is for.

        Products bought by nobody yet count as if bought once.

        Args:
            targets: ``coupon`` and ``product``, none twice.
            coupons: sorted, without doubles.
        """
        of_products = self.of_products(history, targets[c.PRODUCT])
        aimed = targets.join(of_products, on=c.PRODUCT, maintain_order="left").join(
            self.lines.select(c.PRODUCT, _LINES), on=c.PRODUCT, how="left", maintain_order="left"
        )
        place = (aimed[TOKEN].to_numpy(), coupons.search_sorted(aimed[c.COUPON]).to_numpy())
        sold = aimed[_LINES].fill_null(0).to_numpy().astype(np.float64)
        shape = (len(self), len(coupons))
        of_coupon = sparse.csr_matrix((np.maximum(sold, 1), place), shape=shape).tocoo()
        unsold = sparse.csr_matrix((sold == 0, place), shape=shape, dtype=np.float64)
        of_all = np.bincount(self.lines[TOKEN], weights=self.lines[_LINES], minlength=len(self))
        known = of_all[of_coupon.row] + np.asarray(unsold[of_coupon.row, of_coupon.col]).ravel()
        return sparse.csr_matrix((of_coupon.data / known, (of_coupon.row, of_coupon.col)), shape=shape)


def days_of_history(history: History) -> float:
    """Days from the shop's first order to the moment; 0 without any."""
    first: datetime | None = history.scan("order_lines").select(pl.col(c.ORDERED_AT).min()).collect().item()
    return 0.0 if first is None else (history.moment - first) / timedelta(days=1)


def pace(half_life: float, days: np.ndarray | float) -> np.ndarray | float:
    """What makes of a faded number of purchases, the shop's history being so many days long, those of a horizon.

    One purchase a day, faded for ever, adds up to half-life / ln 2. So far it is less by what lies before the history,
    of which a half-life is taken to have been without purchases, so that one purchase in a short history is no habit.
    """
    seen = 1.0 - 2.0 ** (-days / half_life - 1.0)
    return HORIZON_DAYS * np.log(2) / half_life / seen


def expand(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers of many ranges, one range after the other."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


class BasketSequences:
    """The baskets of some shoppers, in time; times are days, of which the shop's history has ``days``.

    ``shoppers`` are those of the asked who bought anything, sorted; a shopper's row is the place there, and the baskets
    of a row are ``first_baskets[row]`` to ``first_baskets[row + 1]``, the last one excluded.
    """

    def __init__(self, history: History, tokens: Tokens, shoppers: pl.Series) -> None:
        self.tokens = tokens
        self.now = (history.moment - _DAY_0) / timedelta(days=1)
        self.days = days_of_history(history)
        lines = history.scan("order_lines").join(
            shoppers.unique().to_frame(c.SHOPPER).lazy(), on=c.SHOPPER, how="semi", maintain_order="left"
        )
        products = lines.select(c.PRODUCT).unique().collect()[c.PRODUCT]
        since = (pl.col(c.ORDERED_AT) - pl.lit(_DAY_0).cast(TIME)).dt.total_microseconds()
        baskets = (
            lines.join(tokens.of_products(history, products).lazy(), on=c.PRODUCT, maintain_order="left")
            .group_by(c.SHOPPER, c.ORDER)
            .agg(
                (since.min() / 86_400e6).alias(_TIME),
                pl.col(TOKEN).unique().sort(),
                pl.len().alias(_LINES),
                (pl.col(c.DISCOUNT) > 0).mean().alias(c.DISCOUNT),
                ((pl.col(c.COUPON_DISCOUNT) > 0) | pl.col(c.COUPON).is_not_null()).any().alias(c.COUPON),
            )
            .sort(c.SHOPPER, _TIME, c.ORDER)
            .collect()
        )
        self.shoppers = baskets[c.SHOPPER].unique().sort()
        rows = self.shoppers.search_sorted(baskets[c.SHOPPER]).to_numpy()
        self.first_baskets = np.searchsorted(rows, np.arange(len(self.shoppers) + 1))
        self.times = baskets[_TIME].to_numpy()
        self.used_coupon = baskets[c.COUPON].fill_null(False).to_numpy()
        self._sizes = baskets[TOKEN].list.len().to_numpy().astype(np.int64)
        self._first_tokens = np.cumsum(self._sizes) - self._sizes
        self._tokens = baskets[TOKEN].explode().to_numpy()
        opening = np.zeros(len(baskets), dtype=bool)
        opening[self.first_baskets[:-1]] = True
        gaps = np.where(opening, 0.0, np.diff(self.times, prepend=0.0))
        self._facts = np.column_stack(
            [
                np.log1p(gaps),
                opening,
                np.log1p(baskets[_LINES].to_numpy()),
                baskets[c.DISCOUNT].fill_null(0.0).to_numpy(),
                self.used_coupon,
            ]
        ).astype(np.float32)

    def baskets_before(self, rows: np.ndarray, times: np.ndarray) -> np.ndarray:
        """For each row the number after that of its last basket strictly before a time."""
        starts, ends = self.first_baskets[rows], self.first_baskets[rows + 1]
        return np.array(
            [
                start + np.searchsorted(self.times[start:end], time)
                for start, end, time in zip(starts, ends, times, strict=True)
            ],
            dtype=np.int64,
        )

    def padded(self, starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """n ranges of baskets, padded with empty ones at the end to the longest, T baskets.

        Returns:
            The tokens of all baskets one after the other; where each of the n × T baskets begins among them; and
            (n, T, :data:`BASKET_FACTS`).
        """
        lengths = ends - starts
        longest = max(1, int(lengths.max(initial=0)))
        there = np.arange(longest) < lengths[:, None]
        numbers = (starts[:, None] + np.arange(longest))[there]
        sizes = np.zeros(there.shape, dtype=np.int64)
        sizes[there] = self._sizes[numbers]
        facts = np.zeros((*there.shape, BASKET_FACTS), dtype=np.float32)
        facts[there] = self._facts[numbers]
        tokens = self._tokens[expand(self._first_tokens[numbers], self._sizes[numbers])]
        return tokens, np.cumsum(sizes.ravel()) - sizes.ravel(), facts

    def token_sums(self, starts: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> sparse.csr_matrix:
        """(n, tokens): over each of n ranges of baskets, the sum of the weights of those that hold the token.

        Args:
            weights: one for each basket of each range, one range after the other.
        """
        baskets = expand(starts, ends - starts)
        sizes = self._sizes[baskets]
        ranges = np.repeat(np.repeat(np.arange(len(starts)), ends - starts), sizes)
        tokens = self._tokens[expand(self._first_tokens[baskets], sizes)]
        sums = sparse.csr_matrix((np.repeat(weights, sizes), (ranges, tokens)), shape=(len(starts), len(self.tokens)))
        sums.sum_duplicates()
        sums.sort_indices()
        return sums


@dataclass(frozen=True)
class TeachingMoments:
    """n moments of the past of shoppers, as many of each, one shopper after the other.

    ``rows`` are those of the shoppers; ``ends`` the basket after the last one before the moment; ``elapsed`` days since
    that last one; ``exposure`` which part of the horizon after the moment is known, in (0, 1]; ``own`` (n, tokens), for
    each of :data:`HALF_LIVES`, the purchases before it, faded, at their :func:`pace`; ``bought`` (n, tokens) in how
    many baskets of the known part of the horizon; ``used_coupon`` whether in any of these.
    """

    a_shopper: int
    rows: np.ndarray
    ends: np.ndarray
    elapsed: np.ndarray
    exposure: np.ndarray
    own: tuple[sparse.csr_matrix, ...]
    bought: sparse.csr_matrix
    used_coupon: np.ndarray

    @classmethod
    def drawn(cls, sequences: BasketSequences, generator: np.random.Generator) -> Self | None:
        """Moments drawn between each shopper's first purchase and the last that teaches; None where there are none."""
        firsts = sequences.times[sequences.first_baskets[:-1]]
        last = sequences.now - FEWEST_DAYS_AFTER
        teaching = np.flatnonzero(firsts < last)[:MOST_MOMENTS]
        if not len(teaching):
            return None
        each = min(MOST_MOMENTS // len(teaching), MOST_MOMENTS_A_SHOPPER)
        rows = np.repeat(teaching, each)
        moments = last - generator.random(len(rows)) * (last - firsts[rows])  # in (first, last]: never without a past
        starts = sequences.first_baskets[rows]
        ends = sequences.baskets_before(rows, moments)
        horizons = sequences.baskets_before(rows, moments + HORIZON_DAYS)
        ages = np.repeat(moments, ends - starts) - sequences.times[expand(starts, ends - starts)]
        days = np.repeat(moments - sequences.now + sequences.days, ends - starts)
        after = sequences.token_sums(ends, horizons, np.ones((horizons - ends).sum()))
        uses = np.concatenate([[0], np.cumsum(sequences.used_coupon)])
        return cls(
            a_shopper=each,
            rows=rows,
            ends=ends,
            elapsed=moments - sequences.times[ends - 1],
            exposure=np.minimum(HORIZON_DAYS, sequences.now - moments) / HORIZON_DAYS,
            own=tuple(
                sequences.token_sums(starts, ends, pace(half_life, days) * 2.0 ** (-ages / half_life))
                for half_life in HALF_LIVES
            ),
            bought=after,
            used_coupon=uses[horizons] > uses[ends],
        )
