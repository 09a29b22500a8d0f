"""The commands of docs/operations.md: a backup, everything lost, and everything back, on a real PostgreSQL."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.servers import _find_wheel, run_postgres

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="starts a PostgreSQL of its own: once is enough"),
]

MAKE = """
from recommender.models import Shopper, Order
from django.utils import timezone
shopper = Shopper.objects.create(shopper_id="anna", attributes={"city": "Zürich"})
Order.objects.create(order_id="o-1", shopper=shopper, ordered_at=timezone.now())
from recommender.services.snapshot import take_snapshot
print(take_snapshot().fingerprint)
"""
LOOK = """
from recommender.models import Order, Snapshot
from recommender.services.snapshot import open_snapshot
order = Order.objects.select_related("shopper").get()
print(order.order_id, order.shopper.shopper_id, order.shopper.attributes["city"])
print(open_snapshot(snapshot=Snapshot.objects.get()).fingerprint)
"""


def commands(name: str) -> str:
    found = re.search(
        rf"<!-- {name} -->\n```sh\n(.*?)```", (settings.BASE_DIR / "docs/operations.md").read_text(), re.DOTALL
    )
    assert found is not None
    return found[1]


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str, str], str]:
    """Runs a script as the docs have it, with the programs of the tests' PostgreSQL."""
    bin_folders = [Path(sys.executable).parent, _find_wheel() / "pginstall18" / "bin"]
    (tmp_path / "manage.py").symlink_to(settings.BASE_DIR / "manage.py")

    def run(script: str, database: str) -> str:
        environment = {
            **os.environ,
            "PATH": ":".join([*map(str, bin_folders), os.environ["PATH"]]),
            "PYTHONPATH": str(settings.BASE_DIR),
            "DATABASE_URL": database,
            "DATA_DIR": str(tmp_path / "data"),
            "DJANGO_SETTINGS_MODULE": "couponsite.settings",
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_what_is_lost_comes_back(shell: Callable[[str, str], str], tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text(MAKE)
    (tmp_path / "look.py").write_text(LOOK)
    with run_postgres() as database:
        shell("python manage.py migrate --no-input --verbosity 0", database)
        fingerprint = shell("python manage.py shell --no-imports < make.py", database).split()[-1]
        secret = (tmp_path / "data" / "secret-key").read_text()
        shell(commands("backup"), database)
        shutil.rmtree(tmp_path / "data")
        (tmp_path / "data").mkdir()
        shell('psql --quiet "$DATABASE_URL" --command "DROP SCHEMA public CASCADE; CREATE SCHEMA public"', database)
        shell(commands("restore"), database)
        seen = shell("python manage.py shell --no-imports < look.py", database)
        assert seen.split("\n")[:2] == ["o-1 anna Zürich", fingerprint]
        assert (tmp_path / "data" / "secret-key").read_text() == secret
