"""A SQLite file in trouble: nothing hangs, nothing that was accepted is lost, the health says why, and it heals."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobify import Jobify, JobStatus, StorageError
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock, crash

START = datetime(2026, 1, 1, tzinfo=UTC)

pytestmark = pytest.mark.virtual_clock(storage="keep")


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """The connections that are made from now on, by whomever."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def remember(*args: Any, **options: Any) -> sqlite3.Connection:
        made.append(connect(*args, **options))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", remember)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "jobs.db"


class Ledger:
    """An app on a file, and what has run."""

    def __init__(self, path: Path) -> None:
        self.app = Jobify(storage=SQLiteStorage(path, timeout=0))
        self.ran: list[str] = []

        @self.app.task(name="note")
        async def note(name: str, ballast: str = "") -> None:
            self.ran.append(name)

        @self.app.task(name="tick", cron="* * * * *")
        async def tick() -> None:
            self.ran.append("tick")

        self.note = note

    @property
    def trouble(self) -> str:
        """What the health says of the storage."""
        return str(self.app.health().storage_error)


@pytest.fixture
def ledger(path: Path, virtual_clock: VirtualClock) -> Ledger:
    """An app on the file."""
    return Ledger(path)


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program that has the file open, when the app has made it."""
    Path(path).touch()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def test_a_lock_is_waited_out(ledger: Ledger, other: sqlite3.Connection, virtual_clock: VirtualClock) -> None:
    """While another program holds the file nothing is accepted and nothing starts; then all goes on by itself."""
    async with ledger.app:
        await ledger.note.schedule("due").delay(10)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match="locked"):
            await ledger.note.push("refused")
        await virtual_clock.advance(65)
        assert ledger.ran == []
        assert "locked" in ledger.trouble
        other.execute("COMMIT")
        await virtual_clock.advance(30)
        assert ledger.app.health().ok
        assert sorted(ledger.ran) == ["due", "tick"]
        await virtual_clock.advance_to(START + timedelta(minutes=2))
        assert sorted(ledger.ran) == ["due", "tick", "tick"]


async def test_a_stop_does_not_wait_for_a_lock(
    ledger: Ledger, other: sqlite3.Connection, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """An app that stops while the file is locked leaves the job stored, and says so; the next start runs it."""
    async with ledger.app:
        await ledger.note.schedule("due").delay(10)
        other.execute("BEGIN IMMEDIATE")
        await virtual_clock.advance(20)
    assert ledger.app.health().state == "stopped"
    assert "a write is given up" in caplog.text
    with pytest.raises(StorageError, match="locked"):
        await ledger.app.start()
    other.execute("COMMIT")
    async with ledger.app:
        await ledger.app.wait_all()
    assert ledger.ran == ["due"]


async def fill(ledger: Ledger, accepted: list[str]) -> None:
    """Schedule jobs until that fails, and note which were accepted."""
    while True:
        name = f"{len(accepted)}"
        await ledger.note.schedule(name, "x" * 3000).delay(10, job_id=name)
        accepted.append(name)


async def test_a_full_disk_loses_nothing(
    ledger: Ledger, connections: list[sqlite3.Connection], virtual_clock: VirtualClock
) -> None:
    """What is refused is not there, what was accepted runs once, when there is room again; the cron goes on, too."""
    async with ledger.app:
        (connection,) = connections
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        accepted: list[str] = []
        with pytest.raises(StorageError, match="full"):
            await fill(ledger, accepted)
        assert "full" in ledger.trouble
        assert len(accepted) > 5
        assert {job.id for job in await ledger.app.jobs()} == {*accepted, "tick"}
        await virtual_clock.advance(100)
        connection.execute("PRAGMA max_page_count = 1000000")
        await ledger.app.wait_all()
        assert sorted(name for name in ledger.ran if name != "tick") == sorted(accepted)
        await virtual_clock.advance(60)
        assert ledger.app.health().ok
        assert ledger.ran.count("tick") >= 2
        assert {job.id for job in await ledger.app.jobs()} == {"tick"}


async def test_a_disk_that_is_full_at_each_write_loses_nothing(
    ledger: Ledger, connections: list[sqlite3.Connection], virtual_clock: VirtualClock
) -> None:
    """A run whose end cannot be written stays RUNNING, and is not run again; after a crash it is, as interrupted."""
    async with ledger.app:
        await ledger.note.schedule("it").delay(10, job_id="it")
        (connection,) = connections
        connection.execute("PRAGMA query_only = ON")  # as a disk that was mounted anew, for reading
        await virtual_clock.advance(9)
        connection.execute("PRAGMA query_only = OFF")
        job = await ledger.app.get_job("it")
        assert job is not None
        ledger.app.subscribe(lambda _: connection.execute("PRAGMA query_only = ON"))
        await virtual_clock.advance(5)
        assert (job.status, ledger.ran) == (JobStatus.RUNNING, ["it"])
        assert "readonly" in ledger.trouble
        await crash(ledger.app)
    async with ledger.app:
        await ledger.app.wait_all()
        assert ledger.ran == ["it", "it"]
        assert [str(run.status) for run in await ledger.app.history(job_id="it")] == ["success", "interrupted"]


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_a_file_that_was_moved_away_is_missed(
    ledger: Ledger, path: Path, suffix: str, virtual_clock: VirtualClock
) -> None:
    """SQLite would write on where nobody looks: that is refused, nothing starts, and it heals when the file is back."""
    name = path.with_name(path.name + suffix)
    async with ledger.app:
        await ledger.note.schedule("due").delay(10)
        name.rename(name.with_suffix(".away"))
        with pytest.raises(StorageError, match="moved, replaced or removed"):
            await ledger.note.push("refused")
        await virtual_clock.advance(20)
        assert ledger.ran == []
        assert "put both back" in ledger.trouble
        name.with_suffix(".away").rename(name)
        await virtual_clock.advance(30)
        assert ledger.ran == ["due"]
        assert ledger.app.health().ok


async def test_a_file_that_was_replaced_is_left_alone(
    ledger: Ledger, path: Path, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is accepted into a file that is not there any more; the app stops, and goes on with the new one."""
    async with Ledger(path.with_name("backup.db")).app as backup:
        assert await backup.jobs() != []
    async with ledger.app:
        await ledger.note.schedule("gone with the file").delay(10)
        path.with_name("backup.db").replace(path)
        with pytest.raises(StorageError, match="moved, replaced or removed"):
            await ledger.note.push("refused")
        await virtual_clock.advance(20)
        assert not ledger.app.health().ok
    assert "a write is given up" in caplog.text
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    async with ledger.app:
        assert [job.id for job in await ledger.app.jobs()] == ["tick"]
        await ledger.note.push("accepted")
        await virtual_clock.advance(60)
    assert sorted(ledger.ran) == ["accepted", "tick"]


async def test_a_folder_that_cannot_be_written_is_refused_at_the_start(
    tmp_path: Path, virtual_clock: VirtualClock
) -> None:
    """The error names the file, the app stays stopped, and it starts when the folder can be written."""
    folder = tmp_path / "folder"
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # whom no mode of a folder stops
        folder.symlink_to("/proc")
    else:
        folder.mkdir(mode=0o500)
    ledger = Ledger(folder / "jobs.db")
    with pytest.raises(StorageError, match=r"jobs\.db"):
        await ledger.app.start()
    assert ledger.app.health().state == "stopped"
    folder.unlink() if folder.is_symlink() else folder.rmdir()
    folder.mkdir()
    async with ledger.app:
        await ledger.note.push("it")
        await ledger.app.wait_all()
    assert ledger.ran == ["it"]
