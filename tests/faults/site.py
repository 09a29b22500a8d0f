"""A shop, and the processes of its site."""

import hashlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import dj_database_url
import numpy as np
import psutil
import pytest
import requests
from django.conf import settings
from django.db import connections
from django.utils import timezone

from couponsite.celery import app
from couponsite.processes import die_with_parent
from recommender import models, tasks
from recommender.jobs import start_job
from recommender.ml import artifact
from recommender.models import Job, Run
from recommender.services import runs
from recommender.services.budgeting import AS_IT_IS, Budget
from recommender.services.training import promote, train
from tests.faults.algorithm import FadingTaste
from tests.faults.servers import Broker, Postgres

SHOPPERS, COUPONS, SHARD_SHOPPERS = 240, 12, 6
#: What a caller gets from a process that dies: before its answer, or in the middle of it.
CUT_OFF = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
CAMPAIGN = "spring"
TOP = 5
#: For a slow machine with much else to do.
PATIENCE = float(os.environ.get("FAULT_PATIENCE", "240"))


@contextmanager
def connected(url: str, broker_url: str | None = None) -> Iterator[None]:
    """Put this process on another database, and on another broker."""
    before = connections.settings["default"]
    options = {**before, **dj_database_url.parse(url, conn_max_age=60), "OPTIONS": {"connect_timeout": 10}}
    connections["default"].close()
    del connections["default"]
    connections.settings["default"] = options
    connections.configure_settings(connections.settings)
    broker_before = app.conf.broker_url
    try:
        if broker_url is not None:
            _use_broker(broker_url)
        yield
    finally:
        if broker_url is not None:
            _use_broker(broker_before)
        connections["default"].close()
        del connections["default"]
        connections.settings["default"] = before


def _use_broker(url: str) -> None:
    app.pool.force_close_all()
    app._pool = None
    app.amqp._producer_pool = None
    app.conf.broker_url = app.conf.broker_read_url = app.conf.broker_write_url = url


def make_shop() -> None:
    """Shoppers who bought this and that, a live campaign, two models of which one is champion, and a planned run."""
    now = timezone.now()
    chance = random.Random(3)
    products = models.Product.objects.bulk_create(models.Product(product_id=f"p{n}") for n in range(COUPONS))
    coupons = models.Coupon.objects.bulk_create(models.Coupon(coupon_id=f"c{n}") for n in range(COUPONS))
    models.CouponTarget.objects.bulk_create(
        models.CouponTarget(coupon=coupon, product=product) for coupon, product in zip(coupons, products, strict=True)
    )
    campaign = models.Campaign.objects.create(
        campaign_id=CAMPAIGN, starts_at=now - timedelta(days=1), ends_at=now + timedelta(days=30)
    )
    models.CampaignCoupon.objects.bulk_create(
        models.CampaignCoupon(campaign=campaign, coupon=coupon) for coupon in coupons
    )
    shoppers = models.Shopper.objects.bulk_create(models.Shopper(shopper_id=f"s{n:04}") for n in range(SHOPPERS))
    orders = models.Order.objects.bulk_create(
        models.Order(order_id=f"o{n}", shopper=shopper, ordered_at=now - timedelta(days=chance.uniform(1, 90)))
        for n, shopper in enumerate(shoppers)
    )
    models.OrderLine.objects.bulk_create(
        models.OrderLine(order=order, position=place, product=chance.choice(products), quantity=1, amount=1)
        for order in orders
        for place in range(chance.randrange(12))
    )
    train(algorithms=["popularity"])
    promote(model_version=_add_champion(), reason="It is the one to try.")
    plan(as_of=timezone.now())


def _add_champion() -> models.ModelVersion:
    """A fitted :class:`FadingTaste`."""
    fitted = FadingTaste().fit(FadingTaste.inputs.none(), np.array([]), np.array([]), seed=0)
    path = f"models/{FadingTaste.name}"
    return models.ModelVersion.objects.create(
        algorithm=FadingTaste.name,
        snapshot=models.Snapshot.objects.latest("pk"),
        learned_until=models.ModelVersion.objects.latest("pk").learned_until,
        key=FadingTaste.name,
        artifact=path,
        artifact_digest=artifact.save(fitted, settings.DATA_DIR / path),
        training_rows=0,
        training_positives=0,
        fit_seconds=0,
        threshold=0.5,
    )


def plan(*, as_of: datetime, top: int = TOP, shard_shoppers: int = SHARD_SHOPPERS, budget: Budget = AS_IT_IS) -> Run:
    """A run of the campaign, cut into small shards."""
    usual, runs.SHARD_SHOPPERS = runs.SHARD_SHOPPERS, shard_shoppers
    try:
        return runs.plan_run(campaign=models.Campaign.objects.get(), as_of=as_of, top=top, budget=budget)
    finally:
        runs.SHARD_SHOPPERS = usual


def digest(run: Run) -> str:
    """Of all that a run came to, keys of the database left out."""
    run.refresh_from_db()
    lists = run.recommendations.order_by("shopper__shopper_id", "rank").values_list(
        "shopper__shopper_id", "coupon__coupon_id", "rank", "score", "reasons", "excluded"
    )
    coupons = run.run_coupons.order_by("coupon__coupon_id").values_list(
        "coupon__coupon_id", "shopper_count", "expected_uses", "mean_score", "revenue_per_use"
    )
    inputs = run.inputs.order_by("name").values_list("name", "index", "counts")
    figures = [run.recommendation_count, run.shopper_count, run.expected_redemptions, run.score_histogram]
    whole = json.dumps([list(lists), list(coupons), list(inputs), figures], default=str)
    return hashlib.sha256(whole.encode()).hexdigest()


