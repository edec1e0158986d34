"""The application: the one place where the parts are put together, started and stopped."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, timedelta, tzinfo
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from jobify._clock import Clock, SystemClock, Timeout
from jobify._health import Health
from jobify._job import Job
from jobify._records import Order
from jobify._recovery import recover
from jobify._registry import TaskRegistry
from jobify._run import JobStatus
from jobify._runtime import Runtime, current_runtime
from jobify._scheduler import Scheduler
from jobify._settings import Settings, make_settings
from jobify._spec import RunMode, TaskSpec
from jobify._stream import Listener, Stream
from jobify._task import Task
from jobify._zones import seconds_of
from jobify.exceptions import ApplicationStateError
from jobify.serializers import JSONSerializer, Serializer
from jobify.storage import SQLiteStorage, Storage


class _State(StrEnum):
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Jobify(TaskRegistry):
    """An application that schedules and runs jobs inside an asyncio program.

    It can be made with no event loop running, started and stopped as often as you like, and on
    another loop each time: `async with app:`.

    Args:
        storage: where durable jobs are kept; `SQLiteStorage("jobify.db")` by default.
        tz: the zone of `exec_at`, and of every cron that names none; a `tzinfo`, or the name of a zone.
        clock: what time is; by default that of the runtime of the event loop.
        serializer: turns arguments into bytes; JSON by default.
        shutdown_grace: the seconds that running jobs get to end when the app stops.
        max_concurrency: how many `async def` jobs may run at once; None for any number.
        max_threads: how many thread jobs may run at once.
        max_processes: how many process jobs may run at once; None for the number of processors.

    Raises:
        InvalidScheduleError: `tz` or `shutdown_grace` cannot be used.
    """

    def __init__(  # noqa: PLR0913  # the front door: each is a keyword with a default
        self,
        *,
        storage: Storage | None = None,
        tz: tzinfo | str = UTC,
        clock: Clock | None = None,
        serializer: Serializer | None = None,
        shutdown_grace: float | timedelta = 15,
        max_concurrency: int | None = None,
        max_threads: int = 32,
        max_processes: int | None = None,
    ) -> None:
        super().__init__(serializer if serializer is not None else JSONSerializer())
        self._storage: Storage = storage if storage is not None else SQLiteStorage()
        self._clock = clock
        slots = {RunMode.MAIN: max_concurrency, RunMode.THREAD: max_threads, RunMode.PROCESS: max_processes}
        self._settings: Settings = make_settings(tz, shutdown_grace, slots)
        self._stream = Stream()
        self._state = _State.STOPPED
        self._scheduler: Scheduler | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Task[None] | None = None

    def _check_declaration(self, spec: TaskSpec, /) -> None:
        if self._state is not _State.STOPPED:
            msg = (
                f"cannot declare the recurrence of {spec.name!r}: the app is {self._state}; declare it before the start"
            )
            raise ApplicationStateError(msg)

    def order(self, order: Order, /) -> Awaitable[Job[Any]]:
        """Accept an order of a task: for `Task`, not for you."""
        return self._running(f"schedule {order.spec.name!r}").add(order)

    def _running(self, what: str) -> Scheduler:
        scheduler = self._scheduler
        if scheduler is None:
            msg = f"cannot {what}: the app is not running; do it inside `async with app`"
            raise ApplicationStateError(msg)
        if self._loop is not asyncio.get_running_loop():
            msg = f"cannot {what}: the app runs on another event loop; do it there"
            raise ApplicationStateError(msg)
        return scheduler

    # Start and stop

    async def start(self) -> None:
        """Open the storage, bring back what is stored, and begin what is declared.

        Raises:
            ApplicationStateError: the app is started already, or has a `SystemClock` on a loop that
                brings a clock of its own.
            StorageError: the storage cannot be opened or read; the app stays stopped.
        """
        if self._loop is not None and self._loop.is_closed():
            await self._forget_lost_start()
        if self._state is not _State.STOPPED:
            msg = f"cannot start the app: it is {self._state}; stop it first"
            raise ApplicationStateError(msg)
        runtime = current_runtime()
        clock = self._choose_clock(runtime)
        self._state = _State.STARTING
        self._loop = asyncio.get_running_loop()
        try:
            runtime.app_started(self)
            scheduler = Scheduler(self._settings, runtime, clock, self._storage, self._stream)
            await self._storage.open(runtime)
            await recover(scheduler, self._specs)
        except BaseException:
            await asyncio.shield(self._close(runtime))
            raise
        self._scheduler = scheduler
        self._runtime = runtime
        self._state = _State.RUNNING

    async def _forget_lost_start(self) -> None:
        """Clear away a start whose event loop was closed under it, without a stop: as after a crash."""
        self._scheduler = self._stop = self._loop = None
        self._state = _State.STOPPED
        with contextlib.suppress(Exception):
            await self._storage.close()

    def _choose_clock(self, runtime: Runtime) -> Clock:
        if self._clock is None:
            return runtime.clock
        if isinstance(self._clock, SystemClock) and not isinstance(runtime.clock, SystemClock):
            msg = (
                f"cannot start the app with {self._clock!r}: the event loop brings a clock of its own, "
                f"{runtime.clock!r}; leave clock= out, and the app takes the right one"
            )
            raise ApplicationStateError(msg)
        return self._clock

    async def stop(self) -> None:
        """Start nothing more, let running jobs end within `shutdown_grace`, and close the storage.

        Jobs that do not end in time are cancelled; after 5 s more they are abandoned, and named in the
        log. Durable jobs stay stored for the next start. Harmless if the app is stopped.
        """
        if self._stop is None:
            if self._scheduler is None:
                return
            scheduler = self._running("stop the app")
            self._state = _State.STOPPING
            self._stop = asyncio.get_running_loop().create_task(self._shut_down(scheduler))
        await asyncio.shield(self._stop)

    async def _shut_down(self, scheduler: Scheduler) -> None:
        try:
            await scheduler.stop()
        finally:
            self._scheduler = None
            try:
                await self._close(self._runtime)
            finally:
                self._stop = None

    async def _close(self, runtime: Runtime) -> None:
        try:
            await self._storage.close()
        finally:
            await runtime.workers.close()
            self._state = _State.STOPPED
            self._loop = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # Questions

    async def get_job(self, job_id: str) -> Job[Any] | None:
        """Return the job of an id; None if there is none, or if it has finished.

        Raises:
            ApplicationStateError: the app does not run.
        """
        return await self._running("look for a job").find(job_id)

    async def jobs(
        self, *, task: Task[..., Any, Any] | str | None = None, status: JobStatus | None = None
    ) -> list[Job[Any]]:
        """Return the jobs that are not finished, in the order in which they were scheduled.

        Args:
            task: only those of this task, or of the task of this name.
            status: only those that have it.

        Raises:
            ApplicationStateError: the app does not run.
        """
        name = task.name if isinstance(task, Task) else task
        entries = self._running("list the jobs").ledger.entries.values()
        return [
            entry.handle()
            for entry in sorted(entries, key=lambda entry: entry.number)
            if entry.status is not None and name in (None, entry.task) and status in (None, entry.status)
        ]

    async def wait_all(self, *, timeout: float | timedelta | None = None) -> None:  # noqa: ASYNC109  # on our own clock
        """Return when no one-time job is left, those counted that are scheduled meanwhile.

        Recurring jobs and jobs that are held are not waited for.

        Raises:
            TimeoutError: that took longer than `timeout` seconds.
            ApplicationStateError: the app does not run, or was stopped meanwhile.
        """
        scheduler = self._running("wait for the jobs")
        if timeout is None:
            await scheduler.wait_all()
            return
        seconds = seconds_of(timeout, "timeout")
        async with Timeout(scheduler.clock, seconds) as limit:
            await scheduler.wait_all()
        if limit.expired:
            msg = f"not all one-time jobs ended within {seconds:g} s"
            raise TimeoutError(msg)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every `Transition` and every `Skipped` from now on, over all starts.

        Listeners are plain functions, called in the order of their subscription, on the event loop.
        One that raises is logged, and harms nobody.

        Returns:
            What ends the subscription.
        """
        return self._stream.subscribe(listener)

    def health(self) -> Health:
        """Return how the app is; to be asked at any time."""
        scheduler = self._scheduler
        entries = scheduler.ledger.entries.values() if scheduler is not None else ()
        return Health(
            state=self._state,
            storage_error=scheduler.keeper.error if scheduler is not None else None,
            scheduled=sum(entry.status is JobStatus.SCHEDULED for entry in entries),
            running=sum(entry.status is JobStatus.RUNNING for entry in entries),
            held={entry.id: entry.held for entry in entries if entry.held is not None},
        )

    def __repr__(self) -> str:
        return f"<Jobify: {self._state}, {len(self._specs)} tasks>"
