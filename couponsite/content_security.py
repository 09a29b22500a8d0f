"""What a browser may load and run on the site's pages: the Content-Security-Policy of each kind of answer.

An answer that is no page may load nothing. Staff's pages run the site's own scripts alone; Alpine, which Unfold's pages
are written with, computes what stands in attributes (``'unsafe-eval'``), and they are laid out by ``style`` attributes.
"""

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

_NOBODY = {"base-uri": [NONE], "form-action": [NONE], "frame-ancestors": [NONE], "default-src": [NONE]}

#: ``CONTENT_SECURITY_POLICY``: of every answer that has no policy of its own.
STRICT = {"DIRECTIVES": _NOBODY}

STAFF_PAGES = {
    **_NOBODY,
    "form-action": [SELF],
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "manifest-src": [SELF],
}

#: The page that shows the API's description.
DESCRIPTION_PAGE = {
    **_NOBODY,
    "script-src": [SELF],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "connect-src": [SELF],
}


class ContentSecurityMiddleware(CSPMiddleware):
    """Gives staff's pages, and pages of what went wrong wherever that was, the policy that their scripts need."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        is_page = response.headers.get("Content-Type", "").startswith("text/html")
        if parts.config is None and is_page and not request.path.startswith("/api/"):
            parts.config = STAFF_PAGES
        return parts
