"""Who buys together, and what past groups say of how groups fill and whom they draw.

Everything is described as of a moment of its own: a group's chance by what was known while it was open, who joined by
what had been bought and joined before. Nothing dated at or after the moment of learning is seen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
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
#: A product that nearly everybody buys says nothing of who belongs together, and one that a single shopper buys neither.
FEWEST_BUYERS = 2
#: With fewer ended groups than this nothing is learned of them.
FEWEST_GROUPS = 100
#: The last groups that are learned from.
MOST_GROUPS = 20_000
#: Moments that are drawn in the life of each group, and others that are drawn for each who joined.
MOMENTS, OTHERS = 3, 4
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

    def bought(self, shopper: int, coupon: int) -> tuple[int, int]:
        """Purchases of what a coupon is for, and of the same categories."""
        own, kinds = self._bought.get(shopper, Counter()), self._bought_kind.get(shopper, Counter())
        targets = self._targets.get(coupon)
        if targets is None:
            return sum(own.values()), sum(own.values())
        return sum(own[product] for product in targets if product in own), sum(
            kinds[kind] for kind in self._kinds[coupon] if kind in kinds
        )

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

    overall: CouponPast = CouponPast()
    by_coupon: dict[int, CouponPast] = field(default_factory=dict)
    by_size: dict[int, CouponPast] = field(default_factory=dict)
    together: dict[int, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    joined: Counter[int] = field(default_factory=Counter)

    def join(self, shopper: int, others: Iterable[int]) -> None:
        self.joined[shopper] += 1
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

    def companions(self, members: Iterable[int]) -> int:
        """Of the member who has the most."""
        return max((min(len(self.together[member]), TOGETHER) for member in members if member in self.together), default=0)


@dataclass(frozen=True)
class Learned:
    """
    Attributes:
        companions: columns ``shopper``, ``companion``, ``groups_together`` and ``alike``, sorted by the first two.
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


def learn(groups: Sequence[PastGroup], purchases: Purchases, *, moment: datetime, seed: int = 0) -> Learned:
    """Learn from what happened before a moment.

    Args:
        groups: those that were begun before the moment, in any order. What is dated later of them is not looked at.
    """
    groups = [_as_of(group, moment) for group in groups if group.opened_at < moment]
    groups.sort(key=lambda group: (group.opened_at, group.coupon, group.members[0][0] if group.members else 0))
    known, chances, joins = _live_through(groups[-MOST_GROUPS:], purchases, Random(seed))
    ended = known.overall.ended
    chance = check = joining = None
    if ended >= FEWEST_GROUPS:
        check = _check(chances)
        chance = _fit(CHANCE_FACTS, chances.facts, chances.filled)
        joining = _fit(JOINING_FACTS, [facts for facts, _joined in joins], [joined for _facts, joined in joins])
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


