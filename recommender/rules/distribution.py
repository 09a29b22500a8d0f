"""Whole smallest units of money shared out over lines, so that the shares sum exactly."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Share ``total`` in proportion to ``weights``, by largest remainder; of equal remainders the first comes first.

    ``total`` is at most the sum of the weights. Then no share is above its weight.
    """
    whole = sum(weights)
    if not total:
        return [0] * len(weights)
    shares = [total * weight // whole for weight in weights]
    missing = total - sum(shares)
    if missing:
        by_remainder = sorted(range(len(weights)), key=lambda place: -(total * weights[place] % whole))
        for place in by_remainder[:missing]:
            shares[place] += 1
    return shares


@dataclass(frozen=True, slots=True)
class Claim:
    """An amount that may be taken off any of some places."""

    amount: int
    places: tuple[int, ...]


def most_laid(claims: Sequence[Claim], room: Sequence[int]) -> int:
    """How much ``lay`` lays in all."""
    return sum(sum(shares.values()) for shares in _Kinds(claims, room).lay())


def lay(claims: Sequence[Claim], room: Sequence[int]) -> list[dict[int, int]]:
    """Lay amounts on places of limited room so that as much as possible of them is laid.

    Each claim in turn is laid in proportion to the room that its places still have. Where one comes short that way,
    what others laid is shifted to places which it cannot use, so that no other order or share would lay more. It is
    shared out over kinds of places first, which the same claims may be laid on, then over the places of a kind.

    Returns:
        What is laid of each claim, by place; nothing stands there as 0.
    """
    kinds = _Kinds(claims, room)
    left = list(room)
    laid: list[dict[int, int]] = []
    for by_kind in kinds.lay():
        laid.append({})
        for kind, total in by_kind.items():
            places = kinds.places[kind]
            for place, share in zip(places, apportion(total, [left[place] for place in places]), strict=True):
                if share:
                    laid[-1][place] = share
                    left[place] -= share
    return laid


class _Kinds:
    """Places told apart only by the claims that may be laid on them: hundreds of lines are a few kinds."""

    def __init__(self, claims: Sequence[Claim], room: Sequence[int]) -> None:
        claimed: dict[int, int] = defaultdict(int)
        for number, claim in enumerate(claims):
            for place in claim.places:
                if room[place]:
                    claimed[place] |= 1 << number
        by_claims: dict[int, list[int]] = defaultdict(list)
        for place in sorted(claimed):
            by_claims[claimed[place]].append(place)
        self.places = list(by_claims.values())
        self._room = [sum(room[place] for place in places) for places in self.places]
        self._claims = [
            Claim(claim.amount, tuple(kind for kind, bits in enumerate(by_claims) if bits >> number & 1))
            for number, claim in enumerate(claims)
        ]

    def lay(self) -> list[dict[int, int]]:
        """What is laid of each claim, by kind: a maximum flow, by augmenting paths from where proportions come to."""
        left = list(self._room)
        laid: list[dict[int, int]] = []
        for claim in self._claims:
            weights = [left[kind] for kind in claim.places]
            shares = apportion(min(claim.amount, sum(weights)), weights)
            laid.append({kind: share for kind, share in zip(claim.places, shares, strict=True) if share})
            for kind, share in laid[-1].items():
                left[kind] -= share
        for short, claim in enumerate(self._claims):
            while missing := claim.amount - sum(laid[short].values()):
                path = _find_path(short, self._claims, laid, left)
                if not path:
                    break
                _shift(path, missing, laid, left)
        return laid


#: Claims, each with the place on which it is to lay more. All but the first give up the place of the one before.
_Path = list[tuple[int, int]]


def _find_path(start: int, claims: Sequence[Claim], laid: list[dict[int, int]], left: list[int]) -> _Path:
    """The shortest path from a claim to a place that has room; empty if there is none."""
    before: dict[int, tuple[int, int] | None] = {start: None}
    seen: set[int] = set()
    queue = [start]
    for claim in queue:  # which grows
        for place in claims[claim].places:
            if place in seen:
                continue
            seen.add(place)
            if left[place]:
                path = [(claim, place)]
                while (step := before[path[-1][0]]) is not None:
                    path.append(step)
                return path[::-1]
            for other, theirs in enumerate(laid):
                if other not in before and place in theirs:
                    before[other] = (claim, place)
                    queue.append(other)
    return []


def _shift(path: _Path, most: int, laid: list[dict[int, int]], left: list[int]) -> None:
    given_up = [(claim, place) for (_before, place), (claim, _place) in pairwise(path)]
    last = path[-1][1]
    amount = min(most, left[last], *(laid[claim][place] for claim, place in given_up))
    for claim, place in path:
        laid[claim][place] = laid[claim].get(place, 0) + amount
    for claim, place in given_up:
        laid[claim][place] -= amount
        if not laid[claim][place]:
            del laid[claim][place]
    left[last] -= amount
