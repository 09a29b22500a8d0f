"""Included by workers under test: what takes minutes in a real night takes seconds here, and some things go wrong.

The environment says what:

- ``FAULT_BLOCK_SECONDS``: each block of pairs takes so much longer, for a fault to fall into it;
- ``FAULT_POISONED``: this shopper cannot be scored;
- ``FAULT_DEADLY``: whoever scores this shopper dies by SIGKILL;
- ``FAULT_CLOCK_HOURS``: the worker's clock is ahead by so much, or behind;
- ``FAULT_FILE_BYTES``: no file grows beyond, as if the disk were full.
"""

import os
import resource
import signal
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from celery.signals import worker_process_init
from django.utils import timezone

from recommender import jobs
from recommender.models import Job, RunShard

EXPIRES = timedelta(seconds=6)
TIMES: list[tuple[Any, str, object]] = [
    (Job, "HEARTBEAT_EXPIRES", EXPIRES),
    (RunShard, "CLAIM_EXPIRES", EXPIRES),
    (jobs, "BEAT_EVERY", timedelta(seconds=1)),
    (jobs, "LOOK_EVERY", timedelta(seconds=0.3)),
]


def take_effect() -> None:
    for owner, name, value in TIMES:
        setattr(owner, name, value)
    if hours := float(os.environ.get("FAULT_CLOCK_HOURS", "0")):
        _move_clock(timedelta(hours=hours))


def _move_clock(by: timedelta) -> None:
    """Of what asks Django for the time, which is all of the site that compares moments."""
    right = timezone.now

    def wrong() -> datetime:
        return right() + by

    timezone.now = wrong


@worker_process_init.connect
def break_things(**signal_arguments: Any) -> None:
    """In the process that works: its parent loads no numeric library."""
    if size := int(os.environ.get("FAULT_FILE_BYTES", "0")):
        with Path(os.devnull).open("w") as nowhere:  # the worker's log is a file too
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    seconds = float(os.environ.get("FAULT_BLOCK_SECONDS", "0"))
    poisoned, deadly = os.environ.get("FAULT_POISONED"), os.environ.get("FAULT_DEADLY")
    if not seconds and poisoned is None and deadly is None:
        return
    from recommender.services import scoring

    score_blocks = scoring.score_blocks

    def score_with_faults(shard: RunShard, **options: Any) -> Iterator[Any]:
        if deadly in shard.shopper_ids:
            os.kill(os.getpid(), signal.SIGKILL)
        if poisoned in shard.shopper_ids:
            raise ValueError("poisoned")
        for block in score_blocks(shard, **options):
            time.sleep(seconds)
            yield block

    scoring.score_blocks = score_with_faults


if os.environ.get("FAULTS"):  # in a worker, not where the tests read TIMES
    take_effect()
