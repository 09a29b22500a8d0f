"""In what form an answer is given."""

from collections.abc import Sequence

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class QuickNegotiation(DefaultContentNegotiation):
    """Who takes anything, or just what an address gives first, need not be weighed up with; all others are."""

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        first = renderers[0]
        asked = request.META.get("HTTP_ACCEPT", "*/*")
        if asked in ("*/*", first.media_type) and format_suffix is None and not request.META.get("QUERY_STRING"):
            return first, str(first.media_type)
        return super().select_renderer(request, renderers, format_suffix)
