"""The tables of the SQLite storage, and the way from each earlier form of them to this one."""

import sqlite3

from jobify.exceptions import StorageError

VERSION = 4
ORDERED_AT = "exec_at - CAST(delay * 1000000 AS INTEGER)"
"""When a job was ordered, whose `exec_at` was forecast from a duration; as it is indexed."""

_JOBS = """
CREATE TABLE jobify_jobs (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT    NOT NULL UNIQUE,
    task           TEXT    NOT NULL,
    arguments      BLOB    NOT NULL,
    trigger        TEXT,
    declaration    TEXT,
    misfire_policy TEXT,
    parent         TEXT,
    exec_at        INTEGER NOT NULL,  -- instants are microseconds since 1970-01-01T00:00:00Z
    scheduled_for  INTEGER NOT NULL,
    delay          REAL,
    covered        INTEGER,
    until          INTEGER,
    paused         INTEGER NOT NULL,
    running        INTEGER NOT NULL,
    attempt        INTEGER NOT NULL,
    runs           INTEGER NOT NULL,
    failures       INTEGER NOT NULL,
    interruptions  INTEGER NOT NULL,
    started_at     INTEGER
)
"""
_RUNS = """
CREATE TABLE jobify_runs (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    job           INTEGER NOT NULL,
    job_id        TEXT    NOT NULL,
    task          TEXT    NOT NULL,
    parent        TEXT,
    status        TEXT    NOT NULL,
    scheduled_for INTEGER NOT NULL,
    last          INTEGER,
    count         INTEGER NOT NULL,
    started_at    INTEGER,
    finished_at   INTEGER NOT NULL,
    attempts      INTEGER NOT NULL,
    error         TEXT,
    value         BLOB,
    reason        TEXT,
    process       TEXT    NOT NULL,
    expires_at    INTEGER NOT NULL
)
"""
# A job that is pushed and begins at once is in none of them: each would cost a page in its two transactions.
_INDEXES_OF_JOBS = (
    "CREATE INDEX jobify_jobs_due ON jobify_jobs (exec_at, running) WHERE running = 0",  # so it can be counted
    "CREATE INDEX jobify_jobs_late ON jobify_jobs (number) WHERE running = 0 AND until IS NOT NULL",
    f"CREATE INDEX jobify_jobs_ordered ON jobify_jobs ({ORDERED_AT}) WHERE running = 0 AND delay IS NOT NULL",
)
_NEW = (
    _JOBS,
    *_INDEXES_OF_JOBS,
    _RUNS,
    "CREATE INDEX jobify_runs_of_job ON jobify_runs (job_id)",
)
_KEPT_SINCE_1 = (
    "number, id, task, arguments, trigger, exec_at, scheduled_for, delay, running, attempt, runs, failures, "
    "interruptions, started_at"
)
_COPY_FROM_1 = f"""
INSERT INTO jobify_jobs ({_KEPT_SINCE_1}, declaration, paused)
SELECT {_KEPT_SINCE_1}, CASE WHEN declared THEN trigger END, 0 FROM jobify_jobs_1
"""  # noqa: S608  # constants
_FROM_1 = (
    "ALTER TABLE jobify_jobs RENAME TO jobify_jobs_1",
    *_NEW,
    _COPY_FROM_1,
    # A number is never given twice, those of rows that are gone included.
    "DELETE FROM sqlite_sequence WHERE name = 'jobify_jobs'",
    "UPDATE sqlite_sequence SET name = 'jobify_jobs' WHERE name = 'jobify_jobs_1'",
    "DROP TABLE jobify_jobs_1",
)
_UNTIL_4 = tuple(
    f"DROP INDEX IF EXISTS jobify_{name}"
    for name in ("jobs_running", "jobs_due", "jobs_late", "jobs_ordered", "runs_expire")
)
_INDEXES_SINCE_4 = (*_UNTIL_4, *_INDEXES_OF_JOBS)
_WAYS = {0: _NEW, 1: _FROM_1, 2: _INDEXES_SINCE_4, 3: _INDEXES_SINCE_4}


def migrate(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an earlier version to this one, within the transaction in progress.

    Raises:
        StorageError: they were made by a newer version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        msg = f"the database has schema {version}, and this jobify knows {VERSION}: it was written by a newer one"
        raise StorageError(msg)
    if version == VERSION:
        return
    for statement in _WAYS[version]:
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
