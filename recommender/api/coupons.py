"""``GET /api/v1/shoppers/{shopper_id}/coupons``, ``GET /api/v1/me/coupons`` and ``POST /api/v1/recommendations``."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.authentication import calling_shopper
from recommender.api.fields import BoundedListField, IdentifierField
from recommender.api.permissions import IsShopOrShopper, IsShopper
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Coupon, Scope
from recommender.reasons import in_words, speaking_for
from recommender.services.exposures import record_exposures
from recommender.services.serving import CampaignUnknown, Offers, ServedCoupon, offers_of_many

SHOPPERS_AT_MOST = 500
#: So many coupons are listed where nobody says how many.
LISTED = 10


class CouponsQuery(serializers.Serializer):
    campaign = IdentifierField(required=False, help_text="Only this campaign's, in its published order.")
    limit = serializers.IntegerField(min_value=1, max_value=100, default=LISTED)


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


@extend_schema_serializer(component_name="GroupTerms")
class GroupTermsOutput(serializers.Serializer):
    size = serializers.IntegerField(min_value=2, help_text="It holds once so many shoppers have joined…")
    hours = serializers.IntegerField(min_value=1, help_text="…within so many hours of the first.")


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
    group = GroupTermsOutput(allow_null=True, help_text="Null for a coupon that holds for each shopper alone.")


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
    personal = serializers.BooleanField(
        help_text="Whether it was computed for this shopper; else it is what is best for all, without reasons."
    )
    coupons = OfferedCouponOutput(many=True)


LIST_DESCRIPTION = (
    "Published coupons that hold at this moment, best first. All live campaigns are merged: what staff put first, then "
    "by score. An offer is listed once. A shopper who opted out has an empty list. A shopper for whom nothing was "
    "computed gets what is best for all, and `personal` is false."
)


class ShopperCouponsView(ApiView):
    permission_classes = [IsShopOrShopper]
    scope = Scope.READ_RECOMMENDATIONS

    @extend_schema(
        operation_id="list_shopper_coupons",
        summary="The coupons that a shopper is offered now",
        description=LIST_DESCRIPTION,
        parameters=[
            OpenApiParameter("shopper_id", str, OpenApiParameter.PATH, description="The shop's identifier."),
            CouponsQuery,
        ],
        responses={200: ShopperCouponsOutput, **problems(400, 404)},
    )
    def get(self, request: Request, shopper_id: str) -> Response:
        return Response(describe_offers(find_offers([shopper_id], request.query_params.dict())[0]))


class OwnCouponsView(ApiView):
    permission_classes = [IsShopper]

    @extend_schema(
        operation_id="list_own_coupons",
        summary="The coupons that the calling shopper is offered now",
        description=LIST_DESCRIPTION,
        parameters=[CouponsQuery],
        responses={200: ShopperCouponsOutput, **problems(400, 404)},
    )
    def get(self, request: Request) -> Response:
        return Response(describe_offers(find_offers([calling_shopper(request)], request.query_params.dict())[0]))


class BatchInput(CouponsQuery):
    shopper_ids = BoundedListField(child=IdentifierField(), min_length=1, max_length=SHOPPERS_AT_MOST)


@extend_schema_serializer(component_name="ShoppersCoupons")
class BatchOutput(serializers.Serializer):
    shoppers = ShopperCouponsOutput(many=True, help_text="In the order that was asked for.")


class RecommendationsView(ApiView):
    scope = Scope.READ_RECOMMENDATIONS

    @extend_schema(
        operation_id="list_coupons_of_shoppers",
        summary="The coupons that many shoppers are offered now",
        description=f"As for one shopper, for at most {SHOPPERS_AT_MOST} at once.",
        request=BatchInput,
        responses={200: BatchOutput, **problems(400, 404, 413)},
    )
    def post(self, request: Request) -> Response:
        posted = BatchInput(data=request.data)
        posted.is_valid(raise_exception=True)
        fields = dict(posted.validated_data)
        offers = find_offers(fields.pop("shopper_ids"), fields)
        return Response({"shoppers": [describe_offers(each) for each in offers]})


def find_offers(shopper_ids: Sequence[str], asked: Mapping[str, Any]) -> list[Offers]:
    """What shoppers are offered now, by what a caller asked, put on record where an experiment decided it.

    Raises:
        ValidationError: what was asked cannot be read.
        NotFound: there is no such campaign.
    """
    campaign_id, limit = None, LISTED
    if asked:  # to make a serializer costs as much as to look the list up
        query = CouponsQuery(data=asked)
        query.is_valid(raise_exception=True)
        campaign_id, limit = query.validated_data.get("campaign"), query.validated_data["limit"]
    now = timezone.now()
    try:
        offers = offers_of_many(shopper_ids=shopper_ids, campaign_id=campaign_id, at=now, limit=limit)
    except CampaignUnknown as error:
        message = _("There is no campaign %(id)s.") % {"id": campaign_id}
        raise NotFound(message, code="unknown_campaign") from error
    record_exposures(exposures=[exposure for each in offers for exposure in each.exposures], at=now)
    return offers


def describe_offers(offers: Offers) -> dict[str, Any]:
    language = get_language()
    return {
        "shopper_id": offers.shopper_id,
        "personal": offers.personal,
        "coupons": [describe_offer(coupon, language) for coupon in offers.coupons],
    }


def describe_offer(served: ServedCoupon, language: str | None = None) -> dict[str, Any]:
    reasons = speaking_for(served.reasons)
    return {
        "rank": served.rank,
        "score": served.score,
        "campaign": {
            "campaign_id": served.campaign_id,
            "name": served.campaign_name,
            "ends_at": served.campaign_ends_at,
        },
        "coupon": {
            "coupon_id": served.coupon_id,
            "offer_id": served.offer_id,
            "title": served.title,
            "code": served.code,
            "discount_type": served.discount_type,
            "discount_value": _digits(served.discount_value),
            "min_spend": _digits(served.min_spend),
            "max_discount": _digits(served.max_discount),
            "starts_at": served.starts_at,
            "ends_at": served.ends_at,
            "group": (None if served.group_size is None else {"size": served.group_size, "hours": served.group_hours}),
        },
        "reasons": [
            {"kind": reason["kind"], "text": text}
            for reason, text in zip(reasons, in_words(reasons, language=language), strict=True)
        ],
    }


def _digits(amount: Decimal | None) -> str | None:
    return None if amount is None else str(amount)  # the renderer would make a float of it
