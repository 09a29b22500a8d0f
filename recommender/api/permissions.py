"""What a caller may do."""

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from recommender.api.authentication import ShopCaller, ShopperCaller

if TYPE_CHECKING:  # REST framework's views import this module, which its settings name
    from rest_framework.views import APIView


class IsShop(BasePermission):
    """The shop's own systems."""

    message = _("Only a key of the shop opens this.")

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.user, ShopCaller)


class IsShopOrShopper(BasePermission):
    """The shop's own systems, and a shopper for what is theirs.

    Where the address names a shopper, any other is refused before anything is looked up, so that the answer is the
    same whether there is such a shopper or not.
    """

    message = _("A shopper's token opens that shopper's own things only.")

    def has_permission(self, request: Request, view: "APIView") -> bool:
        if isinstance(request.user, ShopperCaller):
            return view.kwargs.get("shopper_id", request.user.shopper_id) == request.user.shopper_id
        return isinstance(request.user, ShopCaller)
