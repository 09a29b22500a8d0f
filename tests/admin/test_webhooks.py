"""Signers of shoppers' tokens, and webhooks: their secrets are shown once, and what was sent can be sent again."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import TokenSigner, User, WebhookDelivery, WebhookEndpoint
from recommender.services.sealing import unseal

SIGNER, ENDPOINT = "admin:recommender_tokensigner_add", "admin:recommender_webhookendpoint_add"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
KEY_SET = {"keys": [jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)]}


def test_a_shared_secret_is_shown_once(admin_client: Client, admin_user: User) -> None:
    answer = admin_client.post(reverse(SIGNER), {"name": "app", "kind": "secret", "issuer": "shop"})
    signer, secret = TokenSigner.objects.get(), answer.context["key"]
    assert (signer.issuer, signer.created_by, unseal(sealed=signer.sealed_secret)) == ("shop", admin_user, secret)
    page = admin_client.get(reverse("admin:recommender_tokensigner_change", args=[signer.pk])).content.decode()
    assert secret not in page
    assert signer.sealed_secret not in page


def test_pasted_keys(admin_client: Client) -> None:
    posted = {"name": "app", "kind": "key_set", "key_set": json.dumps(KEY_SET)}
    assert admin_client.post(reverse(SIGNER), posted).status_code == 302
    assert TokenSigner.objects.get().key_set == KEY_SET


@pytest.mark.parametrize(
    ("posted", "field"),
    [
        ({"kind": "key_set"}, "key_set"),
        ({"kind": "key_set", "key_set": "{"}, "key_set"),
        ({"kind": "key_set", "key_set": '{"keys": []}'}, "key_set"),
        ({"kind": "key_set_address"}, "key_set_address"),
        ({"kind": "key_set_address", "key_set_address": "http://shop.example/"}, "key_set_address"),
        ({"kind": "key_set_address", "key_set_address": "https://10.0.0.1/"}, "key_set_address"),
        ({"kind": "secret", "key_set_address": "https://shop.example/"}, "key_set_address"),
        ({"kind": "secret", "issuer": "couponsite"}, "issuer"),
        ({"kind": "secret", "name": ""}, "name"),
    ],
)
def test_a_signer_that_cannot_be_made(posted: dict[str, str], field: str, admin_client: Client) -> None:
    answer = admin_client.post(reverse(SIGNER), {"name": "app", **posted})
    assert answer.status_code == 200
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not TokenSigner.objects.exists()


def test_a_signer_is_revoked(admin_client: Client) -> None:
    admin_client.post(reverse(SIGNER), {"name": "app", "kind": "secret"})
    revoke = reverse("admin:recommender_tokensigner_revoke", args=[TokenSigner.objects.get().pk])
    admin_client.get(revoke)
    assert TokenSigner.objects.usable().exists()
    admin_client.post(revoke)
    assert not TokenSigner.objects.usable().exists()


def add_endpoint(client: Client, **changes: Any) -> Any:
    posted = {"name": "warehouse", "url": "https://shop.example/hook", "events": ["coupon.redeemed"], "active": "on"}
    return client.post(reverse(ENDPOINT), {**posted, **changes})


def test_a_webhooks_secret_is_shown_once_and_replaced(admin_client: Client) -> None:
    answer = add_endpoint(admin_client)
    endpoint, secret = WebhookEndpoint.objects.get(), answer.context["key"]
    assert unseal(sealed=endpoint.sealed_secret) == secret
    assert (endpoint.events, endpoint.active) == (["coupon.redeemed"], True)
    change = reverse("admin:recommender_webhookendpoint_change", args=[endpoint.pk])
    assert secret not in admin_client.get(change).content.decode()
    replaced = admin_client.post(reverse("admin:recommender_webhookendpoint_replace_secret", args=[endpoint.pk]))
    endpoint.refresh_from_db()
    assert unseal(sealed=endpoint.sealed_secret) == replaced.context["key"] != secret


def test_a_webhook_is_changed_and_keeps_its_secret(admin_client: Client) -> None:
    secret = add_endpoint(admin_client).context["key"]
    endpoint = WebhookEndpoint.objects.get()
    change = reverse("admin:recommender_webhookendpoint_change", args=[endpoint.pk])
    posted = {"name": "store", "url": "https://shop.example/x", "events": ["campaign.published", "coupon.redeemed"]}
    assert admin_client.post(change, posted).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.name, endpoint.active, len(endpoint.events)) == ("store", False, 2)
    assert unseal(sealed=endpoint.sealed_secret) == secret
    history = admin_client.get(reverse("admin:recommender_webhookendpoint_history", args=[endpoint.pk]))
    assert "https://shop.example/x" in history.content.decode()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": "http://shop.example/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["coupon.eaten"]}, "events"),
    ],
)
def test_a_webhook_that_cannot_be_made(changes: dict[str, Any], field: str, admin_client: Client) -> None:
    answer = add_endpoint(admin_client, **changes)
    assert list(answer.context["adminform"].form.errors) == [field]
    assert not WebhookEndpoint.objects.exists()


def test_a_message_is_sent_again(admin_client: Client) -> None:
    add_endpoint(admin_client)
    now = timezone.now()
    delivery = WebhookDelivery.objects.create(
        endpoint=WebhookEndpoint.objects.get(),
        event="coupon.redeemed",
        happened_at=now,
        state=WebhookDelivery.State.FAILED,
        attempts=22,
        next_attempt_at=now,
        finished_at=now,
        log=[{"at": now.isoformat(), "status": 503, "error": "<b>away</b>", "milliseconds": 3}],
    )
    page = admin_client.get(reverse("admin:recommender_webhookdelivery_changelist")).content.decode()
    assert "503 &lt;b&gt;away&lt;/b&gt;" in page
    admin_client.post(reverse("admin:recommender_webhookdelivery_redeliver", args=[delivery.pk]))
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.finished_at) == (WebhookDelivery.State.WAITING, 0, None)
    admin_client.post(reverse("admin:recommender_webhookdelivery_redeliver", args=[delivery.pk]))
    assert WebhookDelivery.objects.count() == 1
