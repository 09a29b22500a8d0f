"""What web processes count by themselves, for Prometheus. What the tables know is in the recommender's telemetry.

Under several processes of one web server the counts of all are in ``PROMETHEUS_MULTIPROC_DIR``, which the settings of
Gunicorn (:mod:`couponsite.web_server`) set before this module is imported.
"""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

#: Answers within 50 ms are what shoppers' pages are promised; staff's pages and uploads take longer.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

_REQUESTS = Histogram(
    "couponsite_request_seconds",
    "How long answers took, by route, method and class of status.",
    ["route", "method", "status"],
    buckets=_BUCKETS,
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe_request(*, route: str, method: str | None, status: int, seconds: float) -> None:
    """Count an answer. Labels are few: routes are names, and a method that is none of HTTP's is ``other``."""
    known = method if method in _METHODS else "other"
    _REQUESTS.labels(route, known, f"{status // 100}xx").observe(seconds)


def open_registry() -> CollectorRegistry:
    """What all processes of this web server counted."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry
