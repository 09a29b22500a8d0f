"""A web process that stops in the middle of publishing: the old list's time has ended and the new one's not begun."""

import os
import time
from pathlib import Path
from typing import Any

from couponsite.wsgi import application
from recommender.services import publishing

_show = publishing._show


def wait_first(*arguments: Any, **named: Any) -> Any:
    """Say who is at it, and go on when told: the process is killed meanwhile."""
    Path(os.environ["FAULT_PUBLISHING"]).write_text(str(os.getpid()))
    while not Path(os.environ["FAULT_GO_ON"]).exists():
        time.sleep(0.02)
    return _show(*arguments, **named)


publishing._show = wait_first

__all__ = ["application"]
