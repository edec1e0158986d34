"""A job as its user sees it, and the one place where its status changes.

`JobState` is what its scheduler writes, `Job` the handle through which people read; a handle reaches up only
through `Owner`. This module knows neither time nor storage.
"""

import asyncio
from collections.abc import Generator, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Generic, NoReturn, Protocol, TypeVar, cast, final

from jobify._run import JobStatus, Run, check_transition
from jobify._zones import shown_in
from jobify.exceptions import ApplicationStateError, JobCancelledError, JobNotCompletedError

T_co = TypeVar("T_co", covariant=True)


class Owner(Protocol):
    """What a job can ask of the scheduler that it belongs to."""

    async def cancel(self, state: "JobState", /) -> bool:
        """See `Job.cancel`."""
        ...

    def due_in(self, state: "JobState", /) -> timedelta:
        """See `Job.due_in`."""
        ...

    def check_loop(self, what: str, /) -> None:
        """Raise `ApplicationStateError` if the running event loop is not that of the app."""
        ...


class JobState:
    """What is true of a job right now: written by its scheduler, read through its handle.

    Attributes:
        id: unique among the jobs of the app.
        task: the name of the task that it calls.
        owner: the scheduler.
        tz: the zone in which people see its times.
        exec_at: when it is due next, or was due last; in UTC.
        recurring: whether it has more than one run.
        cron_expression: of a cron job; else None.
        status: None until the job is accepted.
        attempt: the number of the last attempt in its run; 0 before the first.
        held: why it will not start by itself.
        last_run: the run that ended last.
        done: whether it has finished for good.
        left: why this handle is of no more use although the job is not done.
    """

    __slots__ = (
        "__weakref__",
        "_waiters",
        "attempt",
        "cron_expression",
        "done",
        "exec_at",
        "held",
        "id",
        "last_run",
        "left",
        "owner",
        "recurring",
        "status",
        "task",
        "tz",
    )

    def __init__(self, job_id: str, task: str, *, owner: Owner, tz: tzinfo, exec_at: datetime) -> None:
        self.id = job_id
        self.task = task
        self.owner = owner
        self.tz = tz
        self.exec_at = exec_at
        self.recurring = False
        self.cron_expression: str | None = None
        self.status: JobStatus | None = None
        self.attempt = 0
        self.held: str | None = None
        self.last_run: Run[Any] | None = None
        self.done = False
        self.left: str | None = None
        self._waiters: dict[asyncio.Future[Run[Any] | None], bool] | None = None

    def bound_arguments(self) -> Mapping[str, Any]:
        """See `Job.arguments`."""
        return {}

    def move(self, status: JobStatus) -> JobStatus | None:
        """Change the status; return the one before.

        Raises:
            IllegalTransitionError: the life of a job does not know this change.
        """
        previous = self.status
        check_transition(self.id, previous, status)
        self.status = status
        return previous

    def wait(self, *, patient: bool = True) -> asyncio.Future["Run[Any] | None"]:
        """Return a future that is resolved at the end of a run, or of the job; if not `patient`, at a hold too."""
        waiter: asyncio.Future[Run[Any] | None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = {}
        self._waiters[waiter] = patient
        return waiter

    def forget(self, waiter: asyncio.Future["Run[Any] | None"]) -> None:
        """Drop a waiter that waits no longer."""
        if self._waiters is not None:
            self._waiters.pop(waiter, None)

    def hold(self, reason: str) -> None:
        """Not start by itself any more."""
        self.held = reason
        for waiter, patient in (self._waiters or {}).items():
            if not patient and not waiter.done():
                waiter.set_result(self.last_run)

    def release(self) -> None:
        """Wake all waiters: a run has ended, or the job."""
        for waiter in self._take_waiters():
            if not waiter.done():
                waiter.set_result(self.last_run)

    def finish(self) -> None:
        """Be done for good."""
        self.done = True
        self.release()

    def leave(self, reason: str) -> None:
        """Be of no more use as a handle: the job goes on in the storage alone."""
        self.left = reason
        for waiter in self._take_waiters():
            if not waiter.done():
                waiter.set_exception(ApplicationStateError(reason))

    def _take_waiters(self) -> tuple[asyncio.Future["Run[Any] | None"], ...]:
        waiters, self._waiters = self._waiters, None
        return tuple(waiters or ())

    def handle(self) -> "Job[Any]":
        """Return a handle for the user."""
        job: Job[Any] = cast("Any", object.__new__(Job))
        job._state = self  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the constructor is closed to users
        return job


@final
class Job(Generic[T_co]):
    """A scheduled call, or a recurrence of calls.

    You do not make one: `await task.schedule(...).delay(5)` and its like do.
    """

    __slots__ = ("__weakref__", "_state")

    _state: JobState

    def __init__(self) -> None:
        msg = "a Job is not made by hand: schedule one with `await task.schedule(...).delay(seconds)`"
        raise TypeError(msg)

    @property
    def id(self) -> str:
        """The unique name of the job: given when it was scheduled, or made."""
        return self._state.id

    @property
    def task(self) -> str:
        """The name of the task that the job calls."""
        return self._state.task

    @property
    def status(self) -> JobStatus:
        """Where the job is in its life."""
        return self._state.status or JobStatus.SCHEDULED

    @property
    def exec_at(self) -> datetime:
        """When the job is due next, or was due last; aware, in the zone of the app."""
        return shown_in(self._state.exec_at, self._state.tz)

    @property
    def cron_expression(self) -> str | None:
        """The expression of a recurring cron job; None for every other job."""
        return self._state.cron_expression

    @property
    def recurring(self) -> bool:
        """Whether the job has more than one run."""
        return self._state.recurring

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What the task is called with, by the names of its parameters.

        Raises:
            InvalidArgumentsError: the task is not registered, or stored arguments do not fit it any more.
        """
        return self._state.bound_arguments()

    @property
    def attempt(self) -> int:
        """The number of the last attempt in its run, from 1; 0 before the first."""
        return self._state.attempt

    @property
    def last_run(self) -> Run[T_co] | None:
        """The last run that has ended; None before."""
        return self._state.last_run

    @property
    def held(self) -> str | None:
        """Why the job will not start by itself although it is scheduled; None if it will."""
        return self._state.held or self._state.left

    def due_in(self) -> timedelta:
        """Return how long it is until the job is due, by the clock that it follows; negative if that has passed.

        For a delay and an interval that is the monotonic clock: `exec_at`, their forecast, does not follow when
        the wall clock is stepped.
        """
        return self._state.owner.due_in(self._state)

    def is_done(self) -> bool:
        """Whether the job has finished for good: by success, failure or cancellation."""
        return self._state.done

    def result(self) -> T_co:
        """Return what the job returned; for a recurring job, what its last ended run returned.

        Raises:
            JobFailedError: the run failed or timed out; the original exception is its `__cause__`.
            JobNotCompletedError: there is no result yet.
            JobCancelledError: the job was cancelled before it had a result.
        """
        if self._state.last_run is not None:
            return cast("T_co", self._state.last_run.result())
        if self._state.status is JobStatus.CANCELLED:
            raise JobCancelledError(self._state.id)
        raise JobNotCompletedError(self._state.id, self.status)

    async def wait(self) -> Run[T_co] | None:
        """Return when the job has finished; at once if it already has.

        For a recurring job: return when the run in progress, or else the next one, has ended.

        Returns:
            The run that ended, or None if the job was cancelled before any run.

        Raises:
            ApplicationStateError: the app was stopped, or somebody cancelled the task of the run; the job stays
                stored for the next start.
        """
        if self._state.done:
            return self._state.last_run
        if self._state.left:
            raise ApplicationStateError(self._state.left)
        self._state.owner.check_loop(f"wait for job {self._state.id!r}")
        waiter = self._state.wait()
        try:
            return await waiter
        finally:
            if waiter.cancelled():
                self._state.forget(waiter)

    def __await__(self) -> Generator[Any, None, T_co]:
        """Wait for the job, then return the result of the run that ended.

        Raises:
            JobFailedError: that run failed or timed out.
            JobCancelledError: the job was cancelled before any run.
        """
        run = yield from self.wait().__await__()
        if run is None:
            raise JobCancelledError(self._state.id)
        return run.result()

    async def cancel(self) -> bool:
        """Stop a job that has not started, or that waits for its next attempt, and forget it.

        A recurring job cancelled during a run finishes that run and does not recur.

        Returns:
            Whether there was anything to cancel: False for a one-time job that runs and for a job
            that has finished.

        Raises:
            StorageError: the job is stored and could not be removed; it stays as it was.
            ApplicationStateError: the app was stopped, or the run interrupted; the job waits for the next start.
        """
        if self._state.done:
            return False
        if self._state.left:
            raise ApplicationStateError(self._state.left)
        self._state.owner.check_loop(f"cancel job {self._state.id!r}")
        return await self._state.owner.cancel(self._state)

    def __repr__(self) -> str:
        held = f" held={self._state.held!r}" if self._state.held else ""
        return (
            f"<Job {self._state.id!r} of {self._state.task!r}: {self.status}, exec_at={self.exec_at.isoformat()}{held}>"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self._state is other._state

    def __hash__(self) -> int:
        return hash(self._state)

    def __reduce__(self) -> NoReturn:
        msg = f"cannot pickle {self!r}: a job belongs to one start of its app; keep its id and await app.get_job(id)"
        raise TypeError(msg)
