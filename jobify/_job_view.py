"""What can be read of a job."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Generic, NoReturn, TypeVar, cast

from jobify._run import JobStatus, Run
from jobify._state import JobState
from jobify._zones import shown_in
from jobify.exceptions import JobCancelledError, JobNotCompletedError

T_co = TypeVar("T_co", covariant=True)


class JobView(Generic[T_co]):
    """What can be read of a `Job`."""

    __slots__ = ("__weakref__", "_state")

    _state: JobState

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
    def parent(self) -> str | None:
        """The id of the job that started this one: by overlap, `trigger` or `backfill`; None if none did."""
        return self._state.parent

    @property
    def run_count(self) -> int:
        """How many runs have ended, over all starts of the app."""
        return self._state.runs

    @property
    def failure_count(self) -> int:
        """How many runs in a row have failed, over all starts of the app."""
        return self._state.failures

    @property
    def paused(self) -> bool:
        """Whether somebody has paused the job."""
        return self._state.paused

    @property
    def held(self) -> str | None:
        """Why the job will not start by itself although it is scheduled; None if it will."""
        return self._state.kept_back or self._state.left

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

    def __repr__(self) -> str:
        held = f" held={self._state.kept_back!r}" if self._state.kept_back else ""
        return (
            f"<Job {self._state.id!r} of {self._state.task!r}: {self.status}, exec_at={self.exec_at.isoformat()}{held}>"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobView) and self._state is other._state

    def __hash__(self) -> int:
        return hash(self._state)

    def __reduce__(self) -> NoReturn:
        msg = f"cannot pickle {self!r}: a job belongs to one start of its app; keep its id and await app.get_job(id)"
        raise TypeError(msg)
