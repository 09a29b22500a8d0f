"""What changes for whom when a run takes the place of what its campaign shows now."""

from dataclasses import dataclass

from django.db.models import Count, F, Q

from recommender.models import Coupon, Publication, Recommendation, Run

COUPONS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CouponChange:
    """A coupon, to how many shoppers it is offered now, and to how many by the run."""

    coupon: Coupon
    before: int
    after: int

    @property
    def change(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Difference:
    """Shoppers by what becomes of their lists, and the coupons that gain and lose most.

    Attributes:
        live: what the campaign shows now; None if nothing.
        kept: have a list with the same coupons before and after, whatever their order.
        changed: have one with other coupons.
        new: get a list and have none now.
        lost: have a list now and get none.
    """

    live: Publication | None
    kept: int
    changed: int
    new: int
    lost: int
    gaining: tuple[CouponChange, ...]
    losing: tuple[CouponChange, ...]

    @property
    def share_kept(self) -> float | None:
        """Of the lists that are live now; None if there are none."""
        before = self.kept + self.changed + self.lost
        return self.kept / before if before else None


def compare_with_live(*, run: Run) -> Difference:
    """Compare a run's lists with those that are live, by sums over both; no list is read by itself."""
    live = Publication.objects.live().filter(campaign=run.campaign_id).select_related("run__campaign").first()
    compared = [run.pk] if live is None else [run.pk, live.run_id]
    before = Count("pk", filter=~Q(run=run.pk)) if live is None else Count("pk", filter=Q(run=live.run_id))
    rows = Recommendation.objects.offered().filter(run__in=compared).order_by()
    after = Count("pk", filter=Q(run=run.pk))
    lists = rows.values("shopper").annotate(before=before, after=after, either=Count("coupon", distinct=True))
    counts = lists.aggregate(
        kept=Count("shopper", filter=Q(before=F("either"), after=F("either"))),
        both=Count("shopper", filter=Q(before__gt=0, after__gt=0)),
        new=Count("shopper", filter=Q(before=0)),
        lost=Count("shopper", filter=Q(after=0)),
    )
    gaining, losing = [], []
    if live is not None:
        by_coupon = rows.values("coupon").annotate(before=before, after=after).annotate(change=F("after") - F("before"))
        gaining = list(by_coupon.filter(change__gt=0).order_by("-change", "coupon")[:COUPONS_SHOWN])
        losing = list(by_coupon.filter(change__lt=0).order_by("change", "coupon")[:COUPONS_SHOWN])
    coupons = Coupon.objects.in_bulk([row["coupon"] for row in (*gaining, *losing)])
    return Difference(
        live=live,
        kept=counts["kept"],
        changed=counts["both"] - counts["kept"],
        new=counts["new"],
        lost=counts["lost"],
        gaining=tuple(CouponChange(coupons[row["coupon"]], row["before"], row["after"]) for row in gaining),
        losing=tuple(CouponChange(coupons[row["coupon"]], row["before"], row["after"]) for row in losing),
    )
