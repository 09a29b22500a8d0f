"""What one use of a coupon came to in the past: the stand-in where its own terms do not say."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, F, Q, Sum
from django.db.models.functions import Coalesce

from recommender.models import Coupon, CouponTarget, OrderLine, Redemption, RunCoupon

#: Redemptions that make a mean worth more than one of a wider circle of coupons.
ENOUGH = 5
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class PastSpend:
    """What lines that were bought with a coupon came to, per use.

    Attributes:
        paid: after all discounts.
        before_coupon: paid, and what the coupon took off.
        cost: what the goods cost the shop; None if that of any product is not known.
    """

    basis: RunCoupon.Basis
    uses: int
    paid: Decimal
    before_coupon: Decimal
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class PastDiscount:
    """What a use of a coupon took off, by the redemptions that say."""

    basis: RunCoupon.Basis
    uses: int
    discount: Decimal


@dataclass(frozen=True, slots=True)
class _Tally:
    uses: int
    paid: Decimal = ZERO
    coupon_discount: Decimal = ZERO
    cost: Decimal | None = ZERO


class PastUses:
    """What past uses came to, for the coupons of a run: of the coupon's offer, else of coupons for the same products,
    else of the whole shop. The narrower circle counts from :data:`ENOUGH` redemptions on.

    A few aggregates with a row a coupon; no line and no redemption is read by itself.

    Args:
        coupons: those to estimate.
        before: nothing dated at or after this moment is used.
    """

    def __init__(self, *, coupons: Collection[Coupon], before: datetime) -> None:
        self._spends = _tally_spends(before)
        self._discounts = _tally_discounts(before)
        used = self._spends.keys() | self._discounts.keys()
        self._same_offer = _find_same_offer(coupons, used)
        self._same_products = _find_same_products(coupons, used)

    def spend(self, coupon: Coupon) -> PastSpend | None:
        """What is spent on what is bought with the coupon; None if the shop's past does not say."""
        basis, tally = self._narrowest(coupon, self._spends)
        if not tally.uses:
            return None
        return PastSpend(
            basis=basis,
            uses=tally.uses,
            paid=tally.paid / tally.uses,
            before_coupon=(tally.paid + tally.coupon_discount) / tally.uses,
            cost=None if tally.cost is None else tally.cost / tally.uses,
        )

    def discount(self, coupon: Coupon) -> PastDiscount | None:
        """What a use takes off; None if the shop's past does not say."""
        basis, tally = self._narrowest(coupon, self._discounts)
        if not tally.uses:
            return None
        return PastDiscount(basis=basis, uses=tally.uses, discount=tally.coupon_discount / tally.uses)

    def _narrowest(self, coupon: Coupon, tallies: dict[int, _Tally]) -> tuple[RunCoupon.Basis, _Tally]:
        """The narrowest circle of coupons that says enough, or else the whole shop, whatever it says."""
        for basis, keys in (
            (RunCoupon.Basis.OFFER, self._same_offer.get(coupon.pk, ())),
            (RunCoupon.Basis.PRODUCTS, self._same_products.get(coupon.pk, ())),
        ):
            tally = _add(tallies[key] for key in keys if key in tallies)
            if tally.uses >= ENOUGH:
                return basis, tally
        return RunCoupon.Basis.SHOP, _add(tallies.values())


def _add(tallies: Iterable[_Tally]) -> _Tally:
    uses, paid, coupon_discount, cost = 0, ZERO, ZERO, ZERO
    costs_known = True
    for tally in tallies:
        uses += tally.uses
        paid += tally.paid
        coupon_discount += tally.coupon_discount
        if tally.cost is None:
            costs_known = False
        else:
            cost += tally.cost
    return _Tally(uses, paid, coupon_discount, cost if costs_known else None)


def _tally_spends(before: datetime) -> dict[int, _Tally]:
    """By coupon: the order lines that were bought with it."""
    rows = (
        OrderLine.objects.filter(coupon__isnull=False, order__ordered_at__lt=before)
        .order_by()
        .values("coupon_id")
        .annotate(
            uses=Count("order", distinct=True),
            paid=Sum("amount"),
            coupon_discounts=Sum("coupon_discount"),
            cost=Coalesce(Sum(F("quantity") * F("product__cost")), ZERO),
            without_cost=Count("pk", filter=Q(product__cost__isnull=True)),
        )
    )
    return {
        row["coupon_id"]: _Tally(
            row["uses"], row["paid"], row["coupon_discounts"], None if row["without_cost"] else row["cost"]
        )
        for row in rows
    }


def _tally_discounts(before: datetime) -> dict[int, _Tally]:
    """By coupon: the redemptions that say what was taken off."""
    rows = (
        Redemption.objects.filter(redeemed_at__lt=before, discount_amount__isnull=False)
        .order_by()
        .values("coupon_id")
        .annotate(uses=Count("pk"), total=Sum("discount_amount"))
    )
    return {row["coupon_id"]: _Tally(row["uses"], coupon_discount=row["total"]) for row in rows}


def _gather(pairs: Iterable[tuple[int, int]], used: Collection[int]) -> dict[int, set[int]]:
    gathered: dict[int, set[int]] = {}
    for coupon, other in pairs:
        if other in used:
            gathered.setdefault(coupon, set()).add(other)
    return gathered


def _find_same_offer(coupons: Collection[Coupon], used: Collection[int]) -> dict[int, set[int]]:
    """By coupon: itself, and the used coupons that are the same offer in another guise."""
    offers = {coupon.offer_id for coupon in coupons if coupon.offer_id}
    by_offer: dict[str, list[int]] = {}
    for key, offer_id in Coupon.objects.filter(offer_id__in=offers).values_list("pk", "offer_id"):
        by_offer.setdefault(offer_id, []).append(key)
    return _gather(
        ((coupon.pk, other) for coupon in coupons for other in {coupon.pk, *by_offer.get(coupon.offer_id, ())}), used
    )


def _find_same_products(coupons: Collection[Coupon], used: Collection[int]) -> dict[int, set[int]]:
    """By coupon: the used coupons that share a product, a category or a brand that it is for."""
    targets = CouponTarget.objects.filter(coupon__in=[coupon.pk for coupon in coupons])
    pairs: set[tuple[int, int]] = set()
    for shared in ("product", "category"):
        pairs.update(
            targets.filter(**{f"{shared}__isnull": False})
            .values_list("coupon", f"{shared}__targeted_by__coupon")
            .distinct()
        )
    brands = targets.exclude(brand="").values_list("coupon_id", "brand")
    by_brand: dict[str, list[int]] = {}
    for key, brand in CouponTarget.objects.filter(brand__in={brand for _key, brand in brands}).values_list(
        "coupon_id", "brand"
    ):
        by_brand.setdefault(brand, []).append(key)
    pairs.update((coupon, other) for coupon, brand in brands for other in by_brand[brand])
    return _gather(pairs, used)
