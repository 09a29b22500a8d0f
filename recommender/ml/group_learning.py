"""Who buys together, and what past groups say of how groups fill and whom they draw.

Everything is described as of a moment of its own: a group's chance by what was known while it was open, who joined by
what had been bought and joined before. Nothing dated at or after the moment of learning is seen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cached_property
from math import sqrt
from random import Random

import numpy as np
import polars as pl
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from recommender.ml.algorithms.neighbour_search import NeighbourSearch
from recommender.ml.group_model import (
    CHANCE_FACTS,
    JOINING_FACTS,
    SECONDS_AN_HOUR,
    Bin,
    Check,
    CouponPast,
    GroupModel,
    GroupState,
    Logistic,
    Tie,
    describe_chance,
    describe_joining,
)

#: What was bought this long ago at most says who buys alike.
LATELY = timedelta(days=180)
#: Companions that are kept of a shopper, by groups joined together and by baskets.
TOGETHER, COMPANIONS = 50, 20
#: Baskets that have less than this in common have it by accident.
LEAST_ALIKE = 0.1
#: A product that a single shopper buys says nothing of who belongs together.
FEWEST_BUYERS = 2
#: With fewer ended groups than this nothing is learned of them.
FEWEST_GROUPS = 100
#: The last groups that are learned from.
MOST_GROUPS = 20_000
#: Moments that are drawn in the life of each group, and pairs of a shopper and a group that are drawn for each who
#: joined, where nobody told who looked.
MOMENTS, OTHERS = 3, 4
#: Who looks at a group and joins it does so within this time.
MAKES_UP_THEIR_MIND = timedelta(hours=1)
#: With fewer looks than this it is as if nobody had told.
FEWEST_LOOKS = 500
#: Baskets are looked at anew for each of so many periods.
PERIODS = 6
#: The groups that begin in the last quarter check what was learned from the others.
CHECKED_SHARE = 0.25
BINS = 10
#: A chance off by more than this on the mean of later groups is not used.
MOST_OFF = 0.1


@dataclass(frozen=True)
class PastGroup:
    """A group that was begun before the moment of learning.

    Attributes:
        members: key of each shopper and when they joined, the first one began it. Those who joined later are not here.
        ended_at: when it filled or its time was over; None where it is open still.
    """

    coupon: int
    size: int
    opened_at: datetime
    closes_at: datetime
    ended_at: datetime | None
    filled: bool
    members: Sequence[tuple[int, datetime]]


@dataclass(frozen=True)
class Purchases:
    """What was bought.

    Attributes:
        lines: columns ``shopper``, ``product``, ``category`` (null if it has none) and ``at``: a row a line.
        targets: by coupon the products that it is for; a coupon that is not here is for the whole shop.
    """

    lines: pl.DataFrame
    targets: Mapping[int, frozenset[int]]

    def until(self, moment: datetime) -> pl.DataFrame:
        """Those of :data:`LATELY` before a moment."""
        return self.lines.filter(pl.col("at") < moment, pl.col("at") >= moment - LATELY)


@dataclass(frozen=True)
class Look:
    """A shopper looked at what a coupon is about."""

    shopper: int
    coupon: int
    at: datetime


class Baskets:
    """How alike shoppers' baskets were at a moment, and what each bought of what coupons are for."""

    def __init__(self, purchases: Purchases, moment: datetime) -> None:
        lines = purchases.until(moment)
        self._targets = purchases.targets
        category = lines.select("product", "category").unique().drop_nulls()
        self._category_of = dict(category.iter_rows())
        counts = lines.group_by("shopper", "product").len()
        buyers = counts.group_by("product").agg(pl.len().alias("buyers"))
        self.shoppers = counts["shopper"].unique().sort()
        counts = counts.join(buyers, on="product").filter(pl.col("buyers") >= FEWEST_BUYERS)
        products = counts["product"].unique().sort()
        rarity = np.log(len(self.shoppers) / counts["buyers"].to_numpy()) if len(counts) else np.zeros(0)
        self._matrix = sparse.csr_matrix(
            (
                np.log1p(counts["len"].to_numpy()) * np.maximum(rarity, 0.0),
                (
                    self.shoppers.search_sorted(counts["shopper"]).to_numpy(),
                    products.search_sorted(counts["product"]).to_numpy(),
                ),
            ),
            shape=(len(self.shoppers), len(products)),
        )
        self._matrix.eliminate_zeros()
        norms = np.sqrt(np.asarray(self._matrix.multiply(self._matrix).sum(axis=1)).ravel())
        self._norms = np.maximum(norms, 1e-12)
        self._row = {shopper: row for row, shopper in enumerate(self.shoppers)}
        self._bought: dict[int, Counter[int]] = defaultdict(Counter)
        self._bought_kind: dict[int, Counter[int]] = defaultdict(Counter)
        for shopper, product, times in lines.group_by("shopper", "product").len().iter_rows():
            self._bought[shopper][product] = times
            if (of := self._category_of.get(product)) is not None:
                self._bought_kind[shopper][of] += times
        self._kinds = {
            coupon: {self._category_of[product] for product in products_of if product in self._category_of}
            for coupon, products_of in purchases.targets.items()
        }

    def alike(self, one: int, other: int) -> float:
        """The cosine of two shoppers' baskets, in which rare products weigh the most."""
        row, column = self._row.get(one), self._row.get(other)
        if row is None or column is None:
            return 0.0
        product = self._matrix[row].multiply(self._matrix[column]).sum()
        return min(1.0, float(product / (self._norms[row] * self._norms[column])))

    def most_alike(self, shopper: int, members: Iterable[int], together: Mapping[int, int]) -> float:
        """How alike a shopper is to the most alike member of a group, as far as companions tell: of those whom a member
        neither joined a group with nor has among the nearest nothing is known."""
        near = (
            self.alike(member, shopper) if member in together else self._nearest.get((member, shopper), 0.0)
            for member in members
        )
        return max(near, default=0.0)

    @cached_property
    def _nearest(self) -> dict[tuple[int, int], float]:
        everybody = self.shoppers.to_list()
        return {(shopper, other): cosine for shopper, other, cosine in self.nearest(everybody)}

    def bought(self, shopper: int, coupon: int) -> tuple[int, int, int]:
        """Purchases of what a coupon is for, of the same categories, and of anything."""
        own, kinds = self._bought.get(shopper, Counter()), self._bought_kind.get(shopper, Counter())
        targets, at_all = self._targets.get(coupon), own.total()
        if targets is None:
            return at_all, at_all, at_all
        return sum(own[product] for product in targets), sum(kinds[kind] for kind in self._kinds[coupon]), at_all

    def nearest(self, shoppers: Sequence[int]) -> list[tuple[int, int, float]]:
        """Of each of some shoppers, the :data:`COMPANIONS` most alike: (shopper, other, cosine)."""
        known = [shopper for shopper in shoppers if shopper in self._row]
        if not known or not self._matrix.nnz:
            return []
        search = NeighbourSearch(self._matrix, "cosine")
        found = search.neighbours(np.array([self._row[shopper] for shopper in known]), COMPANIONS + 1).tocsr()
        names = self.shoppers.to_list()
        return [
            (shopper, names[column], min(1.0, float(value)))
            for position, shopper in enumerate(known)
            for column, value in zip(
                found.indices[found.indptr[position] : found.indptr[position + 1]],
                found.data[found.indptr[position] : found.indptr[position + 1]],
                strict=True,
            )
            if names[column] != shopper and value >= LEAST_ALIKE
        ]


