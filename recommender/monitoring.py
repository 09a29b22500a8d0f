"""What machines ask of the site itself: is it alive, can it serve, how is it doing.

Answered before anything else looks at the request: a load balancer asks by address rather than by host name and in
plain HTTP, and neither sessions nor languages matter to it.
"""

import hmac
import ipaddress
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from couponsite.metrics import open_registry
from recommender.services.telemetry import ShopCollector, can_serve, check_readiness

#: A request that came by way of a proxy on this machine is not from this machine.
_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


class MonitoringMiddleware:
    """``/health/live``, ``/health/ready`` and ``/metrics``."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._answers = {"/health/live": show_alive, "/health/ready": show_ready, "/metrics": show_metrics}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self._answers.get(request.path_info)
        if answer is None:
            return self._get_response(request)
        response = answer(request) if request.method in ("GET", "HEAD") else HttpResponseNotAllowed(["GET", "HEAD"])
        response.headers["Cache-Control"] = "no-store"
        return response


def show_alive(request: HttpRequest) -> HttpResponse:
    """The process answers. It asks nothing of anybody: what another's fault is, a restart does not mend."""
    return JsonResponse({"status": "ok"})


def show_ready(request: HttpRequest) -> HttpResponse:
    """200 if requests may be sent here, else 503; what is in order and what is not, by name."""
    readiness = check_readiness()
    checks = {name: "ok" if good else "failed" for name, good in readiness.items()}
    if not can_serve(readiness):
        return JsonResponse({"status": "failed", "checks": checks}, status=HTTPStatus.SERVICE_UNAVAILABLE)
    return JsonResponse({"status": "ok" if all(readiness.values()) else "degraded", "checks": checks})


def show_metrics(request: HttpRequest) -> HttpResponse:
    """Figures for Prometheus, for who has the token or, where there is none, who asks from this machine."""
    if not _may_read_metrics(request):
        response = HttpResponse("A token is needed.\n", status=HTTPStatus.UNAUTHORIZED, content_type="text/plain")
        response.headers["WWW-Authenticate"] = 'Bearer realm="metrics"'
        return response
    of_shop = CollectorRegistry()
    of_shop.register(ShopCollector())
    content = generate_latest(open_registry()) + generate_latest(of_shop)
    return HttpResponse(content, content_type=CONTENT_TYPE_LATEST)


def _may_read_metrics(request: HttpRequest) -> bool:
    if settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "")
        return hmac.compare_digest(given.encode(), f"Bearer {settings.METRICS_TOKEN}".encode())
    if any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:  # a Unix socket, which a proxy asks by
        return False
