"""``/api/v1/checkout``: what a basket gets, and how it is held, confirmed, released and reversed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema, extend_schema_serializer
from rest_framework import serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from recommender.api.authentication import ShopCaller
from recommender.api.fields import BoundedListField, ExactDecimalField, IdentifierField, StringField
from recommender.api.limits import guesses_refused
from recommender.api.once import IDEMPOTENCY_KEY, WriteView
from recommender.api.refusals import as_problem, describe_refused
from recommender.api.schema import problems
from recommender.api.views import ApiView
from recommender.models import Reservation, Scope, Shop
from recommender.rules.basket import MOST_LINES
from recommender.rules.numbers import WHOLE_DIGITS
from recommender.rules.pricing import MOST_COUPONS
from recommender.services.checkout.baskets import GivenBasket, GivenLine
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.refusals import CheckoutRefused, RefusedCoupon, UnknownThing
from recommender.services.checkout.reserving import LIFETIME, LIFETIME_AT_MOST, Quote, reserve, validate
from recommender.services.checkout.settling import ReturnedLine, confirm, find_reservation, release, reverse
from recommender.services.guessing import Guesser, TooManyGuesses, begin_guess, guessed_right, guessed_wrong

CODE_LENGTH = 100


class AmountField(ExactDecimalField):
    """An amount of money or of pieces from 0 up, with at most three decimals."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_digits": 14, "decimal_places": 3, "min_value": Decimal(0), **kwargs})


@extend_schema_serializer(component_name="BasketLine")
class LineInput(serializers.Serializer):
    line_id = IdentifierField(help_text="Yours, once in the basket.")
    product_id = IdentifierField(help_text="One that is not loaded yet has no category or brand.")
    quantity = AmountField(max_digits=12, min_value=Decimal("0.001"))
    unit_price = AmountField(help_text="Of one, after the shop's own discounts and before coupons.")


