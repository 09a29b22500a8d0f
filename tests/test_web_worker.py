"""Which process of Gunicorn a connection falls to, seen from callers of a real one."""

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Event

import pytest
from django.conf import settings

from tests.test_up import free_port

PROCESSES, THREADS = 3, 2
#: Answers with the process it runs in, after as many seconds as the address says.
APPLICATION = """
import os, time

def application(environ, start_response):
    time.sleep(float(environ["PATH_INFO"][1:]))
    answer = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("application")
    (folder / "slow_application.py").write_text(APPLICATION)
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "slow_application:application", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "couponsite.web_worker.SharingThreadWorker", "--no-control-socket"]
    command += ["--workers", str(PROCESSES), "--threads", str(THREADS), "--pythonpath", f"{folder},{settings.BASE_DIR}"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            deadline = time.monotonic() + 30
            while (folder / "log").read_text().count("Booting worker") < PROCESSES:
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
            HTTPConnection("127.0.0.1", port, timeout=30).request("GET", "/0")
            yield port
        finally:
            server.terminate()
            server.wait(timeout=20)


def ask(port: int, seconds: float) -> tuple[str, HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"/{seconds}")
    return connection.getresponse().read().decode(), connection


def test_each_process_takes_as_many_as_it_has_threads(port: int) -> None:
    for _ in range(3):
        with ThreadPoolExecutor(PROCESSES * THREADS) as callers:
            answers = list(callers.map(lambda _: ask(port, 0.5), range(PROCESSES * THREADS)))
        assert sorted(Counter(process for process, _ in answers).values()) == [THREADS] * PROCESSES
        for _, connection in answers:
            connection.close()


def test_whoever_finds_all_of_them_busy_waits_and_is_answered(port: int) -> None:
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: ask(port, 0.2), range(20)))
    assert len(answers) == 20
    assert len({process for process, _ in answers}) == PROCESSES


def test_callers_who_always_ask_again_do_not_keep_others_out(port: int) -> None:
    over = Event()

    def ask_again_and_again(_: int) -> int:
        process, connection = ask(port, 0.05)
        answers = 1
        while not over.is_set():
            connection.request("GET", "/0.05")
            assert connection.getresponse().read().decode() == process
            answers += 1
        connection.close()
        return answers

    keepers = 4 * PROCESSES * THREADS
    with ThreadPoolExecutor(keepers) as callers:
        answers = callers.map(ask_again_and_again, range(keepers))
        try:
            time.sleep(1)
            for _ in range(5):
                started = time.monotonic()
                ask(port, 0.05)[1].close()
                assert time.monotonic() - started < 2
        finally:
            over.set()
        assert min(answers) > 1


def test_a_kept_connection_stays_with_its_process(port: int) -> None:
    process, connection = ask(port, 0)
    for _ in range(5):
        connection.request("GET", "/0")
        assert connection.getresponse().read().decode() == process


def test_callers_who_say_nothing_hold_nobody_up(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(PROCESSES * THREADS)]
    try:
        started = time.monotonic()
        ask(port, 0)
        # Gunicorn waits for the first byte of a new connection in a thread, five seconds at most.
        assert time.monotonic() - started < 10
    finally:
        for connection in silent:
            connection.close()
