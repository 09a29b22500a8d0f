"""From what is chosen at the prices to lists that exceed nothing: what is too much is dropped.

All is counted in whole numbers, and whatever is ordered is ordered by what the pairs are: neither blocks nor their
order show in the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recommender.ml.allocation.candidates import Candidates, Prices, Source, Totals, draw, refuse_twice
from recommender.ml.allocation.terms import MICRO, NO_LIMIT, Resource, Terms
from recommender.progress import Progress
from recommender.sentences import say

#: Millionths: a good part of what 64 bits hold.
MOST_IN_ALL = 2**62


@dataclass
class Chosen:
    """Pairs that stand on lists, by shopper and place.

    Attributes:
        shopper, place, value: (n,) int64.
        amounts: (3, n) int64.
        segments: (n,) uint64.
        adjusted: (n,) float64, value beyond what the pair takes at the prices.
        loss: (n,) float64, of adjusted value, were it dropped and the best other took its place.
        instead: (3, n) int64, what that other takes.
    """

    shopper: np.ndarray
    place: np.ndarray
    value: np.ndarray
    amounts: np.ndarray
    segments: np.ndarray
    adjusted: np.ndarray
    loss: np.ndarray
    instead: np.ndarray

    @classmethod
    def none(cls) -> "Chosen":
        whole, real = np.empty(0, dtype=np.int64), np.empty(0)
        table = np.empty((3, 0), dtype=np.int64)
        return cls(whole, whole, whole, table, whole.astype(np.uint64), real, real, table)

    @classmethod
    def of(cls, candidates: Candidates, chosen: np.ndarray, adjusted: np.ndarray) -> "Chosen":
        row = candidates.row[chosen]
        loss, instead = candidates.losses(adjusted, chosen)
        return cls(
            candidates.shopper[row],
            candidates.place[chosen],
            candidates.value[chosen],
            candidates.amounts[:, chosen],
            candidates.segments[row],
            adjusted[chosen],
            loss,
            instead,
        )

    @classmethod
    def together(cls, parts: "list[Chosen]") -> "Chosen":
        """In the order of the shoppers.

        Raises:
            ValueError: a shopper is in two of the parts.
        """
        if not parts:
            return cls.none()
        shopper = np.concatenate([part.shopper for part in parts])
        order = np.argsort(shopper, kind="stable")
        refuse_twice(np.sort(np.concatenate([np.unique(part.shopper) for part in parts])))
        return cls(
            shopper[order],
            np.concatenate([part.place for part in parts])[order],
            np.concatenate([part.value for part in parts])[order],
            np.concatenate([part.amounts for part in parts], axis=1)[:, order],
            np.concatenate([part.segments for part in parts])[order],
            np.concatenate([part.adjusted for part in parts])[order],
            np.concatenate([part.loss for part in parts])[order],
            np.concatenate([part.instead for part in parts], axis=1)[:, order],
        )

    def __len__(self) -> int:
        return len(self.shopper)

    def only(self, which: np.ndarray) -> "Chosen":
        """Some of them."""
        return Chosen(
            self.shopper[which],
            self.place[which],
            self.value[which],
            self.amounts[:, which],
            self.segments[which],
            self.adjusted[which],
            self.loss[which],
            self.instead[:, which],
        )

    def member(self, segment: int) -> np.ndarray:
        """(n,) bool: whose shopper belongs to a segment."""
        return (self.segments >> np.uint64(segment)) & np.uint64(1) == 1

    def totals(self, terms: Terms) -> Totals:
        """What they come to.

        Raises:
            ValueError: it is more than 64 bits hold.
        """
        for sums in (np.abs(self.value).sum(dtype=np.float64), *self.amounts.sum(axis=1, dtype=np.float64)):
            if sums > MOST_IN_ALL:
                raise ValueError(f"All lists come to {sums:,.0f} millionths; expected at most {MOST_IN_ALL:,}.")
        totals = Totals.none(terms)
        totals.value = int(self.value.sum())
        for resource in Resource:
            totals.amounts[resource] = int(self.amounts[resource].sum())
            sums = np.zeros(terms.coupons, dtype=np.int64)
            np.add.at(sums, self.place, self.amounts[resource])
            totals.of_coupons[resource] = sums.astype(object)
        totals.floors = terms.sum_given(self.place, self.amounts, self.member)
        totals.shoppers = len(np.unique(self.shopper))
        return totals


def choose(source: Source, prices: Prices, progress: Progress) -> Chosen:
    """What is chosen of all candidates at the prices."""
    parts, done = [], 0
    for candidates in source():
        adjusted = candidates.adjusted(prices)
        chosen = candidates.choose(adjusted)
        parts.append(Chosen.of(candidates, chosen, adjusted))
        done += len(candidates)
        progress.report(say("Choosing"), done)
    return Chosen.together(parts)


def drop(chosen: Chosen, terms: Terms) -> Chosen:
    """What is left where of everything that exceeds its limit the least loss per unit of it is dropped.

    What a floor needs is dropped only where nothing else can be.
    """
    chosen.totals(terms)  # refuses what would not add up
    floors = _Floors(chosen, terms)
    for resource in Resource:
        limits = terms.limits_at[resource]
        if (limits != NO_LIMIT).any():
            taken = np.zeros(terms.coupons, dtype=np.int64)
            np.add.at(taken, chosen.place, np.where(floors.kept, chosen.amounts[resource], 0))
            for place in np.flatnonzero((limits != NO_LIMIT) & (taken > limits)):
                among = np.flatnonzero(floors.kept & (chosen.place == place))
                floors.drop(among, chosen.amounts[resource][among], int(taken[place] - limits[place]), resource)
    for resource, limit in terms.limits.items():
        among = np.flatnonzero(floors.kept)
        taken_in_all = int(chosen.amounts[resource][among].sum())
        if taken_in_all > limit:
            floors.drop(among, chosen.amounts[resource][among], taken_in_all - limit, resource)
    if terms.return_micro is not None:
        among = np.flatnonzero(floors.kept)
        owed = [
            terms.return_micro * cost - MICRO * value
            for cost, value in zip(
                chosen.amounts[Resource.COST][among].tolist(), chosen.value[among].tolist(), strict=True
            )
        ]
        if (short := sum(owed)) > 0:
            floors.drop(among, np.array(owed, dtype=object), short)
    return chosen.only(floors.kept)


class _Floors:
    """Which pairs are kept, and how much of each floor what is kept has over."""

    def __init__(self, chosen: Chosen, terms: Terms) -> None:
        self._chosen, self._terms = chosen, terms
        self.kept = np.ones(len(chosen), dtype=bool)
        self._tie = draw(chosen.shopper, terms.order[chosen.place])
        self._given = terms.given(chosen.place, chosen.amounts, chosen.member)
        self._over = [int(given.sum()) - floor.at_least for floor, given in zip(terms.floors, self._given, strict=True)]

    def drop(self, among: np.ndarray, amounts: np.ndarray, much: int, resource: Resource | None = None) -> None:
        """Drop at least so much of the amounts of the pairs, or all of those whose amount is above 0.

        Those are dropped first whose place the best other takes for less: what they free is the difference, so that
        there is room for the others afterwards.
        """
        positive = np.flatnonzero(amounts > 0)
        among, amounts = among[positive], amounts[positive]
        chosen, tie = self._chosen, self._tie[among]
        freed = amounts - chosen.instead[resource][among] if resource is not None else amounts
        loss = chosen.loss[among] if resource is not None else chosen.adjusted[among]
        cheaper = freed > 0
        freed = np.where(cheaper, freed, amounts)
        rate = np.where(cheaper, loss, chosen.adjusted[among]) / freed.astype(np.float64)
        order = np.lexsort((tie, rate, ~cheaper))
        if not self._terms.floors:
            if freed.dtype == object:
                last = _first_over(iter(freed[order]), much)
            else:
                last = int(np.searchsorted(np.cumsum(freed[order]), much)) + 1
            self.kept[among[order[:last]]] = False
            return
        for minds_floors in (True, False):
            for number in order:
                if much <= 0:
                    return
                pair = among[number]
                if self.kept[pair] and self._may_drop(pair, minds_floors):
                    self.kept[pair] = False
                    much -= int(freed[number])

    def _may_drop(self, pair: int, minds_floors: bool) -> bool:
        takes = [int(given[pair]) for given in self._given]
        if minds_floors and any(much > 0 and over < much for much, over in zip(takes, self._over, strict=True)):
            return False
        self._over = [over - much for over, much in zip(self._over, takes, strict=True)]
        return True


def _first_over(amounts: Iterator[int], much: int) -> int:
    """How many of the amounts it takes to come to so much."""
    count = 0
    for amount in amounts:
        if much <= 0:
            break
        much -= amount
        count += 1
    return count
