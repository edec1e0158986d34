"""What a storage is: the place where jobs live that must outlive the process. It schedules nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

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


AMENDED = ("trigger", "exec_at", "scheduled_for", "delay", "covered", "until", "paused", "interruptions")
"""What `Storage.amend` writes."""


class Host(Protocol):
    """What a storage may use of the world: a part of `jobify.Runtime`."""

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
    """Keeps jobs. What a verb returned from is kept; a cancelled verb is done whole or not at all.

    Every verb but `close` raises `StorageError` when the storage cannot do it.
    """

    @property
    def serialized(self) -> bool:
        """Whether arguments must be bytes."""
        ...

    @property
    def immediate(self) -> bool:
        """Whether the verbs never suspend, so that no cancellation can strike in one."""
        ...

    async def open(self, host: Host, /) -> None:
        """Become the one owner of all that is stored."""
        ...

    async def add(self, job: StoredJob, /, *, replace: bool) -> int:
        """Keep a new job; with `replace`, in the place of the one that has its id.

        Returns:
            The number that the job got.

        Raises:
            DuplicateJobError: the id is taken, and `replace` is False.
        """
        ...

    async def claim(self, before: datetime, /) -> Sequence[StoredJob]:
        """Return, by number, the jobs due before a time that were not claimed since `open`."""
        ...

    async def start(self, number: int, /, *, attempt: int, started_at: datetime, scheduled_for: datetime) -> None:
        """Note that an attempt is in progress. Nothing happens if the job is gone.

        Args:
            number: of the job.
            attempt: the number of the attempt in its run, from 1.
            started_at: when the first attempt of the run started.
            scheduled_for: the time for which the run is meant.
        """
        ...

    async def amend(self, job: StoredJob, /) -> None:
        """Note what was changed of a job beside its runs. Nothing happens if the job is gone.

        That are its `trigger`, `exec_at`, `scheduled_for`, `delay`, `covered`, `until`, `paused` and `interruptions`.
        An attempt may be in progress meanwhile, and goes on.
        """
        ...

    async def finish(self, number: int, /, following: StoredJob | None) -> None:
        """Note that an attempt has ended, and what follows: None if the job is over and forgotten.

        Nothing happens if the job is gone.
        """
        ...

    async def release(self, jobs: Sequence[StoredJob], /) -> None:
        """Put back what was claimed and will not be finished by this owner."""
        ...

    async def remove(self, number: int, /) -> None:
        """Forget a job. Nothing happens if it is gone."""
        ...

    async def close(self) -> None:
        """Give up the ownership; harmless if repeated, or if `open` failed."""
        ...

    def abandon(self) -> None:
        """Give up at once what the death of the process would end: verbs in progress fail, locks are gone.

        Harmless if the storage is closed.
        """
        ...
