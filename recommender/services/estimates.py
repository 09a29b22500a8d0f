"""What a run would bring and cost, by coupon and in all, before anybody is shown anything.

The uses of a coupon are the sum of the scores of those who are offered it, times the level by which such sums were off
in the past. An amount of the whole run is the sum over its coupons of expected uses times the amount of one use; its
interval is that of the run's uses, scaled: where half as many uses come, half as much is earned and spent. What one use
comes to is taken as known, so the interval of an amount is no wider than the uncertainty of how many come.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Count, DecimalField, F, FloatField, Q, Sum
from django.db.models.functions import Cast
from django.utils import timezone

from recommender.models import Coupon, ModelVersion, Run, RunCoupon
from recommender.services.clashes import count_clashes
from recommender.services.past_spend import PastUses
from recommender.services.prices import mean_prices

if TYPE_CHECKING:
    from recommender.ml.forecast import Forecaster

#: Scores crowd near 0, so the bars of their distribution are wider further up.
SCORE_EDGES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
WHOLE = Decimal(100)
CENT = Decimal("0.001")


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of money of a whole run, with its interval.

    ``coupons_without`` is how many offered coupons it leaves out because nothing is known of them. An amount of which
    nothing at all is known is None.
    """

    expected: float | None
    low: float | None
    high: float | None
    coupons_without: int


@dataclass(frozen=True, slots=True)
class RunAmounts:
    discount: Amount
    revenue: Amount
    margin: Amount


def estimate_run(*, run: Run, coupon_keys: Collection[int] | None = None) -> Run:
    """Write how many uses of each of a run's coupons are expected, what one comes to, and what all come to.

    Args:
        coupon_keys: only these coupons' offers have changed since it was last done; whoever changed them counts the
            shoppers. All coupons if it is not given.
    """
    forecaster = forecaster_of(version=run.model_version, kind=run.campaign.kind)
    with transaction.atomic():
        if coupon_keys is None:
            _write_coupons(run)
        _count_offers(run, coupon_keys, forecaster.level)
        totals = run.run_coupons.aggregate(offers=Sum("shopper_count", default=0), uses=_exact_sum("expected_uses"))
        forecast = forecaster.forecast(float(totals["uses"] or 0) / forecaster.level)
        changed = {
            "recommendation_count": totals["offers"],
            "expected_redemptions": forecast.expected,
            "expected_low": forecast.low,
            "expected_high": forecast.high,
            "estimated_at": timezone.now(),
        }
        if coupon_keys is None:
            changed |= count_clashes(run=run)
            changed["shopper_count"] = run.recommendations.offered().values("shopper").distinct().count()
            changed["score_histogram"] = _count_scores(run)
        Run.objects.filter(pk=run.pk).update(**changed)
    run.refresh_from_db()
    return run


def sum_amounts(*, run: Run) -> RunAmounts:
    """What the run's coupons come to in all, by one query."""
    offered = run.run_coupons.filter(shopper_count__gt=0)
    names = ("discount", "revenue", "margin")
    sums = offered.aggregate(
        **{name: Sum(F("expected_uses") * Cast(f"{name}_per_use", FloatField())) for name in names},
        **{f"{name}_without": Count("pk", filter=Q(**{f"{name}_per_use__isnull": True})) for name in names},
    )
    return RunAmounts(**{name: _scale(run, sums[name], sums[f"{name}_without"]) for name in names})


def _scale(run: Run, expected: float | None, without: int) -> Amount:
    if expected is None or not run.expected_redemptions or run.expected_low is None or run.expected_high is None:
        return Amount(expected, None, None, without)
    ends = sorted(expected * uses / run.expected_redemptions for uses in (run.expected_low, run.expected_high))
    return Amount(expected, ends[0], ends[1], without)


def forecaster_of(*, version: ModelVersion, kind: str) -> "Forecaster":
    """By what came of past campaigns that the same algorithm scored, for a campaign of a kind."""
    from recommender.ml.forecast import Forecaster, Outcome  # costs a second, which pages do without

    return Forecaster(
        [Outcome(*outcome) for outcome in version.past_outcomes], taught_by=version.training_positives, kind=kind
    )


def estimate_uses(*, coupons: Sequence[Coupon], before: datetime) -> list[RunCoupon]:
    """What one use of each coupon comes to, in their order: rows of no run, which are not saved.

    Args:
        before: nothing dated at or after this moment is used.
    """
    past = PastUses(coupons=coupons, before=before)
    prices = mean_prices(coupons=[coupon.pk for coupon in coupons if _is_told_by_prices(coupon, past)])
    return [_estimate_use(RunCoupon(coupon=coupon), coupon, past, prices.get(coupon.pk)) for coupon in coupons]


