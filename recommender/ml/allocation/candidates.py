"""A block of candidates as the method works on it, and what it chooses of it at given prices."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recommender.ml.allocation.terms import (
    MOST_OF_PAIR,
    MOST_PAIRS_OF_BLOCK,
    NO_LIMIT,
    Blocks,
    CandidateBlock,
    Resource,
    Terms,
)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
#: Equal values differ by less than half a millionth, by chance.
CHANCE = 0.25
#: A table with more than so many places for each pair is not worth filling.
SPARSEST = 6


def mix(numbers: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele et al. 2014): uint64 to uint64, one to one, the same on every host."""
    z = numbers.astype(np.uint64) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def draw(shopper: np.ndarray, coupon: np.ndarray) -> np.ndarray:
    """A number for each pair, uint64, by which equals are ordered: it depends on the pair alone."""
    return mix(mix(shopper) ^ (coupon.astype(np.uint64) * _GOLDEN))


@dataclass
class Prices:
    """What a unit of what is limited costs, in units of value.

    Attributes:
        overall: (3,) by resource.
        coupon: (3, coupons) by resource and place, in addition.
        required_return: of a unit of value that the return falls short by.
        floors: what a unit is worth beyond its value, for each floor.
    """

    overall: np.ndarray
    coupon: np.ndarray
    required_return: float
    floors: np.ndarray

    @classmethod
    def free(cls, terms: Terms) -> "Prices":
        """Nothing costs anything."""
        return cls(np.zeros(3), np.zeros((3, terms.coupons)), 0.0, np.zeros(len(terms.floors)))


