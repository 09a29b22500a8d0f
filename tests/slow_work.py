"""Included by the workers of ``test_real_worker``: loading is replaced by work that lasts and leaves traces."""

import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recommender import tasks
from recommender.models import Job
from recommender.progress import Progress


def work(job: Job, progress: Progress) -> Mapping[str, Any]:
    """Go on until there is a file named ``finish`` in the job's folder; note each beginning in the file ``begun``."""
    folder = Path(job.arguments["folder"])
    with (folder / "begun").open("a") as begun:
        begun.write(f"{os.getpid()}\n")
    steps = 0
    while not (folder / "finish").exists():
        steps += 1
        progress.report("Working", steps)
        time.sleep(0.02)
    return {
        "threads": os.environ["OPENBLAS_NUM_THREADS"],
        "polars_at_start": "polars" in sys.modules,
        "beats": [thread.name for thread in threading.enumerate() if thread.name.startswith("job-")],
    }


tasks._WORK[Job.Kind.LOAD] = work
