"""The statuses of a job, the table of its life, and the record of one ended run."""

from datetime import datetime
from enum import StrEnum
from typing import Generic, NamedTuple, TypeVar, final

from jobify._words import in_words
from jobify.exceptions import JobFailedError

T_co = TypeVar("T_co", covariant=True)


class JobStatus(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    RUNNING = "running"
    CANCELLED = "cancelled"
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    PERMANENTLY_FAILED = "permanently_failed"


_S = JobStatus
LEGAL: dict[JobStatus | None, frozenset[JobStatus]] = {
    None: frozenset({_S.SCHEDULED}),
    _S.SCHEDULED: frozenset({_S.RUNNING, _S.CANCELLED}),
    _S.RUNNING: frozenset({_S.SUCCESS, _S.FAILED, _S.TIMEOUT, _S.SCHEDULED, _S.CANCELLED}),
    _S.SUCCESS: frozenset({_S.SCHEDULED, _S.CANCELLED}),
    _S.FAILED: frozenset({_S.SCHEDULED, _S.CANCELLED, _S.PERMANENTLY_FAILED}),
    _S.TIMEOUT: frozenset({_S.SCHEDULED, _S.CANCELLED, _S.PERMANENTLY_FAILED}),
    _S.CANCELLED: frozenset(),
    _S.PERMANENTLY_FAILED: frozenset(),
}
"""What each status may be followed by; None stands for a job that was not accepted yet."""


@final
class Run(NamedTuple, Generic[T_co]):
    """One ended run of a job, from its due time to its outcome.

    Attributes:
        job_id: the job.
        status: SUCCESS, FAILED or TIMEOUT.
        scheduled_for: the time for which the run was meant; aware, in the zone of the app.
        started_at: when its first attempt started.
        finished_at: when its last attempt ended.
        attempts: how many attempts it took.
        error: the exception of the last attempt; None after a success.
        value: what the last attempt returned; None after a failure.
    """

    job_id: str
    status: JobStatus
    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime
    attempts: int
    error: BaseException | None
    value: T_co | None

    def result(self) -> T_co:
        """Return what the run returned.

        Raises:
            JobFailedError: the run did not succeed; the original exception is its `__cause__`.
        """
        if self.error is None:
            return self.value  # type: ignore[return-value]  # None only where the task returns None
        raise JobFailedError(self.job_id, in_words(self.error)) from self.error
