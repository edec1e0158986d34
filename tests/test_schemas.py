"""Every schema that a file of jobify ever had: it opens, and its jobs and records are as they were."""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobify import Jobify, OnCrash, Retry, RunStatus, StorageError
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
DEATH = MIDNIGHT + timedelta(minutes=45, seconds=1)
SCHEMAS = sorted(Path(__file__).with_name("schemas").glob("*.sql"), key=lambda path: int(path.stem))
NEWEST = SCHEMAS[-1]

pytestmark = pytest.mark.virtual_clock(storage="keep")

JOBS = {  # the minute at which each is due
    "declared": 4 * 60 + 30,
    "delayed": 120,
    "at": 180,
    "every": 60,
    "cron": 12 * 60,
    "unknown": 240,
    "in backoff": 45.5,
    "running": 45,
}
SINCE_2 = {"paused": 13 * 60, "moved": 5 * 60, "slow": 65, "slowly": 5}


def load(dump: Path, path: Path) -> None:
    """Make the file that a dump describes."""
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()


def structure(path: Path) -> set[tuple[str, ...]]:
    """Return what a file has of tables and indexes, and its version."""
    connection = sqlite3.connect(path)
    found = set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
    found |= set(connection.execute("PRAGMA user_version"))
    connection.close()
    return found


class Reader:
    """The app that reads the files.

    Attributes:
        calls: what has run, with the minute.
    """

    def __init__(self, path: Path, clock: VirtualClock, *, window: int | None) -> None:
        self.calls: list[tuple[float, str]] = []
        self.app = Jobify(storage=SQLiteStorage(path, window=window))

        def note_call(text: str) -> None:
            self.calls.append((clock.monotonic() / 60, text))

        @self.app.task(name="note")
        async def note(text: str, *, when: datetime | None = None, sizes: tuple[float, ...] = ()) -> str:
            note_call(text)
            return f"{text} {when} {sizes}"

        @self.app.task(name="fail", retry=Retry(1, delay=60, factor=1, jitter=False))
        async def fail() -> None:
            note_call("fail")

        @self.app.task(name="slow", on_crash=OnCrash.RERUN)
        async def slow() -> None:
            note_call("slow")
            await asyncio.sleep(100)

        @self.app.task(name="declared", cron="30 4 * * *")
        async def declared() -> None:
            note_call("declared")


@pytest.fixture(params=SCHEMAS, ids=lambda path: f"schema {path.stem}")
def dump(request: pytest.FixtureRequest) -> Path:
    """The dump of a file of each schema."""
    found: Path = request.param
    return found


@pytest.fixture(params=[1000, 1, None], ids=lambda window: f"window {window}")
async def reader(request: pytest.FixtureRequest, dump: Path, tmp_path: Path, virtual_clock: VirtualClock) -> Reader:
    """An app that is to read such a file, a second after the death of the one that has written it."""
    path = tmp_path / "jobs.db"
    load(dump, path)
    await virtual_clock.advance(minutes=45, seconds=2)
    return Reader(path, virtual_clock, window=request.param)


async def test_all_jobs_are_there(reader: Reader, dump: Path) -> None:
    """Each job comes back, with its time, its arguments, its counters, and the runs that a crash has cut short."""
    expected = JOBS | (SINCE_2 if dump.stem != "1" else {})
    async with reader.app:
        jobs = {job.id: job for job in await reader.app.jobs()}
        due = {name: (job.exec_at - MIDNIGHT).total_seconds() / 60 for name, job in jobs.items()}
        assert due == expected
        assert jobs["delayed"].arguments == {"text": "delayed", "when": MIDNIGHT, "sizes": (1.5, 2)}
        assert jobs["every"].arguments["text"] == "every"
        assert (jobs["every"].run_count, jobs["cron"].cron_expression) == (2, "0 12 * * *")
        assert jobs["in backoff"].attempt == 1
        held = {name: job.held for name, job in jobs.items() if job.held}
        paused = {"paused": "it is paused"} if "paused" in expected else {}
        assert held == {"unknown": "task 'unknown' is not registered"} | paused
        cut_short = {record.job_id for record in await reader.app.history(status=RunStatus.INTERRUPTED)}
        assert cut_short == {"running", "slowly"} & expected.keys()
        assert await reader.app.get_job("pushed") is None


async def test_all_records_are_there(reader: Reader, dump: Path) -> None:
    """The history of the earlier processes is read, with results and reasons; schema 1 has none."""
    async with reader.app:
        records = await reader.app.history()
        told = [(one.job_id, str(one.status), one.value) for one in records if one.finished_at < DEATH]
    if dump.stem == "1":
        assert told == []
        return
    assert told[-1][1:] == ("success", "pushed None ()")
    backfill = [("backfill", "success", "every None ()")] * 3
    off, run = ("off", "cancelled", None), ("every", "success", "every None ()")
    assert told[:-1] == [*backfill, ("triggered", "success", "every None ()"), run, run, off]


async def test_all_jobs_run(reader: Reader, dump: Path, virtual_clock: VirtualClock) -> None:
    """They start at their times, as if nothing had been."""
    async with reader.app:
        await virtual_clock.advance(hours=12)
    once = [call for call in reader.calls if call[1] not in ("every", "slow", "running")]
    moved = [(300, "moved")] if dump.stem != "1" else []
    assert once == [(45.5, "fail"), (120, "delayed"), (180, "at"), (270, "declared"), *moved, (720, "cron")]
    assert [call[0] for call in reader.calls if call[1] == "every"] == list(range(60, 765, 20))
    slow = [call[0] for call in reader.calls if call[1] == "slow"]
    assert slow[0] == 45 + 2 / 60
    if dump.stem != "1":
        assert slow[-1] == 765


async def test_no_number_is_given_twice(reader: Reader, dump: Path, tmp_path: Path) -> None:
    """Those of jobs that were over when the file was written are not, either."""
    connection = sqlite3.connect(tmp_path / "jobs.db")
    (last,) = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'jobify_jobs'").fetchone()
    connection.close()
    storage = SQLiteStorage(tmp_path / "jobs.db")
    await storage.open(_host())
    (row,) = await storage.find("every")
    row.id = "new"
    assert await storage.add(row, replace=False) == last + 1
    await storage.close()


def _host() -> Any:
    loop: Any = asyncio.get_running_loop()
    return loop.jobify_runtime


async def test_each_schema_becomes_the_newest(reader: Reader, tmp_path: Path) -> None:
    """Whatever a file was, its tables and indexes are those of a new one, and of the newest dump."""
    async with reader.app:
        pass
    async with Jobify(storage=SQLiteStorage(tmp_path / "new.db")):
        pass
    load(NEWEST, tmp_path / "newest.db")
    new = structure(tmp_path / "new.db")
    assert structure(tmp_path / "jobs.db") == new == structure(tmp_path / "newest.db")


async def test_a_file_of_the_future_is_refused(tmp_path: Path) -> None:
    """And is left as it is."""
    load(NEWEST, tmp_path / "jobs.db")
    connection = sqlite3.connect(tmp_path / "jobs.db")
    connection.execute(f"PRAGMA user_version = {int(NEWEST.stem) + 1}")
    connection.close()
    with pytest.raises(StorageError, match="written by a newer one"):
        await Jobify(storage=SQLiteStorage(tmp_path / "jobs.db")).start()
