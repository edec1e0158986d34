"""The SQL of the PostgreSQL storage: from version 13 on, and never asking for the time.

The first parameter of each statement is the tag by which its rows are told from those of other verbs of its batch. A
job is its owner's as long as the row says so: who has lost the claim writes nothing.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from jobify.storage._postgres_driver import Row, values_of
from jobify.storage._stored import AMENDED, StoredJob

_FIXED = ("id", "task", "arguments", "trigger", "declaration", "misfire_policy", "parent")
_MOVING = (
    "exec_at", "scheduled_for", "delay", "covered", "until", "paused", "running", "attempt", "runs", "failures",
    "interruptions", "started_at",
)  # fmt: skip
COLUMNS = (*_FIXED, *_MOVING)
_LIST = ", ".join(COLUMNS)
_JOB_LIST = ", ".join(f"job.{name}" for name in COLUMNS)


def _parameters(names: Sequence[str], first: int) -> str:
    return ", ".join(f"${n}" for n in range(first, first + len(names)))


def _changes(names: Sequence[str], first: int) -> str:
    return ", ".join(f"{name} = ${n}" for n, name in enumerate(names, first))


_TAG, _XID = "$1::int AS tag", "pg_current_xact_id()::text AS xid"

# $2: the owner; NULL where the job is not to be claimed. An owner that was swept away claims nothing.
_VALUES = f"{_parameters(COLUMNS, 3)}, (SELECT id FROM jobify_owners WHERE id = $2)"  # noqa: S608  # constants
INSERT = f"""
INSERT INTO jobify_jobs ({_LIST}, owner) VALUES ({_VALUES})
ON CONFLICT (id) DO NOTHING
RETURNING {_TAG}, {_XID}, number, owner, NULL::bigint AS old
"""  # noqa: S608  # constants
REPLACE = f"""
WITH old AS (DELETE FROM jobify_jobs WHERE id = $3 RETURNING number),
    gone AS (SELECT max(number) AS number FROM old)
INSERT INTO jobify_jobs ({_LIST}, owner) SELECT {_VALUES} FROM gone
ON CONFLICT (id) DO NOTHING
RETURNING {_TAG}, {_XID}, number, owner, (SELECT number FROM gone) AS old
"""  # noqa: S608  # constants

_FREE = "owner IS NULL AND exec_at < $3 AND number <> ALL ($4::bigint[])"


def _claim(which: str) -> str:
    return f"""
WITH due AS MATERIALIZED (
    SELECT number FROM jobify_jobs WHERE {which} ORDER BY exec_at, number LIMIT $5 FOR UPDATE SKIP LOCKED
)
UPDATE jobify_jobs AS job SET owner = me.id
FROM (SELECT id FROM jobify_owners WHERE id = $2 FOR KEY SHARE) AS me, due
WHERE job.number = due.number
RETURNING {_TAG}, {_XID}, job.number, job.owner, {_JOB_LIST}
"""  # noqa: S608  # constants


# $2: the owner; $3: the end of the time that is looked at; $4: what runs here, and was lost; $5: how many at most, NULL
# for all; $6: the id.
CLAIM = _claim(_FREE)
CLAIM_ONE = _claim(f"{_FREE} AND id = $6")

FIND = f"SELECT {_TAG}, number, {_LIST} FROM jobify_jobs WHERE id = $2"  # noqa: S608  # constants
FIND_ALL = f"SELECT {_TAG}, number, {_LIST} FROM jobify_jobs ORDER BY number"  # noqa: S608  # constants

_IS_THERE = "EXISTS (SELECT FROM jobify_jobs WHERE number = $3) AS is_there"
_IS_ALIVE = "EXISTS (SELECT FROM jobify_owners WHERE id = $2) AS is_alive"

# $2: the owner; $3: the job. The row of an occurrence is the only one for its job and its time, whoever starts it: once
# the run has ended there is no other start for that time. A start that was cut short is made again.
START = f"""
WITH mine AS (SELECT number, trigger FROM jobify_jobs WHERE number = $3 AND owner = $2 FOR NO KEY UPDATE),
    occurrence AS (
        INSERT INTO jobify_occurrences AS known (job, scheduled_for, owner, ended)
        SELECT number, $6::timestamptz, $2, false FROM mine WHERE trigger IS NOT NULL
        ON CONFLICT (job, scheduled_for) DO UPDATE SET owner = excluded.owner WHERE NOT known.ended
        RETURNING job
    ),
    started AS (
        UPDATE jobify_jobs AS job SET running = true, attempt = $4, started_at = $5, scheduled_for = $6 FROM mine
        WHERE job.number = mine.number AND (mine.trigger IS NULL OR EXISTS (SELECT FROM occurrence))
        RETURNING job.number
    )
