"""All that the core takes from the world it runs in, as one public protocol.

When an app starts it takes the runtime of the running event loop (its attribute
`jobify_runtime`), else the system's. So the same app runs in production and on virtual time, and
the core never asks which of the two it is.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from jobify._clock import Clock, SystemClock
from jobify._job import Job
from jobify._stream import Event
from jobify._workers import SystemWorkers, Workers

T = TypeVar("T")


class StartedApp(Protocol):
    """What a runtime may do with an app that starts."""

    def subscribe(self, listener: Callable[[Event], object], /) -> Callable[[], None]:
        """Call `listener` with every event from now on; return what ends that."""
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

    def new_id(self) -> str:
        """Return an id for a job that was given none."""
        ...

    def database_path(self, path: Path) -> Path:
        """Return the file that stands for the database that is asked for as `path`."""
        ...

    def memory_of(self, rows: T) -> T:
        """Return what stands for the rows of a storage in memory: `rows`, or fresh ones."""
        ...

    def before_start(self, job: Job[Any]) -> Awaitable[None] | None:
        """Return what a run of `job` has to wait for before it starts, if anything."""
        ...

    def app_started(self, app: StartedApp) -> None:
        """Take note of an app that is about to start: nothing has happened in it yet."""
        ...


class SystemRuntime:
    """The world as it is; made anew for each start of an app."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.random = random.Random()  # noqa: S311  # spreads load, guards nothing
        self.workers: Workers = SystemWorkers()

    def new_id(self) -> str:
        """Return 128 random bits in hexadecimal."""
        return os.urandom(16).hex()

    def database_path(self, path: Path) -> Path:
        """Return `path`."""
        return path

    def memory_of(self, rows: T) -> T:
        """Return `rows`."""
        return rows

    def before_start(self, job: Job[Any]) -> None:  # noqa: ARG002
        """Wait for nothing."""
        return

    def app_started(self, app: StartedApp) -> None:
        """Take no note."""


def current_runtime() -> Runtime:
    """Return the runtime of the running event loop, or else a new one of the system."""
    runtime: Runtime | None = getattr(asyncio.get_running_loop(), "jobify_runtime", None)
    return runtime or SystemRuntime()
