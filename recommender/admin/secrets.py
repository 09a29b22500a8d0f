"""The page that shows a secret, once."""

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext as _

from recommender.admin.base import TableAdmin, change_url


def show_secret(
    *, model_admin: TableAdmin, request: HttpRequest, obj: Model, title: str, secret: str, usage: str
) -> HttpResponse:
    """Show a secret that was just made, in the answer itself: a message would pass through a cookie, and a redirect
    would need it kept."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "original": obj,
        "text": _("This is the secret. Copy it now: it cannot be shown again."),
        "key": secret,
        "usage": usage,
        "next": change_url(obj),
    }
    answer = TemplateResponse(request, "admin/recommender/secret.html", context)
    add_never_cache_headers(answer)
    return answer
