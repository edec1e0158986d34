"""The storages: the contract that they all pass, and what is special to SQLite."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import jobify.storage._sqlite_rows as sqlite_rows
import jobify_testing
from jobify import DuplicateJobError, Jobify, Lane, StorageError, SystemRuntime
from jobify.storage import Added, Host, MemoryStorage, SQLiteStorage, Storage, StoredJob
from jobify_testing import StorageContract, VirtualClock, VirtualLoop

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class TestMemoryStorage(StorageContract):
    """The contract, in memory."""

    def make_storage(self) -> Storage:
        """Return a storage in memory."""
        return MemoryStorage()


@pytest.mark.slow
class TestSQLiteStorage(StorageContract):
    """The contract, in a file, with real threads."""

    path: Path

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "jobs.db"

    def make_storage(self) -> Storage:
        """Return a storage in a file of the test."""
        return SQLiteStorage(self.path, synchronous="normal")


@pytest.mark.virtual_clock
class TestSQLiteStorageOnVirtualTime(StorageContract):
    """The contract, in a file, with workers that take their turn."""

    def make_storage(self) -> Storage:
        """Return a storage in a private file of the test."""
        return SQLiteStorage("jobs.db")

    def make_host(self) -> Host:
        """Return the virtual world."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.jobify_runtime


@pytest.mark.parametrize("path", ["", ":memory:", "file:x.db?mode=memory"])
def test_a_database_is_a_file(path: str) -> None:
    """What is not the path of a file is refused, with the storage that is meant."""
    with pytest.raises(ValueError, match="MemoryStorage"):
        SQLiteStorage(path)


def test_refuses_an_unknown_setting() -> None:
    """`synchronous` is one of two words."""
    with pytest.raises(ValueError, match="'off'"):
        SQLiteStorage("x.db", synchronous="off")  # type: ignore[arg-type]  # a user may pass anything


def test_takes_a_str_or_a_path(tmp_path: Path) -> None:
    """The file may be given as text or as a path."""
    assert SQLiteStorage("x.db").path == Path("x.db")
    assert SQLiteStorage(tmp_path / "x.db").path == tmp_path / "x.db"
    assert repr(SQLiteStorage("x.db")) == "SQLiteStorage('x.db')"


@pytest.mark.slow
async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The folder of the file is not made, and the error says which is missing."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "nowhere" / "x.db"))
    with pytest.raises(StorageError, match="nowhere"):
        await app.start()
    assert app.health().state == "stopped"


@pytest.mark.slow
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A file that is not a database stays as it was."""
    file = tmp_path / "notes.txt"
    file.write_text("not a database, " * 1000)
    app = Jobify(storage=SQLiteStorage(file))
    with pytest.raises(StorageError, match="not a database"):
        await app.start()
    assert file.read_text() == "not a database, " * 1000


@pytest.mark.slow
async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A database of a newer jobify is not touched."""
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    app = Jobify(storage=SQLiteStorage(tmp_path / "x.db"))
    with pytest.raises(StorageError, match="schema 99"):
        await app.start()


async def test_a_file_that_another_app_has_open_is_refused(tmp_path: Path) -> None:
    """Two apps of one process do not share a file, by whatever path; one after the other they may have it."""
    (tmp_path / "folder").mkdir()
    first = Jobify(storage=SQLiteStorage(tmp_path / "jobs.db"))
    second = Jobify(storage=SQLiteStorage(tmp_path / "folder" / ".." / "jobs.db"))
    for owner, other in ((first, second), (second, first)):
        async with owner:
            with pytest.raises(StorageError, match=r"cannot open .*jobs.db': another app .*stop that one first, or"):
                await other.start()
            assert other.health().state == "stopped"
        first.abandon()
    await first.start()
    first.abandon()
    async with second:
        first.abandon()
        with pytest.raises(StorageError, match="another app"):
            await first.start()


