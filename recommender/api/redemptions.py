"""``POST /api/v1/redemptions``."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.fields import ExactDecimalField, IdentifierField, PastTimeField
from recommender.api.problems import Conflict
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Redemption, Scope
from recommender.services.redemption import RedemptionRefused, UnknownReference, redeem_coupon


@extend_schema_serializer(component_name="Redemption")
class RedemptionInput(serializers.Serializer):
    shopper_id = IdentifierField()
    coupon_id = IdentifierField()
    redeemed_at = PastTimeField(
        required=False,
        allow_null=True,
        help_text="ISO 8601 with an offset; now by default. Give it, so that sending the same again is the same use.",
    )
    campaign_id = IdentifierField(
        required=False, allow_null=True, help_text="By default the live campaign that offered it to the shopper."
    )
    order_id = IdentifierField(
        required=False, allow_null=True, help_text="An order of this shopper that is loaded already."
    )
    discount_amount = ExactDecimalField(max_digits=14, decimal_places=3, min_value=0, required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None}
        given.setdefault("redeemed_at", timezone.now())
        return given


@extend_schema_serializer(component_name="Redemption")
class RedemptionOutput(serializers.Serializer):
    redemption_id = serializers.IntegerField(source="pk")
    shopper_id = serializers.CharField(source="shopper.shopper_id")
    coupon_id = serializers.CharField(source="coupon.coupon_id")
    redeemed_at = serializers.DateTimeField()
    campaign_id = serializers.CharField(source="campaign.campaign_id", default=None, allow_null=True)
    order_id = serializers.CharField(source="order.order_id", default=None, allow_null=True)
    discount_amount = serializers.DecimalField(max_digits=14, decimal_places=3, allow_null=True)


class RedemptionsView(ApiView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="redeem_coupon",
        summary="The use of a coupon",
        description=(
            "Recorded once: the same use sent again is answered by the first, with status 200. Refused with 409 and "
            "the code `coupon_not_open`, `no_live_campaign`, `order_of_another_shopper` or that of the limit or budget "
            "in the way; nothing is recorded then."
        ),
        request=RedemptionInput,
        responses={201: RedemptionOutput, 200: RedemptionOutput, **problems(400, 403, 409)},
    )
    def post(self, request: Request) -> Response:
        posted = RedemptionInput(data=request.data)
        posted.is_valid(raise_exception=True)
        redemption, is_new = _redeem(posted.validated_data)
        return Response(
            RedemptionOutput(redemption).data, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
        )


def _redeem(fields: dict[str, Any]) -> tuple[Redemption, bool]:
    try:
        return redeem_coupon(**fields, at=timezone.now())
    except UnknownReference as error:
        raise ValidationError({error.field: [str(error)]}) from error
    except RedemptionRefused as error:
        raise Conflict(str(error), code=error.code) from error
