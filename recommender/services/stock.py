"""What is short-dated is offered to those alone who can still use it in time.

A product of which the shop tells batches can be had while one of them is in stock and good. A coupon can be used in
time if, at the first moment at which whoever is offered it may use it, one batch of its products can be had, and that
batch is good until the coupon's own window is over, where it has an end of its own. A product of which no batch is told
keeps. Lists are made by this rule, and whoever serves them asks again: stock sells out, and days go by.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from recommender.models import Batch
from recommender.services.coupon_targets import Target, groups_of, products_of, read_targets


class Stock:
    """What is in stock, as far as it is told at a moment, of what some coupons are for.

    Args:
        coupons: primary keys.
        at: the moment. What sells out later is in stock still.
    """

    def __init__(self, coupons: Iterable[int], at: datetime) -> None:
        self._targets = read_targets(coupons)
        self._in_stock = Q(best_before__gt=at) & (Q(sold_out_at__isnull=True) | Q(sold_out_at__gt=at))
        products = products_of(self._targets.values())
        #: By product of which there ever was a batch: from when until when each that is in stock is good.
        self._good: dict[int, list[tuple[datetime, datetime]]] = defaultdict(list)
        batches = Batch.objects.filter(product__in=products)
        for product in batches.values_list("product_id", flat=True).distinct():
            self._good[product] = []
        for product, received, best_before in batches.filter(self._in_stock).values_list(
            "product_id", "received_at", "best_before"
        ):
            self._good[product].append((received, best_before))
        #: Groups that something is of which keeps.
        undated = ~Exists(Batch.objects.filter(product=OuterRef("pk")))
        self._keeping = {
            group for group in groups_of(self._targets.values()) if group.products().filter(undated).exists()
        }

    def lasts(self, coupon: int, opens: datetime, ends: datetime | None) -> bool:
        """Whether a coupon can be used in time.

        Args:
            opens: the first moment at which it may be used.
            ends: that at which its own window is over; None where it has no end of its own.
        """
        targets = self._targets.get(coupon)
        if targets is None:
            return True
        found = {self._target_lasts(target, opens, ends) for target in targets}
        return True in found or False not in found  # what is for groups without products is for nothing that goes bad

    def _target_lasts(self, target: Target, opens: datetime, ends: datetime | None) -> bool | None:
        """As :meth:`lasts`, of one thing; None of a group without products."""
        if target.product is not None:
            good = self._good.get(target.product)
            return good is None or any(
                received <= opens < best_before and (ends is None or ends <= best_before)
                for received, best_before in good
            )
        if target in self._keeping:
            return True
        lasting = Q(received_at__lte=opens, best_before__gt=opens)
        if ends is not None:
            lasting &= Q(best_before__gte=ends)
        products = target.products()
        if Batch.objects.filter(self._in_stock, lasting, product__in=products).exists():
            return True
        return False if products.exists() else None