def test_a_file_of_an_app_that_has_lost_its_loop_can_be_opened(tmp_path: Path) -> None:
    """A program that did not stop its app has let go of the file with its event loop, also if the app is asked late."""
    lost, next_one = (Jobify(storage=SQLiteStorage(tmp_path / "jobs.db")) for _ in range(2))

    async def go_on() -> None:
        async with next_one:
            await lost.stop()
            with pytest.raises(StorageError, match="another app"):
                await lost.start()

    asyncio.run(lost.start())
    asyncio.run(go_on())


class SlowLane:
    """A lane whose thread has not come yet to what is to be called last."""

    def __init__(self, lane: Lane, last: list[Callable[[], object]]) -> None:
        self.run, self.begin, self.close = lane.run, lane.begin, lane.close
        self._lane = lane
        self._last = last

    def abandon(self, last: Callable[[], object], /) -> None:
        """Take no more calls, and be slow."""
        self._lane.abandon(lambda: None)
        self._last.append(last)


async def test_a_file_that_is_closed_late_is_not_the_one_that_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread of an abandoned storage may close its file when that is open again: the new one stays open."""
    runtime, last = SystemRuntime(), list[Callable[[], object]]()
    open_lane = runtime.workers.open_lane

    def open_slow_lane(name: str) -> Lane:
        return SlowLane(open_lane(name), last)

    monkeypatch.setattr(runtime.workers, "open_lane", open_slow_lane)
    storage = SQLiteStorage(tmp_path / "jobs.db")
    await storage.open(runtime)
    storage.abandon()
    await storage.open(runtime)
    last.pop()()
    assert await storage.claim(datetime(2030, 1, 1, tzinfo=UTC)) == []
    await storage.close()
    assert last == []


class BrokenLane(SlowLane):
    """A lane that makes no calls any more when it is broken."""

    is_broken = False

    def __init__(self, lane: Lane) -> None:
        super().__init__(lane, [])
        self.begin = self.begin_or_fail

    def begin_or_fail(self, call: Callable[[], Any], done: Callable[[Any, BaseException | None], None], /) -> None:
        """Make a call, or fail."""
        if self.is_broken:
            msg = "no more threads"
            raise RuntimeError(msg)
        self._lane.begin(call, done)


async def test_a_lane_that_makes_no_calls_fails_the_verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told, those that come later are, and when it works again so does the storage."""
    runtime, lanes = SystemRuntime(), list[BrokenLane]()
    open_lane = runtime.workers.open_lane

    def open_broken_lane(name: str) -> Lane:
        lanes.append(BrokenLane(open_lane(name)))
        return lanes[-1]

    monkeypatch.setattr(runtime.workers, "open_lane", open_broken_lane)
    storage = SQLiteStorage(tmp_path / "jobs.db")
    await storage.open(runtime)
    lanes[0].is_broken = True
    for _ in range(2):
        results = await asyncio.gather(storage.find(), storage.find("it"), return_exceptions=True)
        assert [str(result) for result in results] == [f"cannot use {str(storage.path)!r}: no more threads"] * 2
    lanes[0].is_broken = False
    assert await storage.find() == []
    await storage.close()


async def test_a_verb_that_is_being_written_fails_when_the_storage_is_abandoned(tmp_path: Path) -> None:
    """Its transaction may still be made; nobody hears of it, and the next one begins with the file as it is then."""
    storage = SQLiteStorage(tmp_path / "jobs.db")
    await storage.open(SystemRuntime())
    job = StoredJob(id="it", task="task", arguments=b"{}", exec_at=NOON, scheduled_for=NOON)
    adding = asyncio.ensure_future(storage.add(job, replace=False))
    waiting = asyncio.ensure_future(storage.find())
    for _ in range(2):
        await asyncio.sleep(0)  # the first turn submits, the second hands it to the thread
    late = asyncio.ensure_future(storage.find())
    await asyncio.sleep(0)
    storage.abandon()
    results = await asyncio.gather(adding, waiting, late, return_exceptions=True)
    assert [type(result) for result in results] == [StorageError] * 3
    await storage.open(SystemRuntime())
    assert [row.id for row in await storage.find()] in ([], ["it"])
    await storage.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_close_ends_when_the_storage_is_abandoned(tmp_path: Path, turns: int) -> None:
    """Wherever it is: also if calls wait in its thread that will not be made any more."""
    await _abandon_while_it_closes(tmp_path, SystemRuntime(), turns)