@dataclass
class _Known:
    """What is known of groups at a moment that only moves on."""

    overall: CouponPast = field(default_factory=CouponPast)
    by_coupon: dict[int, CouponPast] = field(default_factory=dict)
    by_size: dict[int, CouponPast] = field(default_factory=dict)
    together: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    #: Groups that each shopper joined, and those of them that others began.
    joined: Counter[int] = field(default_factory=Counter)
    joined_others: Counter[int] = field(default_factory=Counter)
    looked: Counter[int] = field(default_factory=Counter)

    def join(self, shopper: int, others: Sequence[int]) -> None:
        self.joined[shopper] += 1
        self.joined_others[shopper] += bool(others)
        for other in others:
            self.together[shopper][other] += 1
            self.together[other][shopper] += 1

    def end(self, group: PastGroup) -> None:
        assert group.ended_at is not None
        hours = (group.ended_at - group.opened_at).total_seconds() / SECONDS_AN_HOUR
        past = CouponPast(1, int(group.filled), len(group.members) - 1, hours)
        self.overall += past
        self.by_coupon[group.coupon] = self.by_coupon.get(group.coupon, CouponPast()) + past
        self.by_size[group.size] = self.by_size.get(group.size, CouponPast()) + past

    def past_of(self, coupon: int) -> CouponPast:
        return self.by_coupon.get(coupon, CouponPast())

    def closeness(self, one: int, other: int) -> float:
        """Groups joined together over the geometric mean of those that either joined."""
        together = self.together[one][other] if one in self.together else 0
        return together / sqrt(self.joined[one] * self.joined[other]) if together else 0.0

    def companions(self, members: Iterable[int]) -> int:
        """Of the member who has the most."""
        return max(
            (min(len(self.together[member]), TOGETHER) for member in members if member in self.together), default=0
        )


