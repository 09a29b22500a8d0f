"""Who is calling: one of the shop's systems by its key, or a shopper by a token that this site or the shop signed."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from recommender.models import ApiKey, Scope
from recommender.services.access import KEY_BEGINS_WITH, TokenRefused, find_api_key, record_use
from recommender.services.shopper_tokens import read_any_shopper_token


@dataclass(frozen=True)
class ShopCaller:
    """One of the shop's systems. It may do what its key's scopes open."""

    api_key: ApiKey
    is_authenticated = True

    def may(self, scope: Scope | None) -> bool:
        """Whether its key has a scope. An address that names none is open to no key."""
        return scope is not None and scope in self.api_key.scopes


@dataclass(frozen=True)
class ShopperCaller:
    """A shopper's page or app. It may see and do what is this shopper's own."""

    shopper_id: str
    is_authenticated = True


def calling_shopper(request: Request) -> str:
    """The identifier of the shopper who calls an address that only shoppers open."""
    assert isinstance(request.user, ShopperCaller), "its permission lets nobody else by"
    return request.user.shopper_id


class BearerAuthentication(BaseAuthentication):
    """``Authorization: Bearer`` and an API key or a shopper's token; ``request.user`` is the caller."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        scheme, _separator, credentials = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        if credentials.startswith(KEY_BEGINS_WITH):
            now = timezone.now()
            api_key = find_api_key(key=credentials, at=now)
            if api_key is None:
                raise AuthenticationFailed(_("This API key is unknown or revoked."))
            record_use(api_key=api_key, at=now)
            return ShopCaller(api_key), credentials
        try:
            return ShopperCaller(read_any_shopper_token(token=credentials)), credentials
        except TokenRefused as error:
            raise AuthenticationFailed(_("This token is not valid, or no longer.")) from error

    def authenticate_header(self, request: Request) -> str:
        challenge = 'Bearer realm="couponsite"'
        return f'{challenge}, error="invalid_token"' if "HTTP_AUTHORIZATION" in request.META else challenge
