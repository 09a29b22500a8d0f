"""The worker of Gunicorn: connections are shared out evenly among its processes.

Gunicorn's threaded worker takes connections as long as it has room for them, which is a thousand. Of twenty callers
that come at once one process can so take nearly all; and callers that keep their connection stay where they are. One
core then answers, and the others have nothing to do.
"""

import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

#: Seconds for each request that a process has to do, or to get to, beyond its threads.
_HESITATION = 0.01


class SharingThreadWorker(ThreadWorker):
    """A threaded worker that leaves new connections to others while all of its threads have something to do.

    A connection waits in the socket that all processes listen to, so that whichever has a thread for it first takes it.
    Where all are busy for long, each takes one now and then, the more seldom the more it has to do: callers who keep
    their connections and always ask again must not keep new ones out.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._requests = 0
        self._next_accept = 0.0

    def set_accept_enabled(self, enabled: bool) -> None:
        # Asked again after whatever happens (ThreadWorker.run), so also after each request that ends.
        has_a_thread = self._requests < self.cfg.threads
        super().set_accept_enabled(enabled and (has_a_thread or time.monotonic() >= self._next_accept))

    def accept(self, listener: Any) -> None:
        super().accept(listener)
        beyond = self._requests - self.cfg.threads + 1
        self._next_accept = time.monotonic() + max(beyond, 0) * _HESITATION
        self.set_accept_enabled(self._accepting)

    def enqueue_req(self, conn: Any) -> None:
        self._requests += 1
        super().enqueue_req(conn)
        self.set_accept_enabled(self._accepting)

    def finish_request(self, conn: Any, fs: Any) -> None:
        self._requests -= 1
        super().finish_request(conn, fs)
