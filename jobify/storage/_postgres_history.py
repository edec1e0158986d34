"""The history of runs in the PostgreSQL storage."""

from collections.abc import Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from jobify.storage._postgres_driver import Connection, Row, values_of
from jobify.storage._stored import RunQuery, StoredRun

_COLUMNS = tuple(field.name for field in fields(StoredRun) if field.name != "number")
_LIST = ", ".join(_COLUMNS)
_INSERT = f"INSERT INTO jobify_runs ({_LIST}) VALUES ({', '.join(f'${n}' for n in range(1, len(_COLUMNS) + 1))})"  # noqa: S608  # constants
_SELECT = f"SELECT $1::int AS tag, number, {_LIST} FROM jobify_runs"  # noqa: S608  # constants
_values_of = attrgetter(*_COLUMNS)
_TEXTS = tuple(_COLUMNS.index(name) for name in ("error", "reason", "process"))

PRUNE = """
WITH expired AS (DELETE FROM jobify_runs WHERE expires_at <= $2),
    older AS (
        DELETE FROM jobify_runs WHERE number <= (
            SELECT number FROM jobify_runs WHERE expires_at > $2 ORDER BY number DESC LIMIT 1 OFFSET $3
        )
    ),
    done AS (DELETE FROM jobify_occurrences WHERE ended AND scheduled_for < $4)
SELECT $1::int AS tag, pg_current_xact_id()::text AS xid
"""


async def remember(connection: Connection, runs: Sequence[StoredRun]) -> None:
    """Add rows to the history."""
    if runs:
        await connection.executemany(_INSERT, [_writable(run) for run in runs])


def question(query: RunQuery) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that asks for rows of the history, the latest first, and its parameters behind the tag."""
    conditions, values = list[str](), list[Any]()
    for condition, value in (
        ("job = $", query.job),
        ("job_id = $", query.job_id),
        ("task = $", query.task),
        ("status = ANY ($", None if query.statuses is None else list(query.statuses)),
        ("finished_at >= $", query.since),
    ):
        if value is not None:
            values.append(value)
            conditions.append(f"{condition}{len(values) + 1}{')' * condition.count('(')}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{_SELECT}{where} ORDER BY number DESC LIMIT ${len(values) + 2}", (*values, query.limit)  # constants


def run_of(row: Row) -> StoredRun:
    """Return a row as a run."""
    return StoredRun(number=row["number"], **values_of(row, _COLUMNS))


def _writable(run: StoredRun) -> list[Any]:
    """Return the columns of a run; what others have put in words need not be fit for a text of PostgreSQL."""
    values = list(_values_of(run))
    for index in _TEXTS:
        if values[index] is not None:
            values[index] = as_text(values[index])
    return values


def as_text(words: str) -> str:
    """Return a text without what PostgreSQL does not take: the character 0, and halves of others."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")
