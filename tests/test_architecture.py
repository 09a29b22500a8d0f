"""What ARCHITECTURE.md promises of the code as a whole."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

HEAVY = ("numpy", "pandas", "polars", "pyarrow", "scipy", "sklearn", "xgboost", "matplotlib")


def test_the_layers_are_kept() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.django_db
def test_the_migrations_are_complete() -> None:
    output = StringIO()
    try:
        call_command("makemigrations", "--check", "--dry-run", stdout=output)
    except SystemExit:
        pytest.fail(output.getvalue())


@pytest.mark.parametrize("entrance", ["couponsite.wsgi", "couponsite.asgi"])
def test_a_web_process_loads_no_numeric_library(entrance: str) -> None:
    code = (
        f"import sys, {entrance}; from django.urls import get_resolver; get_resolver().url_patterns;"
        "import django.contrib.admin; django.contrib.admin.site.get_urls();"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
