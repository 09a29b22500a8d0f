"""What machines ask of the site itself."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import redis
import yaml
from django.conf import LazySettings, settings
from django.db import OperationalError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from couponsite.processes import die_with_parent
from recommender.models import (
    CampaignCounter,
    Coupon,
    CouponCounter,
    Job,
    Publication,
    Redemption,
    Run,
    Shop,
    Shopper,
)
from recommender.services import telemetry
from tests.services.small_shop import START, add_run, make_shop
from tests.test_up import free_port
from tests.worker import database_url

DAY = timedelta(days=1)
DEPLOY = settings.BASE_DIR / "deploy"
METRIC = re.compile(r"\bcouponsite_\w+")


def read_metrics(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by the name of the sample and its labels' values, in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


class TestHealth:
    def test_alive_asks_nothing_of_anybody(self, client: Client) -> None:
        """Without the fixture of the database any query fails."""
        response = client.get("/health/live")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert response.headers["Cache-Control"] == "no-store"

    def test_ready(self, db: None, broker: redis.Redis, client: Client) -> None:
        response = client.get("/health/ready")
        assert (response.status_code, response.json()) == (
            200,
            {"status": "ok", "checks": {"database": "ok", "migrations": "ok", "broker": "ok"}},
        )
        assert response.headers["Cache-Control"] == "no-store"

    def test_is_cheap(self, db: None, client: Client, django_assert_max_num_queries: object) -> None:
        client.get("/health/ready")
        with django_assert_max_num_queries(2):  # type: ignore[operator]
            client.get("/health/ready")

    def test_without_a_broker_it_serves_on(self, db: None, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        _lose_broker(monkeypatch)
        response = client.get("/health/ready")
        assert response.status_code == 200
        assert response.json() == {
            "status": "degraded",
            "checks": {"database": "ok", "migrations": "ok", "broker": "failed"},
        }

    def test_without_a_database_it_is_not_ready(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: object) -> None:
            raise OperationalError("could not connect to postgres://ann:s3cret@db")

        monkeypatch.setattr(MigrationRecorder, "applied_migrations", fail)
        monkeypatch.setattr(telemetry.connection, "close", lambda: None)
        response = client.get("/health/ready")
        assert response.status_code == 503
        assert response.json()["status"] == "failed"
        assert response.json()["checks"]["database"] == response.json()["checks"]["migrations"] == "failed"
        assert "s3cret" not in response.content.decode()

    def test_a_migration_that_is_missing_is_told(self, db: None, client: Client) -> None:
        last = MigrationRecorder.Migration.objects.filter(app="recommender").latest("name")
        MigrationRecorder(connection).record_unapplied("recommender", last.name)
        response = client.get("/health/ready")
        assert response.status_code == 503
        assert response.json()["checks"]["database"] == "ok"
        assert response.json()["checks"]["migrations"] == "failed"

    def test_a_newer_versions_migration_does_no_harm(self, db: None, client: Client) -> None:
        MigrationRecorder(connection).record_applied("recommender", "9999_later")
        assert client.get("/health/ready").status_code == 200

    def test_any_host_name_and_plain_http_will_do(self, client: Client, settings: LazySettings) -> None:
        settings.SECURE_SSL_REDIRECT = True
        assert client.get("/health/live", headers={"Host": "10.0.0.7"}).status_code == 200

    def test_only_reading(self, client: Client) -> None:
        assert client.post("/health/live").status_code == 405
        assert client.head("/health/live").status_code == 200


class TestWhoMayReadMetrics:
    def test_this_machine(self, db: None, client: Client) -> None:
        assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 200
        assert client.get("/metrics", REMOTE_ADDR="::1").status_code == 200

    @pytest.mark.parametrize("address", ["10.0.0.7", "", "garbage"])
    def test_nobody_elsewhere(self, client: Client, address: str) -> None:
        refused = client.get("/metrics", REMOTE_ADDR=address)
        assert refused.status_code == 401
        assert refused.content == b"A token is needed.\n"

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
    def test_nobody_by_way_of_a_proxy_on_this_machine(self, client: Client, header: str) -> None:
        assert client.get("/metrics", headers={header: "127.0.0.1"}).status_code == 401

    def test_who_has_the_token(self, db: None, client: Client, settings: LazySettings) -> None:
        settings.METRICS_TOKEN = "t0ken"
        given = {"Authorization": "Bearer t0ken"}
        assert client.get("/metrics", headers=given, REMOTE_ADDR="10.0.0.7").status_code == 200
        for wrong in ("", "Bearer ", "Bearer t0ke", "Bearer t0kené", "t0ken"):
            assert client.get("/metrics", headers={"Authorization": wrong}).status_code == 401
        assert client.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 401


class TestMetrics:
    def test_requests_by_route(self, db: None, client: Client) -> None:
        def count() -> float:
            found = read_metrics(client.get("/metrics").content.decode())
            return found.get("couponsite_request_seconds_count", {}).get(("GET", "api:own-coupons", "4xx"), 0)

        before = count()
        for _ in range(3):
            client.get("/api/v1/me/coupons")
        assert count() - before == 3

    def test_a_made_up_method_or_address_makes_no_label_of_its_own(self, db: None, client: Client) -> None:
        client.generic("FROBNICATE", "/api/v1/shoppers/anna-7/coupons")
        client.get("/nothing/anna-7")
        text = client.get("/metrics").content.decode()
        assert "FROBNICATE" not in text
        assert "anna-7" not in text
        assert 'method="other",route="api:shopper-coupons"' in text

    def test_what_the_tables_know(self, db: None, broker: redis.Redis, client: Client) -> None:
        now = timezone.now()
        campaign = make_shop()
        campaign.starts_at, campaign.ends_at, campaign.budget = now - DAY, now + DAY, Decimal(100)
        campaign.save()
        CampaignCounter.objects.create(campaign=campaign, spent=Decimal("30.5"))
        coupon, shopper = Coupon.objects.get(coupon_id="c1"), Shopper.objects.get(shopper_id="s1")
        CouponCounter.objects.create(coupon=coupon, uses=7)
        for age in (timedelta(minutes=5), timedelta(minutes=65)):
            Redemption.objects.create(shopper=shopper, coupon=coupon, redeemed_at=now - age)
        run = add_run(campaign, state=Run.State.PUBLISHED)
        Publication.objects.create(campaign=campaign, run=run, published_at=now - timedelta(hours=3))
        run.snapshot.history_until = now - timedelta(hours=5)
        run.snapshot.save()
        champion = run.model_version
        champion.won = True
        champion.save()
        Shop.objects.filter(pk=Shop.current().pk).update(champion=champion)
        broker.rpush("training", "a", "b")
        Job.objects.create(kind=Job.Kind.TRAIN, key="a", state="running", heartbeat_at=now - timedelta(minutes=2))
        waiting = Job.objects.create(kind=Job.Kind.LOAD, key="b")
        Job.objects.filter(pk=waiting.pk).update(created_at=now - timedelta(minutes=10))
        Job.objects.create(kind=Job.Kind.LOAD, key="c", not_before=now + timedelta(days=1))
        for seconds in (10, 30):
            Job.objects.create(
                kind=Job.Kind.TRAIN,
                key="d",
                state="succeeded",
                started_at=now - timedelta(seconds=60 + seconds),
                finished_at=now - timedelta(seconds=60),
            )
        Job.objects.create(kind=Job.Kind.TRAIN, key="e", state="failed", finished_at=now - timedelta(days=2))
        found = read_metrics(client.get("/metrics").content.decode())
        assert found["couponsite_database_up"] == {(): 1}
        assert found["couponsite_broker_up"] == {(): 1}
        assert found["couponsite_queue_messages"] == {("upkeep",): 0, ("scoring",): 0, ("training",): 2}
        assert found["couponsite_jobs"][("train", "running")] == 1
        assert found["couponsite_jobs"][("load", "queued")] == 2
        assert found["couponsite_jobs"][("publish", "queued")] == 0
        assert found["couponsite_jobs_silent"] == {(): 1}
        assert found["couponsite_job_oldest_wait_seconds"][()] == pytest.approx(600, abs=30)
        assert found["couponsite_jobs_finished_last_day"] == {("train", "succeeded"): 2}
        assert found["couponsite_job_mean_seconds"] == {("train",): pytest.approx(20)}
        assert found["couponsite_job_longest_seconds"] == {("train",): pytest.approx(30)}
        assert found["couponsite_snapshot_timestamp_seconds"][()] == run.snapshot.created_at.timestamp()
        assert found["couponsite_snapshot_history_timestamp_seconds"][()] == run.snapshot.history_until.timestamp()
        assert found["couponsite_champion_timestamp_seconds"][()] == champion.created_at.timestamp()
        assert found["couponsite_champion_learned_timestamp_seconds"][()] == START.timestamp()
        assert found["couponsite_publications_live"] == {(): 1}
        assert found["couponsite_publication_timestamp_seconds"][()] == (now - timedelta(hours=3)).timestamp()
        assert found["couponsite_publication_oldest_timestamp_seconds"][()] == (now - timedelta(hours=3)).timestamp()
        assert found["couponsite_coupon_uses"] == {(): 7}
        assert found["couponsite_redemptions_last_hour"] == {(): 1}
        assert found["couponsite_campaign_spent"] == {("spring",): 30.5}
        assert found["couponsite_campaign_budget_left"] == {("spring",): 69.5}

    def test_without_a_broker_the_rest_is_told(self, db: None, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        _lose_broker(monkeypatch)
        found = read_metrics(client.get("/metrics").content.decode())
        assert found["couponsite_broker_up"] == {(): 0}
        assert "couponsite_queue_messages" not in found
        assert found["couponsite_database_up"] == {(): 1}

    def test_without_a_database_the_rest_is_told(
        self, broker: redis.Redis, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> Iterator:
            raise OperationalError("away")
            yield

        monkeypatch.setattr(telemetry, "_job_metrics", fail)
        monkeypatch.setattr(telemetry.connection, "close", lambda: None)
        found = read_metrics(client.get("/metrics").content.decode())
        assert found["couponsite_database_up"] == {(): 0}
        assert found["couponsite_broker_up"] == {(): 1}
        assert "couponsite_jobs" not in found


def _lose_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_broker", lambda: redis.Redis(unix_socket_path="/nowhere/broker.sock"))


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_dashboard_and_alerts_speak_of_metrics_that_exist(
    db: None, broker: redis.Redis, client: Client, name: str
) -> None:
    client.get("/api/v1/me/coupons")
    text = client.get("/metrics").content.decode()
    declared = set(re.findall(r"# TYPE (couponsite_\w+) \w+", text))
    samples = {*declared, *(f"couponsite_request_seconds_{part}" for part in ("bucket", "sum", "count"))}
    content = (DEPLOY / name).read_text()
    if name.endswith(".json"):
        expressions = [target["expr"] for panel in json.loads(content)["panels"] for target in panel["targets"]]
    else:
        rules = [rule for group in yaml.safe_load(content)["groups"] for rule in group["rules"]]
        expressions = [rule["expr"] for rule in rules]
        documented = (settings.BASE_DIR / "docs" / "operations.md").read_text()
        assert [rule["alert"] for rule in rules if f"`{rule['alert']}`" not in documented] == []
    named = {metric for expression in expressions for metric in METRIC.findall(expression)}
    assert named <= samples
    if name.endswith(".json"):
        shown = {re.sub(r"_(bucket|sum|count)$", "", metric) for metric in named}
        ours = {metric for metric in declared if not metric.endswith("_created")}
        assert shown == ours, "every metric has its place on the dashboard"


@pytest.mark.real
@pytest.mark.django_db(transaction=True)
def test_processes_of_one_server_count_together(tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(settings.DATA_DIR),
        "DJANGO_SETTINGS_MODULE": "couponsite.settings",
        "WEB_CONCURRENCY": "3",
        "WEB_THREADS": "1",
        "LOG_FORMAT": "json",
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "gunicorn", "couponsite.wsgi", "--config", "python:couponsite.web_server"]
    log = tmp_path / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [*command, "--bind", f"127.0.0.1:{port}"],
            env=environment,
            cwd=settings.BASE_DIR,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent,  # noqa: PLW1509
        )
    try:
        deadline = time.monotonic() + 60
        while not _get(port, "/health/live"):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        for _ in range(30):
            _get(port, "/api/v1/me/coupons")
        for _ in range(3):  # whichever process answers
            found = read_metrics(_get(port, "/metrics"))
            assert found["couponsite_request_seconds_count"] == {("GET", "api:own-coupons", "4xx"): 30}
        folders = list(tmp_path.glob("couponsite-metrics-*"))
        assert len(folders) == 1
    finally:
        server.terminate()
        server.wait(timeout=20)
    assert not folders[0].exists()
    logged = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert sum(line.get("route") == "api:own-coupons" for line in logged) == 30


def _get(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.read().decode()
    except OSError:
        return ""
