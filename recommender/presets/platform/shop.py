"""A made-up marketplace whose truth is known. ``docs/presets/platform.md`` tells its story.

Many sellers, each in a few categories; few of them sell most. Shoppers buy seldom: what a household needs, what its
members like besides, and whose things they like must be told from a handful of orders and from what others bought.
Whether a coupon is used follows from the pace at which a shopper would buy of what it is for while the campaign runs.

Shoppers are drawn some at a time, each of them from the seed and the number of these, so that what is held besides the
tables does not grow with them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import poisson

from recommender.models import CATEGORY_SEPARATOR
from recommender.presets.made_up import LIVE_CAMPAIGN, MadeUpShop, identifiers, truth_of
from recommender.progress import Progress

WEEKS = 52  # of history
#: A past campaign starts every so many weeks and lasts as long; the live one begins where history ends.
CAMPAIGN_WEEKS = 4
PAST_CAMPAIGNS = 6
TREATED_SHARE = 0.5
#: Drawn at once. Another number makes another shop.
SHOPPERS_AT_ONCE = 20_000

DEPARTMENTS: Mapping[str, tuple[str, ...]] = {
    "Electronics": ("Phones", "Headphones", "Cameras", "Chargers"),
    "Fashion": ("Shoes", "Jackets", "Bags", "Watches"),
    "Beauty": ("Skincare", "Make-up", "Hair care"),
    "Family": ("Nappies", "Toys", "School things"),
    "Home": ("Kitchenware", "Bedding", "Lamps", "Tools"),
    "Food": ("Snacks", "Coffee", "Tea"),
    "Sport": ("Running", "Cycling", "Camping"),
    "Pets": ("Dogs", "Cats"),
}
SELLERS = 60
#: A seller sells in so many categories of one department, at most, with so many products in each.
CATEGORIES_OF_A_SELLER, PRODUCTS_OF_A_SELLER = 3, 3
#: The r-th seller in size draws as many shoppers as the first by r to the power of minus this.
LONG_TAIL = 0.8
HOUSEHOLDS = ("Student", "Single", "Couple", "Young family", "Family", "Retired")
#: Of how many shoppers the shop knows the household.
KNOWN_HOUSEHOLDS = 0.7
#: The spreads of how much categories are wanted: by all, by a kind of household, by each shopper.
WANTED_BY_ALL, WANTED_BY_HOUSEHOLD, WANTED_BY_SHOPPER = 0.2, 1.6, 0.6
#: Sellers and shoppers have a style of so many sides; and how much a match of them draws.
STYLES, STYLE = 2, 0.9
#: Orders a week without a coupon of a middling shopper, the spread between shoppers, and the least and most in all.
PACE, PACE_SPREAD, FEWEST, MOST = 0.12, 0.3, 3, 12
#: Products of an order: the share of orders with one, two and three.
BASKETS = (0.6, 0.3, 0.1)
#: How many times their pace shoppers turn to what a coupon is for, at 20 percent off, and the spread between them; by
#: how much more with each ten percent more off.
WITH_COUPON, HABIT, OF_DISCOUNT = 1.8, 0.3, 0.5
#: Who pays for the coupons of sellers: every third is paid by half by the shop.
SHARED_EVERY, SELLERS_SHARE = 3, 50
#: A seller's coupons take off 15 percent or more, the shop's, which are for whole categories, 10 or more.
DISCOUNTS_OF_SELLERS, DISCOUNTS_OF_SHOP = (15.0, 20.0, 25.0, 30.0), (10.0, 15.0, 20.0)

CATEGORIES = tuple((department, name) for department, names in DEPARTMENTS.items() for name in names)
COUPONS = len(CATEGORIES) + SELLERS
#: The weeks in which the past campaigns began.
PAST_STARTS = tuple(WEEKS - CAMPAIGN_WEEKS * number for number in range(PAST_CAMPAIGNS, 0, -1))


class PlatformShop(MadeUpShop):
    """A marketplace of which it is known what shoppers want, and of whom."""

    weeks = WEEKS

    def tables(self, progress: Progress = Progress()) -> dict[str, pl.DataFrame]:
        return self._catalogue.tables(self) | _History(self, self._catalogue, progress).tables()

    def true_probabilities(self) -> pl.DataFrame:
        """See :meth:`MadeUpShop.true_probabilities`; ``may_have`` is true of all."""
        return truth_of(
            np.concatenate([shoppers.chances(self._catalogue) for _first, shoppers, _random in self.parts()])
        )

    def best_given_history(self, draws: int = 60_000) -> pl.DataFrame:
        """How likely each shopper uses each coupon for all that the history tells: as :meth:`true_probabilities`.

        It knows how the shop works and all of its catalogue, and of shoppers what the tables tell: the mean over
        shoppers that might be, each weighed by how likely this one's history is theirs (importance sampling from the
        prior). On the mean no ranker that is given the history puts coupons in a better order, but for what chance does
        to so many draws.
        """
        history = _History(self, self._catalogue, Progress())
        random = np.random.default_rng([self.seed, 2])
        possible = _Shoppers.draw(random, draws, self._catalogue)
        chances, told = possible.chances(self._catalogue), possible.tell(self._catalogue)
        expected = np.empty((self.shoppers, COUPONS))
        for some in np.array_split(np.arange(self.shoppers), -(-self.shoppers // 100)):
            counts, orders, households = history.count(some)
            likely = counts @ told + _likely_orders(possible.pace)[orders]
            likely[(households[:, None] >= 0) & (households[:, None] != possible.household)] = -np.inf
            weight = np.exp(likely - likely.max(axis=1, keepdims=True))
            expected[some] = weight @ chances / weight.sum(axis=1, keepdims=True)
        return truth_of(expected)

    @cached_property
    def _catalogue(self) -> "_Catalogue":
        return _Catalogue.draw(np.random.default_rng([self.seed, 0]))

    def parts(self) -> "Iterator[tuple[int, _Shoppers, np.random.Generator]]":
        """Some shoppers at a time: the number of the first, who they are, and what their history is drawn with."""
        for part, first in enumerate(range(0, self.shoppers, SHOPPERS_AT_ONCE)):
            random = np.random.default_rng([self.seed, 1, part])
            count = min(SHOPPERS_AT_ONCE, self.shoppers - first)
            yield first, _Shoppers.draw(random, count, self._catalogue), random


def write_export(
    *, folder: Path, shift_to: date | None, shoppers: int, seed: int, progress: Progress
) -> Mapping[str, int]:
    """Write the export; see :meth:`recommender.presets.Preset.write_export`."""
    rows = PlatformShop.ending_with(shift_to, shoppers=shoppers, seed=seed).write(folder, progress)
    return {"sellers": rows["sellers"], "coupons used in past campaigns": rows["redemptions"]}


@dataclass(frozen=True)
class _Catalogue:
    """Who sells what, what is wanted, and a coupon for each category, which the shop pays, and one for each seller.

    Attributes:
        sells: (sellers, categories) bool.
        size: (sellers,) log of how many shoppers a seller draws.
        style: (sellers, styles).
        wanted: (households, categories) log of how much each is wanted.
        seller, category: (products,).
        liked: (products,) by how much a product is bought among those of its seller and category.
        prices: (products,).
        discounts: (coupons,) in percent.
    """

    sells: np.ndarray
    size: np.ndarray
    style: np.ndarray
    wanted: np.ndarray
    seller: np.ndarray
    category: np.ndarray
    liked: np.ndarray
    prices: np.ndarray
    discounts: np.ndarray

    @classmethod
    def draw(cls, random: np.random.Generator) -> "_Catalogue":
        categories, departments = len(CATEGORIES), list(DEPARTMENTS)
        department = np.array([departments.index(name) for name, _category in CATEGORIES])
        sells = np.zeros((SELLERS, categories), dtype=bool)
        for seller in range(SELLERS):
            own = np.flatnonzero(department == seller % len(departments))
            sells[seller, random.choice(own, random.integers(1, min(len(own), CATEGORIES_OF_A_SELLER) + 1), False)] = 1
        for category in np.flatnonzero(~sells.any(axis=0)):  # somebody sells it
            sells[department[category], category] = True
        seller, category = np.repeat(np.argwhere(sells), PRODUCTS_OF_A_SELLER, axis=0).T
        size = -LONG_TAIL * np.log1p(random.permutation(SELLERS))
        style = random.normal(0, 1, (SELLERS, STYLES))
        by_all = random.normal(0, WANTED_BY_ALL, categories)
        wanted = by_all + random.normal(0, WANTED_BY_HOUSEHOLD, (len(HOUSEHOLDS), categories))
        prices = np.exp(random.normal(3, 0.6, categories)[category] + random.normal(0, 0.3, len(category)))
        discounts = [
            random.choice(DISCOUNTS_OF_SHOP, categories),
            random.choice(DISCOUNTS_OF_SELLERS, SELLERS),
        ]
        liked = np.tile(1 / np.arange(1, PRODUCTS_OF_A_SELLER + 1), len(category) // PRODUCTS_OF_A_SELLER)
        return cls(sells, size, style, wanted, seller, category, liked, prices.round(2), np.concatenate(discounts))

    def tables(self, shop: PlatformShop) -> dict[str, pl.DataFrame]:
        coupon_ids = identifiers("C", np.arange(COUPONS))
        seller_ids = identifiers("M", np.arange(SELLERS))
        product_ids = identifiers("P", np.arange(len(self.prices)))
        paths = [CATEGORY_SEPARATOR.join(path) for path in CATEGORIES]
        names = [f"{CATEGORIES[category][1]} {number}" for number, category in enumerate(self.category)]
        campaigns = [LIVE_CAMPAIGN, *(_campaign_id(week) for week in PAST_STARTS)]
        starts = [shop.until, *(shop.starts_at(week) for week in PAST_STARTS)]
        shared = [SELLERS_SHARE if number % SHARED_EVERY == 0 else None for number in range(SELLERS)]
        return {
            "sellers": pl.DataFrame(
                {"seller_id": seller_ids, "name": [f"Seller {number + 1}" for number in range(SELLERS)]}
            ),
            "products": pl.DataFrame(
                {
                    "product_id": product_ids,
                    "name": names,
                    "category": [paths[category] for category in self.category],
                    "price": self.prices,
                    "seller_id": [seller_ids[seller] for seller in self.seller],
                }
            ),
            "coupons": pl.DataFrame(
                {
                    "coupon_id": coupon_ids,
                    "offer_id": identifiers("O", np.arange(COUPONS)),
                    "title": [
                        *(name for _department, name in CATEGORIES),
                        *(f"Seller {n + 1}" for n in range(SELLERS)),
                    ],
                    "discount_type": "percent",
                    "discount_value": self.discounts,
                    "funded_by": [*[None] * len(CATEGORIES), *seller_ids],
                    "funded_percent": [*[None] * len(CATEGORIES), *shared],
                },
                schema_overrides={"funded_percent": pl.Int64},
            ),
            "coupon_products": pl.DataFrame(
                {
                    "coupon_id": [
                        *coupon_ids[: len(CATEGORIES)],
                        *(coupon_ids[len(CATEGORIES) + seller] for seller in self.seller),
                    ],
                    "category": [*paths, *[None] * len(product_ids)],
                    "product_id": [*[None] * len(paths), *product_ids],
                }
            ),
            "campaigns": pl.DataFrame(
                {
                    "campaign_id": campaigns,
                    "name": [name.capitalize().replace("-", " ") for name in campaigns],
                    "kind": "platform",
                    "starts_at": starts,
                    "ends_at": [start + timedelta(weeks=CAMPAIGN_WEEKS) for start in starts],
                }
            ),
            "campaign_coupons": pl.DataFrame(
                {
                    "campaign_id": np.repeat(campaigns, COUPONS).tolist(),
                    "coupon_id": coupon_ids * len(campaigns),
                }
            ),
        }


@dataclass(frozen=True)
class _Shoppers:
    """Some shoppers, by what no table tells of them.

    Attributes:
        household: (shoppers,) the number of the kind.
        told: (shoppers,) whether the shop knows it.
        pace: (shoppers,) orders a week without a coupon.
        habit: (shoppers,) log of how much they use coupons.
        category_share: (shoppers, categories) of what they buy.
        seller_pull: (shoppers, sellers) how much each draws them, where it sells at all.
    """

    household: np.ndarray
    told: np.ndarray
    pace: np.ndarray
    habit: np.ndarray
    category_share: np.ndarray
    seller_pull: np.ndarray

    @classmethod
    def draw(cls, random: np.random.Generator, count: int, catalogue: _Catalogue) -> "_Shoppers":
        household = random.integers(0, len(HOUSEHOLDS), count)
        own = random.normal(0, WANTED_BY_SHOPPER, (count, len(CATEGORIES)))
        wanted = np.exp(catalogue.wanted[household] + own)
        style = random.normal(0, 1, (count, STYLES))
        return cls(
            household=household,
            told=random.random(count) < KNOWN_HOUSEHOLDS,
            pace=PACE * random.lognormal(0, PACE_SPREAD, count),
            habit=random.normal(0, HABIT, count),
            category_share=wanted / wanted.sum(axis=1, keepdims=True),
            seller_pull=np.exp(catalogue.size + STYLE * style @ catalogue.style.T),
        )

    def seller_share(self, catalogue: _Catalogue, category: int) -> np.ndarray:
        """(shoppers, sellers): of what each buys of a category."""
        pull = self.seller_pull * catalogue.sells[:, category]
        return pull / pull.sum(axis=1, keepdims=True)

    def of_sellers(self, catalogue: _Catalogue) -> np.ndarray:
        """(shoppers, sellers): of all that each buys."""
        of_sellers = np.zeros((len(self.pace), SELLERS))
        for category in range(len(CATEGORIES)):
            of_sellers += self.category_share[:, [category]] * self.seller_share(catalogue, category)
        return of_sellers

    def tell(self, catalogue: _Catalogue) -> np.ndarray:
        """(what :meth:`_History.count` counts, shoppers): the logarithm of how likely each of it is."""
        shares = [self.seller_share(catalogue, category) for category in range(len(CATEGORIES))]
        seller, category = np.nonzero(catalogue.sells)
        of_category = np.log(np.stack([shares[c][:, s] for s, c in zip(seller, category, strict=True)]))
        chances = self.chances(catalogue).T
        return np.concatenate(
            [
                of_category + np.log(self.category_share.T[category]),
                of_category,
                -np.log(self.of_sellers(catalogue).T),
                np.log(chances),
                np.log1p(-chances),
            ]
        )

    def chances(self, catalogue: _Catalogue) -> np.ndarray:
        """(shoppers, coupons): how likely each coupon is used in a campaign."""
        share = np.concatenate([self.category_share, self.of_sellers(catalogue)], axis=1)
        tempted = np.exp(OF_DISCOUNT * (catalogue.discounts - 20) / 10 + self.habit[:, None])
        return 1 - np.exp(-WITH_COUPON * CAMPAIGN_WEEKS * self.pace[:, None] * share * tempted)


class _History:
    """What all shoppers bought, with coupons and without.

    Attributes of the lines: ``shopper``, ``second`` of history, by which an order is known, ``product``, and for a use
    of a coupon ``coupon`` and the week in which its ``campaign`` began.
    """

    def __init__(self, shop: PlatformShop, catalogue: _Catalogue, progress: Progress) -> None:
        self._shop, self._catalogue = shop, catalogue
        lines, households, treated = [], [], []
        for first, shoppers, random in shop.parts():
            progress.report("Making up shoppers", first, shop.shoppers)
            buyer, second, category, seller = _buy(random, shoppers, catalogue)
            lines.append(_lines(first + buyer, second, _choose_product(random, catalogue, category, seller)))
            chances = shoppers.chances(catalogue)
            for week in PAST_STARTS:
                sent = np.flatnonzero(random.random(len(chances)) < TREATED_SHARE)
                row, coupon = np.nonzero(random.random((len(sent), COUPONS)) < chances[sent])
                user = sent[row]
                category, seller = _choose_of_coupon(random, shoppers, catalogue, user, coupon)
                product = _choose_product(random, catalogue, category, seller)
                second = _second(week) + random.integers(0, _second(CAMPAIGN_WEEKS), len(user))
                lines.append(_lines(first + user, second, product, coupon, week))
                treated.append(pl.DataFrame({"shopper": (first + sent).astype(np.int32), "campaign": week}))
            households.append(np.where(shoppers.told, shoppers.household, -1))
        self._lines, self._treated = pl.concat(lines), pl.concat(treated).sort("campaign", "shopper")
        self._households = np.concatenate(households)

    def count(self, shoppers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the history tells of some shoppers.

        Returns:
            (shoppers, ...) how often each bought of a seller and category (without a coupon, or with one of the
            seller), used a coupon of a category for what a seller has of it, used a coupon of a seller, used each
            coupon, and did not use it; the orders without a coupon; and the household, -1 if it is not known.
        """
        row = np.full(self._shop.shoppers, -1)
        row[shoppers] = np.arange(len(shoppers))
        pairs = int(self._catalogue.sells.sum())
        lines = self._lines.filter(pl.col("shopper").is_in(shoppers.tolist())).with_columns(
            pair=pl.col("product") // PRODUCTS_OF_A_SELLER
        )
        plain = lines.filter(pl.col("coupon").is_null())
        used = lines.drop_nulls("coupon")
        of_seller = pl.col("coupon") >= len(CATEGORIES)

        def tabulate(rows: pl.DataFrame, column: str, width: int) -> np.ndarray:
            table = np.zeros((len(shoppers), width))
            np.add.at(table, (row[rows["shopper"]], rows[column]), 1)
            return table

        uses = tabulate(used, "coupon", COUPONS)
        sent = tabulate(self._treated.filter(pl.col("shopper").is_in(shoppers.tolist())).with_columns(one=0), "one", 1)
        counts = [
            tabulate(plain, "pair", pairs) + tabulate(used.filter(of_seller), "pair", pairs),
            tabulate(used.filter(~of_seller), "pair", pairs),
            uses[:, len(CATEGORIES) :],
            uses,
            sent - uses,
        ]
        orders = tabulate(plain.unique(["shopper", "second"]).with_columns(one=0), "one", 1)[:, 0]
        return np.concatenate(counts, axis=1), orders.astype(int), self._households[shoppers]

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the export that are about shoppers."""
        shop, catalogue = self._shop, self._catalogue
        shopper_ids = pl.Series(identifiers("S", np.arange(shop.shoppers)))
        product_ids = pl.Series(identifiers("P", np.arange(len(catalogue.prices))))
        coupon_ids = pl.Series(identifiers("C", np.arange(COUPONS)))
        households = np.array([*HOUSEHOLDS, ""])  # the last for those of whom the shop does not know it
        ordered_at = pl.lit(shop.starts_at(0)) + pl.duration(seconds="second")
        orders = self._lines.select("second", "shopper").unique().sort("second", "shopper", descending=True)
        orders = orders.with_columns(pl.Series("order_id", identifiers("A", np.arange(orders.height))))
        lines = self._lines.join(orders, on=["second", "shopper"]).sort("order_id", "product", "coupon")
        price = pl.lit(pl.Series(catalogue.prices).gather(lines["product"]))
        percent = pl.lit(pl.Series(catalogue.discounts).gather(lines["coupon"].fill_null(0)))
        with_coupon = pl.col("coupon").is_not_null()
        lines = lines.with_columns(
            price.alias("price"),
            pl.when(with_coupon).then((price * percent / 100).round(2)).otherwise(0.0).alias("coupon_discount"),
            shopper_ids.gather(lines["shopper"]).alias("shopper_id"),
            product_ids.gather(lines["product"]).alias("product_id"),
            coupon_ids.gather(lines["coupon"]).alias("coupon_id"),
            ordered_at.alias("redeemed_at"),
        )
        return {
            "shoppers": pl.DataFrame({"shopper_id": shopper_ids, "household": households[self._households]}),
            "orders": orders.select(
                "order_id",
                shopper_ids.gather(orders["shopper"]).alias("shopper_id"),
                ordered_at.alias("ordered_at"),
            ),
            "order_lines": lines.select(
                "order_id",
                "product_id",
                pl.lit(1).alias("quantity"),
                (pl.col("price") - pl.col("coupon_discount")).round(2).alias("amount"),
                "coupon_discount",
                "coupon_id",
            ),
            "campaign_shoppers": self._treated.select(
                shopper_ids.gather(self._treated["shopper"]).alias("shopper_id"),
                pl.format("week-{}", "campaign").alias("campaign_id"),
            ),
            "redemptions": lines.filter(with_coupon).select(
                "shopper_id",
                "coupon_id",
                "redeemed_at",
                pl.format("week-{}", "campaign").alias("campaign_id"),
                "order_id",
                pl.col("coupon_discount").alias("discount_amount"),
            ),
        }


def _buy(
    random: np.random.Generator, shoppers: _Shoppers, catalogue: _Catalogue
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is bought without a coupon: of each piece the shopper, the second of its order, its category and seller."""
    count = np.clip(random.poisson(shoppers.pace * WEEKS), FEWEST, MOST)
    buyer = np.repeat(np.arange(len(count)), count)
    second = random.integers(0, _second(WEEKS), len(buyer))
    pieces = random.choice(np.arange(1, len(BASKETS) + 1), len(buyer), p=BASKETS)
    buyer, second = np.repeat(buyer, pieces), np.repeat(second, pieces)
    category = _draw(random, shoppers.category_share[buyer])
    return buyer, second, category, _choose_seller(random, shoppers, catalogue, buyer, category)


