"""What is known of runs that have ended, in this process or in an earlier one."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, final

from jobify._zones import seconds_of
from jobify.exceptions import InvalidScheduleError, JobFailedError, ResultNotStoredError


class RunStatus(StrEnum):
    """What became of a run, or of times at which there was none."""

    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    """The job was cancelled or replaced before it had a run, or its run gave way to a later time."""
    INTERRUPTED = "interrupted"
    """A crash of the process has cut the run short."""
    SKIPPED = "skipped"
    """No run happened: the `reason` is "missed", "overlap", "paused" or "dropped"."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run that has ended, or one stretch of times at which none happened.

    Attributes:
        job_id: the job.
        task: the name of its task.
        parent: the id of the job that started the job; None if none did.
        status: what became of it.
        scheduled_for: the time that it was meant for, or the first of the times at which no run happened; aware, in
            the zone of the app.
        last: the last of these times; None for a run.
        count: how many times these are; 1 for a run.
        started_at: when its first attempt started; None if none did.
        finished_at: when it ended, or when it was decided that there is to be none.
        attempts: how many attempts were made.
        error: the exception of the last attempt, in words; None if there was none.
        reason: why, where the status does not say it.
        process: the host and the process id that this was in.
    """

    job_id: str
    task: str
    parent: str | None
    status: RunStatus
    scheduled_for: datetime
    last: datetime | None
    count: int
    started_at: datetime | None
    finished_at: datetime
    attempts: int
    error: str | None
    reason: str | None
    process: str
    value: Any = field(repr=False)
    unread: str | None = field(repr=False)

    def result(self) -> Any:
        """Return what the run returned.

        Raises:
            JobFailedError: the run did not succeed.
            ResultNotStoredError: what it returned could not be stored, or cannot be read any more.
        """
        if self.status is not RunStatus.SUCCESS:
            raise JobFailedError(self.job_id, self.error or f"{self.status}{f': {self.reason}' if self.reason else ''}")
        if self.unread is not None:
            raise ResultNotStoredError(self.job_id, self.unread)
        return self.value


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long the history of runs is kept.

    Attributes:
        success: the records of successful runs; a number of seconds or a timedelta.
        failure: all others.
        most: how many records at most; the oldest go first.

    Raises:
        InvalidScheduleError: a duration or the number cannot be used.
    """

    success: float | timedelta = timedelta(hours=24)
    failure: float | timedelta = timedelta(days=7)
    most: int = 100_000

    def __post_init__(self) -> None:
        for what in ("success", "failure"):
            seconds = seconds_of(getattr(self, what), f"the retention of a {what}")
            object.__setattr__(self, what, timedelta(seconds=seconds))
        if isinstance(self.most, bool) or not isinstance(self.most, int) or self.most < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot keep {self.most!r} records: give a whole number from 1, or retention=None to keep none"
            raise InvalidScheduleError(msg)

    def of(self, status: str) -> timedelta:
        """Return how long a record is kept."""
        kept = self.success if status == RunStatus.SUCCESS else self.failure
        assert isinstance(kept, timedelta)  # noqa: S101  # see `__post_init__`
        return kept


DEFAULT_RETENTION = Retention()
