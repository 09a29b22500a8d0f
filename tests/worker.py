"""A real worker for the tests, on the database that they run on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from couponsite.processes import die_with_parent


def database_url() -> str:
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    return f"postgres://{database['USER']}@{quote(database['HOST'], safe='')}/{database['NAME']}"


@contextmanager
def run_worker(log: Path, *, include: str | None = None) -> Iterator[subprocess.Popen]:
    """A worker with two processes, and what it does once more with a module that it includes."""
    command = [sys.executable, "-m", "celery", "-A", "couponsite", "worker"]
    if include is not None:
        command += ["--include", include]
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(settings.DATA_DIR),
        "WORKER_CONCURRENCY": "2",
        "DJANGO_SETTINGS_MODULE": "couponsite.settings",
    }
    with log.open("a") as output:
        worker = subprocess.Popen(
            [*command, "--without-gossip", "--without-mingle", "--loglevel", "INFO"],
            env=environment,
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait(timeout=10)
