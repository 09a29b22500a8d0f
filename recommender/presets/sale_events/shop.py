"""A made-up shop of big sale events whose truth is known. ``docs/presets/sale_events.md`` tells its story.

Shoppers come and go, each with tastes, a level of prices and a pace of their own. Twice a year there is a big event and
every few weeks a week for members. For each category there are four coupons: the more one takes off, the more must be
spent for it. Who waits for an event buys less before it. Whether a coupon is used follows from the pace at which a
shopper would buy of its category while the campaign runs, from what it takes off, and from whether its minimum is what
this shopper spends. No part of it is a sum of what models see.

The shop is simulated week by week for all shoppers at once. Everything follows from the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from scipy.stats import norm

from recommender.models import CATEGORY_SEPARATOR
from recommender.presets.made_up import LIVE_CAMPAIGN, MadeUpShop, identifiers, truth_of
from recommender.progress import Progress

WEEKS = 78  # of history
#: Campaigns last a week. The big events are in these weeks, counted back from the end of history; the last of 11.11 was
#: a year ago, 6.18 not half a year. The others are weeks for members.
EVENTS_BACK = (52, 21)
MEMBERS_BACK = (48, 44, 40, 36, 32, 28, 24, 16, 12, 8, 4)
TREATED_SHARE = 0.5
#: The day on which history ends unless another is asked for: the warm-up for 11.11 begins on the next.
LAST_DAY = date(2026, 11, 7)
#: Days of a campaign before its coupons hold.
WARM_UP_DAYS = 3

DEPARTMENTS: Mapping[str, tuple[str, ...]] = {
    "Electronics": ("Phones", "Headphones", "Kitchen appliances"),
    "Beauty": ("Skincare", "Make-up", "Hair care"),
    "Fashion": ("Sneakers", "Jackets", "Bags"),
    "Family": ("Nappies", "Toys", "Snacks"),
}
PRODUCTS_OF_A_CATEGORY = 8
#: What a coupon takes off, in percent, and what must be spent for it, in what a middling product of its category costs.
STEPS = ((5.0, 0.0), (10.0, 1.0), (15.0, 2.0), (25.0, 4.0))
#: Orders a week of a middling shopper, and the spread between shoppers.
PACE, PACE_SPREAD = 0.8, 0.5
#: The spread of how much shoppers like categories, of what they spend, and of how much a discount tempts them.
TASTE, LEVEL, TEMPTED = 1.6, 0.5, 0.25
#: Of shoppers, who came during history; who had gone by its end, and what is left of their pace.
CAME_LATER, GONE, PACE_OF_GONE = 0.3, 0.25, 0.04
#: So many times as much is bought in an event, and in the two weeks before it by those who wait for it.
IN_EVENT, BEFORE_EVENT = 2.2, 0.55
#: How much of their pace shoppers turn to coupons of a campaign: of an event, of a week for members.
WITH_COUPONS_OF_EVENT, WITH_COUPONS_OF_MEMBERS = 0.1, 0.14
#: How sharply a minimum above what a shopper spends is turned down.
SHARPNESS = 0.45
#: Orders by the hour of the day; when an event begins its first hour has so many times as many.
BY_HOUR = (6, 3, 2, 1, 1, 1, 2, 4, 7, 10, 12, 11, 12, 11, 10, 10, 10, 9, 10, 13, 17, 18, 15, 10)
FIRST_HOUR = 60
BY_DAY_OF_EVENT = (0.04, 0.04, 0.04, 0.42, 0.2, 0.13, 0.13)


class SaleEventsShop(MadeUpShop):
    """A shop of which it is known when shoppers buy and what tempts them. The live campaign is the warm-up of an event
    and the event."""

    weeks = WEEKS

    def tables(self, progress: Progress = Progress()) -> dict[str, pl.DataFrame]:
        return self._catalogue.tables(self) | self._history(progress).tables()

    def true_probabilities(self) -> pl.DataFrame:
        """See :meth:`MadeUpShop.true_probabilities`; ``may_have`` is true of all."""
        return truth_of(self._history(Progress()).chances(WEEKS))

    @cached_property
    def _catalogue(self) -> "_Catalogue":
        return _Catalogue.draw(np.random.default_rng([self.seed, 0]))

    def _history(self, progress: Progress) -> "_History":
        history = _History(self, self._catalogue)
        for week in range(WEEKS):
            progress.report("Living through the weeks", week, WEEKS)
            history.live(week)
        return history


def write_export(
    *, folder: Path, shift_to: date | None, shoppers: int, seed: int, progress: Progress
) -> Mapping[str, int]:
    """Write the export; see :meth:`recommender.presets.Preset.write_export`."""
    rows = SaleEventsShop.ending_with(shift_to or LAST_DAY, shoppers=shoppers, seed=seed).write(folder, progress)
    return {"coupons used in past campaigns": rows["redemptions"]}


EVENTS = tuple(WEEKS - back for back in EVENTS_BACK)
PAST_CAMPAIGNS = tuple(sorted((*EVENTS, *(WEEKS - back for back in MEMBERS_BACK))))


@dataclass(frozen=True)
class _Catalogue:
    """What is on sale: the products of the first category, of the second and so on; and its four coupons likewise.

    Attributes:
        categories: their names, with the department's.
        middling: what a middling product of each costs.
        prices: (categories, products), rising.
        minimums: (categories, coupons), what must be spent; 0 for nothing.
        liked: how much each category is liked by all.
    """

    categories: list[tuple[str, str]]
    middling: np.ndarray
    prices: np.ndarray
    minimums: np.ndarray
    liked: np.ndarray

    @classmethod
    def draw(cls, random: np.random.Generator) -> "_Catalogue":
        categories = [(department, name) for department, names in DEPARTMENTS.items() for name in names]
        middling = random.lognormal(3.6, 0.6, len(categories))
        spread = np.exp(np.linspace(-0.9, 0.9, PRODUCTS_OF_A_CATEGORY))
        noise = random.lognormal(0, 0.08, (len(categories), PRODUCTS_OF_A_CATEGORY))
        return cls(
            categories=categories,
            middling=middling,
            prices=np.sort(middling[:, None] * spread * noise, axis=1).round(2),
            minimums=(middling[:, None] * np.array([times for _off, times in STEPS])).round(0),
            liked=random.normal(0, 0.5, len(categories)),
        )

    def tables(self, shop: SaleEventsShop) -> dict[str, pl.DataFrame]:
        categories, steps = self.minimums.shape
        products = categories * PRODUCTS_OF_A_CATEGORY
        of_product = [self.categories[number // PRODUCTS_OF_A_CATEGORY] for number in range(products)]
        of_coupon = [self.categories[number // steps][1] for number in range(categories * steps)]
        coupon_ids = identifiers("C", np.arange(categories * steps))
        off = [percent for percent, _times in STEPS] * categories
        minimums = self.minimums.ravel()
        campaigns = [LIVE_CAMPAIGN, *map(_past_name, PAST_CAMPAIGNS)]
        starts = [shop.until, *map(shop.starts_at, PAST_CAMPAIGNS)]
        kinds = ["event", *("event" if week in EVENTS else "members" for week in PAST_CAMPAIGNS)]
        for_coupon = np.repeat(np.arange(len(coupon_ids)), PRODUCTS_OF_A_CATEGORY)
        for_product = (for_coupon // steps) * PRODUCTS_OF_A_CATEGORY + np.tile(
            np.arange(PRODUCTS_OF_A_CATEGORY), len(coupon_ids)
        )
        return {
            "products": pl.DataFrame(
                {
                    "product_id": identifiers("P", np.arange(products)),
                    "name": [
                        f"{name} {number % PRODUCTS_OF_A_CATEGORY + 1}"
                        for number, (_department, name) in enumerate(of_product)
                    ],
                    "category": [CATEGORY_SEPARATOR.join(names) for names in of_product],
                    "price": self.prices.ravel(),
                }
            ),
            "coupons": pl.DataFrame(
                {
                    "coupon_id": coupon_ids,
                    "offer_id": identifiers("O", np.arange(len(coupon_ids))),
                    "title": [
                        f"{percent:.0f} % off {name}" + (f" from {minimum:.0f}" if minimum else "")
                        for name, percent, minimum in zip(of_coupon, off, minimums, strict=True)
                    ],
                    "discount_type": "percent",
                    "discount_value": off,
                    "min_spend": pl.Series([minimum or None for minimum in minimums.tolist()], dtype=pl.Float64),
                    "stackable": True,
                }
            ),
            "coupon_products": pl.DataFrame(
                {
                    "coupon_id": pl.Series(coupon_ids).gather(for_coupon),
                    "product_id": identifiers("P", for_product),
                }
            ),
            "campaigns": pl.DataFrame(
                {
                    "campaign_id": campaigns,
                    "name": [name.capitalize().replace("-", " ") for name in campaigns],
                    "kind": kinds,
                    "starts_at": starts,
                    "ends_at": [start + timedelta(weeks=1) for start in starts],
                }
            ),
            "campaign_coupons": pl.DataFrame(
                {
                    "campaign_id": np.repeat(campaigns, len(coupon_ids)).tolist(),
                    "coupon_id": coupon_ids * len(campaigns),
                }
            ),
        }


class _History:
    """All shoppers, lived through week by week."""

    def __init__(self, shop: SaleEventsShop, catalogue: _Catalogue) -> None:
        self._shop, self._catalogue = shop, catalogue
        self._random = random = np.random.default_rng([shop.seed, 1])
        count, categories = shop.shoppers, len(catalogue.categories)
        self._pace = PACE * random.lognormal(0, PACE_SPREAD, count)
        likes = catalogue.liked + random.normal(0, TASTE, (count, categories))
        self._taste = np.exp(likes) / np.exp(likes).sum(axis=1, keepdims=True)
        self._level = random.normal(0, LEVEL, count)
        self._tempted = random.lognormal(0, TEMPTED, count)
        self._waits = random.random(count)
        self._came = np.where(random.random(count) < CAME_LATER, random.integers(0, WEEKS, count), 0)
        left = random.integers(self._came, WEEKS + 1)
        self._left = np.where(random.random(count) < GONE, left, WEEKS + 2)
        self._lines: list[pl.DataFrame] = []
        self._treated: dict[int, np.ndarray] = {}

    def chances(self, week: int) -> np.ndarray:
        """(shoppers, coupons): how likely each coupon is used in a campaign of a week."""
        turned = WITH_COUPONS_OF_EVENT if week in (*EVENTS, WEEKS) else WITH_COUPONS_OF_MEMBERS
        pace = self._pace_in(week) * turned * len(self._catalogue.categories)
        off = (np.array([percent for percent, _times in STEPS]) / 10) ** self._tempted[:, None]
        spends = np.log(2 * self._catalogue.middling) + self._level[:, None]
        with np.errstate(divide="ignore"):
            too_dear = np.log(self._catalogue.minimums) - spends[:, :, None]
        reached = norm.cdf(-too_dear / SHARPNESS)
        rate = pace[:, None, None] * self._taste[:, :, None] * off[:, None, :] * reached
        return (1 - np.exp(-rate)).reshape(len(pace), -1)

    def live(self, week: int) -> None:
        """Live through a week: things are bought, and in a campaign with coupons too."""
        random, catalogue = self._random, self._catalogue
        wants = self._pace_in(week)[:, None] * self._taste
        shopper, category = np.nonzero(random.random(wants.shape) < 1 - np.exp(-wants))
        bought = np.stack([shopper, category, np.full(len(shopper), -1)], axis=1)
        if week in PAST_CAMPAIGNS:
            bought = np.concatenate([bought, self._use_coupons(week)])
        shopper, category, step = bought.T
        # A product at about the shopper's level of prices.
        place = (PRODUCTS_OF_A_CATEGORY - 1) / 2 * (1 + self._level[shopper]) + random.normal(0, 0.8, len(shopper))
        product = np.clip(place.round(), 0, PRODUCTS_OF_A_CATEGORY - 1).astype(int)
        price = catalogue.prices[category, product]
        minimum = np.where(step >= 0, catalogue.minimums[category, step], 0.0)
        self._lines.append(
            pl.DataFrame(
                {
                    "week": np.full(len(shopper), week),
                    "shopper": shopper,
                    "product": category * PRODUCTS_OF_A_CATEGORY + product,
                    "quantity": np.maximum(1, np.ceil(minimum / price)).astype(int),
                    "price": price,
                    "coupon": np.where(step >= 0, category * len(STEPS) + step, -1),
                }
            )
        )

    def _use_coupons(self, week: int) -> np.ndarray:
        """(n, 3): shopper, category and step of the coupons that are used; of each category one by a shopper."""
        treated = np.flatnonzero(self._random.random(self._shop.shoppers) < TREATED_SHARE)
        self._treated[week] = treated[self._came[treated] <= week]
        chances = self.chances(week)[self._treated[week]]
        row, coupon = np.nonzero(self._random.random(chances.shape) < chances)
        return np.stack([self._treated[week][row], coupon // len(STEPS), coupon % len(STEPS)], axis=1)

    def _pace_in(self, week: int) -> np.ndarray:
        """Orders in a week of each shopper."""
        is_there = np.where(self._came > week, 0.0, np.where(self._left <= week, PACE_OF_GONE, 1.0))
        of_week = np.ones(self._shop.shoppers)
        if week in (*EVENTS, WEEKS):
            of_week = 1 + (IN_EVENT - 1) * 2 * self._waits
        elif any(week < event <= week + 2 for event in (*EVENTS, WEEKS)):
            of_week = 1 - (1 - BEFORE_EVENT) * 2 * self._waits
        return self._pace * is_there * np.maximum(of_week, 0.05)

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the export that are about shoppers."""
        shop = self._shop
        shopper_ids = pl.Series(identifiers("S", np.arange(shop.shoppers)))
        lines = pl.concat(self._lines)
        orders = (
            lines.group_by("week", "shopper").agg(with_coupon=(pl.col("coupon") >= 0).any()).sort("week", "shopper")
        )
        seconds = self._draw_seconds(orders["week"].to_numpy(), orders["with_coupon"].to_numpy())
        begins = pl.lit(shop.starts_at(0))
        orders = (
            orders.with_columns(
                (begins + pl.duration(weeks="week") + pl.duration(seconds=pl.lit(pl.Series(seconds)))).alias(
                    "ordered_at"
                )
            )
            .sort("ordered_at", "shopper", descending=True)
            .with_columns(pl.Series("order_id", identifiers("A", np.arange(orders.height))))
        )
        lines = lines.join(orders, on=["week", "shopper"]).sort("order_id", "product", "coupon")
        with_coupon = pl.col("coupon") >= 0
        percent = pl.lit(pl.Series([STEPS[coupon % len(STEPS)][0] for coupon in lines["coupon"]]))
        costs = (pl.col("price") * pl.col("quantity")).round(2)
        lines = lines.with_columns(
            pl.when(with_coupon)
            .then(pl.format("C{}", pl.col("coupon").cast(pl.String).str.zfill(7)))
            .alias("coupon_id"),
            pl.when(with_coupon).then((costs * percent / 100).round(2)).otherwise(0.0).alias("coupon_discount"),
            shopper_ids.gather(lines["shopper"]).alias("shopper_id"),
            pl.Series("product_id", identifiers("P", lines["product"].to_numpy())),
        )
        came = [shop.starts_at(int(week)) if week else None for week in self._came]
        orders = orders.sort("order_id")
        return {
            "shoppers": pl.DataFrame(
                {"shopper_id": shopper_ids, "joined_at": pl.Series(came, dtype=pl.Datetime("us", "UTC"))}
            ),
            "orders": orders.select(
                "order_id", shopper_ids.gather(orders["shopper"]).alias("shopper_id"), "ordered_at"
            ),
            "order_lines": lines.select(
                "order_id",
                "product_id",
                "quantity",
                (costs - pl.col("coupon_discount")).round(2).alias("amount"),
                "coupon_discount",
                "coupon_id",
            ),
            "campaign_shoppers": pl.concat(
                pl.DataFrame({"shopper_id": shopper_ids.gather(treated)}).with_columns(
                    pl.lit(_past_name(week)).alias("campaign_id")
                )
                for week, treated in self._treated.items()
            ),
            "redemptions": lines.filter(with_coupon).select(
                "shopper_id",
                "coupon_id",
                pl.col("ordered_at").alias("redeemed_at"),
                pl.format("week-{}", "week").alias("campaign_id"),
                "order_id",
                pl.col("coupon_discount").alias("discount_amount"),
            ),
        }

    def _draw_seconds(self, weeks: np.ndarray, with_coupon: np.ndarray) -> np.ndarray:
        """When in its week each order is: by the hour of the day, and in an event mostly when it begins. Coupons of an
        event are used once they hold."""
        random, in_event = self._random, np.isin(weeks, EVENTS)
        day = np.where(
            in_event, random.choice(7, len(weeks), p=np.array(BY_DAY_OF_EVENT)), random.integers(0, 7, len(weeks))
        )
        day = np.where(in_event & with_coupon, np.maximum(day, WARM_UP_DAYS), day)
        usual = np.array(BY_HOUR, dtype=float)
        first = usual.copy()
        first[0] *= FIRST_HOUR
        hour = np.where(
            in_event & (day == WARM_UP_DAYS),
            random.choice(24, len(weeks), p=first / first.sum()),
            random.choice(24, len(weeks), p=usual / usual.sum()),
        )
        return day * 86_400 + hour * 3_600 + random.integers(0, 3_600, len(weeks))


def _past_name(week: int) -> str:
    return f"week-{week}"
