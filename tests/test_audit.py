"""The audit fails for a vulnerable package, and says aloud what it could not ask."""

import subprocess

import pytest

from tests import audit

GOOD = {"name": "good", "version": "1", "vulns": []}
BAD = {"name": "bad", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found"}


def test_a_vulnerable_package_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.tell([GOOD, BAD]) == 1
    assert capsys.readouterr().out == "bad 1: PYSEC-1; fixed in 2\n2 packages were audited, 1 are vulnerable.\n"


def test_what_was_not_asked_is_told_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.tell([GOOD, UNKNOWN]) == 0
    told = capsys.readouterr()
    assert "NOT AUDITED: 1 of 2 packages are not known to the service." in told.err
    assert told.out == "1 packages were audited, 0 are vulnerable.\n"


@pytest.mark.parametrize("failure", ["timeout", "network"])
def test_without_the_service_it_is_told_and_no_failure(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    def run(*args: object, **names: object) -> subprocess.CompletedProcess:
        if failure == "timeout":
            raise subprocess.TimeoutExpired("pip-audit", 1)
        return subprocess.CompletedProcess([], 1, "", "Traceback\nConnectionError: no route\n")

    monkeypatch.setattr(subprocess, "run", run)
    assert audit.audit(["requirements.txt"]) == 0
    assert "NOT AUDITED: " in capsys.readouterr().err
