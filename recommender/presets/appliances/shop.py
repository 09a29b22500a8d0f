"""A made-up shop of smart appliances whose truth is known. ``docs/presets/appliances.md`` tells its story.

Shoppers own devices; each has parts that wear with its use, and accessories that fit it. Devices report their use every
week. A coupon is used the likelier the nearer the part that it replaces is to its end, the higher its discount, and the
more the shopper uses coupons at all; never for a device that the shopper does not own. Parts are bought without coupons
too, mostly when they are worn out.

The shop is simulated week by week for all shoppers at once. Everything follows from the seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import expit

from recommender.models import CATEGORY_SEPARATOR
from recommender.presets.made_up import LIVE_CAMPAIGN, MadeUpShop, identifiers, truth_of
from recommender.progress import Progress

WEEKS = 78  # of history
LAST_ACQUIRED = 64  # the week from which on no devices are bought any more
#: A past campaign starts every so many weeks and lasts as long; the live one begins where history ends.
CAMPAIGN_WEEKS = 4
PAST_CAMPAIGNS = 9
TREATED_SHARE = 0.5

BRANDS = ("Aurel", "Bonni", "Cirro", "Dovita")
MODELS_A_BRAND = 2
#: By kind of device: hours, cycles or litres of use a week, the share of shoppers who own one, and its parts with their
#: lives in the same unit. Without a life: an accessory or a service, which is bought whenever it is wanted.
KINDS: Mapping[str, tuple[float, float, Mapping[str, float | None]]] = {
    "Robot vacuum": (6.0, 0.45, {"Filter": 110.0, "Side brush": 150.0, "Main brush": 260.0, "Carrying bag": None}),
    "Air purifier": (70.0, 0.35, {"HEPA filter": 2_400.0, "Carbon filter": 1_300.0, "Inspection": None}),
    "Water filter": (35.0, 0.30, {"Cartridge": 300.0, "Seal": 1_500.0, "Spare jug": None}),
    "Coffee machine": (18.0, 0.50, {"Descaler": 200.0, "Water filter": 130.0, "Brew group": 900.0, "Milk jug": None}),
    "Toothbrush": (0.5, 0.55, {"Brush head": 6.0, "Travel case": None}),
    "Washing machine": (4.0, 0.60, {"Drum cleaner": 40.0, "Lint filter": 90.0, "Service": None}),
    "Humidifier": (40.0, 0.20, {"Wick": 520.0, "Scale pad": 260.0, "Remote control": None}),
}
#: Tells the share of its parts' lives that is used up; the others tell how much they were used.
MEASURES_ITS_PARTS = "Air purifier"
GENERAL = ("Detergents", "Kitchen cloths", "Batteries", "Light bulbs", "Storage boxes", "Coffee beans")
PRODUCTS_OF_A_GENERAL = 4
#: Log-odds of a use: of anybody and anything, for a part of which nothing is used, for one that is worn out; where
#: between these the half is reached and how steep that is; ten percent more off; what is not for devices; an accessory.
BASE, FRESH, WORN, HALF_WORN, STEEPNESS = -3.2, -3.0, 4.2, 0.85, 0.07
OF_DISCOUNT, OF_GENERAL, OF_ACCESSORY = 0.5, -1.4, -1.6
#: The spread between shoppers of how much they use coupons, and of how much they like each kind of general thing.
HABIT, LIKING = 0.6, 0.6
#: The chance a week that a part is bought without a coupon: of a fresh one, and of one that is worn out; and the share
#: of its life at which it lies half way between.
BOUGHT_FRESH, BOUGHT_WORN, BOUGHT_HALF = 0.002, 0.18, 0.95
BOUGHT_ACCESSORY, BOUGHT_GENERAL = 0.004, 0.05


class AppliancesShop(MadeUpShop):
    """What is made."""

    weeks = WEEKS

    def tables(self, progress: Progress = Progress()) -> dict[str, pl.DataFrame]:
        return self._catalogue.tables(self) | self._history(progress).tables()

    def true_probabilities(self) -> pl.DataFrame:
        history = self._history(Progress())
        return truth_of(history.chances(), history.owned_by(WEEKS))

    @cached_property
    def _catalogue(self) -> "_Catalogue":
        return _Catalogue.draw(np.random.default_rng([self.seed, 0]))

    def _history(self, progress: Progress) -> "_History":
        history = _History(self, self._catalogue)
        for week in range(WEEKS):
            progress.report("Living through the weeks", week, WEEKS)
            history.live(week)
        return history


#: The weeks in which the past campaigns began.
PAST_STARTS = tuple(WEEKS - CAMPAIGN_WEEKS * number for number in range(PAST_CAMPAIGNS, 0, -1))


def write_export(
    *, folder: Path, shift_to: date | None, shoppers: int, seed: int, progress: Progress
) -> Mapping[str, int]:
    """Write the export; see :meth:`recommender.presets.Preset.write_export`."""
    rows = AppliancesShop.ending_with(shift_to, shoppers=shoppers, seed=seed).write(folder, progress)
    return {"devices": rows["devices"], "reports of their use": rows["events"]}


@dataclass(frozen=True)
class _Catalogue:
    """What is on sale. Products are numbered: models first, then parts, then general things; a coupon for each part and
    each general thing, in their order.

    Attributes:
        names, categories, brands, prices: by product.
        kinds: of each model, its kind's number.
        fits: (parts, models), whether a part fits a model.
        lives: of each part, NaN where it does not wear out.
        parts: of each part, what it is called.
        groups: of each general thing, which of :data:`GENERAL` it is of.
        discounts: by coupon, in percent.
    """

    names: list[str]
    categories: list[str]
    brands: list[str]
    prices: np.ndarray
    kinds: np.ndarray
    fits: np.ndarray
    lives: np.ndarray
    parts: list[str]
    groups: np.ndarray
    discounts: np.ndarray

    @classmethod
    def draw(cls, random: np.random.Generator) -> "_Catalogue":
        models = [
            (kind, brand, f"{brand} {kind.lower()} {number + 1}")
            for kind in KINDS
            for brand in BRANDS
            for number in range(MODELS_A_BRAND)
        ]
        parts = [(kind, brand, part) for kind in KINDS for brand in BRANDS for part in KINDS[kind][2]]
        general = [(group, f"{group} {number + 1}") for group in GENERAL for number in range(PRODUCTS_OF_A_GENERAL)]
        kind_numbers = {kind: number for number, kind in enumerate(KINDS)}
        lives = [KINDS[kind][2][part] for kind, _brand, part in parts]
        return cls(
            names=[
                *(name for _kind, _brand, name in models),
                *(f"{part} for {brand} {kind.lower()}" for kind, brand, part in parts),
                *(name for _group, name in general),
            ],
            categories=[
                *(_path("Appliances", kind) for kind, _brand, _name in models),
                *(_path("Parts and accessories", kind, part) for kind, _brand, part in parts),
                *(_path("Household", group) for group, _name in general),
            ],
            brands=[
                *(brand for _kind, brand, _name in models),
                *(brand for _kind, brand, _part in parts),
                *("" for _each in general),
            ],
            prices=np.concatenate(
                [
                    random.uniform(60, 500, len(models)),
                    random.lognormal(2.6, 0.4, len(parts)),
                    random.lognormal(1.6, 0.4, len(general)),
                ]
            ).round(2),
            kinds=np.array([kind_numbers[kind] for kind, _brand, _name in models]),
            fits=np.array([[part[:2] == model[:2] for model in models] for part in parts]),
            lives=np.array([np.nan if life is None else life for life in lives]),
            parts=[part for _kind, _brand, part in parts],
            groups=np.repeat(np.arange(len(GENERAL)), PRODUCTS_OF_A_GENERAL),
            discounts=random.choice([10.0, 15.0, 20.0, 25.0], len(parts) + len(general)),
        )

    @property
    def coupons(self) -> int:
        return len(self.discounts)

    def tables(self, shop: AppliancesShop) -> dict[str, pl.DataFrame]:
        products, models = len(self.names), len(self.kinds)
        coupon_ids = identifiers("C", np.arange(self.coupons))
        part, model = np.nonzero(self.fits)
        campaigns = [LIVE_CAMPAIGN, *(_past_name(week) for week in PAST_STARTS)]
        starts = [shop.until, *(shop.starts_at(week) for week in PAST_STARTS)]
        return {
            "products": pl.DataFrame(
                {
                    "product_id": identifiers("P", np.arange(products)),
                    "name": self.names,
                    "category": self.categories,
                    "brand": self.brands,
                    "price": self.prices,
                }
            ),
            "device_parts": pl.DataFrame(
                {
                    "product_id": identifiers("P", models + part),
                    "device_product_id": identifiers("P", model),
                    "part": [self.parts[number] for number in part],
                    "life": pl.Series(self.lives[part]).fill_nan(None),
                }
            ),
            "coupons": pl.DataFrame(
                {
                    "coupon_id": coupon_ids,
                    "offer_id": identifiers("O", np.arange(self.coupons)),
                    "title": self.names[models:],
                    "discount_type": "percent",
                    "discount_value": self.discounts,
                }
            ),
            "coupon_products": pl.DataFrame(
                {"coupon_id": coupon_ids, "product_id": identifiers("P", models + np.arange(self.coupons))}
            ),
            "campaigns": pl.DataFrame(
                {
                    "campaign_id": campaigns,
                    "name": [name.capitalize().replace("-", " ") for name in campaigns],
                    "kind": "appliances",
                    "starts_at": starts,
                    "ends_at": [start + timedelta(weeks=CAMPAIGN_WEEKS) for start in starts],
                }
            ),
            "campaign_coupons": pl.DataFrame(
                {
                    "campaign_id": np.repeat(campaigns, self.coupons).tolist(),
                    "coupon_id": coupon_ids * len(campaigns),
                }
            ),
        }


class _History:
    """All shoppers, lived through week by week. A slot is a part in a device: what it has used of its life is known."""

    def __init__(self, shop: AppliancesShop, catalogue: _Catalogue) -> None:
        self._shop, self._catalogue = shop, catalogue
        self._random = random = np.random.default_rng([shop.seed, 1])
        self._habit = random.normal(0, HABIT, shop.shoppers)
        self._liking = random.normal(0, LIKING, (shop.shoppers, len(GENERAL)))
        shares = np.array([share for _use, share, _parts in KINDS.values()])
        # One device of a kind at most, so that each part that fits is a part of one device.
        self._owner, kind = np.nonzero(random.random((shop.shoppers, len(KINDS))) < shares)
        of_kind = len(BRANDS) * MODELS_A_BRAND
        self._model = kind * of_kind + random.integers(0, of_kind, len(kind))
        self._acquired = random.integers(0, LAST_ACQUIRED, len(kind))
        use = np.array([use for use, _share, _parts in KINDS.values()])
        self._pace = use[kind] * random.lognormal(0, 0.5, len(kind))
        self._slot_device, self._slot_part = np.nonzero(catalogue.fits.T[self._model])
        self._slot_owner = self._owner[self._slot_device]
        self._measures = kind == list(KINDS).index(MEASURES_ITS_PARTS)
        self._life = catalogue.lives[self._slot_part]
        self._used = np.zeros(len(self._life))
        #: (shoppers, parts): the slot, or -1.
        self._place = np.full((shop.shoppers, len(catalogue.parts)), -1)
        self._place[self._slot_owner, self._slot_part] = np.arange(len(self._life))
        #: Redemptions to come: week, shopper, coupon, campaign.
        self._to_come: list[np.ndarray] = []
        self._treated: dict[int, np.ndarray] = {}
        self._lines: list[pl.DataFrame] = []
        self._reports: list[pl.DataFrame] = []

    def chances(self) -> np.ndarray:
        """(shoppers, coupons): how likely each coupon is used in a campaign that begins now."""
        catalogue, parts = self._catalogue, len(self._catalogue.parts)
        log_odds = np.full((self._shop.shoppers, catalogue.coupons), -np.inf)
        worn = expit((self._used / self._life - HALF_WORN) / STEEPNESS)
        by_wear = np.where(np.isnan(self._life), OF_ACCESSORY, FRESH + (WORN - FRESH) * worn)
        log_odds[self._slot_owner, self._slot_part] = BASE + by_wear
        log_odds[:, parts:] = BASE + OF_GENERAL + self._liking[:, catalogue.groups]
        return expit(log_odds + OF_DISCOUNT * (catalogue.discounts - 20) / 10 + self._habit[:, None])

    def live(self, week: int) -> None:
        """Live through a week: a campaign may begin, things are bought, and devices are used."""
        if week in PAST_STARTS:
            self._begin_campaign(week)
        redeemed = np.concatenate([np.zeros((0, 4), dtype=np.int64), *self._to_come])
        redeemed = redeemed[redeemed[:, 0] == week]
        bought = self._buy(week)
        models, catalogue = len(self._catalogue.kinds), self._catalogue
        product = np.concatenate([bought[:, 1], models + redeemed[:, 2]])
        self._lines.append(
            pl.DataFrame(
                {
                    "week": np.full(len(product), week),
                    "shopper": np.concatenate([bought[:, 0], redeemed[:, 1]]),
                    "product": product,
                    "campaign": [None] * len(bought) + redeemed[:, 3].tolist(),
                    "price": catalogue.prices[product],
                },
                schema_overrides={"campaign": pl.Int64},
            )
        )
        shopper, part = self._lines[-1]["shopper"].to_numpy(), product - models
        is_part = (part >= 0) & (part < len(catalogue.parts))
        replaced = self._place[shopper[is_part], part[is_part]]
        self._used[replaced[replaced >= 0]] = 0.0
        self._use(week)

    def _begin_campaign(self, week: int) -> None:
        treated = np.flatnonzero(self._random.random(self._shop.shoppers) < TREATED_SHARE)
        self._treated[week] = treated
        chances = np.where(self.owned_by(week), self.chances(), 0.0)[treated]
        row, coupon = np.nonzero(self._random.random(chances.shape) < chances)
        when = week + self._random.integers(0, CAMPAIGN_WEEKS, len(row))
        self._to_come.append(np.stack([when, treated[row], coupon, np.full(len(row), week)], axis=1))

    def owned_by(self, week: int) -> np.ndarray:
        """(shoppers, coupons): whether what a coupon is for is for no device, or fits one that was bought before."""
        allowed = np.ones((self._shop.shoppers, self._catalogue.coupons), dtype=bool)
        allowed[:, : len(self._catalogue.parts)] = False
        known = self._acquired[self._slot_device] < week
        allowed[self._slot_owner[known], self._slot_part[known]] = True
        return allowed

    def _buy(self, week: int) -> np.ndarray:
        """(n, 2): shopper and product of what is bought in a week without a coupon."""
        random, catalogue = self._random, self._catalogue
        models = len(catalogue.kinds)
        new = np.flatnonzero(self._acquired == week)
        worn = expit((self._used / self._life - BOUGHT_HALF) / STEEPNESS)
        hazard = np.where(np.isnan(self._life), BOUGHT_ACCESSORY, BOUGHT_FRESH + (BOUGHT_WORN - BOUGHT_FRESH) * worn)
        bought = (self._acquired[self._slot_device] < week) & (random.random(len(hazard)) < hazard)
        likely = BOUGHT_GENERAL * np.exp(self._liking[:, catalogue.groups])
        shopper, general = np.nonzero(random.random(likely.shape) < likely)
        return np.concatenate(
            [
                np.stack([self._owner[new], self._model[new]], axis=1),
                np.stack([self._slot_owner[bought], models + self._slot_part[bought]], axis=1),
                np.stack([shopper, models + len(catalogue.parts) + general], axis=1),
            ]
        )

    def _use(self, week: int) -> None:
        """Devices are used, and report it at the end of the week."""
        use = (self._pace * self._random.lognormal(0, 0.3, len(self._pace))).round(3)
        use[self._acquired > week] = 0.0
        self._used += use[self._slot_device]
        device = np.flatnonzero((use > 0) & ~self._measures)
        part = np.flatnonzero((use > 0)[self._slot_device] & self._measures[self._slot_device] & ~np.isnan(self._life))
        count = len(device) + len(part)
        self._reports.append(
            pl.DataFrame(
                {
                    "week": np.full(count, week),
                    "shopper": np.concatenate([self._owner[device], self._slot_owner[part]]),
                    "product": np.concatenate(
                        [self._model[device], len(self._catalogue.kinds) + self._slot_part[part]]
                    ),
                    "value": np.concatenate([use[device], (self._used[part] / self._life[part]).round(4)]),
                    "early": self._random.integers(1, 3_600, count),
                }
            )
        )

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the export that are about shoppers."""
        shop, catalogue = self._shop, self._catalogue
        begins = pl.lit(shop.starts_at(0))
        shopper_ids = pl.Series(identifiers("S", np.arange(shop.shoppers)))
        product_ids = pl.Series(identifiers("P", np.arange(len(catalogue.names))))
        lines = pl.concat(self._lines)
        orders = lines.select("week", "shopper").unique().sort("week", "shopper")
        # A week's orders are over before its devices report.
        seconds = self._random.integers(0, 7 * 86_400 - 7_200, orders.height)
        orders = (
            orders.with_columns(
                (begins + pl.duration(weeks="week") + pl.duration(seconds=pl.lit(pl.Series(seconds)))).alias(
                    "ordered_at"
                )
            )
            .sort("ordered_at", "shopper", descending=True)
            .with_columns(pl.Series("order_id", identifiers("A", np.arange(orders.height))))
        )
        lines = lines.join(orders, on=["week", "shopper"]).sort("order_id", "product", "campaign", nulls_last=True)
        first_coupon = len(catalogue.kinds)
        discount = pl.lit(pl.Series(catalogue.discounts[lines["product"].to_numpy() - first_coupon]))
        off = (pl.col("price") * discount / 100).round(2)
        with_coupon = pl.col("campaign").is_not_null()
        coupon_ids = pl.Series(identifiers("C", lines["product"].to_numpy() - first_coupon))
        lines = lines.with_columns(
            pl.when(with_coupon).then(pl.lit(coupon_ids)).alias("coupon_id"),
            pl.when(with_coupon).then(off).otherwise(0.0).alias("coupon_discount"),
            shopper_ids.gather(lines["shopper"]).alias("shopper_id"),
            product_ids.gather(lines["product"]).alias("product_id"),
        )
        reports = pl.concat(self._reports)
        new = lines.join(
            pl.DataFrame({"shopper": self._owner, "product": self._model, "device": np.arange(len(self._owner))}),
            on=["shopper", "product"],
        ).sort("device")
        return {
            "shoppers": pl.DataFrame({"shopper_id": shopper_ids}),
            "orders": orders.sort("order_id").select(
                "order_id", shopper_ids.gather(orders.sort("order_id")["shopper"]).alias("shopper_id"), "ordered_at"
            ),
            "order_lines": lines.select(
                "order_id",
                "product_id",
                pl.lit(1).alias("quantity"),
                (pl.col("price") - pl.col("coupon_discount")).round(2).alias("amount"),
                "coupon_discount",
                "coupon_id",
            ),
            "devices": new.select(
                pl.Series("device_id", identifiers("D", new["device"].to_numpy())),
                "shopper_id",
                "product_id",
                pl.col("ordered_at").alias("acquired_at"),
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
                pl.format("week-{}", "campaign").alias("campaign_id"),
                "order_id",
                pl.col("coupon_discount").alias("discount_amount"),
            ),
            "events": reports.select(
                shopper_ids.gather(reports["shopper"]).alias("shopper_id"),
                pl.lit("usage").alias("kind"),
                (begins + pl.duration(weeks=pl.col("week") + 1) - pl.duration(seconds="early")).alias("occurred_at"),
                product_ids.gather(reports["product"]).alias("product_id"),
                "value",
            ),
        }


def _past_name(week: int) -> str:
    return f"week-{week}"


def _path(*levels: str) -> str:
    return CATEGORY_SEPARATOR.join(levels)
