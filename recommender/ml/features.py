"""What the supervised algorithms see of a (shopper, coupon) pair as of a moment.

All features are numbers from 0 up, in raw units (counts, days, money, shares); algorithms that want another scale make
it themselves. :data:`GROUPS` says which belong together, so that a score can be explained by groups; :data:`RISING` and
:data:`FALLING` which of them common sense gives a direction.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import ceil
from typing import ClassVar

import numpy as np
import polars as pl
from joblib import cpu_count
from scipy import sparse
from threadpoolctl import threadpool_limits

from recommender.ml import columns as c
from recommender.ml import shopper_profile as profile
from recommender.ml.affinity import GroupShares, PurchaseMatrix
from recommender.ml.behaviour import behaviour_model, behaviour_tables
from recommender.ml.by_shopper import ByShopper
from recommender.ml.catalogue import category_depth, coupon_products, product_categories
from recommender.ml.contract import Choose, ChosenPairs, DescribedHistory, Inputs, Sketch
from recommender.ml.devices import (
    DAYS_UNTIL_WORN,
    FITTED_DEVICES,
    MAY_HAVE,
    WORN_SHARE,
    CouponsForDevices,
    knows_devices,
)
from recommender.ml.freshness import DAYS_GOOD, GONE_SHARE, SEASON, USUAL_GAP, VISITS, FreshnessOfCoupons, knows_batches
from recommender.ml.history import History, Snapshot
from recommender.ml.people_alike import USE_BY_PEOPLE_ALIKE, use_by_people_alike
from recommender.ml.product_sets import (
    BUYERS,
    BUYERS_SHARE,
    OWN_PRODUCTS,
    RECENT_BUYERS_SHARE,
    sets_of_coupons,
)
from recommender.ml.projects import (
    BOUGHT_ALREADY,
    DAYS_IN_STAGE,
    IN_PROJECT,
    NOT_FINISHED,
    STAGE_GONE,
    STAGES_AHEAD,
    STAGES_BEHIND,
    ProjectsOfCoupons,
    knows_projects,
)
from recommender.ml.purchases import (
    AGE,
    DAYS_SINCE_LAST,
    FADED_AMOUNT,
    FADED_TIMES,
    FADED_TIMES_WITH_COUPON,
    RECENT_TIMES,
    TIMES,
    age_in_days,
    fading_weight,
    purchases,
)
from recommender.ml.standing import AmongShoppers, rank_in_list, reference_shoppers, share_of_best
from recommender.ml.tastes import Associations, LatentTastes, taught_by
from recommender.ml.threads import map_in_threads

LIKELY_TO_BUY = "likely_to_buy"
OWN_SHARE = "own_share_of_purchases"
LIFT = "share_against_the_shop"
OWN_LIFT = f"own_{LIFT}"
OWN_PART = "own_part"
CATEGORY_TIMES = "category_times"
CATEGORY_SHARE = "category_share_of_purchases"
BRAND_TIMES = "brand_times"
BRAND_FADED_TIMES = "brand_faded_times"
SALES_SHARE = "share_of_sales"
COUPON_RATE = "share_bought_with_coupon"
OFFER_USES = "own_uses_of_the_offer"
OFFER_INTEREST = "own_interest_in_the_offer"
OFFER_USE_RATE = "use_rate_of_the_offer"
PRODUCTS = "products_of_the_coupon"
PRODUCT_PRICE = "price_of_its_products"
PRODUCT_RATING = "rating_of_its_products"
PRODUCT_DISCOUNT = "discount_on_its_products"
COUPONS_ON_OFFER = "coupons_on_offer"
TASTE = "nearness_of_taste"
ASSOCIATION = "association_with_purchases"
DISCOUNT_VALUE = "discount_value"
MIN_SPEND = "min_spend"

#: What is said of a coupon whose offer nobody was sent before: nothing is known, so the prior's rate.
PRIOR_OFFER_USES, PRIOR_OFFER_CHANCES = 0.5, 100.0
#: Purchases with a coupon, and purchases, that all products are credited with, for the same reason.
PRIOR_COUPON_TIMES, PRIOR_TIMES = 0.5, 50.0
#: Shoppers that are described at once, with all coupons, at most: few enough for a processor's memory.
SHOPPERS_AT_ONCE = 512
#: The kinds of purchases that affinities are told of.
KINDS = (TIMES, FADED_TIMES, RECENT_TIMES, FADED_TIMES_WITH_COUPON)
#: The number of no shopper, larger than all others.
NOBODY = 2**32 - 1
#: Purchases like the whole shop's that every shopper is credited with, so that one purchase is not a taste.
PRIOR_TASTE = 1.0

#: The product groups that a coupon's products are in: the deepest level of categories that is not too fine to say what
#: a shopper likes, and the level below it.
CATEGORY_LEVELS = ("category", "subcategory")


def _of(level: str, what: str) -> str:
    return f"{level}_{what}"


CATEGORY_FADED_TIMES = _of("category", FADED_TIMES)
#: What is told of both levels of categories.
_OF_A_LEVEL = (FADED_TIMES, RECENT_TIMES, FADED_TIMES_WITH_COUPON, LIFT, OWN_PART)

#: The affinities whose standing among the other shoppers is told, and those whose standing in the list is.
OWN_STANDINGS = (TIMES, FADED_TIMES, RECENT_TIMES)
CATEGORY_STANDINGS = tuple(_of(level, FADED_TIMES) for level in CATEGORY_LEVELS)
STANDINGS = (*OWN_STANDINGS, *CATEGORY_STANDINGS)
LIST_STANDINGS = (*STANDINGS, FADED_AMOUNT, LIKELY_TO_BUY)
#: Affinities to what the shopper need never have bought.
TASTES = (TASTE, ASSOCIATION)


def _share_of_best(affinity: str) -> str:
    return f"{affinity}_of_best"


def _rank(affinity: str) -> str:
    return f"{affinity}_rank"


def _above(affinity: str) -> str:
    return f"{affinity}_shoppers_above"


def _rank_above(affinity: str) -> str:
    return f"{affinity}_shoppers_above_rank"


def standing_in_the_list(affinity: str) -> tuple[str, str]:
    """The features of where an affinity stands in the list: its share of the best, and its rank from 0."""
    return _share_of_best(affinity), _rank(affinity)


def standing_among_shoppers(affinity: str) -> tuple[str, str]:
    """The features of where an affinity stands among shoppers: of a thousand, those above, and the rank by that."""
    return _above(affinity), _rank_above(affinity)


GROUPS: Mapping[str, tuple[str, ...]] = {
    "own purchases": (
        TIMES,
        FADED_TIMES,
        RECENT_TIMES,
        FADED_TIMES_WITH_COUPON,
        FADED_AMOUNT,
        OWN_PRODUCTS,
        DAYS_SINCE_LAST,
        OWN_SHARE,
        OWN_LIFT,
    ),
    "behaviour": (LIKELY_TO_BUY,),
    "category": (
        CATEGORY_TIMES,
        CATEGORY_SHARE,
        *(_of(level, what) for level in CATEGORY_LEVELS for what in _OF_A_LEVEL),
    ),
    "brand": (BRAND_TIMES, BRAND_FADED_TIMES),
    "standing in the list": tuple(name for affinity in LIST_STANDINGS for name in standing_in_the_list(affinity)),
    "standing among shoppers": tuple(name for affinity in STANDINGS for name in standing_among_shoppers(affinity)),
    "taste": (TASTE, _rank(TASTE), *standing_among_shoppers(TASTE)),
    "association": (ASSOCIATION, _rank(ASSOCIATION), *standing_among_shoppers(ASSOCIATION)),
    "coupon habit": (
        profile.COUPON_USE_RATE,
        profile.CAMPAIGN_USE_RATE,
        profile.REDEMPTIONS,
        profile.FADED_REDEMPTIONS,
        profile.DAYS_SINCE_LAST_REDEMPTION,
        profile.REDEMPTION_DAYS,
        profile.USES_AGAINST_OTHERS,
        profile.CAMPAIGNS_USED_AGAINST_OTHERS,
        profile.CAMPAIGNS_RECEIVED,
        profile.COUPON_DISCOUNT_SHARE,
        profile.COUPON_ORDERS,
        profile.COUPON_ORDER_RATE,
        profile.COUPON_LINES,
        profile.DAYS_SINCE_LAST_COUPON,
        profile.DISCOUNT_SHARE,
        profile.CLICKS,
    ),
    "people alike": (USE_BY_PEOPLE_ALIKE,),
    "own use of the offer": (OFFER_USES, OFFER_INTEREST),
    "use of the offer": (OFFER_USE_RATE,),
    "activity": (profile.FREQUENCY, profile.RECENT_FREQUENCY, profile.DAYS_SINCE_LAST_ORDER),
    "variety": (profile.VARIETY, profile.DISTINCT_PRODUCTS),
    "spend": (profile.SPEND,),
    "popularity": (BUYERS, BUYERS_SHARE, RECENT_BUYERS_SHARE, SALES_SHARE),
    "coupons on its products": (COUPON_RATE, *(_of(level, COUPON_RATE) for level in CATEGORY_LEVELS)),
    "coupon": (
        PRODUCTS,
        PRODUCT_PRICE,
        PRODUCT_RATING,
        PRODUCT_DISCOUNT,
        COUPONS_ON_OFFER,
        DISCOUNT_VALUE,
        MIN_SPEND,
    ),
    "devices": (MAY_HAVE, FITTED_DEVICES, WORN_SHARE, DAYS_UNTIL_WORN),
    "freshness": (DAYS_GOOD, VISITS, USUAL_GAP, GONE_SHARE, SEASON),
    "projects": (
        NOT_FINISHED,
        IN_PROJECT,
        STAGES_AHEAD,
        STAGES_BEHIND,
        BOUGHT_ALREADY,
        DAYS_IN_STAGE,
        STAGE_GONE,
    ),
}
#: Groups that only some kinds of shop tell anything of, and what says whether one does.
OPTIONAL_GROUPS: Mapping[str, Callable[[Snapshot], bool]] = {
    "devices": knows_devices,
    "freshness": knows_batches,
    "projects": knows_projects,
}
FEATURES = [feature for group in GROUPS.values() for feature in group]

#: Directions that common sense gives: more of the first never lowers the score, more of the second never raises it.
RISING = {
    TIMES,
    FADED_TIMES,
    RECENT_TIMES,
    FADED_TIMES_WITH_COUPON,
    FADED_AMOUNT,
    LIKELY_TO_BUY,
    OFFER_USES,
    OFFER_INTEREST,
    profile.COUPON_USE_RATE,
    profile.CAMPAIGN_USE_RATE,
    profile.FADED_REDEMPTIONS,
    profile.USES_AGAINST_OTHERS,
    profile.CAMPAIGNS_USED_AGAINST_OTHERS,
    profile.COUPON_ORDERS,
    profile.COUPON_ORDER_RATE,
    profile.COUPON_LINES,
    *(_share_of_best(affinity) for affinity in LIST_STANDINGS),
    *TASTES,
    USE_BY_PEOPLE_ALIKE,
    MAY_HAVE,
    FITTED_DEVICES,
    WORN_SHARE,
    VISITS,
    SEASON,
    NOT_FINISHED,
}
FALLING = {
    DAYS_UNTIL_WORN,
    STAGES_AHEAD,
    DAYS_SINCE_LAST,
    profile.DAYS_SINCE_LAST_COUPON,
    profile.DAYS_SINCE_LAST_REDEMPTION,
    *(_rank(affinity) for affinity in (*LIST_STANDINGS, *TASTES)),
    *(name for affinity in (*STANDINGS, *TASTES) for name in standing_among_shoppers(affinity)),
}


def told_by(examples: pl.DataFrame) -> list[str]:
    """The features that a model is shown: all of them, but for the :data:`OPTIONAL_GROUPS` that the shop is silent of.

    So a model of such a shop is what it was before there were any: a column that says nothing still takes part in what
    forests and boosters draw.
    """
    silent = {
        group
        for group in OPTIONAL_GROUPS
        if all(examples[name].min() == examples[name].max() for name in GROUPS[group])
    }
    return [feature for group, features in GROUPS.items() if group not in silent for feature in features]


class PairFeatures(Inputs):
    """The features of :data:`FEATURES`."""

    name: ClassVar[str] = "features"
    columns: ClassVar[tuple[str, ...]] = tuple(FEATURES)

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _DescribedPairs(history, coupons)


class _DescribedPairs(DescribedHistory):
    def __init__(self, history: History, coupons: pl.Series) -> None:
        # What the rest does not wait for, half of all the work, goes beside it. Threads of the linear algebra would
        # only be in the way of these two: they wait for work by turning round and round.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(max_workers=1) as beside:
            behaviour = beside.submit(behaviour_model, history)
            self._prepare(history, coupons, beside)
            self._behaviour = behaviour.result()

    def _prepare(self, history: History, coupons: pl.Series, beside: ThreadPoolExecutor) -> None:
        self._coupons = coupons.unique().sort()
        members = coupon_products(history, self._coupons)
        self._sets = sets_of_coupons(history, self._coupons)
        self._profiles = ByShopper(profile.shopper_profiles(history))
        self._offer_uses = ByShopper(_own_uses_of_offers(history, self._coupons))
        self._purchases = purchases(history)
        self._matrix = PurchaseMatrix(history)
        self._members = self._matrix.membership(members, self._coupons, c.COUPON)
        depth = category_depth(history)
        self._levels = {
            level: GroupShares(self._matrix, members, product_categories(history, depth + below), self._coupons)
            for below, level in enumerate(CATEGORY_LEVELS)
        }
        taught = self._matrix.shoppers.gather(taught_by(len(self._matrix.shoppers)))
        finest, learned = self._levels[CATEGORY_LEVELS[-1]], self._bought_by(taught, [TIMES])[TIMES]
        tastes = beside.submit(LatentTastes, learned, self._matrix.sold(TIMES), self._members)
        associations = beside.submit(Associations, finest.by_group(learned), finest.shares)
        self._devices = CouponsForDevices(history, self._coupons)
        self._freshness = FreshnessOfCoupons(history, self._coupons)
        self._projects = ProjectsOfCoupons(history, self._coupons)
        self._people_alike = ByShopper(use_by_people_alike(history))
        self._brands = GroupShares(self._matrix, members, _brands(history), self._coupons)
        sold = self._matrix.sold()
        self._sales_share = (sold @ self._members) / max(sold.sum(), 1e-9)
        self._level_shares = {
            level: groups.of_the_shop(sold) / max(sold.sum(), 1e-9) for level, groups in self._levels.items()
        }
        self._coupon_features = _coupon_features(history, self._coupons, members).join(
            self._sales(), on=c.COUPON, how="left", maintain_order="left"
        )
        self._tastes, self._associations = tastes.result(), associations.result()
        self._compare_shoppers()

    def _compare_shoppers(self) -> None:
        reference = reference_shoppers(self._matrix.shoppers)
        everybody = len(reference) == len(self._matrix.shoppers)
        # And, where it is everybody, one who bought nothing.
        nobody = pl.Series(c.SHOPPER, [NOBODY], dtype=pl.UInt32)
        asked = pl.concat([reference, nobody]) if everybody else reference
        affinities = self._affinities(self._bought_by(asked))
        compared = len(reference)
        self._among_shoppers = {name: AmongShoppers(affinity[:compared]) for name, affinity in affinities.items()}
        #: Of all who bought anything, and last of one who did not, where they are few enough to be known already.
        self._known_affinities = affinities if everybody else None

    def _bought_by(self, shoppers: pl.Series, kinds: Collection[str] = KINDS) -> dict[str, sparse.csr_matrix]:
        """(shoppers, n) by kind of purchases."""
        return self._matrix.rows(self._purchases.of(shoppers), shoppers, kinds)

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        # All coupons of each shopper, whichever are asked for: a coupon's standing depends on the others.
        shoppers = pairs[c.SHOPPER].unique().sort()
        described = [part.inputs for part in self._describe_parts(shoppers)]
        grid = pl.concat(described, rechunk=True) if described else PairFeatures().none()
        asked = shoppers.search_sorted(pairs[c.SHOPPER]) * len(self._coupons) + self._coupons.search_sorted(
            pairs[c.COUPON]
        )
        return grid if np.array_equal(asked, np.arange(len(grid))) else grid[asked]

    def describe_chosen(self, shoppers: pl.Series, choose: Choose) -> ChosenPairs:
        parts = self._describe_parts(shoppers, choose)
        return ChosenPairs(
            pl.concat([part.pairs for part in parts], rechunk=True),
            pl.concat([part.inputs for part in parts], rechunk=True),
        )

    def _describe_parts(self, shoppers: pl.Series, choose: Choose | None = None) -> list[ChosenPairs]:
        rounds = ceil(len(shoppers) / (SHOPPERS_AT_ONCE * cpu_count()))  # in which every processor has as much to do
        at_once = max(1, ceil(len(shoppers) / max(1, rounds * cpu_count())))
        parts = [shoppers[start : start + at_once] for start in range(0, len(shoppers), at_once)]
        with threadpool_limits(1, "blas"):
            return map_in_threads(partial(self._describe, choose=choose), parts)

    def _describe(self, shoppers: pl.Series, choose: Choose | None) -> ChosenPairs:
        """Every one of these shoppers with every coupon, or those that are chosen: a block of coupons for each
        shopper."""
        purchased = self._purchases.of(shoppers)
        bought = self._matrix.rows(purchased, shoppers, KINDS)
        affinities = self._affinities_of(shoppers, bought)
        profiles = self._profiles.of(shoppers)
        own, likely, in_list = self._likely_to_buy(shoppers, purchased, profiles)
        standing = self._standing(bought, affinities)
        known = affinities | in_list | standing
        columns = None if choose is None else choose(known | self._known_of_offers(shoppers))
        place = np.arange(len(self._coupons))[None, :].repeat(len(shoppers), axis=0) if columns is None else columns
        grid = pl.DataFrame(
            {c.SHOPPER: shoppers.gather(np.repeat(np.arange(len(shoppers)), place.shape[1]))}
            | {c.COUPON: self._coupons.gather(place.ravel())}
        )
        tables = self._tables(bought, affinities, standing, columns)
        for name, affinity in in_list.items():
            tables |= {
                _share_of_best(name): _taken(share_of_best(affinity), columns),
                _rank(name): rank_in_list(affinity, columns),
            }
        variety = pl.max_horizontal(profile.VARIETY, pl.lit(1e-9))
        inputs = (
            grid.with_columns(pl.Series(name, _taken(table, columns).ravel()) for name, table in own.items())
            .join(profiles, on=c.SHOPPER, how="left", maintain_order="left")
            .with_columns(pl.col(column).fill_null(value) for column, value in profile.NEW_SHOPPER.items())
            .join(self._coupon_features, on=c.COUPON, how="left", maintain_order="left")
            .join(self._offer_uses.of(shoppers), on=[c.SHOPPER, c.COUPON], how="left", maintain_order="left")
            .join(self._people_alike.of(shoppers), on=c.SHOPPER, how="left", maintain_order="left")
            .hstack(self._devices.describe(grid, shoppers))
            .hstack(self._freshness.describe(grid, shoppers))
            .hstack(self._projects.describe(grid, shoppers))
            .with_columns(
                pl.Series(LIKELY_TO_BUY, _taken(likely, columns).ravel()),
                *(pl.Series(name, table.ravel()) for name, table in tables.items()),
            )
            .with_columns(
                (pl.col(FADED_TIMES) / variety).clip(0, 1).alias(OWN_SHARE),
                (pl.col(CATEGORY_FADED_TIMES) / variety).clip(0, 1).alias(CATEGORY_SHARE),
            )
            .select(pl.col(feature).fill_null(0.0).cast(pl.Float32) for feature in FEATURES)
        )
        return ChosenPairs(grid, inputs)

    def sketch(self, shoppers: pl.Series) -> Sketch:
        purchased = self._purchases.of(shoppers)
        bought = self._matrix.rows(purchased, shoppers, KINDS)
        affinities = self._affinities_of(shoppers, bought)
        _own, _likely, in_list = self._likely_to_buy(shoppers, purchased, self._profiles.of(shoppers))
        return affinities | in_list | self._standing(bought, affinities) | self._known_of_offers(shoppers)

    def _likely_to_buy(
        self, shoppers: pl.Series, purchased: pl.DataFrame, profiles: pl.DataFrame
    ) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
        """(shoppers, coupons): what each bought of the coupon's products, by name; how likely it buys of them; and both
        as they are compared within a list."""
        own = self._sets.tables(purchased, shoppers, self._coupons)
        likely = self._behaviour.probability(behaviour_tables(own, profiles, shoppers)).reshape(own[TIMES].shape)
        compared = {FADED_AMOUNT: own[FADED_AMOUNT], LIKELY_TO_BUY: likely}
        return own, likely, {name: _in_single_precision(values) for name, values in compared.items()}

    def _known_of_offers(self, shoppers: pl.Series) -> dict[str, np.ndarray]:
        """(shoppers, coupons): what a sketch tells besides what was bought."""
        kinds_of_shop = (self._devices, self._freshness, self._projects)
        return self._offer_tables(shoppers) | {
            name: table for kind in kinds_of_shop for name, table in kind.tables(shoppers, self._coupons).items()
        }

    def _offer_tables(self, shoppers: pl.Series) -> dict[str, np.ndarray]:
        """(shoppers, coupons): what each did before with the offers of the coupons."""
        rows = pl.DataFrame({c.SHOPPER: shoppers, "row": np.arange(len(shoppers))})
        known = self._offer_uses.of(shoppers).join(rows, on=c.SHOPPER, maintain_order="left")
        places = known["row"].to_numpy(), self._coupons.search_sorted(known[c.COUPON]).to_numpy()
        tables = {name: np.zeros((len(shoppers), len(self._coupons))) for name in (OFFER_USES, OFFER_INTEREST)}
        for name, table in tables.items():
            table[places] = known[name].fill_null(0.0).to_numpy()
        return tables

    def _affinities_of(self, shoppers: pl.Series, bought: Mapping[str, sparse.csr_matrix]) -> dict[str, np.ndarray]:
        """As :meth:`_affinities`, looked up where they are known already."""
        if self._known_affinities is None:
            return self._affinities(bought)
        places = self._matrix.places_of(shoppers)
        return {name: known[places] for name, known in self._known_affinities.items()}

    def _affinities(self, bought: Mapping[str, sparse.csr_matrix]) -> dict[str, np.ndarray]:
        """(rows, coupons) by the name of each of :data:`STANDINGS` and :data:`TASTES`, for rows of the purchase
        matrix."""
        faded, times = bought[FADED_TIMES], bought[TIMES]
        own = {kind: (bought[kind] @ self._members).toarray() for kind in (TIMES, FADED_TIMES, RECENT_TIMES)}
        of_levels = {_of(level, FADED_TIMES): groups.of_shoppers(faded) for level, groups in self._levels.items()}
        finest = self._levels[CATEGORY_LEVELS[-1]]
        tastes = {
            TASTE: _in_single_precision(self._tastes.of_shoppers(times)),
            ASSOCIATION: _in_single_precision(self._associations.of_shoppers(finest.by_group(times))),
        }
        return own | of_levels | tastes

    def _standing(
        self, bought: Mapping[str, sparse.csr_matrix], affinities: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """(rows, coupons) by feature: how rows of the purchase matrix stand beside other shoppers, and what they bought
        of the coupons' brands."""
        purchased = np.asarray(bought[FADED_TIMES].sum(axis=1))
        lifts = {OWN_LIFT: _lift(affinities[FADED_TIMES], purchased, self._sales_share)}
        for level, groups in self._levels.items():
            shop_share = groups.averaged(self._level_shares[level])
            lifts[_of(level, LIFT)] = _lift(affinities[_of(level, FADED_TIMES)], purchased, shop_share)
        above = {
            _above(name): self._among_shoppers[name].per_mille_above(affinity) for name, affinity in affinities.items()
        }
        return lifts | above | {BRAND_FADED_TIMES: self._brands.of_shoppers(bought[FADED_TIMES])}

    def _tables(
        self,
        bought: Mapping[str, sparse.csr_matrix],
        affinities: Mapping[str, np.ndarray],
        standing: Mapping[str, np.ndarray],
        columns: np.ndarray | None,
    ) -> dict[str, np.ndarray]:
        """(rows, coupons), or (rows, m) of the chosen columns of each row, by feature: all that takes the purchase
        matrix, for rows of it."""
        told = {name: _taken(table, columns) for name, table in {**affinities, **standing}.items()}
        tables = told | {
            FADED_TIMES_WITH_COUPON: _taken((bought[FADED_TIMES_WITH_COUPON] @ self._members).toarray(), columns),
            CATEGORY_TIMES: _taken(self._levels["category"].of_shoppers(bought[TIMES]), columns),
            BRAND_TIMES: _taken(self._brands.of_shoppers(bought[TIMES]), columns),
        }
        for level, groups in self._levels.items():
            for kind in (RECENT_TIMES, FADED_TIMES_WITH_COUPON):
                tables[_of(level, kind)] = _taken(groups.of_shoppers(bought[kind]), columns)
            tables[_of(level, OWN_PART)] = _ratio(told[FADED_TIMES], told[_of(level, FADED_TIMES)])
        for name, affinity in affinities.items():
            tables |= {
                _rank(name): rank_in_list(affinity, columns),
                _rank_above(name): rank_in_list(-standing[_above(name)], columns),
            }
            if name in STANDINGS:
                tables[_share_of_best(name)] = _taken(share_of_best(affinity), columns)
        return tables

    def _sales(self) -> pl.DataFrame:
        """A row a coupon: its products' share of all purchases, and how much is bought with coupons, of its products
        and of the categories that they are in."""
        with_coupon, sold = self._matrix.sold(FADED_TIMES_WITH_COUPON), self._matrix.sold()
        rates = {COUPON_RATE: _coupon_rate(with_coupon @ self._members, sold @ self._members)}
        for level, groups in self._levels.items():
            rate = _coupon_rate(groups.of_the_shop(with_coupon), groups.of_the_shop(sold))
            rates[_of(level, COUPON_RATE)] = groups.averaged(rate)
        return pl.DataFrame({c.COUPON: self._coupons, SALES_SHARE: self._sales_share, **rates})


