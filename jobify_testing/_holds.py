"""Real work in flight: what keeps time from moving, and the ledger in which it is noted.

Nothing is polled for. Work says itself that it begins and that it ends: calls through the doors of the
loop, threads and pools through the hooks of `_hooks`.
"""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Generator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from jobify_testing._anyio_threads import note_worker
from jobify_testing._errors import ForbiddenWorkError
from jobify_testing._options import Kind, Policy

_POOLS = ("concurrent.futures", "multiprocessing", "asyncio", "anyio", "jobify", "jobify_testing")
"""Whose threads are those of a pool: they live on without work, and their calls are counted instead."""


class Host(Protocol):
    """What the holds need of their loop."""

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> Any:
        """Call soon, on the loop."""
        ...


class Holds:
    """The work that keeps time from moving.

    Attributes:
        policies: what work of a kind does; "wait" where nothing is said.
        host: the loop.
    """

    def __init__(self, host: Host) -> None:
        self.policies: Mapping[Kind, Policy] = {}
        self.host = host
        self._names: dict[object, str] = {}
        self._ignored: dict[object, str] = {}
        self._owners: dict[object, asyncio.Task[Any]] = {}
        # Threads that wait for the loop hold nothing while they do.
        self._threads: dict[threading.Thread, object] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __str__(self) -> str:
        return ", ".join(sorted({*self._names.values(), *self._ignored.values()}))

    def are_left(self) -> bool:
        """Whether any work is in flight, also such as holds no time, but may wake a loop with nothing else to do."""
        return bool(self._names or self._ignored)

    def take(self, kind: Kind, what: str) -> object:
        """Begin what `release` ends; `what` names the work in errors.

        Raises:
            ForbiddenWorkError: work of this kind is forbidden in this test.
        """
        self.check(kind, what)
        return self.note(kind, what)

    def note(self, kind: Kind, what: str) -> object:
        """Take note of work that is in flight already; `release` ends it."""
        token = object()
        (self._names if self.waits_for(kind) else self._ignored)[token] = what
        return token

    def check(self, kind: Kind, what: str) -> None:
        """Make sure that work may begin which `what` names in the error.

        Raises:
            ForbiddenWorkError: work of this kind is forbidden in this test.
        """
        if self.policies.get(kind) == "forbid":
            msg = f"{what}: this test forbids real work of the kind {kind!r}"
            raise ForbiddenWorkError(msg)

    def waits_for(self, kind: Kind) -> bool:
        """Whether work of a kind holds time."""
        return self.policies.get(kind, "wait") == "wait"

    def release(self, token: object) -> None:
        """End what `take` began; harmless if repeated. On the thread of the loop only."""
        self._names.pop(token, None)
        self._ignored.pop(token, None)

    def release_soon(self, token: object) -> None:
        """End what `take` began, from any thread, behind all that this thread has asked of the loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.host.call_soon_threadsafe(self.release, token)

    @contextlib.contextmanager
    def during(self, kind: Kind, what: str) -> Generator[None, None, None]:
        """Hold time in this block of a task, for as long as the task may go on.

        Raises:
            ForbiddenWorkError: work of this kind is forbidden in this test.
        """
        token = self.take(kind, what)
        owner = asyncio.current_task() if asyncio._get_running_loop() is not None else None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # documented for authors of loops
        if owner is not None:
            self._owners[token] = owner
        try:
            yield
        finally:
            self._owners.pop(token, None)
            self.release(token)

    def abandon(self, tasks: AbstractSet[asyncio.Task[Any]]) -> None:
        """End what tasks hold that will never go on."""
        for token, owner in self._owners.items():
            if owner in tasks:
                self.release(token)

    def expire(self) -> None:
        """Let all that is in flight hold time no longer."""
        self._ignored |= self._names
        self._names.clear()

    # Threads and pools

    def thread_starts(self, thread: threading.Thread) -> None:
        """Take note of a thread that is about to start."""
        if _is_of_pool(thread):
            note_worker(thread, self)
            return
        what = f"the thread {thread.name!r}"
        token = self.take("thread", what)
        self._threads[thread] = token
        run = thread.run

        def run_and_tell() -> None:
            try:
                run()
            finally:
                vars(thread).pop("run", None)  # the instance's own, set below
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self.host.call_soon_threadsafe(self._thread_ended, thread, token)

        thread.run = run_and_tell  # type: ignore[method-assign]  # the one place that is always passed at the end

    def thread_starts_not(self, thread: threading.Thread) -> None:
        """Take note that a thread did not start after all."""
        token = self._threads.pop(thread, None)
        if token is not None:
            self.release(token)
            vars(thread).pop("run", None)

    def _thread_ended(self, thread: threading.Thread, token: object) -> None:
        if self._threads.get(thread) is token:  # else it has been given the next call
            del self._threads[thread]
        self.release(token)

    def worker_begins(self, worker: threading.Thread, what: str) -> object:
        """Take note of a call that a worker thread gets, on the loop; return what `worker_ends` wants."""
        token = self._threads[worker] = self.take("executor", what)
        return token

    def worker_ends(self, worker: threading.Thread, token: object) -> None:
        """Take note that a worker is through with a call, and has told the loop of it; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.host.call_soon_threadsafe(self._thread_ended, worker, token)

    def call_submitted(self, call: "concurrent.futures.Future[Any]", what: str) -> None:
        """Take note of a call in a pool: it holds until its thread or process is through with it."""
        token = self.take("executor", what)
        _behind_callbacks(call, lambda: self.release_soon(token))

    def thread_waits(self, answer: "concurrent.futures.Future[Any]") -> None:
        """Take note that this thread has submitted a coroutine: it may wait for the answer, so it holds nothing."""
        thread = threading.current_thread()
        token = self._threads.get(thread)
        if token is None or (what := self._names.pop(token, None)) is None:
            return

        def hold_again(_: object) -> None:
            if self._threads.get(thread) is token:
                self._names[token] = what

        # The answer is set on the loop, so this is called there.
        answer.add_done_callback(hold_again)


def _behind_callbacks(call: Any, then: Callable[[], object]) -> None:
    """Call `then` when a call has ended and its callbacks, also those that come later, have asked the loop for theirs.

    A callback of our own would be the first: time could move between it and the one that wakes who waits.
    """
    tell = getattr(call, "_invoke_callbacks", None)
    if tell is None:  # private, and the same since Python 3.2

        def ended(_: object) -> None:
            then()

        call.add_done_callback(ended)
        return

    def tell_and_then() -> None:
        call.__dict__.pop("_invoke_callbacks", None)
        tell()
        then()

    call._invoke_callbacks = tell_and_then  # noqa: SLF001  # see above
    if call.done():  # perhaps before that
        then()


def _is_of_pool(thread: threading.Thread) -> bool:
    target: Any = getattr(thread, "_target", None)
    for owner in (target, type(thread)):
        module = getattr(owner, "__module__", None) or ""
        if owner is not threading.Thread and module.startswith(_POOLS):
            return True
    return False


def has_strangers() -> bool:
    """Whether there are threads, besides this one and those of pools, that began outside of any virtual loop's run.

    Nothing is known of them: they may be about to ask the loop for something.
    """
    own = threading.current_thread()
    return any(thread is not own and not _is_of_pool(thread) for thread in threading.enumerate())
