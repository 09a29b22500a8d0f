"""What the groups of facts are called that models look at. The model layer has its own list, which a web process must
not load."""

from collections.abc import Mapping
from types import MappingProxyType

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

LABELS: Mapping[str, str | Promise] = MappingProxyType(
    {
        "own purchases": _("Own purchases of what the coupon is for"),
        "behaviour": _("Chance of buying it anyway"),
        "category": _("Own purchases in its categories"),
        "brand": _("Own purchases of its brands"),
        "standing in the list": _("How it stands among the shopper's coupons"),
        "standing among shoppers": _("How the shopper stands among its buyers"),
        "taste": _("Nearness to the shopper's taste"),
        "association": _("What goes with the shopper's purchases"),
        "coupon habit": _("The shopper's habit of using coupons"),
        "people alike": _("Use by shoppers alike"),
        "own use of the offer": _("Own use of the same offer before"),
        "use of the offer": _("Everybody's use of the same offer before"),
        "activity": _("How often and how lately the shopper buys"),
        "variety": _("How many different things the shopper buys"),
        "spend": _("What the shopper spends"),
        "popularity": _("How popular its products are"),
        "coupons on its products": _("How often its products are bought with a coupon"),
        "coupon": _("The coupon itself: products, price, discount"),
        "devices": _("The shopper's devices: what fits them, and what is worn"),
        "freshness": _("How long its stock keeps, the shopper's rhythm, the season"),
        "projects": _("The shopper's projects: how far they are"),
    }
)


def label_of(group: str) -> str | Promise:
    """A group's label; its name where it is not one of :data:`LABELS`."""
    return LABELS.get(group, group)
