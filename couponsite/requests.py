"""What is done with every request: it gets an identifier, is timed, counted and logged."""

import logging
import secrets
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from couponsite.logs import REQUEST_ID_HEADER, SANE_REQUEST_ID, log_with, route_of
from couponsite.metrics import observe_request

logger = logging.getLogger(__name__)


class RequestMiddleware:
    """Tells each request's identifier in the answer and in the log, whose line holds neither address nor caller."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        request_id = given if SANE_REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        began = time.perf_counter()
        with log_with(request_id=request_id):
            response = self._get_response(request)
            seconds = time.perf_counter() - began
            route, status = route_of(request), response.status_code
            facts = {"method": request.method, "route": route, "status": status}
            logger.info(
                "%s %s %d",
                *facts.values(),
                extra={"facts": {**facts, "milliseconds": round(seconds * 1000, 1)}},
            )
        observe_request(route=route, method=request.method, status=status, seconds=seconds)
        response.headers[REQUEST_ID_HEADER] = request_id
        return response
