"""How the API's description speaks of its callers and its errors."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from recommender.api.permissions import IsShopOrShopper
from recommender.api.problems import MEDIA_TYPE, Problem

SHOP_KEY = "shopKey"
SHOPPER_TOKEN = "shopperToken"  # noqa: S105


class BearerScheme(OpenApiAuthenticationExtension):
    """The two kinds of bearer, each at the addresses that it opens."""

    target_class = "recommender.api.authentication.BearerAuthentication"
    name = [SHOP_KEY, SHOPPER_TOKEN]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        opens_to_shoppers = IsShopOrShopper in auto_schema.view.permission_classes
        return [{SHOP_KEY: []}, {SHOPPER_TOKEN: []}] if opens_to_shoppers else [{SHOP_KEY: []}]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        bearer = {"type": "http", "scheme": "bearer"}
        return [
            {**bearer, "description": "A key of the shop, made by `manage.py create_api_key`."},
            {**bearer, "bearerFormat": "JWT", "description": "A shopper's token, from `POST /api/v1/shopper-tokens`."},
        ]


def problems(*statuses: int) -> dict[tuple[int, str], type[Problem]]:
    """The responses of ``extend_schema`` for errors, with those that any address may give."""
    return {(status, MEDIA_TYPE): Problem for status in sorted({401, *statuses})}