@pytest.mark.virtual_clock(storage="keep")
@pytest.mark.parametrize("turns", range(8))
async def test_a_close_on_virtual_time_ends_when_the_storage_is_abandoned(tmp_path: Path, turns: int) -> None:
    """The same, where calls are made on the loop."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    await _abandon_while_it_closes(tmp_path, loop.jobify_runtime, turns)


async def _abandon_while_it_closes(folder: Path, host: Host, turns: int) -> None:
    storage = SQLiteStorage(folder / "jobs.db")
    await storage.open(host)
    finding = [asyncio.ensure_future(storage.find()) for _ in range(3)]
    asking = [asyncio.ensure_future(storage.were_committed([])) for _ in range(3)]
    await asyncio.sleep(0)
    closing = asyncio.ensure_future(storage.close())
    for _ in range(turns):
        await asyncio.sleep(0)
    storage.abandon()
    results: list[object] = await asyncio.gather(*finding, *asking, closing, return_exceptions=True)
    assert {type(result) for result in results} <= {list, type(None), StorageError, RuntimeError}


def test_an_interrupt_in_a_write_ends_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On virtual time calls are made on the main thread: what a person or a plugin raises there is not swallowed."""
    app, interrupts = Jobify(storage=SQLiteStorage(tmp_path / "jobs.db")), [KeyboardInterrupt()]
    transact = sqlite_rows.transact

    def interrupted(*arguments: Any) -> list[Any]:
        if len(arguments[1]) > 1:
            raise interrupts.pop()
        return transact(*arguments)

    @app.task(name="work")
    async def work() -> None: ...

    async def main() -> None:
        async with app:
            await asyncio.gather(work.push(), work.push())

    monkeypatch.setattr(sqlite_rows, "transact", interrupted)
    with pytest.raises(KeyboardInterrupt):
        jobify_testing.run(main())
    assert interrupts == []


@pytest.mark.slow
async def test_a_locked_database_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    """While another process holds the file a verb fails; afterwards the storage works on."""
    storage = SQLiteStorage(tmp_path / "x.db", timeout=0)
    await storage.open(SystemRuntime())
    job = StoredJob(id="it", task="task", arguments=b"{}", exec_at=NOON, scheduled_for=NOON)
    other = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match="locked") as caught:
        await storage.add(job, replace=False)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    other.execute("COMMIT")
    other.close()
    assert await storage.add(job, replace=False) == 1
    await storage.close()


@pytest.mark.slow
async def test_the_loop_does_not_wait_for_a_lock(tmp_path: Path) -> None:
    """With a `timeout` a verb waits for the lock in its thread, and the loop goes on meanwhile."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "x.db", timeout=60))
    ran: list[str] = []

    @app.task(name="durable")
    async def durable() -> None:
        ran.append("durable")

    @app.task(name="fleeting", durable=False)
    async def fleeting() -> None:
        ran.append("fleeting")

    async with app:
        with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            pushing = asyncio.create_task(durable.push())
            await (await fleeting.push()).wait()
            assert (ran, pushing.done()) == (["fleeting"], False)
            other.execute("COMMIT")
            await (await pushing).wait()
        assert app.health().ok
    assert ran == ["fleeting", "durable"]


@pytest.mark.slow
async def test_concurrent_verbs_share_a_transaction(tmp_path: Path) -> None:
    """A thousand concurrent schedulings are a handful of commits."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "x.db"))

    @app.task
    async def nothing(n: int) -> None: ...

    async with app:
        await nothing.schedule(0).delay(3600)
        connection = sqlite3.connect(tmp_path / "x.db")
        before = connection.execute("PRAGMA data_version").fetchone()[0]
        await asyncio.gather(*(nothing.schedule(n).delay(3600) for n in range(1000)))
        assert connection.execute("SELECT count(*) FROM jobify_jobs").fetchone() == (1001,)
        assert connection.execute("PRAGMA data_version").fetchone()[0] - before <= 3
        connection.close()


