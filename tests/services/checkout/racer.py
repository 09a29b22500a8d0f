"""A process of shoppers at once: ``python -m tests.services.checkout.racer THREADS ATTEMPTS SEED < what it needs``.

Each attempt reserves by the API and goes on with it: confirms, releases, reverses, or forgets it, as a die says. The
process ends with a line of JSON: how often which answer was given.
"""

import json
import os
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import django
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from couponsite.processes import die_with_parent
from recommender.services import patience


class Racer:
    def __init__(self, given: dict[str, Any], seed: int) -> None:
        self._given = given
        self._dice = random.Random(seed)
        self._client = Client(headers={"Authorization": f"Bearer {given['key']}", "Host": "localhost"})
        self.counts: Counter[str] = Counter()

    def run(self, attempts: int) -> Counter[str]:
        try:
            for _ in range(attempts):
                self.attempt()
        finally:
            connection.close()
        return self.counts

    def attempt(self) -> None:
        dice = self._dice
        by_code = dice.random() < 0.2
        coupon_ids = dice.sample(self._given["coupons"], k=dice.choice([1, 1, 2, 3]))
        answer = self._post(
            "reservations",
            {
                "shopper_id": dice.choice(self._given["shoppers"]),
                "basket": {
                    "lines": [{"line_id": "1", "product_id": "tea", "quantity": "3", "unit_price": "10"}],
                    "shipping": "0",
                },
                "coupon_ids": [] if by_code else coupon_ids,
                "codes": [dice.choice(self._given["codes"])] if by_code else [],
                "lifetime": 1,
            },
        )
        self.counts["attempts"] += 1
        Path(self._given["begun"]).touch()
        if answer.status_code != 201:
            return
        reservation = answer.json()["reservation_id"]  # type: ignore[attr-defined]
        # Few keep what they have, so that the last of it is wanted to the end.
        what = dice.choices(["confirm", "release", "forget", "reverse", "part"], [1, 30, 30, 30, 1])[0]
        if what in ("confirm", "reverse", "part"):
            confirmed = self._post(f"reservations/{reservation}/confirm", {"order_id": f"o{uuid4().hex[:20]}"})
            if confirmed.status_code == 200 and what != "confirm":
                part = {"lines": [{"line_id": "1", "quantity": "1"}]} if what == "part" else {}
                self._post(f"reservations/{reservation}/reverse", part)
        elif what == "release":
            self._post(f"reservations/{reservation}/release", {})

    def _post(self, path: str, body: dict[str, Any]) -> HttpResponse:
        headers = {"Idempotency-Key": uuid4().hex}
        answer = self._send(path, body, headers)
        if answer.status_code < 500 and self._dice.random() < 0.1:
            again = self._send(path, body, headers)
            if again.status_code != 503 and again.content != answer.content:
                self.counts["answered twice"] += 1
        step = path.rpartition("/")[-1]
        self.counts[f"{step} {answer.status_code}"] += 1
        if answer.status_code == 503 and answer.headers.get("Retry-After") != "1":
            self.counts["503 without Retry-After"] += 1
        return answer

    def _send(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> HttpResponse:
        return self._client.post(
            f"/api/v1/checkout/{path}", json.dumps(body), content_type="application/json", headers=headers
        )


def main() -> None:
    die_with_parent()
    threads, attempts, seed = map(int, sys.argv[1:])
    given = json.load(sys.stdin)
    patience.PATIENCE = given["patience"]
    racers = [Racer(given, seed * 1_000 + number) for number in range(threads)]
    shares = [attempts // threads + (number < attempts % threads) for number in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        counts = sum(pool.map(Racer.run, racers, shares), Counter())
    print(json.dumps(counts))  # noqa: T201


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "couponsite.settings")
    django.setup()
    main()
