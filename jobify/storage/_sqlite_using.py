"""Adding a job over a connection of the user's to a SQLite file, within the transaction that is in progress there."""

import inspect
import os
import sqlite3
from collections.abc import Sequence
from typing import Any

import jobify.storage._sqlite_rows as rows
from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage._sqlite_file import OpenFile
from jobify.storage._stored import StoredJob
from jobify.storage._transactional import Added

_IS_THERE = """
SELECT EXISTS (SELECT 1 FROM jobify_jobs WHERE number = :number AND id = :job_id)
    OR EXISTS (SELECT 1 FROM jobify_runs WHERE job_id = :job_id AND job = :number)
"""


async def add_using(storage: object, connection: Any, job: StoredJob, *, file: str) -> Added:
    """Add a row that nobody has claimed.

    Raises:
        TypeError: the connection is none of sqlite3, and none of aiosqlite.
        DuplicateJobError: the id of the job is taken; the transaction of the user can go on.
        StorageError: the connection is to another file, or SQLite reports an error.
    """
    is_sync = isinstance(connection, sqlite3.Connection)
    if not is_sync and not hasattr(connection, "execute_fetchall"):
        msg = f"cannot add a job to {storage!r} over {connection!r}: give a connection of sqlite3, or one of aiosqlite"
        raise TypeError(msg)
    # One of aiosqlite that is closed, or belongs to another loop, has errors of another kind.
    errors = sqlite3.Error if is_sync else (sqlite3.Error, ValueError, RuntimeError)
    try:
        its_file = await _main_file(connection)
        if not its_file or os.path.realpath(its_file) != file:
            msg = f"cannot add a job to {file!r}: the connection is to {its_file or 'a database in memory'!r}"
            raise StorageError(msg)
        cursor = await _done(connection.execute(rows.INSERT, rows.values_of(job)))
        number = cursor.lastrowid if cursor.rowcount else None
        await _done(cursor.close())
    except errors as error:
        msg = f"cannot use {file!r}: {error}"
        raise StorageError(msg) from error
    if number is None:
        raise DuplicateJobError(job.id)
    return Added(number, job.id)


async def _main_file(connection: Any) -> str:
    cursor = await _done(connection.execute("PRAGMA database_list"))
    found = await _done(cursor.fetchall())
    await _done(cursor.close())
    # Rows, and texts, are what the user has made of them.
    plain = [tuple(row.values()) if hasattr(row, "values") else tuple(row) for row in found]
    return next(os.fsdecode(file or "") for _, name, file in plain if os.fsdecode(name) == "main")


async def _done(answer: Any) -> Any:
    return await answer if inspect.isawaitable(answer) else answer


def what_became_of(file: OpenFile, added: Sequence[Added]) -> Sequence[bool | None]:
    """Return of jobs that were added whether they are there, or were; None as long as somebody writes to the file.

    Their transactions have the one lock for writing, from the row on until the end: who gets that sees what came of
    them. It is not waited for.

    Raises:
        sqlite3.Error: SQLite reports an error, or the file was moved.
    """
    connection = file.checked()
    are_there = _are_there(connection, added)
    if all(are_there):
        return are_there
    ((patience,),) = connection.execute("PRAGMA busy_timeout").fetchall()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return [is_there or None for is_there in are_there]
        raise
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
    try:
        return _are_there(connection, added)
    finally:
        connection.rollback()


def _are_there(connection: sqlite3.Connection, added: Sequence[Added]) -> list[bool]:
    places = [{"number": one.number, "job_id": one.job_id} for one in added]
    return [bool(connection.execute(_IS_THERE, place).fetchone()[0]) for place in places]
