"""``/api/v1/groups``: shoppers who want a coupon together."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.authentication import ShopperCaller
from recommender.api.fields import BoundedListField, IdentifierField
from recommender.api.once import IDEMPOTENCY_KEY, WriteView
from recommender.api.permissions import IsShopOrShopper
from recommender.api.refusals import as_problem
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.group_reasons import KINDS, group_reasons_in_words
from recommender.models import GroupBuy, Scope, Shop
from recommender.services.checkout.groups import find_group, invite, join_group, share_link, start_group
from recommender.services.checkout.refusals import CheckoutRefused, UnknownThing
from recommender.services.group_recommendation import recommend_groups, recommend_invitees

INVITED_AT_MOST = 500


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
    share_link = serializers.CharField(
        allow_null=True, help_text="What members share: the shop's page of the group, if the shop told where that is."
    )


@extend_schema_serializer(component_name="GroupReason")
class ReasonOutput(serializers.Serializer):
    kind = serializers.ChoiceField(choices=sorted(KINDS))
    text = serializers.CharField(help_text="In the language of `Accept-Language`.")


class ChanceOutput(serializers.Serializer):
    chance = serializers.FloatField(min_value=0, max_value=1, allow_null=True)
    chance_rests_on = serializers.ChoiceField(
        choices=["full", "model", "base_rate", "unknown"],
        help_text=(
            "`full`: the shopper would take the last place. `model`: learned from past groups. `base_rate`: the "
            "share of past groups of its size that filled, as too few ended to learn more. `unknown`: none ended yet, "
            "and `chance` is null."
        ),
    )


@extend_schema_serializer(component_name="OpenGroup")
class OpenGroupOutput(ChanceOutput):
    rank = serializers.IntegerField(min_value=1)
    chance = serializers.FloatField(
        min_value=0, max_value=1, allow_null=True, help_text="That it fills in time once the shopper joined."
    )
    group = GroupOutput()
    reasons = ReasonOutput(many=True)


@extend_schema_serializer(component_name="OpenGroups")
class OpenGroupsOutput(serializers.Serializer):
    shopper_id = serializers.CharField()
    groups = OpenGroupOutput(many=True)


@extend_schema_serializer(component_name="Invitee")
class InviteeOutput(serializers.Serializer):
    rank = serializers.IntegerField(min_value=1)
    shopper_id = serializers.CharField()
    reasons = ReasonOutput(many=True)


@extend_schema_serializer(component_name="Invitees")
class InviteesOutput(ChanceOutput):
    group_id = serializers.UUIDField()
    chance = serializers.FloatField(
        min_value=0, max_value=1, allow_null=True, help_text="That it fills in time as it is."
    )
    invitees = InviteeOutput(many=True)


class LimitQuery(serializers.Serializer):
    limit = serializers.IntegerField(min_value=1, max_value=50, default=10)


class InvitationsInput(serializers.Serializer):
    shopper_ids = BoundedListField(child=IdentifierField(), min_length=1, max_length=INVITED_AT_MOST)


@extend_schema_serializer(component_name="RefusedInvitation")
class RefusedInvitationOutput(serializers.Serializer):
    shopper_id = serializers.CharField()
    reason = serializers.ChoiceField(choices=["unknown_shopper", "is_a_member", "opted_out"])


@extend_schema_serializer(component_name="Invitations")
class InvitationsOutput(serializers.Serializer):
    invited = serializers.ListField(child=serializers.CharField())
    refused = RefusedInvitationOutput(many=True)


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


class OpenGroupsView(ApiView):
    scope = Scope.READ_RECOMMENDATIONS
    permission_classes = [IsShopOrShopper]

    @extend_schema(
        operation_id="list_open_groups",
        summary="The open groups for a shopper",
        description=(
            "Best first: by how drawn the shopper is to join and how likely the group then fills in time. Groups for "
            "coupons that the shopper may not use, is held out of or waits for in another group are left out."
        ),
        parameters=[
            OpenApiParameter("shopper_id", str, OpenApiParameter.PATH, description="The shop's identifier."),
            LimitQuery,
        ],
        responses={200: OpenGroupsOutput, **problems(400, 403, 404)},
    )
    def get(self, request: Request, shopper_id: str) -> Response:
        limit, now = _read_limit(request), timezone.now()
        try:
            recommended = recommend_groups(shopper_id=shopper_id, at=now, limit=limit)
        except UnknownThing as error:
            raise as_problem(error) from error
        groups = [
            {
                "rank": rank,
                "chance": each.chance.value,
                "chance_rests_on": each.chance.basis,
                "group": _describe(each.group),
                "reasons": _describe_reasons(each.reasons),
            }
            for rank, each in enumerate(recommended, start=1)
        ]
        return Response({"shopper_id": shopper_id, "groups": groups})


class InviteesView(ApiView):
    scope = Scope.READ_RECOMMENDATIONS

    @extend_schema(
        operation_id="list_invitees",
        summary="Whom to invite to a group",
        description=(
            "Likeliest to join first: companions of its members, and who buys such things. Who may not use the coupon, "
            "is held out of it, waits in another group for it or was invited already is left out."
        ),
        parameters=[LimitQuery],
        responses={200: InviteesOutput, **problems(400, 403, 404, 409)},
    )
    def get(self, request: Request, group_id: UUID) -> Response:
        limit, now = _read_limit(request), timezone.now()
        try:
            group, chance, invitees = recommend_invitees(group_id=group_id, at=now, limit=limit)
        except (UnknownThing, CheckoutRefused) as error:
            raise as_problem(error) from error
        return Response(
            {
                "group_id": str(group.group_id),
                "chance": chance.value,
                "chance_rests_on": chance.basis,
                "invitees": [
                    {"rank": rank, "shopper_id": each.shopper_id, "reasons": _describe_reasons(each.reasons)}
                    for rank, each in enumerate(invitees, start=1)
                ],
            }
        )


class InvitationsView(ApiView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="record_invitations",
        summary="Say that the shop invited shoppers to a group",
        description=(
            "The shop tells them; here it is counted, and nobody is recommended for the group twice. Saying it again "
            "changes nothing."
        ),
        request=InvitationsInput,
        responses={200: InvitationsOutput, **problems(400, 403, 404, 409, 413)},
    )
    def post(self, request: Request, group_id: UUID) -> Response:
        posted = InvitationsInput(data=request.data)
        posted.is_valid(raise_exception=True)
        try:
            invited = invite(group_id=group_id, at=timezone.now(), **posted.validated_data)
        except (UnknownThing, CheckoutRefused) as error:
            raise as_problem(error) from error
        refused = [{"shopper_id": shopper_id, "reason": why} for shopper_id, why in invited.refused.items()]
        return Response({"invited": invited.recorded, "refused": refused})


def _read_limit(request: Request) -> int:
    query = LimitQuery(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    return query.validated_data["limit"]


def _describe_reasons(reasons: list[dict[str, Any]]) -> list[dict[str, str]]:
    texts = group_reasons_in_words(reasons)
    return [{"kind": reason["kind"], "text": text} for reason, text in zip(reasons, texts, strict=True)]


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
        "share_link": share_link(group, shop=Shop.current()),
    }
