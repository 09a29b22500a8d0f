"""How the API's description speaks of its callers and its errors."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from recommender.api.permissions import IsShopOrShopper, IsShopper
from recommender.api.problems import MEDIA_TYPE, Problem

SHOP_KEY = "shopKey"
SHOPPER_TOKEN = "shopperToken"  # noqa: S105
#: What is refused before an address looks at it, an Accept of something else or a body in chunks; and what others hold.
ANY_REQUEST = (406, 411, 503)
#: And a body that is not JSON, is too long, or is of another type.
WITH_A_BODY = (400, 413, 415)


class BearerScheme(OpenApiAuthenticationExtension):
    """The two kinds of bearer, each at the addresses that it opens."""

    target_class = "recommender.api.authentication.BearerAuthentication"
    name = [SHOP_KEY, SHOPPER_TOKEN]

    def get_security_requirement(self, auto_schema: Any) -> list[dict[str, list[str]]]:
        permissions = auto_schema.view.permission_classes
        if IsShopper in permissions:
            return [{SHOPPER_TOKEN: []}]
        return [{SHOP_KEY: []}, {SHOPPER_TOKEN: []}] if IsShopOrShopper in permissions else [{SHOP_KEY: []}]

    def get_security_definition(self, auto_schema: Any) -> list[dict[str, str]]:
        bearer = {"type": "http", "scheme": "bearer"}
        return [
            {**bearer, "description": "A key of the shop, made in the admin or by `manage.py create_api_key`."},
            {
                **bearer,
                "bearerFormat": "JWT",
                "description": "A shopper's token, from `POST /api/v1/shopper-tokens` or signed by the shop itself.",
            },
        ]


class ApiSchema(AutoSchema):
    """Says of each address which scope a key needs, and the errors that any address may give."""

    def get_operation(self, *arguments: Any, **options: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*arguments, **options)
        scope = getattr(self.view, "scope", None)
        if operation is None:
            return None
        if scope is not None:
            told = operation.get("description", "")
            operation["description"] = f"{told}\n\nA key needs the scope `{scope}`.".strip()
        responses = operation["responses"]
        statuses = [*ANY_REQUEST, *(WITH_A_BODY if "requestBody" in operation else ())]
        if self.method == "GET" and "application/json" in responses["200"]["content"]:
            # Every such answer has an ETag, and may be asked for only if it is another, or only if it is the same.
            responses["304"] = {"description": "What you hold still holds."}
            statuses.append(412)
        for status in statuses:
            responses.setdefault(str(status), responses["401"])
        operation["responses"] = dict(sorted(responses.items()))
        return operation


def problems(*statuses: int) -> dict[tuple[int, str], type[Problem]]:
    """The responses of ``extend_schema`` for errors, with those that any address may give."""
    return {(status, MEDIA_TYPE): Problem for status in sorted({401, 403, 429, *statuses})}
