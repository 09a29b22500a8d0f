"""A migration while the old version serves: what that asks and writes goes on working on the new tables.

The rule is in docs/scaling.md: a release only adds, and what it adds may be left out by who does not know of it. The
old version is played by the models as they were before: they read the columns that they know, and write rows of these.
"""

import threading
from collections import Counter
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from tests.faults.conftest import WHOLE
from tests.faults.site import Site

pytestmark = pytest.mark.real

APP = "recommender"
#: The first migration that must keep the rule.
SINCE = "0019_workers"


def last_before() -> str:
    """The migration before :data:`SINCE`."""
    loader = MigrationExecutor(connection).loader
    (leaf,) = loader.graph.leaf_nodes(APP)
    names = [name for app, name in loader.graph.forwards_plan(leaf) if app == APP]
    return names[names.index(SINCE) - 1]


class OldVersion:
    """Reads and writes as the version before does, in several threads, and counts what goes wrong."""

    def __init__(self, apps: Any) -> None:
        self._apps = apps
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=[name, act], daemon=True)
            for name, act in (("read", self._read_all), ("served", self._read_list), ("wrote", self._write))
        ]

    def __enter__(self) -> "OldVersion":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _repeat(self, name: str, act: Any) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            try:
                act(count)
                self.done[name] += 1
            except DatabaseError as error:
                self.errors.append(f"{name}: {error}")
        connection.close()

    def _read_all(self, count: int) -> None:
        for model in self._apps.get_app_config(APP).get_models():
            list(model._default_manager.all()[:2])

    def _read_list(self, count: int) -> None:
        rows = self._apps.get_model(APP, "Recommendation").objects.select_related("run", "coupon", "shopper")
        list(rows.filter(excluded=False).order_by("rank")[:10])

    def _write(self, count: int) -> None:
        """What the site writes all day: work, events, shoppers; and then rows of a run."""
        model = self._apps.get_model
        now = timezone.now()
        shopper = model(APP, "Shopper").objects.create(shopper_id=f"old-{count}")
        shopper.save()
        model(APP, "Event").objects.create(shopper=shopper, kind="view", occurred_at=now, event_key=f"old-{count}")
        job = model(APP, "Job").objects.create(kind="train", key=f"old-{count}")
        model(APP, "Job").objects.filter(pk=job.pk).update(state="succeeded", finished_at=now)
        run = model(APP, "Run").objects.latest("pk")
        model(APP, "RunShard").objects.create(run=run, number=10_000 + count, shopper_ids=[])


def test_the_version_before_serves_on_while_the_last_migrations_run(site: Site) -> None:
    before = last_before()
    for _ in range(3 if WHOLE else 1):
        call_command("migrate", APP, before, verbosity=0)
        old = MigrationExecutor(connection).loader.project_state([(APP, before)]).apps
        with OldVersion(old) as version:
            site.wait_for(lambda: all(version.done[name] > 2 for name in NAMES))
            call_command("migrate", verbosity=0)
            migrated = dict(version.done)
            site.wait_for(
                lambda version=version, migrated=migrated: all(
                    version.done[name] > migrated[name] + 2 for name in NAMES
                )
            )
        assert version.errors == []
        clean_up(old)


NAMES = ("read", "served", "wrote")


def clean_up(apps: Any) -> None:
    apps.get_model(APP, "RunShard").objects.filter(number__gte=10_000).delete()
    apps.get_model(APP, "Event").objects.filter(event_key__startswith="old-").delete()
    apps.get_model(APP, "Shopper").objects.filter(shopper_id__startswith="old-").delete()
    apps.get_model(APP, "Job").objects.filter(key__startswith="old-").delete()
