"""The example shop's server while the site behind it is busy or away; tests/browser has the rest of it."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

SETTINGS = {
    "shopper_id": "anna",
    "api_key": "csk_x",
    "token_secret": "x" * 32,
    "products": [{"product_id": "tea", "price": "10"}],
}
ASKED = {"basket_id": str(uuid4()), "quantities": {"tea": 1}, "coupon_ids": ["c"], "codes": []}


class Site(BaseHTTPRequestHandler):
    """Answers what it is told to, in turn, and notes what was asked under which key."""

    answers: list[tuple[int, dict[str, Any]]]
    asked: list[tuple[str, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path.rpartition("/")[2], self.headers["Idempotency-Key"]))
        status, body = self.answers.pop(0)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = Path(__file__).parent.parent / "examples" / "shop" / "backend.py"
    spec = importlib.util.spec_from_file_location("backend", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    return module


@pytest.fixture
def site() -> Iterator[str]:
    Site.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


BUSY = (503, {"code": "busy"})
RESERVED = (201, {"discount": "1", "reservation_id": "r"})


def test_a_payment_that_was_taken_is_confirmed_though_the_site_is_busy(backend: ModuleType, site: str) -> None:
    Site.answers = [BUSY, RESERVED, BUSY, BUSY, (200, {"state": "confirmed"})]
    key = ASKED["basket_id"]
    assert backend.Shop(SETTINGS, site).pay(ASKED, "en") == (200, {"order_id": key, "discount": "1"})
    # The same again under the same key.
    assert Site.asked == [("reservations", key)] * 2 + [("confirm", f"{key}-confirm")] * 3


def test_a_site_that_stays_busy_is_asked_so_often_and_no_more(backend: ModuleType, site: str) -> None:
    Site.answers = [BUSY] * 5
    assert backend.Shop(SETTINGS, site).pay(ASKED, "en") == BUSY
    assert len(Site.asked) == backend.ATTEMPTS


def test_what_is_refused_is_not_asked_again(backend: ModuleType, site: str) -> None:
    Site.answers = [(409, {"code": "total_limit_reached"})]
    assert backend.Shop(SETTINGS, site).pay(ASKED, "en") == (409, {"code": "total_limit_reached"})
    assert len(Site.asked) == 1


def test_a_site_that_is_away_is_said_to_be(backend: ModuleType) -> None:
    assert backend.Shop(SETTINGS, "http://127.0.0.1:1").pay(ASKED, "en")[0] == 502
