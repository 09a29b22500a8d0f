"""``/api/v1/groups``: shoppers who want a coupon together."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.authentication import ShopperCaller
from recommender.api.fields import IdentifierField
from recommender.api.once import IDEMPOTENCY_KEY, WriteView
from recommender.api.permissions import IsShopOrShopper
from recommender.api.refusals import as_problem
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import GroupBuy, Scope
from recommender.services.checkout.groups import find_group, join_group, start_group
from recommender.services.checkout.refusals import UnknownThing


@extend_schema_serializer(component_name="GroupMember")
class MemberInput(serializers.Serializer):
    shopper_id = IdentifierField(
        required=False, allow_null=True, help_text="Required with a key of the shop; a shopper's token says it itself."
    )


@extend_schema_serializer(component_name="Group")
class GroupInput(MemberInput):
    coupon_id = IdentifierField()


@extend_schema_serializer(component_name="Group")
class GroupOutput(serializers.Serializer):
    group_id = serializers.UUIDField()
    coupon_id = serializers.CharField()
    state = serializers.ChoiceField(choices=GroupBuy.State.choices)
    size = serializers.IntegerField(help_text="How many must join.")
    joined = serializers.IntegerField()
    opened_at = serializers.DateTimeField()
    closes_at = serializers.DateTimeField(help_text="The first moment at which it is too late.")


class GroupsView(WriteView):
    scope = Scope.CHECKOUT
    permission_classes = [IsShopOrShopper]

    @extend_schema(
        operation_id="start_group",
        summary="Begin a group for a coupon",
        description="Whoever begins it is its first member. The coupon unlocks when enough have joined in time.",
        parameters=[IDEMPOTENCY_KEY],
        request=GroupInput,
        responses={201: GroupOutput, **problems(400, 403, 404, 409, 422)},
    )
    def post(self, request: Request) -> HttpResponse:
        posted = _read(GroupInput, request)

        def work() -> Response:
            group = start_group(**posted, at=timezone.now())
            return Response(_describe(group), status=status.HTTP_201_CREATED)

        return self.once(request, work)


class GroupView(ApiView):
    scope = Scope.CHECKOUT
    permission_classes = [IsShopOrShopper]

    @extend_schema(
        operation_id="read_group",
        summary="A group as it is now",
        description="Who knows a group's id may see how full it is, and not who belongs to it.",
        responses={200: GroupOutput, **problems(403, 404)},
    )
    def get(self, request: Request, group_id: UUID) -> Response:
        try:
            return Response(_describe(find_group(group_id=group_id)))
        except UnknownThing as error:
            raise as_problem(error) from error


class GroupMembersView(WriteView):
    scope = Scope.CHECKOUT
    permission_classes = [IsShopOrShopper]

    @extend_schema(
        operation_id="join_group",
        summary="Join a group",
        description="Keeps a use of the coupon for the shopper. Who belongs to the group already stays in it.",
        parameters=[IDEMPOTENCY_KEY],
        request=MemberInput,
        responses={200: GroupOutput, **problems(400, 403, 404, 409, 422)},
    )
    def post(self, request: Request, group_id: UUID) -> HttpResponse:
        posted = _read(MemberInput, request)

        def work() -> Response:
            return Response(_describe(join_group(**posted, group_id=group_id, at=timezone.now())))

        return self.once(request, work)


def _read(serializer: type[MemberInput], request: Request) -> dict[str, Any]:
    """What is posted, with the shopper: by a shopper's token that very shopper, and no other."""
    posted = serializer(data=request.data)
    posted.is_valid(raise_exception=True)
    data: dict[str, Any] = posted.validated_data
    named = data.get("shopper_id")
    if isinstance(request.user, ShopperCaller):
        if named is not None and named != request.user.shopper_id:
            raise PermissionDenied(IsShopOrShopper.message)
        return {**data, "shopper_id": request.user.shopper_id}
    if named is None:
        raise ValidationError({"shopper_id": [serializers.Field.default_error_messages["required"]]}, code="required")
    return data


def _describe(group: GroupBuy) -> dict[str, Any]:
    return {
        "group_id": str(group.group_id),
        "coupon_id": group.coupon.coupon_id,
        "state": group.state_at(timezone.now()),
        "size": group.size,
        "joined": group.joined,
        "opened_at": group.opened_at,
        "closes_at": group.closes_at,
    }