def _live_through(
    groups: Sequence[PastGroup], purchases: Purchases, random: Random
) -> tuple[_Known, _Examples, list[tuple[list[float], bool]]]:
    """Go through all that happened in its order, and describe each moment by what was known then."""
    happenings: list[tuple[datetime, int, int, int]] = []  # when, what comes first at a moment, group, member
    for number, group in enumerate(groups):
        happenings += [(at, 1, number, place) for place, (_who, at) in enumerate(group.members)]
        if group.ended_at is None:
            continue
        happenings.append((group.ended_at, 2, number, 0))
        window = (group.closes_at - group.opened_at).total_seconds()
        for draw in range(MOMENTS):
            at = group.opened_at + timedelta(seconds=random.random() * window * (draw > 0) + 1)
            if at < group.ended_at:
                happenings.append((at, 0, number, 0))
    happenings.sort()
    starts = [group.opened_at for group in groups]
    renewed = {starts[len(starts) * period // PERIODS] for period in range(1, PERIODS)} if starts else set()
    known, chances, joins = _Known(), _Examples(), []
    open_now: dict[int, int] = {}  # members so far, by group
    everybody = purchases.lines["shopper"].unique().sort().to_list()
    baskets: Baskets | None = None
    due = sorted(renewed)
    for at, what, number, place in happenings:
        if due and at >= due[0]:
            baskets, due = Baskets(purchases, due[0]), due[1:]
        group = groups[number]
        if what == 0 and number not in open_now:
            continue  # whoever began it was erased
        if what == 0:
            members = [who for who, _at in group.members[: open_now[number]]]
            state = _state(group, len(members), at, known.companions(members))
            chances.opened.append(group.opened_at)
            chances.ended.append(group.ended_at or group.closes_at)
            chances.facts.append(describe_chance(state, known.past_of(group.coupon), known.overall))
            chances.base.append(known.by_size.get(group.size, CouponPast()).rate(known.overall))
            chances.filled.append(group.filled)
        elif what == 1:
            who = group.members[place][0]
            before = [other for other, _at in group.members[:place]]
            if place and baskets is not None:
                joins += _describe_join(groups, number, place, open_now, known, baskets, everybody, random)
            known.join(who, before)
            open_now[number] = place + 1
            if place + 1 >= group.size:
                open_now.pop(number)
        else:
            known.end(group)
            open_now.pop(number, None)
    return known, chances, joins


def _describe_join(
    groups: Sequence[PastGroup],
    number: int,
    place: int,
    open_now: Mapping[int, int],
    known: _Known,
    baskets: Baskets,
    everybody: Sequence[int],
    random: Random,
) -> list[tuple[list[float], bool]]:
    """Somebody who joined, beside others who might have and beside other groups that they might have joined."""
    who, at = groups[number].members[place]
    others = [each for each in open_now if each != number]
    pairs = [(who, number, True)]
    pairs += [(who, other, False) for other in random.sample(others, min(OTHERS, len(others)))]
    members = [each for each, _at in groups[number].members[:place]]
    companions = sorted({other for member in members for other in known.together.get(member, ())})
    for source in (companions, everybody):
        pairs += [(other, number, False) for other in random.sample(source, min(OTHERS // 2, len(source)))]
    described = []
    for shopper, of, joined in pairs:
        group = groups[of]
        inside = [each for each, _at in group.members[: open_now[of]]]
        if shopper in inside or (shopper == who and not joined and of == number):
            continue
        state = _state(group, len(inside), at, 0)
        if state.hours_left <= 0:
            continue
        bought, kind = baskets.bought(shopper, group.coupon)
        own = known.together.get(shopper, Counter())
        tie = Tie(
            together=sum(own[member] for member in inside if member in own),
            alike=baskets.most_alike(shopper, inside, own),
            bought=bought,
            bought_kind=kind,
            joined_before=known.joined[shopper],
        )
        described.append((describe_joining(state, tie, known.past_of(group.coupon), known.overall), joined))
    return described


def _state(group: PastGroup, joined: int, at: datetime, companions: int) -> GroupState:
    return GroupState(
        size=group.size,
        joined=joined,
        hours_open=(at - group.opened_at).total_seconds() / SECONDS_AN_HOUR,
        hours_left=(group.closes_at - at).total_seconds() / SECONDS_AN_HOUR,
        companions=companions,
    )


def _fit(facts: Sequence[str], described: Sequence[Sequence[float]], happened: Sequence[bool]) -> Logistic | None:
    """None where it always happened, or never."""
    y = np.array(happened, dtype=bool)
    if not y.any() or y.all():
        return None
    X = np.array(described, dtype=np.float64)
    means, spreads = X.mean(axis=0), X.std(axis=0)
    spreads[spreads < 1e-9] = 1.0
    fitted = LogisticRegression(C=1.0, max_iter=1_000).fit((X - means) / spreads, y)
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
        passed=log_loss < base_log_loss and off <= MOST_OFF,
    )


def _log_loss(chances: np.ndarray, happened: np.ndarray) -> float:
    within = np.clip(chances, 1e-9, 1 - 1e-9)
    return float(-np.mean(happened * np.log(within) + (1 - happened) * np.log(1 - within)))


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
        (shopper, other, known.together[shopper][other] if shopper in known.together else 0, min(1.0, cosine))
        for (shopper, other), cosine in sorted(found.items())
    ]
    schema = {"shopper": pl.Int64, "companion": pl.Int64, "groups_together": pl.Int64, "alike": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")
