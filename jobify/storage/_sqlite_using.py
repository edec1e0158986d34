"""Adding a job over a connection of the user's to a SQLite file, within the transaction that is in progress there."""

import os
import sqlite3

import jobify.storage._sqlite_rows as rows
from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage._protocol import StoredJob


def add_using(connection: sqlite3.Connection, job: StoredJob, *, file: str) -> int:
    """Add a row that nobody has claimed.

    Raises:
        DuplicateJobError: the id of the job is taken; the transaction of the user can go on.
        StorageError: the connection is to another file, or SQLite reports an error.
    """
    try:
        (its_file,) = (row[2] for row in connection.execute("PRAGMA database_list") if row[1] == "main")
        if not its_file or os.path.realpath(its_file) != file:
            msg = f"cannot add a job to {file!r}: the connection is to {its_file or 'a database in memory'!r}"
            raise StorageError(msg)
        number = rows.insert(connection, job=job, replace=False, runs=())
    except sqlite3.Error as error:
        msg = f"cannot use {file!r}: {error}"
        raise StorageError(msg) from error
    if number is None:
        raise DuplicateJobError(job.id)
    return number