def _in_single_precision(values: np.ndarray) -> np.ndarray:
    """Without the digits in which a product of matrices rounds its rows differently by how many there are: what is
    equal must stay equal."""
    return values.astype(np.float32).astype(np.float64)


def _taken(table: np.ndarray, columns: np.ndarray | None) -> np.ndarray:
    """(rows, m): the chosen columns of each row; all of them where none are chosen."""
    return table if columns is None else np.take_along_axis(table, columns, axis=1)


def _coupon_rate(with_coupon: np.ndarray, sold: np.ndarray) -> np.ndarray:
    return (np.asarray(with_coupon) + PRIOR_COUPON_TIMES) / (np.asarray(sold) + PRIOR_TIMES)


def _lift(affinity: np.ndarray, purchased: np.ndarray, shop_share: np.ndarray) -> np.ndarray:
    """(rows, k): the share of a shopper's purchases over that of the whole shop's, drawn towards 1.

    Args:
        affinity: (rows, k), purchases of what each coupon is for.
        purchased: (rows, 1), all purchases of each shopper.
        shop_share: (k,), the share of the whole shop's purchases.
    """
    share = (affinity + PRIOR_TASTE * shop_share) / (purchased + PRIOR_TASTE)
    return np.divide(share, shop_share, out=np.ones_like(affinity), where=shop_share > 0)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.clip(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0), 0.0, 1.0)


