"""Runs the whole site in the foreground."""

import errno
import fcntl
import os
import shlex
import socket
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor
from honcho.manager import Manager
from honcho.process import Popen, Process

from couponsite.broker import broker_command, log_of, make_private_folder
from couponsite.environment import embedded_broker_socket
from couponsite.processes import die_with_parent

#: What a process of the trainer may come to hold before another takes its place, between two jobs: learning leaves much
#: behind. A scorer has no such limit. It holds what it prepared for the shards of a run, which in a large shop is more,
#: and takes nearly as long to prepare as the shards that it scores before it is looked at again. In KiB.
MOST_LEFT_BY_LEARNING = 2 * 2**20
ENDED_BY_SIGNAL = (130, 143)  # honcho's return code after Ctrl-C and SIGTERM, which is how the site is meant to end


class Command(BaseCommand):
    help = (
        "Run the site, its workers, the scheduler and, where REDIS_URL names none, the embedded broker, until Ctrl-C. "
        "Ends with all of them when one of them ends."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_bind_argument(parser)

    def handle(self, *, bind: tuple[str, int], **options: Any) -> None:
        with only_one_here(settings.DATA_DIR / "up.lock"):
            require_installed()
            require_free(bind)
            manager = Manager()
            manager._process_ctor = TetheredProcess
            for name, command in commands(bind).items():
                manager.add_process(name, f"exec {shlex.join(command)}", cwd=str(settings.BASE_DIR))
            connections.close_all()
            manager.loop()
        if manager.returncode not in ENDED_BY_SIGNAL:
            log = log_of(embedded_broker_socket(settings.DATA_DIR))
            raise CommandError(
                f"A process ended by itself, and so did the site. Its last lines are above; the broker's, in {log}."
            )


class TetheredProcess(Process):
    """One of the site's processes, and the process of honcho's that reads its output: both end when ``up`` ends.

    When ``up`` gets a signal, honcho stops each in an orderly way. This is for the ends that it cannot see, such as
    SIGKILL. What they leave unfinished, the next sweep takes up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._child_ctor = partial(Popen, preexec_fn=die_with_parent)

    def run(self, *args: Any, **kwargs: Any) -> None:
        die_with_parent()
        super().run(*args, **kwargs)


def commands(bind: tuple[str, int]) -> dict[str, list[str]]:
    """The site's processes: a command for each name."""
    celery = [sys.executable, "-m", "celery", "--quiet", "-A", "couponsite"]
    worker = [*celery, "worker", "--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
    found = {
        "web": [
            *(
                sys.executable,
                "-m",
                "gunicorn",
                "couponsite.wsgi",
                "--bind",
                format_address(bind),
            ),
            *("--config", "python:couponsite.web_server"),
        ],
        "trainer": [
            *(*worker, "--queues", "training", "--hostname", "training@%h"),
            *("--max-memory-per-child", str(MOST_LEFT_BY_LEARNING)),
        ],
        "scorer": [*worker, "--queues", "scoring", "--hostname", "scoring@%h"],
        "clerk": [*worker, "--queues", "upkeep", "--hostname", "upkeep@%h", "--concurrency", "1"],
        "beat": [*celery, "beat", "--loglevel", "WARNING"],
    }
    if settings.ENVIRONMENT.broker_is_embedded:
        broker = embedded_broker_socket(settings.DATA_DIR)
        try:
            make_private_folder(broker.parent)
        except PermissionError as error:
            raise CommandError(str(error)) from error
        found = {"broker": broker_command(broker), **found}
    return found


def add_bind_argument(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--bind",
        type=parse_address,
        default="127.0.0.1:8000",
        metavar="HOST:PORT",
        help="address of the site (default: %(default)s)",
    )


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; the host may be an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ArgumentTypeError(f"{text!r} is not an address such as 127.0.0.1:8000.")
    return host.removeprefix("[").removesuffix("]"), int(port)


def format_address(bind: tuple[str, int]) -> str:
    host, port = bind
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def only_one_here(path: Path) -> Iterator[None]:
    """Hold the data directory's lock, which the kernel gives back however this process ends."""
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise CommandError(f"Process {file.read()} already runs the site of {path.parent}.") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def require_installed() -> None:
    executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is not up to date. Run first: manage.py migrate")
    if not Path(settings.STATIC_ROOT, "staticfiles.json").exists():
        raise CommandError("The static files are not collected. Run first: manage.py collectstatic")


def require_free(bind: tuple[str, int]) -> None:
    host, port = bind
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as attempt:
            attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            attempt.bind(address)
    except OSError as error:
        hint = " Choose another with --bind HOST:PORT." if error.errno == errno.EADDRINUSE else ""
        raise CommandError(f"The site cannot listen on {format_address(bind)}: {error.strerror}.{hint}") from error
