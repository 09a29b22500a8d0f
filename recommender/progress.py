"""How long work tells how far it is, and learns that it should stop.

Services and the model layer take a ``progress`` and know nothing of who watches: a terminal, a job row or nobody.
"""

import sys
import time
from typing import TextIO


class Cancelled(Exception):
    """Raised inside long work when somebody asked it to stop. Whoever raises it has left nothing half-done."""


class Progress:
    """Watches nothing. The base of every other."""

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        """Say what is being done, and how many of how many units of it are done.

        Raises:
            Cancelled: somebody asked the work to stop.
        """


class ConsoleProgress(Progress):
    """Writes to standard error: one line that is rewritten on a terminal, a line a step elsewhere."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._started = time.monotonic()
        self._message = ""

    def report(self, message: str, done: int = 0, total: int | None = None) -> None:
        if not self._stream.isatty() and message == self._message:
            return
        share = f" {done:,}/{total:,}" if total and self._stream.isatty() else ""
        line = f"[{time.monotonic() - self._started:6.1f} s] {message}{share}"
        if self._stream.isatty():
            self._stream.write(("\n" if self._message and message != self._message else "") + f"\r\x1b[K{line}")
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()
        self._message = message

    def close(self) -> None:
        """End the rewritten line."""
        if self._stream.isatty() and self._message:
            self._stream.write("\n")
