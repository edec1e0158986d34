"""The history of runs in the SQLite storage."""

import sqlite3
from collections.abc import Iterable
from dataclasses import fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from jobify._clock import EPOCH
from jobify.storage._sqlite_numbers import Connection
from jobify.storage._stored import RunQuery, StoredRun

_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = tuple(field.name for field in fields(StoredRun) if field.name != "number")
_INSTANTS = frozenset({"scheduled_for", "last", "started_at", "finished_at", "expires_at"})
_INSTANT_AT = tuple(index for index, name in enumerate(_COLUMNS, 1) if name in _INSTANTS)  # behind the number
_LIST = ", ".join(_COLUMNS)
_INSERT = f"INSERT INTO jobify_runs (number, {_LIST}) VALUES (?{', ?' * len(_COLUMNS)})"  # noqa: S608  # constants
_END = _INSERT.replace("jobify_runs", "jobify_ends")
# The end of a job as one statement, which is a transaction of its own: who pushes in turn waits for each of them.
ENDS = (
    "CREATE TEMP VIEW jobify_ends AS SELECT * FROM main.jobify_runs",
    f"""
    CREATE TEMP TRIGGER jobify_end INSTEAD OF INSERT ON jobify_ends BEGIN
        DELETE FROM jobify_jobs WHERE number = NEW.job;
        INSERT INTO jobify_runs (number, {_LIST}) VALUES (NEW.number{"".join(f", NEW.{name}" for name in _COLUMNS)});
    END
    """,  # noqa: S608  # constants
)
"""What a connection has for itself, and no file."""

_SELECT = f"SELECT number, {_LIST} FROM jobify_runs"  # noqa: S608  # constants
_values_of = attrgetter(*_COLUMNS)
_SWEPT, _SWEPT_FOR_EACH = 1000, 5
_LAST_SWEPT = """
SELECT max(number), count(*) FROM (SELECT number FROM jobify_runs WHERE number > ? ORDER BY number LIMIT ?)
"""
_FORGET_OLD = "DELETE FROM jobify_runs WHERE number > ? AND number <= ? AND expires_at <= ?"
_FORGET_MANY = """
DELETE FROM jobify_runs WHERE number <= (SELECT number FROM jobify_runs ORDER BY number DESC LIMIT 1 OFFSET ?)
"""


def remember(connection: Connection, runs: Iterable[StoredRun]) -> None:
    """Add rows to the history."""
    if rows := [_values(connection, run) for run in runs]:
        connection.executemany(_INSERT, rows)


def end(connection: Connection, run: StoredRun) -> None:
    """Add a row to the history, and remove its job."""
    connection.execute(_END, _values(connection, run))


def _values(connection: Connection, run: StoredRun) -> list[Any]:
    connection.new_runs += 1
    values: list[Any] = [connection.next_number("jobify_runs"), *_values_of(run)]
    for index in _INSTANT_AT:
        if values[index] is not None:
            values[index] = to_micros(values[index])
    return values


def select(connection: sqlite3.Connection, *, query: RunQuery) -> list[StoredRun]:
    """Return rows of the history, the latest first."""
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (
        ("job = ?", query.job),
        ("job_id = ?", query.job_id),
        ("task = ?", query.task),
        ("finished_at >= ?", to_micros(query.since) if query.since is not None else None),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.statuses is not None:
        conditions.append(f"status IN ({', '.join('?' * len(query.statuses))})")
        values.extend(query.statuses)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    found = connection.execute(f"{_SELECT}{where} ORDER BY number DESC LIMIT ?", (*values, query.limit))  # constants
    return [_to_run(row) for row in found]


def prune(connection: Connection, now: datetime, most: int, swept: int) -> int:
    """Forget rows that have expired, and the oldest beyond so many; return where to go on the next time.

    There is no index of what expires when, which would cost each run a page. The rows are swept instead, some at a time
    from the one behind `swept` on, and then from the first again: so many for each that is new that there are never
    more than a quarter too many.
    """
    wanted = max(_SWEPT, _SWEPT_FOR_EACH * connection.new_runs)
    ((last, number_of_rows),) = connection.execute(_LAST_SWEPT, (swept, wanted)).fetchall()
    if number_of_rows:
        connection.execute(_FORGET_OLD, (swept, last, to_micros(now)))
    connection.new_runs = 0
    if number_of_rows == wanted:
        return int(last)
    connection.execute(_FORGET_MANY, (most,))
    return 0


def _to_run(row: tuple[Any, ...]) -> StoredRun:
    values = [*row]
    for index in _INSTANT_AT:
        if values[index] is not None:
            values[index] = from_micros(values[index])
    return StoredRun(**dict(zip(("number", *_COLUMNS), values, strict=True)))


def to_micros(moment: datetime) -> int:
    """Return an instant as it is stored."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return a stored instant."""
    return EPOCH + micros * _MICROSECOND
