"""``manage.py up`` as a person runs it: real processes on a data directory of their own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.core.management.base import CommandError
from django.db import connection

from couponsite.broker import make_private_folder
from couponsite.environment import embedded_broker_socket
from recommender.management.commands.up import format_address, parse_address, require_free

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="the site under test has its own SQLite: once is enough"),
]

PROCESSES = {"valkey-server", "gunicorn", "worker", "beat"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """An installation that is ready to be run."""
    variables = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "couponsite.settings",
        "DATA_DIR": str(tmp_path_factory.mktemp("site")),
        "WORKER_CONCURRENCY": "1",
    }
    variables.pop("DATABASE_URL", None)
    for command in (["migrate"], ["collectstatic", "--no-input"]):
        manage(*command, environment=variables).check_returncode()
    yield variables
    shutil.rmtree(embedded_broker_socket(Path(variables["DATA_DIR"])).parent)


def manage(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments, "--verbosity", "0"],
        env=environment,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def free_port() -> int:
    with socket.socket() as attempt:
        attempt.bind(("127.0.0.1", 0))
        return attempt.getsockname()[1]


@contextmanager
def running(environment: dict[str, str], log: Path) -> Iterator[tuple[subprocess.Popen, str, list[psutil.Process]]]:
    """The site; gives its process, its address and everything that it started, once all of that is up."""
    bind = f"127.0.0.1:{free_port()}"
    with log.open("w") as output:
        site = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--bind", bind],
            env=environment,
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            started = psutil.Process(site.pid).children(recursive=True)
            commands = " ".join(part for process in started for part in _command(process))
            if all(name in commands for name in PROCESSES) and "ready" in answers(bind):
                break
            if time.monotonic() > deadline or site.poll() is not None:
                pytest.fail(f"The site did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield site, bind, started
    finally:
        if site.poll() is None:
            site.kill()
        site.wait(timeout=10)


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _still_running(started: list[psutil.Process]) -> list[list[str]]:
    """The commands of those that go on for five seconds. One that ended and that nobody asked for yet has none."""
    _, alive = psutil.wait_procs(started, timeout=5)
    return [command for process in alive if (command := _command(process))]


def answers(bind: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{bind}/admin/login/", timeout=5) as response:
            return f"ready {response.status}"
    except OSError:
        return ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_ends_with_all_that_it_started(environment: dict[str, str], tmp_path: Path, number: signal.Signals) -> None:
    with running(environment, tmp_path / "log") as (site, bind, started):
        assert answers(bind) == "ready 200"
        socket_path = embedded_broker_socket(Path(environment["DATA_DIR"]))
        assert socket_path.stat().st_mode & 0o777 == 0o700
        assert socket_path.parent.stat().st_mode & 0o777 == 0o700

        site.send_signal(number)
        status = site.wait(timeout=20)
        assert _still_running(started) == []
        assert status == (-number if number == signal.SIGKILL else 0)
        assert answers(bind) == ""


def test_ends_when_one_of_its_processes_ends(environment: dict[str, str], tmp_path: Path) -> None:
    with running(environment, tmp_path / "log") as (site, _, started):
        broker = next(process for process in started if "valkey-server" in _command(process)[0])
        broker.kill()
        assert site.wait(timeout=20) == 1
        assert _still_running(started) == []
    assert "CommandError: A process ended by itself, and so did the site." in (tmp_path / "log").read_text()


def test_a_second_one_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    with running(environment, tmp_path / "log") as (site, bind, _):
        second = manage("up", "--bind", f"127.0.0.1:{free_port()}", environment=environment)
        assert second.returncode == 1
        assert second.stderr == (
            f"CommandError: Process {site.pid} already runs the site of {environment['DATA_DIR']}.\n"
        )
        assert answers(bind) == "ready 200", "the first goes on"


def test_an_empty_database_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    done = manage("up", environment={**environment, "DATA_DIR": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr == "CommandError: The database is not up to date. Run first: manage.py migrate\n"


def test_a_port_that_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bind = taken.getsockname()
        with pytest.raises(CommandError, match=f"cannot listen on 127.0.0.1:{bind[1]}: Address already in use. Choose"):
            require_free(bind)
    require_free(bind)


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::1]:80", ("::1", 80)), ("shop.example:1", ("shop.example", 1))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address
    assert format_address(address) == text


@pytest.mark.parametrize("text", ["8000", ":8000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "h:0", "h:65536"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=re.escape(f"{text!r} is not an address such as 127.0.0.1:8000.")):
        parse_address(text)


class TestPrivateFolder:
    def test_is_made_and_kept(self, tmp_path: Path) -> None:
        for _ in range(2):
            make_private_folder(tmp_path / "broker")
            assert (tmp_path / "broker").stat().st_mode & 0o777 == 0o700

    def test_one_that_is_open_to_others_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "broker").mkdir(mode=0o755)
        with pytest.raises(PermissionError, match="mode 0700"):
            make_private_folder(tmp_path / "broker")
        assert (tmp_path / "broker").stat().st_mode & 0o777 == 0o755

    def test_a_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        (tmp_path / "broker").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(PermissionError):
            make_private_folder(tmp_path / "broker")

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "broker").touch(mode=0o700)
        with pytest.raises(OSError, match="broker"):
            make_private_folder(tmp_path / "broker")

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
    def test_somebody_elses_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "broker").mkdir(mode=0o700)
        os.chown(tmp_path / "broker", 65534, 65534)
        with pytest.raises(PermissionError):
            make_private_folder(tmp_path / "broker")
