"""Pages for what was not done, so that nobody is left with a bare line: not allowed, signed out, open for too long."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _


def show_forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page of an answer 403."""
    return _refuse(
        request,
        title=_("This is not for you to do"),
        text=_("Your roles do not allow it, and nothing was changed. An administrator of the site gives out roles."),
    )


def show_outdated_page(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for a form whose token is not that of the session, as after signing in anew in another window."""
    return _refuse(
        request,
        title=_("This page was open for too long"),
        text=_(
            "You signed in anew since it was opened, or your browser sends no cookies. What you had saved is kept; "
            "what you sent just now was not saved. Open the page again and send it once more."
        ),
        again=request.path,
    )


class SignedOutMiddleware:
    """Tells whoever sends a form after their session has ended what became of it, before the page to sign in."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: Callable, args: tuple[Any, ...], names: dict[str, Any]) -> None:
        match = request.resolver_match
        if request.method != "POST" or match is None or match.app_name != "admin":
            return
        if match.url_name not in ("login", "logout") and not request.user.is_authenticated:
            messages.warning(
                request,
                _(
                    "You were signed out meanwhile. What you had saved is kept; what you sent just now was not saved. "
                    "Sign in, and send it once more."
                ),
            )


def _refuse(request: HttpRequest, *, title: str, text: str, again: str | None = None) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "text": text, "again": again}
    return TemplateResponse(request, "admin/recommender/refused.html", context, status=403).render()
