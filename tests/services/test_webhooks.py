"""What the shop's systems are told: in the same transaction, signed, at least once, and given up some time."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from recommender.models import (
    BudgetNotice,
    Campaign,
    Coupon,
    Order,
    Redemption,
    Run,
    Shopper,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from recommender.services import webhooks
from recommender.services.checkout.baskets import GivenBasket, GivenLine
from recommender.services.checkout.offers import Asked
from recommender.services.checkout.refusals import CheckoutRefused
from recommender.services.checkout.reserving import reserve
from recommender.services.checkout.settling import confirm
from recommender.services.outbound import AddressRefused
from recommender.services.publishing import rollback
from recommender.services.redemption import RedemptionRefused, redeem_coupon
from recommender.services.webhooks import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MOST_ATTEMPTS,
    announce,
    create_endpoint,
    deliver_due,
    forget_old_deliveries,
    redeliver,
    replace_secret,
    wait_after,
)
from tests.api.shop_rows import LONG_AGO, make_campaign, publish

pytestmark = pytest.mark.django_db

State = WebhookDelivery.State


class Receiver:
    """A system of the shop's that answers as it is told to and keeps what it is sent."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.seconds = 0.0
        self.messages: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.messages.append((dict(self.headers), body))
                time.sleep(receiver.seconds)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _headers, body in self.messages]


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    settings.OUTBOUND_PRIVATE_HOSTS = ["127.0.0.1"]
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


def listen(url: str, *events: WebhookEvent) -> tuple[WebhookEndpoint, str]:
    return create_endpoint(name="warehouse", url=url, events=[event.value for event in events or WebhookEvent])


def tell(number: int = 0) -> None:
    announce(event=WebhookEvent.REDEEMED, data={"number": number}, at=timezone.now())


def bring_forward() -> None:
    WebhookDelivery.objects.filter(state=State.WAITING).update(next_attempt_at=timezone.now())


def test_a_message_is_signed_as_standard_webhooks_are(receiver: Receiver) -> None:
    endpoint, secret = listen(receiver.url)
    assert secret.startswith("whsec_")
    assert secret not in str(WebhookEndpoint.objects.values().get())
    tell(7)
    assert deliver_due() == 1
    ((headers, body),) = receiver.messages
    headers = {name.lower(): value for name, value in headers.items()}
    delivery = WebhookDelivery.objects.get()
    assert headers["webhook-id"] == str(delivery.message_id)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 10
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert headers["content-type"] == "application/json"
    told = json.loads(body)
    assert (told["type"], told["data"]) == ("coupon.redeemed", {"number": 7})
    assert datetime.fromisoformat(told["timestamp"]) == delivery.happened_at.replace(
        microsecond=delivery.happened_at.microsecond // 1000 * 1000
    )
    assert (delivery.state, delivery.attempts, delivery.log[0]["status"]) == (State.DELIVERED, 1, 204)
    assert deliver_due() == 0
    assert len(receiver.messages) == 1
    newer = replace_secret(endpoint=endpoint)
    assert newer != secret


def test_the_known_answer_of_standard_webhooks() -> None:
    """The example of the specification."""
    signature = webhooks.sign(
        secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        body=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_only_those_who_want_to_know_are_told() -> None:
    listen("https://a.example/", WebhookEvent.PUBLISHED)
    wants, _secret = listen("https://b.example/", WebhookEvent.REDEEMED, WebhookEvent.PUBLISHED)
    silent, _secret = listen("https://c.example/", WebhookEvent.REDEEMED)
    WebhookEndpoint.objects.filter(pk=silent.pk).update(active=False)
    tell()
    assert WebhookDelivery.objects.get().endpoint == wants


def test_what_was_undone_is_not_told(receiver: Receiver) -> None:
    listen(receiver.url)
    with pytest.raises(RuntimeError), transaction.atomic():
        tell()
        raise RuntimeError
    assert not WebhookDelivery.objects.exists()


@pytest.mark.parametrize("status", [301, 400, 404, 410, 429, 500])
def test_any_other_answer_is_tried_again(status: int, receiver: Receiver) -> None:
    listen(receiver.url)
    receiver.statuses = [status]
    tell()
    before = timezone.now()
    assert deliver_due() == 0
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts, delivery.log[-1]["status"]) == (State.WAITING, 1, status)
    assert FIRST_WAIT / 2 <= delivery.next_attempt_at - before <= FIRST_WAIT + timedelta(seconds=10)
    assert deliver_due() == 0, "not yet"
    assert len(receiver.messages) == 1
    bring_forward()
    assert deliver_due() == 1
    first, second = ({name.lower(): value for name, value in headers.items()} for headers, _body in receiver.messages)
    assert first["webhook-id"] == second["webhook-id"]
    assert receiver.messages[0][1] == receiver.messages[1][1]


