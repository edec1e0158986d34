"""Adding a job over a connection of the user's, within the transaction that is in progress there."""

from typing import Any

from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage._postgres_driver import failure
from jobify.storage._postgres_rows import COLUMNS, all_of, insert_using
from jobify.storage._protocol import StoredJob


async def add_using(storage: object, connection: Any, job: StoredJob, *, schema: str, channel: str) -> int:
    """Add an unclaimed row, and have all processes told at the commit.

    Raises:
        TypeError: the connection is none of asyncpg or of psycopg's `AsyncConnection`.
        DuplicateJobError: the id of the job is taken; the transaction of the user can go on.
        StorageError: the driver reports an error.
    """
    of_asyncpg = hasattr(connection, "fetchval")
    if not of_asyncpg and not any(_is_psycopgs(kind) for kind in type(connection).__mro__):
        msg = (
            f"cannot add a job to {storage!r} over {connection!r}: "
            "give a connection of asyncpg, or an AsyncConnection of psycopg"
        )
        raise TypeError(msg)
    try:
        insert = _over_asyncpg if of_asyncpg else _over_psycopg
        number = await insert(connection, job, schema, channel)
    except StorageError:
        raise
    except Exception as error:
        raise failure(storage, error) from error
    if number is None:
        raise DuplicateJobError(job.id)
    return number


def _is_psycopgs(kind: type) -> bool:
    return kind.__name__ == "AsyncConnection" and kind.__module__.partition(".")[0] == "psycopg"


async def _over_asyncpg(connection: Any, job: StoredJob, schema: str, channel: str) -> int | None:
    places = [f"${n}" for n in range(1, len(COLUMNS) + 1)]
    number: int | None = await connection.fetchval(insert_using(schema, places), *all_of(job))
    if number is not None:
        await connection.execute("SELECT pg_notify($1, 'look:0')", channel)
    return number


async def _over_psycopg(connection: Any, job: StoredJob, schema: str, channel: str) -> int | None:
    cursor = await connection.execute(insert_using(schema, ["%s"] * len(COLUMNS)), all_of(job))
    row: Any = await cursor.fetchone()
    if row is None:
        return None
    await connection.execute("SELECT pg_notify(%s, 'look:0')", (channel,))
    # The rows of the user's connection may be tuples or mappings.
    number: int = next(iter(row.values())) if hasattr(row, "values") else row[0]
    return number