def _likely_orders(pace: np.ndarray) -> np.ndarray:
    """(orders, shoppers): the logarithm of how likely so many orders are, up to the most."""
    mean, counts = pace * WEEKS, np.arange(MOST + 1)[:, None]
    likely = poisson.logpmf(counts, mean)
    likely[FEWEST], likely[MOST] = poisson.logcdf(FEWEST, mean), poisson.logsf(MOST - 1, mean)
    return likely


def _choose_seller(
    random: np.random.Generator, shoppers: _Shoppers, catalogue: _Catalogue, buyer: np.ndarray, category: np.ndarray
) -> np.ndarray:
    seller = np.empty(len(buyer), dtype=np.int64)
    for number in np.unique(category):
        of = np.flatnonzero(category == number)
        seller[of] = _draw(random, shoppers.seller_share(catalogue, number)[buyer[of]])
    return seller


def _choose_of_coupon(
    random: np.random.Generator, shoppers: _Shoppers, catalogue: _Catalogue, user: np.ndarray, coupon: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The category and the seller of what each use of a coupon is for."""
    of_shop = coupon < len(CATEGORIES)
    category, seller = coupon.copy(), coupon - len(CATEGORIES)
    seller[of_shop] = _choose_seller(random, shoppers, catalogue, user[of_shop], category[of_shop])
    user, own = user[~of_shop], seller[~of_shop]
    share = np.zeros((len(user), len(CATEGORIES)))
    for number in range(len(CATEGORIES)):
        some = np.flatnonzero(catalogue.sells[own, number])
        of_seller = shoppers.seller_share(catalogue, number)[user[some], own[some]]
        share[some, number] = shoppers.category_share[user[some], number] * of_seller
    category[~of_shop] = _draw(random, share)
    return category, seller


def _choose_product(
    random: np.random.Generator, catalogue: _Catalogue, category: np.ndarray, seller: np.ndarray
) -> np.ndarray:
    """Products stand by seller and category, those of both together, the one that is liked best first."""
    first = np.zeros(catalogue.sells.shape, dtype=np.int64)
    first[catalogue.sells] = np.arange(catalogue.sells.sum()) * PRODUCTS_OF_A_SELLER
    liked = np.broadcast_to(catalogue.liked[:PRODUCTS_OF_A_SELLER], (len(seller), PRODUCTS_OF_A_SELLER))
    return first[seller, category] + _draw(random, liked)


def _draw(random: np.random.Generator, weights: np.ndarray) -> np.ndarray:
    """(n,): of each row a column, as often as it weighs."""
    sums = weights.cumsum(axis=1)
    return (random.random((len(sums), 1)) * sums[:, [-1]] > sums).sum(axis=1)


def _lines(
    shopper: np.ndarray,
    second: np.ndarray,
    product: np.ndarray,
    coupon: np.ndarray | None = None,
    campaign: int | None = None,
) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "shopper": shopper,
            "second": second,
            "product": product,
            "coupon": [None] * len(shopper) if coupon is None else coupon,
            "campaign": [campaign] * len(shopper),
        },
        schema_overrides=dict.fromkeys(("shopper", "second", "product", "coupon", "campaign"), pl.Int32),
    )


def _second(week: int) -> int:
    return week * 7 * 86_400


def _campaign_id(week: int) -> str:
    return f"week-{week}"
