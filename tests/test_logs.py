"""What the logs say, and what they never say."""

import io
import json
import logging
import logging.config
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
import redis
from django.db import IntegrityError, connection, transaction
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone

from couponsite.logs import _facts, describe_logging, log_with, redact
from recommender.jobs import start_job
from recommender.models import Job, Shopper
from recommender.services.access import create_api_key, issue_shopper_token
from tests.worker import run_worker

Lines = Callable[[], list[dict]]

TOKEN = jwt.encode({"sub": "anna"}, "x" * 32, algorithm="HS256")


@pytest.fixture(autouse=True)
def _facts_of_this_test_alone() -> Iterator[None]:
    token = _facts.set({})
    yield
    _facts.reset(token)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged from here on, as the site with ``LOG_FORMAT=json`` writes it."""
    yield from _logging("json", lambda text: [json.loads(line) for line in text.splitlines()])


@pytest.fixture
def text() -> Iterator[Callable[[], str]]:
    yield from _logging("text", lambda text: text)


def _logging(log_format: str, read: Callable) -> Iterator[Callable]:
    stream = io.StringIO()
    described = describe_logging(log_format=log_format, level="INFO")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    described["handlers"]["console"]["stream"] = stream
    logging.config.dictConfig(described)
    try:
        yield lambda: read(stream.getvalue())
    finally:
        root.handlers[:], root.level = handlers, level
        logging.getLogger("django.request").setLevel(logging.NOTSET)


class TestRequests:
    def test_a_line_tells_the_route_and_no_shopper(self, db: None, client: Client, lines: Lines) -> None:
        Shopper.objects.create(shopper_id="anna-7")
        key = create_api_key(name="till")[1]
        response = client.get(
            "/api/v1/shoppers/anna-7/coupons?at=anna-7",
            headers={"Authorization": f"Bearer {key}", "X-Request-ID": "edge-0001"},
        )
        assert response.status_code == 200
        assert response.headers["X-Request-ID"] == "edge-0001"
        (line,) = [line for line in lines() if line["logger"] == "couponsite.requests"]
        assert line.pop("milliseconds") > 0
        assert len(line.pop("time")) == len("2026-01-01T00:00:00.000Z")
        assert line == {
            "level": "INFO",
            "logger": "couponsite.requests",
            "message": "GET api:shopper-coupons 200",
            "request_id": "edge-0001",
            "method": "GET",
            "route": "api:shopper-coupons",
            "status": 200,
        }

    @pytest.mark.parametrize(
        "given", ["", "short", "x" * 65, "two words here", 'quote"quote"', "a/b/c/d/e/f", "é" * 10]
    )
    def test_an_identifier_that_is_none_is_replaced(self, db: None, client: Client, given: str) -> None:
        made = client.get("/api/v1/none", headers={"X-Request-ID": given} if given else {}).headers["X-Request-ID"]
        assert made != given
        assert len(made) == 16
        assert set(made) <= set("0123456789abcdef")

    def test_two_requests_have_two(self, db: None, client: Client) -> None:
        assert client.get("/").headers["X-Request-ID"] != client.get("/").headers["X-Request-ID"]

    def test_no_credential_and_no_identifier_is_logged(self, db: None, client: Client, text: Callable[[], str]) -> None:
        Shopper.objects.create(shopper_id="anna-7")
        key = create_api_key(name="till")[1]
        token = issue_shopper_token(shopper_id="anna-7", at=timezone.now()).token
        for credential in (key, token, "csk_unknown"):
            headers = {"Authorization": f"Bearer {credential}"}
            client.get("/api/v1/shoppers/anna-7/coupons", headers=headers)
            client.get("/api/v1/shoppers/nobody-8/coupons", headers=headers)
            client.post("/api/v1/checkout/validate", {"code": "SAVE-1234"}, "application/json", headers=headers)
            client.get("/api/v1/me/coupons", headers=headers)
        client.get("/admin/recommender/shopper/?q=anna-7")
        client.get("/shoppers/anna-7")
        client.post("/admin/login/", {"username": "root", "password": "hunter22"})
        logged = text()
        assert logged.count("couponsite.requests") == 15
        for secret in (key, token, "csk_unknown", "anna-7", "nobody-8", "SAVE-1234", "hunter22"):
            assert secret not in logged

    def test_a_failure_is_told_with_its_request_and_without_its_address(
        self, db: None, client: Client, lines: Lines, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **names: object) -> None:
            raise RuntimeError(f"no answer for /api/v1/shoppers/anna-7/coupons with {TOKEN}")

        monkeypatch.setattr("recommender.api.coupons.ShopperCouponsView.get", fail)
        client.raise_request_exception = False
        key = create_api_key(name="till")[1]
        response = client.get("/api/v1/shoppers/anna-7/coupons", headers={"Authorization": f"Bearer {key}"})
        assert response.status_code == 500
        (line,) = [line for line in lines() if line["logger"] == "django.request"]
        assert line["message"] == "Internal Server Error: api:shopper-coupons"
        assert line["request_id"] == response.headers["X-Request-ID"]
        assert line["exception"].splitlines()[-1] == "RuntimeError: no answer for /api/v1/shoppers/…/coupons with …"
        assert "anna-7" not in json.dumps(line)


class TestLines:
    def test_facts_are_in_every_line_of_their_context(self, lines: Lines) -> None:
        logger = logging.getLogger("recommender.example")
        with log_with(job_id=5), log_with(run_id=7):
            logger.warning("within")
        logger.warning("without", extra={"request": HttpRequest(), "data": {"args": "(1, 2)"}})
        within, without = lines()
        assert (within["message"], within["job_id"], within["run_id"]) == ("within", 5, 7)
        assert set(without) == {"time", "level", "logger", "message"}

    def test_lines_for_people(self, text: Callable[[], str]) -> None:
        with log_with(job_id=5):
            logging.getLogger("recommender.example").warning("done")
        assert text().endswith(" WARNING recommender.example done [job_id=5]\n")

    @pytest.mark.parametrize(
        ("said", "written"),
        [
            ("key csk_AbC-_d of the till", "key csk_… of the till"),
            ("whsec_AAAA/BBB+C=", "whsec_…"),
            (f"sub {TOKEN}!", "sub …!"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
            ("postgres://ann:s3cret@db:5432/shop", "postgres://ann:…@db:5432/shop"),
            ("redis://:s3cret@redis/0", "redis://:…@redis/0"),
            ("Not Found: /api/v1/segments/4/shoppers/a/b", "Not Found: /api/v1/segments/4/shoppers/…"),
            ("/admin/recommender/shopper/?q=anna&o=1 failed", "/admin/recommender/shopper/?… failed"),
            ("duplicate key\nDETAIL:  Key (shopper_id)=(anna) exists.", "duplicate key\nDETAIL: …"),
            ('{"code": "SAVE-1234", "lines": 1}', '{"code": …, "lines": 1}'),
            ("ask anna@example.com", "ask …"),
            ("Job 5 is no longer this worker's.", "Job 5 is no longer this worker's."),
            ("exit code: 1, key: recommend:3", "exit code: 1, key: recommend:3"),
        ],
    )
    def test_what_is_taken_out(self, said: str, written: str) -> None:
        assert redact(said) == written

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL quotes rows in its errors")
    def test_a_row_that_the_database_quotes_is_not_logged(self, db: None, lines: Lines) -> None:
        Shopper.objects.create(shopper_id="anna-7")
        try:
            with transaction.atomic():
                Shopper.objects.create(shopper_id="anna-7")
        except IntegrityError:
            logging.getLogger("recommender.example").exception("It failed.")
        (line,) = lines()
        assert "anna-7" not in line["exception"]
        assert "UniqueViolation" in line["exception"]


@pytest.mark.real
@pytest.mark.django_db(transaction=True)
def test_a_workers_lines_name_task_and_job(
    broker: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.test_real_worker import wait_for

    monkeypatch.setenv("LOG_FORMAT", "json")
    log = tmp_path / "worker.log"
    with run_worker(log):
        job = start_job(kind=Job.Kind.RECOMMEND, key="none", arguments={"campaign": 0})
        wait_for(tmp_path, lambda: Job.objects.get(pk=job.pk).is_finished)
        wait_for(tmp_path, lambda: "failed" in log.read_text())
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    (failed,) = [line for line in found if line["logger"] == "recommender.jobs"]
    assert failed["message"] == f"Job {job.pk} failed."
    assert (failed["task"], failed["job_id"]) == ("run_job", job.pk)
    assert failed["exception"].endswith("ValueError: The campaign is gone.")
    assert not any("request_id" in line for line in found)