def _brands(history: History) -> pl.DataFrame:
    """The brand of each product that has one, numbered as ``category``."""
    return (
        history.scan("products")
        .filter(pl.col(c.BRAND) != "")
        .select(c.PRODUCT, pl.col(c.BRAND).rank("dense").cast(pl.UInt32).alias(c.CATEGORY))
        .sort(c.PRODUCT)
        .collect()
    )


def _coupon_features(history: History, coupons: pl.Series, members: pl.DataFrame) -> pl.DataFrame:
    """A row a coupon: how broad it is, what its products cost, what it takes off and how its offer fared before."""
    its_products = members.select(c.PRODUCT).unique()
    lines = pl.concat(
        lines.join(its_products, on=c.PRODUCT, how="semi", maintain_order="left").filter(pl.col(c.QUANTITY) > 0)
        for lines in history.order_lines_in_parts(c.PRODUCT, c.QUANTITY, c.AMOUNT, c.DISCOUNT)
    )
    sold = (
        lines.lazy()
        .group_by(c.PRODUCT, maintain_order=True)
        .agg(pl.col(c.AMOUNT, c.QUANTITY, c.DISCOUNT).sum())
        .with_columns(
            (pl.col(c.AMOUNT) / pl.col(c.QUANTITY)).alias("paid"),
            (pl.col(c.DISCOUNT) / pl.max_horizontal(pl.col(c.AMOUNT) + pl.col(c.DISCOUNT), pl.lit(0.01))).clip(0, 1),
        )
    )
    products = history.scan("products").select(c.PRODUCT, c.PRICE, c.RATING)
    made_of = (
        members.lazy()
        .join(products, on=c.PRODUCT, how="left", maintain_order="left")
        .join(sold, on=c.PRODUCT, how="left", maintain_order="left")
        .group_by(c.COUPON, maintain_order=True)
        .agg(
            pl.len().cast(pl.Float64).alias(PRODUCTS),
            pl.coalesce(c.PRICE, "paid").clip(0).median().alias(PRODUCT_PRICE),
            pl.col(c.RATING).clip(0).mean().alias(PRODUCT_RATING),
            pl.col(c.DISCOUNT).mean().alias(PRODUCT_DISCOUNT),
        )
    )
    return (
        history.scan("coupons")
        .join(coupons.to_frame(c.COUPON).lazy(), on=c.COUPON, how="semi")
        .select(c.COUPON, pl.col(c.DISCOUNT_VALUE).alias(DISCOUNT_VALUE), pl.col(c.MIN_SPEND).alias(MIN_SPEND))
        .join(made_of, on=c.COUPON, how="left")
        .join(_use_rates_of_offers(history, coupons), on=c.COUPON, how="left")
        .with_columns(pl.lit(float(len(coupons))).alias(COUPONS_ON_OFFER))
        .sort(c.COUPON)
        .collect()
    )


