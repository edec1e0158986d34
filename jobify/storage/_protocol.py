"""What a storage is: the place where jobs live that must outlive the process. It schedules nothing."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from jobify._clock import Clock
from jobify._workers import Workers
from jobify.storage._stored import Notice, RunQuery, StoredJob, StoredRun

T = TypeVar("T")


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

    def real_work(self, what: str) -> AbstractContextManager[None]:
        """Keep time where it is, if it can be kept, in a `with` block: a server works."""
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

    def add(self, job: StoredJob, /, *, replace: bool, runs: Sequence[StoredRun] = ()) -> Awaitable[int]:
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

    def finish(self, number: int, /, following: StoredJob | None, *, runs: Sequence[StoredRun] = ()) -> Awaitable[None]:
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
        """Forget the rows of the history that have expired, and the oldest beyond so many.

        Of a long history it may take a part each time.
        """
        ...

    async def close(self) -> None:
        """Give up the ownership; harmless if repeated, or if `open` failed."""
        ...

    def abandon(self) -> None:
        """Give up at once what the death of the process would end: verbs in progress fail, locks are gone.

        Harmless if the storage is closed.
        """
        ...
