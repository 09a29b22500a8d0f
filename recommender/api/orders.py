"""``POST /api/v1/orders``."""

from typing import Any

from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.fields import BoundedListField, ExactDecimalField, IdentifierField, PastTimeField, StringField
from recommender.api.problems import MessagesField, field_errors
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Scope
from recommender.services.orders import NewLine, NewOrder, record_orders

ORDERS_AT_MOST = 500
LINES_AT_MOST = 500


class MoneyField(ExactDecimalField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=14, decimal_places=3, **kwargs)


@extend_schema_serializer(component_name="OrderLine")
class LineInput(serializers.Serializer):
    product_id = IdentifierField()
    quantity = ExactDecimalField(max_digits=12, decimal_places=3, min_value=0)
    amount = MoneyField(help_text="Paid for the line, after discounts; below 0 for what came back.")
    discount = MoneyField(default=0, help_text="Taken off the line, coupons apart.")
    coupon_discount = MoneyField(default=0)
    coupon_id = IdentifierField(required=False, allow_null=True)


@extend_schema_serializer(component_name="Order")
class OrderInput(serializers.Serializer):
    order_id = IdentifierField()
    shopper_id = IdentifierField()
    ordered_at = PastTimeField(help_text="ISO 8601 with an offset.")
    channel = StringField(max_length=64, default="", allow_blank=True)
    store_id = StringField(max_length=64, default="", allow_blank=True)
    lines = BoundedListField(child=LineInput(), min_length=1, max_length=LINES_AT_MOST)


@extend_schema_serializer(component_name="RefusedOrder")
class RefusedOrderOutput(serializers.Serializer):
    index = serializers.IntegerField(min_value=0, help_text="Its place in the list, from 0.")
    errors = MessagesField()  # type: ignore[assignment]


@extend_schema_serializer(component_name="RecordedOrders")
class RecordedOrdersOutput(serializers.Serializer):
    accepted = serializers.IntegerField(min_value=0)
    duplicates = serializers.IntegerField(min_value=0, help_text="Known before, or twice in the list; the same.")
    refused = RefusedOrderOutput(many=True)


class OrdersView(ApiView):
    scope = Scope.WRITE_ORDERS

    @extend_schema(
        operation_id="record_orders",
        summary="What shoppers bought",
        description=(
            f"A list of at most {ORDERS_AT_MOST} orders. Each is kept once: the same again is a duplicate, another "
            "with the same `order_id` is refused. An order that cannot be kept is refused with its index and the "
            "others are kept. A shopper who was not known is known from then on."
        ),
        request=OrderInput(many=True),
        responses={200: RecordedOrdersOutput, **problems(400, 413)},
    )
    def post(self, request: Request) -> Response:
        posted: Any = request.data
        if not isinstance(posted, list):
            raise ValidationError(_("Expected a list of orders."))
        if len(posted) > ORDERS_AT_MOST:
            message = _("Expected at most %(most)d orders, got %(count)d.")
            raise ValidationError(message % {"most": ORDERS_AT_MOST, "count": len(posted)})
        orders, refused = _read(posted)
        recorded = record_orders(orders=orders)
        refused |= recorded.refused
        return Response(
            {
                "accepted": recorded.accepted,
                "duplicates": recorded.duplicates,
                "refused": [{"index": index, "errors": refused[index]} for index in sorted(refused)],
            }
        )


def _read(posted: list[Any]) -> tuple[dict[int, NewOrder], dict[int, dict[str, list[str]]]]:
    """The orders that are well formed, and what is wrong with the others, by their place."""
    reader = OrderInput()
    orders: dict[int, NewOrder] = {}
    refused: dict[int, dict[str, list[str]]] = {}
    for index, item in enumerate(posted):
        try:
            fields = reader.run_validation(item)
        except ValidationError as error:
            refused[index] = field_errors(error)
        else:
            lines = [NewLine(**line) for line in fields.pop("lines")]
            orders[index] = NewOrder(**fields, lines=lines)
    return orders, refused
