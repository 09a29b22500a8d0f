"""Pages for what was not done: signed out, open for too long, not allowed, not there, failed. Nobody is left with a
bare line, and what they typed is not lost."""

import copy
import sys
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from couponsite.database import is_away

#: What belongs to the form itself, and to nobody's work.
OF_THE_FORM = {"csrfmiddlewaretoken"}


def show_forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page of an answer 403."""
    return _refuse(
        request,
        title=_("This is not for you to do"),
        text=_("Your roles do not allow it, and nothing was changed. An administrator of the site gives out roles."),
    )


def show_missing(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page of an answer 404: what whoever raised it says of it."""
    said = exception.args[0] if exception.args and isinstance(exception.args[0], str) else ""
    return _refuse(
        request,
        status=404,
        title=_("There is no such page"),
        text=said or _("The address is mistyped, or what it leads to was deleted."),
    )


def show_unreadable(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The page of an answer 400."""
    return _refuse(
        request,
        status=400,
        title=_("The site could not read this"),
        text=_("What your browser sent is too large or damaged. Nothing was changed."),
    )


def show_failure(request: HttpRequest) -> HttpResponse:
    """The page of an answer 500, and of 503 where the database is away. It asks that for nothing."""
    of_nobody = copy.copy(request)
    of_nobody.user = AnonymousUser()
    if is_away(sys.exc_info()[1]):
        answer = _refuse(
            of_nobody,
            status=503,
            title=_("The site cannot reach its data at this moment"),
            text=_(
                "That passes by itself as a rule. What you had saved is kept; open the page again in a moment, and "
                "look whether what you sent just now was saved before you send it again."
            ),
        )
        answer.headers["Retry-After"] = "1"
        return answer
    return _refuse(
        of_nobody,
        status=500,
        title=_("The site has failed"),
        text=_(
            "The fault is not yours. What you had saved is kept; look whether what you sent just now was saved before "
            "you send it again. Whoever runs the site finds the fault in its log."
        ),
    )


def show_outdated_page(request: HttpRequest, reason: str = "") -> HttpResponse:
    """The page for a form whose token is not that of the session, as after signing in anew in another window."""
    sent = _list_sent(request)
    text = _(
        "You signed in anew since it was opened, or your browser sends no cookies. What you had saved is kept; "
        "what you sent just now was not saved. Open the page again and send it once more."
    )
    if sent:
        text = _(
            "You signed in anew since it was opened. What you had saved is kept; what you sent just now was not saved. "
            "It is kept on this page: look whether it is what you want, and send it again."
        )
    return _refuse(request, title=_("This page was open for too long"), text=text, again=request.path, sent=sent)


class SignedOutMiddleware:
    """Tells whoever sends a form after their session has ended what became of it, and keeps it to be sent again.

    What cannot be kept, which is a file or a password, is told of on the page to sign in.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable, args: tuple[Any, ...], names: dict[str, Any]
    ) -> HttpResponse | None:
        match = request.resolver_match
        # The address first: what is asked of the API has no user.
        if request.method != "POST" or match is None or match.app_name != "admin":
            return None
        if match.url_name in ("login", "logout") or request.user.is_authenticated:
            return None
        sent = _list_sent(request)
        if sent:
            return _refuse(
                request,
                title=_("You were signed out meanwhile"),
                text=_(
                    "What you had saved is kept; what you sent just now was not saved. It is kept on this page: sign "
                    "in, which opens another window, then come back here and send it again."
                ),
                sent=sent,
                sign_in=f"{reverse('admin:login')}?next={reverse('admin:index')}",
            )
        messages.warning(
            request,
            _(
                "You were signed out meanwhile. What you had saved is kept; what you sent just now was not saved. "
                "Sign in, and send it once more."
            ),
        )
        return None


def _list_sent(request: HttpRequest) -> list[tuple[str, str]]:
    """The fields of a form that one of the site's own pages sent, to be sent again; none if they had better not be.

    Those of another site's page are never offered: whoever sent them unawares could be led to send them willingly. A
    file is gone, and a password is not written into a page.
    """
    if request.method != "POST" or request.content_type != "application/x-www-form-urlencoded":
        return []
    own = {f"{request.scheme}://{request.get_host()}", *settings.CSRF_TRUSTED_ORIGINS}
    if request.headers.get("Origin") not in own or any("password" in name for name in request.POST):
        return []
    return [(name, value) for name, values in request.POST.lists() if name not in OF_THE_FORM for value in values]


def _refuse(request: HttpRequest, *, title: str, text: str, status: int = 403, **context: object) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": title, "text": text, **context}
    return TemplateResponse(request, "admin/recommender/refused.html", context, status=status).render()
