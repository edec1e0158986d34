"""The SQL of the SQLite storage: within version 3.34, and never asking for the time."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from jobify._clock import wall_datetime, wall_nanoseconds
from jobify.exceptions import StorageError
from jobify.storage._protocol import StoredJob

_VERSION = 1
_SCHEMA = """
CREATE TABLE jobify_jobs (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    task          TEXT    NOT NULL,
    arguments     BLOB    NOT NULL,
    trigger       TEXT,
    declared      INTEGER NOT NULL,
    exec_at       INTEGER NOT NULL,  -- instants are microseconds since 1970-01-01T00:00:00Z
    scheduled_for INTEGER NOT NULL,
    delay         REAL,
    running       INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    runs          INTEGER NOT NULL,
    failures      INTEGER NOT NULL,
    interruptions INTEGER NOT NULL,
    started_at    INTEGER
)
"""
_COLUMNS = (
    "id, task, arguments, trigger, declared, exec_at, scheduled_for, delay, running, attempt, runs, failures, "
    "interruptions, started_at"
)
_INSERT = f"INSERT OR IGNORE INTO jobify_jobs ({_COLUMNS}) VALUES ({', '.join('?' * 14)})"  # noqa: S608  # constants
_SELECT = f"SELECT number, {_COLUMNS} FROM jobify_jobs WHERE exec_at < ? ORDER BY number"  # noqa: S608  # constants
_UPDATE = """
UPDATE jobify_jobs SET exec_at = ?, scheduled_for = ?, delay = ?, running = ?, attempt = ?, runs = ?, failures = ?,
    interruptions = ?, started_at = ? WHERE number = ?
"""
_MARK_RUNNING = "UPDATE jobify_jobs SET running = 1, attempt = ?, started_at = ? WHERE number = ?"


def prepare(connection: sqlite3.Connection, *, synchronous: str) -> None:
    """Make or check the tables of a database that was just opened."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        _migrate(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        msg = f"the database has schema {version}, and this jobify knows {_VERSION}: it was written by a newer one"
        raise StorageError(msg)
    if version == 0:
        connection.execute(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")


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


def insert(connection: sqlite3.Connection, *, job: StoredJob, replace: bool) -> int | None:
    """Add a row, and return its number; None if the id is taken."""
    if replace:
        connection.execute("DELETE FROM jobify_jobs WHERE id = ?", (job.id,))
    cursor = connection.execute(_INSERT, (job.id, job.task, job.arguments, job.trigger, job.declared, *_moving(job)))
    return cursor.lastrowid if cursor.rowcount else None


def select(connection: sqlite3.Connection, *, before: datetime) -> list[StoredJob]:
    """Return the rows of the jobs that are due before a time."""
    return [_to_job(row) for row in connection.execute(_SELECT, (_to_micros(before),))]


def update(connection: sqlite3.Connection, *, jobs: Sequence[StoredJob]) -> None:
    """Write what changes in the life of jobs; those that are gone stay gone."""
    connection.executemany(_UPDATE, [(*_moving(job), job.number) for job in jobs])


def mark_running(connection: sqlite3.Connection, *, number: int, attempt: int, started_at: datetime) -> None:
    """Write that an attempt is in progress."""
    connection.execute(_MARK_RUNNING, (attempt, _to_micros(started_at), number))


def delete(connection: sqlite3.Connection, *, number: int) -> None:
    """Remove a row."""
    connection.execute("DELETE FROM jobify_jobs WHERE number = ?", (number,))


def _moving(job: StoredJob) -> tuple[Any, ...]:
    """Return the columns that change in the life of a job."""
    return (
        _to_micros(job.exec_at),
        _to_micros(job.scheduled_for),
        job.delay,
        job.running,
        job.attempt,
        job.runs,
        job.failures,
        job.interruptions,
        None if job.started_at is None else _to_micros(job.started_at),
    )


def _to_job(row: tuple[Any, ...]) -> StoredJob:
    (number, job_id, task, arguments, trigger, declared, exec_at, scheduled_for, delay, running, *counters, started) = (
        row
    )
    attempt, runs, failures, interruptions = counters
    return StoredJob(
        number=number,
        id=job_id,
        task=task,
        arguments=arguments,
        trigger=trigger,
        declared=bool(declared),
        exec_at=_from_micros(exec_at),
        scheduled_for=_from_micros(scheduled_for),
        delay=delay,
        running=bool(running),
        attempt=attempt,
        runs=runs,
        failures=failures,
        interruptions=interruptions,
        started_at=None if started is None else _from_micros(started),
    )


def _to_micros(moment: datetime) -> int:
    return wall_nanoseconds(moment) // 1000


def _from_micros(micros: int) -> datetime:
    return wall_datetime(micros * 1000)
