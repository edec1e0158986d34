"""The embedded default: a SQLite file with one owner.

The statements and the conversion of rows are in `_sqlite_rows`, who shares a transaction in `_group_commit`, and who
may work on the file in `_sqlite_seat`; here is which rows are claimed.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import jobify.storage._sqlite_history as history
import jobify.storage._sqlite_rows as rows
from jobify._steps import Step, hush
from jobify._workers import Lane
from jobify._zones import seconds_of
from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage._answer import Answer, prompt
from jobify.storage._change_poll import data_version
from jobify.storage._group_commit import GroupCommit
from jobify.storage._protocol import Host
from jobify.storage._sqlite_claims import Claims
from jobify.storage._sqlite_file import OpenFile
from jobify.storage._sqlite_numbers import Connection
from jobify.storage._sqlite_seat import Seat, SharedSeat
from jobify.storage._sqlite_using import add_using, what_became_of
from jobify.storage._stored import Notice, RunQuery, StoredJob, StoredRun
from jobify.storage._transactional import Added

T = TypeVar("T")

_LONGEST_WAIT = 2_000_000.0
"""Seconds: SQLite counts them in milliseconds, with 31 bits."""


class SQLiteStorage:
    """Keeps jobs in a SQLite file.

    Args:
        path: the file; it is made if it is not there, its folder is not.
        synchronous: "full", and what was accepted survives a loss of power; "normal", and it survives
            a crash of the program, while the last moments before a loss of power may be gone.
        timeout: the seconds to wait for a lock that another process holds on the file.
        window: how many of the jobs that are not yet due are read at a start, the nearest; the others follow when their
            time comes near, or when somebody asks for one. None for all at once.
        standby: whether the file may be shared by several processes, each with `standby=True`: one of them is active
            and runs all jobs, the others take orders, and one of those takes over when it is gone. Otherwise a second
            process is refused.

    Raises:
        ValueError: the path is not that of a file, a setting is unknown, the timeout is no duration, or the window is
            no whole number from 1.
    """

    serialized = True
    immediate = False
    horizon = None

    def __init__(
        self,
        path: str | os.PathLike[str] = "jobify.db",
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float | timedelta = 5.0,
        window: int | None = 1000,
        standby: bool = False,
    ) -> None:
        if str(path) in ("", ":memory:") or str(path).startswith("file:"):
            msg = (
                f"cannot keep jobs in {str(path)!r}: it is not the path of a file; MemoryStorage() keeps them in memory"
            )
            raise ValueError(msg)
        if synchronous not in ("full", "normal"):
            msg = f"cannot open a database with synchronous={synchronous!r}: give 'full' or 'normal'"
            raise ValueError(msg)
        if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot read {window!r} jobs at a start: give a whole number from 1, or None for all"
            raise ValueError(msg)
        self.path = Path(path)
        self.window = window
        self.shared = bool(standby)
        self._synchronous = synchronous
        self._timeout = min(seconds_of(timeout, "the timeout of a database"), _LONGEST_WAIT)
        self._lane: Lane | None = None
        self._seat: Seat | None = None
        self._listener: Callable[[Notice], None] | None = None
        self._file = OpenFile()
        self._claims = Claims()
        self._swept = 0
        self._writer: GroupCommit | None = None
        self._closer: Step[None] | None = None
        self._see_added, self._see_gone, self._see_finished = self._added, self._gone, self._finished  # made once

    # Open and close

    async def open(self, host: Host, /) -> None:
        """Open the file, and make or check its tables.

        Raises:
            StorageError: it is open already, here or in another process and one of the two does not stand by, its
                folder is not there, it is not a database, it was written by a newer jobify, or SQLite reports an
                error.
        """
        if self._lane is not None:
            msg = f"cannot open {str(self.path)!r}: this SQLiteStorage is open already; give each app one of its own"
            raise StorageError(msg)
        path = host.database_path(self.path)
        self._lane = host.workers.open_lane(f"jobify {self.path.name}")
        self._file = OpenFile()
        self._claims, self._swept = Claims(), 0
        try:
            seat = self._seat = self._seat_at(path, host)
            await seat.take(self._lane)
            # A file in the place of the one asked for is that of a test: no loss of power is of interest there.
            synchronous = self._synchronous if path == self.path else "off"
            open_file = partial(
                self._file.open, path, timeout=self._timeout, synchronous=synchronous, is_only_writer=not self.shared
            )
            await self._lane.run(open_file)
            self._writer = GroupCommit(self.path, self._lane, self._file)
            await seat.join(lambda: self._submit(data_version))
        except BaseException:
            await self.close()
            raise

    def _seat_at(self, path: Path, host: Host) -> Seat:
        if self.shared:
            return SharedSeat(path, host.clock, self._hear)
        return Seat(path, is_private=path != self.path)

    def _hear(self, notice: Notice) -> None:
        if self._listener is not None:
            self._listener(notice)

    async def close(self) -> None:
        """Write what was submitted, then close the file; harmless if repeated."""
        if self._closer is None:
            if self._lane is None:
                return
            self._closer = Step(self._close(self._lane, self._file), loop=asyncio.get_running_loop())
            self._closer.add_done_callback(hush)  # its callers may be gone
        await asyncio.shield(self._closer)

    async def _close(self, lane: Lane, file: OpenFile) -> None:
        writer, seat = self._writer, self._seat
        try:
            if writer is not None:
                await writer.drain()
            await lane.run(file.close)
            if seat is not None:
                await seat.leave()
        finally:
            await lane.close()
            if self._lane is lane:  # else it was abandoned, and may have been opened again
                self._lane = self._writer = self._closer = self._seat = None

    def abandon(self) -> None:
        """Close the file at once: what is not yet written is not written any more."""
        if self._seat is not None:
            self._seat.abandon()
        if self._writer is not None:
            self._writer.abandon()
        lane = self._lane
        self._lane = self._writer = self._closer = self._seat = None
        if lane is not None:
            lane.abandon(self._file.close)

    # The verbs

    @prompt
    def add(self, job: StoredJob, /, *, replace: bool, runs: Sequence[StoredRun] = ()) -> Answer[int]:
        """Keep a new job; see `Storage.add`."""
        writer = self._opened()
        if not replace and not runs:
            return writer.submit(rows.insert, job, seen=self._see_added)
        return writer.submit(rows.put if replace else rows.insert_with, job, runs, seen=self._see_added)

    def _added(self, args: tuple[Any, ...], number: int | None) -> int:
        if number is None:
            raise DuplicateJobError(args[0].id)
        if self._is_active():
            self._claims.numbers.add(number)
        else:
            self._tell("look")
        return number

    async def add_using(self, connection: Any, job: StoredJob, /) -> Added:
        """Keep a new job in the transaction of a connection to the same file, of sqlite3 or aiosqlite.

        Raises:
            TypeError: the connection is of neither.
            DuplicateJobError: the id is taken; the transaction can go on.
            StorageError: the storage is not open, the connection is to another file, or SQLite reports an error.
        """
        self._opened()
        try:
            return await add_using(self, connection, job, file=self._file.path)
        finally:
            self._file.somebody_came()

    async def were_committed(self, added: Sequence[Added], /) -> Sequence[bool | None]:
        """Return of jobs that were added whether they are there, or were; None as long as somebody writes."""
        self._opened()
        assert self._lane is not None  # noqa: S101  # it is open
        try:
            are_there = await self._lane.run(partial(what_became_of, self._file, added))
        except sqlite3.Error as error:
            msg = f"cannot use {str(self.path)!r}: {error}"
            raise StorageError(msg) from error
        if any(are_there) and not self._is_active():
            self._tell("look")
        return are_there

    def _is_active(self) -> bool:
        return self._seat is not None and self._seat.is_active

    def _tell(self, kind: str, number: int = 0) -> None:
        if self._seat is not None:
            self._seat.tell(kind, number)

    async def claim(
        self, before: datetime, /, *, limit: int | None = None, job_id: str | None = None
    ) -> Sequence[StoredJob]:
        """Return the jobs due before a time that were not claimed since `open`; see `Storage.claim`."""
        if self._seat is not None and not self._seat.is_active:
            return []
        return await self._claims.claim(self._submit, before, limit, job_id)

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
        self._tell("ended", job.number)

    @prompt
    def finish(self, number: int, /, following: StoredJob | None, *, runs: Sequence[StoredRun] = ()) -> Answer[None]:
        """Note that an attempt has ended, and what follows."""
        writer = self._opened()
        if following is None:
            return writer.submit(rows.end, number, runs, seen=self._see_gone)
        return writer.submit(rows.update, [following], runs, seen=self._see_finished)

    def _gone(self, args: tuple[Any, ...], _: object) -> None:
        number: int = args[0]
        self._claims.numbers.discard(number)
        self._tell("ended", number)

    def _finished(self, args: tuple[Any, ...], _: object) -> None:
        self._tell("ended", args[0][0].number)

    async def release(self, jobs: Sequence[StoredJob], /, *, runs: Sequence[StoredRun] = ()) -> None:
        """Put back what was claimed and will not be finished by this owner."""
        await self._submit(partial(rows.update, jobs=jobs, runs=runs))

    async def remove(self, number: int, /, *, runs: Sequence[StoredRun] = (), idle_only: bool = False) -> bool:
        """Forget a job; return whether it was there."""
        removed: bool = await self._opened().submit(rows.delete_idle if idle_only else rows.delete, number, runs)
        if removed or not idle_only:
            self._claims.numbers.discard(number)
        self._tell("gone", number)
        return removed

    def watch(self, listener: Callable[[Notice], None], /) -> None:
        """Have a function called with what other processes have done."""
        self._listener = listener

    def is_mine(self, number: int, /) -> bool:
        """Whether this process holds the claim of a job."""
        return number in self._claims.numbers

    async def find(self, job_id: str | None = None, /) -> Sequence[StoredJob]:
        """Return the job of an id, or all, by number."""
        return await self._submit(partial(rows.find, job_id=job_id))

    async def runs(self, query: RunQuery, /) -> Sequence[StoredRun]:
        """Return rows of the history, the latest first."""
        return await self._submit(partial(history.select, query=query))

    async def prune(self, now: datetime, /, *, most: int) -> None:
        """Forget the rows of the history that have expired, and the oldest beyond so many."""
        swept: int = await self._opened().submit(history.prune, now, most, self._swept)
        self._swept = swept

    def _submit(self, write: Callable[[Connection], T]) -> Answer[T]:
        """Have a verb written, and return its answer."""
        return self._opened().submit(write)

    def _opened(self) -> GroupCommit:
        if self._writer is None or self._closer is not None:
            msg = f"cannot use {str(self.path)!r}: the storage is not open; the app opens it when it starts"
            raise StorageError(msg)
        return self._writer

    def __repr__(self) -> str:
        return f"SQLiteStorage({str(self.path)!r})"
