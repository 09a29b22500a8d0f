"""``GET /api/v1/shoppers/{shopper_id}/coupons``."""

from dataclasses import asdict
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.fields import IdentifierField
from recommender.api.permissions import IsShopOrShopper
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Coupon
from recommender.reasons import in_words, speaking_for
from recommender.services.access import ShopperUnknown
from recommender.services.serving import CampaignUnknown, ServedCoupon, coupons_of


class CouponsQuery(serializers.Serializer):
    campaign = IdentifierField(required=False, help_text="Only this campaign's, in its published order.")
    limit = serializers.IntegerField(min_value=1, max_value=100, default=10)


# The classes below only describe the answer, which is made of plain dictionaries.


@extend_schema_serializer(component_name="Reason")
class ReasonOutput(serializers.Serializer):
    kind = serializers.CharField(help_text="For machines; later versions may know more kinds.")
    text = serializers.CharField(help_text="In the request's language.")


@extend_schema_serializer(component_name="Campaign")
class CampaignOutput(serializers.Serializer):
    campaign_id = serializers.CharField()
    name = serializers.CharField()
    ends_at = serializers.DateTimeField(help_text="The first moment it no longer runs.")


@extend_schema_serializer(component_name="Coupon")
class CouponOutput(serializers.Serializer):
    coupon_id = serializers.CharField()
    offer_id = serializers.CharField(help_text="Shared by the same offer in other campaigns; may be empty.")
    title = serializers.CharField()
    code = serializers.CharField()
    discount_type = serializers.ChoiceField(choices=Coupon.DiscountType.choices, allow_blank=True)
    discount_value = serializers.DecimalField(max_digits=14, decimal_places=3, allow_null=True)
    min_spend = serializers.DecimalField(max_digits=14, decimal_places=3, allow_null=True)
    max_discount = serializers.DecimalField(max_digits=14, decimal_places=3, allow_null=True)
    starts_at = serializers.DateTimeField(allow_null=True)
    ends_at = serializers.DateTimeField(allow_null=True, help_text="The first moment it no longer holds.")


@extend_schema_serializer(component_name="OfferedCoupon")
class OfferedCouponOutput(serializers.Serializer):
    rank = serializers.IntegerField(min_value=1)
    score = serializers.FloatField(min_value=0, max_value=1, help_text="Probability that the shopper uses it.")
    coupon = CouponOutput()
    campaign = CampaignOutput()
    reasons = ReasonOutput(many=True)


@extend_schema_serializer(component_name="ShopperCoupons")
class ShopperCouponsOutput(serializers.Serializer):
    shopper_id = serializers.CharField()
    coupons = OfferedCouponOutput(many=True)


class ShopperCouponsView(ApiView):
    permission_classes = [IsShopOrShopper]

    @extend_schema(
        operation_id="list_shopper_coupons",
        summary="The coupons that a shopper is offered now",
        description=(
            "Published coupons that hold at this moment, best first. All live campaigns are merged: what staff put "
            "first, then by score. An offer is listed once. A shopper who opted out has an empty list."
        ),
        parameters=[
            OpenApiParameter("shopper_id", str, OpenApiParameter.PATH, description="The shop's identifier."),
            CouponsQuery,
        ],
        responses={200: ShopperCouponsOutput, **problems(400, 403, 404)},
    )
    def get(self, request: Request, shopper_id: str) -> Response:
        query = CouponsQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        campaign_id = query.validated_data.get("campaign")
        try:
            served = coupons_of(
                shopper_id=shopper_id,
                campaign_id=campaign_id,
                at=timezone.now(),
                limit=query.validated_data["limit"],
            )
        except ShopperUnknown as error:
            message = _("There is no shopper %(id)s.") % {"id": shopper_id}
            raise NotFound(message, code="unknown_shopper") from error
        except CampaignUnknown as error:
            message = _("There is no campaign %(id)s.") % {"id": campaign_id}
            raise NotFound(message, code="unknown_campaign") from error
        return Response({"shopper_id": shopper_id, "coupons": [_offered(coupon) for coupon in served]})


def _offered(served: ServedCoupon) -> dict[str, Any]:
    coupon = asdict(served)
    for column in ("discount_value", "min_spend", "max_discount"):
        if coupon[column] is not None:
            coupon[column] = str(coupon[column])  # the renderer would make a float of it
    reasons = speaking_for(coupon.pop("reasons"))
    return {
        "rank": coupon.pop("rank"),
        "score": coupon.pop("score"),
        "campaign": {
            "campaign_id": coupon.pop("campaign_id"),
            "name": coupon.pop("campaign_name"),
            "ends_at": coupon.pop("campaign_ends_at"),
        },
        "coupon": coupon,
        "reasons": [
            {"kind": reason["kind"], "text": text} for reason, text in zip(reasons, in_words(reasons), strict=True)
        ],
    }
