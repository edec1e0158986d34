"""The threads of `anyio.to_thread`, which do not pass through `run_in_executor`: when their calls begin and end.

A worker thread of AnyIO has a `queue` into which each call is put on the loop, and says `task_done` to it in
the thread, right behind its report to the loop. Both is private to AnyIO, and has been so since its version 3;
where it has changed, such calls hold nothing.
"""

import threading
from collections import deque
from typing import Any, Protocol


class Ledger(Protocol):
    """In which calls are noted."""

    def worker_begins(self, worker: threading.Thread, what: str, /) -> object:
        """Take note that a worker thread gets a call; on the loop."""
        ...

    def worker_ends(self, worker: threading.Thread, token: object, /) -> None:
        """Take note that it is through with the call, from any thread."""
        ...


def note_worker(worker: threading.Thread, ledger: Ledger) -> None:
    """Have the calls noted that a thread is given, which has not started; nothing if it is none of AnyIO's workers."""
    kind = type(worker)
    if kind.__name__ == "WorkerThread" and kind.__module__.startswith("anyio.") and hasattr(worker, "queue"):
        its: Any = worker
        its.queue = _NotedQueue(its.queue, worker, ledger)


class _NotedQueue:
    """The queue of one worker, which makes one call after the other."""

    def __init__(self, queue: Any, worker: threading.Thread, ledger: Ledger) -> None:
        self._queue = queue
        self._worker = worker
        self._ledger = ledger
        self._tokens: deque[object] = deque()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue, name)

    def put_nowait(self, item: Any) -> None:
        """Hand a call over; None tells the thread to end."""
        if item is not None:
            function = item[1]  # behind its context
            what = f"a call of {getattr(function, '__qualname__', repr(function))} in a thread of AnyIO"
            self._tokens.append(self._ledger.worker_begins(self._worker, what))
        self._queue.put_nowait(item)

    def task_done(self) -> None:
        """Say that a call has ended, and that its report is on its way to the loop."""
        self._queue.task_done()
        if self._tokens:
            self._ledger.worker_ends(self._worker, self._tokens.popleft())
