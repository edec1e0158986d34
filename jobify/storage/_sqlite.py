"""The embedded default: a SQLite file with one owner.

Verbs that arrive while a transaction is being written share the next one. The statements and the
conversion of rows are in `_sqlite_rows`; here is who calls them, when, and what becomes of errors.
"""

import asyncio
import contextvars
import os
import sqlite3
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, cast

from jobify._steps import Step, hush
from jobify._workers import Lane
from jobify._zones import seconds_of
from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage import _sqlite_history as history
from jobify.storage import _sqlite_rows as rows
from jobify.storage._protocol import Host, Notice, RunQuery, StoredJob, StoredRun

T = TypeVar("T")

_LONGEST_WAIT = 2_000_000.0
"""Seconds: SQLite counts them in milliseconds, with 31 bits."""

_loops: "weakref.WeakValueDictionary[str, asyncio.AbstractEventLoop]" = weakref.WeakValueDictionary()
"""The event loop of the app that has a file open, in this process."""


class _Verb(NamedTuple):
    """A verb that waits for its transaction."""

    write: Callable[[sqlite3.Connection], Any]
    answer: asyncio.Future[Any]


class _File:
    """A file that was opened once: who closes it late does not close what was opened meanwhile."""

    connection: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close it; on its lane, so behind a connect whose caller did not wait for it."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class SQLiteStorage:
    """Keeps jobs in a SQLite file.

    Args:
        path: the file; it is made if it is not there, its folder is not.
        synchronous: "full", and what was accepted survives a loss of power; "normal", and it survives
            a crash of the program, while the last moments before a loss of power may be gone.
        timeout: the seconds to wait for a lock that another process holds on the file.

    Raises:
        ValueError: the path is not that of a file, a setting is unknown, or the timeout is no duration.
    """

    serialized = True
    immediate = False
    shared = False
    horizon = None

    def __init__(
        self,
        path: str | os.PathLike[str] = "jobify.db",
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float | timedelta = 5.0,
    ) -> None:
        if str(path) in ("", ":memory:") or str(path).startswith("file:"):
            msg = (
                f"cannot keep jobs in {str(path)!r}: it is not the path of a file; MemoryStorage() keeps them in memory"
            )
            raise ValueError(msg)
        if synchronous not in ("full", "normal"):
            msg = f"cannot open a database with synchronous={synchronous!r}: give 'full' or 'normal'"
            raise ValueError(msg)
        self.path = Path(path)
        self._synchronous = synchronous
        self._timeout = min(seconds_of(timeout, "the timeout of a database"), _LONGEST_WAIT)
        self._lane: Lane | None = None
        self._owned: tuple[str, asyncio.AbstractEventLoop] | None = None
        self._file = _File()
        self._claimed: set[int] = set()
        self._waiting: list[_Verb] = []
        self._writing: list[_Verb] = []
        self._pump: Step[None] | None = None
        self._closer: Step[None] | None = None

    # Open and close

    async def open(self, host: Host, /) -> None:
        """Open the file, and make or check its tables.

        Raises:
            StorageError: it is open already, here or by another app of this process, its folder is not there,
                it is not a database, it was written by a newer jobify, or SQLite reports an error.
        """
        if self._lane is not None:
            msg = f"cannot open {str(self.path)!r}: this SQLiteStorage is open already; give each app one of its own"
            raise StorageError(msg)
        path = host.database_path(self.path)
        self._lane = host.workers.open_lane(f"jobify {self.path.name}")
        self._file = _File()
        self._claimed = set()
        try:
            self._own(path)
            # A file in the place of the one asked for is that of a test: no loss of power is of interest there.
            synchronous = self._synchronous if path == self.path else "off"
            await self._lane.run(partial(self._connect, self._file, path, synchronous))
        except BaseException:
            await self.close()
            raise

    def _own(self, path: Path) -> None:
        """See to it that no other app of this process has the file; one whose event loop was closed has lost it."""
        file = os.path.realpath(path)
        loop = _loops.get(file)
        if loop is not None and not loop.is_closed():
            msg = (
                f"cannot open {str(path)!r}: another app in this process has it open, and each would run every job; "
                "stop that one first, or give each app a file of its own"
            )
            raise StorageError(msg)
        self._owned = (file, asyncio.get_running_loop())
        _loops[file] = self._owned[1]

    def _disown(self) -> None:
        if self._owned is not None and _loops.get(self._owned[0]) is self._owned[1]:
            del _loops[self._owned[0]]
        self._owned = None

    def _connect(self, file: _File, path: Path, synchronous: str) -> None:
        if not path.parent.is_dir():
            msg = f"cannot open {str(path)!r}: there is no folder {str(path.parent)!r}; make it first"
            raise StorageError(msg)
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
            rows.prepare(connection, synchronous=synchronous)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                msg = f"cannot open {str(path)!r}: {error}"
                raise StorageError(msg) from error
            raise
        file.connection = connection

    async def close(self) -> None:
        """Write what was submitted, then close the file; harmless if repeated."""
        if self._closer is None:
            if self._lane is None:
                return
            self._closer = Step(self._close(self._lane, self._file), loop=asyncio.get_running_loop())
            self._closer.add_done_callback(hush)  # its callers may be gone
        await asyncio.shield(self._closer)

    async def _close(self, lane: Lane, file: _File) -> None:
        pump = self._pump
        try:
            if pump is not None and pump.get_loop() is asyncio.get_running_loop():  # else it will never end
                await asyncio.wait([pump])
            await lane.run(file.close)
        finally:
            await lane.close()
            if self._lane is lane:  # else it was abandoned, and may have been opened again
                self._disown()
                self._lane = self._pump = self._closer = None

    def abandon(self) -> None:
        """Close the file at once: what is not yet written is not written any more."""
        self._disown()
        lane, verbs = self._lane, [*self._writing, *self._waiting]
        self._lane = self._pump = self._closer = None
        self._writing, self._waiting = [], []
        for verb in verbs:
            if not verb.answer.get_loop().is_closed():
                self._fail(verb, RuntimeError("the app was abandoned"))
        if lane is not None:
            lane.abandon(self._file.close)

    # The verbs

    async def add(self, job: StoredJob, /, *, replace: bool, runs: Sequence[StoredRun] = ()) -> int:
        """Keep a new job; see `Storage.add`."""
        number: int | None = await self._submit(partial(rows.insert, job=job, replace=replace, runs=runs))
        if number is None:
            raise DuplicateJobError(job.id)
        self._claimed.add(number)
        return number

    async def claim(self, before: datetime, /) -> Sequence[StoredJob]:
        """Return the jobs due before a time that were not claimed since `open`."""
        found: list[StoredJob] = await self._submit(partial(rows.select, before=before))
        new = [job for job in found if job.number not in self._claimed]
        self._claimed.update(job.number for job in new)
        return new

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
        write = partial(
            rows.mark_running,
            number=number,
            attempt=attempt,
            started_at=started_at,
            scheduled_for=scheduled_for,
            runs=runs,
        )
        return await self._submit(write)

    async def amend(self, job: StoredJob, /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note what was changed of a job beside its runs."""
        await self._submit(partial(rows.amend, job=job, runs=runs))

    async def finish(self, number: int, /, following: StoredJob | None, *, runs: Sequence[StoredRun] = ()) -> None:
        """Note that an attempt has ended, and what follows."""
        if following is None:
            await self.remove(number, runs=runs)
        else:
            await self._submit(partial(rows.update, jobs=[following], runs=runs))

    async def release(self, jobs: Sequence[StoredJob], /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Put back what was claimed and will not be finished by this owner."""
        await self._submit(partial(rows.update, jobs=jobs, runs=runs))

    async def remove(self, number: int, /, *, runs: Sequence[StoredRun] = (), idle_only: bool = False) -> bool:
        """Forget a job; return whether it was there."""
        removed = await self._submit(partial(rows.delete, number=number, runs=runs, idle_only=idle_only))
        if removed or not idle_only:
            self._claimed.discard(number)
        return removed

    def watch(self, listener: Callable[[Notice], None], /) -> None:
        """Do nothing: there is nobody else."""

    def is_mine(self, number: int, /) -> bool:
        """Whether this process holds the claim of a job."""
        return number in self._claimed

    async def find(self, job_id: str | None = None, /) -> Sequence[StoredJob]:
        """Return the job of an id, or all, by number."""
        return await self._submit(partial(rows.find, job_id=job_id))

    async def runs(self, query: RunQuery, /) -> Sequence[StoredRun]:
        """Return rows of the history, the latest first."""
        return await self._submit(partial(history.select, query=query))

    async def prune(self, now: datetime, /, *, most: int) -> None:
        """Forget the rows of the history that have expired, and the oldest beyond so many."""
        await self._submit(partial(history.prune, now=now, most=most))

    # Group commit

    async def _submit(self, write: Callable[[sqlite3.Connection], T]) -> T:
        """Have a verb written, and return its answer; a cancelled caller gives up the answer only."""
        if self._lane is None or self._closer is not None or self._file.connection is None:
            msg = f"cannot use {str(self.path)!r}: the storage is not open; the app opens it when it starts"
            raise StorageError(msg)
        loop = asyncio.get_running_loop()
        verb = _Verb(write, loop.create_future())
        self._waiting.append(verb)
        if self._pump is None:
            self._pump = Step(
                self._write_all(self._lane, self._file.connection), loop=loop, context=contextvars.Context()
            )
        return cast("T", await verb.answer)

    async def _write_all(self, lane: Lane, connection: sqlite3.Connection) -> None:
        try:
            while self._waiting and self._lane is lane:
                self._writing, self._waiting = self._waiting, []
                await self._write_batch(lane, connection, self._writing)
        finally:
            if self._lane is lane:  # else it was abandoned, and may have been opened again
                self._pump = None
                self._writing = []

    async def _write_batch(self, lane: Lane, connection: sqlite3.Connection, batch: list[_Verb]) -> None:
        try:
            answers = await lane.run(partial(rows.transact, connection, [verb.write for verb in batch]))
        except Exception as error:  # noqa: BLE001  # who asked for it gets it
            if len(batch) > 1 and not isinstance(error, sqlite3.OperationalError):
                for verb in batch:  # one of them cannot be written, which is not the fault of the others
                    await self._write_batch(lane, connection, [verb])
                return
            for verb in batch:
                self._fail(verb, error)
        else:
            for verb, answer in zip(batch, answers, strict=True):
                if not verb.answer.done():
                    verb.answer.set_result(answer)

    def _fail(self, verb: _Verb, error: BaseException) -> None:
        if not verb.answer.done():
            failure = StorageError(f"cannot use {str(self.path)!r}: {error}")
            failure.__cause__ = error
            verb.answer.set_exception(failure)
            verb.answer.exception()  # its caller may be gone

    def __repr__(self) -> str:
        return f"SQLiteStorage({str(self.path)!r})"
