"""The SQL of the SQLite storage: within version 3.34, and never asking for the time."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from datetime import datetime
from heapq import merge
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from typing import Any

from jobify.storage._answer import Answer
from jobify.storage._sqlite_history import ENDS, from_micros, remember, to_micros
from jobify.storage._sqlite_history import end as end_with
from jobify.storage._sqlite_numbers import Connection
from jobify.storage._sqlite_schema import ORDERED_AT, migrate
from jobify.storage._stored import AMENDED, StoredJob, StoredRun

_PAGES_OF_WAL = {"full": 1000, "normal": 4000, "off": 4000}
"""How long the -wal file gets before it is copied back, 2 or 8 MB: each copy waits for the disk, twice.

Where each transaction waits for it too, it waits longer as long as the file still grows.
"""

_INSTANTS = frozenset({"exec_at", "scheduled_for", "covered", "until", "started_at"})
_FIXED = ("id", "task", "arguments", "trigger", "declaration", "misfire_policy", "parent")
_MOVING = (
    "exec_at", "scheduled_for", "delay", "covered", "until", "paused", "running", "attempt", "runs", "failures",
    "interruptions", "started_at",
)  # fmt: skip
_COLUMNS = (*_FIXED, *_MOVING)
_LIST = ", ".join(_COLUMNS)
_INSERT = f"INSERT OR IGNORE INTO jobify_jobs (number, {_LIST}) VALUES (?{', ?' * len(_COLUMNS)})"  # noqa: S608  # constants
INSERT = _INSERT.replace("?", "NULL", 1)
_ALL = f"SELECT number, {_LIST} FROM jobify_jobs"  # noqa: S608  # constants
_FIND = f"{_ALL} WHERE id = ?"
_NEAREST = f"{_ALL} WHERE running = 0 AND exec_at < ? ORDER BY exec_at, number"
_RUNNING = f"{_ALL} WHERE running AND ? AND exec_at < ? ORDER BY exec_at, number"
_ARE_RUNNING = "SELECT (SELECT count(*) FROM jobify_jobs) > (SELECT count(*) FROM jobify_jobs WHERE running = 0)"
# All but the first has its index.
_DUE = f"""
{_ALL} WHERE number IN (
    SELECT number FROM jobify_jobs WHERE running AND ?
    UNION SELECT number FROM jobify_jobs WHERE running = 0 AND exec_at < ?
    UNION SELECT number FROM jobify_jobs WHERE running = 0 AND until IS NOT NULL
    UNION SELECT number FROM jobify_jobs WHERE running = 0 AND delay IS NOT NULL AND {ORDERED_AT} > ?
)
"""  # noqa: S608  # constants
_IS_THERE = "SELECT 1 FROM jobify_jobs WHERE number = ? AND id = ?"
_DELETE = "DELETE FROM jobify_jobs WHERE number = ?"
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


def prepare(connection: Connection, *, synchronous: str) -> None:
    """Make or check the tables of a database that was just opened."""
    connection.execute("PRAGMA page_size = 2048")  # of a new file: a push changes little in each of six pages
    connection.execute(
        f"PRAGMA synchronous = {synchronous}"
    )  # before what follows: with "off" nothing below waits for the disk
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_OF_WAL[synchronous]}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrate(connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise
    for statement in ENDS:
        connection.execute(statement)


def transact(connection: Connection, verbs: Sequence[Answer[Any]]) -> list[Any]:
    """Carry out verbs in one transaction, and return their answers; all of them, or none."""
    connection.see_who_came()
    if len(verbs) == 1 and _is_one_statement(connection, verbs[0]):  # that is a transaction of its own
        return [verbs[0].verb(connection, *verbs[0].args)]
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers: list[Any] = []
        for verb, those in groupby(verbs, key=attrgetter("verb")):
            if verb in _TOGETHER:
                answers += _TOGETHER[verb](connection, [one.args for one in those])
            else:
                answers += [verb(connection, *one.args) for one in those]
        connection.execute("COMMIT")
    except BaseException:
        connection.forget_numbers()
        if connection.in_transaction:
            connection.rollback()
        raise
    return answers


def put(connection: Connection, job: StoredJob, runs: Sequence[StoredRun]) -> int | None:
    """Add a row in the place of the one that has its id, and return its number."""
    connection.execute("DELETE FROM jobify_jobs WHERE id = ?", (job.id,))
    return insert_with(connection, job, runs)


def insert_with(connection: Connection, job: StoredJob, runs: Sequence[StoredRun]) -> int | None:
    """Add a row, and rows to the history; nothing if the id is taken."""
    number = insert(connection, job)
    if number is not None:
        remember(connection, runs)
    return number


def insert(connection: Connection, job: StoredJob) -> int | None:
    """Add a row, and return its number; None if the id is taken."""
    cursor = connection.execute(_INSERT, (connection.next_number("jobify_jobs"), *values_of(job)))
    return cursor.lastrowid if cursor.rowcount else None


def _insert_all(connection: Connection, arguments: Sequence[tuple[StoredJob]]) -> list[int | None]:
    if len(arguments) == 1 or not connection.is_only_writer:
        return [insert(connection, job) for (job,) in arguments]
    rows = [[connection.next_number("jobify_jobs"), *values_of(job)] for (job,) in arguments]
    if connection.executemany(_INSERT, rows).rowcount == len(rows):
        return [row[0] for row in rows]
    return [row[0] if connection.execute(_IS_THERE, row[:2]).fetchone() else None for row in rows]


def end(connection: Connection, number: int, runs: Sequence[StoredRun]) -> None:
    """Remove the row of a job that is over."""
    if _is_one_row(number, runs):
        end_with(connection, runs[0])
    else:
        delete(connection, number, runs)


def _end_all(connection: Connection, arguments: Sequence[tuple[int, Sequence[StoredRun]]]) -> list[None]:
    connection.executemany(_DELETE, [(number,) for number, _ in arguments])
    remember(connection, chain.from_iterable(runs for _, runs in arguments))
    return [None] * len(arguments)


def _is_one_row(number: int, runs: Sequence[StoredRun]) -> bool:
    """Whether the end of a job is one row of the history."""
    return len(runs) == 1 and runs[0].job == number


def _is_one_statement(connection: Connection, verb: Answer[Any]) -> bool:
    if verb.verb is insert:
        return connection.needs_no_draw("jobify_jobs")
    return verb.verb is end and _is_one_row(*verb.args) and connection.needs_no_draw("jobify_runs")


_TOGETHER: dict[Callable[..., Any], Callable[[Connection, Any], list[Any]]] = {insert: _insert_all, end: _end_all}
"""How many verbs of one kind are carried out in few statements."""


def select(
    connection: Connection,
    *,
    before: datetime,
    limit: int | None,
    job_id: str | None,
    besides: AbstractSet[int],
    running: bool,
) -> list[StoredJob]:
    """Return the rows of the jobs that are due before a time, or of the nearest of them, besides some numbers.

    Those of which an attempt is in progress are looked for in all rows, which may be long; so only if `running`, and
    only if there are any: more rows than are in the index of what waits.
    """
    if job_id is not None:
        return [job for job in find(connection, job_id=job_id) if job.exec_at < before]
    instant = (to_micros(before),)
    running = running and bool(connection.execute(_ARE_RUNNING).fetchone()[0])
    if limit is None:
        return [
            _to_job(row) for row in connection.execute(_DUE, (running, *instant, *instant)) if row[0] not in besides
        ]
    with (
        closing(connection.execute(_RUNNING, (running, *instant))) as in_progress,
        closing(connection.execute(_NEAREST, instant)) as idle,
    ):
        free = (row for row in merge(in_progress, idle, key=_due_and_number) if row[0] not in besides)
        return [_to_job(row) for row in islice(free, limit)]


def find(connection: Connection, *, job_id: str | None) -> list[StoredJob]:
    """Return the row of an id, or all."""
    if job_id is None:
        return [_to_job(row) for row in connection.execute(f"{_ALL} ORDER BY number")]
    return [_to_job(row) for row in connection.execute(_FIND, (job_id,))]


def update(connection: Connection, jobs: Sequence[StoredJob], runs: Sequence[StoredRun]) -> None:
    """Write what changes in the life of jobs; those that are gone stay gone."""
    remember(connection, runs)
    connection.executemany(_UPDATE, [(*_CHANGING.values_of(job), job.number) for job in jobs])


def amend(connection: Connection, *, job: StoredJob, runs: Sequence[StoredRun]) -> None:
    """Write what was changed of a job beside its runs."""
    remember(connection, runs)
    connection.execute(_AMEND, (*_AMENDED.values_of(job), job.number))


def mark_running(  # the columns of one statement
    connection: Connection,
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


def delete(connection: Connection, number: int, runs: Sequence[StoredRun]) -> bool:
    """Remove a row; return whether it was there."""
    removed = connection.execute(_DELETE, (number,)).rowcount > 0
    remember(connection, runs)
    return removed


def delete_idle(connection: Connection, number: int, runs: Sequence[StoredRun]) -> bool:
    """Remove a row unless an attempt is in progress; return whether it was there, and is not any more."""
    removed = connection.execute("DELETE FROM jobify_jobs WHERE number = ? AND NOT running", (number,)).rowcount > 0
    if removed:
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