SELECT {_TAG}, {_XID}, EXISTS (SELECT FROM started) AS done, {_IS_ALIVE}
"""  # noqa: S608  # constants

# $2: the owner; $3: the job.
_OVER = "UPDATE jobify_occurrences SET ended = true FROM mine WHERE job = mine.number AND NOT ended"
FINISH = f"""
WITH mine AS (
        UPDATE jobify_jobs SET {_changes(_MOVING, 4)} WHERE number = $3 AND owner = $2
        RETURNING number, attempt, scheduled_for AS next
    ),
    over AS ({_OVER} AND mine.attempt = 0 AND scheduled_for <> mine.next)
SELECT {_TAG}, {_XID}, EXISTS (SELECT FROM mine) AS done, {_IS_THERE}, {_IS_ALIVE}
"""  # noqa: S608  # constants
END = f"""
WITH mine AS (DELETE FROM jobify_jobs WHERE number = $3 AND owner = $2 RETURNING number)
SELECT {_TAG}, {_XID}, EXISTS (SELECT FROM mine) AS done, {_IS_THERE}, {_IS_ALIVE}
"""  # noqa: S608  # constants

# $2: the owner; $3: the job. Also what nobody has claimed can be amended. Who moves a job back to times at which it
# has run wants them again.
AMEND = f"""
WITH mine AS (
        UPDATE jobify_jobs SET {_changes(AMENDED, 4)} WHERE number = $3 AND (owner = $2 OR owner IS NULL)
        RETURNING number, scheduled_for AS next
    ),
    again AS (
        DELETE FROM jobify_occurrences USING mine WHERE job = mine.number AND ended AND scheduled_for >= mine.next
    )
SELECT {_TAG}, {_XID}, EXISTS (SELECT FROM mine) AS done
"""  # noqa: S608  # constants

# $2: the owner; $3: the rows, as JSON.
_TYPES = (
    "exec_at timestamptz, scheduled_for timestamptz, delay double precision, covered timestamptz, until timestamptz, "
    "paused boolean, running boolean, attempt integer, runs bigint, failures bigint, interruptions bigint, "
    "started_at timestamptz"
)
RELEASE = f"""
UPDATE jobify_jobs AS job SET {", ".join(f"{name} = put.{name}" for name in _MOVING)}
FROM jsonb_to_recordset($3::text::jsonb) AS put (number bigint, {_TYPES})
WHERE job.number = put.number AND owner = $2
RETURNING {_TAG}, {_XID}, job.number
"""  # noqa: S608  # constants

# $2: the owner; $3: the jobs.
GIVE_BACK = f"""
UPDATE jobify_jobs SET owner = NULL WHERE number = ANY ($3::bigint[]) AND owner = $2
RETURNING {_TAG}, {_XID}, number
"""  # noqa: S608  # constants

# $2: the job; $3: whether only a job of which no attempt is in progress.
REMOVE = f"""
WITH gone AS (DELETE FROM jobify_jobs WHERE number = $2 AND NOT (running AND $3) RETURNING number)
SELECT {_TAG}, {_XID}, EXISTS (SELECT FROM gone) AS done
"""  # noqa: S608  # constants


def insert_using(schema: str, places: Sequence[str]) -> str:
    """Return the statement that adds an unclaimed row over a connection of somebody else."""
    return (
        f'INSERT INTO "{schema}".jobify_jobs ({_LIST}) VALUES ({", ".join(places)}) '  # noqa: S608  # the schema is quoted
        "ON CONFLICT (id) DO NOTHING RETURNING number"
    )


def all_of(job: StoredJob) -> tuple[Any, ...]:
    """Return the columns of a new row."""
    return tuple(getattr(job, name) for name in COLUMNS)


def moving(job: StoredJob) -> tuple[Any, ...]:
    """Return what changes in the life of a job."""
    return tuple(getattr(job, name) for name in _MOVING)


def as_json(jobs: Sequence[StoredJob]) -> str:
    """Return what changes in the life of jobs, with their numbers."""
    rows = [{name: getattr(job, name) for name in ("number", *_MOVING)} for job in jobs]
    return msgspec.json.encode(rows).decode()


def amended(job: StoredJob) -> tuple[Any, ...]:
    """Return what people change of a job."""
    return tuple(getattr(job, name) for name in AMENDED)


def job_of(row: Row) -> StoredJob:
    """Return a row as a job."""
    return StoredJob(number=row["number"], **values_of(row, COLUMNS))
