"""How fast the API serves, beside a bare Django view on the same server. Run by name; it needs ``wrk``:

    python -m tests.load.serving [--report docs/serving.md] [--small 10000 --large 1000000 --rounds 5 --seconds 5]

It starts a PostgreSQL, a Redis and the production server for each of two shops, fills the shops, and calls one address
after the other in turns, so that whatever else the machine does meets all of them. Figures are medians of the rounds.
"""

import argparse
import io
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import psycopg2

from couponsite.processes import die_with_parent
from recommender.ml.evaluation.report import write_between_markers
from tests.load.shop import COUPONS, has_whole_list
from tests.servers import run_broker, run_postgres

#: More than there are threads: fewer would fall to the processes unevenly.
CONNECTIONS = 16
#: As a server of a shop's is set; the default is for a tenth of the memory.
POSTGRES = ("shared_buffers=1GB",)
#: So many shoppers call in turn, and each as often as they like.
CALLERS = 4_000
#: One of them.
FIRST_CALLER = 2
EVENTS = 5_000
PORT = 8765
#: As the site's own settings of the server have it (couponsite.web_server).
PROCESSES, THREADS = 2 * (os.cpu_count() or 1) + 1, 2
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "granian": lambda port: [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "couponsite.wsgi:application"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--workers", str(PROCESSES), "--blocking-threads", str(THREADS)),
        *("--log-level", "warning", "--no-ws"),
    ],
    "gunicorn": lambda port: [
        *(sys.executable, "-m", "gunicorn", "couponsite.wsgi", "--bind", f"127.0.0.1:{port}"),
        *("--config", "python:couponsite.web_server"),
        *("--workers", str(PROCESSES), "--threads", str(THREADS), "--log-level", "warning"),
    ],
}
#: Calls whatever the file of lines names, in turns: a path, a bearer, a body.
_SCRIPT = """
local calls, place = {}, 0
function init(arguments)
  for line in io.lines(arguments[1]) do
    local path, bearer, body = line:match("^(%S+)\\t(%S*)\\t(.*)$")
    local headers = { ["Accept-Language"] = "en" }
    if bearer ~= "" then headers["Authorization"] = "Bearer " .. bearer end
    if body ~= "" then headers["Content-Type"] = "application/json" end
    calls[#calls + 1] = wrk.format(body ~= "" and "POST" or "GET", path, headers, body ~= "" and body or nil)
  end
end
function request() place = place % #calls + 1 return calls[place] end
function done(summary, latency, requests)
  io.write(string.format("RESULT %d %d %f %f %f\\n", summary.requests,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""


@dataclass(frozen=True)
class Shop:
    shoppers: int
    database: str
    key: str
    port: int


@dataclass(frozen=True)
class Answered:
    """Requests a second, milliseconds, and the processor's milliseconds a request: of the server, PostgreSQL and Redis
    together, which hardly depends on what else the machine does."""

    rate: float
    median: float
    last: float
    processor: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--server", choices=SERVERS, default="gunicorn")
    parser.add_argument("--compare-servers", action="store_true", help="only the servers, at the small shop")
    parser.add_argument("--report", type=Path, help="write the table between the markers of this page")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="couponsite-load-")))
        postgres = stack.enter_context(run_postgres(*POSTGRES))
        redis = folder / "redis" / "broker.sock"
        stack.enter_context(run_broker(redis))
        run = Measured(folder, postgres, redis, options, stack)
        text = run.compare_servers() if options.compare_servers else run.measure()
    sys.stdout.write(text)
    if options.report:
        write_between_markers(options.report, text, name="serving")
    return 0


class Measured:
    """A run: shops, servers, and what came of calling them."""

    def __init__(self, folder: Path, postgres: str, redis: Path, options: argparse.Namespace, stack: ExitStack) -> None:
        self._folder, self._postgres, self._redis = folder, postgres, redis
        self._options, self._stack = options, stack
        self._script = folder / "calls.lua"
        self._script.write_text(_SCRIPT)

    def measure(self) -> str:
        options = self._options
        small, large = (
            self._make_shop(count, PORT + place) for place, count in enumerate((options.small, options.large))
        )
        for shop in (small, large):
            self._stack.enter_context(self._serve(options.server, shop))
        calls = {}
        for shop in (small, large):
            for name in ("bare", "key", "token", "validate"):
                calls[name, shop.shoppers] = self._write_calls(shop, name)
        answered: dict[tuple[str, int], list[Answered]] = {each: [] for each in calls}
        kept: dict[str, list[float]] = {"events": [], "copy": [], "copy without keys": []}
        for number in range(options.rounds + 1):
            for (name, shoppers), path in calls.items():
                port = small.port if shoppers == small.shoppers else large.port
                seconds = 4 if number == 0 else options.seconds  # the first is to warm up
                result = self._call(port, path, seconds)
                if number:
                    answered[name, shoppers].append(result)
                    say(f"{number} {name:10} {shoppers:>9,} {told(result)}")
            for name, rate in self._bring_events(large, number).items():
                if number:
                    kept[name].append(rate)
                    say(f"{number} {name:20} {rate:10,.0f} events/s")
        return describe(options, small, large, answered, kept)

    def compare_servers(self) -> str:
        shop = self._make_shop(self._options.small, PORT)
        answered: dict[tuple[str, str], list[Answered]] = {}
        for number in range(self._options.rounds):
            for server in SERVERS:
                with self._serve(server, shop):
                    for name in ("bare", "key"):
                        path = self._write_calls(shop, name)
                        self._call(shop.port, path, 3)
                        result = self._call(shop.port, path, self._options.seconds)
                        answered.setdefault((server, name), []).append(result)
                        say(f"{number} {server:10} {name:6} {told(result)}")
        lines = [
            "| server | address | requests a second | median, ms | p99, ms | processor, ms |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for (server, name), results in answered.items():
            each = middle(results)
            lines.append(
                f"| {server} | {name} | {each.rate:,.0f} | {each.median:.1f} | {each.last:.1f} | {each.processor:.2f} |"
            )
        return "\n".join(lines) + "\n"

    # What is called

    def _make_shop(self, shoppers: int, port: int) -> Shop:
        name = f"shop_{shoppers}"
        parsed = urlparse(self._postgres)
        with closing(psycopg2.connect(self._dsn("postgres"))) as connection:
            connection.autocommit = True
            connection.cursor().execute(f"CREATE DATABASE {name}")
        database = self._postgres.removesuffix(parsed.path) + f"/{name}"
        started = time.monotonic()
        filled = subprocess.run(
            [sys.executable, "-m", "tests.load.shop", str(shoppers)],
            env=self._environment(database),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        say(f"{shoppers:,} shoppers: filled in {time.monotonic() - started:.0f} s")
        return Shop(shoppers, database, filled.stdout.split()[-1], port)

    def _dsn(self, name: str) -> str:
        return f"host={unquote(self._postgres.split('@')[1].split('/')[0])} user=postgres dbname={name}"

    def _environment(self, database: str) -> dict[str, str]:
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.load.settings",
            "DATABASE_URL": database,
            "DATA_DIR": str(data),
            "REDIS_URL": f"redis+socket://{self._redis}",
            # All is counted and nothing refused.
            "KEY_REQUESTS_PER_MINUTE": "1000000000",
            "SHOPPER_REQUESTS_PER_MINUTE": "1000000000",
            "LOG_LEVEL": "ERROR",
        }

    @contextmanager
    def _serve(self, server: str, shop: Shop) -> Iterator[None]:
        process = subprocess.Popen(
            SERVERS[server](shop.port),
            env=self._environment(shop.database),
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / f"{server}.log").open("a"),
            preexec_fn=die_with_parent,  # noqa: PLW1509 - forked before any thread
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    self._fetch(shop, f"bare/{FIRST_CALLER}/0")
                    break
                except urllib.error.URLError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)

    def _find_filler(self, shop: Shop) -> int:
        """By how much an entry of the bare view must be longer, so that its answer is as long as the API's."""
        path, bearer = f"shoppers/s{FIRST_CALLER}/coupons", {"Authorization": f"Bearer {shop.key}"}
        listed, bare = self._fetch(shop, path, bearer), self._fetch(shop, f"bare/{FIRST_CALLER}/0")
        entries = len(json.loads(listed)["coupons"])
        assert entries == len(json.loads(bare)["coupons"])
        say(f"{shop.shoppers:,} shoppers: a list of {entries} has {len(listed):,} bytes")
        return round((len(listed) - len(bare)) / entries)

    def _fetch(self, shop: Shop, path: str, headers: dict[str, str] | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{shop.port}/api/v1/{path}", headers=headers or {})
        with urllib.request.urlopen(request) as answer:
            body: bytes = answer.read()
        return body

    def _write_calls(self, shop: Shop, name: str) -> Path:
        """The callers are spread over the shop."""
        numbers = [1 + place * shop.shoppers // CALLERS for place in range(CALLERS)]
        numbers = [number for number in numbers if has_whole_list(number)]
        path = self._folder / f"{name}-{shop.shoppers}"
        if name == "token":
            tokens = self._sign(shop, numbers)
            lines = [f"/api/v1/me/coupons\t{token}\t" for token in tokens]
        elif name == "key":
            lines = [f"/api/v1/shoppers/s{number}/coupons\t{shop.key}\t" for number in numbers]
        elif name == "validate":
            lines = [f"/api/v1/checkout/validate\t{shop.key}\t{json.dumps(basket(number))}" for number in numbers]
        else:
            filler = self._find_filler(shop)
            lines = [f"/api/v1/bare/{number}/{filler}\t\t" for number in numbers]
        path.write_text("\n".join(lines) + "\n")
        return path

    def _sign(self, shop: Shop, numbers: list[int]) -> list[str]:
        code = (
            "import django, sys; django.setup()\n"
            "from datetime import timedelta\n"
            "from django.utils import timezone\n"
            "from recommender.services.access import issue_shopper_token\n"
            "for number in sys.stdin.read().split():\n"
            "    print(issue_shopper_token("
            "shopper_id=f's{number}', at=timezone.now(), lifetime=timedelta(hours=1)).token)\n"
        )
        signed = subprocess.run(
            [sys.executable, "-c", code],
            env=self._environment(shop.database),
            input=" ".join(map(str, numbers)),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return signed.stdout.split()

    def _call(self, port: int, calls: Path, seconds: int) -> Answered:
        # A process's first answer can take longer than the two seconds after which wrk counts it as none.
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s", "-s", str(self._script)]
        before = processor_seconds()
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}", "--", str(calls)], check=True, stdout=subprocess.PIPE, text=True
        )
        found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) ([\d.]+)", done.stdout)
        assert found is not None, done.stdout
        # Of those that were there before and after: what vacuums a table comes and goes, whoever asks for what.
        spent = sum(used - before[process] for process, used in processor_seconds().items() if process in before)
        requests, errors, took, median, last = map(float, found.groups())
        if errors:
            raise RuntimeError(f"{errors:.0f} of {requests:.0f} answers of {calls.name} were none.")
        return Answered(requests / took, median, last, 1000 * spent / requests)

    # Events

    def _bring_events(self, shop: Shop, number: int) -> dict[str, float]:
        """Events a second: by the API, by COPY into the same table, and by COPY into one without keys or indexes."""
        moment = datetime.now(UTC) - timedelta(minutes=1)
        numbers = [1 + (place * 7919 + number) % shop.shoppers for place in range(EVENTS)]
        posted = json.dumps(
            [
                {
                    "event_id": f"load-{number}-{place}",
                    "kind": "impression",
                    "shopper_id": f"s{who}",
                    "coupon_id": f"coupon-{place % COUPONS}",
                    "occurred_at": moment.isoformat(),
                }
                for place, who in enumerate(numbers)
            ]
        )
        rates = {"events": EVENTS / timed(lambda: self._post_events(shop, posted))}
        with psycopg2.connect(self._dsn(f"shop_{shop.shoppers}")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT min(id) FROM recommender_coupon")
            first = cursor.fetchone()[0]
            cursor.execute("CREATE TEMPORARY TABLE bare AS SELECT * FROM recommender_event LIMIT 0")
            connection.commit()
            for name, table in (("copy", "recommender_event"), ("copy without keys", "bare")):
                rows = "".join(
                    f"{name}-{number}-{place}\timpression\t{moment.isoformat()}\t{who}\t{first + place % COUPONS}\n"
                    for place, who in enumerate(numbers)
                )
                rates[name] = EVENTS / timed(lambda rows=rows, table=table: copy(connection, table, rows))
        return rates

    def _post_events(self, shop: Shop, body: str) -> None:
        connection = HTTPConnection("127.0.0.1", shop.port)
        headers = {"Authorization": f"Bearer {shop.key}", "Content-Type": "application/json"}
        connection.request("POST", "/api/v1/events", body, headers)
        response = connection.getresponse()
        answer = json.loads(response.read())
        connection.close()
        if answer.get("accepted") != EVENTS:
            raise RuntimeError(f"The events were not taken: {answer}")


def processor_seconds() -> dict[int, float]:
    """What each of the processes that this one started, and those that they started, has used so far."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        process = int(stat.parent.name)
        parents[process], ticks[process] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours = {}
    for process, used in ticks.items():
        parent: int | None = process
        while parent is not None and parent != os.getpid():
            parent = parents.get(parent)
        if parent is not None and process != os.getpid():
            ours[process] = used / os.sysconf("SC_CLK_TCK")
    return ours


def copy(connection: Any, table: str, rows: str) -> None:
    with connection.cursor() as cursor:
        columns = "event_key, kind, occurred_at, shopper_id, coupon_id"
        cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN", io.StringIO(rows))
    connection.commit()


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def basket(number: int) -> dict[str, Any]:
    return {
        "shopper_id": f"s{number}",
        "basket": {
            "lines": [
                {"line_id": "1", "product_id": "product-0", "quantity": "2", "unit_price": "10"},
                {"line_id": "2", "product_id": "product-1", "quantity": "1", "unit_price": "4.99"},
            ],
            "shipping": "3.90",
        },
        "coupon_ids": [f"coupon-{number % COUPONS}"],
    }


def middle(results: list[Answered]) -> Answered:
    return Answered(
        *(
            statistics.median(getattr(each, name) for each in results)
            for name in ("rate", "median", "last", "processor")
        )
    )


def describe(
    options: argparse.Namespace,
    small: Shop,
    large: Shop,
    answered: dict[tuple[str, int], list[Answered]],
    kept: dict[str, list[float]],
) -> str:
    medians = {each: middle(results) for each, results in answered.items()}
    names = {
        "bare": "bare view: one indexed query, JSON of the same size",
        "key": "a shopper's list, by the shop's key",
        "token": "a shopper's list, by the shopper's token",
        "validate": "what a basket gets (`checkout/validate`)",
    }
    lines = [
        f"{options.server}, {PROCESSES} processes of {THREADS} threads; {CONNECTIONS} connections at once; "
        f"{options.rounds} rounds of "
        f"{options.seconds} s in turns, medians; {os.cpu_count()} processors for the server, "
        f"PostgreSQL, Redis and `wrk` together; load average {os.getloadavg()[2]:.1f}.",
        "",
        "| | shoppers | requests a second | of the bare view's | median, ms | p99, ms | of the bare view's "
        "| processor, ms | of the bare view's |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for (name, shoppers), each in medians.items():
        bare = medians["bare", shoppers]
        lines.append(
            f"| {names[name]} | {shoppers:,} | {each.rate:,.0f} | {each.rate / bare.rate:.2f} | {each.median:.1f} "
            f"| {each.last:.1f} | {each.last / bare.last:.2f} "
            f"| {each.processor:.2f} | {each.processor / bare.processor:.2f} |"
        )
    lines += ["", "| from the small shop to the large one | takes so many times as long |", "| --- | --- |"]
    for name, words in names.items():
        grows = medians[name, small.shoppers].rate / medians[name, large.shoppers].rate
        lines.append(f"| {words} | {grows:.2f} |")
    events = {name: statistics.median(rates) for name, rates in kept.items()}
    ways = {
        "events": f"`POST /api/v1/events`, {EVENTS:,} at once",
        "copy": "COPY of such rows into the same table",
        "copy without keys": "COPY of such rows into a table without keys or indexes",
    }
    lines += ["", f"| events, {large.shoppers:,} shoppers | a second | the API's, as a share |", "| --- | --- | --- |"]
    lines += [f"| {ways[name]} | {rate:,.0f} | {events['events'] / rate:.2f} |" for name, rate in events.items()]
    return "\n".join(lines) + "\n"


def told(each: Answered) -> str:
    return f"{each.rate:8.0f}/s  p99 {each.last:6.1f} ms  processor {each.processor:.2f} ms"


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
