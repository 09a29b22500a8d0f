"""Proof against leaks: what is known later must change nothing of what is computed as of a moment.

Each check compares two shops that are one shop up to the moment of a decision. Nothing here knows what a feature means,
so that it serves inputs and algorithms of anybody's own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from recommender.ml import columns as c
from recommender.ml.algorithms import Algorithm
from recommender.ml.contract import Inputs
from recommender.ml.examples import Casebook
from recommender.ml.history import CHANGED_AT, DATED_BY, OF_A_CAMPAIGN, OPTIONAL, SCHEMAS, TIME, Snapshot
from recommender.ml.walk_forward import Fit, fit_as_of

#: Pairs of an occasion that are described, the used ones first: a leak shows on any of them.
MOST_PAIRS = 3_000
#: The share of later rows that is put at the moment itself, where a comparison that should be strict goes wrong.
AT_THE_MOMENT = 0.1
#: Later rows are spread over the rest of history, and at least over this.
SHORTEST_FUTURE = timedelta(days=28)
#: The number that a later row is about is its own: changed, it would be another thing's.
_NUMBERED_BY = {"orders": c.ORDER, "campaigns": c.CAMPAIGN} | dict.fromkeys(OF_A_CAMPAIGN, c.CAMPAIGN)
_ROW_GROUP = 1 << 18
_NEVER = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Occasion:
    """A moment at which pairs are described: a past campaign's decision, or a moment with no campaign of its own.

    Attributes:
        coupons: all that were on offer.
        pairs: columns ``shopper`` and ``coupon``, n rows.
        labels: n booleans, whether the offer was used; all false with no campaign.
    """

    name: str
    moment: datetime
    coupons: pl.Series
    pairs: pl.DataFrame
    labels: np.ndarray
    campaign: int | None = None


@dataclass(frozen=True)
class Moved:
    """A value that later rows changed, with the pair on which they changed it most.

    Attributes:
        what: the column of the inputs, or the algorithm whose score it is.
        occasion: its name.
        share: the share of the occasion's pairs whose value moved.
    """

    what: str
    occasion: str
    shopper_id: str
    coupon_id: str
    before: float
    after: float
    share: float


def choose_occasions(casebook: Casebook, count: int, seed: int) -> list[Occasion]:
    """Decisions of past campaigns, spread over time: of each stretch the campaign with the most used offers.

    Without a campaign that has a history: moments spread over the orders, with shoppers and coupons drawn at random.
    Empty where nothing was ever bought or there is no coupon.
    """
    random = np.random.default_rng(seed)
    orders = casebook.snapshot.scan("orders").select(c.ORDERED_AT).collect()[c.ORDERED_AT].sort()
    coupons = casebook.snapshot.scan("coupons").select(c.COUPON).collect()[c.COUPON]
    if orders.is_empty() or coupons.is_empty():
        return []
    with_history = [
        campaign
        for campaign in casebook.campaigns[c.CAMPAIGN]
        if not casebook.pairs(campaign).is_empty() and casebook.decided_at(campaign) > orders[0]
    ]
    if not with_history:
        pairs = _draw_pairs(casebook.snapshot, coupons, random)
        positions = {round(position) for position in np.linspace(0, len(orders) - 1, count + 2)[1:-1]}
        moments = [orders[position] for position in sorted(positions)]
        unused = np.zeros(len(pairs), dtype=bool)
        return [Occasion(f"{moment:%Y-%m-%d}", moment, coupons, pairs, unused) for moment in moments]
    labels = {campaign: casebook.labels(campaign, _NEVER) for campaign in with_history}
    names = dict(casebook.campaigns.select(c.CAMPAIGN, c.CAMPAIGN_ID).iter_rows())
    occasions = []
    for stretch in np.array_split(with_history, min(count, len(with_history))):
        campaign = max(stretch.tolist(), key=lambda each: labels[each].sum())
        pairs, used = casebook.pairs(campaign), labels[campaign]
        rows = np.sort(np.lexsort((random.random(len(pairs)), ~used))[:MOST_PAIRS])
        kept = pairs[rows].select(c.SHOPPER, c.COUPON)
        coupons, moment = pairs[c.COUPON].unique(), casebook.decided_at(campaign)
        occasions.append(Occasion(names[campaign], moment, coupons, kept, used[rows], campaign))
    return occasions


def _draw_pairs(snapshot: Snapshot, coupons: pl.Series, random: np.random.Generator) -> pl.DataFrame:
    shoppers = snapshot.scan("shoppers").select(c.SHOPPER).collect()[c.SHOPPER].to_numpy()
    cells = len(shoppers) * len(coupons)
    drawn = np.sort(random.choice(cells, min(cells, MOST_PAIRS), replace=False))
    return pl.DataFrame(
        {c.SHOPPER: shoppers[drawn // len(coupons)], c.COUPON: coupons.to_numpy()[drawn % len(coupons)]},
        schema={c.SHOPPER: pl.UInt32, c.COUPON: pl.UInt32},
    )


def thin(snapshot: Snapshot, folder: Path, most_shoppers: int, seed: int) -> Snapshot:
    """The shop with some of its shoppers, all numbers kept; the snapshot itself where it has no more than these.

    A leak is in the code, not in the size of the shop. Those who were offered something come first, half of them
    shoppers who used an offer, since labels are what the checks are short of.
    """

    def numbers(table: str, condition: pl.Expr | bool = True) -> np.ndarray:
        rows = snapshot.scan(table).filter(condition).select(pl.col(c.SHOPPER).unique().sort()).collect()
        return random.permutation(rows[c.SHOPPER].to_numpy())

    random = np.random.default_rng(seed)
    everybody = numbers("shoppers")
    if len(everybody) <= most_shoppers:
        return snapshot
    wanted = [numbers("redemptions")[: most_shoppers // 2], numbers("campaign_shoppers", ~pl.col(c.IS_CONTROL))]
    ordered = pl.Series(c.SHOPPER, np.concatenate([*wanted, numbers("offers"), everybody]), dtype=pl.UInt32)
    kept = ordered.unique(maintain_order=True).head(most_shoppers).to_frame().lazy()
    folder.mkdir(parents=True)
    for table, schema in SCHEMAS.items():
        if c.SHOPPER in schema:
            rows = snapshot.scan(table).join(kept, on=c.SHOPPER, how="semi", maintain_order="left")
            write_table(rows.collect(), folder, table)
        else:
            link_table(snapshot, folder, table)
    return Snapshot(folder)


# The same shop with another future


def with_another_future(snapshot: Snapshot, occasion: Occasion, folder: Path, seed: int) -> Snapshot:
    """A copy of a shop in which every row dated at or after the occasion's moment is another one.

    Later rows are dropped, doubled, moved to other later times (some to the moment itself), given to other shoppers,
    coupons and products, and their amounts multiplied. Campaigns that start later lose and gain coupons and shoppers.
    Half of the occasion's pairs get later rows of their own in every dated table, so that a table with no later rows,
    or with none at all, is proved too. Numbers of things stay what they are.
    """
    random = np.random.default_rng(seed)
    last = max(
        snapshot.scan(table).select(pl.col(column).max()).collect().item() or occasion.moment
        for table, column in DATED_BY.items()
    )
    future = _Future(occasion.moment, max(last - occasion.moment, SHORTEST_FUTURE), random)
    planted = _plant(snapshot, occasion, future, random)
    starts_later = snapshot.scan("campaigns").filter(pl.col(c.STARTS_AT) >= occasion.moment)
    later_campaigns = [*starts_later.collect()[c.CAMPAIGN], planted[c.CAMPAIGN][0]]
    folder.mkdir(parents=True)
    for table in SCHEMAS:
        frame = snapshot.scan(table).collect()
        if table in CHANGED_AT:
            changed = CHANGED_AT[table]
            moved = pl.when(pl.col(changed) >= occasion.moment).then(future.times(len(frame)))
            frame = frame.with_columns(moved.otherwise(changed).alias(changed))
        if table in DATED_BY:
            is_later = pl.col(DATED_BY[table]) >= occasion.moment
        elif table in OF_A_CAMPAIGN:
            is_later = pl.col(c.CAMPAIGN).is_in(later_campaigns)
        elif table in CHANGED_AT:
            write_table(frame, folder, table)
            continue
        else:
            link_table(snapshot, folder, table)
            continue
        later = _change(table, frame.filter(is_later), future, random)
        if table in OF_A_CAMPAIGN:
            later = pl.concat([later, _rows_of(table, planted).filter(is_later)])
            later = later.unique([*SCHEMAS[table]][:2], maintain_order=True)
        elif table == "campaigns":
            later = pl.concat([later, _rows_of(table, planted.head(1))])
        else:
            later = pl.concat([later, _rows_of(table, planted)]).sort(DATED_BY[table], maintain_order=True)
        write_table(
            pl.concat([frame.filter(~is_later), later]), folder, table
        )  # sums of floats depend on the rows' order
    return Snapshot(folder)


@dataclass(frozen=True)
class _Future:
    moment: datetime
    length: timedelta
    random: np.random.Generator

    def times(self, count: int) -> pl.Series:
        after = self.random.random(count) * (self.random.random(count) >= AT_THE_MOMENT)
        microseconds = (after * (self.length / timedelta(microseconds=1))).astype(np.int64)
        return pl.Series("at", [self.moment] * count, dtype=TIME) + pl.Series(microseconds).cast(pl.Duration("us"))


def _change(table: str, later: pl.DataFrame, future: _Future, random: np.random.Generator) -> pl.DataFrame:
    """Other rows in place of a table's later ones."""
    own = _NUMBERED_BY.get(table)
    if own is None or table in OF_A_CAMPAIGN:
        later = later[random.choice(len(later), len(later))] if len(later) else later  # drops some, doubles some
    changed: dict[str, pl.Series] = {}
    for column, dtype in later.schema.items():
        values = later[column]
        if dtype == pl.Float64:
            values = values * pl.Series(random.uniform(2, 10, len(later)))
        if column not in (own, c.CAMPAIGN_ID, DATED_BY.get(table), CHANGED_AT.get(table), c.ENDS_AT):
            values = values[random.permutation(len(later))]
        changed[column] = values
    if table in DATED_BY:
        changed[DATED_BY[table]] = future.times(len(later))
    if table == "campaigns":
        changed[c.ENDS_AT] = changed[c.STARTS_AT] + (later[c.ENDS_AT] - later[c.STARTS_AT])
    return pl.DataFrame(changed, schema=later.schema)


