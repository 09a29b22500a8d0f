"""Why something is not done at the checkout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class UnknownThing(LookupError):
    """``what`` of this identifier is not there: a ``shopper``, ``reservation``, ``group``, ``coupon`` or ``batch``."""

    def __init__(self, what: str, identifier: str) -> None:
        super().__init__(f"{what} {identifier}")
        self.what = what
        self.identifier = identifier


@dataclass(frozen=True, slots=True)
class RefusedCoupon:
    """A coupon that was asked for and is not given. ``asked`` is the coupon id or the code, as it was asked for;
    ``paced_by`` the key of the sale event whose money is in the way."""

    asked: str
    code: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    paced_by: int | None = None


class CheckoutRefused(Exception):
    """It cannot be done as things are; nothing was changed. ``code`` is for machines, ``facts`` go into the words.

    Attributes:
        coupons: where coupons were asked for, why each of them is not given.
    """

    def __init__(
        self, code: str, facts: Mapping[str, Any] | None = None, *, coupons: Sequence[RefusedCoupon] = ()
    ) -> None:
        super().__init__(code)
        self.code = code
        self.facts = dict(facts or {})
        self.coupons = list(coupons)