@dataclass(frozen=True)
class Learned:
    """
    Attributes:
        companions: columns ``shopper``, ``companion``, ``groups_together``, ``closeness`` and ``alike``, sorted by the
            first two.
    """

    model: GroupModel
    companions: pl.DataFrame


@dataclass
class _Examples:
    """Moments in the life of groups: when, the facts, the base rate as it was, and whether it filled in the end."""

    opened: list[datetime] = field(default_factory=list)
    ended: list[datetime] = field(default_factory=list)
    facts: list[list[float]] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    filled: list[bool] = field(default_factory=list)


@dataclass
class _Joins:
    """Pairs of a shopper and a group: the facts, whether the shopper joined, and how many pairs each stands for."""

    facts: list[list[float]] = field(default_factory=list)
    joined: list[bool] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def add(self, facts: list[float], *, joined: bool, weight: float = 1.0) -> None:
        self.facts.append(facts)
        self.joined.append(joined)
        self.weights.append(weight)


def learn(
    groups: Sequence[PastGroup],
    purchases: Purchases,
    looks: Sequence[Look] = (),
    *,
    moment: datetime,
    seed: int = 0,
) -> Learned:
    """Learn from what happened before a moment.

    Args:
        groups: those that were begun before the moment, in any order. What is dated later of them is not looked at.
        looks: who looked at what coupons are about, in any order. Who looked and joined, beside who looked and did not,
            tells how drawn somebody is. Without looks, joining is set beside all pairs of shoppers and open groups, and
            cannot be told from getting to know of a group.
    """
    groups = [_as_of(group, moment) for group in groups if group.opened_at < moment]
    groups.sort(key=lambda group: (group.opened_at, group.coupon, group.members[0][0] if group.members else 0))
    groups = groups[-MOST_GROUPS:]
    begins = groups[0].opened_at if groups else moment
    looks = [look for look in looks if begins <= look.at < moment - MAKES_UP_THEIR_MIND]
    life = _Life(groups, purchases, looks if len(looks) >= FEWEST_LOOKS else None, Random(seed))  # noqa: S311
    life.live()
    known = life.known
    chance = check = joining = None
    if known.overall.ended >= FEWEST_GROUPS:
        check = _check(life.chances)
        chance = _fit(CHANCE_FACTS, life.chances.facts, life.chances.filled)
        joining = _fit(JOINING_FACTS, life.joins.facts, life.joins.joined, life.joins.weights)
    model = GroupModel(known.overall, known.by_coupon, known.by_size, chance, joining, check)
    return Learned(model, _companions(known, purchases, moment))