@extend_schema_serializer(component_name="Basket")
class BasketInput(serializers.Serializer):
    lines = BoundedListField(child=LineInput(), min_length=1, max_length=MOST_LINES)
    shipping = AmountField(default=Decimal(0), help_text="What sending it costs.")

    def validate_lines(self, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if len({line["line_id"] for line in lines}) < len(lines):
            raise ValidationError(_("Expected each line_id once."))
        return lines

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        whole = attrs["shipping"] + sum(line["quantity"] * line["unit_price"] for line in attrs["lines"])
        if whole >= 10**WHOLE_DIGITS:
            raise ValidationError(
                _("Expected at most %(digits)d digits before the decimal point of what all of it costs.")
                % {"digits": WHOLE_DIGITS}
            )
        return attrs


@extend_schema_serializer(component_name="CheckoutRequest")
class CheckoutInput(serializers.Serializer):
    """Coupons are asked for by their ids, by codes, or both: at least one, at most eight."""

    shopper_id = IdentifierField()
    basket = BasketInput()
    coupon_ids = BoundedListField(child=IdentifierField(), default=list, max_length=MOST_COUPONS)
    codes = BoundedListField(
        child=StringField(max_length=CODE_LENGTH),
        default=list,
        max_length=MOST_COUPONS,
        help_text="As they were typed: case, dashes and look-alikes do not matter.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not 1 <= len(attrs["coupon_ids"]) + len(attrs["codes"]) <= MOST_COUPONS:
            raise ValidationError(_("Expected 1 to %(most)d coupons or codes.") % {"most": MOST_COUPONS})
        return attrs


@extend_schema_serializer(component_name="ReservationRequest")
class ReservationInput(CheckoutInput):
    lifetime = serializers.IntegerField(
        min_value=1,
        max_value=int(LIFETIME_AT_MOST.total_seconds()),
        default=int(LIFETIME.total_seconds()),
        help_text="Seconds until it ends by itself.",
    )


@extend_schema_serializer(component_name="Confirmation")
class ConfirmInput(serializers.Serializer):
    order_id = IdentifierField(help_text="Yours. An order that is loaded already must be the shopper's.")


@extend_schema_serializer(component_name="ReturnedLine")
class ReturnedLineInput(serializers.Serializer):
    line_id = IdentifierField()
    quantity = AmountField(
        max_digits=12,
        min_value=Decimal("0.001"),
        required=False,
        allow_null=True,
        help_text="How much of it came back; by default all that is left.",
    )


@extend_schema_serializer(component_name="Reversal")
class ReverseInput(serializers.Serializer):
    lines = BoundedListField(
        child=ReturnedLineInput(),
        required=False,
        allow_null=True,
        min_length=1,
        max_length=MOST_LINES,
        help_text="What came back; by default the whole order.",
    )

    def validate_lines(self, lines: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
        if lines is not None and len({line["line_id"] for line in lines}) < len(lines):
            raise ValidationError(_("Expected each line_id once."))
        return lines


# The classes below only describe the answers, which are made of plain dictionaries.


class MoneyOutput(serializers.DecimalField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=14, decimal_places=3, **kwargs)


@extend_schema_serializer(component_name="LineDiscount")
class LineDiscountOutput(serializers.Serializer):
    line_id = serializers.CharField()
    discount = MoneyOutput()


@extend_schema_serializer(component_name="GivenCoupon")
class GivenCouponOutput(serializers.Serializer):
    coupon_id = serializers.CharField()
    campaign_id = serializers.CharField(allow_null=True, help_text="Whose budget pays for it.")
    discount = MoneyOutput(help_text="Of all lines and the shipping.")
    lines = LineDiscountOutput(many=True)
    shipping_discount = MoneyOutput()


@extend_schema_serializer(component_name="RefusedCoupon")
class RefusedCouponOutput(serializers.Serializer):
    asked = serializers.CharField(help_text="The coupon id or the code, as it was asked for.")
    code = serializers.CharField(help_text="For machines; later versions may know more codes.")
    text = serializers.CharField(help_text="In the request's language.")


@extend_schema_serializer(component_name="Quote")
class QuoteOutput(serializers.Serializer):
    shopper_id = serializers.CharField()
    currency = serializers.CharField()
    discount = MoneyOutput(help_text="Of all coupons.")
    coupons = GivenCouponOutput(many=True)
    refused = RefusedCouponOutput(many=True)


@extend_schema_serializer(component_name="HeldCoupon")
class HeldCouponOutput(GivenCouponOutput):
    remaining = MoneyOutput(help_text="What it still takes off: less than the discount when something came back.")
    redemption_id = serializers.IntegerField(allow_null=True)


@extend_schema_serializer(component_name="Reservation")
class ReservationOutput(serializers.Serializer):
    reservation_id = serializers.UUIDField()
    state = serializers.ChoiceField(choices=Reservation.State.choices)
    shopper_id = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(help_text="The first moment at which others may take what it holds.")
    order_id = serializers.CharField(allow_null=True)
    confirmed_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    currency = serializers.CharField()
    discount = MoneyOutput(help_text="Of all coupons, as it was reserved.")
    coupons = HeldCouponOutput(many=True)


@extend_schema_serializer(component_name="NewReservation")
class NewReservationOutput(ReservationOutput):
    refused = RefusedCouponOutput(many=True)


class ValidateView(ApiView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="validate_checkout",
        summary="What a basket would get",
        description=(
            "Nothing is counted and nothing held. Of the coupons that are asked for those are given that together take "
            "off the most; each of the others is refused with the reason."
        ),
        request=CheckoutInput,
        responses={200: QuoteOutput, **problems(400, 403, 404)},
    )
    def post(self, request: Request) -> Response:
        posted = _read(CheckoutInput, request)
        try:
            with _guess(request, posted) as refused:
                quote = validate(**_asked(posted), at=timezone.now())
                refused.extend(quote.refused)
        except UnknownThing as error:
            raise as_problem(error) from error
        except TooManyGuesses as error:
            raise guesses_refused(error) from error
        return Response(_describe_quote(quote))


class ReservationsView(WriteView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="reserve_coupons",
        summary="Hold what a basket gets",
        description=(
            "Holds a use and the budget of each coupon that applies, until the reservation is confirmed or released or "
            "ends by itself. Refused with 409 when none applies: the problem's code is the reason where one coupon was "
            "asked for, else `no_coupon_applies` with the reasons among the errors."
        ),
        parameters=[IDEMPOTENCY_KEY],
        request=ReservationInput,
        responses={201: NewReservationOutput, **problems(400, 403, 404, 409, 422)},
    )
    def post(self, request: Request) -> HttpResponse:
        posted = _read(ReservationInput, request)

        def work() -> Response:
            lifetime = timedelta(seconds=posted["lifetime"])
            with _guess(request, posted) as refused:
                try:
                    reservation, quote = reserve(**_asked(posted), lifetime=lifetime, at=timezone.now())
                except CheckoutRefused as refusal:
                    refused.extend(refusal.coupons)
                    raise
                refused.extend(quote.refused)
            answer = _describe(reservation)
            answer["refused"] = [describe_refused(each) for each in quote.refused]
            return Response(answer, status=status.HTTP_201_CREATED)

        try:
            return self.once(request, work)
        except TooManyGuesses as error:  # it is no answer to keep: the same request may be sent again later
            raise guesses_refused(error) from error


class ReservationView(ApiView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="read_reservation",
        summary="A reservation as it is now",
        responses={200: ReservationOutput, **problems(403, 404)},
    )
    def get(self, request: Request, reservation_id: UUID) -> Response:
        try:
            reservation = find_reservation(reservation_id=reservation_id)
        except UnknownThing as error:
            raise as_problem(error) from error
        return Response(_describe(reservation))


class ConfirmView(WriteView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="confirm_reservation",
        summary="The basket became an order",
        description=(
            "Makes a redemption of each coupon. A reservation that ended is confirmed too while nobody took what it "
            "held; else it takes the same anew if limits and budgets allow it, within 24 hours, or is refused with 409."
        ),
        parameters=[IDEMPOTENCY_KEY],
        request=ConfirmInput,
        responses={200: ReservationOutput, **problems(400, 403, 404, 409, 422)},
    )
    def post(self, request: Request, reservation_id: UUID) -> HttpResponse:
        posted = _read(ConfirmInput, request)

        def work() -> Response:
            confirmed = confirm(reservation_id=reservation_id, order_id=posted["order_id"], at=timezone.now())
            return Response(_describe(confirmed))

        return self.once(request, work)


class ReleaseView(WriteView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="release_reservation",
        summary="The basket became nothing",
        description="Gives back what the reservation holds. One that ended by itself stays expired. No body is read.",
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={200: ReservationOutput, **problems(400, 403, 404, 409, 422)},
    )
    def post(self, request: Request, reservation_id: UUID) -> HttpResponse:
        def work() -> Response:
            return Response(_describe(release(reservation_id=reservation_id, at=timezone.now())))

        return self.once(request, work)


class ReverseView(WriteView):
    scope = Scope.CHECKOUT

    @extend_schema(
        operation_id="reverse_reservation",
        summary="The order came back, whole or in part",
        description=(
            "Gives back to the budgets the discount of what came back, and the use when nothing of a coupon's discount "
            "is left. Send each return once, with a key of its own."
        ),
        parameters=[IDEMPOTENCY_KEY],
        request=ReverseInput,
        responses={200: ReservationOutput, **problems(400, 403, 404, 409, 422)},
    )
    def post(self, request: Request, reservation_id: UUID) -> HttpResponse:
        posted = _read(ReverseInput, request).get("lines")
        lines = None if posted is None else [ReturnedLine(**line) for line in posted]

        def work() -> Response:
            return Response(_describe(reverse(reservation_id=reservation_id, lines=lines, at=timezone.now())))

        return self.once(request, work)


def _read(serializer: type[serializers.Serializer], request: Request) -> dict[str, Any]:
    data: dict[str, Any] = _reader(serializer).run_validation(request.data)
    return data


@cache
def _reader(serializer: type[serializers.Serializer]) -> serializers.Serializer:
    """One for all requests: it keeps nothing of what it reads, and to make one costs more than to read."""
    return serializer()


def _asked(posted: dict[str, Any]) -> dict[str, Any]:
    basket = posted["basket"]
    return {
        "shopper_id": posted["shopper_id"],
        "basket": GivenBasket(tuple(GivenLine(**line) for line in basket["lines"]), basket["shipping"]),
        "asked": [
            *(Asked(coupon_id=coupon_id) for coupon_id in posted["coupon_ids"]),
            *(Asked(code=code) for code in posted["codes"]),
        ],
    }


@contextmanager
def _guess(request: Request, posted: dict[str, Any]) -> Iterator[list[RefusedCoupon]]:
    """Slow down whoever tries codes that are none, and nobody else. What is refused within is to be put into the list.

    Where it comes to no answer about the codes, as when others hold what is needed, nothing is counted.

    Raises:
        TooManyGuesses: no code may be tried now.
    """
    refused: list[RefusedCoupon] = []
    if not posted["codes"]:
        yield refused
        return
    assert isinstance(request.user, ShopCaller), "its permission lets nobody else by"
    # A till asks for its shoppers: its network address says nothing of them.
    guesser = Guesser(api_key=request.user.api_key.pk, shopper_id=posted["shopper_id"])
    begin_guess(guesser=guesser)
    try:
        yield refused
    finally:
        wrong = sum(each.code == "unknown_code" for each in refused)
        if wrong:
            guessed_wrong(guesser=guesser, further=wrong - 1)
        else:
            guessed_right(guesser=guesser)


def _describe_quote(quote: Quote) -> dict[str, Any]:
    return {
        "shopper_id": quote.shopper.shopper_id,
        "currency": quote.currency,
        "discount": _money(quote.discount),
        "coupons": [
            {
                "coupon_id": given.applied.coupon_id,
                "campaign_id": given.candidate.campaign.campaign_id if given.candidate.campaign else None,
                "discount": _money(given.applied.discount),
                "lines": [
                    {"line_id": line_id, "discount": _money(amount)}
                    for line_id, amount in given.applied.by_line.items()
                ],
                "shipping_discount": _money(given.applied.shipping_discount),
            }
            for given in quote.given
        ],
        "refused": [describe_refused(each) for each in quote.refused],
    }


def _describe(reservation: Reservation) -> dict[str, Any]:
    items = reservation.coupons.select_related("coupon", "campaign").order_by("position")
    coupons = [
        {
            "coupon_id": item.coupon.coupon_id,
            "campaign_id": item.campaign.campaign_id if item.campaign is not None else None,
            "discount": _money(item.amount),
            "lines": [{**line, "discount": _money(line["discount"])} for line in item.lines],
            "shipping_discount": _money(item.shipping_amount),
            "remaining": _money(item.held_amount),
            "redemption_id": item.redemption_id,
        }
        for item in items
    ]
    return {
        "reservation_id": str(reservation.reservation_id),
        "state": reservation.state_at(timezone.now()),
        "shopper_id": reservation.shopper.shopper_id,
        "created_at": reservation.created_at,
        "expires_at": reservation.expires_at,
        "order_id": reservation.order_id or None,
        "confirmed_at": reservation.confirmed_at,
        "ended_at": reservation.ended_at,
        "currency": Shop.current().currency,
        "discount": _money(sum((item.amount for item in items), Decimal(0))),
        "coupons": coupons,
    }


def _money(amount: Decimal | str) -> str:
    """As the other amounts of the API: a string, so that no digit is lost, with three decimals."""
    return f"{Decimal(amount):.3f}"
