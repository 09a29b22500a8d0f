"""What a caller may do."""

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from recommender.api.authentication import ShopCaller, ShopperCaller

if TYPE_CHECKING:  # REST framework's views import this module, which its settings name
    from recommender.api.views import ApiView


class IsShop(BasePermission):
    """The shop's own systems, each by a key with the scope that the address asks for."""

    message = gettext_lazy("Only a key of the shop opens this.")

    def has_permission(self, request: Request, view: "ApiView") -> bool:  # type: ignore[override]
        return isinstance(request.user, ShopCaller) and _has_scope(request.user, view)


class IsShopOrShopper(BasePermission):
    """The shop's own systems, and a shopper for what is theirs.

    Where the address names a shopper, any other is refused before anything is looked up, so that the answer is the
    same whether there is such a shopper or not.
    """

    message = gettext_lazy("A shopper's token opens that shopper's own things only.")

    def has_permission(self, request: Request, view: "ApiView") -> bool:  # type: ignore[override]
        if isinstance(request.user, ShopperCaller):
            return view.kwargs.get("shopper_id", request.user.shopper_id) == request.user.shopper_id
        return isinstance(request.user, ShopCaller) and _has_scope(request.user, view)


class IsShopper(BasePermission):
    """A shopper, at addresses that mean whoever calls."""

    message = gettext_lazy("Only a shopper's token opens this.")

    def has_permission(self, request: Request, view: "ApiView") -> bool:  # type: ignore[override]
        return isinstance(request.user, ShopperCaller)


def _has_scope(caller: ShopCaller, view: "ApiView") -> bool:
    """Raises:
    PermissionDenied: ``scope_missing``, which tells a narrow key from one that opens nothing here.
    """
    if not caller.may(view.scope):
        raise PermissionDenied(
            _("This key lacks the scope %(scope)s.") % {"scope": view.scope or "–"}, code="scope_missing"
        )
    return True
