"""Generated candidates, as many as wanted, and what HiGHS says of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from recommender.ml.allocation import MICRO, NO_LIMIT, Allocation, CandidateBlock, Resource, Terms
from recommender.ml.allocation.candidates import Candidates
from recommender.ml.allocation.exact import constraints_of


@dataclass(frozen=True)
class Shop:
    """Shoppers × coupons: how likely each is used, what a use brings and takes off.

    Every shopper is offered each coupon as a candidate with the same chance, and belongs to segment 0 one time of ten.
    """

    shoppers: int
    coupons: int
    seed: int = 0
    groups: int = 8
    candidate_share: float = 1.0
    block_shoppers: int = 2_000
    spread: float = 1.0

    def blocks(self) -> Iterator[CandidateBlock]:
        shop = np.random.default_rng(self.seed)
        worth = shop.lognormal(1.0, 0.6 * self.spread, self.coupons)
        discount = worth * shop.uniform(0.1, 0.6, self.coupons)
        appeal = shop.normal(-3.5, 0.7 * self.spread, self.coupons)
        for first in range(0, self.shoppers, self.block_shoppers):
            random = np.random.default_rng([self.seed, first])
            size = min(self.block_shoppers, self.shoppers - first)
            drawn = random.standard_normal((size, self.coupons), dtype=np.float32)
            drawn *= self.spread
            drawn += appeal.astype(np.float32) + random.normal(0, 0.5 * self.spread, (size, 1)).astype(np.float32)
            uses = 1 / (1 + np.exp(-drawn))
            basket = random.lognormal(0, 0.3, (size, 1)).astype(np.float32)
            is_candidate = (
                random.random((size, self.coupons), dtype=np.float32) < self.candidate_share
                if self.candidate_share < 1
                else np.ones((size, self.coupons), dtype=bool)
            )
            row, coupon = np.nonzero(is_candidate)
            uses = uses[row, coupon].astype(np.float64)
            yield CandidateBlock(
                shopper=first + row,
                coupon=coupon,
                value=np.rint(MICRO * uses * worth[coupon] * basket[row, 0]).astype(np.int64),
                cost=np.rint(MICRO * uses * discount[coupon]).astype(np.int64),
                uses=np.rint(MICRO * uses).astype(np.int64),
                segments=(random.random(size) < 0.1).astype(np.uint64)[row],
            )

    @property
    def groups_of_coupons(self) -> np.ndarray:
        return np.arange(self.coupons) % self.groups


def lumpy_case(seed: int) -> tuple[CandidateBlock, Terms]:
    """Twelve shoppers × six coupons whose costs are a large part of the limits, and value follows cost or does not."""
    random = np.random.default_rng(seed)
    shoppers, coupons = 12, 6
    shopper, coupon = np.divmod(np.arange(shoppers * coupons), coupons)
    cost, uses = (random.integers(1, 100, len(shopper)) * MICRO for _ in range(2))
    value = random.integers(1, 100, len(shopper)) * MICRO + (cost // 2 if seed % 2 else 0)
    terms = Terms(
        coupons=coupons,
        most=int(random.integers(1, 4)),
        limits={Resource.COST: int(random.uniform(0.05, 0.3) * cost.sum())},
        coupon_limits={
            Resource.USES: np.where(random.random(coupons) < 0.5, random.integers(100, 400, coupons) * MICRO, NO_LIMIT),
            Resource.OFFERS: np.where(random.random(coupons) < 0.3, random.integers(1, 8, coupons), NO_LIMIT),
        },
        groups=np.arange(coupons) // 2 if random.random() < 0.5 else None,
        required_return=float(random.choice([1.0, 1.5, 2.0])) if random.random() < 0.3 else None,
    )
    return CandidateBlock(shopper, coupon, value, cost, uses), terms


def whole(blocks: Callable[[], Iterator[CandidateBlock]], terms: Terms) -> Candidates:
    """All candidates at once."""
    return Candidates.together([Candidates.of(block, terms) for block in blocks()])


def relaxed_optimum(candidates: Candidates) -> float:
    """The greatest value, in millionths, if pairs could be offered in part."""
    A, most, floors, least = constraints_of(candidates)
    A, most = sparse.vstack([A, -floors]), np.concatenate([most, -least])
    unit = candidates.value.max()
    found = linprog(-candidates.value / unit, A_ub=A, b_ub=most, bounds=(0, 1), method="highs")
    assert found.status == 0, found.message
    return -found.fun * unit


def integer_optimum(candidates: Candidates) -> float | None:
    """The greatest value, in millionths; None where floors cannot be kept."""
    A, most, floors, least = constraints_of(candidates)
    unit = max(candidates.value.max(), 1)
    constraints = [LinearConstraint(A, -np.inf, most)]
    if len(least):
        constraints.append(LinearConstraint(floors, least, np.inf))
    found = milp(
        -candidates.value / unit,
        integrality=np.ones(len(candidates)),
        bounds=Bounds(0, 1),
        constraints=constraints,
    )
    return None if found.status == 2 else -found.fun * unit


def assert_within(allocation: Allocation, terms: Terms, candidates: Candidates) -> None:
    """Everything of the terms but floors is kept, counted anew from the candidates, pair by pair."""
    known = {
        (int(candidates.shopper[row]), int(terms.order[place])): at
        for at, (row, place) in enumerate(zip(candidates.row, candidates.place, strict=True))
    }
    totals = dict.fromkeys(Resource, 0)
    of_coupons: dict[tuple[Resource, int], int] = {}
    sizes: dict[int, int] = {}
    of_groups: dict[tuple[int, int], int] = {}
    value, seen = 0, set()
    for shopper, coupon in zip(allocation.shopper.tolist(), allocation.coupon.tolist(), strict=True):
        assert (shopper, coupon) not in seen
        seen.add((shopper, coupon))
        at = known[shopper, coupon]
        value += int(candidates.value[at])
        sizes[shopper] = sizes.get(shopper, 0) + 1
        assert sizes[shopper] <= candidates.capacity[candidates.row[at]] <= terms.most
        if terms.groups is not None and terms.groups[coupon] >= 0:
            group = shopper, int(terms.groups[coupon])
            of_groups[group] = of_groups.get(group, 0) + 1
            assert of_groups[group] <= terms.most_of_group
        for resource in Resource:
            much = int(candidates.amounts[resource, at])
            totals[resource] += much
            of_coupons[resource, coupon] = of_coupons.get((resource, coupon), 0) + much
    for resource, limit in terms.limits.items():
        assert totals[resource] <= limit
    for resource, column in terms.coupon_limits.items():
        for coupon, limit in enumerate(column.tolist()):
            assert limit == NO_LIMIT or of_coupons.get((resource, coupon), 0) <= limit
    if terms.required_return is not None:
        assert MICRO * value >= round(terms.required_return * MICRO) * totals[Resource.COST]
    assert value == int(allocation.value.sum())


def tightened(shop: Shop, terms: Terms, *, share: float = 0.5, coupon_share: float = 0.6) -> Terms:
    """The same terms with a budget, at a share of what would be spent without one, and with limits of two coupons of
    three, of uses and of cost, at a share of what would be taken if all were offered as often."""
    spent, of_coupons = 0, np.zeros((3, terms.coupons), dtype=np.int64)
    for block in shop.blocks():
        candidates = Candidates.of(block, terms)
        chosen = candidates.choose(candidates.worth)
        spent += int(candidates.amounts[Resource.COST][chosen].sum())
        for resource in Resource:
            np.add.at(of_coupons[resource], terms.order[candidates.place], candidates.amounts[resource])
    limits = (coupon_share * terms.most / terms.coupons * of_coupons).astype(np.int64)
    every = np.arange(terms.coupons)
    return replace(
        terms,
        limits={Resource.COST: int(share * spent)},
        coupon_limits={
            Resource.USES: np.where(every % 3 == 0, limits[Resource.USES], NO_LIMIT),
            Resource.COST: np.where(every % 3 == 1, limits[Resource.COST], NO_LIMIT),
        },
    )


def without_large(blocks: Callable[[], Iterator[CandidateBlock]], terms: Terms) -> Iterator[CandidateBlock]:
    """The pairs of which none takes more than a thousandth of a limit."""
    for block in blocks():
        fits = np.ones(len(block.shopper), dtype=bool)
        for resource, amounts in ((Resource.COST, block.cost), (Resource.USES, block.uses)):
            limits = terms.coupon_limits[resource][block.coupon]
            fits &= (limits == NO_LIMIT) | (1_000 * amounts <= limits)
            fits &= 1_000 * amounts <= terms.limits.get(resource, 1_000 * amounts)
        yield CandidateBlock(
            **{name: getattr(block, name)[fits] for name in ("shopper", "coupon", "value", "cost", "uses", "segments")}
        )
