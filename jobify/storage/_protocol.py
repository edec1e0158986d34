"""What a storage is: the place where jobs live that must outlive the process. It schedules nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from jobify._clock import Clock
from jobify._workers import Workers

T = TypeVar("T")


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


class Host(Protocol):
    """What a storage may use of the world: a part of `jobify.Runtime`."""

    @property
    def clock(self) -> Clock:
        """What time is."""
        ...

    @property
    def workers(self) -> Workers:
        """Where blocking calls are made."""
        ...

    def database_path(self, path: Path) -> Path:
        """Return the file that stands for the database that is asked for as `path`."""
        ...

    def memory_of(self, rows: T) -> T:
        """Return what stands for the rows of a storage in memory."""
        ...


class Storage(Protocol):
    """Keeps jobs, and the history of their runs.

    What a verb returned from is kept; a cancelled verb is done whole or not at all. Every verb but `close` raises
    `StorageError` when the storage cannot do it. The `runs` that some of them take are added to the history in the
    same transaction.
    """

    @property
    def serialized(self) -> bool:
        """Whether arguments must be bytes."""
        ...

    @property
    def immediate(self) -> bool:
        """Whether the verbs never suspend, so that no cancellation can strike in one."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes may use what is stored at the same time.

        Only then are `watch`, `is_mine`, `find` and `horizon` of interest: a job may be another process's business.
        """
        ...

    @property
    def horizon(self) -> timedelta | None:
        """How far ahead jobs are to be claimed, and how often at least; None for all at once."""
        ...

    @property
    def window(self) -> int | None:
        """How many jobs that are not yet due are to be claimed at once; None for all up to the `horizon`."""
        ...

    def watch(self, listener: Callable[[Notice], None], /) -> None:
        """Have a function called, on the event loop, with each notice from `open` to `close`."""
        ...

    def is_mine(self, number: int, /) -> bool:
        """Whether this process holds the claim of a job."""
        ...

    async def find(self, job_id: str | None = None, /) -> Sequence[StoredJob]:
        """Return the job of an id, or all, by number, without a claim."""
        ...

    async def open(self, host: Host, /) -> None:
        """Become an owner of what is stored: the only one, unless the storage is `shared`."""
        ...

    async def add(self, job: StoredJob, /, *, replace: bool, runs: Sequence[StoredRun] = ()) -> int:
        """Keep a new job; with `replace`, in the place of the one that has its id.

        If it is `running` its first attempt starts at once, and has no `start` of its own.

        Returns:
            The number that the job got.

        Raises:
            DuplicateJobError: the id is taken, and `replace` is False.
        """
        ...

    async def claim(
        self, before: datetime, /, *, limit: int | None = None, job_id: str | None = None
    ) -> Sequence[StoredJob]:
        """Return, by number, the jobs due before a time that were not claimed since `open`.

        With a `limit`, so many of them that are due first, by number where they are due at one time; fewer only if
        there are no more. With a `job_id`, only the one of this id. With neither, one with a `window` returns besides
        those of which an attempt is in progress, those with an `until`, and those that were ordered, `delay` before
        `exec_at`, later than `before`: the wall clock was set back.
        """
        ...

    async def start(
        self,
        number: int,
        /,
        *,
        attempt: int,
        started_at: datetime,
        scheduled_for: datetime,
        runs: Sequence[StoredRun] = (),
    ) -> bool:
        """Note that an attempt is in progress.

        That are its number in its run, from 1, when the first of these started, and the time that the run is meant for.

        Returns:
            Whether the job is there. If it is gone nothing happens, and it is not to start.
        """
        ...

    async def amend(self, job: StoredJob, /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note what was changed of a job beside its runs. Nothing happens if the job is gone.

        That are its `trigger`, `exec_at`, `scheduled_for`, `delay`, `covered`, `until`, `paused` and `interruptions`.
        An attempt may be in progress meanwhile, and goes on.
        """
        ...

    async def finish(self, number: int, /, following: StoredJob | None, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note that an attempt has ended, and what follows: None if the job is over.

        If the job is gone, nothing happens to it; the `runs` are added all the same.
        """
        ...

    async def release(self, jobs: Sequence[StoredJob], /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Put back what was claimed and will not be finished by this owner."""
        ...

    async def remove(self, number: int, /, *, runs: Sequence[StoredRun] = (), idle_only: bool = False) -> bool:
        """Forget a job. Nothing happens if it is gone, or with `idle_only` if an attempt is in progress.

        Returns:
            Whether it was there, and is not any more.
        """
        ...

    async def runs(self, query: RunQuery, /) -> Sequence[StoredRun]:
        """Return rows of the history, the latest first."""
        ...

    async def prune(self, now: datetime, /, *, most: int) -> None:
        """Forget the rows of the history that have expired, and the oldest beyond so many."""
        ...

    async def close(self) -> None:
        """Give up the ownership; harmless if repeated, or if `open` failed."""
        ...

    def abandon(self) -> None:
        """Give up at once what the death of the process would end: verbs in progress fail, locks are gone.

        Harmless if the storage is closed.
        """
        ...
