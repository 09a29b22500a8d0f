"""What shoppers do with their own coupons: below ``/api/v1/me/``."""

from datetime import UTC
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.authentication import calling_shopper
from recommender.api.coupons import CampaignOutput, CouponOutput, ReasonOutput, describe_offer
from recommender.api.cursors import CursorField, write_cursor
from recommender.api.permissions import IsShopper
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Event
from recommender.services.own_coupons import (
    Did,
    Entry,
    NotOffered,
    Place,
    claim_coupon,
    dismiss_coupon,
    find_offered,
    read_history,
)

COUPON_ID = OpenApiParameter("coupon_id", str, OpenApiParameter.PATH, description="A coupon of the shopper's list.")
LARGEST_KEY = 2**63 - 1


@extend_schema_serializer(component_name="WhyCoupon")
class WhyOutput(serializers.Serializer):
    personal = serializers.BooleanField(help_text="False: it is among the best for all, and has no reasons.")
    rank = serializers.IntegerField(min_value=1)
    score = serializers.FloatField(min_value=0, max_value=1)
    coupon = CouponOutput()
    campaign = CampaignOutput()
    reasons = ReasonOutput(many=True)


class WhyView(ApiView):
    permission_classes = [IsShopper]

    @extend_schema(
        operation_id="explain_own_coupon",
        summary="Why the calling shopper is offered a coupon",
        description="404 with `not_offered` for a coupon that is not on the shopper's list now.",
        parameters=[COUPON_ID],
        responses={200: WhyOutput, **problems(404)},
    )
    def get(self, request: Request, coupon_id: str) -> Response:
        try:
            coupon, personal = find_offered(shopper_id=calling_shopper(request), coupon_id=coupon_id, at=timezone.now())
        except NotOffered as error:
            raise _not_offered(coupon_id) from error
        return Response({"personal": personal, **describe_offer(coupon)})


@extend_schema_serializer(component_name="OwnEvent")
class OwnEventOutput(serializers.Serializer):
    coupon_id = serializers.CharField()
    campaign_id = serializers.CharField(allow_null=True)
    kind = serializers.ChoiceField(choices=[Event.Kind.CLAIM.value, Event.Kind.DISMISS.value])
    occurred_at = serializers.DateTimeField()


class ClaimView(ApiView):
    permission_classes = [IsShopper]

    @extend_schema(
        operation_id="claim_own_coupon",
        summary="The calling shopper takes a coupon",
        description=(
            "201 the first time, 200 when it was claimed before. 404 with `not_offered` for a coupon that is not on "
            "the shopper's list. No body is read."
        ),
        parameters=[COUPON_ID],
        request=None,
        responses={201: OwnEventOutput, 200: OwnEventOutput, **problems(404)},
    )
    def post(self, request: Request, coupon_id: str) -> Response:
        try:
            event, is_new = claim_coupon(shopper_id=calling_shopper(request), coupon_id=coupon_id, at=timezone.now())
        except NotOffered as error:
            raise _not_offered(coupon_id) from error
        return _recorded(event, is_new)


class DismissView(ApiView):
    permission_classes = [IsShopper]

    @extend_schema(
        operation_id="dismiss_own_coupon",
        summary="The calling shopper does not want a coupon",
        description=(
            "Its offer is left out of the shopper's list for 90 days. 201 the first time, 200 when it was dismissed "
            "before. 404 with `not_offered` for a coupon that is not on the shopper's list. No body is read."
        ),
        parameters=[COUPON_ID],
        request=None,
        responses={201: OwnEventOutput, 200: OwnEventOutput, **problems(404)},
    )
    def post(self, request: Request, coupon_id: str) -> Response:
        try:
            event, is_new = dismiss_coupon(shopper_id=calling_shopper(request), coupon_id=coupon_id, at=timezone.now())
        except NotOffered as error:
            raise _not_offered(coupon_id) from error
        return _recorded(event, is_new)


class HistoryQuery(serializers.Serializer):
    cursor = CursorField(str, int, int, required=False, help_text="`next` of the page before.")
    limit = serializers.IntegerField(min_value=1, max_value=100, default=20)

    def validate_cursor(self, parts: list[Any]) -> Place:
        text, source, key = parts
        try:
            at = parse_datetime(text)
            at = None if at is None or timezone.is_naive(at) else at.astimezone(UTC)
        except (ValueError, OverflowError):
            at = None
        if at is None or source not in (0, 1) or not 0 <= key <= LARGEST_KEY:
            raise ValidationError(CursorField.default_error_messages["unreadable"])
        return Place(at, source, key)


@extend_schema_serializer(component_name="HistoryEntry")
class HistoryEntryOutput(serializers.Serializer):
    did = serializers.ChoiceField(choices=[did.value for did in Did])
    at = serializers.DateTimeField()
    coupon_id = serializers.CharField()
    title = serializers.CharField()
    campaign_id = serializers.CharField(allow_null=True)
    order_id = serializers.CharField(allow_null=True)
    discount_amount = serializers.DecimalField(max_digits=14, decimal_places=3, allow_null=True)


@extend_schema_serializer(component_name="History")
class HistoryOutput(serializers.Serializer):
    entries = HistoryEntryOutput(many=True)
    next = serializers.CharField(allow_null=True, help_text="The cursor of the next page; null on the last.")


class HistoryView(ApiView):
    permission_classes = [IsShopper]

    @extend_schema(
        operation_id="read_own_history",
        summary="What the calling shopper did with coupons",
        description="Used, claimed and dismissed, the latest first.",
        parameters=[HistoryQuery],
        responses={200: HistoryOutput, **problems(400)},
    )
    def get(self, request: Request) -> Response:
        query = HistoryQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        entries, place = read_history(
            shopper_id=calling_shopper(request),
            after=query.validated_data.get("cursor"),
            limit=query.validated_data["limit"],
        )
        return Response(
            {
                "entries": [_describe(entry) for entry in entries],
                "next": None if place is None else write_cursor(place.at.isoformat(), place.source, place.key),
            }
        )


def _not_offered(coupon_id: str) -> NotFound:
    return NotFound(_("You are not offered coupon %(id)s now.") % {"id": coupon_id}, code="not_offered")


def _recorded(event: Event, is_new: bool) -> Response:
    return Response(
        {
            "coupon_id": event.coupon.coupon_id if event.coupon else None,
            "campaign_id": event.campaign.campaign_id if event.campaign else None,
            "kind": event.kind,
            "occurred_at": event.occurred_at,
        },
        status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK,
    )


def _describe(entry: Entry) -> dict[str, Any]:
    return {
        "did": entry.did,
        "at": entry.at,
        "coupon_id": entry.coupon.coupon_id,
        "title": entry.coupon.title,
        "campaign_id": None if entry.campaign is None else entry.campaign.campaign_id,
        "order_id": entry.order_id,
        "discount_amount": None if entry.discount_amount is None else str(entry.discount_amount),
    }
