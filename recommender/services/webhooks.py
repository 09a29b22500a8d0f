"""Telling the shop's systems what happened: signed, at least once, however often a sender dies.

What is to be told is a row, written in the transaction of what it tells of: what was undone is not told, and what was
done is not forgotten. Whoever sends takes a row by a conditional update that moves its next attempt on; a sender that
dies leaves it due again. Signatures are those of Standard Webhooks: ``v1,`` and the HMAC-SHA256, in base64, of
``id.timestamp.body``.
"""

import base64
import hashlib
import hmac
import json
import logging
import random
import secrets
import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import F
from django.utils import timezone

from recommender.models import (
    BudgetNotice,
    Campaign,
    CampaignCounter,
    Coupon,
    CouponCounter,
    Publication,
    Redemption,
    User,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from recommender.services.outbound import AddressRefused, RequestFailed, check_address, request
from recommender.services.sealing import SecretUnreadable, seal, unseal
from recommender.wording import gettext as _
from recommender.wording import keep

logger = logging.getLogger(__name__)

SECRET_BEGINS_WITH = "whsec_"  # noqa: S105
SECRET_BYTES = 32
#: An endpoint has so long to answer.
ANSWER_SECONDS = 10.0
LONGEST_ANSWER = 65_536
#: A sender that says nothing for this long is dead, and its message is sent by another.
LEASE = timedelta(minutes=2)
#: After this many attempts, some two days, a message is given up.
MOST_ATTEMPTS = 22
FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(hours=6)
#: One pass of a sender: it leaves the queue to other work in between.
PASS_SECONDS = 20.0
KEPT = timedelta(days=30)
#: The share of a budget from which it is nearly spent.
NEARLY = Decimal("0.8")


# Endpoints


def create_endpoint(
    *, name: str, url: str, events: Sequence[str], created_by: User | None = None
) -> tuple[WebhookEndpoint, str]:
    """An address that is told of some events from now on.

    Returns the row, and the secret with which what is sent is signed: this is the only time that it is shown.

    Raises:
        AddressRefused: the address cannot be spoken to.
    """
    check_address(url)
    secret = _new_secret()
    row = WebhookEndpoint.objects.create(
        name=name, url=url, events=list(events), sealed_secret=seal(secret=secret), created_by=created_by
    )
    return row, secret


def replace_secret(*, endpoint: WebhookEndpoint) -> str:
    """Sign with a new secret from now on, what is waiting too. It is returned this once."""
    secret = _new_secret()
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(sealed_secret=seal(secret=secret))
    endpoint.refresh_from_db()
    return secret


def _new_secret() -> str:
    return SECRET_BEGINS_WITH + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(*, secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature header of a message."""
    key = base64.b64decode(secret.removeprefix(SECRET_BEGINS_WITH))
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


# What is told


def announce(*, event: WebhookEvent, data: dict[str, Any], at: datetime) -> None:
    """Write down that something happened, for every endpoint that wants to know. Call it in the transaction of it."""
    message_id = uuid.uuid4()
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(
            endpoint=endpoint, message_id=message_id, event=event, happened_at=at, data=data, next_attempt_at=at
        )
        for endpoint in WebhookEndpoint.objects.active().order_by("pk")
        if event in endpoint.events
    )


def announce_publication(*, publication: Publication) -> None:
    announce(
        event=WebhookEvent.PUBLISHED,
        data={
            "campaign_id": publication.campaign.campaign_id,
            "run": publication.run_id,
            "published_at": publication.published_at,
        },
        at=timezone.now(),
    )


def announce_rollback(*, ended: Publication, shown: Publication | None, at: datetime) -> None:
    """``shown`` is what the campaign shows now, if anything."""
    announce(
        event=WebhookEvent.ROLLED_BACK,
        data={
            "campaign_id": ended.campaign.campaign_id,
            "run": ended.run_id,
            "shown_run": shown.run_id if shown is not None else None,
            "rolled_back_at": at,
        },
        at=timezone.now(),
    )


def announce_redemption(*, redemption: Redemption, order_id: str | None = None) -> None:
    """Tell of a use, and of a budget that is nearly spent by it. Call it in the transaction that writes the use.

    ``order_id`` is the shop's, where it told one of an order that is perhaps not loaded yet.
    """
    now = timezone.now()
    amount = redemption.discount_amount
    announce(
        event=WebhookEvent.REDEEMED,
        data={
            "redemption_id": redemption.pk,
            "shopper_id": redemption.shopper.shopper_id,
            "coupon_id": redemption.coupon.coupon_id,
            "campaign_id": redemption.campaign.campaign_id if redemption.campaign else None,
            "order_id": redemption.order.order_id if redemption.order else order_id,
            "redeemed_at": redemption.redeemed_at,
            "discount_amount": None if amount is None else _money(amount),
        },
        at=now,
    )
    if amount:
        _announce_budget("coupon", redemption.coupon, now)
        if redemption.campaign is not None:
            _announce_budget("campaign", redemption.campaign, now)


def _announce_budget(kind: str, owner: Coupon | Campaign, at: datetime) -> None:
    """Tell once of each budget that it is nearly spent, what baskets hold of it included."""
    if not owner.budget:
        return
    key = f"{kind}:{owner.pk}:{owner.budget.normalize():f}"
    if BudgetNotice.objects.filter(key=key).exists():
        return
    counter = CouponCounter if isinstance(owner, Coupon) else CampaignCounter
    spent: Decimal = counter._default_manager.values_list("spent", flat=True).get(**{kind: owner})
    if spent < owner.budget * NEARLY:
        return
    _notice, is_first = BudgetNotice.objects.get_or_create(key=key)
    if is_first:
        identifier = owner.coupon_id if isinstance(owner, Coupon) else owner.campaign_id
        announce(
            event=WebhookEvent.BUDGET_NEARLY_SPENT,
            data={f"{kind}_id": identifier, "budget": _money(owner.budget), "spent": _money(spent)},
            at=at,
        )


def _money(amount: Decimal) -> str:
    return f"{amount:.3f}"  # as the column has it; SQLite drops noughts


# Sending


def deliver_due(*, seconds: float = PASS_SECONDS) -> int:
    """Send what is due, for a while, and return how many messages were taken by their endpoints.

    An endpoint that did not take one is left alone for the rest of the pass: others need not wait for it.
    """
    ends = time.monotonic() + seconds
    delivered = 0
    silent: set[int] = set()
    while time.monotonic() < ends and (delivery := _take(silent)) is not None:
        if _deliver(delivery):
            delivered += 1
        else:
            silent.add(delivery.endpoint_id)
    return delivered


def redeliver(*, delivery: WebhookDelivery, at: datetime) -> None:
    """Send a finished message again, with all its attempts anew.

    Raises:
        ValueError: it is waiting to be sent anyway.
    """
    finished = WebhookDelivery.objects.exclude(state=WebhookDelivery.State.WAITING).filter(pk=delivery.pk)
    changed = finished.update(
        state=WebhookDelivery.State.WAITING, attempts=0, next_attempt_at=at, finished_at=None, claim=None
    )
    delivery.refresh_from_db()
    if not changed:
        raise ValueError(_("The message is waiting to be sent already."))


def forget_old_deliveries(*, now: datetime) -> None:
    WebhookDelivery.objects.forgettable_before(now - KEPT).delete()


def wait_after(*, attempts: int, chance: float) -> timedelta:
    """How long to wait after so many failed attempts: twice as long each time, up to six hours, and by ``chance``, from
    0 to 1, between half of that and all of it, so that what failed together does not come back together."""
    whole = min(FIRST_WAIT * 2 ** min(attempts - 1, 32), LONGEST_WAIT)
    return whole * (0.5 + chance / 2)


def _take(silent: set[int]) -> WebhookDelivery | None:
    """Take the message that is due longest, so that nobody else sends it for the time of a lease."""
    while True:
        now = timezone.now()
        due = (
            WebhookDelivery.objects.due_at(now)
            .filter(endpoint__active=True)
            .exclude(endpoint__in=silent)
            .order_by("next_attempt_at", "pk")
            .values_list("pk", flat=True)
            .first()
        )
        if due is None:
            return None
        claim = uuid.uuid4()
        taken = (
            WebhookDelivery.objects.due_at(now)
            .filter(pk=due)
            .update(claim=claim, attempts=F("attempts") + 1, next_attempt_at=now + LEASE)
        )
        if taken:
            return WebhookDelivery.objects.select_related("endpoint").filter(pk=due, claim=claim).first()


def _deliver(delivery: WebhookDelivery) -> bool:
    began_at, began = timezone.now(), time.monotonic()
    status, error = _send(delivery, began_at)
    taken = status is not None and 200 <= status < 300
    attempt = {
        "at": began_at.isoformat(timespec="seconds"),
        "status": status,
        "error": error,
        "milliseconds": round(1000 * (time.monotonic() - began)),
    }
    now = timezone.now()
    changes: dict[str, Any] = {"log": [*delivery.log, attempt][-MOST_ATTEMPTS:], "claim": None}
    if taken:
        changes |= {"state": WebhookDelivery.State.DELIVERED, "finished_at": now}
    elif delivery.attempts >= MOST_ATTEMPTS:
        changes |= {"state": WebhookDelivery.State.FAILED, "finished_at": now}
        logger.warning("Webhook message %s to %s was given up: %s", delivery.pk, delivery.endpoint, error or status)
    else:
        wait = wait_after(attempts=delivery.attempts, chance=random.random())  # noqa: S311 - no secret
        changes["next_attempt_at"] = now + wait
    # Only while it is ours: whoever took so long that another sent it writes nothing.
    WebhookDelivery.objects.filter(pk=delivery.pk, claim=delivery.claim).update(**changes)
    return taken


def _send(delivery: WebhookDelivery, at: datetime) -> tuple[int | None, str]:
    """The status of the answer, if there was one, and what went wrong, if anything."""
    body = json.dumps(
        {"type": delivery.event, "timestamp": delivery.happened_at, "data": delivery.data},
        cls=DjangoJSONEncoder,
        separators=(",", ":"),
    ).encode()
    message_id, timestamp = str(delivery.message_id), int(at.timestamp())
    try:
        secret = unseal(sealed=delivery.endpoint.sealed_secret)
        answer = request(
            method="POST",
            url=delivery.endpoint.url,
            body=body,
            headers={
                "Content-Type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(timestamp),
                "webhook-signature": sign(secret=secret, message_id=message_id, timestamp=timestamp, body=body),
            },
            seconds=ANSWER_SECONDS,
            longest=LONGEST_ANSWER,
        )
    except (AddressRefused, RequestFailed, SecretUnreadable) as error:
        return None, keep(str(error))
    if not 200 <= answer.status < 300:
        return answer.status, answer.body[:300].decode(errors="replace").replace("\0", "")
    return answer.status, ""
