"""Whatever is sent, the API answers as its description says: no fault of ours, nothing undocumented.

schemathesis makes requests from the description, right ones and wrong ones, and checks the answers against it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.api.shop_rows import BATCH, CONFIRMED, GROUP, HELD

PROVES = bool(os.environ.get("COUPONSITE_PROVE"))
# `make prove` runs them again with more examples.
pytestmark = [pytest.mark.prove] if PROVES else []

SHOPPERS, COUPONS = ["anna", "ben"], ["tea-spring", "milk-spring", "together"]
PRODUCTS, CAMPAIGNS, ORDERS = ["green tea"], ["spring"], ["o1"]
#: What there is, so that many requests come further than to an answer that there is no such thing.
KNOWN: dict[str, list[Any]] = {
    **dict.fromkeys(["path.shopper_id", "body.shopper_id", "body.[*].shopper_id", "body.shopper_ids[*]"], SHOPPERS),
    **dict.fromkeys(["path.coupon_id", "body.coupon_id", "body.coupon_ids[*]", "body.[*].coupon_id"], COUPONS),
    "body.[*].lines[*].coupon_id": COUPONS,
    **dict.fromkeys(["body.basket.lines[*].product_id", "body.[*].lines[*].product_id", "body.product_id"], PRODUCTS),
    **dict.fromkeys(["query.campaign", "body.campaign", "body.campaign_id", "body.[*].campaign_id"], CAMPAIGNS),
    **dict.fromkeys(["body.order_id", "body.[*].order_id"], ORDERS),
    "body.codes[*]": ["TEA20", "tea2o"],
    "body.lines[*].line_id": ["1"],
    "path.reservation_id": [HELD, CONFIRMED],
    "path.group_id": [GROUP],
    "path.segment_id": [1000],
    "path.batch_id": [BATCH],
}
#: What fits the description and is refused all the same, since a description can not say why.
ALSO_REFUSED = {
    "validate_checkout": "at least one coupon or code; each line once; no basket dearer than the tables hold",
    "reserve_coupons": "the same",
    "reverse_reservation": "each line once",
    "record_events": "what an event of a kind needs, and that what it names exists",
    "redeem_coupon": "that what it names exists; a time that is not in the future",
    "start_group": "with a key of the shop, the shopper",
    "join_group": "the same",
    "read_own_history": "a cursor is one of an earlier answer",
    "list_segments": "the same",
}
#: Of a list, what does not fit is refused by its index and the rest is kept.
TAKE_WHAT_FITS = ("record_events", "record_orders")
#: What is right and what is wrong is told by these statuses; 5xx is among neither.
FOR_RIGHT = ["2xx", "304", "401", "403", "404", "409"]
#: Among steps a key comes again, with something else.
KEY_OF_ANOTHER = "idempotency_key_reused"
FOR_WRONG = ["400", "401", "403", "404", "405", "406", "411", "415", "422"]


def describe() -> Any:
    """The API by its own description."""
    dictionaries = {where: where.replace(".", "_").replace("[*]", "s") for where in KNOWN}

    def checks(operation: str) -> dict[str, Any]:
        right = [*FOR_RIGHT, *(["400"] if operation in ALSO_REFUSED else [])]
        wrong = [*FOR_WRONG, *(["200"] if operation in TAKE_WHAT_FITS else [])]
        return {
            "include-operation-id": operation,
            "checks": {
                "positive_data_acceptance": {"expected-statuses": right},
                "negative_data_rejection": {"expected-statuses": wrong},
            },
        }

    description = SchemaGenerator().get_schema(public=True)
    operations = [each["operationId"] for methods in description["paths"].values() for each in methods.values()]
    assert {*ALSO_REFUSED, *TAKE_WHAT_FITS} <= set(operations)
    config = SchemathesisConfig.from_dict(
        {
            "dictionaries": {name: {"values": KNOWN[where]} for where, name in dictionaries.items()},
            "parameters": {where: {"dictionary": name, "probability": 0.7} for where, name in dictionaries.items()},
            "operations": [checks(operation) for operation in operations],
            "generation": {"deterministic": not PROVES, "with-security-parameters": False},
        }
    )
    schema = schemathesis.openapi.from_dict(description, config=config)
    schema.app = get_wsgi_application()
    return schema


schema = describe()


@pytest.fixture
def bearers(tokens: dict[str, str], full_shop: None, settings: Any) -> Iterator[dict[str, str]]:
    """Who calls, of a shop in which something of every kind is there, and as often as they like."""
    settings.KEY_REQUESTS_PER_MINUTE = settings.SHOPPER_REQUESTS_PER_MINUTE = 0
    # As the test client of Django does: the connection, with the test's transaction, outlives a request.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield tokens
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Whatever is done within is undone, so that every attempt finds the same shop."""
    with transaction.atomic():
        try:
            yield
        finally:
            transaction.set_rollback(True)


FEW = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


@schema.parametrize()
@pytest.mark.parametrize("caller", ["shop", "own shopper"])
@(MANY if PROVES else FEW)
def test_every_answer_is_described(case: Case, caller: str, bearers: dict[str, str]) -> None:
    with nothing_kept():
        case.call_and_validate(headers={"Authorization": f"Bearer {bearers[caller]}"})


@pytest.mark.parametrize("caller", ["shop", "own shopper"])
def test_every_answer_is_described_whatever_came_before(caller: str, bearers: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {bearers[caller]}"}

    class Steps(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            self.undone = nothing_kept()
            self.undone.__enter__()

        def teardown(self) -> None:
            self.undone.__exit__(None, None, None)
            super().teardown()

        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"headers": headers}

        def validate_response(self, response: Any, case: Case, additional_checks: Any = None, **kwargs: Any) -> None:
            reused = response.status_code == 422 and response.json()["code"] == KEY_OF_ANOTHER
            case.validate_response(
                response,
                headers=headers,
                transport_kwargs=kwargs,
                additional_checks=additional_checks,
                excluded_checks=[positive_data_acceptance] if reused else None,
                recorder=self.recorder,
            )

    steps = settings(MANY if PROVES else FEW, stateful_step_count=10, derandomize=not PROVES)
    run_state_machine_as_test(Steps, settings=steps)
