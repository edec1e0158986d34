"""The driver of the PostgreSQL storage, asyncpg, as far as it is used: imported when a storage is made.

It speaks over the transports of the event loop, so virtual time knows when an answer is under way, and tells of
notifications without being asked.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from jobify.exceptions import StorageError

Row = Mapping[str, Any]


class Connection(Protocol):
    """A connection of asyncpg."""

    async def execute(self, query: str, *args: Any) -> str:
        """Carry out a statement."""
        ...

    async def executemany(self, command: str, args: Sequence[Sequence[Any]]) -> None:
        """Carry out a statement with each of these values; they are sent in one go."""
        ...

    async def fetch(self, query: str, *args: Any) -> Sequence[Row]:
        """Return the rows of a statement."""
        ...

    async def fetchmany(self, query: str, args: Sequence[Sequence[Any]]) -> Sequence[Row]:
        """Return the rows of a statement with each of these values; they are sent in one go."""
        ...

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Return the first value of the first row."""
        ...

    async def add_listener(self, channel: str, callback: Callable[[Any, int, str, Any], None]) -> None:
        """Have the notifications of a channel told: connection, process id of the sender, channel, payload."""
        ...

    def add_termination_listener(self, callback: Callable[[Any], None]) -> None:
        """Have the end of the connection told."""
        ...

    def get_server_pid(self) -> int:
        """Return the process id of the server's end."""
        ...

    def is_closed(self) -> bool:
        """Whether the connection is of no more use."""
        ...

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as it is called
        """Close it in good order."""
        ...

    def terminate(self) -> None:
        """Close it at once."""
        ...


def driver(storage: object) -> Any:
    """Return the module.

    Raises:
        ImportError: it is not installed; the message names the extra that has it.
    """
    try:
        return importlib.import_module("asyncpg")
    except ImportError as error:
        msg = f"cannot use {storage!r}: it needs the driver asyncpg, which the extra jobify[postgres] brings"
        raise ImportError(msg, name="asyncpg") from error


def values_of(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Return columns of a row; the first and the last instant that there are come without their zone."""
    values = {name: row[name] for name in names}
    for name, value in values.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            values[name] = value.replace(tzinfo=UTC)
    return values


_LOST = {"57P01", "57P02", "57P03", "57P05"}
"""The server shuts down, has crashed, starts, or closes idle sessions."""

_AGAIN = {"40001", "40P01", "23503"}
"""A transaction that could not be ordered among others, a deadlock, and an owner that was swept away meanwhile."""


def is_lost(connection: Connection, error: BaseException) -> bool:
    """Whether an error means that a connection is of no more use."""
    state = str(getattr(error, "sqlstate", None) or "")
    return connection.is_closed() or isinstance(error, OSError) or state in _LOST or state.startswith("08")


def was_in_the_way(error: BaseException) -> bool:
    """Whether a transaction has failed by others, and would succeed if it were repeated."""
    return getattr(error, "sqlstate", None) in _AGAIN


def failure(storage: object, error: BaseException) -> StorageError:
    """Return an error of the driver as one of the storage."""
    if isinstance(error, StorageError):
        return error
    words = str(error) or type(error).__name__
    told = StorageError(f"cannot use {storage!r}: {words}")
    told.__cause__ = error
    return told
