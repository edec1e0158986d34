"""A job as its user holds it: what can be waited for, and what a person can do to it."""

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast, final

from jobify._job_view import JobView
from jobify._recurrence import Recurrence
from jobify._run import Run
from jobify._state import JobState, Owner
from jobify._zones import aware_utc, seconds_of
from jobify.exceptions import ApplicationStateError, InvalidScheduleError, JobCancelledError

T_co = TypeVar("T_co", covariant=True)


@final
class Job(JobView[T_co]):
    """A scheduled call, or a recurrence of calls.

    You do not make one: `await task.schedule(...).delay(5)` and its like do.
    """

    __slots__ = ()

    def __init__(self) -> None:
        msg = "a Job is not made by hand: schedule one with `await task.schedule(...).delay(seconds)`"
        raise TypeError(msg)

    async def wait(self) -> Run[T_co] | None:
        """Return when the job has finished; at once if it already has.

        For a recurring job: return when the run in progress, or else the next one, has ended.

        Returns:
            The run that ended, or None if the job was cancelled before any run.

        Raises:
            ApplicationStateError: the app was stopped, or somebody cancelled the task of the run; the job stays
                stored for the next start. Or it was scheduled in a transaction that was rolled back.
        """
        if self._state.done and not self._state.left:
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
        return not self._state.done and await self._owner("cancel").cancel(self._state)

    def _owner(self, what: str) -> Owner:
        """Return who can do something to the job.

        Raises:
            ApplicationStateError: nobody can, or not here.
        """
        if self._state.left:
            raise ApplicationStateError(self._state.left)
        self._state.owner.check_loop(f"{what} job {self._state.id!r}")
        return self._state.owner

    async def pause(self) -> bool:
        """Let the job start no more, over restarts too, until it is resumed; a run in progress goes on.

        Returns:
            Whether it was not paused before; False for a job that has finished.

        Raises:
            StorageError: the job is stored, and that could not be written; it stays as it was.
            ApplicationStateError: the app was stopped, or the run interrupted; the job waits for the next start.
        """
        return not self._state.done and await self._owner("pause").pause(self._state)

    async def resume(self) -> bool:
        """Let the job start again, also if it is held because crashes have cut its run short too often.

        A recurring job goes on at its next time; those that passed meanwhile are told as skipped. A one-time
        job whose time has passed starts now, unless its misfire policy finds it too late.

        Returns:
            Whether it was paused or held; False for a job that has finished.

        Raises:
            StorageError: the job is stored, and that could not be written; it stays as it was.
            ApplicationStateError: the job is held for a reason that is still there, the app was stopped, or the run
                interrupted.
        """
        return not self._state.done and await self._owner("resume").resume(self._state)

    async def trigger(self, *, job_id: str | None = None) -> "Job[T_co]":
        """Have the function of the job called now.

        The next time of a recurring job stays as it is: the call is a job of its own, with the same arguments and
        this one as `parent`. A one-time job is started now instead of at its time.

        Args:
            job_id: the id of the job of its own; made if it is None.

        Returns:
            The job of its own; of a one-time job, the job itself.

        Raises:
            InvalidScheduleError: the job has finished, or it is a one-time job that runs already, or is paused or
                held, or is given a `job_id`.
            DuplicateJobError: the id is taken.
            InvalidArgumentsError: the stored arguments do not fit the task any more.
            StorageError: that could not be written: nothing is started.
            ApplicationStateError: the app was stopped, or the run interrupted.
        """
        return job_of(await self._owner("trigger").trigger(self._state, job_id))

    async def reschedule(
        self,
        recurrence: Recurrence | None = None,
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
    ) -> bool:
        """Let the job be due at another time. What runs already is not touched.

        A declared recurrence stays as it is rescheduled, over restarts too, until its declaration is changed.

        Args:
            recurrence: of a recurring job: a `Cron`, an `Every`, a `CalendarInterval`, or `AnyOf` them. Counters and
                arguments stay; the limits are the new ones.
            delay: of a one-time job: in so many seconds from now.
            at: of a one-time job: when the wall clock reaches an aware datetime.

        Returns:
            Whether there was anything to reschedule: False for a one-time job that runs and for a job that has
            finished.

        Raises:
            InvalidScheduleError: the time cannot be used, or does not fit the kind of job.
            StorageError: the job is stored, and that could not be written; it stays as it was.
            ApplicationStateError: the app was stopped, or the run interrupted.
        """
        seconds = seconds_of(delay, "delay") if delay is not None else None
        moment = aware_utc(at, "at") if at is not None else None
        given = [value for value in (recurrence, seconds, moment) if value is not None]
        if len(given) != 1:
            msg = f"cannot reschedule job {self._state.id!r}: give exactly one of a recurrence, delay= and at="
            raise InvalidScheduleError(msg)
        (when,) = given
        return not self._state.done and await self._owner("reschedule").reschedule(self._state, when)

    async def backfill(
        self, start: datetime, end: datetime, *, job_id: str | None = None, limit: int = 1000
    ) -> "Job[T_co]":
        """Have the function of a recurring job called for each of its times in a period that has passed.

        The calls are the runs of a job of its own, one after the other, the oldest first, with the same arguments
        and this one as `parent`; each run knows its time as `scheduled_for`. It survives restarts, and can be
        cancelled and paused, as every job.

        Args:
            start: the first moment of the period; an aware datetime.
            end: the last moment of the period; an aware datetime, not after now.
            job_id: the id of the job of its own; by default made of this id, `start` and `end`, so that no period
                is filled twice at once.
            limit: how many times there may be.

        Raises:
            InvalidScheduleError: the job is no recurring one, the period cannot be used, or has no time or too many.
            DuplicateJobError: the id is taken.
            InvalidArgumentsError: the stored arguments do not fit the task any more.
            StorageError: that could not be written: nothing is started.
            ApplicationStateError: the app was stopped, or the run interrupted.
        """
        first, last = aware_utc(start, "start"), aware_utc(end, "end")
        return job_of(await self._owner("backfill").backfill(self._state, first, last, job_id, limit))


def job_of(state: JobState) -> Job[Any]:
    """Return a handle of a job for its user."""
    job: Job[Any] = cast("Any", object.__new__(Job))
    job._state = state  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # the constructor is closed to users
    return job


def state_of(job: Job[Any]) -> JobState:
    """Return what a handle reads."""
    return job._state  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # closed to users
