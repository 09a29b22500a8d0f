"""What coupons take off a basket."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from recommender.rules.basket import Basket
from recommender.rules.offer import Offer
from recommender.rules.refusal import Refusal

MOST_COUPONS = 8


@dataclass(frozen=True, slots=True)
class Applied:
    """A coupon that takes something off.

    Attributes:
        discount: what it takes off in all: the sum of ``by_line`` and ``shipping_discount``, above 0.
        by_line: what it takes off each line of which it takes anything, by ``line_id``.
    """

    coupon_id: str
    discount: Decimal
    by_line: Mapping[str, Decimal]
    shipping_discount: Decimal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every coupon that was asked for is either applied or refused. Both are in the order of ``coupon_id``."""

    applied: tuple[Applied, ...]
    refused: tuple[Refusal, ...]

    @property
    def discount(self) -> Decimal:
        return sum((applied.discount for applied in self.applied), Decimal(0))


def price(basket: Basket, offers: Iterable[Offer]) -> Outcome:
    """What the coupons, all of which the shopper may use, take off the basket together: the most that is possible.

    Raises:
        ValueError: more than ``MOST_COUPONS`` coupons, or one of them twice.
    """
    raise NotImplementedError
