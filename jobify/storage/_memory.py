"""A storage in memory: jobs survive a stop of their app, not the end of the process."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage._protocol import Host
from jobify.storage._stored import AMENDED, Notice, RunQuery, StoredJob, StoredRun


class _Rows:
    """The rows of one storage; `jobify_testing` makes fresh ones for each test."""

    def __init__(self) -> None:
        self.by_number: dict[int, StoredJob] = {}
        self.number_of: dict[str, int] = {}
        self.numbers = itertools.count(1)
        self.claimed: set[int] = set()
        self.history: list[StoredRun] = []
        self.run_numbers = itertools.count(1)
        self.is_open = False

    def remember(self, runs: Sequence[StoredRun]) -> None:
        for run in runs:
            run.number = next(self.run_numbers)
            self.history.append(run)


class MemoryStorage:
    """Keeps jobs as Python objects for as long as it lives itself."""

    serialized = False
    immediate = True
    shared = False
    horizon = None
    window: int | None = None

    def __init__(self) -> None:
        self._own = _Rows()
        self._rows: _Rows | None = None

    async def open(self, host: Host, /) -> None:
        """Become the one owner of all that is stored.

        Raises:
            StorageError: it is open already.
        """
        rows = host.memory_of(self._own)
        if rows.is_open:
            msg = "cannot open the MemoryStorage: it is open already; give each app a storage of its own"
            raise StorageError(msg)
        rows.is_open = True
        rows.claimed.clear()
        self._rows = rows

    def _open_rows(self) -> _Rows:
        if self._rows is None:
            msg = "cannot use the MemoryStorage: it is not open; the app opens it when it starts"
            raise StorageError(msg)
        return self._rows

    async def add(self, job: StoredJob, /, *, replace: bool, runs: Sequence[StoredRun] = ()) -> int:
        """Keep a new job; see `Storage.add`."""
        rows = self._open_rows()
        old = rows.number_of.get(job.id)
        if old is not None:
            if not replace:
                raise DuplicateJobError(job.id)
            del rows.by_number[old]
        rows.remember(runs)
        number = next(rows.numbers)
        job.number = number
        rows.by_number[number] = job
        rows.number_of[job.id] = number
        rows.claimed.add(number)
        return number

    async def claim(
        self, before: datetime, /, *, limit: int | None = None, job_id: str | None = None
    ) -> Sequence[StoredJob]:
        """Return the jobs due before a time that were not claimed since `open`."""
        rows = self._open_rows()
        free = (job for number, job in rows.by_number.items() if number not in rows.claimed)
        found = [job for job in free if job.exec_at < before and job_id in (None, job.id)]
        if limit is not None:
            found = sorted(found, key=lambda job: (job.exec_at, job.number))[:limit]
        rows.claimed.update(job.number for job in found)
        return [replace(job) for job in sorted(found, key=lambda job: job.number)]

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
        """Note that an attempt is in progress; return whether the job is there."""
        rows = self._open_rows()
        job = rows.by_number.get(number)
        if job is not None:
            rows.remember(runs)
            job.running = True
            job.attempt = attempt
            job.started_at = started_at
            job.scheduled_for = scheduled_for
        return job is not None

    async def amend(self, job: StoredJob, /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note what was changed of a job beside its runs."""
        rows = self._open_rows()
        rows.remember(runs)
        kept = rows.by_number.get(job.number)
        if kept is not None:
            for name in AMENDED:
                setattr(kept, name, getattr(job, name))

    async def finish(self, number: int, /, following: StoredJob | None, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note that an attempt has ended, and what follows."""
        rows = self._open_rows()
        rows.remember(runs)
        if number not in rows.by_number:
            return
        if following is None:
            await self.remove(number)
        else:
            rows.by_number[number] = following

    async def release(self, jobs: Sequence[StoredJob], /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Put back what was claimed and will not be finished by this owner."""
        rows = self._open_rows()
        rows.remember(runs)
        for job in jobs:
            if job.number in rows.by_number:
                rows.by_number[job.number] = replace(job)

    async def remove(self, number: int, /, *, runs: Sequence[StoredRun] = (), idle_only: bool = False) -> bool:
        """Forget a job; return whether it was there."""
        rows = self._open_rows()
        job = rows.by_number.get(number)
        if idle_only and job is not None and job.running:
            return False
        rows.remember(runs)
        rows.claimed.discard(number)
        if job is None:
            return False
        del rows.by_number[number], rows.number_of[job.id]
        return True

    async def runs(self, query: RunQuery, /) -> Sequence[StoredRun]:
        """Return rows of the history, the latest first."""
        found = (run for run in reversed(self._open_rows().history) if _matches(run, query))
        return [replace(run) for run in itertools.islice(found, query.limit)]

    async def prune(self, now: datetime, /, *, most: int) -> None:
        """Forget the rows of the history that have expired, and the oldest beyond so many."""
        rows = self._open_rows()
        kept = [run for run in rows.history if run.expires_at > now]
        rows.history = kept[max(len(kept) - most, 0) :]

    def watch(self, listener: Callable[[Notice], None], /) -> None:
        """Do nothing: there is nobody else."""

    def is_mine(self, number: int, /) -> bool:
        """Whether this process holds the claim of a job."""
        return self._rows is not None and number in self._rows.claimed

    async def find(self, job_id: str | None = None, /) -> Sequence[StoredJob]:
        """Return the job of an id, or all, by number."""
        rows = self._open_rows().by_number
        return [replace(rows[number]) for number in sorted(rows) if job_id in (None, rows[number].id)]

    async def close(self) -> None:
        """Give up the ownership; harmless if repeated."""
        self.abandon()

    def abandon(self) -> None:
        """Give up the ownership at once; harmless if repeated."""
        if self._rows is not None:
            self._rows.is_open = False
            self._rows = None


def _matches(run: StoredRun, query: RunQuery) -> bool:
    return (
        query.job in (None, run.job)
        and query.job_id in (None, run.job_id)
        and query.task in (None, run.task)
        and (query.statuses is None or run.status in query.statuses)
        and (query.since is None or run.finished_at >= query.since)
    )
