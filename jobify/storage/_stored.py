"""What is stored: jobs and records of their runs, as rows, and what processes tell each other of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple


@dataclass(slots=True, kw_only=True)
class StoredJob:
    """A job as a row.

    Attributes:
        number: given by the storage when the job is added, in the order of adding; never used
            again, so that a run of a job that was replaced can write nothing under its id.
        id: the id of the job; unique in the storage.
        task: the name of its task.
        arguments: bytes where the storage is `serialized`, else the pair (args, kwargs).
        trigger: the recurrence as text; None for a one-time job.
        declaration: the recurrence that the declaration of the task stated, as text; None if no declaration made
            the job. `trigger` may differ from it: a person has rescheduled the job.
        misfire_policy: of a one-time job: whether it still starts when it is late, as text; None for the default.
        parent: the id of the job that started this one; None if none did.
        exec_at: when the job is due next; aware, in UTC.
        scheduled_for: the time for which the run in progress, or else the next one, is meant.
        delay: the seconds that were asked for, where `exec_at` was forecast from a duration.
        covered: the last time for which a job of its own was started while a run was in progress; None if there
            is none behind `scheduled_for`.
        until: the last of the times behind `scheduled_for` that get a run each although they have passed; None if
            there are none.
        paused: whether a person has paused the job.
        running: whether an attempt is in progress.
        attempt: the attempts made in the run in progress; 0 if none is.
        runs: how many runs have ended.
        failures: how many runs in a row have failed.
        interruptions: how often a crash cut the run short.
        started_at: when the first attempt of the run in progress started.
    """

    number: int = 0
    id: str
    task: str
    arguments: Any
    trigger: str | None = None
    declaration: str | None = None
    misfire_policy: str | None = None
    parent: str | None = None
    exec_at: datetime
    scheduled_for: datetime
    delay: float | None = None
    covered: datetime | None = None
    until: datetime | None = None
    paused: bool = False
    running: bool = False
    attempt: int = 0
    runs: int = 0
    failures: int = 0
    interruptions: int = 0
    started_at: datetime | None = None


@dataclass(slots=True, kw_only=True)
class StoredRun:
    """A run that has ended, or times at which none happened, as a row of the history.

    Attributes:
        number: given by the storage, in the order in which the rows are written.
        job: the number of the job; 0 if it has none.
        job_id: the id of the job.
        task: the name of its task.
        parent: the id of the job that started the job; None if none did.
        status: what became of it: a `RunStatus`.
        scheduled_for: the time that it was meant for, or the first of the times at which no run happened.
        last: the last of these times; None for a run.
        count: how many times these are; 1 for a run.
        started_at: when its first attempt started; None if none did.
        finished_at: when it ended, or when it was decided that there is to be none.
        attempts: how many attempts were made.
        error: the exception of the last attempt, in words; None if there was none.
        value: what a successful run returned: bytes where the storage is `serialized`; None if that was nothing, or
            could not be stored.
        reason: why, where the status does not say it.
        process: which process this was in.
        expires_at: from when on the row may be forgotten.
    """

    number: int = 0
    job: int = 0
    job_id: str
    task: str
    parent: str | None = None
    status: str
    scheduled_for: datetime
    last: datetime | None = None
    count: int = 1
    started_at: datetime | None = None
    finished_at: datetime
    attempts: int = 0
    error: str | None = None
    value: Any = None
    reason: str | None = None
    process: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which rows of the history are asked for: those that match all that is given.

    Attributes:
        job: the number of their job.
        job_id: the id of their job.
        task: the name of their task.
        statuses: their status is one of these; None for any.
        since: they ended at this instant, or later.
        limit: how many rows at most, the latest first.
    """

    job: int | None = None
    job_id: str | None = None
    task: str | None = None
    statuses: Sequence[str] | None = None
    since: datetime | None = None
    limit: int = 100


AMENDED = ("trigger", "exec_at", "scheduled_for", "delay", "covered", "until", "paused", "interruptions")
"""What `Storage.amend` writes."""


class Notice(NamedTuple):
    """What a storage that several processes share tells of what others have done.

    It is a hint: what is true is in the storage. A notice may come twice, or late.

    Attributes:
        kind: "look" if there may be jobs to claim, and anything else may have happened; "ended" if a run of a job has,
            or the job was changed; "gone" if a job was cancelled or replaced; "lost" if this process has lost the
            claim of a job, as one that was stopped for a while: the job is another's, or waits to be claimed, and a
            run of it that is in progress here goes on.
        number: of the job; 0 if the notice is not about one.
    """

    kind: Literal["look", "ended", "gone", "lost"]
    number: int = 0
