"""A made-up shop for the home whose truth is known. ``docs/presets/home.md`` tells its story.

Shoppers do up their homes in projects, and a project has stages: what is needed in one is bought in few large baskets,
and weeks go by until the next. A coupon is likely to be used if what it is for is needed now or soon; not if it was
needed before, and hardly by somebody who does nothing of the kind. When a project is finished, its things are not
offered any more, and not used. Things of every day are bought beside.

The shop is simulated week by week for all shoppers at once. Everything follows from the seed.
"""

from collections import defaultdict
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

WEEKS = 80  # of history
#: A past campaign starts every so many weeks and lasts as long; the live one begins where history ends.
CAMPAIGN_WEEKS = 4
PAST_CAMPAIGNS = 9
TREATED_SHARE = 0.5

#: By project, the weeks that go by between two of its stages, and its stages with the kinds of things that they need.
PROJECTS: Mapping[str, tuple[float, Mapping[str, tuple[str, ...]]]] = {
    "Walls": (
        2.5,
        {
            "Paint": ("Wall paint", "Primer"),
            "Painting": ("Rollers", "Masking tape", "Dust sheets"),
            "Finish": ("Pictures", "Curtain rails"),
        },
    ),
    "Bathroom": (
        5.0,
        {
            "Tiling": ("Tiles", "Tile adhesive", "Grout"),
            "Fitting": ("Washbasins", "Taps", "Shower heads"),
            "Finish": ("Mirrors", "Towel rails", "Bath mats"),
        },
    ),
    "Kitchen": (
        6.0,
        {
            "Units": ("Kitchen units", "Worktops"),
            "Fitting": ("Sinks", "Hobs"),
            "Lights": ("Under-cabinet lights", "Sockets"),
            "Finish": ("Handles", "Bar stools"),
        },
    ),
    "Floor": (
        3.0,
        {
            "Ground": ("Underlay", "Levelling compound"),
            "Laying": ("Laminate", "Spacers"),
            "Edges": ("Skirting boards", "Thresholds"),
            "Finish": ("Rugs", "Floor care"),
        },
    ),
    "Terrace": (
        4.0,
        {
            "Decking": ("Decking boards", "Joists"),
            "Planting": ("Planters", "Potting soil"),
            "Finish": ("Garden furniture", "Outdoor lights", "Parasols"),
        },
    ),
    "Nursery": (
        7.0,
        {
            "Room": ("Wallpaper", "Blackout blinds"),
            "Furniture": ("Cots", "Changing tables", "Wardrobes"),
            "Finish": ("Night lights", "Mobiles"),
        },
    ),
}
#: Kinds that belong to no project.
GENERAL = ("Candles", "House plants", "Cushions", "Storage boxes", "Batteries", "Bedding", "Vases", "Light bulbs")
PRODUCTS_OF_A_KIND = 2
#: The chance a week that a shopper begins a project, and how much that differs between shoppers and projects; after so
#: many weeks one that was finished may be begun again.
BEGUN, BEGUN_SPREAD, AGAIN = 0.009, 0.9, 40
#: How much the weeks between stages differ between shoppers, and from one time to the next.
PACE_SPREAD, GAP_SPREAD = 0.35, 0.3
#: The share of a stage's kinds that a shopper needs; the chance a week of going for them; what is brought home then.
NEEDED_SHARE, TRIP, BROUGHT = 0.92, 0.35, 0.8
#: The chance a week that a thing of every day is bought, and in a basket with things of a project.
BOUGHT_GENERAL, BESIDE = 0.02, 0.15
#: Log-odds of a use: of anything; of what is needed now; of what was needed before; of a project that the shopper is
#: not in: of what begins it and of the rest; of a thing of every day; of ten percent more off.
BASE, NEEDED, OVER, BEGINS, STRANGE, OF_GENERAL, OF_DISCOUNT = -3.6, 4.8, -2.0, -0.6, -1.6, 0.2, 0.4
#: By so many weeks ahead half of what a need weighs is left, and how steep that is.
HALF_READY, READINESS = 4.0, 1.3
#: The spreads between shoppers: of how much they use coupons, and of what they like of the things of every day.
HABIT, LIKING = 0.6, 0.6


