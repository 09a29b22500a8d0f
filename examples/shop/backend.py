"""A shop's own server, as small as it can be: python3 backend.py EXAMPLE-SHOP.JSON [--site URL] [--port 8010]

It holds what a page must never see, the shop's key and the secret that signs tokens, and does three things for it:

- it signs a token for the shopper who is signed in (here always the same one), with which the page speaks for them;
- it passes on what the page asks below /api/v1/me/, so that the browser speaks to one site only;
- it validates and pays the basket with the key: reserve, take the money, then confirm or release.

Python 3.11 and nothing else. docs/example-shop.md tells the rest.
"""

import argparse
import base64
import hashlib
import hmac
import json
import time
import uuid
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PAGES = {
    "/": ("index.html", "text/html"),
    "/shop.js": ("shop.js", "text/javascript"),
    "/shop.css": ("shop.css", "text/css"),
}
PASSED_ON = ("Authorization", "Accept-Language")
SHIPPING = Decimal("3.90")
LONGEST_BODY = 10_000
TOKEN_SECONDS = 600
ATTEMPTS, LONGEST_WAIT = 3, 5  # seconds
NOTHING = {"detail": "There is nothing here."}


def sign_token(shopper_id: str, secret: str) -> str:
    """A JSON Web Token, signed by HS256, that says which shopper it speaks for and until when."""
    now = int(time.time())
    claims = {"sub": shopper_id, "aud": "couponsite-shopper-api", "iat": now, "exp": now + TOKEN_SECONDS}
    told = b".".join(encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return b".".join([told, encode(hmac.new(secret.encode(), told, hashlib.sha256).digest())]).decode()


def encode(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


class Shop:
    """What the shop knows, and how it calls the API."""

    def __init__(self, settings: dict, site: str) -> None:
        self.settings, self.site = settings, site
        self.prices = {product["product_id"]: Decimal(product["price"]) for product in settings["products"]}

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, dict]:
        """Whatever is answered. Where the site is busy nothing was done, and the same is asked again."""
        request = Request(f"{self.site}/api/v1/{path}", data=body, headers=headers, method=method)  # noqa: S310
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with urlopen(request, timeout=10) as answer:  # noqa: S310
                    return answer.status, json.load(answer)
            except HTTPError as error:
                if error.code != 503 or attempt == ATTEMPTS:
                    return error.code, json.load(error)
                time.sleep(min(int(error.headers.get("Retry-After", 1)), LONGEST_WAIT))
            except OSError:
                if attempt == ATTEMPTS:
                    return 502, {"detail": "The coupons cannot be reached just now."}
                time.sleep(1)
        raise AssertionError("unreachable")

    def checkout(self, path: str, body: dict, key: str, language: str) -> tuple[int, dict]:
        headers = {"Authorization": f"Bearer {self.settings['api_key']}", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key, "Accept-Language": language}
        return self.ask("POST", f"checkout/{path}", json.dumps(body).encode(), headers)

    def basket(self, asked: dict) -> dict:
        """The page says what and how many; who it is and what it costs the shop knows better."""
        lines = [
            {
                "line_id": product_id,
                "product_id": product_id,
                "quantity": str(int(quantity)),
                "unit_price": str(self.prices[product_id]),
            }
            for product_id, quantity in asked["quantities"].items()
        ]
        coupons = {name: asked[name] for name in ("coupon_ids", "codes")}
        basket = {"lines": lines, "shipping": str(SHIPPING)}
        return {"shopper_id": self.settings["shopper_id"], "basket": basket, **coupons}

    def pay(self, asked: dict, language: str) -> tuple[int, dict]:
        """Hold the coupons, take the money, and tell how it ended. Each step may be sent again under its own key."""
        key = str(uuid.UUID(asked["basket_id"]))
        body = self.basket(asked)
        reserved = {"discount": "0", "reservation_id": None}
        if body["coupon_ids"] or body["codes"]:
            status, reserved = self.checkout("reservations", body, key, language)
            if status != 201:
                return status, reserved
        held = f"reservations/{reserved['reservation_id']}"
        if not take_money(asked):
            if reserved["reservation_id"]:
                self.checkout(f"{held}/release", {}, f"{key}-release", language)
            return 402, {"detail": "The payment was refused, and the coupons are yours again."}
        if reserved["reservation_id"]:
            status, confirmed = self.checkout(f"{held}/confirm", {"order_id": key}, f"{key}-confirm", language)
            if status != 200:
                return status, confirmed
        return 200, {"order_id": key, "discount": reserved["discount"]}


def take_money(asked: dict) -> bool:
    """Where a shop asks whoever takes its payments. Here the page may say that it fails."""
    return not asked.get("payment_fails")


class Handler(BaseHTTPRequestHandler):
    shop: Shop

    def do_GET(self) -> None:
        if self.path in PAGES:
            name, media_type = PAGES[self.path]
            self.send(200, (Path(__file__).parent / name).read_bytes(), f"{media_type}; charset=utf-8")
        elif self.path == "/products":
            public = {name: self.shop.settings[name] for name in ("name", "currency", "products")}
            self.send(200, {**public, "shipping": str(SHIPPING)})
        else:
            self.pass_on()

    def do_POST(self) -> None:
        language = self.headers.get("Accept-Language", "en")
        try:
            if self.path.startswith("/api/"):
                self.pass_on()
            elif self.headers.get("Content-Type") != "application/json":  # a form of another site cannot send that
                self.send(415, {"detail": "Expected JSON."})
            elif self.path == "/token":
                shopper_id = self.shop.settings["shopper_id"]
                self.send(200, {"token": sign_token(shopper_id, self.shop.settings["token_secret"])})
            elif self.path == "/validate":
                key = str(uuid.uuid4())
                self.send(*self.shop.checkout("validate", self.shop.basket(self.read()), key, language))
            elif self.path == "/pay":
                self.send(*self.shop.pay(self.read(), language))
            else:
                self.send(404, NOTHING)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.send(400, {"detail": "That is no basket."})

    def pass_on(self) -> None:
        if not self.path.startswith("/api/v1/me/") or ".." in self.path:
            self.send(404, NOTHING)
            return
        headers = {name: self.headers[name] for name in PASSED_ON if self.headers[name]}
        body = b"" if self.command == "POST" else None
        self.send(*self.shop.ask(self.command, self.path.removeprefix("/api/v1/"), body, headers))

    def read(self) -> dict:
        length = int(self.headers.get("Content-Length", 0))
        if not 0 < length <= LONGEST_BODY:
            raise ValueError
        return json.loads(self.rfile.read(length))

    def send(self, status: int, body: dict | bytes, media_type: str = "application/json") -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": media_type, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    parser = argparse.ArgumentParser(description="A shop whose coupons come from Couponsite.")
    parser.add_argument("settings", type=Path, help="example-shop.json, as manage.py prepare_example_shop writes it")
    parser.add_argument("--site", default="http://127.0.0.1:8000", help="where Couponsite is")
    parser.add_argument("--port", type=int, default=8010)
    arguments = parser.parse_args()
    Handler.shop = Shop(json.loads(arguments.settings.read_text()), arguments.site.rstrip("/"))
    with ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler) as server:
        print(f"The shop: http://127.0.0.1:{server.server_port}", flush=True)  # noqa: T201
        server.serve_forever()


if __name__ == "__main__":
    main()
