"""``POST /api/v1/shopper-tokens``."""

from datetime import timedelta

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.fields import IdentifierField
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Scope
from recommender.services.access import (
    TOKEN_LIFETIME,
    TOKEN_LIFETIME_AT_MOST,
    ShopperUnknown,
    issue_shopper_token,
)


@extend_schema_serializer(component_name="ShopperToken")
class ShopperTokenInput(serializers.Serializer):
    shopper_id = IdentifierField()
    lifetime = serializers.IntegerField(
        min_value=1,
        max_value=int(TOKEN_LIFETIME_AT_MOST.total_seconds()),
        default=int(TOKEN_LIFETIME.total_seconds()),
        help_text="Seconds.",
    )


@extend_schema_serializer(component_name="ShopperToken")
class ShopperTokenOutput(serializers.Serializer):
    shopper_id = serializers.CharField()
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class ShopperTokensView(ApiView):
    scope = Scope.ISSUE_TOKENS

    @extend_schema(
        operation_id="issue_shopper_token",
        summary="A short-lived token for a shopper's page or app",
        description="With it, a page reads that shopper's coupons and posts that shopper's events, and nothing else.",
        request=ShopperTokenInput,
        responses={201: ShopperTokenOutput, **problems(400, 403, 404)},
    )
    def post(self, request: Request) -> Response:
        posted = ShopperTokenInput(data=request.data)
        posted.is_valid(raise_exception=True)
        shopper_id = posted.validated_data["shopper_id"]
        lifetime = timedelta(seconds=posted.validated_data["lifetime"])
        try:
            issued = issue_shopper_token(shopper_id=shopper_id, at=timezone.now(), lifetime=lifetime)
        except ShopperUnknown as error:
            message = _("There is no shopper %(id)s.") % {"id": shopper_id}
            raise NotFound(message, code="unknown_shopper") from error
        return Response(
            {"shopper_id": shopper_id, "token": issued.token, "expires_at": issued.expires_at},
            status=status.HTTP_201_CREATED,
        )