@dataclass(frozen=True)
class Kind:
    """A kind of thing: of a stage of a project, by their numbers, or of none (-1)."""

    path: tuple[str, ...]
    project: int = -1
    stage: int = -1


KINDS = (
    *(
        Kind((project, stage, kind), number, place)
        for number, (project, (_gap, stages)) in enumerate(PROJECTS.items())
        for place, (stage, kinds) in enumerate(stages.items())
        for kind in kinds
    ),
    *(Kind(("Every day", kind)) for kind in GENERAL),
)
_PROJECT = np.array([kind.project for kind in KINDS])
_STAGE = np.array([kind.stage for kind in KINDS])
_OF_PROJECT = np.flatnonzero(_PROJECT >= 0)
_LAST_STAGE = np.array([len(stages) - 1 for _gap, stages in PROJECTS.values()])
_GAP = np.array([gap for gap, _stages in PROJECTS.values()])
#: Where a shopper stands who is in no stage of a project, and who has finished it.
NOT_IN, FINISHED = -1, 99


class HomeShop(MadeUpShop):
    """What is made."""

    weeks = WEEKS

    def tables(self, progress: Progress = Progress()) -> dict[str, pl.DataFrame]:
        return self._catalogue.tables(self) | self._history(progress).tables()

    def true_probabilities(self) -> pl.DataFrame:
        history = self._history(Progress())
        return truth_of(history.chances(WEEKS), history.may_have())

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
    rows = HomeShop.ending_with(shift_to, shoppers=shoppers, seed=seed).write(folder, progress)
    return {"stages of projects": rows["project_stages"], "orders": rows["orders"]}


@dataclass(frozen=True)
class _Catalogue:
    """What is on sale: products of each kind, in their order; and a coupon for each kind.

    Attributes:
        prices: by product.
        discounts: by coupon, in percent.
    """

    prices: np.ndarray
    discounts: np.ndarray

    @classmethod
    def draw(cls, random: np.random.Generator) -> "_Catalogue":
        large = np.repeat(_PROJECT >= 0, PRODUCTS_OF_A_KIND)
        prices = np.where(large, random.lognormal(3.6, 0.8, len(large)), random.lognormal(2.2, 0.4, len(large)))
        return cls(prices.round(2), random.choice([10.0, 15.0, 20.0, 25.0], len(KINDS)))

    def tables(self, shop: HomeShop) -> dict[str, pl.DataFrame]:
        coupon_ids = identifiers("C", np.arange(len(KINDS)))
        campaigns = [LIVE_CAMPAIGN, *(_campaign_id(week) for week in PAST_STARTS)]
        starts = [shop.until, *(shop.starts_at(week) for week in PAST_STARTS)]
        paths = [CATEGORY_SEPARATOR.join(kind.path) for kind in KINDS]
        projects = list(PROJECTS)
        stages = sorted({(kind.project, kind.stage, kind.path[1]) for kind in KINDS if kind.project >= 0})
        return {
            "products": pl.DataFrame(
                {
                    "product_id": identifiers("P", np.arange(len(self.prices))),
                    "name": [f"{kind.path[-1]} {number + 1}" for kind in KINDS for number in range(PRODUCTS_OF_A_KIND)],
                    "category": [path for path in paths for _number in range(PRODUCTS_OF_A_KIND)],
                    "price": self.prices,
                }
            ),
            "project_stages": pl.DataFrame(
                {
                    "project": [projects[project] for project, _place, _stage in stages],
                    "position": [place + 1 for _project, place, _stage in stages],
                    "stage": [stage for _project, _place, stage in stages],
                    "category": [
                        CATEGORY_SEPARATOR.join((projects[project], stage)) for project, _place, stage in stages
                    ],
                }
            ),
            "coupons": pl.DataFrame(
                {
                    "coupon_id": coupon_ids,
                    "offer_id": identifiers("O", np.arange(len(KINDS))),
                    "title": [kind.path[-1] for kind in KINDS],
                    "discount_type": "percent",
                    "discount_value": self.discounts,
                }
            ),
            "coupon_products": pl.DataFrame({"coupon_id": coupon_ids, "category": paths}),
            "campaigns": pl.DataFrame(
                {
                    "campaign_id": campaigns,
                    "name": [name.capitalize().replace("-", " ") for name in campaigns],
                    "kind": "home",
                    "starts_at": starts,
                    "ends_at": [start + timedelta(weeks=CAMPAIGN_WEEKS) for start in starts],
                }
            ),
            "campaign_coupons": pl.DataFrame(
                {
                    "campaign_id": np.repeat(campaigns, len(KINDS)).tolist(),
                    "coupon_id": coupon_ids * len(campaigns),
                }
            ),
        }


