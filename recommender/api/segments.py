"""``GET /api/v1/segments`` and who belongs to one."""

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.cursors import CursorField, write_cursor
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Scope, Segment, Shopper
from recommender.services.segments import find_shoppers, preview_segment

LARGEST_KEY = 2**63 - 1


class SegmentsQuery(serializers.Serializer):
    cursor = CursorField(int, required=False, help_text="`next` of the page before.")
    limit = serializers.IntegerField(
        min_value=1, max_value=50, default=20, help_text="Each segment is counted anew, which takes time."
    )


@extend_schema_serializer(component_name="Segment")
class SegmentOutput(serializers.Serializer):
    segment_id = serializers.IntegerField()
    name = serializers.CharField()
    description = serializers.CharField()
    shoppers = serializers.IntegerField(min_value=0, help_text="Who belong to it now and may be offered something.")
    opted_out = serializers.IntegerField(min_value=0, help_text="Who belong to it now and opted out.")


@extend_schema_serializer(component_name="Segments")
class SegmentsOutput(serializers.Serializer):
    segments = SegmentOutput(many=True)
    next = serializers.CharField(allow_null=True, help_text="The cursor of the next page; null on the last.")


class SegmentsView(ApiView):
    scope = Scope.READ_SEGMENTS

    @extend_schema(
        operation_id="list_segments",
        summary="Segments, and how many shoppers belong to each now",
        parameters=[SegmentsQuery],
        responses={200: SegmentsOutput, **problems(400)},
    )
    def get(self, request: Request) -> Response:
        query = SegmentsQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit = query.validated_data["limit"]
        after = min(query.validated_data.get("cursor", [0])[0], LARGEST_KEY)
        found = list(Segment.objects.filter(pk__gt=after).order_by("pk").prefetch_related("conditions")[: limit + 1])
        page = found[:limit]
        return Response(
            {
                "segments": [_describe(segment) for segment in page],
                "next": write_cursor(page[-1].pk) if len(found) > limit else None,
            }
        )


@extend_schema_serializer(component_name="Membership")
class MembershipOutput(serializers.Serializer):
    segment_id = serializers.IntegerField()
    shopper_id = serializers.CharField()
    member = serializers.BooleanField()


class MembershipView(ApiView):
    scope = Scope.READ_SEGMENTS

    @extend_schema(
        operation_id="read_membership",
        summary="Whether a shopper belongs to a segment now",
        description="404 with `unknown_segment` or `unknown_shopper`. Whoever opted out may belong to one too.",
        parameters=[
            OpenApiParameter("segment_id", int, OpenApiParameter.PATH),
            OpenApiParameter("shopper_id", str, OpenApiParameter.PATH, description="The shop's identifier."),
        ],
        responses={200: MembershipOutput, **problems(404)},
    )
    def get(self, request: Request, segment_id: int, shopper_id: str) -> Response:
        segment = Segment.objects.filter(pk=min(segment_id, LARGEST_KEY)).first()
        if segment is None:
            raise NotFound(_("There is no segment %(id)s.") % {"id": segment_id}, code="unknown_segment")
        shopper = Shopper.objects.filter(shopper_id=shopper_id).first()
        if shopper is None:
            raise NotFound(_("There is no shopper %(id)s.") % {"id": shopper_id}, code="unknown_shopper")
        member = find_shoppers(segment=segment, at=timezone.now(), among=[shopper.pk]).exists()
        return Response({"segment_id": segment.pk, "shopper_id": shopper_id, "member": member})


def _describe(segment: Segment) -> dict[str, Any]:
    counted = preview_segment(
        conditions=list(segment.conditions.all()), match=segment.match, at=timezone.now(), sample=0
    )
    return {
        "segment_id": segment.pk,
        "name": segment.name,
        "description": segment.description,
        "shoppers": counted.addressable,
        "opted_out": counted.opted_out,
    }
