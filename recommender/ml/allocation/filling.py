"""What dropping and rounding left of the limits is used: pairs come onto lists, alone or in the place of a lesser one.

A round reads all blocks once, keeps the pairs that would fit and gain something, the best by gain for what they take
at the prices, and then takes one after the other that still fits. No move exceeds a limit, and each gains value, or
brings a floor nearer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import Any

import numpy as np
import polars as pl

from recommender.ml.allocation.candidates import Candidates, Prices, Source, Totals
from recommender.ml.allocation.repair import Chosen
from recommender.ml.allocation.terms import MICRO, NO_LIMIT, Resource, Terms
from recommender.progress import Progress
from recommender.sentences import say

#: Moves that a round considers.
CONSIDERED = 200_000
ROUNDS = 5
#: A round that gains less than this share of the value is the last.
LEAST_GAIN = 5e-5

_MOVES = pl.Schema(
    {
        "rate": pl.Float64,
        "tie": pl.UInt64,
        "shopper": pl.Int64,
        "place": pl.Int64,
        "value": pl.Int64,
        "cost": pl.Int64,
        "uses": pl.Int64,
        "capacity": pl.Int64,
        "segments": pl.UInt64,
        "adjusted": pl.Float64,
        "floor": pl.Int64,
    }
)


@dataclass
class _Entry:
    """A pair on a list, or one that may come onto it."""

    adjusted: float
    place: int
    value: int
    amounts: tuple[int, int, int]
    loss: float = 0.0


@dataclass
class _List:
    """A shopper's list that was changed."""

    segments: int
    entries: list[_Entry] = field(default_factory=list)


@dataclass
class _Swap:
    """A pair that comes onto a list, alone or for another, and for which floor; the less its rate, the better."""

    rate: float
    shopper: int
    segments: int
    entries: list[_Entry]
    new: _Entry
    old: _Entry | None
    asked_by: int | None