def _same_offer(history: History, coupons: pl.Series) -> pl.LazyFrame:
    """A row for each asked coupon and each coupon of the same offer, itself included: ``coupon`` and ``earlier``."""
    offers = history.scan("coupons").select(
        c.COUPON,
        pl.when(pl.col(c.OFFER_ID) == "")
        .then(pl.format("coupon {}", c.COUPON_ID))
        .otherwise(c.OFFER_ID)
        .alias(c.OFFER_ID),
    )
    asked = offers.join(coupons.to_frame(c.COUPON).lazy(), on=c.COUPON, how="semi")
    return asked.join(offers.rename({c.COUPON: "earlier"}), on=c.OFFER_ID).select(c.COUPON, "earlier")


def _use_rates_of_offers(history: History, coupons: pl.Series) -> pl.LazyFrame:
    """Uses of the coupon's offer in earlier campaigns over the shoppers who were sent it, drawn towards the prior."""
    sizes = (
        history.scan("campaign_shoppers").filter(~pl.col(c.IS_CONTROL)).group_by(c.CAMPAIGN).agg(pl.len().alias("sent"))
    )
    uses = history.scan("redemptions").group_by(c.COUPON).agg(pl.len().alias("uses"))
    sent = history.scan("campaign_coupons").join(sizes, on=c.CAMPAIGN).group_by(c.COUPON).agg(pl.col("sent").sum())
    return (
        _same_offer(history, coupons)
        .join(sent, left_on="earlier", right_on=c.COUPON, how="left")
        .join(uses, left_on="earlier", right_on=c.COUPON, how="left")
        .group_by(c.COUPON)
        .agg(
            (
                (pl.col("uses").fill_null(0).sum() + PRIOR_OFFER_USES)
                / (pl.col("sent").fill_null(0).sum() + PRIOR_OFFER_CHANCES)
            )
            .clip(0, 1)
            .alias(OFFER_USE_RATE)
        )
    )


