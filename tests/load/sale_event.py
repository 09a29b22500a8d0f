"""The first minute of a sale event: so many times as many baskets as usual, with every limit exact. Run by name:

    python -m tests.load.sale_event [--report docs/presets/sale_events.md] [--normal 0.5 --times 20 --seconds 60]

It starts a PostgreSQL, a Redis and the production server, fills a shop, and puts its campaigns into a sale event that
has just begun. Baskets then come at random moments at the rate that is asked for, whether the answers keep up or not:
each reserves a coupon of the event and, if it gets it, confirms with an order. The hour's money is enough for half of
them. What came of it is added up by SQL of its own: not a cent more than came, and every cent of it.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2

from recommender.ml.evaluation.report import write_between_markers
from tests.load.serving import PORT, POSTGRES, PROCESSES, THREADS, Measured, Shop, basket, say
from tests.servers import run_broker, run_postgres

#: More than the server has threads, so that whoever is due need not wait for one to be free.
CLIENTS = 48
#: Baskets of shoppers whom no limit of a coupon is in the way of.
SHOPPERS = 10_000
_SET_UP = """
import django, sys; django.setup()
from datetime import timedelta
from decimal import Decimal
from django.utils import timezone
from recommender.models import Campaign, Coupon, SaleEvent
from recommender.services.sale_events import plan_hours
now = timezone.now()
event = SaleEvent.objects.create(
    name="11.11", warm_up_at=now - timedelta(days=3), starts_at=now, ends_at=now + timedelta(hours=24),
    budget=Decimal(sys.argv[1]) * 24, most_coupons=1, most_others=1,
)
Campaign.objects.update(sale_event=event)
Coupon.objects.update(discount_type="amount", discount_value=Decimal("2"), max_discount=None)
plan_hours(event=event, at=now - timedelta(hours=1))
"""
#: Of the event's first hour: by its plan, by its row, by the counter, and by the rows of uses.
_COUNTS = """
SELECT h.planned, h.spent, h.uses, h.refused, c.spent,
       (SELECT COALESCE(SUM(i.held_amount), 0) FROM recommender_reservationcoupon i
         WHERE i.sale_event_id = h.sale_event_id),
       (SELECT COUNT(*) FROM recommender_reservationcoupon i
         WHERE i.sale_event_id = h.sale_event_id AND i.held_uses = 1),
       (SELECT COUNT(*) FROM recommender_redemption r JOIN recommender_reservationcoupon i ON i.redemption_id = r.id)
  FROM recommender_saleeventhour h JOIN recommender_saleeventcounter c ON c.sale_event_id = h.sale_event_id
 ORDER BY h.starts_at LIMIT 1
