"""How good lists are by the truth of a made-up shop."""

from dataclasses import dataclass

import polars as pl

from recommender.models import Run

TOP = 10


@dataclass(frozen=True)
class Lift:
    """The mean true probability that a coupon of a list is used.

    Attributes:
        lists: of a run.
        best: of the lists that are best by the truth itself, which no ranker betters.
        random: of coupons drawn from those that each shopper may have.
        same: of the coupons that are best on the mean over all shoppers, the same for each; what a shopper may not have
            of them is not used.
    """

    lists: float
    best: float
    random: float
    same: float

    @property
    def captured(self) -> float:
        """The share of the best lists' lift over random ones."""
        return (self.lists - self.random) / (self.best - self.random)


def measure_lift(run: Run, truth: pl.DataFrame) -> Lift:
    """Compare a run's lists of :data:`TOP` with others, over the shoppers of the truth.

    Args:
        truth: columns ``shopper_id``, ``coupon_id``, ``probability`` and ``may_have``.
    """
    listed = listed_of(run)
    allowed = truth.filter("may_have")
    best = allowed.sort("probability", descending=True).group_by("shopper_id").head(TOP)
    means = truth.group_by("coupon_id").agg(pl.col("probability").mean()).sort("probability", descending=True)
    same = truth.join(means.head(TOP), on="coupon_id", how="semi")
    return Lift(
        lists=_mean(truth.join(listed, on=["shopper_id", "coupon_id"], how="semi")),
        best=_mean(best),
        random=_mean(allowed),
        same=_mean(same),
    )


def share_of_possible(lift: Lift, truth: pl.DataFrame, expected: pl.DataFrame) -> float:
    """The share of the lift over random lists that the best lists have by what can be expected given the history.

    Args:
        expected: as the truth, with the probabilities that a ranker which knows how the shop works expects.
    """
    best = expected.filter("may_have").sort("probability", descending=True).group_by("shopper_id").head(TOP)
    possible = _mean(truth.join(best, on=["shopper_id", "coupon_id"], how="semi"))
    return (lift.lists - lift.random) / (possible - lift.random)


def listed_of(run: Run) -> pl.DataFrame:
    """The pairs of a run's lists: ``shopper_id`` and ``coupon_id``."""
    rows = run.recommendations.values_list("shopper__shopper_id", "coupon__coupon_id")
    return pl.DataFrame(list(rows), schema=["shopper_id", "coupon_id"], orient="row")


def _mean(pairs: pl.DataFrame) -> float:
    """Over shoppers, the mean of each shopper's coupons."""
    means = pairs.group_by("shopper_id").agg(pl.col("probability").mean())
    return float(means["probability"].mean())  # type: ignore[arg-type]
