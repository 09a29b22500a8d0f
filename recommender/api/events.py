"""``POST /api/v1/events``."""

import math
import re
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.authentication import ShopperCaller
from recommender.api.fields import FiniteFloatField, IdentifierField, PastTimeField
from recommender.api.permissions import IsShopOrShopper
from recommender.api.problems import MessagesField, field_errors
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Event, Scope
from recommender.services.feedback import NewEvent, record_events

EVENTS_AT_MOST = 5_000
KINDS = frozenset(Event.Kind.values)
IDENTIFIERS = ("event_id", "shopper_id", "coupon_id", "product_id", "campaign_id")
PLAIN_IDENTIFIER = re.compile(r"[!-~]{1,64}")
PLAIN_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
ABOUT_COUPONS = {Event.Kind.IMPRESSION, Event.Kind.CLICK, Event.Kind.CLAIM, Event.Kind.DISMISS}


@extend_schema_serializer(component_name="Event")
class EventInput(serializers.Serializer):
    """Something a shopper did. ``impression``, ``click``, ``claim`` and ``dismiss`` need ``coupon_id``; ``view`` and
    ``usage`` need ``product_id``."""

    event_id = IdentifierField(
        required=False,
        allow_null=True,
        help_text="Yours, the same whenever you send this event. Without it, the same content is the same event.",
    )
    shopper_id = IdentifierField(
        required=False, allow_null=True, help_text="Required with a key of the shop; a shopper's token says it itself."
    )
    kind = serializers.ChoiceField(choices=Event.Kind.choices)
    occurred_at = PastTimeField(required=False, allow_null=True, help_text="ISO 8601 with an offset; now by default.")
    coupon_id = IdentifierField(required=False, allow_null=True)
    product_id = IdentifierField(required=False, allow_null=True)
    campaign_id = IdentifierField(required=False, allow_null=True)
    value = FiniteFloatField(required=False, allow_null=True)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None}
        given.setdefault("occurred_at", self.context["now"])
        given.setdefault("shopper_id", self.context["shopper_id"])
        required = {"shopper_id", "coupon_id" if given["kind"] in ABOUT_COUPONS else "product_id"}
        missing = sorted(name for name in required if given.get(name) is None)
        if missing:
            raise ValidationError({name: [self.error_messages["required"]] for name in missing}, code="required")
        return given


@extend_schema_serializer(component_name="RefusedEvent")
class RefusedEventOutput(serializers.Serializer):
    index = serializers.IntegerField(min_value=0, help_text="Its place in the list, from 0.")
    errors = MessagesField()  # type: ignore[assignment]


@extend_schema_serializer(component_name="RecordedEvents")
class RecordedEventsOutput(serializers.Serializer):
    accepted = serializers.IntegerField(min_value=0)
    duplicates = serializers.IntegerField(min_value=0, help_text="Known before, or twice in the list.")
    refused = RefusedEventOutput(many=True)


class EventsView(ApiView):
    scope = Scope.WRITE_EVENTS
    permission_classes = [IsShopOrShopper]

    @extend_schema(
        operation_id="record_events",
        summary="What shoppers did",
        description=(
            f"One event, or a list of at most {EVENTS_AT_MOST:,}. Each is kept once, however often it is sent. In a "
            "list, an event that cannot be kept is refused with its index and the others are kept; sent alone it is "
            "a 400."
        ),
        request=PolymorphicProxySerializer(
            component_name="EventOrList",
            serializers=[EventInput, EventInput(many=True)],
            resource_type_field_name=None,
            many=False,
        ),
        responses={200: RecordedEventsOutput, **problems(400, 403, 413)},
    )
    def post(self, request: Request) -> Response:
        body: Any = request.data
        alone = not isinstance(body, list)
        posted = [body] if alone else body
        if len(posted) > EVENTS_AT_MOST:
            message = _("Expected at most %(most)d events, got %(count)d.")
            raise ValidationError(message % {"most": EVENTS_AT_MOST, "count": len(posted)})
        own_id = request.user.shopper_id if isinstance(request.user, ShopperCaller) else None
        events, refused = _read(posted, own_id)
        if own_id is not None and any(event.shopper_id != own_id for event in events.values()):
            raise PermissionDenied(IsShopOrShopper.message)
        if own_id is not None:
            events = {index: replace(event, by_shopper=True) for index, event in events.items()}
        recorded = record_events(events=events)
        refused |= recorded.refused
        if alone and refused:
            raise ValidationError(refused[0])
        return Response(
            {
                "accepted": recorded.accepted,
                "duplicates": recorded.duplicates,
                "refused": [{"index": index, "errors": refused[index]} for index in sorted(refused)],
            }
        )


def _read(posted: list[Any], own_id: str | None) -> tuple[dict[int, NewEvent], dict[int, dict[str, list[str]]]]:
    """The events that are well formed, and what is wrong with the others, by their place."""
    now = timezone.now()
    reader = EventInput(context={"now": now, "shopper_id": own_id})
    events: dict[int, NewEvent] = {}
    refused: dict[int, dict[str, list[str]]] = {}
    for index, item in enumerate(posted):
        plain = _read_plain(item, own_id, now)
        if plain is not None:
            events[index] = plain
            continue
        try:
            events[index] = NewEvent(**reader.run_validation(item))
        except ValidationError as error:
            refused[index] = field_errors(error)
    return events, refused


def _read_plain(item: Any, own_id: str | None, now: datetime) -> NewEvent | None:
    """An event without anything about it that needs a second look, as nearly all are, read many times as fast as by the
    serializer; None for all others, which the serializer reads, and says what is wrong with them."""
    if type(item) is not dict or type(item.get("kind")) is not str or type(item.get("occurred_at")) is not str:
        return None
    kind, moment, value = item["kind"], item["occurred_at"], item.get("value")
    is_plain_value = value is None or (type(value) is float and math.isfinite(value))
    if kind not in KINDS or not is_plain_value or not PLAIN_TIME.fullmatch(moment):
        return None
    given = {name: item[name] for name in IDENTIFIERS if item.get(name) is not None}
    given.setdefault("shopper_id", own_id)
    if ("coupon_id" if kind in ABOUT_COUPONS else "product_id") not in given:
        return None
    if not all(type(each) is str and PLAIN_IDENTIFIER.fullmatch(each) for each in given.values()):
        return None
    try:
        occurred_at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return None if occurred_at > now else NewEvent(kind=kind, occurred_at=occurred_at, value=value, **given)
