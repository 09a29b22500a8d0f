"""Orders taken in as they are paid for, each once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, models
from django.utils.translation import gettext as _

from recommender.models import Coupon, Order, OrderLine, Product, Shopper
from recommender.services.patience import patient_transaction

ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class NewLine:
    """A line of an order, in the shop's own identifiers."""

    product_id: str
    quantity: Decimal
    amount: Decimal
    discount: Decimal = Decimal(0)
    coupon_discount: Decimal = Decimal(0)
    coupon_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewOrder:
    """An order, in the shop's own identifiers. ``ordered_at`` is aware."""

    order_id: str
    shopper_id: str
    ordered_at: datetime
    lines: Sequence[NewLine]
    channel: str = ""
    store_id: str = ""


@dataclass
class RecordedOrders:
    """How many orders are new and how many were there before, the same to the last line; ``refused`` holds messages
    by field by position."""

    accepted: int = 0
    duplicates: int = 0
    refused: dict[int, dict[str, list[str]]] = field(default_factory=dict)


def record_orders(*, orders: Mapping[int, NewOrder]) -> RecordedOrders:
    """Keep each order once, all of it or nothing.

    ``orders`` are keyed by their position in what the caller was given. An order that names a product or coupon that
    the shop does not have is refused, and so is one whose identifier another order has; the rest are kept, all in one
    transaction. A shopper who was not known is known from now on: they bought something.

    Raises:
        Busy: others wrote for too long; nothing was kept.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with patient_transaction():
                return _record(orders)
        except IntegrityError:  # somebody brought the same at the same moment: now it is there
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _record(orders: Mapping[int, NewOrder]) -> RecordedOrders:
    recorded = RecordedOrders()
    lines = [line for order in orders.values() for line in order.lines]
    products = _primary_keys(Product, "product_id", (line.product_id for line in lines))
    coupons = _primary_keys(Coupon, "coupon_id", (line.coupon_id for line in lines if line.coupon_id))
    there = _read(order.order_id for order in orders.values())
    new: dict[str, NewOrder] = {}
    for position, order in orders.items():
        same = there.get(order.order_id) or new.get(order.order_id)
        if same is not None:
            if _essence(same) == _essence(order):
                recorded.duplicates += 1
            else:
                recorded.refused[position] = {"order_id": [_("There is another order with this identifier.")]}
        elif errors := _unknown(order, products, coupons):
            recorded.refused[position] = errors
        else:
            new[order.order_id] = order
    _insert(list(new.values()), products, coupons)
    recorded.accepted = len(new)
    return recorded


def _unknown(order: NewOrder, products: Mapping[str, int], coupons: Mapping[str, int]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for number, line in enumerate(order.lines):
        if line.product_id not in products:
            errors[f"lines.{number}.product_id"] = [_no_such(Product, line.product_id)]
        if line.coupon_id and line.coupon_id not in coupons:
            errors[f"lines.{number}.coupon_id"] = [_no_such(Coupon, line.coupon_id)]
    return errors


def _no_such(model: type[models.Model], identifier: str) -> str:
    return _("There is no %(thing)s %(id)s.") % {"thing": model._meta.verbose_name, "id": identifier}


def _read(order_ids: Iterable[str]) -> dict[str, NewOrder]:
    """The orders that are there already, as they would be brought."""
    found = Order.objects.filter(order_id__in=set(order_ids)).select_related("shopper")
    with_lines = found.prefetch_related(
        models.Prefetch("lines", OrderLine.objects.select_related("product", "coupon").order_by("position"))
    )
    return {
        order.order_id: NewOrder(
            order_id=order.order_id,
            shopper_id=order.shopper.shopper_id,
            ordered_at=order.ordered_at,
            channel=order.channel,
            store_id=order.store_id,
            lines=[
                NewLine(
                    product_id=line.product.product_id,
                    quantity=line.quantity,
                    amount=line.amount,
                    discount=line.discount,
                    coupon_discount=line.coupon_discount,
                    coupon_id=line.coupon.coupon_id if line.coupon else None,
                )
                for line in order.lines.all()
            ],
        )
        for order in with_lines
    }


def _essence(order: NewOrder) -> tuple[object, ...]:
    return (order.shopper_id, order.ordered_at, order.channel, order.store_id, list(order.lines))


def _insert(orders: Sequence[NewOrder], products: Mapping[str, int], coupons: Mapping[str, int]) -> None:
    if not orders:
        return
    import polars as pl  # a web process that is brought no orders does without

    from recommender.bulk import insert_frame

    orders = sorted(orders, key=lambda order: order.order_id)  # one order for all: no deadlock
    shopper_ids = sorted({order.shopper_id for order in orders})
    Shopper.objects.bulk_create([Shopper(shopper_id=shopper_id) for shopper_id in shopper_ids], ignore_conflicts=True)
    shoppers = _primary_keys(Shopper, "shopper_id", shopper_ids)
    insert_frame(
        Order,
        pl.DataFrame(
            [
                (order.order_id, shoppers[order.shopper_id], order.ordered_at, order.channel, order.store_id)
                for order in orders
            ],
            schema={
                "order_id": pl.String,
                "shopper_id": pl.Int64,
                "ordered_at": pl.Datetime("us", "UTC"),
                "channel": pl.String,
                "store_id": pl.String,
            },
            orient="row",
        ),
    )
    keys = _primary_keys(Order, "order_id", (order.order_id for order in orders))
    money, quantity = pl.Decimal(14, 3), pl.Decimal(12, 3)
    insert_frame(
        OrderLine,
        pl.DataFrame(
            [
                (
                    keys[order.order_id],
                    position,
                    products[line.product_id],
                    line.quantity,
                    line.amount,
                    line.discount,
                    line.coupon_discount,
                    coupons[line.coupon_id] if line.coupon_id else None,
                )
                for order in orders
                for position, line in enumerate(order.lines)
            ],
            schema={
                "order_id": pl.Int64,
                "position": pl.Int64,
                "product_id": pl.Int64,
                "quantity": quantity,
                "amount": money,
                "discount": money,
                "coupon_discount": money,
                "coupon_id": pl.Int64,
            },
            orient="row",
        ),
    )


def _primary_keys(model: type[models.Model], column: str, identifiers: Iterable[str]) -> dict[str, int]:
    wanted = set(identifiers)
    if not wanted:
        return {}
    return dict(model._default_manager.filter(**{f"{column}__in": wanted}).values_list(column, "pk"))