def _plant(snapshot: Snapshot, occasion: Occasion, future: _Future, random: np.random.Generator) -> pl.DataFrame:
    """Later facts of half of the occasion's pairs, with the columns of every dated table."""
    pairs = occasion.pairs[np.sort(random.permutation(len(occasion.pairs))[: len(occasion.pairs) // 2 + 1])]
    products = snapshot.scan("coupon_products").collect()
    a_product = products[random.permutation(len(products))].unique(c.COUPON, keep="first", maintain_order=True)
    some_product = snapshot.scan("products").select(pl.col(c.PRODUCT).first()).collect().item()
    next_order, next_campaign = (
        snapshot.scan(table).select(pl.col(number).max().cast(pl.Int64).fill_null(-1) + 1).collect().item()
        for table, number in (("orders", c.ORDER), ("campaigns", c.CAMPAIGN))
    )
    own = next_campaign if occasion.campaign is None else occasion.campaign
    times = future.times(len(pairs))
    dates = dict.fromkeys([*DATED_BY.values()], times) | {c.STARTS_AT: pl.lit(occasion.moment)}
    rows = np.arange(len(pairs))
    return pairs.join(a_product, on=c.COUPON, how="left", maintain_order="left").with_columns(
        pl.coalesce(c.PRODUCT, pl.lit(some_product, dtype=pl.UInt32)),
        pl.Series(c.ORDER, next_order + rows),
        pl.Series(c.CAMPAIGN, np.where(rows % 2 == 0, next_campaign, own)),
        pl.Series(c.KIND, np.array(["view", "click", "claim", "dismiss", "usage"])[rows % 5]),
        *(pl.lit(value).alias(column) for column, value in _PLANTED.items()),
        *(value.alias(column) for column, value in dates.items()),
        *(pl.lit(occasion.moment + SHORTEST_FUTURE).alias(column) for column in (c.ENDS_AT, c.BEST_BEFORE)),
    )


_PLANTED: dict[str, Any] = {
    c.QUANTITY: 5.0,
    c.AMOUNT: 70.0,
    c.DISCOUNT: 9.0,
    c.COUPON_DISCOUNT: 8.0,
    c.DISCOUNT_AMOUNT: 8.0,
    c.VALUE: 5.0,
    c.BUDGET: 1e6,
    c.RANK: 1,
    c.IS_CONTROL: False,
    c.CHANNEL: "",
    c.STORE_ID: "",
    c.CAMPAIGN_ID: "planted by the leak check",
    c.NAME: "planted by the leak check",
    c.RETIRED_AT: None,
    c.SOLD_OUT_AT: None,
}


def _rows_of(table: str, planted: pl.DataFrame) -> pl.DataFrame:
    rows = planted.select(pl.col(column).cast(dtype) for column, dtype in SCHEMAS[table].items())
    return rows.drop_nulls(c.PRODUCT) if table == "order_lines" else rows  # a shop without products


def write_table(frame: pl.DataFrame, folder: Path, table: str) -> None:
    frame.rechunk().write_parquet(folder / f"{table}.parquet", row_group_size=_ROW_GROUP)


def link_table(snapshot: Snapshot, folder: Path, table: str) -> None:
    if table in OPTIONAL and not (snapshot.folder / f"{table}.parquet").is_file():
        return
    (folder / f"{table}.parquet").symlink_to((snapshot.folder / f"{table}.parquet").resolve())


# What moves


def describe(inputs: Inputs, snapshot: Snapshot, occasion: Occasion) -> pl.DataFrame:
    """The occasion's pairs as inputs see them in a shop."""
    return inputs.prepare(snapshot.before(occasion.moment), occasion.coupons).describe(occasion.pairs)


def moved_columns(inputs: Inputs, shop: Snapshot, other: Snapshot, occasion: Occasion) -> list[Moved]:
    """The columns of the inputs that differ between two shops which are one until the occasion's moment."""
    one, two = describe(inputs, shop, occasion), describe(inputs, other, occasion)
    moved = (_compare(column, one[column], two[column], occasion, shop) for column in inputs.columns)
    return [each for each in moved if each is not None]


def moved_scores(
    algorithm: type[Algorithm],
    shop: Casebook,
    other: Casebook,
    occasion: Occasion,
    *,
    described: pl.DataFrame,
    fits: tuple[dict[str, Fit], dict[str, Fit]],
) -> tuple[np.ndarray, Moved | None]:
    """The scores of the occasion's pairs by an algorithm fitted as of its moment, and where those of the same algorithm
    fitted in the other shop, of the same inputs, differ.

    Args:
        described: the pairs as the algorithm's inputs see them in the first shop.
        fits: by name, what was fitted in either shop as of this moment; this algorithm's are added.
    """
    scores = []
    for casebook, known in zip((shop, other), fits, strict=True):
        known[algorithm.name] = fit_as_of(algorithm, casebook, occasion.moment, seed=0, fits=known)
        scores.append(known[algorithm.name].model.score(described))
    one, two = scores
    return one, _compare(algorithm.name, pl.Series(one), pl.Series(two), occasion, shop.snapshot)


def _compare(what: str, one: pl.Series, two: pl.Series, occasion: Occasion, shop: Snapshot) -> Moved | None:
    differs = one.ne_missing(two).to_numpy()
    if not differs.any():
        return None
    width = np.nan_to_num((one - two).abs().to_numpy(), nan=np.inf)  # a value that is lost is the widest difference
    row = int(np.argmax(np.where(differs, width, -1)))
    shopper_id, coupon_id = (
        shop.scan(f"{thing}s")
        .filter(pl.col(thing) == occasion.pairs[thing][row])
        .select(f"{thing}_id")
        .collect()
        .item()
        for thing in (c.SHOPPER, c.COUPON)
    )
    return Moved(what, occasion.name, shopper_id, coupon_id, one[row], two[row], float(differs.mean()))


def kinds_of_inputs(algorithms: Iterable[type[Algorithm]]) -> list[Inputs]:
    """Each kind of inputs that any of the algorithms sees, once."""
    return list({algorithm.inputs.name: algorithm.inputs for algorithm in algorithms}.values())
