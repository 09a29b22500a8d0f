"""The settings of a site that strangers reach: TLS, cookies, policies, and what the checks say is wrong."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sentry_sdk
from django.conf import LazySettings, settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.test import Client

from couponsite.checks import check_background_work, check_servers
from couponsite.environment import read_environment
from couponsite.error_reports import start_error_reports
from recommender.models import Shopper
from tests.test_logs import TOKEN
from tests.test_up import free_port

PRODUCTION = {
    "SECRET_KEY": "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!",
    "DATABASE_URL": "postgres://coupons:secret@db.example/coupons",
    "REDIS_URL": "redis://redis.example/0",
    "ALLOWED_HOSTS": "coupons.example",
    "SHARED_DATA_DIR": "true",
    "HTTPS": "true",
}

Check = Callable[..., subprocess.CompletedProcess]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """``manage.py check --deploy`` in an installation whose environment is that of production with some changes."""

    def _check(**changes: str) -> subprocess.CompletedProcess:
        environment = {
            **os.environ,
            **PRODUCTION,
            **changes,
            "DATA_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "couponsite.settings",
        }
        environment.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # the tests in a browser set it
        return subprocess.run(
            [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
            env=environment,
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return _check


class TestChecks:
    def test_production_is_clean(self, check: Check) -> None:
        done = check()
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "System check identified no issues (3 silenced).\n"

    def test_what_is_missing_is_told(self, check: Check) -> None:
        done = check(HTTPS="false", DATABASE_URL="sqlite:///db", SHARED_DATA_DIR="false", DEBUG="true", SECRET_KEY="")
        assert done.returncode == 1
        for number in ("couponsite.E005", "couponsite.E006", "couponsite.W002", "security.W008", "security.W018"):
            assert number in done.stderr

    @pytest.mark.parametrize(
        ("name", "value", "number"),
        [
            ("CELERY_TASK_SOFT_TIME_LIMIT", settings.CELERY_TASK_TIME_LIMIT, "couponsite.E001"),
            ("CELERY_TASK_TIME_LIMIT", 999_999, "couponsite.E002"),
            ("CELERY_BROKER_TRANSPORT_OPTIONS", {}, "couponsite.E002"),
            ("CELERY_TASK_ACKS_LATE", False, "couponsite.E003"),
            ("CELERY_TASK_REJECT_ON_WORKER_LOST", False, "couponsite.E003"),
            ("CELERY_WORKER_PREFETCH_MULTIPLIER", 4, "couponsite.E004"),
            ("CELERY_BEAT_SCHEDULER", "django_celery_beat.schedulers:DatabaseScheduler", "couponsite.W003"),
        ],
    )
    def test_background_work(self, settings: LazySettings, name: str, value: object, number: str) -> None:
        assert check_background_work() == []
        setattr(settings, name, value)
        assert [found.id for found in check_background_work()] == [number]

    def test_one_host_is_in_order_as_it_is(self, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
        assert settings.ENVIRONMENT.broker_is_embedded
        sqlite = {**settings.DATABASES, "default": {"ENGINE": "django.db.backends.sqlite3"}}
        monkeypatch.setattr(settings, "DATABASES", sqlite, raising=False)
        assert check_servers() == []
        postgres = {**sqlite, "default": {"ENGINE": "django.db.backends.postgresql"}}
        monkeypatch.setattr(settings, "DATABASES", postgres, raising=False)
        assert [found.id for found in check_servers()] == ["couponsite.W001"]

    def test_they_are_registered_for_deploy_alone(self) -> None:
        registered = checks.registry.registry
        assert {check_background_work, check_servers} <= registered.deployment_checks
        assert not {check_background_work, check_servers} & registered.registered_checks


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"REDIS_URL": ""}, "2 4"),
        ({"REDIS_URL": "redis://localhost/0"}, f"{2 * os.cpu_count() + 1} 2"),
        ({"REDIS_URL": "", "WEB_CONCURRENCY": "7", "WEB_THREADS": "3"}, "7 3"),
    ],
    ids=["one host", "several", "as told"],
)
def test_how_many_web_processes(given: dict[str, str], expected: str, tmp_path: Path) -> None:
    code = "from couponsite import web_server; print(web_server.workers, web_server.threads)"
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "couponsite.settings", **given}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=settings.BASE_DIR, check=True, stdout=subprocess.PIPE)
    assert done.stdout.decode().strip() == expected


def test_what_the_site_is_made_of_is_not_looked_through_for_garbage(tmp_path: Path) -> None:
    code = (
        "import gc\n"
        "from couponsite import web_server, wsgi\n"
        "web_server.post_worker_init(None)\n"
        "print(gc.get_freeze_count() > 100_000, len(gc.get_objects()) < 100)"
    )
    environment = {**os.environ, "DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "couponsite.settings"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, cwd=settings.BASE_DIR, check=True, stdout=subprocess.PIPE)
    assert done.stdout.decode().split() == ["True", "True"]


class TestTls:
    @pytest.fixture(scope="class")
    def header(self, tmp_path_factory: pytest.TempPathFactory) -> Callable:
        """Asks a site with ``HTTPS=true``, Gunicorn and all, by way of who it does and does not trust as a proxy."""
        import http.client
        import time
        from contextlib import contextmanager

        @contextmanager
        def serve(proxies: str):
            folder = tmp_path_factory.mktemp("site")
            environment = {
                **os.environ,
                "DATA_DIR": str(folder),
                "HTTPS": "true",
                "TRUSTED_PROXIES": proxies,
                "DJANGO_SETTINGS_MODULE": "couponsite.settings",
                "WEB_CONCURRENCY": "1",
            }
            port = free_port()
            command = [sys.executable, "-m", "gunicorn", "couponsite.wsgi", "--config", "python:couponsite.web_server"]
            with (folder / "log").open("w") as log:
                server = subprocess.Popen(
                    [*command, "--bind", f"127.0.0.1:{port}"],
                    env=environment,
                    cwd=settings.BASE_DIR,
                    stdout=log,
                    stderr=log,
                )

            def ask(path: str, **headers: str) -> http.client.HTTPResponse:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", path, headers=headers)
                response = connection.getresponse()
                response.read()
                connection.close()
                return response

            try:
                deadline = time.monotonic() + 60
                while True:
                    try:
                        ask("/health/live")
                        break
                    except OSError:
                        assert time.monotonic() < deadline, (folder / "log").read_text()
                        time.sleep(0.1)
                yield ask
            finally:
                server.terminate()
                server.wait(timeout=20)

        return serve

    def test_plain_http_is_sent_to_tls_and_a_trusted_proxy_is_believed(self, header: Callable) -> None:
        with header("127.0.0.1") as ask:
            plain = ask("/api/v1/none")
            assert (plain.status, plain.headers["Location"]) == (301, f"https://{plain.headers['Location'][8:]}")
            assert ask("/health/live").status == 200
            by_tls = ask("/api/v1/none", **{"X-Forwarded-Proto": "https"})
            assert by_tls.status == 404
            assert by_tls.headers["Strict-Transport-Security"] == "max-age=31536000"

    def test_nobody_else_is_believed(self, header: Callable) -> None:
        with header("10.0.0.0/8") as ask:
            assert ask("/api/v1/none", **{"X-Forwarded-Proto": "https"}).status == 301

    def test_cookies_travel_by_tls_alone(self, tmp_path: Path) -> None:
        script = (
            "from django.conf import settings as s; print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, "
            "s.LANGUAGE_COOKIE_SECURE, s.SECURE_SSL_REDIRECT, s.SECURE_HSTS_SECONDS, s.SESSION_COOKIE_HTTPONLY)"
        )
        for https, expected in (("true", "True True True True 60 True"), ("false", "False False False False 0 True")):
            environment = {
                **os.environ,
                "HTTPS": https,
                "HSTS_SECONDS": "60",
                "DATA_DIR": str(tmp_path),
                "DJANGO_SETTINGS_MODULE": "couponsite.settings",
            }
            done = subprocess.run(
                [sys.executable, "-c", script],
                env=environment,
                cwd=settings.BASE_DIR,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout.strip() == expected, done.stderr


class TestContentSecurityPolicy:
    STRICT = {"base-uri 'none'", "default-src 'none'", "form-action 'none'", "frame-ancestors 'none'"}

    def _policy(self, client: Client, path: str) -> set[str]:
        return set(client.get(path).headers["Content-Security-Policy"].split("; "))

    def test_an_answer_of_the_api_may_load_nothing(self, db: None, client: Client) -> None:
        assert self._policy(client, "/api/v1/me/coupons") == self.STRICT
        assert self._policy(client, "/api/v1/schema") == self.STRICT

    @pytest.mark.parametrize("path", ["/admin/login/", "/admin/nothing/", "/nothing"])
    def test_staffs_pages_run_the_sites_scripts_alone(self, db: None, client: Client, path: str) -> None:
        policy = self._policy(client, path)
        assert "script-src 'self' 'unsafe-eval'" in policy
        assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} <= policy

    def test_the_page_of_the_api_runs_no_inline_script(self, db: None, client: Client) -> None:
        assert "script-src 'self'" in self._policy(client, "/api/v1/docs")
        assert b"<script>" not in client.get("/api/v1/docs").content
        script = client.get("/api/v1/docs?script=")
        assert script.headers["Content-Type"].startswith("application/javascript")


class TestErrorReports:
    @pytest.fixture
    def reported(self, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
        events: list[dict] = []
        before = sentry_sdk.get_global_scope().client
        start_error_reports(dsn="https://key@sentry.example/1", transport=events.append)
        yield events  # type: ignore[misc]
        sentry_sdk.get_client().close()
        sentry_sdk.get_global_scope().set_client(before)

    def test_tell_where_it_failed_and_nothing_of_anybody(
        self, db: None, client: Client, reported: list[dict], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shopper_id, address = "-".join(["anna", "7"]), ".".join("9999")  # the report shows lines of the code

        def fail(*args: object, **names: object) -> None:
            secret = "-".join(["local", "secret"])
            raise RuntimeError(f"no answer for /api/v1/shoppers/{shopper_id}/coupons with {TOKEN}" + secret[:0])

        Shopper.objects.create(shopper_id=shopper_id)
        monkeypatch.setattr("recommender.api.coupons.ShopperCouponsView.initial", fail)
        client.raise_request_exception = False
        response = client.get(
            f"/api/v1/shoppers/{shopper_id}/coupons?q={shopper_id}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            REMOTE_ADDR=address,
        )
        assert response.status_code == 500
        sentry_sdk.flush()
        (event,) = reported
        assert event["exception"]["values"][-1]["type"] == "RuntimeError"
        assert set(event["request"]) <= {"method"}
        told = str(event)
        for secret in (shopper_id, TOKEN, address, "-".join(["local", "secret"])):
            assert secret not in told

    def test_without_the_library_it_is_said_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sentry_sdk", None)
        with pytest.raises(ImproperlyConfigured, match=r"^SENTRY_DSN: .*requirements-sentry.txt$"):
            start_error_reports(dsn="https://key@sentry.example/1")


def test_trusted_proxies_are_the_machine_itself_unless_others_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRUSTED_PROXIES", raising=False)
    assert read_environment(tmp_path).trusted_proxies == ["127.0.0.1", "::1"]
