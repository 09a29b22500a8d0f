"""A site on servers of its own, which the tests break: PostgreSQL, a broker, workers and web processes.

It does not matter which database the rest of the suite runs on: these tests bring theirs.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from recommender.models import Run
from recommender.services import runs, scoring
from tests.faults.impatient import TIMES
from tests.faults.servers import Broker, Postgres
from tests.faults.site import Site, connected, digest, make_shop

#: How much of each proof a usual run does.
WHOLE = bool(os.environ.get("COUPONSITE_PROVE"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with Postgres.install() as server:
        yield server


@pytest.fixture(scope="session")
def prepared(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any) -> Path:
    """A database named ``prepared`` with a shop in it, and the data folder that belongs to it."""
    from django.test import override_settings

    folder = tmp_path_factory.mktemp("prepared")
    postgres.execute("CREATE DATABASE prepared")
    with django_db_blocker.unblock(), override_settings(DATA_DIR=folder), connected(postgres.url("prepared")):
        call_command("migrate", verbosity=0)
        make_shop()
    return folder


@pytest.fixture
def broker_server(tmp_path: Path) -> Iterator[Broker]:
    with Broker.start_new() as server:
        yield server


@pytest.fixture
def site(
    postgres: Postgres,
    prepared: Path,
    broker_server: Broker,
    tmp_path: Path,
    django_db_blocker: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """A copy of the prepared shop. The test's own process is on its database and its broker too."""
    for owner, attribute, value in TIMES:
        monkeypatch.setattr(owner, attribute, value)
    postgres.start()
    name = "site"
    postgres.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE prepared")
    data = tmp_path / "data"
    shutil.copytree(prepared, data)
    settings.DATA_DIR = data
    scoring.forget_scorer()
    with (
        django_db_blocker.unblock(),
        connected(postgres.url(name), broker_url=broker_server.url),
        Site.open(postgres=postgres, broker=broker_server, database=name, data=data, logs=tmp_path) as made,
    ):
        yield made
    scoring.forget_scorer()


@pytest.fixture(scope="session")
def reference(
    postgres: Postgres, prepared: Path, tmp_path_factory: pytest.TempPathFactory, django_db_blocker: Any
) -> str:
    """The digest of the prepared run, scored by one process without a worker, one shard after the other."""
    from django.test import override_settings

    data = tmp_path_factory.mktemp("reference") / "data"
    shutil.copytree(prepared, data)
    postgres.start()
    postgres.execute("CREATE DATABASE reference TEMPLATE prepared")
    with django_db_blocker.unblock(), override_settings(DATA_DIR=data), connected(postgres.url("reference")):
        scoring.forget_scorer()
        made = digest(runs.compute_run(run=Run.objects.latest("pk")))
    scoring.forget_scorer()
    return made
