"""While others hold what a request needs it is answered soon: by 503 and when to come again, with nothing done."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.apps import apps
from django.db import InterfaceError, connection, transaction
from django.http import HttpResponse

from recommender.models import ApiKey, Experiment, ExperimentExposure, Publication, TokenSigner
from recommender.services import patience, shopper_tokens
from recommender.services.shopper_tokens import create_signer
from tests.api.shop_rows import CONFIRMED, GROUP, HELD

Call = Callable[..., HttpResponse]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("full_shop")]

CLICK = {"shopper_id": "anna", "kind": "click", "coupon_id": "tea-spring", "occurred_at": "2026-03-10T12:00:00Z"}
ORDER = {
    "order_id": "o2",
    "shopper_id": "anna",
    "ordered_at": "2026-03-10T12:00:00Z",
    "lines": [{"product_id": "green tea", "quantity": "1", "amount": "10"}],
}
BASKET = {"lines": [{"line_id": "1", "product_id": "green tea", "quantity": "1", "unit_price": "20"}]}
ASKED = {"shopper_id": "anna", "coupon_ids": ["tea-spring"], "basket": BASKET}
WRITES: list[tuple[str, str, Any]] = [
    ("shop", "redemptions", {"shopper_id": "anna", "coupon_id": "tea-spring"}),
    ("shop", "orders", [ORDER]),
    ("shop", "events", CLICK),
    ("shop", "events", [{**CLICK, "event_id": str(number)} for number in range(60)]),
    ("own shopper", "events", CLICK),
    ("own shopper", "me/coupons/tea-spring/claim", None),
    ("own shopper", "me/coupons/tea-spring/dismiss", None),
    ("shop", "checkout/reservations", ASKED),
    ("shop", f"checkout/reservations/{HELD}/confirm", {"order_id": "o3"}),
    ("shop", f"checkout/reservations/{HELD}/release", None),
    ("shop", f"checkout/reservations/{CONFIRMED}/reverse", {}),
    ("shop", "groups", {"shopper_id": "ben", "coupon_id": "together"}),
    ("shop", f"groups/{GROUP}/members", {"shopper_id": "ben"}),
    ("shop", "code-batches", {"coupon_id": "milk-spring", "count": 1}),
]


@contextmanager
def everything_is_written_to() -> Iterator[None]:
    """Another process writes to the database, as a load of history does: readers go on."""
    with transaction.atomic():  # on SQLite that is all
        if connection.vendor == "postgresql":
            tables = ", ".join(model._meta.db_table for model in apps.get_app_config("recommender").get_models())
            with connection.cursor() as cursor:
                cursor.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
        yield


@pytest.fixture
def while_busy(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``while_busy(f, …)``: what ``f`` gives while everything is written to by others."""
    monkeypatch.setattr(patience, "PATIENCE", 0.05)

    def _while_busy(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        def go() -> Any:
            try:
                return work(*arguments, **options)
            finally:
                connection.close()

        with ThreadPoolExecutor(1) as pool, everything_is_written_to():
            return pool.submit(go).result(timeout=20)

    return _while_busy


@pytest.mark.parametrize(("caller", "path", "body"), WRITES, ids=lambda each: str(each)[:40])
def test_a_write(
    caller: str, path: str, body: Any, call: Call, while_busy: Call, written: Callable[[], Any], golden: Call
) -> None:
    before = written()
    headers = {"Idempotency-Key": str(uuid4())}
    answer = while_busy(call, "POST", path, body, caller=caller, headers=headers)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    golden(answer, "busy")
    assert written() == before
    again = call("POST", path, body, caller=caller, headers=headers)
    assert again.status_code in (200, 201, 202), again.content


@pytest.mark.parametrize(
    ("caller", "method", "path", "body"),
    [
        ("shop", "GET", "shoppers/anna/coupons", None),
        ("shop", "GET", f"checkout/reservations/{HELD}", None),
        ("shop", "POST", "checkout/validate", ASKED),
        ("shop", "POST", "shopper-tokens", {"shopper_id": "anna"}),
        ("own shopper", "GET", "me/coupons", None),
        ("own shopper, by the shop", "GET", "me/history", None),
    ],
)
def test_a_read_waits_for_nobody(caller: str, method: str, path: str, body: Any, call: Call, while_busy: Call) -> None:
    """Nor does the note of when a key was used, which is left out then."""
    assert while_busy(call, method, path, body, caller=caller).status_code in (200, 201)
    assert ApiKey.objects.get(name="till").last_used_at is None


def test_a_list_does_not_wait_for_the_record_that_an_experiment_wants(call: Call, while_busy: Call) -> None:
    live = Publication.objects.live().filter(run__recommendations__shopper__shopper_id="anna").earliest("pk")
    experiment = Experiment.objects.create(campaign=live.campaign, name="which")
    arm = experiment.arms.create(name="all", run=live.run)
    split = {"experiment": experiment.pk, "salt": "salt", "arms": [{"arm": arm.pk, "run": live.run_id, "until": 1000}]}
    Experiment.objects.update(state=Experiment.State.RUNNING, split=split, started_at=live.published_at)
    answer = while_busy(call, "GET", "shoppers/anna/coupons", None, caller="shop")
    assert answer.status_code == 200
    assert answer.json()["coupons"]
    assert not ExperimentExposure.objects.exists()
    assert call("GET", "shoppers/anna/coupons", None, caller="shop").json() == answer.json()
    assert [row.arm for row in ExperimentExposure.objects.all()] == [arm]


def test_a_database_that_is_away(
    call: Call, written: Callable[[], Any], golden: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tests/faults has it, where it really is away."""

    def fail(*arguments: object, **options: object) -> None:
        raise InterfaceError("connection already closed")

    before = written()
    monkeypatch.setattr("recommender.api.coupons.ShopperCouponsView.get", fail)
    answer = call("GET", "shoppers/anna/coupons", None, caller="shop")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    golden(answer, "unavailable")
    assert written() == before


def test_nobody_asks_for_the_keys_of_a_signer_without_taking_its_turn(
    call: Call, tokens: dict[str, str], while_busy: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shopper_tokens, "request", lambda **_asked: pytest.fail("it was asked for"))
    create_signer(name="at an address", kind=TokenSigner.Kind.KEY_SET_ADDRESS, key_set_address="https://shop.example/")
    key = ec.generate_private_key(ec.SECP256R1())
    tokens["by a key that is to be fetched"] = jwt.encode({"sub": "anna"}, key, algorithm="ES256")
    assert while_busy(call, "GET", "me/coupons", caller="by a key that is to be fetched").status_code == 401
