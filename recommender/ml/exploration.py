"""A stated small share of lists tries another coupon on its last place, with a chance that is known.

Whoever is always shown the likeliest coupons never learns what the others would have done, and a new coupon never gets
a chance. So the last place of some lists is drawn. Which coupon is drawn follows Thompson (1933): each as often as it
is likely to be the best of all, by how often it was offered and used so far. Coupons of which little is known are often
likely to be the best, those that proved poor hardly ever.

The chances are made once, and are what is drawn by: so the chance with which a coupon came to stand on a list is exact,
however few draws the chances themselves rest on.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: How many times the best of all coupons is drawn for Thompson's chances.
DRAWS = 20_000
#: Of the drawn places, the share that is spread evenly over all coupons: no chance is so small that a single use of a
#: coupon would decide an estimate.
EVEN_SHARE = 0.2
#: How much is thought to be known of a coupon that was never offered: as much as of so many offers of the usual one.
PRIOR_OFFERS = 20.0
#: Pairs of a list and a coupon that are drawn from at once; what bounds the memory.
AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Exploration:
    """
    Attributes:
        share: of the lists, whose last place is drawn.
        chances: (coupons,) with which each coupon is drawn where all may be; above 0, and 1 in all.
        salt: names what is drawn: the same salt draws the same.
    """

    share: float
    chances: np.ndarray
    salt: str


def thompson_chances(offers: Sequence[float], uses: Sequence[float], *, seed: int = 0) -> np.ndarray:
    """(coupons,): how likely each coupon is used more readily than all others, with :data:`EVEN_SHARE` spread evenly.

    A coupon's rate of use has a Beta prior around the rate of all coupons together.

    Args:
        offers: of each coupon, to how many shoppers it was offered.
        uses: how many of them used it.

    Raises:
        ValueError: no coupon, lengths that differ, or uses that are below 0 or more than the offers.
    """
    offered, used = np.asarray(offers, dtype=np.float64), np.asarray(uses, dtype=np.float64)
    if offered.shape != used.shape or not len(offered):
        raise ValueError(f"Offers of {len(offered)} coupons and uses of {len(used)}; expected as many, 1 or more.")
    if (used < 0).any() or (used > offered).any():
        raise ValueError("A coupon was used from 0 times to as often as it was offered.")
    usual = (used.sum() + 0.5) / (offered.sum() + 1)
    rates = np.random.default_rng(seed).beta(
        PRIOR_OFFERS * usual + used, PRIOR_OFFERS * (1 - usual) + offered - used, size=(DRAWS, len(offered))
    )
    best = np.bincount(rates.argmax(axis=1), minlength=len(offered)) / DRAWS
    return (1 - EVEN_SHARE) * best + EVEN_SHARE / len(offered)


def draw_last_places(
    exploration: Exploration, *, shopper_ids: Sequence[str], ordinary: np.ndarray, eligible: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What stands on the last place of each list.

    Args:
        shopper_ids: (lists,) the shop's identifiers: a digest of them draws, the same on every host.
        ordinary: (lists,) the coupon that stands there without exploration, by its number.
        eligible: (lists, coupons) whether the coupon may stand there: neither it nor another of its offer is on a place
            before. The ordinary one may.

    Returns:
        (lists,) the coupon that stands there, and (lists,) the chance with which it came to do so.
    """
    first, second = _draw(exploration.salt, shopper_ids)
    chosen, chance = np.array(ordinary, dtype=np.int64), np.empty(len(ordinary))
    step = max(1, AT_ONCE // len(exploration.chances))
    for part in (slice(start, start + step) for start in range(0, len(chosen), step)):
        weights = np.where(eligible[part], exploration.chances, 0.0)
        cumulative = weights.cumsum(axis=1)
        total = cumulative[:, -1]
        below = np.minimum(second[part] * total, np.nextafter(total, 0))  # the product may be rounded up to the whole
        drawn = (cumulative <= below[:, None]).sum(axis=1)
        chosen[part] = np.where(first[part] < exploration.share, drawn, chosen[part])
        chance[part] = exploration.share * weights[np.arange(len(total)), chosen[part]] / total
    return chosen, chance + (1 - exploration.share) * (chosen == ordinary)


def _draw(salt: str, shopper_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Two numbers of each shopper, from 0 to below 1: whether the place is drawn, and what."""
    digests = b"".join(
        hashlib.sha256(f"exploration\0{salt}\0{identifier}".encode()).digest()[:16] for identifier in shopper_ids
    )
    numbers = np.frombuffer(digests, dtype=">u8").reshape(-1, 2)
    fractions = (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return fractions[:, 0], fractions[:, 1]
