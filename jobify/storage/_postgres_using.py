"""Adding a job over a connection of the user's, within the transaction that is in progress there."""

from collections.abc import Sequence
from typing import Any

from jobify.exceptions import DuplicateJobError, StorageError
from jobify.storage._postgres_driver import Connection, failure
from jobify.storage._postgres_rows import COLUMNS, all_of, insert_using
from jobify.storage._stored import StoredJob
from jobify.storage._transactional import Added

_TELL = "SELECT pg_current_xact_id()::text, pg_notify({}, 'look:0')"
_ARE_THERE = """
SELECT EXISTS (SELECT FROM jobify_jobs AS job WHERE job.number = added.number AND job.id = added.id)
    OR EXISTS (SELECT FROM jobify_runs AS run WHERE run.job_id = added.id AND run.job = added.number) AS is_there
FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS added (number, id, place) ORDER BY place
"""
_UNKNOWN = "22023"
"""The error for the id of a transaction that a server knows nothing of: it has come back from a crash without it."""


async def add_using(storage: object, connection: Any, job: StoredJob, *, schema: str, channel: str) -> Added:
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
        added = await insert(connection, job, schema, channel)
    except StorageError:
        raise
    except Exception as error:
        raise failure(storage, error) from error
    if added is None:
        raise DuplicateJobError(job.id)
    return added


def _is_psycopgs(kind: type) -> bool:
    return kind.__name__ == "AsyncConnection" and kind.__module__.partition(".")[0] == "psycopg"


async def _over_asyncpg(connection: Any, job: StoredJob, schema: str, channel: str) -> Added | None:
    places = [f"${n}" for n in range(1, len(COLUMNS) + 1)]
    number: int | None = await connection.fetchval(insert_using(schema, places), *all_of(job))
    if number is None:
        return None
    return Added(number, job.id, await connection.fetchval(_TELL.format("$1::text"), channel))


async def _over_psycopg(connection: Any, job: StoredJob, schema: str, channel: str) -> Added | None:
    cursor = await connection.execute(insert_using(schema, ["%s"] * len(COLUMNS)), all_of(job))
    row = await cursor.fetchone()
    if row is None:
        return None
    cursor = await connection.execute(_TELL.format("%s::text"), (channel,))
    return Added(_only(row), job.id, _only(await cursor.fetchone()))


def _only(row: Any) -> Any:
    # The rows of the user's connection may be tuples or mappings.
    return next(iter(row.values())) if hasattr(row, "values") else row[0]


async def what_became_of(connection: Connection, added: Sequence[Added]) -> Sequence[bool | None]:
    """Return of jobs that were added whether they are there, or were; None as long as their transaction goes on."""
    over = {name for name in {one.transaction for one in added} if await _is_over(connection, name)}
    # A statement of its own, behind that: it sees what was committed until then.
    found = await connection.fetch(_ARE_THERE, [one.number for one in added], [one.job_id for one in added])
    return [
        bool(row["is_there"]) or (False if one.transaction in over else None)
        for one, row in zip(added, found, strict=True)
    ]


async def _is_over(connection: Connection, transaction: str) -> bool:
    try:
        status = await connection.fetchval("SELECT pg_xact_status($1::text::xid8)", transaction)
    except Exception as error:
        if getattr(error, "sqlstate", None) != _UNKNOWN:
            raise
        return True
    return bool(status != "in progress")
