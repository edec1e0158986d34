"""The history of runs in the SQLite storage."""

import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from jobify._clock import EPOCH
from jobify.storage._stored import RunQuery, StoredRun

_MICROSECOND = timedelta(microseconds=1)
_COLUMNS = tuple(field.name for field in fields(StoredRun) if field.name != "number")
_INSTANTS = frozenset({"scheduled_for", "last", "started_at", "finished_at", "expires_at"})
_INSTANT_AT = tuple(index for index, name in enumerate(_COLUMNS) if name in _INSTANTS)
_LIST = ", ".join(_COLUMNS)
_INSERT = f"INSERT INTO jobify_runs ({_LIST}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # constants
_SELECT = f"SELECT number, {_LIST} FROM jobify_runs"  # noqa: S608  # constants
_values_of = attrgetter(*_COLUMNS)
_FORGET_OLD = "DELETE FROM jobify_runs WHERE expires_at <= ?"
_FORGET_MANY = """
DELETE FROM jobify_runs WHERE number <= (SELECT number FROM jobify_runs ORDER BY number DESC LIMIT 1 OFFSET ?)
"""


def remember(connection: sqlite3.Connection, runs: Sequence[StoredRun]) -> None:
    """Add rows to the history."""
    for run in runs:
        values = list(_values_of(run))
        for index in _INSTANT_AT:
            if values[index] is not None:
                values[index] = to_micros(values[index])
        connection.execute(_INSERT, values)


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


def prune(connection: sqlite3.Connection, *, now: datetime, most: int) -> None:
    """Forget the rows that have expired, and the oldest beyond so many."""
    connection.execute(_FORGET_OLD, (to_micros(now),))
    connection.execute(_FORGET_MANY, (most,))


def _to_run(row: tuple[Any, ...]) -> StoredRun:
    number, *values = row
    for index in _INSTANT_AT:
        if values[index] is not None:
            values[index] = from_micros(values[index])
    return StoredRun(number=number, **dict(zip(_COLUMNS, values, strict=True)))


def to_micros(moment: datetime) -> int:
    """Return an instant as it is stored."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return a stored instant."""
    return EPOCH + micros * _MICROSECOND
