"""Whom the site speaks to, and whom it does not."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from recommender.services.outbound import AddressRefused, RequestFailed, check_address, request


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/redirect":
                self.send_response(302)
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/secret")  # type: ignore[attr-defined]
                self.end_headers()
            case "/long":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x" * 5000)
            case "/drip":
                self.send_response(200)
                self.end_headers()
                for _number in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.1)
            case "/headers":
                for _number in range(100):
                    self.wfile.write(b"x")
                    time.sleep(0.1)
            case _:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(self.path.encode())

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def private(settings: Any) -> None:
    settings.OUTBOUND_PRIVATE_HOSTS = ["127.0.0.1"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example",
        "//shop.example",
        "http://shop.example",
        "file:///etc/passwd",
        "gopher://shop.example",
        "https://",
        "https://shop.example:port/",
        "https://shop.example:0/",
        "https://user@shop.example",
        "https://user:word@shop.example",
        "https://shop.example/a b",
        "https://shop.example/\r\nHost: x",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://192.168.1.1/",
        "https://172.16.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://[::1]/",
        "https://[::]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[ff02::1]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[64:ff9b:1::7f00:1]/",
        "https://[fec0::1]/",
        "https://[5f00::1]/",
        "https://[2001:0:7f00:1::]/",
        "https://127.0.0.1#@shop.example/",
        "https://shop.example\\@127.0.0.1/",
    ],
)
def test_addresses_that_are_refused_without_asking(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(url)


@pytest.mark.parametrize("url", ["https://shop.example", "https://8.8.8.8/x?y=z", "https://[2606:4700::1111]:8443/"])
def test_addresses_that_may_be_asked(url: str) -> None:
    check_address(url)


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["::ffff:192.168.0.1"], ["169.254.169.254"], ["fe80::1%eth0"]],
)
def test_a_name_that_points_into_the_house_is_refused(found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: [(0, 0, 0, "", (each, 443)) for each in found])
    monkeypatch.setattr(socket, "create_connection", _never)
    with pytest.raises(AddressRefused):
        request(method="GET", url="https://shop.example/", seconds=1)


def _never(*arguments: object, **options: object) -> None:
    raise AssertionError("a connection was made")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost.", "0x7f.1", "0177.0.0.1", "2130706433", "127.1", "0", "①②⑦.⓪.⓪.①", "127。0。0。1"]
)
def test_other_ways_to_write_this_machine_are_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "create_connection", _never)
    with pytest.raises((AddressRefused, RequestFailed)):
        request(method="GET", url=f"https://{host}/", seconds=1)


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up once: what it says a moment later is not asked."""
    answers = iter([["8.8.8.8"], ["127.0.0.1"]])
    connected: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], **_options: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(
        socket, "getaddrinfo", lambda *_args, **_more: [(0, 0, 0, "", (each, 443)) for each in next(answers)]
    )
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(RequestFailed, match="nobody there"):
        request(method="GET", url="https://shop.example/", seconds=1)
    assert connected == [("8.8.8.8", 443)]


def test_a_host_of_the_shops_own_network_is_named_by_the_settings(server: str, private: None) -> None:
    answer = request(method="GET", url=f"{server}/hello?a=b", seconds=5)
    assert (answer.status, answer.body) == (200, b"/hello?a=b")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/é/€?q=ü&r=%20", "/%C3%A9/%E2%82%AC?q=%C3%BC&r=%20"),
        ("/a;b=c,d/(e)@f:g!$&'*+~?h/i?j", "/a;b=c,d/(e)@f:g!$&'*+~?h/i?j"),
        ('/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
    ],
)
def test_an_address_in_other_letters_is_asked_for_in_percent(path: str, asked: str, server: str, private: None) -> None:
    assert request(method="GET", url=server + path, seconds=5).body.decode() == asked


@pytest.mark.parametrize("host", [".shop.example", "a" * 64 + ".example", "xn--.example", "shop..example"])
def test_a_name_that_is_none_fails_and_nothing_else(host: str) -> None:
    with pytest.raises((AddressRefused, RequestFailed)):
        request(method="GET", url=f"https://{host}/", seconds=1)


def test_it_is_not_spoken_to_otherwise(server: str) -> None:
    with pytest.raises(AddressRefused):
        request(method="GET", url=server, seconds=5)


def test_a_redirect_is_an_answer_and_not_followed(server: str, private: None) -> None:
    assert request(method="GET", url=f"{server}/redirect", seconds=5).status == 302


def test_an_answer_that_is_too_long(server: str, private: None) -> None:
    with pytest.raises(RequestFailed, match="4096 bytes"):
        request(method="GET", url=f"{server}/long", seconds=5, longest=4096)


@pytest.mark.parametrize("path", ["/drip", "/headers"])
def test_an_answer_that_never_ends(path: str, server: str, private: None) -> None:
    began = time.monotonic()
    with pytest.raises(RequestFailed):
        request(method="GET", url=server + path, seconds=0.5)
    assert time.monotonic() - began < 2


def test_nobody_listens(private: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(RequestFailed):
        request(method="GET", url=f"http://127.0.0.1:{port}/", seconds=1)


def test_an_environments_proxy_is_not_asked(server: str, private: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert request(method="GET", url=f"{server}/x", seconds=5).status == 200
