"""How much memory the process held at most."""

import resource
import sys
from pathlib import Path

#: Writing 5 here makes Linux forget the peak so far (``man 5 proc``).
CLEAR_REFS = Path("/proc/self/clear_refs")

_forgotten = 0  # the highest peak that the system was made to forget


class PeakMemory:
    """The peaks of stretches of work, one after the other: the system keeps one peak only."""

    def begin(self) -> None:
        """A stretch begins."""
        global _forgotten  # noqa: PLW0603  # the peak is the process's
        _forgotten = process_peak()
        try:
            CLEAR_REFS.write_text("5")
            self._restarts = True
        except OSError:  # not Linux, or not allowed
            self._restarts = False

    def end(self) -> int | None:
        """Bytes that the process held at most since the stretch began; None where the system cannot tell."""
        return _peak() if self._restarts else None


def process_peak() -> int:
    """Bytes that the process ever held at most, whatever stretches began meanwhile."""
    return max(_forgotten, _peak())


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