class Filling:
    """Lists that keep their limits, and what is left of these.

    Args:
        chosen: the lists to begin with. They exceed nothing.
        terms: what to keep to.
        prices: at which moves are compared.
    """

    def __init__(self, chosen: Chosen, terms: Terms, prices: Prices) -> None:
        self._terms, self._prices, self._chosen = terms, prices, chosen
        self._changed: dict[int, _List] = {}
        totals = chosen.totals(terms)
        self.value = totals.value
        self._left: list[int | None] = [
            terms.limits[resource] - totals.amounts[resource] if resource in terms.limits else None
            for resource in Resource
        ]
        self._left_of: list[list[int | None]] = [
            [None if limit == NO_LIMIT else limit - taken for limit, taken in zip(limits.tolist(), of, strict=True)]
            for limits, of in zip(terms.limits_at, totals.of_coupons, strict=True)
        ]
        self._over_return = _over_return(terms, totals)
        self._over_floors = [taken - floor.at_least for floor, taken in zip(terms.floors, totals.floors, strict=True)]
        self._victims: dict[tuple[int, int], Iterator[int]] = {}

    def finish(self) -> Chosen:
        """The lists as they are now."""
        if self._changed:
            self._chosen, self._changed, self._victims = self._written(), {}, {}
        return self._chosen

    def fill(self, source: Source, progress: Progress) -> None:
        """First what floors lack, then whatever gains value, until a round gains next to nothing."""
        for number, floor in enumerate(self._terms.floors):
            if floor.coupons is None:
                self._fill_floors([number], source, progress)
        of_coupons = [number for number, floor in enumerate(self._terms.floors) if floor.coupons is not None]
        for _round in range(ROUNDS):  # together: there may be hundreds, and each reading is of everything
            if not self._fill_floors(of_coupons, source, progress):
                break
        self._unprice_floors_with_more()
        for _round in range(ROUNDS):
            before = self.value
            self._make_moves(self._find(source, (), progress))
            self.finish()
            if self.value - before <= LEAST_GAIN * before:
                break

    def _fill_floors(self, numbers: Sequence[int], source: Source, progress: Progress) -> bool:
        """Give some floors what they lack, as far as it can be had; whether anything was moved."""
        short = [number for number in numbers if self._over_floors[number] < 0]
        if not short:
            return False
        self._make_moves(self._find(source, short, progress))
        moved = bool(self._changed)
        self.finish()
        return moved

    def _unprice_floors_with_more(self) -> None:
        """What floors have beyond what they ask for is worth nothing (complementary slackness).

        Prices are of all pairs at once: where many shoppers are alike, the one that brings a floor what it lacks brings
        it the same of them all, and lists are full of what is there for the floor alone.
        """
        prices = np.array(self._prices.floors, dtype=float)
        slack = (prices > 0) & (np.array(self._over_floors, dtype=object) > 0)
        if not slack.any():
            return
        chosen = self._chosen
        given = self._terms.given(chosen.place, chosen.amounts, chosen.member)
        without = sum(prices[number] * given[number] for number in np.flatnonzero(slack))
        self._chosen = replace(chosen, adjusted=chosen.adjusted - without)
        self._prices = replace(self._prices, floors=np.where(slack, 0.0, prices))

    # Finding moves

    def _find(self, source: Source, floors: Sequence[int], progress: Progress) -> pl.DataFrame:
        """The moves that give most to each of some floors for what they lose, or without any those that gain most."""
        considered = CONSIDERED // max(1, len(floors))

        def first(moves: pl.DataFrame) -> pl.DataFrame:
            moves = moves.sort("rate", "tie", "shopper", "place")
            return (
                moves.head(considered)
                if len(floors) < 2
                else moves.filter(pl.int_range(pl.len()).over("floor") < considered)
            )

        best, done = pl.DataFrame(schema=_MOVES), 0
        parts: list[pl.DataFrame] = []
        for candidates in source():
            found = self._moves_of(candidates, floors)
            parts += [first(part) if part.height > considered else part for part in found]
            done += len(candidates)
            progress.report(say("Filling up"), done)
            if sum(part.height for part in parts) > CONSIDERED:
                best, parts = first(pl.concat([best, *parts])), []
        return first(pl.concat([best, *parts]))

    def _moves_of(self, candidates: Candidates, floors: Sequence[int]) -> Iterator[pl.DataFrame]:
        """The pairs of a block that are on no list and would fit; those that give to each of the floors."""
        terms, chosen = self._terms, self._chosen
        adjusted = candidates.adjusted(self._prices)
        row, cell = candidates.row, candidates.cell
        first = np.searchsorted(chosen.shopper, candidates.shopper, side="left")
        sizes = np.searchsorted(chosen.shopper, candidates.shopper, side="right") - first
        listed = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(sizes.sum())
        keys = row * terms.coupons + candidates.place
        at = np.searchsorted(keys, np.repeat(np.arange(len(sizes)), sizes) * terms.coupons + chosen.place[listed])
        # Which pair would have to leave: the least of a full group, or else of a full list.
        least = at[np.lexsort((adjusted[at], row[at]))]
        rows, begins = np.unique(row[least], return_index=True)
        leaves_row = np.full(len(candidates.shopper), -1)
        leaves_row[rows] = least[begins]
        leaves = np.where((sizes >= candidates.capacity)[row], leaves_row[row], -1)
        if terms.has_groups:
            least = at[np.lexsort((adjusted[at], cell[at]))]
            cells, begins, counts = np.unique(cell[least], return_index=True, return_counts=True)
            full = counts >= terms.most_of_group
            leaves_cell = np.full(len(candidates.cell_starts), -1)
            leaves_cell[cells[full]] = least[begins[full]]
            leaves = np.where(leaves_cell[cell] >= 0, leaves_cell[cell], leaves)
        free = np.ones(len(candidates), dtype=bool)
        free[at] = False
        free &= (candidates.capacity > 0)[row]
        stays = leaves < 0
        gain = candidates.value - np.where(stays, 0, candidates.value[leaves])
        more = candidates.amounts - np.where(stays, 0, candidates.amounts[:, leaves])
        if not floors:
            free &= (gain > 0) & self._would_fit(candidates, gain, more)
            charge = candidates.worth - adjusted
            charge = charge - np.where(stays, 0.0, charge[leaves])
            pairs = np.flatnonzero(free)
            yield self._as_moves(candidates, adjusted, pairs, _rate_of_gain(gain[pairs], charge[pairs]))
            return
        given = candidates.given()
        lost = np.where(stays, 0.0, adjusted[leaves])
        for number in floors:
            more_given = given[number] - np.where(stays, 0, given[number][leaves])
            pairs = np.flatnonzero(free & (more_given > 0))
            rate = -(adjusted[pairs] - lost[pairs]) / more_given[pairs]
            yield self._as_moves(candidates, adjusted, pairs, rate, number)

    @staticmethod
    def _as_moves(
        candidates: Candidates, adjusted: np.ndarray, pairs: np.ndarray, rate: np.ndarray, floor: int | None = None
    ) -> pl.DataFrame:
        rows_of = candidates.row[pairs]
        return pl.DataFrame(
            {
                "rate": rate,
                "tie": candidates.tie[pairs],
                "shopper": candidates.shopper[rows_of],
                "place": candidates.place[pairs],
                "value": candidates.value[pairs],
                "cost": candidates.amounts[Resource.COST][pairs],
                "uses": candidates.amounts[Resource.USES][pairs],
                "capacity": candidates.capacity[rows_of],
                "segments": candidates.segments[rows_of],
                "adjusted": adjusted[pairs],
                "floor": pl.Series([floor] * len(pairs), dtype=pl.Int64),
            },
            schema=_MOVES,
        )

    def _would_fit(self, candidates: Candidates, gain: np.ndarray, more: np.ndarray) -> np.ndarray:
        fits = np.ones(len(candidates), dtype=bool)
        for resource in Resource:
            if (left := self._left[resource]) is not None:
                fits &= more[resource] <= left
            if (self._terms.limits_at[resource] != NO_LIMIT).any():
                most = np.iinfo(np.int64).max
                left_of = np.array([most if left is None else left for left in self._left_of[resource]])
                fits &= candidates.amounts[resource] <= left_of[candidates.place]
        if self._over_return is not None and self._terms.required_return is not None:
            owed = self._terms.required_return * more[Resource.COST] - gain
            fits &= owed <= self._over_return / MICRO + 1
        return fits

    # Making moves

    def _make_moves(self, moves: pl.DataFrame) -> None:
        """Make those that keep everything and gain something: value, or what is wanted for a floor.

        The best first. Each move makes the others of its list worse; one that has become worse than the next waits for
        its turn (lazy evaluation: Minoux 1978).
        """
        turns = [(move[0], turn, move) for turn, move in enumerate(moves.iter_rows())]  # ascending, and so a heap
        while turns:
            _rate, turn, move = heappop(turns)
            swap = self._swap(move)
            if swap is None:
                continue
            if turns and swap.rate > turns[0][0]:
                heappush(turns, (swap.rate, turn, move))
            else:
                self._make(swap)

    def _swap(self, move: tuple) -> _Swap | None:
        """What a move would do to a list as it is now; None if it may not or gains nothing.

        The least entry leaves that may: one on which a floor stands stays, and the next is asked.
        """
        _rate, _tie, shopper, place, value, cost, uses, capacity, segments, adjusted, asked_by = move
        if asked_by is not None and self._over_floors[asked_by] >= 0:
            return None
        new = _Entry(adjusted, place, value, (cost, uses, 1), adjusted)
        entries = self._entries(shopper)
        for old in self._leaving(entries, place, capacity):
            given = self._given(segments, new, old)
            if self._keeps_floors(given, asked_by):
                break
        else:
            return None
        gain, more_adjusted = value, adjusted
        if old:
            gain, more_adjusted = value - old.value, adjusted - old.adjusted
        if asked_by is None:
            if gain <= 0:
                return None
            rate = _rate_of_gain(gain, gain - more_adjusted)
        else:
            if given.get(asked_by, 0) <= 0:
                return None
            rate = -more_adjusted / given[asked_by]
        return _Swap(float(rate), shopper, segments, entries, new, old, asked_by)

    def _make(self, swap: _Swap) -> None:
        """Make a move, unless it exceeds a limit. For a floor, what no floor speaks of makes room."""
        new, old = swap.new, swap.old
        more = [much - (old.amounts[resource] if old else 0) for resource, much in enumerate(new.amounts)]
        if self._over_return is not None:
            owed = self._owed(more[Resource.COST], new.value - (old.value if old else 0))
            if owed > max(self._over_return, 0):
                return
        lacks = self._lacks(new.place, new.amounts, more)
        if lacks and (swap.asked_by is None or not self._make_room(lacks, swap.shopper, old)):
            return
        changed = self._changed.setdefault(swap.shopper, _List(swap.segments, swap.entries))
        if old:
            changed.entries.remove(old)
            self._count(swap.segments, old, -1)
        changed.entries.append(new)
        self._count(swap.segments, new, 1)

    def _entries(self, shopper: int) -> list[_Entry]:
        if shopper in self._changed:
            return self._changed[shopper].entries
        chosen = self._chosen
        first, last = np.searchsorted(chosen.shopper, [shopper, shopper + 1])
        return [self._entry(at) for at in range(first, last)]

    def _entry(self, at: int) -> _Entry:
        chosen = self._chosen
        cost, uses, offers = chosen.amounts[:, at].tolist()
        return _Entry(
            float(chosen.adjusted[at]),
            int(chosen.place[at]),
            int(chosen.value[at]),
            (cost, uses, offers),
            float(chosen.loss[at]),
        )

    def _leaving(self, entries: list[_Entry], place: int, capacity: int) -> Sequence[_Entry | None]:
        """The entries that a new one could take the place of, the least first; ``[None]`` where there is room."""
        terms = self._terms
        of_group = [entry for entry in entries if terms.group_at[entry.place] == terms.group_at[place]]
        if len(of_group) >= terms.most_of_group and terms.has_groups:
            return sorted(of_group, key=_least_first)
        if len(entries) < capacity:
            return [None]
        return sorted(entries, key=_least_first)

    def _given(self, segments: int, new: _Entry | None, old: _Entry | None) -> dict[int, int]:
        """How much more each floor is given by a list when one entry comes onto it for another."""
        given: dict[int, int] = {}
        for entry, sign in ((new, 1), (old, -1)):
            for number in self._terms.floors_at[entry.place] if entry else ():
                floor = self._terms.floors[number]
                if floor.segment is None or segments >> floor.segment & 1:
                    given[number] = given.get(number, 0) + sign * entry.amounts[floor.resource]  # type: ignore[union-attr]
        return given

    def _keeps_floors(self, given: Mapping[int, int], asked_by: int | None) -> bool:
        return not any(
            much < 0 and self._over_floors[number] + much < 0 and number != asked_by for number, much in given.items()
        )

    def _owed(self, cost: int, value: int) -> int:
        assert self._terms.return_micro is not None
        return self._terms.return_micro * cost - MICRO * value

    def _lacks(self, place: int, amounts: tuple[int, int, int], more: list[int]) -> dict[tuple[int, int], int]:
        """By resource and place, -1 for the whole, what the limits lack for a move."""
        lacks: dict[tuple[int, int], int] = {}
        for resource in Resource:
            left, left_of = self._left[resource], self._left_of[resource][place]
            if left is not None and more[resource] > max(left, 0):
                lacks[resource, -1] = more[resource] - left
            if left_of is not None and amounts[resource] > left_of:
                lacks[resource, place] = amounts[resource] - left_of
        return lacks

    def _make_room(self, lacks: dict[tuple[int, int], int], shopper: int, old: _Entry | None) -> bool:
        """Drop pairs of which no floor speaks until nothing lacks; whether that could be done."""
        victims: dict[int, _Entry] = {}
        for key in sorted(lacks):
            resource, place = key
            freed = sum(entry.amounts[resource] for entry in victims.values() if place in (-1, entry.place))
            if key not in self._victims:
                self._victims[key] = self._cheapest(resource, place)
            while freed < lacks[key]:
                at = next(self._victims[key], None)
                if at is None:
                    return False
                if int(self._chosen.shopper[at]) == shopper or at in victims or not self._is_listed(at):
                    continue
                victims[at] = self._entry(at)
                freed += victims[at].amounts[resource]
        for at, entry in victims.items():
            owner = int(self._chosen.shopper[at])
            changed = self._changed.setdefault(owner, _List(int(self._chosen.segments[at]), self._entries(owner)))
            changed.entries = [other for other in changed.entries if other.place != entry.place]
            self._count(changed.segments, entry, -1)
        return True

    def _cheapest(self, resource: int, place: int) -> Iterator[int]:
        chosen = self._chosen
        spoken_of = np.zeros(len(chosen), dtype=bool)
        for given in self._terms.given(chosen.place, chosen.amounts, chosen.member):
            spoken_of |= given > 0
        may = ~spoken_of & (chosen.amounts[resource] > 0)
        if place >= 0:
            may &= chosen.place == place
        among = np.flatnonzero(may)
        rate = chosen.loss[among] / chosen.amounts[resource][among]
        yield from among[np.argsort(rate, kind="stable")].tolist()

    def _is_listed(self, at: int) -> bool:
        changed = self._changed.get(int(self._chosen.shopper[at]))
        return changed is None or any(entry.place == self._chosen.place[at] for entry in changed.entries)

    def _count(self, segments: int, entry: _Entry, sign: int) -> None:
        self.value += sign * entry.value
        for resource, much in enumerate(entry.amounts):
            left, left_of = self._left[resource], self._left_of[resource][entry.place]
            if left is not None:
                self._left[resource] = left - sign * much
            if left_of is not None:
                self._left_of[resource][entry.place] = left_of - sign * much
        if self._over_return is not None:
            self._over_return -= sign * self._owed(entry.amounts[Resource.COST], entry.value)
        for number, much in self._given(segments, entry, None).items():
            self._over_floors[number] += sign * much

    def _written(self) -> Chosen:
        """The lists that were changed, put among the others."""
        touched = np.isin(self._chosen.shopper, np.fromiter(self._changed, dtype=np.int64))
        rows = [
            (shopper, entry, changed.segments)
            for shopper, changed in self._changed.items()
            for entry in changed.entries
        ]
        written = Chosen(
            np.array([shopper for shopper, _entry, _segments in rows], dtype=np.int64),
            np.array([entry.place for _shopper, entry, _segments in rows], dtype=np.int64),
            np.array([entry.value for _shopper, entry, _segments in rows], dtype=np.int64),
            np.array([entry.amounts for _shopper, entry, _segments in rows], dtype=np.int64).reshape(-1, 3).T,
            np.array([segments for _shopper, _entry, segments in rows], dtype=np.uint64),
            np.array([entry.adjusted for _shopper, entry, _segments in rows]),
            np.array([entry.loss for _shopper, entry, _segments in rows]),
            np.zeros((3, len(rows)), dtype=np.int64),
        )
        order = np.lexsort((written.place, written.shopper))
        return Chosen.together([self._chosen.only(~touched), written.only(order)])


def _rate_of_gain(gain: Any, charge: Any) -> Any:
    """The less, the more is gained for what is taken at the prices, if anything is."""
    return -gain / np.maximum(charge, 1e-3 * gain)


def _least_first(entry: _Entry) -> tuple[float, int]:
    return entry.adjusted, entry.place


def _over_return(terms: Terms, totals: Totals) -> int | None:
    """By how many millionths of millionths the value is above what is required for the cost."""
    if terms.return_micro is None:
        return None
    return MICRO * totals.value - terms.return_micro * totals.amounts[Resource.COST]
