"""How much memory the process held at most."""

import resource
import sys
from pathlib import Path

#: Writing 5 here makes Linux forget the peak so far (``man 5 proc``).
CLEAR_REFS = Path("/proc/self/clear_refs")


class PeakMemory:
    """The process's peak, as a whole and of stretches of work, one after the other: the system keeps one peak only."""

    def __init__(self) -> None:
        self._before = 0

    def begin(self) -> None:
        """A stretch begins."""
        self._before = self.whole()
        try:
            CLEAR_REFS.write_text("5")
            self._restarts = True
        except OSError:  # not Linux, or not allowed
            self._restarts = False

    def end(self) -> int | None:
        """Bytes that the process held at most since the stretch began; None where the system cannot tell."""
        return _peak() if self._restarts else None

    def whole(self) -> int:
        """Bytes that the process ever held at most."""
        return max(self._before, _peak())


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