@dataclass
class Site:
    """The processes of a site, and what they need to find each other."""

    postgres: Postgres
    broker: Broker
    database: str
    data: Path
    logs: Path
    address: str | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @classmethod
    @contextmanager
    def open(cls, **named: Any) -> Iterator[Self]:
        with ExitStack() as stack:
            yield cls(**named, _open=stack)

    def listen_at(self, address: str) -> None:
        """Have the servers listen at an address of a network, for processes on other hosts."""
        self.postgres.stop()
        self.postgres.listen_at(address)
        self.postgres.start()
        self._open.callback(self.postgres.listen_at, "")
        self.broker.stop()
        self.broker.start("--port", "6390", "--bind", address, "--protected-mode", "no")
        self.address = address

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self.postgres.url(self.database, self.address),
            "REDIS_URL": f"redis://{self.address}:6390/0" if self.address else self.broker.url,
            "DATA_DIR": str(self.data),
            "SECRET_KEY": settings.SECRET_KEY,  # what the test signs in is signed in there
            "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
            "FAULTS": "1",
            **more,
        }

    def start_worker(
        self, name: str = "worker", *, processes: int = 1, prefix: Sequence[str] = (), **faults: str
    ) -> "Worker":
        """A worker of all queues; ``faults`` are those of :mod:`tests.faults.impatient`."""
        worker = Worker(self, name, processes, list(prefix), faults)
        self._open.callback(worker.kill)
        return worker

    @contextmanager
    def web(self, application: str = "couponsite.wsgi", **more: str) -> Iterator["Web"]:
        port = _free_port()
        command = [sys.executable, "-m", "gunicorn", application, "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
        with (self.logs / "web.log").open("a") as output:
            process = subprocess.Popen(
                [*command, "--workers", "2", "--threads", "4", "--log-level", "warning"],
                env=self.environment(WORKER_CLASS="gthread", **more),
                cwd=settings.BASE_DIR,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        web = Web(f"http://127.0.0.1:{port}", process)
        try:
            self.wait_for(web.answers)
            yield web
        finally:
            process.terminate()
            process.wait(timeout=60)

    def wait_for(self, condition: Callable[[], object], *, sweeping: bool = False, seconds: float = PATIENCE) -> None:
        """Until it holds; with the scheduler's sweeps meanwhile, if they are wanted."""
        deadline, swept = time.monotonic() + seconds, 0.0
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"It did not happen within {seconds:.0f} s.\n{self.describe()}")
            if sweeping and time.monotonic() - swept > 1:
                swept = time.monotonic()
                tasks.sweep()
            time.sleep(0.05)

    def describe(self) -> str:
        jobs = list(Job.objects.values("pk", "kind", "state", "attempts", "done", "total", "error", "log"))
        logs = "\n".join(f"--- {path.name}\n{path.read_text()[-4000:]}" for path in sorted(self.logs.glob("*.log")))
        return f"{jobs}\n{logs}"

    @property
    def run(self) -> Run:
        """The run that is planned."""
        return Run.objects.latest("pk")

    def start_run(self) -> Job:
        return self.start_run_of(self.run)

    def start_run_of(self, run: Run) -> Job:
        return start_job(kind=Job.Kind.RECOMMEND, key="faults", arguments={"run": run.pk})

    def finish(self, job: Job) -> Job:
        """Wait until a job has come to its end, with sweeps."""
        self.wait_for(lambda: Job.objects.get(pk=job.pk).is_finished, sweeping=True)
        job.refresh_from_db()
        return job

    def scored(self) -> int:
        return self.run.shards.filter(state="scored").count()


class Worker:
    """A worker that can be killed at any moment and started again."""

    def __init__(self, site: Site, name: str, processes: int, prefix: list[str], faults: dict[str, str]) -> None:
        self._site, self._name, self._processes, self._prefix = site, name, processes, prefix
        self._environment = site.environment(WORKER_CONCURRENCY=str(processes), OMP_NUM_THREADS="1", **faults)
        self.process = self._start()

    def _start(self) -> subprocess.Popen:
        command = [sys.executable, "-m", "celery", "-A", "couponsite", "worker", "--include", "tests.faults.impatient"]
        with (self._site.logs / f"{self._name}.log").open("a") as output:
            return subprocess.Popen(
                [
                    *self._prefix,
                    *command,
                    "-n",
                    f"{self._name}@%h",
                    "--without-gossip",
                    "--without-mingle",
                    "-l",
                    "INFO",
                ],
                env=self._environment,
                cwd=settings.BASE_DIR,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )

    def restart(self) -> None:
        self.kill()
        self.process = self._start()

    def kill(self) -> None:
        """The worker and all its processes at once, as the kernel does when memory is short, or a power cut."""
        if self.process.poll() is None:
            own = psutil.Process(self.process.pid)
            for process in [*own.children(recursive=True), own]:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
        self.process.wait(timeout=30)


@dataclass
class Web:
    address: str
    process: subprocess.Popen

    def answers(self) -> bool:
        try:
            return requests.get(f"{self.address}/api/v1/schema", timeout=30).status_code < 500
        except CUT_OFF:
            return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
