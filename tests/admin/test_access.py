"""Keys of the shop's systems: shown once, revoked for good."""

from collections.abc import Callable

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from recommender.models import ApiKey, User
from recommender.services.access import create_api_key, find_api_key, revoke_api_key

ADD = "admin:recommender_apikey_add"


def test_a_key_is_shown_once(admin_client: Client, admin_user: User) -> None:
    answer = admin_client.post(reverse(ADD), {"name": "till", "scopes": ["events:write", "checkout"]})
    row = ApiKey.objects.get()
    key = answer.context["key"]
    assert (row.name, row.created_by, find_api_key(key=key)) == ("till", admin_user, row)
    assert row.scopes == ["events:write", "checkout"]
    assert key in answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    page = admin_client.get(reverse("admin:recommender_apikey_change", args=[row.pk])).content.decode()
    assert key not in page
    assert row.digest not in page


def test_a_key_without_a_name_is_not_made(admin_client: Client) -> None:
    assert admin_client.post(reverse(ADD), {"name": "", "scopes": ["checkout"]}).status_code == 200
    assert not ApiKey.objects.exists()


def test_a_key_is_revoked_once(admin_client: Client) -> None:
    row, key = create_api_key(name="till")
    revoke = reverse("admin:recommender_apikey_revoke", args=[row.pk])
    admin_client.get(revoke)
    assert find_api_key(key=key) == row, "asking revokes nothing"
    admin_client.post(revoke)
    revoked_at = ApiKey.objects.get().revoked_at
    assert find_api_key(key=key) is None
    admin_client.post(revoke)
    assert ApiKey.objects.get().revoked_at == revoked_at


def test_who_may_only_look_neither_makes_nor_revokes(client_with: Callable[..., Client]) -> None:
    row, key = create_api_key(name="till")
    client = client_with("view_apikey")
    assert client.post(reverse(ADD), {"name": "mine", "scopes": ["checkout"]}).status_code == 403
    assert client.post(reverse("admin:recommender_apikey_revoke", args=[row.pk])).status_code == 403
    assert (ApiKey.objects.count(), find_api_key(key=key)) == (1, row)


def test_a_key_without_a_scope_is_not_made(admin_client: Client) -> None:
    for scopes in ([], ["everything"]):
        assert admin_client.post(reverse(ADD), {"name": "till", "scopes": scopes}).status_code == 200
    assert not ApiKey.objects.exists()


def test_a_key_is_rotated_and_its_new_secret_shown_once(admin_client: Client) -> None:
    row, key = create_api_key(name="till")
    rotate = reverse("admin:recommender_apikey_rotate", args=[row.pk])
    page = admin_client.get(rotate)
    answer = {"grace": "1", "answer_key": page.context["key"]}
    shown = admin_client.post(rotate, answer)
    secret = shown.context["key"]
    assert secret in shown.content.decode()
    assert [find_api_key(key=each) for each in (key, secret)] == [row, row]
    again = admin_client.post(rotate, answer)
    assert again.status_code == 302, "a second click shows nothing and changes nothing"
    assert find_api_key(key=secret) == row
    history = admin_client.get(reverse("admin:recommender_apikey_history", args=[row.pk])).content.decode()
    assert "has a new secret" in history
    assert secret not in history
    admin_client.post(rotate, {"grace": "5"})
    assert find_api_key(key=secret) == row, "no such grace"


def test_a_revoked_key_is_not_rotated(admin_client: Client) -> None:
    row, _key = create_api_key(name="till")
    revoke_api_key(api_key=row, at=timezone.now())
    before = ApiKey.objects.values().get()
    rotate = reverse("admin:recommender_apikey_rotate", args=[row.pk])
    assert admin_client.post(rotate, {"grace": "1"}).status_code == 302
    assert ApiKey.objects.values().get() == before
