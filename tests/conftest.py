import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import redis
from django.conf import LazySettings, settings
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck
from hypothesis import settings as properties

from couponsite.environment import embedded_broker_socket
from tests.servers import run_broker
from tests.worker import run_worker

# A machine with other work is slow, and that is no fault. What is tried is new in each proof and the same in each test.
properties.register_profile(
    "couponsite",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not os.environ.get("COUPONSITE_PROVE"),
)
properties.load_profile("couponsite")


@pytest.hookimpl(tryfirst=True)  # before markers choose tests and pytest-xdist reads their groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = getattr(item, "fixturenames", [])
        asked_for = item.get_closest_marker("django_db")
        emptied = bool({"transactional_db", "live_server"} & set(fixtures))
        if asked_for or emptied or "db" in fixtures:
            item.add_marker("database")
        emptied |= bool(asked_for and asked_for.kwargs.get("transaction"))
        if not emptied and _shares_with_its_file(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        if item.get_closest_marker("prove") and not os.environ.get("COUPONSITE_PROVE"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: make prove"))


def _shares_with_its_file(item: pytest.Item) -> bool:
    """Whether what a test stands on is made once for its file, and so had better be by one process alone."""
    fixtures = getattr(item, "fixturenames", [])
    definitions = item._fixtureinfo.name2fixturedefs if fixtures else {}  # type: ignore[attr-defined]
    return any(each.scope == "module" for name in fixtures for each in definitions.get(name, ()))


def pytest_report_header() -> str:
    return f"database: {connection.vendor}"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    tmp_path_factory: pytest.TempPathFactory, django_db_modify_db_settings_parallel_suffix: None
) -> None:
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


@pytest.fixture
def worker(broker: redis.Redis, tmp_path: Path) -> Iterator[subprocess.Popen]:
    with run_worker(tmp_path / "worker.log") as worker:
        yield worker


@pytest.fixture
def data_dir(settings: LazySettings, tmp_path: Path) -> Path:
    """A data directory of the test's own with nothing in it, and no model of another test's in memory."""
    from recommender.services import scoring

    scoring.forget_scorer()
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small part of the real sample as a shop export. Its history ends yesterday by the shop's clock."""
    from tests.extract import SAMPLE, write_extract

    folder = tmp_path_factory.mktemp("extract")
    today = timezone.now().astimezone(ZoneInfo(SAMPLE.time_zone)).date()
    write_extract(whole=tmp_path_factory.mktemp("whole"), folder=folder, shift_to=today - timedelta(days=1))
    return folder
