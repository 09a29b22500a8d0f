"""The staff's pages have sessions, messages and forms that are kept safe; the API has none of it."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from couponsite import middleware


@pytest.mark.parametrize(
    ("kind", "leaves"),
    [
        (middleware.SessionMiddleware, "session"),
        (middleware.AuthenticationMiddleware, "user"),
        (middleware.MessageMiddleware, "_messages"),
    ],
)
def test_what_is_asked_of_the_api_passes_by(kind: Callable[..., Any], leaves: str) -> None:
    seen: list[HttpRequest] = []

    def answer(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    layer = kind(answer)
    if kind is not middleware.SessionMiddleware:
        layer = middleware.SessionMiddleware(layer)
    for path in ("/api/v1/events", "/admin/", "/apis/"):
        layer(RequestFactory().get(path))
    assert [hasattr(request, leaves) for request in seen] == [False, True, True]


@pytest.mark.django_db
def test_a_form_without_its_token_is_refused_and_a_call_of_the_api_needs_none() -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post(reverse("admin:login")).status_code == 403
    assert client.post("/api/v1/events").status_code == 401
