"""Who is calling: one of the shop's systems by its key, or a shopper by a token that this site signed."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from recommender.models import ApiKey
from recommender.services.access import KEY_BEGINS_WITH, TokenRefused, find_api_key, read_shopper_token


@dataclass(frozen=True)
class ShopCaller:
    """One of the shop's systems. It may see and do everything that the API offers."""

    api_key: ApiKey
    is_authenticated = True


@dataclass(frozen=True)
class ShopperCaller:
    """A shopper's page or app. It may see and do what is this shopper's own."""

    shopper_id: str
    is_authenticated = True


class BearerAuthentication(BaseAuthentication):
    """``Authorization: Bearer`` and an API key or a shopper's token; ``request.user`` is the caller."""

    def authenticate(self, request: Request) -> tuple[Any, str] | None:
        scheme, _separator, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        if credentials.startswith(KEY_BEGINS_WITH):
            api_key = find_api_key(key=credentials)
            if api_key is None:
                raise AuthenticationFailed(_("This API key is unknown or revoked."))
            return ShopCaller(api_key), credentials
        try:
            return ShopperCaller(read_shopper_token(token=credentials)), credentials
        except TokenRefused as error:
            raise AuthenticationFailed(_("This token is not valid, or no longer.")) from error

    def authenticate_header(self, request: Request) -> str:
        challenge = 'Bearer realm="couponsite"'
        return f'{challenge}, error="invalid_token"' if "Authorization" in request.headers else challenge
