"""The application: the one place where the parts are put together, started and stopped."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, timedelta, tzinfo
from types import TracebackType
from typing import Any, Self

from jobify._clock import Clock
from jobify._control import Control
from jobify._entry import Order
from jobify._history import DEFAULT_RETENTION, Retention
from jobify._job import Job
from jobify._life import refuse_the_dead
from jobify._log import logger
from jobify._questions import AppState, Questions
from jobify._recovery import recover
from jobify._runtime import Runtime, choose_clock, current_runtime
from jobify._scheduler import Scheduler
from jobify._settings import Settings, check_part, make_settings
from jobify._spec import RunMode, TaskSpec
from jobify._steps import Step
from jobify.exceptions import ApplicationStateError
from jobify.serializers import JSONSerializer, Serializer
from jobify.storage import SQLiteStorage, Storage


class Jobify(Questions):
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
        catch_up_rate: how many jobs that are overdue at a start may begin in each second after it; None for all
            at once.
        max_interruptions: how often a crash may cut a run of a job short before the job is held; None for any number.
        retention: how long the history of runs is kept; None for no history.

    Raises:
        InvalidScheduleError: `tz`, `shutdown_grace` or a number of jobs cannot be used.
        TypeError: `storage`, `clock` or `serializer` is none.
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
        catch_up_rate: int | None = 100,
        max_interruptions: int | None = 3,
        retention: Retention | None = DEFAULT_RETENTION,
    ) -> None:
        for what, part in (("storage", storage), ("clock", clock), ("serializer", serializer)):
            check_part(what, part)
        super().__init__(serializer if serializer is not None else JSONSerializer())
        self._storage: Storage = storage if storage is not None else SQLiteStorage()
        self._clock = clock
        slots = {RunMode.MAIN: max_concurrency, RunMode.THREAD: max_threads, RunMode.PROCESS: max_processes}
        self._settings: Settings = make_settings(tz, shutdown_grace, slots, catch_up_rate, max_interruptions, retention)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: Step[None] | None = None
        self._start_number = 0

    def _check_declaration(self, spec: TaskSpec, /) -> None:
        if self._state is not AppState.STOPPED:
            msg = (
                f"cannot declare the recurrence of {spec.name!r}: the app is {self._state}; declare it before the start"
            )
            raise ApplicationStateError(msg)

    def order(self, order: Order, /, *, using: object = None) -> Awaitable[Job[Any]]:
        """Accept an order of a task, in the transaction of a connection if one is given: for `Task`, not for you."""
        scheduler = self._running(f"schedule {order.spec.name!r}")
        return scheduler.add(order) if using is None else scheduler.transactions.add(order, using)

    def _running(self, what: str) -> Scheduler:
        self._forget_lost_start()
        scheduler = self._scheduler
        if scheduler is None:
            msg = f"cannot {what}: the app is not running; do it inside `async with app`"
            raise ApplicationStateError(msg)
        self._check_loop(what)
        return scheduler

    def _check_loop(self, what: str) -> asyncio.AbstractEventLoop:
        refuse_the_dead(what)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            msg = f"cannot {what}: the app runs on another event loop; do it there"
            raise ApplicationStateError(msg)
        return loop

    # Start and stop

    async def start(self) -> None:
        """Open the storage, bring back what is stored, and begin what is declared.

        Raises:
            ApplicationStateError: the app is started already, has a `SystemClock` on a loop that
                brings a clock of its own, or a clock whose time is not in UTC.
            StorageError: the storage cannot be opened or read; the app stays stopped.
        """
        refuse_the_dead("start the app")
        self._forget_lost_start()
        if self._state is not AppState.STOPPED:
            remedy = "stop it first" if self._state is AppState.RUNNING else "wait for the end of that"
            msg = f"cannot start the app: it is {self._state}; {remedy}"
            raise ApplicationStateError(msg)
        runtime = current_runtime()
        clock = choose_clock(self._clock, runtime)
        self._state = AppState.STARTING
        self._loop = asyncio.get_running_loop()
        self._start_number += 1
        number = self._start_number
        try:
            runtime.app_started(self)
            scheduler = Scheduler(self._settings, runtime, clock, self._storage, self._stream, self._specs, Control)
            await scheduler.keeper.ask(self._storage.open, runtime)
            await recover(scheduler, is_wanted=lambda: number == self._start_number)
        except BaseException:
            if number == self._start_number:
                await asyncio.shield(self._close(runtime, number))
            raise
        if number != self._start_number:  # a listener has abandoned it
            msg = "cannot start the app: it was abandoned meanwhile"
            raise ApplicationStateError(msg)
        self._scheduler = scheduler
        self._runtime = runtime
        self._state = AppState.RUNNING

    def _forget_lost_start(self) -> None:
        """Clear away a start whose event loop was closed under it, without a stop: as after a crash."""
        if self._loop is None or not self._loop.is_closed():
            return
        self._scheduler = self._stop = self._loop = None
        self._state = AppState.STOPPED
        self._abandon_storage()

    def _abandon_storage(self) -> None:
        try:
            self._storage.abandon()
        except Exception:  # noqa: BLE001  # a storage may be anybody's; the log has it
            logger.exception("%r could not be abandoned", self._storage)

    def abandon(self) -> list[asyncio.Task[None]]:
        """Let go of everything at once, as the death of the process would: to test what survives it.

        What was not yet written stays unwritten, nothing more is told to listeners or started, handles of
        jobs are of no more use, and the app is stopped: it can be started again. Harmless if it is stopped.

        Returns:
            The attempts in progress. Whatever they still do, it reaches neither storage nor listeners.
        """
        self._forget_lost_start()
        scheduler, self._scheduler = self._scheduler, None
        if self._state is AppState.STOPPED:
            return []
        self._start_number += 1
        attempts = scheduler.abandon() if scheduler is not None else []
        self._abandon_storage()
        if self._stop is not None:
            self._stop.abandon()
        self._stop = self._loop = None
        self._state = AppState.STOPPED
        return attempts

    async def stop(self) -> None:
        """Start nothing more, let running jobs end within `shutdown_grace`, and close the storage.

        Jobs that do not end in time are cancelled; after 5 s more they are abandoned, and named in the
        log. Durable jobs stay stored for the next start. Harmless if the app is stopped.

        Inside a job it begins the stop and returns at once, for it would wait for that very job: the job has the
        grace that all have, and the app is stopped when they have ended.

        Raises:
            ApplicationStateError: the app is starting, or it was abandoned meanwhile.
        """
        self._forget_lost_start()
        if self._state is AppState.STOPPED:
            return
        if self._state is AppState.STARTING:
            msg = "cannot stop the app: it is starting; await start() first, or cancel the task that awaits it"
            raise ApplicationStateError(msg)
        loop = self._check_loop("stop the app")
        is_inside = self._scheduler is not None and self._scheduler.runner.attempts.is_around()
        if self._scheduler is not None and self._stop is None:
            self._state = AppState.STOPPING
            self._stop = Step(self._shut_down(self._scheduler, self._start_number), loop=loop)
        stop = self._stop
        assert stop is not None  # noqa: S101  # it is there until the app is stopped
        if is_inside:
            return
        try:
            await asyncio.shield(stop)
        except asyncio.CancelledError:
            if not stop.cancelled():
                raise
            msg = "cannot stop the app: it was abandoned meanwhile"
            raise ApplicationStateError(msg) from None

    async def _shut_down(self, scheduler: Scheduler, number: int) -> None:
        try:
            await scheduler.stop()
        finally:
            if number == self._start_number:  # else it was abandoned, and may have been started again
                self._scheduler = None
                await self._close(self._runtime, number)

    async def _close(self, runtime: Runtime, number: int) -> None:
        try:
            for close in (self._storage.close, runtime.workers.close):
                try:
                    await close()
                except (Exception, asyncio.CancelledError):  # noqa: BLE001  # either may be anybody's; the log has it
                    if number == self._start_number:  # else it was abandoned meanwhile
                        logger.exception("the app could not close all that it has opened")
        finally:
            if number == self._start_number:
                self._state = AppState.STOPPED
                self._stop = self._loop = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def __repr__(self) -> str:
        return f"<Jobify: {self._state}, {len(self._specs)} tasks>"