def test_the_wait_doubles_with_chance_in_it() -> None:
    whole = [wait_after(attempts=attempts, chance=1).total_seconds() for attempts in range(1, MOST_ATTEMPTS)]
    assert whole[:4] == [15, 30, 60, 120]
    assert whole[-1] == LONGEST_WAIT.total_seconds()
    assert 1.5 < 0.75 * sum(whole) / 86400 < 2.5, "some two days in all"
    assert wait_after(attempts=1, chance=0).total_seconds() == 7.5


def test_a_message_is_given_up_with_a_warning_and_can_be_sent_again(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    listen(receiver.url)
    receiver.statuses = [500] * MOST_ATTEMPTS
    tell()
    for _time in range(MOST_ATTEMPTS + 3):
        deliver_due()
        bring_forward()
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts, len(receiver.messages)) == (State.FAILED, MOST_ATTEMPTS, MOST_ATTEMPTS)
    assert delivery.finished_at is not None
    assert "was given up" in caplog.text
    redeliver(delivery=delivery, at=timezone.now())
    with pytest.raises(ValueError, match="waiting to be sent already"):
        redeliver(delivery=delivery, at=timezone.now())
    assert deliver_due() == 1
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, len(delivery.log)) == (State.DELIVERED, 1, MOST_ATTEMPTS)


def test_who_answers_too_late_is_tried_again(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "ANSWER_SECONDS", 0.2)
    listen(receiver.url)
    receiver.seconds = 1.0
    tell()
    assert deliver_due() == 0
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.log[-1]["status"]) == (State.WAITING, None)


def test_a_silent_endpoint_does_not_hold_others_up(receiver: Receiver) -> None:
    silent, _secret = listen("http://127.0.0.1:1/")
    listen(receiver.url)
    for number in range(5):
        tell(number)
    assert deliver_due() == 5
    assert sorted(told["data"]["number"] for told in receiver.told()) == [0, 1, 2, 3, 4]
    assert sum(WebhookDelivery.objects.filter(endpoint=silent).values_list("attempts", flat=True)) == 1


def test_a_sender_that_died_is_followed_by_another(receiver: Receiver) -> None:
    listen(receiver.url)
    tell()
    taken = webhooks._take(set())
    assert taken is not None
    assert deliver_due() == 0, "it is somebody's"
    WebhookDelivery.objects.update(next_attempt_at=timezone.now())  # the lease is over
    assert deliver_due() == 1
    # Whoever was thought dead writes nothing any more.
    webhooks._deliver(taken)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts, len(delivery.log)) == (State.DELIVERED, 2, 1)
    assert len(receiver.messages) == 2, "at least once"


def test_an_endpoint_that_was_stopped_waits_and_goes_on(receiver: Receiver) -> None:
    listen(receiver.url)
    tell()
    WebhookEndpoint.objects.update(active=False)
    assert deliver_due() == 0
    WebhookEndpoint.objects.update(active=True)
    assert deliver_due() == 1


def test_an_address_that_became_private_is_not_spoken_to(receiver: Receiver, settings: Any) -> None:
    listen(receiver.url)
    tell()
    settings.OUTBOUND_PRIVATE_HOSTS = []
    assert deliver_due() == 0
    assert receiver.messages == []
    assert "https" in WebhookDelivery.objects.get().log[-1]["error"]


@pytest.mark.parametrize("url", ["http://shop.example/", "https://127.0.0.1/", "https://169.254.169.254/"])
def test_an_endpoint_at_a_private_address_is_not_made(url: str) -> None:
    with pytest.raises(AddressRefused):
        listen(url)
    assert not WebhookEndpoint.objects.exists()


def test_old_ones_are_forgotten(receiver: Receiver) -> None:
    listen(receiver.url)
    tell()
    tell()
    first = WebhookDelivery.objects.earliest("pk")
    WebhookDelivery.objects.filter(pk=first.pk).update(state=State.DELIVERED, finished_at=timezone.now())
    forget_old_deliveries(now=timezone.now() + timedelta(days=29))
    assert WebhookDelivery.objects.count() == 2
    forget_old_deliveries(now=timezone.now() + timedelta(days=31))
    assert WebhookDelivery.objects.get().state == State.WAITING


# What happens in the shop


@pytest.fixture
def spring() -> Campaign:
    tea = Coupon.objects.create(coupon_id="tea", per_shopper_limit=4, budget=10)
    anna = Shopper.objects.create(shopper_id="anna")
    campaign = make_campaign("spring", tea, budget=1000)
    publish(campaign, (anna, tea, 0.5))
    listen("https://shop.example/")
    return campaign


def told() -> list[tuple[str, dict[str, Any]]]:
    return list(WebhookDelivery.objects.order_by("pk").values_list("event", "data"))


def redeem(number: int, amount: int) -> Redemption:
    moment = LONG_AGO + timedelta(days=3000, minutes=number)
    return redeem_coupon(
        shopper_id="anna", coupon_id="tea", redeemed_at=moment, at=moment, discount_amount=Decimal(amount)
    )[0]


