"""A shop small enough to know every recommendation by hand, and an algorithm that anybody can compute."""

from datetime import UTC, datetime, timedelta
from typing import ClassVar, Self

import numpy as np
import polars as pl
from django.conf import settings

from recommender import models
from recommender.ml import artifact
from recommender.ml import columns as c
from recommender.ml.contract import Algorithm, DescribedHistory, Inputs, Reason
from recommender.ml.history import History
from recommender.models import Run
from recommender.services.snapshot import take_snapshot

START = datetime(2024, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=1)

#: How often each shopper bought each product before NOW. Coupon "c1" is for product "p1", and so on.
BOUGHT = {
    "s1": {"p1": 3, "p2": 1},
    "s2": {"p2": 2, "p3": 2},
    "s3": {"p3": 5},
    "s4": {},  # never bought anything
    "s5": {"p1": 1},
}


class Purchases(Inputs):
    name: ClassVar[str] = "purchases of what a coupon is for"
    columns: ClassVar[tuple[str, ...]] = ("times",)

    def prepare(self, history: History, coupons: pl.Series) -> DescribedHistory:
        return _DescribedPurchases(history)


class _DescribedPurchases(DescribedHistory):
    def __init__(self, history: History) -> None:
        lines = history.scan("order_lines").join(history.scan("coupon_products"), on=c.PRODUCT, suffix="_target")
        target = f"{c.COUPON}_target"
        self._times = lines.group_by(c.SHOPPER, target).agg(times=pl.len()).collect().rename({target: c.COUPON})

    def describe(self, pairs: pl.DataFrame) -> pl.DataFrame:
        joined = pairs.join(self._times, on=[c.SHOPPER, c.COUPON], how="left", maintain_order="left")
        return joined.select(pl.col("times").fill_null(0).cast(pl.Float32))


class TimesBought(Algorithm):
    """A tenth for each time that the shopper bought what the coupon is for."""

    name: ClassVar[str] = "times_bought"
    inputs: ClassVar[Inputs] = Purchases()

    def fit(self, examples: pl.DataFrame, labels: np.ndarray, campaigns: np.ndarray, seed: int) -> Self:
        return self

    def score(self, inputs: pl.DataFrame) -> np.ndarray:
        return inputs["times"].to_numpy().astype(np.float64) / 10

    def explain(self, inputs: pl.DataFrame) -> list[list[Reason]]:
        return [
            [{"kind": "bought_category", "times": int(times)}] if times else [{"kind": "never_bought"}]
            for times in inputs["times"]
        ]


def make_shop() -> models.Campaign:
    """Five shoppers, four coupons (c4 is the offer of c3 again), and a campaign that is live NOW."""
    products = {name: models.Product.objects.create(product_id=name) for name in ("p1", "p2", "p3")}
    campaign = models.Campaign.objects.create(campaign_id="spring", starts_at=START, ends_at=START + timedelta(days=30))
    for coupon_id, product_id, offer_id in (("c1", "p1", ""), ("c2", "p2", ""), ("c3", "p3", "o"), ("c4", "p3", "o")):
        coupon = models.Coupon.objects.create(coupon_id=coupon_id, offer_id=offer_id)
        models.CouponTarget.objects.create(coupon=coupon, product=products[product_id])
        models.CampaignCoupon.objects.create(campaign=campaign, coupon=coupon)
    for shopper_id, bought in BOUGHT.items():
        shopper = models.Shopper.objects.create(shopper_id=shopper_id)
        order = models.Order.objects.create(order_id=f"o-{shopper_id}", shopper=shopper, ordered_at=START)
        for product_id, times in bought.items():
            for _ in range(times):
                models.OrderLine.objects.create(
                    order=order, position=order.lines.count(), product=products[product_id], quantity=1, amount=1
                )
    return campaign


def lists_of(run: Run) -> dict[str, list[tuple[str, float]]]:
    """Each shopper's coupons and scores, the first rank first."""
    lists: dict[str, list[tuple[str, float]]] = {}
    rows = run.recommendations.order_by("shopper__shopper_id", "rank")
    for shopper_id, coupon_id, score in rows.values_list("shopper__shopper_id", "coupon__coupon_id", "score"):
        lists.setdefault(shopper_id, []).append((coupon_id, round(score, 6)))
    return lists


def add_model_version(*, learned_until: datetime, algorithm: str = TimesBought.name) -> models.ModelVersion:
    """A version of the algorithm above, fitted and saved."""
    snapshot = take_snapshot()
    path = settings.DATA_DIR / "models" / f"{algorithm}-{learned_until.timestamp()}"
    fitted = TimesBought().fit(TimesBought.inputs.none(), np.array([]), np.array([]), seed=0)
    return models.ModelVersion.objects.create(
        algorithm=algorithm,
        snapshot=snapshot,
        learned_until=learned_until,
        key=path.name,
        artifact=str(path.relative_to(settings.DATA_DIR)),
        artifact_digest=artifact.save(fitted, path),
        training_rows=0,
        training_positives=0,
        fit_seconds=0,
        threshold=0.5,
    )


def add_run(campaign: models.Campaign, *, state: str = Run.State.APPROVED) -> Run:
    """A run in a state, with no lists."""
    snapshot, _ = models.Snapshot.objects.get_or_create(fingerprint="0" * 64)
    version, _ = models.ModelVersion.objects.get_or_create(
        key="",
        defaults={
            "snapshot": snapshot,
            "learned_until": START,
            "training_rows": 0,
            "training_positives": 0,
            "fit_seconds": 0,
            "threshold": 0.5,
        },
    )
    return Run.objects.create(
        campaign=campaign,
        model_version=version,
        snapshot=snapshot,
        as_of=NOW,
        top=10,
        key=str(campaign.runs.count()) + campaign.campaign_id,
        state=state,
    )
