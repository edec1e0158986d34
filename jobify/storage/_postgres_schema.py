"""The tables of the PostgreSQL storage, and the way from each earlier form of them to this one."""

from jobify.exceptions import StorageError
from jobify.storage._postgres_driver import Connection

VERSION = 1
_OLDEST_SERVER = 130_000
_LOCK = 5_480_124_231_307_391_337
"""The advisory lock under which tables are made: any number that nobody else has."""

_HAS_TABLE = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = $1 AND tablename = 'jobify_schema')"
_HAS_SCHEMA = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)"
_TABLES = (
    "CREATE TABLE jobify_schema (version integer NOT NULL)",
    # Who holds claims, and until when if it is not renewed. What is deleted here is claimed no more.
    """
    CREATE TABLE jobify_owners (
        id          text        PRIMARY KEY,
        lease_until timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE jobify_jobs (
        number         bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id             text             NOT NULL UNIQUE,
        task           text             NOT NULL,
        arguments      bytea            NOT NULL,
        trigger        text,
        declaration    text,
        misfire_policy text,
        parent         text,
        exec_at        timestamptz      NOT NULL,
        scheduled_for  timestamptz      NOT NULL,
        delay          double precision,
        covered        timestamptz,
        until          timestamptz,
        paused         boolean          NOT NULL,
        running        boolean          NOT NULL,
        attempt        integer          NOT NULL,
        runs           bigint           NOT NULL,
        failures       bigint           NOT NULL,
        interruptions  bigint           NOT NULL,
        started_at     timestamptz,
        owner          text             REFERENCES jobify_owners ON DELETE SET NULL
    )
    """,
    "CREATE INDEX jobify_jobs_unclaimed ON jobify_jobs (exec_at) WHERE owner IS NULL",
    "CREATE INDEX jobify_jobs_claimed ON jobify_jobs (owner) WHERE owner IS NOT NULL",
    # The times for which runs of recurring jobs were started, each once, whoever has started them.
    """
    CREATE TABLE jobify_occurrences (
        job           bigint      NOT NULL REFERENCES jobify_jobs ON DELETE CASCADE,
        scheduled_for timestamptz NOT NULL,
        owner         text        NOT NULL,
        ended         boolean     NOT NULL,
        PRIMARY KEY (job, scheduled_for)
    )
    """,
    """
    CREATE TABLE jobify_runs (
        number        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        job           bigint      NOT NULL,
        job_id        text        NOT NULL,
        task          text        NOT NULL,
        parent        text,
        status        text        NOT NULL,
        scheduled_for timestamptz NOT NULL,
        last          timestamptz,
        count         bigint      NOT NULL,
        started_at    timestamptz,
        finished_at   timestamptz NOT NULL,
        attempts      integer     NOT NULL,
        error         text,
        value         bytea,
        reason        text,
        process       text        NOT NULL,
        expires_at    timestamptz NOT NULL
    )
    """,
    "CREATE INDEX jobify_runs_of_job ON jobify_runs (job_id)",
    "CREATE INDEX jobify_runs_expire ON jobify_runs (expires_at)",
)


async def migrate(connection: Connection, schema: str) -> None:
    """Make the tables, or bring those of an earlier version to this one; one process after the other.

    Raises:
        StorageError: the server is too old, the database is not in UTF-8, or its tables are of a newer version.
    """
    if int(await connection.fetchval("SELECT current_setting('server_version_num')")) < _OLDEST_SERVER:
        msg = "the server is older than PostgreSQL 13"
        raise StorageError(msg)
    encoding: str = await connection.fetchval("SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        msg = f"the encoding of the database is {encoding}: give it one in UTF8"
        raise StorageError(msg)
    if await _version(connection, schema) == VERSION:
        return
    await connection.execute("BEGIN")
    try:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await _version(connection, schema) < VERSION:
            await _make(connection, schema)
        await connection.execute("COMMIT")
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise


async def _version(connection: Connection, schema: str) -> int:
    # Catalogues are asked, and no function of names: those may answer by what they have seen before a lock.
    if not await connection.fetchval(_HAS_TABLE, schema):
        return 0
    version: int = await connection.fetchval("SELECT max(version) FROM jobify_schema")
    if version > VERSION:
        msg = f"the database has schema {version}, and this jobify knows {VERSION}: it was written by a newer one"
        raise StorageError(msg)
    return version


async def _make(connection: Connection, schema: str) -> None:
    if not await connection.fetchval(_HAS_SCHEMA, schema):
        await connection.execute(f'CREATE SCHEMA "{schema}"')
    for statement in _TABLES:
        await connection.execute(statement)
    await connection.execute("INSERT INTO jobify_schema (version) VALUES ($1)", VERSION)
