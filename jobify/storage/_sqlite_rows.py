"""The SQL of the SQLite storage: within version 3.34, and never asking for the time."""

import sqlite3
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from datetime import datetime
from heapq import merge
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any

from jobify.storage._sqlite_history import from_micros, remember, to_micros
from jobify.storage._sqlite_schema import ORDERED_AT, migrate
from jobify.storage._stored import AMENDED, StoredJob, StoredRun

_PAGES_OF_WAL = 4000
"""How long the -wal file gets before it is copied back, 16 MB: each copy waits for the disk, twice."""

_INSTANTS = frozenset({"exec_at", "scheduled_for", "covered", "until", "started_at"})
_FIXED = ("id", "task", "arguments", "trigger", "declaration", "misfire_policy", "parent")
_MOVING = (
    "exec_at", "scheduled_for", "delay", "covered", "until", "paused", "running", "attempt", "runs", "failures",
    "interruptions", "started_at",
)  # fmt: skip
_COLUMNS = (*_FIXED, *_MOVING)
_LIST = ", ".join(_COLUMNS)
INSERT = f"INSERT OR IGNORE INTO jobify_jobs ({_LIST}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # constants
_ALL = f"SELECT number, {_LIST} FROM jobify_jobs"  # noqa: S608  # constants
_FIND = f"{_ALL} WHERE id = ?"
_NEAREST = f"{_ALL} WHERE NOT running AND exec_at < ? ORDER BY exec_at, number"
_RUNNING = f"{_ALL} WHERE running AND exec_at < ? ORDER BY exec_at, number"
# Each of the four has its index.
_DUE = f"""
{_ALL} WHERE number IN (
    SELECT number FROM jobify_jobs WHERE running
    UNION SELECT number FROM jobify_jobs WHERE NOT running AND exec_at < ?
    UNION SELECT number FROM jobify_jobs WHERE NOT running AND until IS NOT NULL
    UNION SELECT number FROM jobify_jobs WHERE NOT running AND delay IS NOT NULL AND {ORDERED_AT} > ?
)
"""  # noqa: S608  # constants
_UPDATE = f"UPDATE jobify_jobs SET {', '.join(f'{name} = ?' for name in _MOVING)} WHERE number = ?"  # noqa: S608  # constants
_AMEND = f"UPDATE jobify_jobs SET {', '.join(f'{name} = ?' for name in AMENDED)} WHERE number = ?"  # noqa: S608  # constants
_MARK_RUNNING = "UPDATE jobify_jobs SET running = 1, attempt = ?, started_at = ?, scheduled_for = ? WHERE number = ?"


class _Columns:
    """Columns of a row, as they are written together."""

    def __init__(self, *names: str) -> None:
        self._read: Callable[[StoredJob], tuple[Any, ...]] = attrgetter(*names)
        self._instants = [index for index, name in enumerate(names) if name in _INSTANTS]

    def values_of(self, job: StoredJob) -> list[Any]:
        """Return what is written of a job."""
        values = [*self._read(job)]
        for index in self._instants:
            if values[index] is not None:
                values[index] = to_micros(values[index])
        return values


_WHOLE, _CHANGING, _AMENDED = _Columns(*_COLUMNS), _Columns(*_MOVING), _Columns(*AMENDED)


def values_of(job: StoredJob) -> list[Any]:
    """Return the columns of a new row."""
    return _WHOLE.values_of(job)


def prepare(connection: sqlite3.Connection, *, synchronous: str) -> None:
    """Make or check the tables of a database that was just opened."""
    connection.execute(f"PRAGMA synchronous = {synchronous}")  # first: with "off" nothing below waits for the disk
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_OF_WAL}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrate(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def transact(connection: sqlite3.Connection, writes: Sequence[Callable[[sqlite3.Connection], Any]]) -> list[Any]:
    """Carry out writes in one transaction, and return their answers; all of them, or none."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers = [write(connection) for write in writes]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
    return answers


def insert(connection: sqlite3.Connection, *, job: StoredJob, replace: bool, runs: Sequence[StoredRun]) -> int | None:
    """Add a row, and return its number; None if the id is taken."""
    if replace:
        connection.execute("DELETE FROM jobify_jobs WHERE id = ?", (job.id,))
    cursor = connection.execute(INSERT, values_of(job))
    if not cursor.rowcount:
        return None
    remember(connection, runs)
    return cursor.lastrowid


def select(
    connection: sqlite3.Connection,
    *,
    before: datetime,
    limit: int | None,
    job_id: str | None,
    besides: AbstractSet[int],
) -> list[StoredJob]:
    """Return the rows of the jobs that are due before a time, or of the nearest of them, besides some numbers."""
    if job_id is not None:
        return [job for job in find(connection, job_id=job_id) if job.exec_at < before]
    instant = (to_micros(before),)
    if limit is None:
        return [_to_job(row) for row in connection.execute(_DUE, 2 * instant) if row[0] not in besides]
    with (
        closing(connection.execute(_RUNNING, instant)) as running,
        closing(connection.execute(_NEAREST, instant)) as idle,
    ):
        free = (row for row in merge(running, idle, key=_due_and_number) if row[0] not in besides)
        return [_to_job(row) for row in islice(free, limit)]


def find(connection: sqlite3.Connection, *, job_id: str | None) -> list[StoredJob]:
    """Return the row of an id, or all."""
    if job_id is None:
        return [_to_job(row) for row in connection.execute(f"{_ALL} ORDER BY number")]
    return [_to_job(row) for row in connection.execute(_FIND, (job_id,))]


def update(connection: sqlite3.Connection, *, jobs: Sequence[StoredJob], runs: Sequence[StoredRun] = ()) -> None:
    """Write what changes in the life of jobs; those that are gone stay gone."""
    remember(connection, runs)
    connection.executemany(_UPDATE, [(*_CHANGING.values_of(job), job.number) for job in jobs])


def amend(connection: sqlite3.Connection, *, job: StoredJob, runs: Sequence[StoredRun]) -> None:
    """Write what was changed of a job beside its runs."""
    remember(connection, runs)
    connection.execute(_AMEND, (*_AMENDED.values_of(job), job.number))


def mark_running(  # the columns of one statement
    connection: sqlite3.Connection,
    *,
    number: int,
    attempt: int,
    started_at: datetime,
    scheduled_for: datetime,
    runs: Sequence[StoredRun],
) -> bool:
    """Write that an attempt is in progress; return whether the job is there."""
    values = (attempt, to_micros(started_at), to_micros(scheduled_for), number)
    if not connection.execute(_MARK_RUNNING, values).rowcount:
        return False
    remember(connection, runs)
    return True


def delete(connection: sqlite3.Connection, *, number: int, runs: Sequence[StoredRun], idle_only: bool) -> bool:
    """Remove a row; return whether it was there, and if `idle_only`, whether no attempt was in progress."""
    idle = " AND NOT running" if idle_only else ""
    removed = connection.execute(f"DELETE FROM jobify_jobs WHERE number = ?{idle}", (number,)).rowcount > 0  # noqa: S608  # constants
    if removed or not idle_only:
        remember(connection, runs)
    return removed


_due_and_number = itemgetter(1 + _COLUMNS.index("exec_at"), 0)


def _to_job(row: tuple[Any, ...]) -> StoredJob:
    number, *values = row
    columns: dict[str, Any] = {
        name: from_micros(value) if name in _INSTANTS and value is not None else value
        for name, value in zip(_COLUMNS, values, strict=True)
    }
    columns["paused"], columns["running"] = bool(columns["paused"]), bool(columns["running"])
    return StoredJob(number=number, **columns)