class _History:
    """All shoppers, lived through week by week: in which stage of each project they are, and what they need."""

    def __init__(self, shop: HomeShop, catalogue: _Catalogue) -> None:
        self._shop, self._catalogue = shop, catalogue
        self._random = random = np.random.default_rng([shop.seed, 1])
        size = (shop.shoppers, len(PROJECTS))
        self._begins = BEGUN * random.lognormal(0, BEGUN_SPREAD, size)
        self._gaps = _GAP * random.lognormal(0, PACE_SPREAD, (shop.shoppers, 1))
        self._habit = random.normal(0, HABIT, shop.shoppers)
        #: To each kind of every day.
        self._liking = random.normal(0, LIKING, (shop.shoppers, len(GENERAL)))
        self._stage = np.full(size, NOT_IN)
        #: The week from which on the stage's things are needed, and that in which the project was finished.
        self._opens = np.zeros(size)
        self._finished = np.full(size, -AGAIN)
        self._needs = np.zeros((shop.shoppers, len(KINDS)), dtype=bool)
        self._lines: list[pl.DataFrame] = []
        self._treated: dict[int, np.ndarray] = {}
        #: (n, 4) each: week, shopper, coupon and the campaign's week.
        self._to_come: list[np.ndarray] = []

    def may_have(self) -> np.ndarray:
        """(shoppers, coupons): whether what a coupon is for is of no project, or of one that is not finished."""
        allowed = np.ones((self._shop.shoppers, len(KINDS)), dtype=bool)
        allowed[:, _OF_PROJECT] = self._stage[:, _PROJECT[_OF_PROJECT]] != FINISHED
        return allowed

    def chances(self, week: int) -> np.ndarray:
        """(shoppers, coupons): how likely each coupon is used in a campaign that begins now."""
        log_odds = np.full((self._shop.shoppers, len(KINDS)), BASE)
        projects, stages = _PROJECT[_OF_PROJECT], _STAGE[_OF_PROJECT]
        at = self._stage[:, projects]
        wait = np.clip(self._opens[:, projects] - week, 0, None) + (stages - at) * self._gaps[:, projects]
        needed = NEEDED * expit((HALF_READY - wait) / READINESS)
        in_project = np.where((stages >= at) & self._needs[:, _OF_PROJECT], needed, OVER)
        stranger = np.where(stages == 0, BEGINS, STRANGE)
        log_odds[:, _OF_PROJECT] += np.where(at == NOT_IN, stranger, in_project)
        log_odds[:, len(_OF_PROJECT) :] += OF_GENERAL + self._liking
        return expit(log_odds + OF_DISCOUNT * (self._catalogue.discounts - 20) / 10 + self._habit[:, None])

    def live(self, week: int) -> None:
        """Live through a week: a campaign may begin, projects are begun, and things are bought."""
        if week in PAST_STARTS:
            self._begin_campaign(week)
        redeemed = np.concatenate([np.zeros((0, 4), dtype=np.int64), *self._to_come])
        redeemed = redeemed[redeemed[:, 0] == week]
        bought = self._buy(week)
        shopper = np.concatenate([bought[:, 0], redeemed[:, 1]])
        kind = np.concatenate([bought[:, 1], redeemed[:, 2]])
        product = kind * PRODUCTS_OF_A_KIND + self._random.integers(0, PRODUCTS_OF_A_KIND, len(kind))
        self._lines.append(
            pl.DataFrame(
                {
                    "week": np.full(len(kind), week),
                    "shopper": shopper,
                    "kind": kind,
                    "product": product,
                    "campaign": [None] * len(bought) + redeemed[:, 3].tolist(),
                    "price": self._catalogue.prices[product],
                },
                schema_overrides={"campaign": pl.Int64},
            )
        )
        self._move_on(week, shopper, kind)

    def _begin_campaign(self, week: int) -> None:
        treated = np.flatnonzero(self._random.random(self._shop.shoppers) < TREATED_SHARE)
        self._treated[week] = treated
        chances = np.where(self.may_have(), self.chances(week), 0.0)[treated]
        row, coupon = np.nonzero(self._random.random(chances.shape) < chances)
        when = week + self._random.integers(0, CAMPAIGN_WEEKS, len(row))
        self._to_come.append(np.stack([when, treated[row], coupon, np.full(len(row), week)], axis=1))

    def _buy(self, week: int) -> np.ndarray:
        """(n, 2): shopper and kind of what is bought in a week without a coupon."""
        random = self._random
        out = (self._stage == NOT_IN) | ((self._stage == FINISHED) & (week - self._finished >= AGAIN))
        begun = out & (random.random(out.shape) < self._begins)
        shopper, project = np.nonzero(begun)
        for one, of in zip(shopper.tolist(), project.tolist(), strict=True):
            self._begin(one, of, 0, week)
        active = (self._stage != NOT_IN) & (self._stage != FINISHED) & (self._opens <= week)
        trips = begun | (active & (random.random(active.shape) < TRIP))  # a project begins with a basket
        now = _STAGE[_OF_PROJECT] == self._stage[:, _PROJECT[_OF_PROJECT]]
        wanted = trips[:, _PROJECT[_OF_PROJECT]] & now & self._needs[:, _OF_PROJECT]
        is_last = _STAGE[_OF_PROJECT] == _LAST_STAGE[_PROJECT[_OF_PROJECT]]
        whole = is_last | begun[:, _PROJECT[_OF_PROJECT]]  # at once: what begins a project and what finishes it
        brought = wanted & (whole | (random.random(wanted.shape) < BROUGHT))
        of_project = np.stack(np.nonzero(brought), axis=1)  # kinds of projects come first
        everyday = np.where(trips.any(axis=1), BESIDE, BOUGHT_GENERAL)[:, None]
        likely = everyday * np.exp(self._liking)
        shopper, general = np.nonzero(random.random(likely.shape) < likely)
        return np.concatenate([of_project, np.stack([shopper, len(_OF_PROJECT) + general], axis=1)])

    def _begin(self, shopper: int, project: int, stage: int, week: int) -> None:
        """Somebody needs the things of a stage of a project, and will need those of the stages after it."""
        self._stage[shopper, project], self._opens[shopper, project] = stage, week
        of_project = np.flatnonzero((project == _PROJECT) & (stage <= _STAGE))
        needs = self._random.random(len(of_project)) < NEEDED_SHARE
        for place in range(stage, _LAST_STAGE[project] + 1):  # of every stage something
            here = np.flatnonzero(_STAGE[of_project] == place)
            if not needs[here].any():
                needs[self._random.choice(here)] = True
        self._needs[shopper, of_project] = needs

    def _move_on(self, week: int, shoppers: np.ndarray, kinds: np.ndarray) -> None:
        """What was bought is needed no more, and a stage of which nothing is needed is over. The first thing of a
        project begins it, in whatever stage, and the first of its last stage finishes it."""
        of_project: dict[tuple[int, int], list[int]] = defaultdict(list)
        for one, kind in zip(shoppers.tolist(), kinds.tolist(), strict=True):
            if KINDS[kind].project >= 0:
                of_project[one, KINDS[kind].project].append(kind)
        for (one, project), bought in of_project.items():
            stages = _STAGE[bought]
            if stages.max() == _LAST_STAGE[project]:
                self._stage[one, project], self._finished[one, project] = FINISHED, week
                self._needs[one, project == _PROJECT] = False
                continue
            if self._stage[one, project] == NOT_IN or (self._stage[one, project] == FINISHED and stages.min() == 0):
                self._begin(one, project, int(stages.max()), week)
            if self._stage[one, project] == FINISHED:
                continue  # a coupon that was used after all
            self._needs[one, bought] = False
            at = self._stage[one, project]
            while not self._needs[one, (project == _PROJECT) & (at == _STAGE)].any():
                at += 1
                gap = self._gaps[one, project] * self._random.lognormal(0, GAP_SPREAD)
                self._opens[one, project] = max(week, self._opens[one, project]) + max(1.0, gap)
            self._stage[one, project] = at

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of the export that are about shoppers."""
        shop, catalogue = self._shop, self._catalogue
        begins = pl.lit(shop.starts_at(0))
        shopper_ids = pl.Series(identifiers("S", np.arange(shop.shoppers)))
        product_ids = pl.Series(identifiers("P", np.arange(len(catalogue.prices))))
        lines = pl.concat(self._lines)
        orders = lines.select("week", "shopper").unique().sort("week", "shopper")
        seconds = pl.Series(self._random.integers(0, 7 * 86_400 - 3_600, orders.height))
        orders = (
            orders.with_columns(
                (begins + pl.duration(weeks="week") + pl.duration(seconds=pl.lit(seconds))).alias("ordered_at")
            )
            .sort("ordered_at", "shopper", descending=True)
            .with_columns(pl.Series("order_id", identifiers("A", np.arange(orders.height))))
        )
        lines = lines.join(orders, on=["week", "shopper"]).sort("order_id", "product", "campaign", nulls_last=True)
        with_coupon = pl.col("campaign").is_not_null()
        discount = pl.lit(pl.Series(catalogue.discounts[lines["kind"].to_numpy()]))
        coupon_ids = pl.Series(identifiers("C", lines["kind"].to_numpy()))
        lines = lines.with_columns(
            pl.when(with_coupon).then(pl.lit(coupon_ids)).alias("coupon_id"),
            pl.when(with_coupon)
            .then((pl.col("price") * discount / 100).round(2))
            .otherwise(0.0)
            .alias("coupon_discount"),
            shopper_ids.gather(lines["shopper"]).alias("shopper_id"),
            product_ids.gather(lines["product"]).alias("product_id"),
        )
        orders = orders.sort("order_id")
        return {
            "shoppers": pl.DataFrame({"shopper_id": shopper_ids}),
            "orders": orders.select(
                "order_id", shopper_ids.gather(orders["shopper"]).alias("shopper_id"), "ordered_at"
            ),
            "order_lines": lines.select(
                "order_id",
                "product_id",
                pl.lit(1).alias("quantity"),
                (pl.col("price") - pl.col("coupon_discount")).round(2).alias("amount"),
                "coupon_discount",
                "coupon_id",
            ),
            "campaign_shoppers": pl.concat(
                pl.DataFrame({"shopper_id": shopper_ids.gather(treated)}).with_columns(
                    pl.lit(_campaign_id(week)).alias("campaign_id")
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
        }


def _campaign_id(week: int) -> str:
    return LIVE_CAMPAIGN if week == WEEKS else f"week-{week}"
