"""Settings of Gunicorn: ``gunicorn couponsite.wsgi --config python:couponsite.web_server``.

``WEB_CONCURRENCY`` is the number of processes and ``WEB_THREADS`` that of threads in each: two for each core and one
more, of two threads; where the site has no Redis of its own, and so all of it is on one host, two of four. A command
line comes before what stands here.

Threads of one process share one core, so connections are shared out evenly (couponsite.web_worker).
"""

import gc
import os
import shutil
import tempfile
from typing import Any

# Before anybody imports prometheus_client, which looks for it once. A folder of this server's own: what processes of
# another run counted is not mixed in.
_MADE_HERE = "PROMETHEUS_MULTIPROC_DIR" not in os.environ
if _MADE_HERE:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="couponsite-metrics-")

from django.conf import settings  # noqa: E402

_processes, _threads = (2, 4) if settings.ENVIRONMENT.broker_is_embedded else (2 * (os.cpu_count() or 1) + 1, 2)
workers = int(os.environ.get("WEB_CONCURRENCY", _processes))
worker_class = "couponsite.web_worker.SharingThreadWorker"
threads = int(os.environ.get("WEB_THREADS", _threads))
control_socket_disable = True
forwarded_allow_ips = ",".join(settings.ENVIRONMENT.trusted_proxies)
_logging = settings.LOGGING
logconfig_dict = {
    **_logging,
    "loggers": {
        **_logging["loggers"],
        "gunicorn.error": {"level": "WARNING", "handlers": [], "propagate": True},
        "gunicorn.access": {"level": "CRITICAL", "handlers": [], "propagate": False},
    },
}


def post_worker_init(worker: Any) -> None:
    """Leave what the site is made of out of every later collection of garbage.

    It is never garbage. Looking through it stops a process for as long as it takes to answer tens of requests, and
    processes that share requests evenly come to it together.
    """
    gc.collect()
    gc.freeze()


def child_exit(server: Any, worker: Any) -> None:
    """Keep what a process counted when it ends."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    if _MADE_HERE:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
