import os
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings
from django.db import connection

from couponsite.environment import embedded_broker_socket
from tests.servers import run_broker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("COUPONSITE_PROVE"):
        for item in items:
            if item.get_closest_marker("prove"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: make prove"))


def pytest_report_header() -> str:
    return f"database: {connection.vendor}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep a test database on SQLite in a file, which several processes and threads share under the site's pragmas."""
    database = settings.DATABASES["default"]
    if database["ENGINE"] == "django.db.backends.sqlite3":
        database["TEST"]["NAME"] = str(tmp_path_factory.mktemp("database") / "test.sqlite3")


@pytest.fixture(scope="session")
def _running_broker() -> Iterator[redis.Redis]:
    assert settings.ENVIRONMENT.broker_is_embedded, "The tests empty the broker: they want their own, not REDIS_URL's."
    with run_broker(embedded_broker_socket(settings.DATA_DIR)) as client:
        yield client


@pytest.fixture
def broker(_running_broker: redis.Redis) -> redis.Redis:
    """A real broker with nothing in it, to which the site under test sends its tasks. A client that looks into it."""
    _running_broker.flushall()
    return _running_broker