@pytest.mark.slow
async def test_a_job_is_added_in_a_transaction_of_the_user(tmp_path: Path) -> None:
    """It is there with the commit, for the next claim; not if it is rolled back, and an id is given once."""
    storage = SQLiteStorage(tmp_path / "x.db")
    job = StoredJob(id="it", task="task", arguments=b"{}", exec_at=NOON, scheduled_for=NOON)
    connection = sqlite3.connect(tmp_path / "x.db")
    with pytest.raises(StorageError, match="not open"):
        await storage.add_using(connection, job)
    await storage.open(SystemRuntime())
    assert await storage.add_using(connection, job) == Added(1, "it")
    connection.rollback()
    assert list(await storage.claim(datetime.max.replace(tzinfo=UTC))) == []
    number = (await storage.add_using(connection, job)).number
    with pytest.raises(DuplicateJobError):
        await storage.add_using(connection, job)
    assert not storage.is_mine(number)
    connection.commit()
    assert [found.number for found in await storage.claim(datetime.max.replace(tzinfo=UTC))] == [number]
    connection.close()
    await storage.close()


@pytest.mark.slow
async def test_a_transaction_in_another_file_is_refused(tmp_path: Path) -> None:
    """The connection must be to the file of the storage; what SQLite says is an error of the storage."""
    storage = SQLiteStorage(tmp_path / "x.db")
    await storage.open(SystemRuntime())
    job = StoredJob(id="it", task="task", arguments=b"{}", exec_at=NOON, scheduled_for=NOON)
    connection = sqlite3.connect(":memory:")
    for other in (":memory:", tmp_path / "other.db"):
        connection.close()
        connection = sqlite3.connect(other)
        with pytest.raises(StorageError, match="the connection is to"):
            await storage.add_using(connection, job)
    connection.close()
    with pytest.raises(StorageError, match="closed") as caught:
        await storage.add_using(connection, job)
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    await storage.close()


@pytest.mark.virtual_clock(storage="keep")
async def test_a_kept_storage_is_the_file_itself(tmp_path: Path) -> None:
    """With `storage="keep"` a virtual test uses the file that it names."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "x.db"))
    async with app:
        assert (tmp_path / "x.db").exists()


@pytest.mark.virtual_clock
async def test_a_storage_is_private_and_empty_in_each_test(tmp_path: Path) -> None:
    """Without that it gets a private file in its place, the same for the same path."""
    apps = [Jobify(storage=SQLiteStorage(tmp_path / "x.db")) for _ in range(2)]
    for app in apps:
        app.task(lambda: None, name="nothing")
    async with apps[0]:
        task = apps[0].task(lambda: None, name="other")
        await task.schedule().delay(10, job_id="it")
    async with apps[1]:
        assert [job.id for job in await apps[1].jobs()] == ["it"]
    assert not (tmp_path / "x.db").exists()


module_level = MemoryStorage()


@pytest.mark.parametrize("_time", [1, 2])
async def test_memory_is_private_and_empty_in_each_test(_time: int, virtual_clock: VirtualClock) -> None:
    """Also the rows of a storage in memory that lives in a module are those of one test."""
    app = Jobify(storage=module_level)
    task = app.task(lambda: None, name="nothing")
    async with app:
        assert await app.jobs() == []
        await task.schedule().delay(10)
    async with app:
        assert len(await app.jobs()) == 1