def _as_of(group: PastGroup, moment: datetime) -> PastGroup:
    ended = group.ended_at if group.ended_at is not None and group.ended_at < moment else None
    members = sorted(((who, at) for who, at in group.members if at < moment), key=lambda each: (each[1], each[0]))
    return PastGroup(
        group.coupon,
        group.size,
        group.opened_at,
        group.closes_at,
        ended,
        group.filled and ended is not None,
        members,
    )


class _Happening(IntEnum):
    """What comes first of what happens at the same moment."""

    MOMENT = 0
    LOOK = 1
    JOIN = 2
    END = 3


class _Life:
    """All that happened, gone through in its order: each moment is described by what was known then.

    Attributes:
        known: what is known in the end.
        chances, joins: what was described.
    """

    def __init__(
        self, groups: Sequence[PastGroup], purchases: Purchases, looks: Sequence[Look] | None, random: Random
    ) -> None:
        self.known, self.chances, self.joins = _Known(), _Examples(), _Joins()
        self._groups, self._purchases, self._looks, self._random = groups, purchases, looks, random
        self._open: dict[int, int] = {}  # members so far, by group
        self._open_of: dict[int, set[int]] = defaultdict(set)  # groups by coupon
        self._everybody = purchases.lines["shopper"].unique().sort().to_list()
        self._joined_at = {(number, who): at for number, group in enumerate(groups) for who, at in group.members}
        self._baskets: Baskets | None = None

    def live(self) -> None:
        groups, looks = self._groups, self._looks or ()
        #: When, what comes first at a moment, and of what: a group, and a member of it.
        happenings: list[tuple[datetime, _Happening, int, int]] = []
        for number, group in enumerate(groups):
            happenings += [(at, _Happening.JOIN, number, place) for place, (_who, at) in enumerate(group.members)]
            if group.ended_at is not None:
                happenings.append((group.ended_at, _Happening.END, number, 0))
                happenings += [(at, _Happening.MOMENT, number, 0) for at in self._draw_moments(group)]
        happenings += [(look.at, _Happening.LOOK, number, 0) for number, look in enumerate(looks)]
        happenings.sort()
        starts = [group.opened_at for group in groups]
        due = sorted({starts[len(starts) * period // PERIODS] for period in range(1, PERIODS)}) if starts else []
        for at, what, number, place in happenings:
            if due and at >= due[0]:
                self._baskets = Baskets(self._purchases, due.pop(0))
            match what:
                case _Happening.MOMENT:
                    self._describe_moment(number, at)
                case _Happening.LOOK:
                    self._describe_look(looks[number])
                case _Happening.JOIN:
                    self._join(number, place)
                case _:
                    self.known.end(groups[number])
                    self._close(number)

    def _draw_moments(self, group: PastGroup) -> list[datetime]:
        """Right after it began, and any time until it closed: those at which it was open still."""
        assert group.ended_at is not None
        window = group.closes_at - group.opened_at
        drawn = [group.opened_at + timedelta(seconds=1)]
        drawn += [group.opened_at + self._random.random() * window for _draw in range(1, MOMENTS)]
        return [at for at in drawn if at < group.ended_at]

    def _inside(self, number: int) -> list[int]:
        return [who for who, _at in self._groups[number].members[: self._open[number]]]

    def _close(self, number: int) -> None:
        self._open.pop(number, None)
        self._open_of[self._groups[number].coupon].discard(number)

    def _describe_moment(self, number: int, at: datetime) -> None:
        if number not in self._open:
            return  # whoever began it was erased
        group, members = self._groups[number], self._inside(number)
        state = _state(group, len(members), at, self.known.companions(members))
        self.chances.opened.append(group.opened_at)
        self.chances.ended.append(group.ended_at or group.closes_at)
        self.chances.facts.append(describe_chance(state, self.known.past_of(group.coupon), self.known.overall))
        self.chances.base.append(self.known.by_size.get(group.size, CouponPast()).rate(self.known.overall))
        self.chances.filled.append(group.filled)

    def _join(self, number: int, place: int) -> None:
        group = self._groups[number]
        who, at = group.members[place]
        if place and self._looks is None:
            self._describe_pair(who, number, at, joined=True)
            self._draw_pairs(at)
        self.known.join(who, [other for other, _at in group.members[:place]])
        self._open[number] = place + 1
        self._open_of[group.coupon].add(number)
        if place + 1 >= group.size:
            self._close(number)

    def _describe_look(self, look: Look) -> None:
        for number in sorted(self._open_of[look.coupon]):
            joined_at = self._joined_at.get((number, look.shopper))
            joined = joined_at is not None and joined_at <= look.at + MAKES_UP_THEIR_MIND
            self._describe_pair(look.shopper, number, look.at, joined=joined)
        self.known.looked[look.shopper] += 1

    def _draw_pairs(self, at: datetime) -> None:
        """Of all pairs of a shopper and an open group some who might know each other, and some of any."""
        numbers = sorted(self._open)
        for number in self._random.choices(numbers, k=OTHERS // 2):
            near = sorted({other for member in self._inside(number) for other in self.known.together.get(member, ())})
            for source in (near, self._everybody):
                if source:
                    weight = len(numbers) * len(source) / (OTHERS // 2)
                    self._describe_pair(self._random.choice(source), number, at, joined=False, weight=weight)

    def _describe_pair(self, shopper: int, number: int, at: datetime, *, joined: bool, weight: float = 1.0) -> None:
        group, inside, known = self._groups[number], self._inside(number), self.known
        state = _state(group, len(inside), at, 0)
        if self._baskets is None or shopper in inside or state.hours_left <= 0:
            return
        own = known.together.get(shopper, Counter())
        bought, bought_kind, bought_at_all = self._baskets.bought(shopper, group.coupon)
        tie = Tie(
            together=sum(own[member] for member in inside),
            closeness=max(known.closeness(member, shopper) for member in inside),
            alike=self._baskets.most_alike(shopper, inside, own),
            bought=bought,
            bought_kind=bought_kind,
            bought_at_all=bought_at_all,
            joined_before=known.joined_others[shopper],
            looked_before=known.looked[shopper],
        )
        facts = describe_joining(state, tie, known.past_of(group.coupon), known.overall)
        self.joins.add(facts, joined=joined, weight=weight)


def _state(group: PastGroup, joined: int, at: datetime, companions: int) -> GroupState:
    return GroupState(
        size=group.size,
        joined=joined,
        hours_open=(at - group.opened_at).total_seconds() / SECONDS_AN_HOUR,
        hours_left=(group.closes_at - at).total_seconds() / SECONDS_AN_HOUR,
        companions=companions,
    )


def _fit(
    facts: Sequence[str],
    described: Sequence[Sequence[float]],
    happened: Sequence[bool],
    weights: Sequence[float] | None = None,
) -> Logistic | None:
    """None where it always happened, or never."""
    y = np.array(happened, dtype=bool)
    if not y.any() or y.all():
        return None
    X = np.array(described, dtype=np.float64)
    means, spreads = X.mean(axis=0), X.std(axis=0)
    spreads[spreads < 1e-9] = 1.0
    fitted = LogisticRegression(C=1.0, max_iter=1_000).fit((X - means) / spreads, y, sample_weight=weights)
    return Logistic(
        facts=tuple(facts),
        means=tuple(means.tolist()),
        spreads=tuple(spreads.tolist()),
        weights=tuple(fitted.coef_[0].tolist()),
        intercept=float(fitted.intercept_[0]),
    )


def _check(examples: _Examples) -> Check | None:
    """Learn from groups that had ended when the last quarter began, and see what came true of those."""
    if len(examples.filled) < 4 * BINS:
        return None
    begins = sorted(examples.opened)[int(len(examples.opened) * (1 - CHECKED_SHARE))]
    early = [number for number, ended in enumerate(examples.ended) if ended <= begins]
    late = [number for number, opened in enumerate(examples.opened) if opened >= begins]
    model = _fit(
        CHANCE_FACTS, [examples.facts[number] for number in early], [examples.filled[number] for number in early]
    )
    if model is None or len(late) < BINS:
        return None
    predicted = np.array([model.probability(examples.facts[number]) for number in late])
    base = np.array([examples.base[number] for number in late])
    filled = np.array([examples.filled[number] for number in late], dtype=np.float64)
    bins = tuple(
        Bin(len(part), float(predicted[part].mean()), float(filled[part].mean()))
        for part in np.array_split(np.argsort(predicted, kind="stable"), BINS)
    )
    log_loss, base_log_loss = _log_loss(predicted, filled), _log_loss(base, filled)
    off = abs(float(predicted.mean() - filled.mean()))
    return Check(
        learned_from=len(early),
        checked_on=len(late),
        log_loss=log_loss,
        base_log_loss=base_log_loss,
        brier=float(np.mean((predicted - filled) ** 2)),
        base_brier=float(np.mean((base - filled) ** 2)),
        error=sum(each.count * abs(each.predicted - each.filled) for each in bins) / len(late),
        bins=bins,
        passed=_is_better(predicted, base, filled, [examples.opened[number] for number in late]) and off <= MOST_OFF,
    )


def _is_better(predicted: np.ndarray, base: np.ndarray, filled: np.ndarray, opened: Sequence[datetime]) -> bool:
    """Whether the model's log loss is smaller than that of the base rates by more than chance makes it as a rule: by a
    standard error, each group (told by when it was begun) counted as one."""
    gains = pl.DataFrame({"opened": opened, "gain": _losses(base, filled) - _losses(predicted, filled)})
    of_groups = gains.group_by("opened").agg(pl.col("gain").sum())["gain"].to_numpy()
    return bool(of_groups.sum() > np.sqrt(len(of_groups)) * of_groups.std())


def _log_loss(chances: np.ndarray, happened: np.ndarray) -> float:
    return float(_losses(chances, happened).mean())


def _losses(chances: np.ndarray, happened: np.ndarray) -> np.ndarray:
    within = np.clip(chances, 1e-9, 1 - 1e-9)
    return -(happened * np.log(within) + (1 - happened) * np.log(1 - within))


def _companions(known: _Known, purchases: Purchases, moment: datetime) -> pl.DataFrame:
    """The nearest of each shopper who ever joined a group."""
    baskets = Baskets(purchases, moment)
    shoppers = sorted(known.joined)
    found: dict[tuple[int, int], float] = {}
    for shopper in shoppers:
        most = sorted(known.together.get(shopper, Counter()).items(), key=lambda each: (-each[1], each[0]))
        for other, _times in most[:TOGETHER]:
            found[shopper, other] = baskets.alike(shopper, other)
    for shopper, other, cosine in baskets.nearest(shoppers):
        found[shopper, other] = cosine
    rows = [
        (shopper, other, known.together[shopper][other], known.closeness(shopper, other), min(1.0, cosine))
        for (shopper, other), cosine in sorted(found.items())
    ]
    schema = {
        **{"shopper": pl.Int64, "companion": pl.Int64, "groups_together": pl.Int64},
        **{"closeness": pl.Float64, "alike": pl.Float64},
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