def test_a_use_is_told_once_and_a_refused_one_never(spring: Campaign) -> None:
    redemption = redeem(1, 1)
    redeem(1, 1)
    assert told() == [
        (
            "coupon.redeemed",
            {
                "redemption_id": redemption.pk,
                "shopper_id": "anna",
                "coupon_id": "tea",
                "campaign_id": "spring",
                "order_id": None,
                "redeemed_at": "2028-03-19T00:01:00Z",
                "discount_amount": "1.000",
            },
        )
    ]
    Coupon.objects.update(per_shopper_limit=1)
    with pytest.raises(RedemptionRefused):
        redeem(2, 1)
    assert len(told()) == 1


def test_a_budget_that_is_nearly_spent_is_told_once_until_it_is_raised(spring: Campaign) -> None:
    for number, amount in enumerate((5, 2, 1, 1)):
        redeem(number, amount)
    nearly = [data for event, data in told() if event == "budget.nearly_spent"]
    assert nearly == [{"coupon_id": "tea", "budget": "10.000", "spent": "8.000"}]
    Coupon.objects.update(budget=11, per_shopper_limit=9)
    redeem(9, 1)
    nearly = [data for event, data in told() if event == "budget.nearly_spent"]
    assert nearly[1:] == [{"coupon_id": "tea", "budget": "11.000", "spent": "10.000"}]
    assert set(BudgetNotice.objects.values_list("key", flat=True)) == {
        f"coupon:{Coupon.objects.get().pk}:10",
        f"coupon:{Coupon.objects.get().pk}:11",
    }


def test_a_campaigns_budget_too(spring: Campaign) -> None:
    Campaign.objects.update(budget=5)
    redeem(1, 4)
    assert [data for event, data in told() if event == "budget.nearly_spent"] == [
        {"campaign_id": "spring", "budget": "5.000", "spent": "4.000"}
    ]


def test_a_confirmed_reservation_is_told_with_its_order_and_what_baskets_hold_of_the_budget(spring: Campaign) -> None:
    Coupon.objects.update(discount_type="amount", discount_value=4)
    basket = GivenBasket((GivenLine("1", "p", Decimal(1), Decimal(20)),), Decimal(0))
    now = timezone.now()
    confirmed, _other = (
        reserve(shopper_id="anna", basket=basket, asked=[Asked("tea")], at=now)[0] for _time in range(2)
    )
    assert told() == []
    confirm(reservation_id=confirmed.reservation_id, order_id="not loaded yet", at=now)
    confirm(reservation_id=confirmed.reservation_id, order_id="not loaded yet", at=now)
    redemption = Redemption.objects.get()
    (event, data), nearly = told()
    assert (event, data["redemption_id"], data["order_id"], data["discount_amount"]) == (
        "coupon.redeemed",
        redemption.pk,
        "not loaded yet",
        "4.000",
    )
    assert nearly == ("budget.nearly_spent", {"coupon_id": "tea", "budget": "10.000", "spent": "8.000"})


def test_a_confirmation_that_is_refused_is_not_told(spring: Campaign) -> None:
    Coupon.objects.update(discount_type="amount", discount_value=4)
    basket = GivenBasket((GivenLine("1", "p", Decimal(1), Decimal(20)),), Decimal(0))
    held, _quote = reserve(shopper_id="anna", basket=basket, asked=[Asked("tea")], at=timezone.now())
    ben = Shopper.objects.create(shopper_id="ben")
    Order.objects.create(order_id="ben's", shopper=ben, ordered_at=LONG_AGO)
    with pytest.raises(CheckoutRefused):
        confirm(reservation_id=held.reservation_id, order_id="ben's", at=timezone.now())
    assert told() == []


def test_rolling_back_is_told(spring: Campaign) -> None:
    run = Run.objects.get()
    moment = timezone.now()
    rollback(campaign=spring, now=moment)
    ((event, data),) = told()
    assert event == "campaign.rolled_back"
    assert {**data, "rolled_back_at": ""} == {
        "campaign_id": "spring",
        "run": run.pk,
        "shown_run": None,
        "rolled_back_at": "",
    }


_SENDER = """
import os, django
django.setup()
from recommender.services import webhooks
webhooks._send = lambda delivery, at: os._exit(9)
webhooks.deliver_due()
"""


@pytest.mark.django_db(transaction=True)
def test_a_message_survives_a_process_that_is_killed_while_it_sends(receiver: Receiver, settings: Any) -> None:
    listen(receiver.url)
    tell()
    database = connection.settings_dict["NAME"]
    if connection.vendor != "sqlite":
        pytest.skip("the process finds the test database by its file")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "couponsite.settings",
        "DATABASE_URL": f"sqlite:///{database}",
        "DATA_DIR": str(settings.DATA_DIR),
    }
    killed = subprocess.run([sys.executable, "-c", _SENDER], env=environment, cwd=settings.BASE_DIR, check=False)
    assert killed.returncode == 9
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.attempts) == (State.WAITING, 1)
    bring_forward()
    assert deliver_due() == 1
    assert len(receiver.messages) == 1
