"""Why something is not done at the checkout, in the request's language."""

from collections.abc import Callable, Mapping
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, NotFound

from recommender.api.problems import Conflict
from recommender.models import Shop
from recommender.refusal_reasons import refusal_in_words
from recommender.rules.refusal import Refusal, RefusalCode
from recommender.services.checkout.refusals import CheckoutRefused, RefusedCoupon, UnknownThing

Facts = Mapping[str, Any]

#: What the rules know nothing of.
_WORDS: Mapping[str, Callable[[Facts], str]] = {
    "unknown_coupon": lambda facts: _("There is no such coupon."),
    "unknown_code": lambda facts: _("There is no such code."),
    "code_used": lambda facts: _("The code was used already."),
    "code_needed": lambda facts: _("The coupon is used by one of its codes."),
    "asked_for_twice": lambda facts: _("The same coupon is asked for already."),
    "no_campaign": lambda facts: _("No campaign holds the coupon."),
    "no_coupon_applies": lambda facts: _("None of the coupons applies to the basket; see the errors."),
    "reservation_released": lambda facts: _("The reservation was released."),
    "reservation_confirmed": lambda facts: _(
        "The reservation was confirmed with an order; what came back is reversed."
    ),
    "reservation_reversed": lambda facts: _("The reservation was reversed."),
    "reservation_expired": lambda facts: _("The reservation ended too long ago."),
    "confirmed_with_another_order": lambda facts: _("The reservation was confirmed with order %(order)s.") % facts,
    "order_of_another_shopper": lambda facts: _("Order %(id)s is another shopper's.") % facts,
    "not_confirmed": lambda facts: _("The reservation was not confirmed with an order."),
    "unknown_line": lambda facts: _("The basket had no line %(line)s.") % facts,
    "more_than_is_left": lambda facts: _("Of line %(line)s only %(left)s did not come back yet.") % facts,
    "not_for_groups": lambda facts: _("The coupon is not one for groups."),
    "already_in_a_group": lambda facts: _("The shopper belongs to a group for this coupon."),
    "codes_not_made": lambda facts: _("Only %(made)d of %(count)d codes are made yet.") % facts,
    "group_full": lambda facts: _("The group is full."),
    "group_closed": lambda facts: _("The group is closed."),
}
_MISSING: Mapping[str, Callable[[Facts], str]] = {
    "shopper": lambda facts: _("There is no shopper %(id)s.") % facts,
    "coupon": lambda facts: _("There is no coupon %(id)s.") % facts,
    "reservation": lambda facts: _("There is no reservation %(id)s.") % facts,
    "group": lambda facts: _("There is no group %(id)s.") % facts,
    "batch": lambda facts: _("There is no batch of codes %(id)s.") % facts,
}


def in_words(code: str, facts: Facts) -> str:
    """A sentence. Moments are told by the shop's clock."""
    if code in _WORDS:
        return _WORDS[code](facts)
    with timezone.override(Shop.current().zone):
        return refusal_in_words(Refusal("", RefusalCode(code), facts))


def as_problem(error: CheckoutRefused | UnknownThing) -> APIException:
    """What to raise in a view. Where one coupon was asked for, why it is not given is the problem itself."""
    if isinstance(error, UnknownThing):
        return NotFound(_MISSING[error.what]({"id": error.identifier}), code=f"unknown_{error.what}")
    if len(error.coupons) == 1:
        return Conflict(in_words(error.coupons[0].code, error.coupons[0].facts), code=error.coupons[0].code)
    problem = Conflict(in_words(error.code, error.facts), code=error.code)
    problem.errors = {each.asked: [in_words(each.code, each.facts)] for each in error.coupons}
    return problem


def describe_refused(refused: RefusedCoupon) -> dict[str, Any]:
    return {"asked": refused.asked, "code": refused.code, "text": in_words(refused.code, refused.facts)}
