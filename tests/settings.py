"""Settings of the tests: a data directory of their own, cheap password hashes, plain static files."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

if "DATA_DIR" not in os.environ:
    os.environ["DATA_DIR"] = tempfile.mkdtemp(prefix="couponsite-tests-")
    atexit.register(shutil.rmtree, os.environ["DATA_DIR"], ignore_errors=True)
# Of several test processes at once each has its own folder in it, as have the processes that its tests start.
if (process := os.environ.get("PYTEST_XDIST_WORKER")) and Path(os.environ["DATA_DIR"]).name != process:
    os.environ["DATA_DIR"] = str(Path(os.environ["DATA_DIR"]) / process)
os.environ["REDIS_URL"] = ""  # the embedded broker

from couponsite.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {**STORAGES, "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}  # noqa: F405