def _is_told_by_prices(coupon: Coupon, past: PastUses) -> bool:
    """Whether what a use takes off is a share of something of which the shop's past does not say how much it is."""
    is_share = coupon.discount_type == Coupon.DiscountType.PERCENT and coupon.discount_value is not None
    return is_share and past.spend(coupon) is None and past.discount(coupon) is None


def _write_coupons(run: Run) -> None:
    """A row for each coupon that the run chose from, with what one use of it comes to."""
    listed = run.recommendations.order_by().values("coupon").distinct()
    coupons = list(Coupon.objects.filter(Q(coupon_id__in=run.coupon_ids) | Q(pk__in=listed)).order_by("pk"))
    rows = estimate_uses(coupons=coupons, before=run.as_of)
    for row in rows:
        row.run = run
    run.run_coupons.all().delete()
    RunCoupon.objects.bulk_create(rows)


def _estimate_use(row: RunCoupon, coupon: Coupon, past: PastUses, price: Decimal | None) -> RunCoupon:
    spend, before_coupon = past.spend(coupon), None
    if spend is not None:
        row.spend_basis, row.spend_count, before_coupon = spend.basis, spend.uses, spend.before_coupon
    discount = _discount_by_terms(coupon, before_coupon)
    if discount is not None:
        row.discount_basis = RunCoupon.Basis.TERMS
        row.discount_per_use = _round(discount)
        row.revenue_per_use = None if before_coupon is None else _round(before_coupon - discount)
    else:
        past_discount = past.discount(coupon)
        of_one = None if price is None else _discount_by_terms(coupon, max(price, coupon.min_spend or price))
        if past_discount is not None:
            row.discount_basis, row.discount_count = past_discount.basis, past_discount.uses
            row.discount_per_use = _round(past_discount.discount)
        elif of_one is not None:  # a use buys one piece at least, or for as much as is asked for
            row.discount_basis, row.discount_per_use = RunCoupon.Basis.PRICES, _round(of_one)
        row.revenue_per_use = None if spend is None else _round(spend.paid)
    if discount is not None and spend is not None and spend.cost is not None:
        # A seller who funds the coupon makes good what it takes off, or a part of it.
        of_shop = discount * (WHOLE - coupon.percent_of_seller) / WHOLE
        earned = spend.before_coupon - of_shop
        row.margin_per_use = _round(earned - spend.cost)
    return row


def _discount_by_terms(coupon: Coupon, before_coupon: Decimal | None) -> Decimal | None:
    """What a use takes off by the coupon's own terms; None where they do not say it in money."""
    value = coupon.discount_value
    if value is None:
        return None
    if coupon.discount_type == Coupon.DiscountType.AMOUNT:
        discount = value
    elif coupon.discount_type == Coupon.DiscountType.PERCENT and before_coupon is not None:
        discount = before_coupon * value / WHOLE
    else:
        return None
    return min(bound for bound in (discount, coupon.max_discount, before_coupon) if bound is not None)


def _round(amount: Decimal) -> Decimal:
    return amount.quantize(CENT)


def _exact_sum(column: str) -> Sum:
    """The sum in decimals, the same in whatever order the database comes upon the rows."""
    return Sum(Cast(column, DecimalField(max_digits=30, decimal_places=15)))


def _count_offers(run: Run, coupon_keys: Collection[int] | None, level: float) -> None:
    offered, rows = run.recommendations.offered(), run.run_coupons.all()
    if coupon_keys is not None:
        offered, rows = offered.filter(coupon__in=coupon_keys), rows.filter(coupon__in=coupon_keys)
    counted = {
        row["coupon_id"]: row
        for row in offered.order_by().values("coupon_id").annotate(shoppers=Count("pk"), uses=_exact_sum("score"))
    }
    changed = list(rows)
    for row in changed:
        count = counted.get(row.coupon_id)
        row.shopper_count = count["shoppers"] if count else 0
        row.expected_uses = float(count["uses"]) * level if count else 0.0
    RunCoupon.objects.bulk_update(changed, ["shopper_count", "expected_uses"], batch_size=500)


def _count_scores(run: Run) -> list[tuple[float, float, int]]:
    """From, to, and how many scores lie between; the last end is included."""
    bars = list(pairwise(SCORE_EDGES))
    counts = run.recommendations.aggregate(
        **{
            f"bar_{number}": Count(
                "pk",
                filter=Q(score__gte=low) & (Q(score__lte=high) if high == SCORE_EDGES[-1] else Q(score__lt=high)),
            )
            for number, (low, high) in enumerate(bars)
        }
    )
    return [(low, high, counts[f"bar_{number}"]) for number, (low, high) in enumerate(bars)]
