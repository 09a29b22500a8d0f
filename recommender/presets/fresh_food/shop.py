"""A made-up shop of fresh food whose truth is known. ``docs/presets/fresh_food.md`` tells its story.

Households eat some kinds of food and not others, each at a pace of its own, and come to the shop on days of their own.
They buy when the pantry runs low. What the shop has comes in batches that go bad, and some of it has a season. A coupon
is used on a visit while its window is open and what it is for is in stock and good: the likelier the emptier the pantry
was when the campaign began, the more it is in season, the better it is liked and the higher its discount.

The shop is simulated day by day for all shoppers at once. Everything follows from the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import expit

from recommender.models import CATEGORY_SEPARATOR
from recommender.presets.made_up import LIVE_CAMPAIGN, MadeUpShop, identifiers, truth_of
from recommender.progress import Progress

WEEKS = 80  # of history
DAYS = 7 * WEEKS
#: A campaign lasts so many days. A past one starts every two weeks; the live one begins where history ends.
CAMPAIGN_DAYS = 7
DAYS_BETWEEN = 14
PAST_CAMPAIGNS = 10
TREATED_SHARE = 0.6


@dataclass(frozen=True)
class Kind:
    """A kind of food.

    Attributes:
        lasts: for so many days a household that eats it is supplied by one purchase.
        keeps: a batch is good for so many days; None for what keeps.
        eaten: the share of households that eat it.
        peak: the day of the year around which it is in season; None for what has none.
        strength: of the season: the logarithm of what is bought at its peak by the mean of the year.
    """

    department: str
    name: str
    lasts: float
    keeps: int | None
    eaten: float
    price: float
    peak: int | None = None
    strength: float = 0.0


KINDS = (
    Kind("Vegetables", "Tomatoes", 6, 6, 0.5, 2.5, 210, 0.5),
    Kind("Vegetables", "Asparagus", 9, 5, 0.3, 5.5, 125, 2.2),
    Kind("Vegetables", "Spinach", 8, 4, 0.3, 2.2, 110, 0.7),
    Kind("Vegetables", "Carrots", 10, 14, 0.4, 1.4),
    Kind("Vegetables", "Pumpkin", 14, 20, 0.25, 3.0, 290, 1.8),
    Kind("Vegetables", "Salad", 4, 4, 0.4, 1.8, 190, 0.6),
    Kind("Vegetables", "Mushrooms", 8, 5, 0.3, 2.4),
    Kind("Fruit", "Strawberries", 5, 3, 0.4, 3.5, 150, 2.0),
    Kind("Fruit", "Apples", 8, 20, 0.5, 2.6, 280, 0.5),
    Kind("Fruit", "Oranges", 9, 14, 0.35, 2.8, 20, 1.4),
    Kind("Fruit", "Bananas", 4, 6, 0.5, 1.6),
    Kind("Fruit", "Blueberries", 6, 5, 0.3, 3.2, 195, 1.2),
    Kind("Fruit", "Cherries", 6, 4, 0.3, 4.5, 180, 2.4),
    Kind("Dairy", "Milk", 4, 9, 0.5, 1.2),
    Kind("Dairy", "Yoghurt", 6, 14, 0.4, 1.1),
    Kind("Dairy", "Butter", 14, 40, 0.4, 2.4),
    Kind("Dairy", "Soft cheese", 9, 12, 0.3, 2.9),
    Kind("Dairy", "Cream", 12, 10, 0.3, 1.3),
    Kind("Dairy", "Kefir", 7, 10, 0.15, 1.5),
    Kind("Bakery", "Bread", 3, 3, 0.5, 2.9),
    Kind("Bakery", "Rolls", 2, 2, 0.35, 0.9),
    Kind("Bakery", "Cake", 12, 3, 0.25, 4.2),
    Kind("Bakery", "Flatbread", 9, 6, 0.2, 2.1),
    Kind("Meat and fish", "Chicken", 6, 4, 0.35, 6.5),
    Kind("Meat and fish", "Minced beef", 8, 3, 0.3, 5.2),
    Kind("Meat and fish", "Ham", 7, 10, 0.3, 2.6),
    Kind("Meat and fish", "Salmon", 12, 3, 0.25, 7.9),
    Kind("Meat and fish", "Sausages", 12, 8, 0.3, 3.9, 200, 0.8),
    Kind("Meat and fish", "Tofu", 9, 20, 0.15, 2.2),
    Kind("Pantry", "Pasta", 12, None, 0.5, 1.3),
    Kind("Pantry", "Rice", 18, None, 0.4, 2.2),
    Kind("Pantry", "Coffee", 13, None, 0.4, 6.5),
    Kind("Pantry", "Olive oil", 30, None, 0.35, 8.5),
    Kind("Pantry", "Flour", 25, None, 0.3, 0.9),
    Kind("Pantry", "Juice", 6, None, 0.3, 1.9),
    Kind("Pantry", "Muesli", 12, None, 0.25, 3.4),
)
BRANDS = ("Auenhof", "Bellina", "Corvo")
#: A batch comes in once this share of the time that the last one keeps has gone, on the mean; the more it varies, the
#: oftener there is nothing left but what is short-dated.
RESTOCKED_AFTER, RESTOCK_SPREAD = 0.75, 0.35
#: What keeps for at most so many days more, with nothing fresher beside it, is marked down; and the share of these
#: coupons that hold for the whole week, however long the stock does.
SHORT_DATED, CARELESS_SHARE = 4, 0.25
MOST_MARKDOWNS = 20
#: Visits a week: the mean of their logarithms and their spread between shoppers; how much they prefer days of the week.
VISITS, VISITS_SPREAD, DAY_SPREAD = 0.8, 0.5, 0.7
#: The spreads between households: of the pace at which they eat, of what they like, of the brands that they prefer, and
#: of how much they use coupons.
PACE, LIKING, BRAND, HABIT = 0.35, 0.6, 1.2, 0.6
#: The chance that something is bought on a visit: of what is eaten when the pantry is empty, where half of that is
#: reached (in shares of the supply that is left) and how steep that is; and of what is not eaten.
BOUGHT, BOUGHT_HALF, BOUGHT_STEEPNESS, BOUGHT_UNEATEN = 0.8, 0.3, 0.1, 0.004
#: Log-odds of a use on a visit: of anything, of what is not eaten, of an empty pantry; where half of that is reached
#: and how steep that is; of ten percent more off, of one more spread of liking, of the own brand.
BASE, UNEATEN, EMPTY, EMPTY_HALF, EMPTY_STEEPNESS = -6.2, -2.2, 3.8, 0.35, 0.1
OF_DISCOUNT, OF_LIKING, OF_BRAND = 0.35, 0.8, 0.4


class FreshFoodShop(MadeUpShop):
    """What is made."""

    weeks = WEEKS

    def tables(self, progress: Progress = Progress()) -> dict[str, pl.DataFrame]:
        return self._market.tables() | self._history(progress).tables()

    def true_probabilities(self) -> pl.DataFrame:
        history, offers = self._history(Progress()), self._market.offers_of(DAYS)
        chances = 1 - np.prod(1 - history.chances_by_day(offers), axis=2)
        lasting = np.array([self._market.lasts(offer) for offer in offers])
        may_have = np.tile(lasting, (self.shoppers, 1))
        return truth_of(chances, may_have, [offer.coupon_id for offer in offers])

    @cached_property
    def _market(self) -> "_Market":
        return _Market(self)

    def _history(self, progress: Progress) -> "_History":
        history = _History(self, self._market)
        for day in range(DAYS):
            if day % 7 == 0:
                progress.report("Living through the weeks", day // 7, WEEKS)
            history.live(day)
        return history

    def midnight(self, day: int) -> datetime:
        """The moment at which a day of history begins."""
        return self.until - timedelta(days=DAYS - day)

    def season(self, day: int) -> np.ndarray:
        """By kind, what is bought on a day by the mean of the year."""
        of_year = self.midnight(day).timetuple().tm_yday
        waves = [
            0.0 if kind.peak is None else kind.strength * np.cos(2 * np.pi * (of_year - kind.peak) / 365)
            for kind in KINDS
        ]
        return np.exp(waves)


#: The days on which the past campaigns began.
PAST_STARTS = tuple(DAYS - DAYS_BETWEEN * number for number in range(PAST_CAMPAIGNS, 0, -1))


def write_export(
    *, folder: Path, shift_to: date | None, shoppers: int, seed: int, progress: Progress
) -> Mapping[str, int]:
    """Write the export; see :meth:`recommender.presets.Preset.write_export`."""
    rows = FreshFoodShop.ending_with(shift_to, shoppers=shoppers, seed=seed).write(folder, progress)
    return {"batches": rows["batches"], "coupons": rows["coupons"]}


@dataclass(frozen=True)
class _Offer:
    """A coupon in a campaign that begins on a day.

    Attributes:
        products: what it is for, all of one kind.
        ends: the day on which its own window is over; None where it has no end of its own.
    """

    coupon_id: str
    offer_id: str
    title: str
    starts: int
    products: tuple[int, ...]
    discount: float
    ends: int | None = None

    @property
    def kind(self) -> int:
        return self.products[0] // len(BRANDS)


class _Market:
    """What is on sale, what is in stock, and what is on offer. Products are numbered kind by kind, a brand each."""

    def __init__(self, shop: FreshFoodShop) -> None:
        self._shop = shop
        random = np.random.default_rng([shop.seed, 0])
        self.prices = np.concatenate([kind.price * random.uniform(0.8, 1.3, len(BRANDS)) for kind in KINDS]).round(2)
        self._discounts = random.choice([10.0, 15.0, 20.0], len(KINDS))
        self._batches = self._draw_batches(random)
        days = DAYS + CAMPAIGN_DAYS
        #: (products, days): whether anything that is good is in stock.
        self.in_stock = np.zeros((len(self.prices), days), dtype=bool)
        for product, received, best_before, sold_out in self._batches:
            self.in_stock[product, max(received, 0) : max(0, min(best_before, sold_out, days))] = True
        for product in range(len(self.prices)):
            if KINDS[product // len(BRANDS)].keeps is None:
                self.in_stock[product] = True
        self._markdowns = {start: self._mark_down(start, random) for start in (*PAST_STARTS, DAYS)}

    def _draw_batches(self, random: np.random.Generator) -> list[tuple[int, int, int, int]]:
        """Product, and the days on which it came in, was no longer good and was sold out."""
        batches = []
        for product in range(len(self.prices)):
            keeps = KINDS[product // len(BRANDS)].keeps
            if keeps is None:
                continue
            day = -int(random.integers(0, keeps + 1))
            while day < DAYS + CAMPAIGN_DAYS:
                best_before = day + max(1, round(keeps * random.uniform(0.8, 1.0)))
                next_day = day + max(1, round(keeps * random.normal(RESTOCKED_AFTER, RESTOCK_SPREAD)))
                sold_out = max(day + 1, min(next_day, best_before) + int(random.integers(0, 3)))
                batches.append((product, day, best_before, sold_out))
                day = next_day
        return batches

    def _mark_down(self, start: int, random: np.random.Generator) -> list[_Offer]:
        """Coupons for what is short-dated when a campaign begins."""
        left = {
            product: best_before - start
            for product, received, best_before, sold_out in sorted(self._batches, key=lambda batch: batch[2])
            if received < start < min(best_before, sold_out)
        }
        short = sorted(product for product, days in left.items() if days <= SHORT_DATED)
        chosen = sorted(random.permutation(short)[:MOST_MARKDOWNS].tolist())
        careless = random.random(len(chosen)) < CARELESS_SHARE
        return [
            _Offer(
                coupon_id=f"M{start:04}-{product:03}",
                offer_id=f"M{product:03}",
                title=f"{self.name(product)}, short-dated",
                starts=start,
                products=(product,),
                discount=float(discount),
                ends=start + (CAMPAIGN_DAYS if whole_week else left[product]),
            )
            for product, discount, whole_week in zip(
                chosen, random.choice([30.0, 40.0, 50.0], len(chosen)), careless, strict=True
            )
        ]

    def offers_of(self, start: int) -> list[_Offer]:
        """What a campaign that begins on a day offers: a coupon for each kind, and those for what is short-dated."""
        return [
            *(
                _Offer(
                    coupon_id=f"K{number:03}",
                    offer_id=f"K{number:03}",
                    title=kind.name,
                    starts=start,
                    products=tuple(range(number * len(BRANDS), (number + 1) * len(BRANDS))),
                    discount=float(self._discounts[number]),
                )
                for number, kind in enumerate(KINDS)
            ),
            *self._markdowns[start],
        ]

    def name(self, product: int) -> str:
        return f"{BRANDS[product % len(BRANDS)]} {KINDS[product // len(BRANDS)].name.lower()}"

    def lasts(self, offer: _Offer) -> bool:
        """Whether a coupon can be used in time, told by the batches that are known when its campaign begins."""
        start, ends = offer.starts, offer.starts if offer.ends is None else offer.ends
        return any(
            KINDS[offer.kind].keeps is None
            or any(
                of == product and received < start < min(best_before, sold_out) and ends <= best_before
                for of, received, best_before, sold_out in self._batches
            )
            for product in offer.products
        )

    def usable(self, offers: list[_Offer]) -> np.ndarray:
        """(coupons, days of the campaign): whether the window is open and something that it is for is in stock."""
        days = np.arange(CAMPAIGN_DAYS)
        return np.array(
            [
                self.in_stock[list(offer.products)][:, offer.starts + days].any(axis=0)
                & (days < (CAMPAIGN_DAYS if offer.ends is None else offer.ends - offer.starts))
                for offer in offers
            ]
        )

    def tables(self) -> dict[str, pl.DataFrame]:
        shop, starts = self._shop, (DAYS, *PAST_STARTS)
        known = [batch for batch in self._batches if batch[1] < DAYS]
        offers = {start: self.offers_of(start) for start in starts}
        coupons = {offer.coupon_id: offer for of_campaign in offers.values() for offer in of_campaign}.values()
        own = [offer.ends is not None for offer in coupons]
        return {
            "products": pl.DataFrame(
                {
                    "product_id": identifiers("P", np.arange(len(self.prices))),
                    "name": [self.name(product) for product in range(len(self.prices))],
                    "category": [
                        CATEGORY_SEPARATOR.join((kind.department, kind.name)) for kind in KINDS for _brand in BRANDS
                    ],
                    "brand": BRANDS * len(KINDS),
                    "price": self.prices,
                }
            ),
            "batches": pl.DataFrame(
                {
                    "batch_id": identifiers("B", np.arange(len(known))),
                    "product_id": identifiers("P", np.array([batch[0] for batch in known])),
                    "received_at": [shop.midnight(batch[1]) for batch in known],
                    "best_before": [shop.midnight(batch[2]) for batch in known],
                    "sold_out_at": [None if batch[3] >= DAYS else shop.midnight(batch[3]) for batch in known],
                },
                schema_overrides={"sold_out_at": pl.Datetime("us", "UTC")},
            ),
            "coupons": pl.DataFrame(
                {
                    "coupon_id": [offer.coupon_id for offer in coupons],
                    "offer_id": [offer.offer_id for offer in coupons],
                    "title": [offer.title for offer in coupons],
                    "discount_type": "percent",
                    "discount_value": [offer.discount for offer in coupons],
                    "starts_at": [
                        shop.midnight(offer.starts) if is_own else None
                        for offer, is_own in zip(coupons, own, strict=True)
                    ],
                    "ends_at": [None if offer.ends is None else shop.midnight(offer.ends) for offer in coupons],
                },
                schema_overrides=dict.fromkeys(("starts_at", "ends_at"), pl.Datetime("us", "UTC")),
            ),
            "coupon_products": pl.DataFrame(
                [(offer.coupon_id, name) for offer in coupons for name in identifiers("P", np.array(offer.products))],
                schema=["coupon_id", "product_id"],
                orient="row",
            ),
            "campaigns": pl.DataFrame(
                {
                    "campaign_id": [_campaign_id(start) for start in starts],
                    "name": [_campaign_id(start).capitalize().replace("-", " ") for start in starts],
                    "kind": "fresh food",
                    "starts_at": [shop.midnight(start) for start in starts],
                    "ends_at": [shop.midnight(start + CAMPAIGN_DAYS) for start in starts],
                }
            ),
            "campaign_coupons": pl.DataFrame(
                [(_campaign_id(start), offer.coupon_id) for start in starts for offer in offers[start]],
                schema=["campaign_id", "coupon_id"],
                orient="row",
            ),
        }


class _History:
    """All households, lived through day by day. Of each kind it is known for how many days they are supplied."""

    def __init__(self, shop: FreshFoodShop, market: _Market) -> None:
        self._shop, self._market = shop, market
        self._random = random = np.random.default_rng([shop.seed, 1])
        size = (shop.shoppers, len(KINDS))
        self._eats = random.random(size) < np.array([kind.eaten for kind in KINDS])
        self._supply = np.array([kind.lasts for kind in KINDS]) * random.lognormal(0, PACE, size)
        self._liking = random.normal(0, LIKING, size)
        self._prefers = random.normal(0, BRAND, (shop.shoppers, len(KINDS), len(BRANDS)))
        self._habit = random.normal(0, HABIT, shop.shoppers)
        weights = random.lognormal(0, DAY_SPREAD, (shop.shoppers, 7))
        visits = random.lognormal(VISITS, VISITS_SPREAD, (shop.shoppers, 1))
        #: (shoppers, days of the week): the chance of a visit.
        self._visits = np.clip(visits * weights / weights.sum(axis=1, keepdims=True), 0, 0.95)
        self._pantry = random.uniform(0, 1, size) * self._supply
        self._lines: list[pl.DataFrame] = []
        self._treated: dict[int, np.ndarray] = {}
        #: (n, 4) each: day, shopper, product and the campaign's first day; and the coupons.
        self._to_come: list[tuple[np.ndarray, list[_Offer]]] = []

    def chances_by_day(self, offers: list[_Offer]) -> np.ndarray:
        """(shoppers, coupons, days): how likely each coupon is used on each day of a campaign that begins now, if not
        before."""
        kinds = np.array([offer.kind for offer in offers])
        discounts = np.array([offer.discount for offer in offers])
        start, usable = offers[0].starts, self._market.usable(offers)
        own_brand = np.stack(
            [self._prefers[:, offer.kind, [product % len(BRANDS) for product in offer.products]].max(axis=1)
             for offer in offers],
            axis=1,
        )  # fmt: skip
        fixed = (
            BASE
            + OF_DISCOUNT * (discounts - 20) / 10
            + OF_LIKING * self._liking[:, kinds] / LIKING
            + OF_BRAND * own_brand / BRAND
            + np.where(self._eats[:, kinds], 0.0, UNEATEN)
            + self._habit[:, None]
        )
        days = []
        for number in range(CAMPAIGN_DAYS):
            left = np.clip(self._pantry - number, 0, None) / self._supply
            empty = np.where(self._eats, EMPTY * expit((EMPTY_HALF - left) / EMPTY_STEEPNESS), 0.0)
            log_odds = fixed + (empty + np.log(self._shop.season(start + number)))[:, kinds]
            visit = self._visits[:, (start + number) % 7, None]
            days.append(usable[:, number] * visit * expit(log_odds))
        return np.stack(days, axis=2)

    def live(self, day: int) -> None:
        """Live through a day: a campaign may begin, things are bought and eaten."""
        if day in PAST_STARTS:
            self._begin_campaign(day)
        parts = [(np.zeros((0, 4), dtype=np.int64), []), *self._to_come]
        redeemed = np.concatenate([rows[rows[:, 0] == day] for rows, _coupons in parts])
        coupons = [
            coupon
            for rows, names in parts
            for coupon, is_today in zip(names, rows[:, 0] == day, strict=True)
            if is_today
        ]
        shoppers, products = self._buy(day)
        shoppers, products = np.append(shoppers, redeemed[:, 1]), np.append(products, redeemed[:, 2])
        without = len(shoppers) - len(redeemed)
        self._lines.append(
            pl.DataFrame(
                {
                    "day": np.full(len(shoppers), day),
                    "shopper": shoppers,
                    "product": products,
                    "coupon_id": [*([None] * without), *(offer.coupon_id for offer in coupons)],
                    "percent": [*([0.0] * without), *(offer.discount for offer in coupons)],
                    "campaign": [*([None] * without), *redeemed[:, 3].tolist()],
                },
                schema_overrides={"coupon_id": pl.String, "percent": pl.Float64, "campaign": pl.Int64},
            )
        )
        kinds = products // len(BRANDS)
        supplied = self._supply[shoppers, kinds] * self._random.lognormal(0, 0.25, len(shoppers))
        np.add.at(self._pantry, (shoppers, kinds), supplied)
        self._pantry = np.clip(self._pantry - 1, 0, 3 * self._supply)

    def _begin_campaign(self, day: int) -> None:
        offers = self._market.offers_of(day)
        treated = np.flatnonzero(self._random.random(self._shop.shoppers) < TREATED_SHARE)
        self._treated[day] = treated
        chances = self.chances_by_day(offers)[treated]
        used = self._random.random(chances.shape) < chances
        row, coupon = np.nonzero(used.any(axis=2))
        when = day + used.argmax(axis=2)[row, coupon]
        rows = np.stack([when, treated[row], np.zeros(len(row), dtype=np.int64), np.full(len(row), day)], axis=1)
        for number, (shopper, of) in enumerate(zip(treated[row], coupon, strict=True)):
            rows[number, 2] = self._choose(shopper, offers[of].products, int(when[number]))
        self._to_come.append((rows, [offers[of] for of in coupon]))

    def _choose(self, shopper: int, products: tuple[int, ...], day: int) -> int:
        """What a household takes of products of one kind: of what is in stock the brand that it prefers."""
        there = [product for product in products if self._market.in_stock[product, day]]
        kind = products[0] // len(BRANDS)
        return max(there, key=lambda product: self._prefers[shopper, kind, product % len(BRANDS)])

    def _buy(self, day: int) -> tuple[np.ndarray, np.ndarray]:
        """Shopper and product of what is bought on a day without a coupon."""
        random = self._random
        visitors = np.flatnonzero(random.random(self._shop.shoppers) < self._visits[:, day % 7])
        left = self._pantry[visitors] / self._supply[visitors]
        wanted = BOUGHT * expit((BOUGHT_HALF - left) / BOUGHT_STEEPNESS)
        chance = np.where(self._eats[visitors], wanted, BOUGHT_UNEATEN) * self._shop.season(day)
        chance *= np.exp(self._liking[visitors] - LIKING)  # what is liked is bought at once, other things in time
        row, kind = np.nonzero(random.random(chance.shape) < chance)
        products = kind[:, None] * len(BRANDS) + np.arange(len(BRANDS))
        there = self._market.in_stock[products, day]
        drawn = self._prefers[visitors[row], kind] + random.gumbel(0, 1, there.shape)
        chosen = np.where(there, drawn, -np.inf).argmax(axis=1)
        some = there.any(axis=1)
        return visitors[row][some], products[np.arange(len(row)), chosen][some]

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the export that are about shoppers."""
        shop, market = self._shop, self._market
        shopper_ids = pl.Series(identifiers("S", np.arange(shop.shoppers)))
        product_ids = pl.Series(identifiers("P", np.arange(len(market.prices))))
        lines = pl.concat(self._lines).with_columns(
            shopper_ids.gather(pl.concat(self._lines)["shopper"]).alias("shopper_id")
        )
        orders = lines.select("day", "shopper", "shopper_id").unique().sort("day", "shopper")
        seconds = pl.Series(self._random.integers(8 * 3_600, 20 * 3_600, orders.height))
        orders = (
            orders.with_columns(
                (pl.lit(shop.midnight(0)) + pl.duration(days="day") + pl.duration(seconds=pl.lit(seconds))).alias(
                    "ordered_at"
                )
            )
            .sort("ordered_at", "shopper", descending=True)
            .with_columns(pl.Series("order_id", identifiers("A", np.arange(orders.height))))
        )
        price = pl.lit(pl.Series(market.prices[lines["product"].to_numpy()]))
        lines = (
            lines.with_columns(
                price.alias("price"),
                (price * pl.col("percent") / 100).round(2).alias("coupon_discount"),
                product_ids.gather(lines["product"]).alias("product_id"),
            )
            .join(orders.select("day", "shopper", "order_id", "ordered_at"), on=["day", "shopper"])
            .sort("order_id", "product", "coupon_id", nulls_last=True)
        )
        treated = [
            pl.DataFrame({"shopper_id": shopper_ids.gather(of_campaign)}).with_columns(
                pl.lit(_campaign_id(start)).alias("campaign_id")
            )
            for start, of_campaign in self._treated.items()
        ]
        return {
            "shoppers": pl.DataFrame({"shopper_id": shopper_ids}),
            "orders": orders.sort("order_id").select("order_id", "shopper_id", "ordered_at"),
            "order_lines": lines.select(
                "order_id",
                "product_id",
                pl.lit(1).alias("quantity"),
                (pl.col("price") - pl.col("coupon_discount")).round(2).alias("amount"),
                "coupon_discount",
                "coupon_id",
            ),
            "campaign_shoppers": pl.concat(treated),
            "redemptions": lines.filter(pl.col("coupon_id").is_not_null()).select(
                "shopper_id",
                "coupon_id",
                pl.col("ordered_at").alias("redeemed_at"),
                pl.format("day-{}", "campaign").alias("campaign_id"),
                "order_id",
                pl.col("coupon_discount").alias("discount_amount"),
            ),
        }


def _campaign_id(start: int) -> str:
    return LIVE_CAMPAIGN if start == DAYS else f"day-{start}"
