"""What a rule of a kind of shop lets stand on lists: as a run makes them, what it tries included, and as they are
served."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import polars as pl

from recommender.ml.devices import CouponsForDevices
from recommender.ml.exploration import Exploration
from recommender.ml.projects import ProjectsOfCoupons
from recommender.models import CATEGORY_SEPARATOR, Category, Coupon, CouponTarget, Product, Run, RunCoupon, Shopper
from recommender.services.scorer import Scorer
from recommender.services.serving import offers_of, offers_of_many
from recommender.services.snapshot import open_snapshot, take_snapshot
from tests.api.shop_rows import make_campaign, publish

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
SHOPPERS = ("anna", "ben", "carl")
TOP = 3

#: What a coupon is for: a product by its place, a category by its path, or a brand; the whole shop where there is none.
Targets = frozenset[int | str]


class Ware(Protocol):
    """A product."""

    @property
    def path(self) -> str | None: ...

    @property
    def brand(self) -> str: ...


def is_within(path: str, target: str) -> bool:
    return path == target or path.startswith(target + CATEGORY_SEPARATOR)


def is_for(targets: Targets, place: int, ware: Ware) -> bool:
    """Whether a coupon for such targets is for a product, spelled out."""
    return any(
        target == place
        or (isinstance(target, str) and target == ware.brand)
        or (isinstance(target, str) and ware.path is not None and is_within(ware.path, target))
        for target in targets
    )


def draw_scores(seed: int, coupons: int) -> np.ndarray:
    """(shoppers, coupons): all different."""
    scores = np.random.default_rng(seed).permutation(len(SHOPPERS) * coupons).reshape(len(SHOPPERS), -1)
    return (1 + scores) / (1 + scores.size)


def add_coupons(given: Iterable[Targets], wares: Sequence[Product], categories: Mapping[str, Category]) -> list[Coupon]:
    coupons = []
    for number, targets in enumerate(given):
        coupons.append(Coupon.objects.create(coupon_id=f"coupon {number}"))
        for target in targets:
            facts: Mapping[str, Any] = {"product": wares[target]} if isinstance(target, int) else {"brand": target}
            if target in categories:
                facts = {"category": categories[str(target)]}
            CouponTarget.objects.create(coupon=coupons[-1], **facts)
    return coupons


def make_lists(scores: np.ndarray, *, tried: float | None = None) -> dict[str, list[str]]:
    """Each shopper's list as a run makes it of the scores; ``tried`` is the share whose last place is drawn."""
    files = open_snapshot(snapshot=take_snapshot())
    shoppers = files.scan("shoppers").select("shopper", "shopper_id").sort("shopper").collect()
    coupons = files.scan("coupons").select("coupon", "coupon_id", offer="coupon_id").sort("coupon").collect()
    assert shoppers["shopper_id"].to_list() == list(SHOPPERS)
    stand_in: Any = SimpleNamespace(
        score=lambda inputs: scores.ravel() if len(inputs) == scores.size else np.zeros(len(inputs)),
        explain=lambda inputs: [[] for _row in range(len(inputs))],
        describe=lambda pairs: pairs.select("coupon"),
        tell=lambda lists, reasons: reasons,
    )
    scorer = Scorer(
        algorithm=stand_in,
        described=lambda: stand_in,
        narrator=stand_in,
        shoppers=shoppers,
        coupons=coupons,
        learned=[],
        devices=CouponsForDevices(files.before(NOW), coupons["coupon"]),
        projects=ProjectsOfCoupons(files.before(NOW), coupons["coupon"]),
        exploration=None if tried is None else Exploration(tried, np.full(coupons.height, 1 / coupons.height), "salt"),
    )
    rows = scorer.recommend(shoppers, TOP).rows
    return {name: rows.filter(pl.col("shopper_id") == name)["coupon_id"].to_list() for name in SHOPPERS}


def check_offers(
    scores: np.ndarray,
    *,
    shoppers: Mapping[str, Shopper],
    coupons: Sequence[Coupon],
    may_have: Callable[[str, int], bool],
) -> None:
    """Check what everybody is offered beside the rule spelled out: on lists that are made now; of lists that were made
    when everybody might have everything; and of what is best for all, for whom none was made, known or not.

    Args:
        may_have: of a shopper and the place of a coupon; of "nobody", whom the shop does not know.
    """
    allowed = {
        name: [
            coupons[place].coupon_id for place in np.argsort(-scores[row], kind="stable") if may_have(name, int(place))
        ]
        for row, name in enumerate(SHOPPERS)
    }

    assert make_lists(scores) == {name: ids[:TOP] for name, ids in allowed.items()}
    for name, ids in make_lists(scores, tried=1.0).items():
        assert ids[: TOP - 1] == allowed[name][: TOP - 1]
        assert set(ids) <= set(allowed[name]), "what is tried keeps to the rule as well"
        assert len(ids) == min(TOP, len(allowed[name]))

    publish(
        make_campaign("spring", *coupons),
        *(
            (shoppers[name], coupons[place], float(scores[row, place]))
            for row, name in enumerate(SHOPPERS[:2])
            for place in np.argsort(-scores[row], kind="stable")
        ),
    )
    RunCoupon.objects.bulk_create(
        RunCoupon(run=Run.objects.get(), coupon=coupon, mean_score=1 / (1 + place))
        for place, coupon in enumerate(coupons)
    )
    alone = {name: offers_of(shopper_id=name, at=NOW, limit=100) for name in (*SHOPPERS, "nobody")}
    for name in SHOPPERS[:2]:
        assert [coupon.coupon_id for coupon in alone[name].coupons] == allowed[name]
    assert sorted(coupon.coupon_id for coupon in alone["carl"].coupons) == sorted(allowed["carl"])
    assert [coupon.coupon_id for coupon in alone["nobody"].coupons] == [
        coupon.coupon_id for place, coupon in enumerate(coupons) if may_have("nobody", place)
    ]
    assert offers_of_many(shopper_ids=list(alone), at=NOW, limit=100) == list(alone.values())
