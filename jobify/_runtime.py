"""All that the core takes from the world it runs in, as one public protocol.

When an app starts it takes the runtime of the running event loop (its attribute
`jobify_runtime`), else the system's. So the same app runs in production and on virtual time, and
the core never asks which of the two it is.
"""

import asyncio
import contextlib
import contextvars
import os
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from jobify._clock import Clock, SystemClock
from jobify._health import Health
from jobify._job import Job
from jobify._stream import Event
from jobify._workers import SystemWorkers, Workers
from jobify.exceptions import ApplicationStateError

T = TypeVar("T")


class StartedApp(Protocol):
    """What a runtime may do with an app that starts."""

    def subscribe(self, listener: Callable[[Event], object], /) -> Callable[[], None]:
        """Call `listener` with every event from now on; return what ends that."""
        ...

    def local_jobs(self) -> list[Job[Any]]:
        """Return the unfinished jobs that this process holds."""
        ...

    def health(self) -> Health:
        """Return how the app is."""
        ...


class Runtime(Protocol):
    """The world: time, chance, threads and processes, and where databases live."""

    @property
    def clock(self) -> Clock:
        """The clock of the scheduler."""
        ...

    @property
    def random(self) -> random.Random:
        """The source of chance: the jitter of a backoff."""
        ...

    @property
    def workers(self) -> Workers:
        """Where thread jobs, process jobs and storage calls run."""
        ...

    @property
    def process(self) -> str:
        """The name of this process, for the history: its host and its process id."""
        ...

    def new_id(self) -> str:
        """Return an id for a job that was given none."""
        ...

    def place(self, number: int) -> int:
        """Return the key that orders a job among those due at the same instant; no two are alike.

        `number` counts the jobs in the order in which they were scheduled.
        """
        ...

    def database_path(self, path: Path) -> Path:
        """Return the file that stands for the database that is asked for as `path`."""
        ...

    def memory_of(self, rows: T) -> T:
        """Return what stands for the rows of a storage in memory: `rows`, or fresh ones."""
        ...

    def real_work(self, what: str) -> AbstractContextManager[None]:
        """Keep time where it is, if it can be kept, in a `with` block: somebody outside of this process works.

        `what` names that in errors.
        """
        ...

    def before_start(self, job: Job[Any]) -> Awaitable[None] | None:
        """Return what a run of `job` has to wait for before it starts, if anything."""
        ...

    def app_started(self, app: StartedApp) -> None:
        """Take note of an app that is about to start: nothing has happened in it yet."""
        ...

    def run_context(self) -> contextvars.Context:
        """Return the context of which each run of the app that has just started gets a copy."""
        ...


class SystemRuntime:
    """The world as it is; made anew for each start of an app.

    Attributes:
        refused: why no app may start in it at present, as words behind "the app cannot start"; None if it may. Virtual
            time sets it: an app on a real loop would see the virtual date, and run what is really stored.
    """

    refused: ClassVar[str | None] = None

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.random = random.Random()  # noqa: S311  # spreads load, guards nothing
        self.workers: Workers = SystemWorkers()
        self._ids: list[str] = []  # drawn beforehand: each draw gives others the turn, and waits for its own again
        self._ids_of = 0

    @property
    def process(self) -> str:
        """The name of the host and the process id."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def new_id(self) -> str:
        """Return 128 random bits in hexadecimal."""
        if not self._ids or self._ids_of != os.getpid():  # a forked child would give the same ones
            drawn = os.urandom(64 * 16).hex()
            self._ids = [drawn[start : start + 32] for start in range(0, len(drawn), 32)]
            self._ids_of = os.getpid()
        return self._ids.pop()

    def place(self, number: int) -> int:
        """Return `number`: first come, first served."""
        return number

    def database_path(self, path: Path) -> Path:
        """Return `path`."""
        return path

    def memory_of(self, rows: T) -> T:
        """Return `rows`."""
        return rows

    def real_work(self, what: str) -> AbstractContextManager[None]:  # noqa: ARG002
        """Do nothing: nobody keeps this time."""
        return contextlib.nullcontext()

    def before_start(self, job: Job[Any]) -> None:  # noqa: ARG002
        """Wait for nothing."""
        return

    def app_started(self, app: StartedApp) -> None:
        """Take no note."""

    def run_context(self) -> contextvars.Context:
        """Return what the program set before the start; what a run sets, no other run sees."""
        return contextvars.copy_context()


def current_runtime() -> Runtime:
    """Return the runtime of the running event loop, or else a new one of the system.

    Raises:
        ApplicationStateError: that is refused at present.
    """
    runtime: Runtime | None = getattr(asyncio.get_running_loop(), "jobify_runtime", None)
    if runtime is None and SystemRuntime.refused is not None:
        msg = f"the app cannot start {SystemRuntime.refused}"
        raise ApplicationStateError(msg)
    return runtime or SystemRuntime()


def choose_clock(given: Clock | None, runtime: Runtime) -> Clock:
    """Return the clock that an app was given, or else that of the runtime.

    Raises:
        ApplicationStateError: a `SystemClock` was given though the loop brings a clock of its own, or a
            clock whose time is not in UTC.
    """
    if given is None:
        return runtime.clock
    if isinstance(given, SystemClock) and not isinstance(runtime.clock, SystemClock):
        msg = (
            f"cannot start the app with {given!r}: the event loop brings a clock of its own, "
            f"{runtime.clock!r}; leave clock= out, and the app takes the right one"
        )
        raise ApplicationStateError(msg)
    now = given.now()
    if not isinstance(now, datetime) or now.utcoffset() != timedelta():  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot start the app with {given!r}: its now() is not in UTC; return an aware datetime that is"
        raise ApplicationStateError(msg)
    return given