"""
#: What each use takes off.
OFF = 2


@dataclass
class Answered:
    """Answers by what they were, and the milliseconds that they took from the moment when they were due."""

    counts: Counter[str] = field(default_factory=Counter)
    took: dict[str, list[float]] = field(default_factory=lambda: {"reserve": [], "confirm": []})


class Clients:
    """Shoppers who come when they are due; a few more of them than can be served at once."""

    def __init__(self, shop: Shop, due: list[float]) -> None:
        self._shop, self._due = shop, due
        self._next, self._lock = 0, threading.Lock()
        self.answered = Answered()

    def run(self) -> Answered:
        self._begin = time.monotonic() + 1
        with ThreadPoolExecutor(CLIENTS) as pool:
            for client in [pool.submit(self._come) for _number in range(CLIENTS)]:
                client.result()
        return self.answered

    def _come(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._shop.port, timeout=120)
        while True:
            with self._lock:
                number, self._next = self._next, self._next + 1
            if number >= len(self._due):
                return
            due = self._begin + self._due[number]
            time.sleep(max(0.0, due - time.monotonic()))
            body = basket(2 + number % (SHOPPERS - 2))
            status, answer = self._post(connection, "reservations", body)
            self._note("reserve", status, due, str(answer.get("code", "")))
            if status == 201:
                began = time.monotonic()
                address = f"reservations/{answer['reservation_id']}/confirm"
                status, answer = self._post(connection, address, {"order_id": uuid4().hex})
                self._note("confirm", status, began, "")

    def _post(self, connection: HTTPConnection, path: str, body: Any) -> tuple[int, Any]:
        headers = {
            "Authorization": f"Bearer {self._shop.key}",
            "Content-Type": "application/json",
            "Idempotency-Key": uuid4().hex,
        }
        while True:
            try:
                connection.request("POST", f"/api/v1/checkout/{path}", json.dumps(body), headers)
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            except (ConnectionError, HTTPException):  # the server ends what is idle: asked again under the same key
                connection.close()

    def _note(self, what: str, status: int, due: float, code: str) -> None:
        with self._lock:
            self.answered.counts[f"{what} {status} {code}".strip()] += 1
            self.answered.took[what].append(1000 * (time.monotonic() - due))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--normal", type=float, default=0.5, help="baskets a second on a usual day")
    parser.add_argument("--times", type=int, default=20, help="so many times as many come")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--server", default="gunicorn")
    parser.add_argument("--report", type=Path, help="write the table between the markers of this page")
    options = parser.parse_args()
    dice = random.Random(11_11)
    rate, due = options.normal * options.times, []
    moment = dice.expovariate(rate)
    while moment < options.seconds:
        due.append(moment)
        moment += dice.expovariate(rate)
    planned = OFF * (len(due) // 2)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="couponsite-load-")))
        postgres = stack.enter_context(run_postgres(*POSTGRES))
        redis = folder / "redis" / "broker.sock"
        stack.enter_context(run_broker(redis))
        run = Measured(folder, postgres, redis, options, stack)
        shop = run._make_shop(SHOPPERS, PORT)
        subprocess.run([sys.executable, "-c", _SET_UP, str(planned)], env=run._environment(shop.database), check=True)
        with run._serve(options.server, shop):
            say(f"{len(due):,} baskets in {options.seconds} s")
            answered = Clients(shop, due).run()
        with psycopg2.connect(run._dsn(f"shop_{SHOPPERS}")) as connection, connection.cursor() as cursor:
            cursor.execute(_COUNTS)
            counts = cursor.fetchone()
    text = describe(options, len(due), answered, counts)
    sys.stdout.write(text)
    if options.report:
        write_between_markers(options.report, text, name="first minute")
    came, spent, uses, refused, of_event, by_rows, uses_by_rows, redemptions = counts
    is_exact = spent == of_event == by_rows == came and uses == uses_by_rows == redemptions == came / OFF
    wrong = {what for what in answered.counts if what.split()[1] not in ("200", "201", "409")}
    if not is_exact or wrong or refused != answered.counts["reserve 409 sale_event_hour_used_up"]:
        say(f"NOT EXACT: {counts}, {answered.counts}")
        return 1
    return 0


def describe(options: argparse.Namespace, baskets: int, answered: Answered, counts: tuple[Any, ...]) -> str:
    came, spent, uses, refused, *_by_rows = counts
    lines = [
        f"{baskets:,} baskets in {options.seconds} s, {options.normal:g} × {options.times} a second at random moments; "
        f"{options.server}, {PROCESSES} processes of {THREADS} threads; {SHOPPERS:,} shoppers; "
        f"{os.cpu_count()} processors for the server, PostgreSQL, Redis and the shoppers "
        f"together; load average {os.getloadavg()[1]:.1f}.",
        "",
        "| | answers | median, ms | p95, ms | p99, ms | longest, ms |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what, took in answered.took.items():
        cuts = statistics.quantiles(took, n=100)
        lines.append(
            f"| {what} | {len(took):,} | {cuts[49]:,.0f} | {cuts[94]:,.0f} | {cuts[98]:,.0f} | {max(took):,.0f} |"
        )
    lines += [
        "",
        "| the first hour | |",
        "| --- | --- |",
        f"| came with it | {came:,.2f} |",
        f"| taken off, by the hour's row, the event's counter and the rows of uses | {spent:,.2f} |",
        f"| uses, all confirmed with an order | {uses:,} |",
        f"| refused till the next hour | {refused:,} |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
