"""What an operator can mend is told in a line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env={
            **inherited,
            "DATA_DIR": str(tmp_path / "data"),
            "DJANGO_SETTINGS_MODULE": "couponsite.settings",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"WORKER_CONCURRENCY": "abc"}, "WORKER_CONCURRENCY: Not a valid integer."),
        ({"DATABASE_URL": "garbage"}, "DATABASE_URL"),
        ({"DATA_DIR": "/proc/nope"}, "DATA_DIR: the folder /proc/nope cannot be made"),
    ],
)
def test_an_environment_that_cannot_be_read(tmp_path: Path, environment: dict[str, str], told: str) -> None:
    done = run(tmp_path, "check", **environment)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert told in done.stderr


def test_a_database_without_its_tables(tmp_path: Path) -> None:
    done = run(tmp_path, "train")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("has manage.py migrate been run?")
    assert "Traceback" not in done.stderr
    assert "Traceback" in run(tmp_path, "train", "--traceback").stderr
