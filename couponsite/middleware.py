"""Middleware that is there for the staff's pages: the API has no sessions, no cookies, no forms and no messages.

Passing all of it costs as much as looking a shopper's list up.
"""

from typing import Any

from django.contrib.auth.middleware import AuthenticationMiddleware as DjangoAuthenticationMiddleware
from django.contrib.messages.middleware import MessageMiddleware as DjangoMessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware as DjangoCsrfViewMiddleware

API = "/api/"


class StaffMiddleware:
    """Comes before a middleware in its bases, and lets what is asked of the API pass by it."""

    get_response: Any

    def __call__(self, request: HttpRequest) -> Any:
        if request.path_info.startswith(API):
            return self.get_response(request)
        return super().__call__(request)  # type: ignore[misc]


class SessionMiddleware(StaffMiddleware, DjangoSessionMiddleware):
    pass


class CsrfViewMiddleware(StaffMiddleware, DjangoCsrfViewMiddleware):
    pass


class AuthenticationMiddleware(StaffMiddleware, DjangoAuthenticationMiddleware):
    pass


class MessageMiddleware(StaffMiddleware, DjangoMessageMiddleware):
    pass
