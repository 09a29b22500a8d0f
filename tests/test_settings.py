import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction

from couponsite.environment import embedded_broker_socket, read_environment

VARIABLES = (
    *("DATA_DIR", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DEBUG", "ALLOWED_HOSTS"),
    *("CSRF_TRUSTED_ORIGINS", "LANGUAGE_CODE", "WORKER_CONCURRENCY", "LOG_LEVEL", "LOG_FORMAT", "METRICS_TOKEN"),
    *("EVENT_RETENTION_DAYS", "RUN_RETENTION_DAYS", "SNAPSHOT_RETENTION_DAYS", "TRAINING_PAIRS"),
    *("STATIC_ROOT", "HTTPS", "HSTS_SECONDS", "TRUSTED_PROXIES", "SENTRY_DSN", "SHARED_DATA_DIR"),
    *("S3_BUCKET", "S3_ENDPOINT_URL", "S3_REGION"),
    *("IMPORT_DIR", "UPLOAD_MAX_MEGABYTES", "UPLOAD_MAX_UNPACKED_MEGABYTES", "UPLOAD_RETENTION_DAYS"),
    *("KEY_REQUESTS_PER_MINUTE", "SHOPPER_REQUESTS_PER_MINUTE", "OUTBOUND_PRIVATE_HOSTS"),
    "SHOPPER_PAGE_ORIGINS",
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the suite runs on another database")
@pytest.mark.django_db(transaction=True)
class TestSQLite:
    """OPTIONS that are misspelled or stand in the wrong place are ignored silently: ask the connection itself."""

    @pytest.mark.parametrize(
        ("pragma", "value"),
        [
            ("journal_mode", "wal"),
            ("synchronous", 1),  # NORMAL
            ("busy_timeout", 30_000),
            ("foreign_keys", 1),
            ("temp_store", 2),  # MEMORY
            ("cache_size", -65536),
        ],
    )
    def test_pragmas_are_in_force(self, pragma: str, value: object) -> None:
        with connection.cursor() as cursor:
            assert cursor.execute(f"PRAGMA {pragma}").fetchone() == (value,)

    def test_a_transaction_takes_the_write_lock_when_it_begins(self) -> None:
        statements: list[str] = []
        connection.ensure_connection()
        connection.connection.set_trace_callback(statements.append)
        with transaction.atomic():
            pass
        connection.connection.set_trace_callback(None)
        assert statements == ["BEGIN IMMEDIATE", "COMMIT"]


class TestEnvironment:
    def test_defaults(self, tmp_path: Path) -> None:
        environment = read_environment(tmp_path)
        assert environment.data_dir == tmp_path / "data"
        assert environment.data_dir.is_dir()
        assert environment.database["ENGINE"] == "django.db.backends.sqlite3"
        assert environment.redis_url == f"redis+socket://{embedded_broker_socket(tmp_path / 'data')}"
        assert environment.broker_is_embedded
        assert (environment.debug, environment.worker_concurrency, environment.log_level) == (False, 2, "INFO")

    def test_the_environment_comes_before_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / ".env").write_text("WORKER_CONCURRENCY=5\nLANGUAGE_CODE=zh-hans\n")
        monkeypatch.setenv("WORKER_CONCURRENCY", "7")
        try:
            environment = read_environment(tmp_path)
        finally:
            os.environ.pop("LANGUAGE_CODE", None)  # reading the file sets it
        assert (environment.worker_concurrency, environment.language_code) == (7, "zh-hans")

    def test_servers_of_ones_own(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATABASE_URL", "postgres://ann:secret@db.example:5433/shop")
        monkeypatch.setenv("REDIS_URL", "rediss://redis.example/1")
        environment = read_environment(tmp_path)
        database = environment.database
        assert database["ENGINE"] == "django.db.backends.postgresql"
        assert [database[name] for name in ("NAME", "USER", "PASSWORD", "HOST", "PORT")] == [
            *("shop", "ann", "secret", "db.example", 5433)
        ]
        assert environment.redis_url == "rediss://redis.example/1"
        assert not environment.broker_is_embedded

    def test_every_wrong_variable_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {
            "DEBUG": "maybe",
            "WORKER_CONCURRENCY": "0",
            "LOG_LEVEL": "LOUD",
            "LANGUAGE_CODE": "xx",
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ImproperlyConfigured) as refusal:
            read_environment(tmp_path)
        for name in ("DEBUG", "WORKER_CONCURRENCY", "LOG_LEVEL", "LANGUAGE_CODE"):
            assert f"{name}: " in str(refusal.value)
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("DATABASE_URL", "mysql://localhost/shop"),
            ("DATABASE_URL", "nonsense"),
            ("DATABASE_URL", "postgres://localhost:port/shop"),
            ("REDIS_URL", "localhost:6379"),
            ("REDIS_URL", "amqp://localhost"),
            ("TRUSTED_PROXIES", "10.0.0.1/8"),
            ("TRUSTED_PROXIES", "proxy.example"),
        ],
    )
    def test_a_wrong_address_is_refused_by_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ImproperlyConfigured, match=f"{name}: "):
            read_environment(tmp_path)
        assert not (tmp_path / "data").exists()

    @pytest.mark.parametrize(
        "value", ["*", "null", "shop.example", "https://", "https://shop.example/", "https://shop.example,ftp://x"]
    )
    def test_an_origin_is_a_scheme_and_a_host(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
    ) -> None:
        monkeypatch.setenv("SHOPPER_PAGE_ORIGINS", value)
        with pytest.raises(ImproperlyConfigured, match=r"SHOPPER_PAGE_ORIGINS: .*expected an origin"):
            read_environment(tmp_path)
        monkeypatch.setenv("SHOPPER_PAGE_ORIGINS", "https://shop.example,http://localhost:8010")
        assert read_environment(tmp_path).shopper_page_origins == ["https://shop.example", "http://localhost:8010"]

    def test_pages_of_the_shop_are_let_in_where_they_are_named(self, tmp_path: Path) -> None:
        code = (
            "from couponsite import settings as s; print(s.MIDDLEWARE[0], s.CORS_ALLOWED_ORIGINS, s.INSTALLED_APPS[-1])"
        )
        told = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "DATA_DIR": str(tmp_path), "SHOPPER_PAGE_ORIGINS": "https://shop.example"},
            cwd=settings.BASE_DIR,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        assert told == "corsheaders.middleware.CorsMiddleware ['https://shop.example'] corsheaders"

    def test_the_example_names_every_variable(self) -> None:
        lines = (settings.BASE_DIR / ".env.example").read_text().splitlines()
        assert {line[1:].split("=")[0] for line in lines if line.startswith("#") and not line.startswith("# ")} == set(
            VARIABLES
        )

    def test_a_sockets_path_is_short_enough(self, tmp_path: Path) -> None:
        assert len(str(embedded_broker_socket(tmp_path / ("x" * 200)))) < 107


class TestSecret:
    def test_is_made_once_for_its_user_alone(self, tmp_path: Path) -> None:
        first = read_environment(tmp_path).secret_key
        path = tmp_path / "data" / "secret-key"
        assert len(first) >= 50
        assert path.stat().st_mode & 0o777 == 0o600
        assert read_environment(tmp_path).secret_key == first == path.read_text()
        assert [entry.name for entry in path.parent.iterdir()] == ["secret-key"]

    def test_differs_between_installations(self, tmp_path: Path) -> None:
        one, other = tmp_path / "one", tmp_path / "other"
        assert read_environment(one).secret_key != read_environment(other).secret_key

    def test_one_that_is_given_is_not_stored(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_KEY", "given")
        assert read_environment(tmp_path).secret_key == "given"
        assert not (tmp_path / "data" / "secret-key").exists()