def _own_uses_of_offers(history: History, coupons: pl.Series) -> pl.DataFrame:
    """What each shopper did before with the coupon's offer: uses, and faded clicks and claims less dismissals."""
    same = _same_offer(history, coupons)
    uses = (
        history.scan("redemptions")
        .join(same, left_on=c.COUPON, right_on="earlier")
        .group_by(c.SHOPPER, pl.col("coupon_right").alias(c.COUPON))
        .agg(pl.len().cast(pl.Float64).alias(OFFER_USES))
    )
    interest = (
        history.scan("events")
        .filter(pl.col(c.KIND).is_in(["click", "claim", "dismiss"]))
        .join(same, left_on=c.COUPON, right_on="earlier")
        .with_columns(fading_weight(age_in_days(c.OCCURRED_AT, history)).alias(AGE))
        .group_by(c.SHOPPER, pl.col("coupon_right").alias(c.COUPON))
        .agg(
            (pl.col(AGE) * pl.when(pl.col(c.KIND) == "dismiss").then(-1.0).otherwise(1.0))
            .sort()
            .sum()
            .clip(0)
            .alias(OFFER_INTEREST)
        )
    )
    keys = pl.concat([uses.select(c.SHOPPER, c.COUPON), interest.select(c.SHOPPER, c.COUPON)]).unique()
    return (
        keys.join(uses, on=[c.SHOPPER, c.COUPON], how="left")
        .join(interest, on=[c.SHOPPER, c.COUPON], how="left")
        .sort(c.SHOPPER, c.COUPON)
        .collect()
    )
