"""The files to deploy by, checked without deploying."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from recommender.management.commands.up import MOST_LEFT_BY_LEARNING, commands
from tests.test_settings import VARIABLES

DEPLOY = settings.BASE_DIR / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
#: Read by the images of PostgreSQL, by the web server and by AWS's own libraries.
OTHERS_VARIABLES = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "WEB_CONCURRENCY", "WEB_THREADS"}


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def check_workers(starts: Iterable[Sequence[str]]) -> None:
    """That somebody serves each queue, that there is one scheduler, and that a process which learned gives back what it
    held, but none that has prepared a run and would have to do it again."""
    starts = list(starts)
    served = {start[start.index("--queues") + 1]: start for start in starts if "--queues" in start}
    assert set(served) == {queue.name for queue in settings.CELERY_TASK_QUEUES}
    assert sum("beat" in start for start in starts) == 1
    limits = {
        queue: start[start.index("--max-memory-per-child") + 1]
        for queue, start in served.items()
        if "--max-memory-per-child" in start
    }
    assert limits == {"training": str(MOST_LEFT_BY_LEARNING)}
    assert "CELERY_WORKER_MAX_MEMORY_PER_CHILD" not in dir(settings)


def test_the_site_of_one_command_has_every_worker() -> None:
    check_workers(commands(("127.0.0.1", 8000)).values())


def test_the_dockerfile_is_without_fault() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_in_particular_and_tells_its_health() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    final = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    assert "HEALTHCHECK" in final
    assert "/health/ready" in final
    assert text.count("\nFROM ") == 2
    ignored = (settings.BASE_DIR / ".dockerignore").read_text().split()
    assert {".env", ".git", "data"} <= set(ignored)


class TestCompose:
    def test_has_every_part(self, compose: dict) -> None:
        assert set(compose["services"]) == {
            *("postgres", "redis", "migrate", "web", "trainer", "scorer", "clerk", "beat"),
        }
        assert compose["services"]["web"]["ports"] == ["127.0.0.1:8000:8000"], "only a proxy on the host reaches it"

    def test_every_part_that_stays_is_watched(self, compose: dict) -> None:
        for name, service in compose["services"].items():
            if name not in ("migrate", "beat", "web"):  # one ends, one answers nobody, one is watched by its image
                assert service["healthcheck"]["test"], name
            assert name == "migrate" or service["restart"] == "unless-stopped"

    def test_what_it_names_is_there(self, compose: dict) -> None:
        services, volumes = compose["services"], compose["volumes"]
        for service in services.values():
            for needed, how in service.get("depends_on", {}).items():
                assert needed in services
                assert how["condition"] in ("service_healthy", "service_completed_successfully")
            for volume in service.get("volumes", ()):
                assert volume.partition(":")[0] in volumes
            assert service.get("env_file", ["site.env"]) == ["site.env"]
            assert not service.get("environment"), "secrets are in the file alone"
        assert (DEPLOY / services["web"]["build"]["context"]).resolve() == settings.BASE_DIR
        assert (settings.BASE_DIR / services["web"]["build"]["dockerfile"]).is_file()

    def test_every_queue_has_a_worker_and_there_is_one_beat(self, compose: dict) -> None:
        check_workers([service.get("command", []) for service in compose["services"].values()])


def test_the_example_of_the_environment_names_known_variables_and_holds_no_secret() -> None:
    lines = (DEPLOY / "site.env.example").read_text().splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(given) <= {*VARIABLES, *OTHERS_VARIABLES}
    for name in ("SECRET_KEY", "POSTGRES_PASSWORD", "METRICS_TOKEN"):
        assert given[name] == ""
    assert "deploy/site.env" in (settings.BASE_DIR / ".gitignore").read_text().split()


class TestSystemd:
    @pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
    def test_a_unit_is_without_fault(self, unit: Path, tmp_path: Path) -> None:
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            pytest.skip("systemd-analyze is not installed: the units are not verified")
        # The programs are installed where the site is deployed, not here.
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE)
        (tmp_path / unit.name).write_text(text)
        done = subprocess.run([analyze, "verify", tmp_path / unit.name], capture_output=True, text=True, check=False)
        told = [line for line in done.stderr.splitlines() if unit.name in line]
        assert told == []

    def test_every_queue_has_a_worker_and_there_is_one_beat(self) -> None:
        starts = [
            shlex.split(line.removeprefix("ExecStart="))
            for unit in UNITS
            for line in unit.read_text().splitlines()
            if line.startswith("ExecStart=")
        ]
        check_workers(starts)
        assert sum("couponsite.wsgi" in start for start in starts) == 1

    @pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
    def test_a_unit_has_few_rights(self, unit: Path) -> None:
        lines = unit.read_text().splitlines()
        assert {"User=couponsite", "NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077"} <= set(lines)
