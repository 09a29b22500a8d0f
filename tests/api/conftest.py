"""A shop with published coupons, and those who call its API."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.core.cache import cache
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from recommender.api.limits import leases
from recommender.models import (
    CodeBatch,
    Coupon,
    CouponCounter,
    Event,
    GroupBuy,
    GroupInvitation,
    Order,
    OrderLine,
    Product,
    Redemption,
    Reservation,
    Segment,
    Shopper,
    TokenSigner,
)
from recommender.services import access
from recommender.services.access import (
    TOKEN_AUDIENCE,
    create_api_key,
    issue_shopper_token,
    revoke_api_key,
    rotate_api_key,
)
from recommender.services.checkout.baskets import GivenBasket, GivenLine
from recommender.services.checkout.groups import start_group
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.reserving import reserve
from recommender.services.checkout.settling import confirm
from recommender.services.shopper_tokens import create_signer, revoke_signer
from tests.api.shop_rows import BATCH, CONFIRMED, FAR_AHEAD, GROUP, HELD, LONG_AGO, make_campaign, publish

WRITTEN = (
    CodeBatch,
    CouponCounter,
    Event,
    GroupBuy,
    GroupInvitation,
    Order,
    OrderLine,
    Redemption,
    Reservation,
    Shopper,
)
GOLDEN = Path(__file__).parent / "golden"

Call = Callable[..., HttpResponse]


@pytest.fixture
def shop(db: None) -> None:
    """Anna is offered tea and milk in spring; Ben is a shopper too. Windows hold whenever the tests run."""
    anna = Shopper.objects.create(shopper_id="anna")
    Shopper.objects.create(shopper_id="ben")
    tea = Coupon.objects.create(
        coupon_id="tea-spring",
        offer_id="tea",
        title="A fifth off tea",
        code="TEA20",
        discount_type=Coupon.DiscountType.PERCENT,
        discount_value="20",
        min_spend="10",
        max_discount="5.5",
        starts_at=LONG_AGO,
        ends_at=FAR_AHEAD,
    )
    milk = Coupon.objects.create(coupon_id="milk-spring")
    Product.objects.create(product_id="green tea")
    publish(make_campaign("spring", tea, milk, name="Spring"), (anna, tea, 0.5), (anna, milk, 0.25))
    Order.objects.create(order_id="o1", shopper=anna, ordered_at=LONG_AGO)
    Segment.objects.create(pk=1000, name="buyers of the tests").conditions.create(
        kind="orders", comparison="at_least", amount=1
    )


@pytest.fixture
def full_shop(shop: None) -> None:
    """The shop with a coupon for groups and a group for it, a reservation held and one confirmed, and codes to make."""
    now = timezone.now()
    together = Coupon.objects.create(
        coupon_id="together", discount_type="amount", discount_value="1", group_size=2, group_hours=24
    )
    make_campaign("groups", together)
    group = start_group(shopper_id="anna", coupon_id="together", at=now)
    GroupBuy.objects.filter(pk=group.pk).update(group_id=GROUP)
    basket = GivenBasket((GivenLine("1", "green tea", Decimal(2), Decimal(10)),), Decimal(0))
    for reservation_id in (HELD, CONFIRMED):
        reservation, _quote = reserve(shopper_id="anna", basket=basket, asked=[Asked(coupon_id="tea-spring")], at=now)
        Reservation.objects.filter(pk=reservation.pk).update(reservation_id=reservation_id)
    confirm(reservation_id=CONFIRMED, order_id="o1", at=now)
    CodeBatch.objects.create(pk=BATCH, coupon=Coupon.objects.get(coupon_id="milk-spring"), count=1)


def sign(secret: str, **changes: Any) -> str:
    """A token of Anna's that the shop signed."""
    now = timezone.now()
    claims = {"sub": "anna", "aud": TOKEN_AUDIENCE, "iat": now, "exp": now + timedelta(minutes=5), **changes}
    return jwt.encode(claims, secret, algorithm="HS256")


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    cache.clear()
    leases.clear()


@pytest.fixture
def tokens(shop: None) -> dict[str, str | None]:
    """What each kind of caller sends as bearer."""
    revoked, revoked_key = create_api_key(name="old till")
    revoke_api_key(api_key=revoked, at=timezone.now())
    now = timezone.now()
    own = issue_shopper_token(shopper_id="anna", at=now).token
    rotated, former_key = create_api_key(name="rotated till")
    rotate_api_key(api_key=rotated, at=now, grace=timedelta())
    _signer, secret = create_signer(name="web shop", kind=TokenSigner.Kind.SECRET)
    revoked_signer, revoked_secret = create_signer(name="old shop", kind=TokenSigner.Kind.SECRET)
    revoke_signer(signer=revoked_signer, at=now)
    claims = jwt.decode(own, options={"verify_signature": False})
    return {
        "nobody": None,
        "garbage": "garbage",
        "revoked key": revoked_key,
        "former key": former_key,
        "unknown key": "csk_" + "A" * 43,
        "expired token": issue_shopper_token(shopper_id="anna", at=now - timedelta(hours=1)).token,
        "forged token": jwt.encode(claims, "x" * 32, algorithm="HS256"),
        "unsigned token": jwt.encode(claims, None, algorithm="none"),
        "token for elsewhere": jwt.encode({**claims, "aud": "else"}, access._signing_key(), algorithm="HS256"),
        "long-lived token": sign(secret, exp=now + timedelta(days=1)),
        "token of a revoked signer": sign(revoked_secret),
        "other shopper, by the shop": sign(secret, sub="ben"),
        "own shopper, by the shop": sign(secret),
        "other shopper": issue_shopper_token(shopper_id="ben", at=now).token,
        "own shopper": own,
        "shop": create_api_key(name="till")[1],
    }


@pytest.fixture
def call(tokens: dict[str, str | None], client: Client) -> Call:
    """``call(method, path, body, caller="shop", **headers)``"""

    def _call(
        method: str, path: str, body: Any = None, *, caller: str = "shop", headers: dict[str, str] | None = None
    ) -> HttpResponse:
        token = tokens[caller]
        return client.generic(
            method,
            f"/api/v1/{path}",
            json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers={**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})},
        )

    return _call


@pytest.fixture
def golden() -> Callable[..., None]:
    """Compare an answer with the file that holds it, word for word."""

    def _golden(response: HttpResponse, name: str, **replaced: object) -> None:
        answer = {**response.json(), **replaced}
        assert answer == json.loads((GOLDEN / f"{name}.json").read_text()), json.dumps(answer, indent=2)

    return _golden


@pytest.fixture
def written() -> Callable[[], dict[str, list[dict[str, Any]]]]:
    """Everything that the API may have written."""
    return lambda: {model.__name__: list(model.objects.order_by("pk").values()) for model in WRITTEN}
