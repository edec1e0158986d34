"""A file of SQLite that is open, and whether it is still the one that was opened."""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jobify.storage._sqlite_rows as rows
from jobify.exceptions import StorageError
from jobify.storage._answer import Answer
from jobify.storage._sqlite_numbers import Connection


class OpenFile:
    """A file that was opened once: who closes it late does not close what was opened meanwhile.

    Its methods are called on its lane.

    Attributes:
        connection: while it is open.
        path: of the file, without symbolic links.
    """

    connection: Connection | None = None
    path: str = ""

    def open(self, path: Path, *, timeout: float, synchronous: str, is_only_writer: bool) -> None:
        """Open the file of a path, and make or check its tables.

        Raises:
            StorageError: there is no such folder, it is not a database, it is of a newer jobify, or SQLite reports an
                error.
        """
        if not path.parent.is_dir():
            msg = f"cannot open {str(path)!r}: there is no folder {str(path.parent)!r}; make it first"
            raise StorageError(msg)
        connection: Connection | None = None
        try:
            connection = sqlite3.connect(
                path, timeout=timeout, isolation_level=None, check_same_thread=False, factory=Connection
            )
            connection.is_only_writer = is_only_writer
            rows.prepare(connection, synchronous=synchronous)
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                msg = f"cannot open {str(path)!r}: {error}"
                raise StorageError(msg) from error
            raise
        self.connection = connection
        self.path = os.path.realpath(path)
        absolute = str(path.absolute())  # the current folder may change
        self._paths = (absolute, f"{absolute}-wal")
        self._nodes = [*map(_node, self._paths)]

    def transact(self, verbs: Sequence[Answer[Any]]) -> list[Any]:
        """Carry out verbs in one transaction, and return their answers; all of them, or none.

        Raises:
            sqlite3.Error: it cannot be written, or was moved, replaced or removed.
        """
        return rows.transact(self.checked(), verbs)

    def checked(self) -> Connection:
        """Return the connection, if the file is still there: SQLite would go on with one that nobody finds again.

        Raises:
            sqlite3.Error: it was moved, replaced or removed.
        """
        assert self.connection is not None  # noqa: S101  # a lane closes it with its last call
        if [*map(_node, self._paths)] != self._nodes:
            msg = "the file or its -wal was moved, replaced or removed under the app; put both back, or stop the app"
            raise sqlite3.OperationalError(msg)
        return self.connection

    def somebody_came(self) -> None:
        """Number the jobs that are added from now on behind one that somebody else has added; called from anywhere."""
        if self.connection is not None:
            self.connection.is_overtaken = True

    def close(self) -> None:
        """Close it; on its lane, so behind a connect whose caller did not wait for it."""
        if self.connection is not None:
            self.connection.close()
        self.connection = None


def _node(path: str) -> tuple[int, int] | None:
    """Return what tells a file from all others; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116  # in every transaction: a Path takes twice as long
    except OSError:
        return None
    return found.st_dev, found.st_ino
