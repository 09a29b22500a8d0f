"""A made-up shop of any size whose behaviour is known, for measurements.

Shoppers mix a few of :data:`TASTES`; a taste is a liking for some categories. Each shopper has a repertoire of
products, drawn by taste and by how popular products are, and buys of it again and again, the first of it most. How much
is bought follows a power law among shoppers, what is bought one among products. A coupon is used the likelier the more
of its products a shopper bought lately, the higher its discount, and the more the shopper uses coupons at all.

Shoppers are made in blocks, each from its own seed, so that memory does not grow with the shop and a block is the same
whichever others there are.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from scipy import sparse
from scipy.special import expit

from recommender.models import CATEGORY_SEPARATOR
from recommender.presets.made_up import identifiers

TASTES = 40
DEPARTMENTS = 12
CATEGORIES = 240
BRANDS = 300
REPERTOIRE = 25  # products that a shopper buys of
LINES_AN_ORDER = 5
DAYS = 400  # of history
#: Coupons of each past campaign; they are offers that are live again, so that earlier uses tell something.
PAST_COUPONS = 40
PAST_CAMPAIGNS = 6
PAST_DAYS = 28  # that a past campaign lasts
PAST_EVERY = 35  # days from the start of one to the start of the next
TREATED_SHARE, MOST_TREATED = 0.25, 1_000  # of the shoppers, and how many at most, are sent a past campaign
MOST_PRODUCTS_A_COUPON = 30
#: Log-odds of a use: of anybody, for twice the purchases, for ten percent more off.
BASE_LOG_ODDS, OF_PURCHASES, OF_DISCOUNT = -7.5, 2.5, 0.5

LIVE_CAMPAIGN = "live"


@dataclass(frozen=True)
class SyntheticShop:
    """What is made.

    Attributes:
        shoppers: how many there are.
        until: the moment at which history ends and the live campaign begins.
        lines: order lines a shopper, on the mean.
        coupons: of the live campaign.
        products: on sale.
        block_shoppers: are made at once.
        seed: everything follows from it.
    """

    shoppers: int
    until: datetime
    lines: int = 50
    coupons: int = 500
    products: int = 20_000
    block_shoppers: int = 25_000
    seed: int = 0

    def write_catalogue(self, folder: Path) -> None:
        """Write an export of all that is not a shopper's: products, coupons and campaigns."""
        catalogue = self._catalogue()
        numbers = np.arange(self.products)
        live = np.arange(self.coupons)
        tables = {
            "products": pl.DataFrame(
                {
                    "product_id": identifiers("P", numbers),
                    "name": [f"Product {number}" for number in numbers],
                    "category": [_category_path(number) for number in catalogue.category],
                    "brand": [f"Brand {number}" for number in catalogue.brand],
                    "price": catalogue.price.round(2),
                }
            ),
            "coupons": pl.DataFrame(
                {
                    "coupon_id": identifiers("C", live),
                    "offer_id": identifiers("O", live),
                    "title": [f"Coupon {number}" for number in live],
                    "discount_type": "percent",
                    "discount_value": catalogue.discount,
                    "per_shopper_limit": 1,
                }
            ),
            "coupon_products": pl.DataFrame(
                {
                    "coupon_id": identifiers("C", catalogue.members.tocoo().col),
                    "product_id": identifiers("P", catalogue.members.tocoo().row),
                }
            ),
            "campaigns": pl.DataFrame(
                {
                    "campaign_id": [LIVE_CAMPAIGN, *(_past_name(number) for number in range(PAST_CAMPAIGNS))],
                    "kind": "synthetic",
                    "starts_at": [self.until, *(self._past_window(number)[0] for number in range(PAST_CAMPAIGNS))],
                    "ends_at": [
                        self.until + timedelta(days=PAST_DAYS),
                        *(self._past_window(number)[1] for number in range(PAST_CAMPAIGNS)),
                    ],
                }
            ),
            "campaign_coupons": pl.DataFrame(
                {
                    "campaign_id": [LIVE_CAMPAIGN] * self.coupons
                    + [
                        _past_name(number) for number in range(PAST_CAMPAIGNS) for _coupon in self._past_coupons(number)
                    ],
                    "coupon_id": [
                        *identifiers("C", live),
                        *(
                            name
                            for number in range(PAST_CAMPAIGNS)
                            for name in identifiers("C", self._past_coupons(number))
                        ),
                    ],
                }
            ),
        }
        for name, frame in tables.items():
            frame.write_parquet(folder / f"{name}.parquet")

    @property
    def blocks(self) -> int:
        """In how many blocks shoppers are made."""
        return -(-self.shoppers // self.block_shoppers)

    def write_block(self, number: int, folder: Path) -> dict[str, int]:
        """Write an export of one block's shoppers and all that they did; return the rows of each table."""
        tables = self._tables_of_block(number)
        for name, frame in tables.items():
            frame.write_parquet(folder / f"{name}.parquet", compression="lz4", statistics=False)
        return {name: frame.height for name, frame in tables.items()}

    def _tables_of_block(self, number: int) -> dict[str, pl.DataFrame]:
        random = np.random.default_rng([self.seed, 1, number])
        catalogue = self._catalogue()
        first = number * self.block_shoppers
        count = min(self.block_shoppers, self.shoppers - first)
        shoppers = np.arange(first, first + count)
        repertoire = _draw_repertoires(random, catalogue, count)
        # Pareto with a finite variance, so that the largest block is not far from the mean one.
        activity = 1 + random.pareto(2.5, count)
        orders_of = np.maximum(1, random.poisson(activity * self.lines / LINES_AN_ORDER / (1 + 1 / 1.5)))
        shopper_of_order = np.repeat(np.arange(count), orders_of)
        seconds = np.sort(random.integers(0, DAYS * 86_400 - 3_600, len(shopper_of_order)).astype(np.int64))
        shopper_of_order = random.permutation(shopper_of_order)
        lines_of = np.maximum(1, random.poisson(LINES_AN_ORDER, len(shopper_of_order)))
        order_of_line = np.repeat(np.arange(len(shopper_of_order)), lines_of)
        shopper_of_line = shopper_of_order[order_of_line]
        place = np.minimum((REPERTOIRE + 1) ** random.random(len(order_of_line)) - 1, REPERTOIRE - 1).astype(np.int64)
        product = repertoire[shopper_of_line, place]
        begin = self.until - timedelta(days=DAYS)
        order_ids = [f"B{number}-{order}" for order in range(len(shopper_of_order))]
        shopper_ids = pl.Series(identifiers("S", shoppers))
        at = pl.lit(begin) + pl.duration(seconds=pl.lit(pl.Series(seconds)))
        orders = pl.select(
            pl.Series("order_id", order_ids),
            shopper_ids.gather(shopper_of_order).alias("shopper_id"),
            at.alias("ordered_at"),
        )
        quantity = 1 + random.poisson(0.2, len(product))
        lines = pl.DataFrame(
            {
                "order_id": orders["order_id"].gather(order_of_line),
                "product_id": pl.Series(identifiers("P", np.arange(self.products))).gather(product),
                "quantity": quantity,
                "amount": (quantity * catalogue.price[product]).round(2),
            }
        )
        sent, uses = self._campaigns_of_block(
            random,
            catalogue,
            pl.DataFrame({"shopper": shopper_of_line, "product": product, "at": seconds[order_of_line]}),
            shopper_ids,
        )
        return {
            "shoppers": pl.DataFrame({"shopper_id": shopper_ids}),
            "orders": orders,
            "order_lines": lines,
            "campaign_shoppers": sent,
            "redemptions": uses,
        }

    def _campaigns_of_block(
        self,
        random: np.random.Generator,
        catalogue: "_Catalogue",
        lines: pl.DataFrame,
        names: pl.Series,
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Who of a block was sent each past campaign, and what was used of it.

        Args:
            lines: what the block's shoppers bought: number in the block, product, and seconds since history began.
        """
        shopper, product, at = (lines[column].to_numpy() for column in ("shopper", "product", "at"))
        habit = random.normal(0, 1, len(names))
        share = min(TREATED_SHARE, MOST_TREATED / self.shoppers)
        sent, uses = [], []
        for number in range(PAST_CAMPAIGNS):
            starts_at, _ends_at = self._past_window(number)
            coupons = self._past_coupons(number)
            treated = np.flatnonzero(random.random(len(names)) < share)
            age = (starts_at - self.until + timedelta(days=DAYS)).total_seconds() - at
            known = np.isin(shopper, treated) & (age > 0)
            bought = sparse.csr_matrix(
                (0.5 ** (age[known] / (60 * 86_400)), (shopper[known], product[known])),
                shape=(len(names), self.products),
            )[treated]
            purchases = (bought @ catalogue.members[:, coupons]).toarray()
            log_odds = (
                BASE_LOG_ODDS
                + OF_PURCHASES * np.log2(1 + purchases)
                + OF_DISCOUNT * (catalogue.discount[coupons] - 20) / 10
                + habit[treated, None]
            )
            row, column = np.nonzero(random.random(log_odds.shape) < expit(log_odds))
            sent.append(
                pl.select(names.gather(treated).alias("shopper_id")).with_columns(
                    campaign_id=pl.lit(_past_name(number))
                )
            )
            used_at = pl.lit(starts_at) + pl.duration(
                seconds=pl.lit(pl.Series(random.integers(60, PAST_DAYS * 86_400 - 60, len(row))))
            )
            uses.append(
                pl.select(
                    names.gather(treated[row]).alias("shopper_id"),
                    pl.Series("coupon_id", identifiers("C", coupons[column]), dtype=pl.String),
                    used_at.alias("redeemed_at"),
                    pl.lit(_past_name(number)).alias("campaign_id"),
                )
            )
        return pl.concat(sent), pl.concat(uses)

    def _past_window(self, number: int) -> tuple[datetime, datetime]:
        starts_at = self.until - timedelta(days=PAST_EVERY * (PAST_CAMPAIGNS - number))
        return starts_at, starts_at + timedelta(days=PAST_DAYS)

    def _past_coupons(self, number: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, 2, number])
        return np.sort(random.choice(self.coupons, min(PAST_COUPONS, self.coupons), replace=False))

    def _catalogue(self) -> "_Catalogue":
        random = np.random.default_rng([self.seed, 0])
        category = random.integers(0, CATEGORIES, self.products)
        popularity = (1 + np.arange(self.products)) ** -0.8
        tastes = random.dirichlet(np.full(CATEGORIES, 0.05), TASTES)
        by_taste = (0.02 / CATEGORIES + 0.98 * tastes)[:, category] * popularity
        brand = random.integers(0, BRANDS, self.products)
        leading = random.choice(self.products, self.coupons, replace=False, p=popularity / popularity.sum())
        rows, columns = [], []
        for coupon, product in enumerate(leading):
            alike = np.flatnonzero(category == category[product])
            size = 1 + int(MOST_PRODUCTS_A_COUPON * random.random() ** 3)
            members = np.union1d([product], random.choice(alike, min(size, len(alike)), replace=False))
            rows.append(members)
            columns.append(np.full(len(members), coupon))
        products, coupons = np.concatenate(rows), np.concatenate(columns)
        return _Catalogue(
            category=category,
            brand=brand,
            price=random.lognormal(1.2, 0.6, self.products),
            chances=np.cumsum(by_taste, axis=1) / by_taste.sum(axis=1, keepdims=True),
            discount=random.choice([10.0, 15.0, 20.0, 25.0, 30.0], self.coupons),
            members=sparse.csr_matrix((np.ones(len(products)), (products, coupons)), (self.products, self.coupons)),
        )


@dataclass(frozen=True)
class _Catalogue:
    """``category``, ``brand`` and ``price`` by product, ``chances`` (tastes, products) added up, ``discount`` by
    coupon, and ``members`` (products, coupons)."""

    category: np.ndarray
    brand: np.ndarray
    price: np.ndarray
    chances: np.ndarray
    discount: np.ndarray
    members: sparse.csr_matrix


def _draw_repertoires(random: np.random.Generator, catalogue: _Catalogue, count: int) -> np.ndarray:
    """(count, REPERTOIRE): the products that each shopper buys of."""
    mixture = np.cumsum(random.dirichlet(np.full(TASTES, 0.1), count), axis=1)
    taste = (random.random((count, REPERTOIRE, 1)) > mixture[:, None, :]).sum(axis=2).clip(0, TASTES - 1)
    drawn = random.random((count, REPERTOIRE))
    products = np.empty((count, REPERTOIRE), dtype=np.int64)
    for number in range(TASTES):
        of_taste = taste == number
        products[of_taste] = np.searchsorted(catalogue.chances[number], drawn[of_taste])
    return products.clip(0, catalogue.chances.shape[1] - 1)


def _past_name(number: int) -> str:
    return f"past-{number}"


def _category_path(number: int) -> str:
    return CATEGORY_SEPARATOR.join((f"Department {number % DEPARTMENTS}", f"Category {number}"))
