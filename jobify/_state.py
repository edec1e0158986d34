"""What is true of a job: written by its scheduler, and read through the handle of its user.

It reaches up only through `Owner`, and knows neither time nor storage.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Protocol

from jobify._recurrence import Recurrence
from jobify._run import LEGAL, JobStatus, Run
from jobify.exceptions import ApplicationStateError, IllegalTransitionError


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

    async def pause(self, state: "JobState", /) -> bool:
        """See `Job.pause`."""
        ...

    async def resume(self, state: "JobState", /) -> bool:
        """See `Job.resume`."""
        ...

    async def trigger(self, state: "JobState", job_id: str | None, /) -> "JobState":
        """See `Job.trigger`."""
        ...

    async def reschedule(self, state: "JobState", when: float | datetime | Recurrence, /) -> bool:
        """See `Job.reschedule`."""
        ...

    async def backfill(
        self, state: "JobState", start: datetime, end: datetime, job_id: str | None, most: int, /
    ) -> "JobState":
        """See `Job.backfill`."""
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
        parent: the id of the job that started it; None if no job did.
        runs: how many runs have ended.
        failures: how many runs in a row have failed.
        paused: whether somebody has paused it.
        held: why it will not start by itself, beside that.
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
        "failures",
        "held",
        "id",
        "last_run",
        "left",
        "owner",
        "parent",
        "paused",
        "recurring",
        "runs",
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
        self.parent: str | None = None
        self.runs = 0
        self.failures = 0
        self.paused = False
        self.held: str | None = None
        self.last_run: Run[Any] | None = None
        self.done = False
        self.left: str | None = None
        self._waiters: dict[asyncio.Future[Run[Any] | None], bool] | None = None

    @property
    def kept_back(self) -> str | None:
        """Why it will not start by itself; None if it will."""
        return self.held or ("it is paused" if self.paused else None)

    def bound_arguments(self) -> Mapping[str, Any]:
        """See `Job.arguments`."""
        return {}

    def settle(self, status: JobStatus) -> None:
        """Take over the status that a job has in another process, whose moves were legal."""
        self.status = status

    def move(self, status: JobStatus) -> JobStatus | None:
        """Change the status; return the one before.

        Raises:
            IllegalTransitionError: the life of a job does not know this change.
        """
        previous = self.status
        if status not in LEGAL[previous]:
            msg = f"job {self.id!r} cannot go from {previous} to {status}"
            raise IllegalTransitionError(msg)
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
        self.release_impatient()

    def release_impatient(self) -> None:
        """Wake those who wait only for what starts by itself."""
        for waiter, patient in (self._waiters or {}).items():
            if not patient and not waiter.done():
                waiter.set_result(self.last_run)

    def release(self) -> None:
        """Wake all waiters: a run has ended, or the job."""
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(self.last_run)

    def finish(self) -> None:
        """Be done for good."""
        self.done = True
        self.release()

    def leave(self, reason: str) -> None:
        """Be of no more use as a handle: the job goes on in the storage alone."""
        self.left = reason
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_exception(ApplicationStateError(reason))
