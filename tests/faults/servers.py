"""Servers that a test stops, kills and starts again."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psycopg2
import redis

from couponsite.broker import broker_command
from couponsite.processes import die_with_parent
from tests.servers import install_postgres, wait_until

ANYBODY_HERE = "host all all samenet trust\n"


class Postgres:
    """One that keeps what it acknowledged: a commit is in its log before anybody hears of it."""

    def __init__(self, binaries: Path, data: Path, user: str | None) -> None:
        self._binaries, self.data, self._user = binaries, data, user
        self._process: subprocess.Popen | None = None
        self._address = ""

    @classmethod
    @contextmanager
    def install(cls) -> Iterator[Self]:
        with install_postgres() as (binaries, data, user):
            server = cls(binaries, data, user)
            server.start()
            try:
                yield server
            finally:
                server.stop()

    def url(self, database: str, host: str | None = None) -> str:
        return f"postgres://postgres@{host or quote(str(self.data), safe='')}/{database}"

    def listen_at(self, address: str) -> None:
        """From its next start on, at an address of a network too; anybody there may come in."""
        self._address = address
        rules = self.data / "pg_hba.conf"
        if address and ANYBODY_HERE not in rules.read_text():
            rules.write_text(rules.read_text() + ANYBODY_HERE)

    def start(self) -> None:
        """Start it, if it does not run, and wait until it answers."""
        if self._process is not None:
            return
        options = ["-c", f"listen_addresses={self._address}", "-c", "fsync=off", "-c", "max_connections=200"]
        with (self.data.parent / "log").open("a") as output:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.data, "-k", self.data, *options],
                user=self._user,
                cwd=self.data.parent,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        wait_until(
            lambda: psycopg2.connect(host=str(self.data), user="postgres").close(),
            psycopg2.Error,
            self.data.parent / "log",
        )

    def stop(self, number: int = signal.SIGINT) -> None:
        """By SIGINT it ends all sessions and stops; by SIGQUIT at once, as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=60)
            self._process = None

    def execute(self, statement: str, database: str = "postgres") -> list[tuple]:
        connection = psycopg2.connect(host=str(self.data), user="postgres", dbname=database)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


class Broker:
    """One that forgets everything when it stops."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "broker.sock"
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        self._process: subprocess.Popen | None = None

    @classmethod
    @contextmanager
    def start_new(cls) -> Iterator[Self]:
        folder = Path(tempfile.mkdtemp(prefix="couponsite-broker-"))  # a socket's path must be short
        server = cls(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
            shutil.rmtree(folder)

    @property
    def url(self) -> str:
        return f"redis+socket://{self.socket}"

    def start(self, *options: str) -> None:
        if self._process is not None:
            return
        output = self.socket.with_name("output")
        with output.open("a") as file:
            self._process = subprocess.Popen(
                [*broker_command(self.socket), *options],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        wait_until(self.client.ping, redis.ConnectionError, output)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=30)
            self._process = None
            self.socket.unlink(missing_ok=True)


def is_root() -> bool:
    return os.getuid() == 0
