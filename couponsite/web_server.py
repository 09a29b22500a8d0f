"""Settings of Gunicorn: ``gunicorn couponsite.wsgi --config python:couponsite.web_server``.

``WEB_CONCURRENCY`` (2) is the number of processes and ``WEB_THREADS`` (4) that of threads in each. A command line comes
before what stands here.
"""

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

workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
threads = int(os.environ.get("WEB_THREADS", "4"))
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


def child_exit(server: Any, worker: Any) -> None:
    """Keep what a process counted when it ends."""
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    if _MADE_HERE:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
