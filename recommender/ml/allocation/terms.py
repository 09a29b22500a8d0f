"""What an allocation chooses from and what it keeps to, in whole numbers, so that no sum depends on its order."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np

#: Values, costs and expected uses are whole millionths: of the unit of the currency, of a use.
MICRO = 1_000_000
#: In a column of limits: there is none.
NO_LIMIT = -1
#: The largest value, cost or uses of one pair. Sums of a block stay far within 64 bits.
MOST_OF_PAIR = 10**12
MOST_PAIRS_OF_BLOCK = 4_000_000
MOST_SEGMENTS = 64
GROUPLESS = -1


class Resource(IntEnum):
    """What a pair takes of what is limited."""

    COST = 0
    USES = 1
    OFFERS = 2


@dataclass(frozen=True)
class CandidateBlock:
    """Pairs of which lists are made. All pairs of a shopper are in one block; blocks and pairs may be in any order.

    Attributes:
        shopper: (n,) the shoppers' numbers, int64.
        coupon: (n,) numbers of coupons, from 0. A pair occurs once.
        value: (n,) what the offer is expected to bring, in millionths, int64. What is not above 0 is offered only where
            a floor asks for it.
        cost: (n,) what it is expected to cost, in millionths, int64, from 0.
        uses: (n,) how often it is expected to be used, in millionths, int64, from 0.
        capacity: (n,) how many coupons the pair's shopper may still get, whatever the terms say; None: as many.
        segments: (n,) which segments the pair's shopper belongs to, a bit each, uint64; None: to none.
    """

    shopper: np.ndarray
    coupon: np.ndarray
    value: np.ndarray
    cost: np.ndarray
    uses: np.ndarray
    capacity: np.ndarray | None = None
    segments: np.ndarray | None = None


#: Gives all blocks anew each time it is called.
Blocks = Callable[[], Iterable[CandidateBlock]]


@dataclass(frozen=True)
class Floor:
    """At least so much of something: millionths, or offers.

    Attributes:
        segment: for whose shoppers; None: for all.
        coupons: by which coupons, such as those of a seller; None: by any.
    """

    segment: int | None
    resource: Resource
    at_least: int
    coupons: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What lists have to keep to.

    Attributes:
        coupons: how many coupons there are.
        most: how many coupons a list has at most.
        limits: of the whole: millionths of cost (the campaign's budget) or of uses, or offers.
        coupon_limits: the same of each coupon: (coupons,) int64, ``NO_LIMIT`` where there is none.
        groups: (coupons,) the group of each, such as its category; below 0: none. None: there are no groups.
        most_of_group: how many coupons of a group a list has at most.
        required_return: the value of all that is offered is at least so many times its cost.
        floors: kept where the limits leave room; what is missing is told.

    Raises:
        ValueError: a term is not as described.
    """

    coupons: int
    most: int
    limits: Mapping[Resource, int] = field(default_factory=dict)
    coupon_limits: Mapping[Resource, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    most_of_group: int = 1
    required_return: float | None = None
    floors: Sequence[Floor] = ()

    def __post_init__(self) -> None:
        for name in ("coupons", "most", "most_of_group"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is a whole number from 1, not {getattr(self, name)}.")
        for resource, limit in self.limits.items():
            if limit < 0:
                raise ValueError(f"The limit of {resource.name.lower()} is not below 0, as {limit} is.")
        for resource, column in self.coupon_limits.items():
            self._check_column(f"coupon_limits of {resource.name.lower()}", column)
            if (column < NO_LIMIT).any():
                raise ValueError(f"The coupon_limits of {resource.name.lower()} are from 0, or NO_LIMIT.")
        if self.groups is not None:
            self._check_column("groups", self.groups)
        if self.required_return is not None and not 0 < self.required_return < MICRO:
            raise ValueError(f"A required return is above 0 and below {MICRO:,}, not {self.required_return}.")
        for floor in self.floors:
            if floor.segment is not None and not 0 <= floor.segment < MOST_SEGMENTS:
                raise ValueError(f"A segment is a number from 0 to {MOST_SEGMENTS - 1}, not {floor.segment}.")
            if floor.at_least < 0:
                raise ValueError(f"A floor is not below 0, as {floor.at_least} is.")
            if any(not 0 <= coupon < self.coupons for coupon in floor.coupons or ()):
                raise ValueError(f"The coupons of a floor are numbers from 0 to {self.coupons - 1}.")

    def _check_column(self, name: str, column: np.ndarray) -> None:
        if column.shape != (self.coupons,) or column.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: expected a whole number for each of {self.coupons} coupons, not {column.dtype} of shape "
                f"{column.shape}."
            )

    @cached_property
    def return_micro(self) -> int | None:
        """The required return in millionths."""
        return None if self.required_return is None else round(self.required_return * MICRO)

    @cached_property
    def order(self) -> np.ndarray:
        """(coupons,): the coupons, those of a group together, the groupless last."""
        if self.groups is None:
            return np.arange(self.coupons)
        last = np.iinfo(np.int64).max
        return np.lexsort((np.arange(self.coupons), np.where(self.groups < 0, last, self.groups)))

    @cached_property
    def place(self) -> np.ndarray:
        """(coupons,): where each coupon stands in that order."""
        place = np.empty(self.coupons, dtype=np.int64)
        place[self.order] = np.arange(self.coupons)
        return place

    @cached_property
    def group_at(self) -> np.ndarray:
        """(coupons,): the number of the group at each place, ascending; every groupless coupon has its own."""
        if self.groups is None:
            return np.arange(self.coupons)
        groups = self.groups[self.order]
        begins = np.ones(self.coupons, dtype=bool)
        begins[1:] = (groups[1:] != groups[:-1]) | (groups[1:] < 0)
        return np.cumsum(begins) - 1

    @cached_property
    def has_groups(self) -> bool:
        """Whether any group is larger than what a list may have of it."""
        return bool(np.bincount(self.group_at).max() > self.most_of_group)

    @cached_property
    def limits_at(self) -> np.ndarray:
        """(3, coupons): the limits by resource and place, ``NO_LIMIT`` where there is none."""
        limits = np.full((len(Resource), self.coupons), NO_LIMIT, dtype=np.int64)
        for resource, column in self.coupon_limits.items():
            limits[resource] = column[self.order]
        return limits

    @cached_property
    def counts_at(self) -> np.ndarray:
        """(floors, coupons) bool: whether what stands at a place counts for a floor."""
        counts = np.ones((len(self.floors), self.coupons), dtype=bool)
        for number, floor in enumerate(self.floors):
            if floor.coupons is not None:
                counts[number] = np.isin(self.order, floor.coupons)
        return counts

    @cached_property
    def floors_at(self) -> list[list[int]]:
        """By place, the numbers of the floors for which what stands there counts."""
        return [np.flatnonzero(counts).tolist() for counts in self.counts_at.T]

    def given(self, place: np.ndarray, amounts: np.ndarray, member: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        """Of each floor, what pairs give to it.

        Args:
            place, amounts: (n,) and (3, n) of the pairs.
            member: of a segment, (n,) whose shopper belongs to it.
        """
        given = []
        for number, floor in enumerate(self.floors):
            counts = self.counts_at[number][place]
            if floor.segment is not None:
                counts = counts & member(floor.segment)
            given.append(np.where(counts, amounts[floor.resource], 0))
        return given

    def sum_given(self, place: np.ndarray, amounts: np.ndarray, member: Callable[[int], np.ndarray]) -> list[int]:
        """What pairs give to each floor in all. The arguments are those of :meth:`given`."""
        at_places: dict[Resource, np.ndarray] = {}
        sums = []
        for number, floor in enumerate(self.floors):
            resource = floor.resource
            if floor.segment is not None:
                counts = self.counts_at[number][place] & member(floor.segment)
                sums.append(int(amounts[resource][counts].sum()))
                continue
            if resource not in at_places:  # once for all of them: there may be hundreds
                at_places[resource] = np.zeros(self.coupons, dtype=np.int64)
                np.add.at(at_places[resource], place, amounts[resource])
            sums.append(int(at_places[resource][self.counts_at[number]].sum()))
        return sums