@dataclass
class Candidates:
    """Pairs by shopper and place, those which no limit allows on its own left out.

    Attributes:
        shopper: (rows,) int64, ascending.
        row: (n,) whose pair it is.
        place: (n,) of its coupon in the order of the terms.
        value, amounts: (n,) and (3, n) int64; what it takes by resource.
        capacity: (rows,) how many a list may hold.
        segments: (rows,) uint64.
        terms: what they are for.
    """

    shopper: np.ndarray
    row: np.ndarray
    place: np.ndarray
    value: np.ndarray
    amounts: np.ndarray
    capacity: np.ndarray
    segments: np.ndarray
    terms: Terms

    @classmethod
    def of(cls, block: CandidateBlock, terms: Terms) -> "Candidates":
        """Check a block and put it in order.

        Raises:
            ValueError: it is not as :class:`CandidateBlock` says.
        """
        _check(block, terms)
        shopper, place = block.shopper, terms.place[block.coupon]
        amounts = np.stack([block.cost, block.uses, np.ones(len(shopper), dtype=np.int64)])
        value = block.value
        columns = [block.capacity, block.segments]
        fits = np.ones(len(shopper), dtype=bool)
        for resource in Resource:
            if (terms.limits_at[resource] != NO_LIMIT).any():
                limit = terms.limits_at[resource][place]
                fits &= (limit == NO_LIMIT) | (amounts[resource] <= limit)
            if resource in terms.limits:
                fits &= amounts[resource] <= terms.limits[resource]
        if not terms.floors:
            fits &= block.value > 0
        if not fits.all():
            shopper, place, value, amounts = shopper[fits], place[fits], value[fits], amounts[:, fits]
            columns = [None if column is None else column[fits] for column in columns]
        step = np.diff(shopper)
        if (step < 0).any() or ((step == 0) & (np.diff(place) <= 0)).any():
            # One sort of whole numbers is several times faster than one by two keys.
            if (step < 0).any():
                number = np.unique(shopper, return_inverse=True)[1]
            else:
                number = np.concatenate([[0], np.cumsum(step > 0)])
            order = np.argsort(number * terms.coupons + place)
            shopper, place, value, amounts = shopper[order], place[order], value[order], amounts[:, order]
            columns = [None if column is None else column[order] for column in columns]
            if ((np.diff(shopper) == 0) & (np.diff(place) == 0)).any():
                raise ValueError("A pair of shopper and coupon occurs twice in a block.")
        capacity, segments = columns
        begins = np.ones(len(shopper), dtype=bool)
        np.not_equal(shopper[1:], shopper[:-1], out=begins[1:])
        first = np.flatnonzero(begins)
        return cls(
            shopper=shopper[first],
            row=np.cumsum(begins) - 1,
            place=place,
            value=value,
            amounts=amounts,
            capacity=np.full(len(first), terms.most)
            if capacity is None
            else np.minimum(capacity[first].astype(np.int64), terms.most),
            segments=np.zeros(len(first), dtype=np.uint64) if segments is None else segments[first].astype(np.uint64),
            terms=terms,
        )

    def of_rows(self, rows: np.ndarray) -> "Candidates":
        """Those of some shoppers: (rows,) bool."""
        pairs = rows[self.row]
        return Candidates(
            shopper=self.shopper[rows],
            row=(np.cumsum(rows) - 1)[self.row[pairs]],
            place=self.place[pairs],
            value=self.value[pairs],
            amounts=self.amounts[:, pairs],
            capacity=self.capacity[rows],
            segments=self.segments[rows],
            terms=self.terms,
        )

    @classmethod
    def together(cls, parts: "list[Candidates]") -> "Candidates":
        """Several as one, in the order of the shoppers.

        Raises:
            ValueError: a shopper is in two of the parts.
        """
        shopper = np.concatenate([part.shopper for part in parts])
        order = np.argsort(shopper, kind="stable")
        refuse_twice(shopper[order])
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        offsets = np.cumsum([0, *(len(part.shopper) for part in parts[:-1])])
        row = rank[np.concatenate([part.row + offset for part, offset in zip(parts, offsets, strict=True)])]
        by_row = np.argsort(row, kind="stable")
        return cls(
            shopper=shopper[order],
            row=row[by_row],
            place=np.concatenate([part.place for part in parts])[by_row],
            value=np.concatenate([part.value for part in parts])[by_row],
            amounts=np.concatenate([part.amounts for part in parts], axis=1)[:, by_row],
            capacity=np.concatenate([part.capacity for part in parts])[order],
            segments=np.concatenate([part.segments for part in parts])[order],
            terms=parts[0].terms,
        )

    def __len__(self) -> int:
        return len(self.row)

    @cached_property
    def tie(self) -> np.ndarray:
        """(n,) uint64: the chance that orders equals."""
        return draw(self.shopper[self.row], self.terms.order[self.place])

    @cached_property
    def cell(self) -> np.ndarray:
        """(n,): the number of the shopper's group that a pair belongs to, ascending."""
        group = self.terms.group_at[self.place]
        begins = np.ones(len(self.row), dtype=bool)
        begins[1:] = (self.row[1:] != self.row[:-1]) | (group[1:] != group[:-1])
        return np.cumsum(begins) - 1

    @cached_property
    def cell_starts(self) -> np.ndarray:
        """(cells,): the first pair of each."""
        return np.searchsorted(self.cell, np.arange(self.cell[-1] + 1)) if len(self) else np.empty(0, dtype=np.int64)

    @cached_property
    def worth(self) -> np.ndarray:
        """(n,) float64: the values, no two of a shopper quite equal."""
        return self.value + self.tie * (CHANCE / 2.0**64)

    def member(self, segment: int) -> np.ndarray:
        """(rows,) bool: who belongs to a segment."""
        return (self.segments >> np.uint64(segment)) & np.uint64(1) == 1

    def given(self) -> list[np.ndarray]:
        """Of each floor, (n,) int64: what the pairs give to it."""
        return self.terms.given(self.place, self.amounts, lambda segment: self.member(segment)[self.row])

    def charged(self, prices: Prices) -> np.ndarray:
        """(n,) float64: what all that a pair takes comes to. Floors take off what they add."""
        charge = np.zeros(len(self))
        by_place = prices.overall[:, None] + prices.coupon
        for number, (floor, bonus) in enumerate(zip(self.terms.floors, prices.floors, strict=True)):
            if floor.segment is None:
                by_place[floor.resource] -= bonus * self.terms.counts_at[number]
        if prices.required_return and self.terms.required_return is not None:
            by_place[Resource.COST] += prices.required_return * self.terms.required_return
            charge -= prices.required_return * self.value
        for resource in Resource:
            if by_place[resource].any():
                charge += by_place[resource][self.place] * self.amounts[resource]
        for number, (floor, bonus) in enumerate(zip(self.terms.floors, prices.floors, strict=True)):
            if bonus and floor.segment is not None:
                counts = self.member(floor.segment)[self.row] & self.terms.counts_at[number][self.place]
                charge -= bonus * counts * self.amounts[floor.resource]
        return charge

    def adjusted(self, prices: Prices) -> np.ndarray:
        """(n,) float64: what a pair is worth beyond what it takes."""
        return self.worth - self.charged(prices)

    def choose(self, adjusted: np.ndarray) -> np.ndarray:
        """The pairs, ascending, that make the lists of the greatest adjusted value.

        A list holds at most so many in all and so many of a group: the independent sets of a laminar matroid, of which
        taking the best that still fits is optimal (Edmonds 1971).
        """
        kept = np.flatnonzero(adjusted > 0)
        if self.terms.has_groups:
            kept = kept[self._best(adjusted, kept, self.cell, self.terms.most_of_group)]
        return kept[self._best(adjusted, kept, self.row, self.capacity)]

    @staticmethod
    def _best(adjusted: np.ndarray, kept: np.ndarray, part: np.ndarray, most: np.ndarray | int) -> np.ndarray:
        """(kept,) bool: the best of the kept pairs of each part; the parts ascend."""
        part = part[kept]
        best = np.ones(len(kept), dtype=bool)
        if not len(kept):
            return best
        counts = np.bincount(part, minlength=0 if isinstance(most, int) else len(most))
        full = counts > most
        crowded = np.flatnonzero(full[part])
        if not len(crowded):
            return best
        of, worth = part[crowded], adjusted[kept[crowded]]
        begins = np.ones(len(of), dtype=bool)
        np.not_equal(of[1:], of[:-1], out=begins[1:])
        starts = np.flatnonzero(begins)
        sizes = np.diff(starts, append=len(of))
        limit = np.full(len(starts), most) if isinstance(most, int) else most[of[starts]]
        number, width = np.cumsum(begins) - 1, int(sizes.max())
        if len(starts) * width <= SPARSEST * len(of):
            # Sorting the rows of a table is several times faster than sorting by two keys.
            table = np.full((len(starts), width), -np.inf)
            table[number, np.arange(len(of)) - starts[number]] = worth
            table.sort(axis=1)
            taken = (
                worth
                >= np.where(limit > 0, table[np.arange(len(starts)), width - np.maximum(limit, 1)], np.inf)[number]
            )
            if (np.bincount(number[taken], minlength=len(starts)) <= limit).all():
                best[crowded] = taken
                return best
        order = np.lexsort((-worth, of))
        best[crowded[order]] = np.arange(len(of)) - starts[number] < limit[number]
        return best

    def losses(self, adjusted: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What lists lose of their adjusted value without one of their pairs, the best other in its place.

        Returns:
            (chosen,) float64, and (3, chosen) int64: what that other would take, 0 where there is none.
        """
        left = np.maximum(adjusted, 0.0)
        left[chosen] = 0.0
        crowd = np.zeros(len(self.cell_starts), dtype=bool)
        if self.terms.has_groups:
            crowd = np.bincount(self.cell[chosen], minlength=len(crowd)) >= self.terms.most_of_group
        # Another of a group that is full comes in only for one of the same group.
        of_cell, best_of_cell = self._greatest(left, self.cell, len(crowd))
        of_row, best_of_row = self._greatest(np.where(crowd[self.cell], 0.0, left), self.row, len(self.shopper))
        cell, row = self.cell[chosen], self.row[chosen]
        same = crowd[cell] & (of_cell[cell] > of_row[row])
        other = np.where(same, of_cell[cell], of_row[row])
        instead = np.where(other > 0, self.amounts[:, np.where(same, best_of_cell[cell], best_of_row[row])], 0)
        return adjusted[chosen] - other, instead

    @staticmethod
    def _greatest(worth: np.ndarray, part: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
        """(parts,) the greatest of each part, and where its first is; the parts ascend and none is empty."""
        starts = np.searchsorted(part, np.arange(parts))
        greatest = np.maximum.reduceat(worth, starts)
        where = np.flatnonzero(worth == greatest[part])
        return greatest, where[np.searchsorted(part[where], np.arange(parts))]


def refuse_twice(shopper: np.ndarray) -> None:
    """Shoppers in order, of different blocks.

    Raises:
        ValueError: one is there twice.
    """
    twice = shopper[1:] == shopper[:-1]
    if twice.any():
        raise ValueError(f"Shopper {shopper[1:][twice][0]} is in two blocks.")


@dataclass
class Totals:
    """What some lists come to. Whole numbers of any size: what they are of may come in any order.

    Attributes:
        value: in millionths.
        amounts: by resource.
        of_coupons: (3, coupons) by resource and place, of Python's whole numbers.
        floors: what goes to each floor.
        pairs: how many pairs there were to choose from, and shoppers.
    """

    value: int
    amounts: list[int]
    of_coupons: np.ndarray
    floors: list[int]
    pairs: int = 0
    shoppers: int = 0

    @classmethod
    def none(cls, terms: Terms) -> "Totals":
        return cls(0, [0] * 3, np.zeros((3, terms.coupons), dtype=object), [0] * len(terms.floors))

    def add(self, candidates: Candidates, chosen: np.ndarray) -> None:
        """Add the chosen pairs of some candidates."""
        terms, place = candidates.terms, candidates.place[chosen]
        amounts = candidates.amounts[:, chosen]
        self.value += int(candidates.value[chosen].sum())
        for resource in Resource:
            self.amounts[resource] += int(amounts[resource].sum())
            if (terms.limits_at[resource] != NO_LIMIT).any():
                sums = np.zeros(terms.coupons, dtype=np.int64)
                np.add.at(sums, place, amounts[resource])
                self.of_coupons[resource] += sums
        row = candidates.row[chosen]
        given = terms.sum_given(place, amounts, lambda segment: candidates.member(segment)[row])
        self.floors = [so_far + much for so_far, much in zip(self.floors, given, strict=True)]
        self.pairs += len(candidates)
        self.shoppers += len(candidates.shopper)


#: Gives all candidates anew each time it is called, a block at a time.
Source = Callable[[], Iterable[Candidates]]


def source_of(blocks: Blocks, terms: Terms) -> Source:
    """The candidates of blocks, read and checked each time."""

    def read() -> Iterator[Candidates]:
        for block in blocks():
            candidates = Candidates.of(block, terms)
            if len(candidates):
                yield candidates

    return read


def total_chosen(source: Source, terms: Terms, prices: Prices) -> Totals:
    """What is chosen at the prices comes to."""
    totals = Totals.none(terms)
    for candidates in source():
        totals.add(candidates, candidates.choose(candidates.adjusted(prices)))
    return totals


def _check(block: CandidateBlock, terms: Terms) -> None:
    if block.shopper.ndim != 1:
        raise ValueError(f"shopper: expected one dimension, not {block.shopper.ndim}.")
    size = len(block.shopper)
    for name in ("shopper", "coupon", "value", "cost", "uses", "capacity", "segments"):
        column = getattr(block, name)
        if column is None:
            continue
        if column.shape != (size,) or column.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: expected a whole number for each of {size} pairs, not {column.dtype} of shape {column.shape}."
            )
    if size > MOST_PAIRS_OF_BLOCK:
        raise ValueError(f"A block has at most {MOST_PAIRS_OF_BLOCK:,} pairs, not {size:,}.")
    if not size:
        return
    if block.coupon.min() < 0 or block.coupon.max() >= terms.coupons:
        raise ValueError(f"coupon: expected numbers from 0 to {terms.coupons - 1}.")
    for name in ("value", "cost", "uses"):
        column = getattr(block, name)
        least = -MOST_OF_PAIR if name == "value" else 0
        if column.min() < least or column.max() > MOST_OF_PAIR:
            raise ValueError(f"{name}: expected from {least:,} to {MOST_OF_PAIR:,} millionths.")
    if block.capacity is not None and block.capacity.min() < 0:
        raise ValueError("capacity: expected numbers from 0.")
