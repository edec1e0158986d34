"""The PostgreSQL storage: the contract, and what is special to it. Its server is brought up for the tests."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobify import DuplicateJobError, Jobify, StorageError, SystemClock, SystemRuntime, Task
from jobify.storage import Host, Notice, PostgresStorage, RunQuery, Storage, StoredJob, StoredRun
from jobify_testing import SharedStorageContract, TransitionLog, VirtualClock, VirtualLoop, crash
from tests.postgres import Database, Server

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FOREVER = datetime.max.replace(tzinfo=UTC)
START: dict[str, Any] = {"attempt": 1, "started_at": NOON, "scheduled_for": NOON}

pytestmark = pytest.mark.slow


class TestPostgresStorage(SharedStorageContract):
    """The contract, in a database."""

    database: Database

    @pytest.fixture(autouse=True)
    def _database(self, postgres_server: Server) -> None:
        self.database = postgres_server.new_database()

    def make_storage(self) -> Storage:
        """Return a storage in a schema of the test."""
        return self.database.storage(horizon=timedelta(days=1))


@pytest.mark.virtual_clock
class TestPostgresStorageOnVirtualTime(TestPostgresStorage):
    """The contract, on virtual time."""

    def make_host(self) -> Host:
        """Return the virtual world."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        return loop.jobify_runtime


def make_job(job_id: str = "it", **fields: Any) -> StoredJob:
    """Return a job that is due."""
    known: dict[str, Any] = {"task": "task", "arguments": b"{}", "exec_at": NOON, "scheduled_for": NOON}
    return StoredJob(id=job_id, **(known | fields))


def make_run(number: int, **fields: Any) -> StoredRun:
    """Return a run of a job."""
    known: dict[str, Any] = {
        "job_id": "it",
        "task": "task",
        "status": "success",
        "scheduled_for": NOON,
        "finished_at": NOON,
        "process": "here:1",
        "expires_at": FOREVER,
    }
    return StoredRun(job=number, **(known | fields))


@contextlib.asynccontextmanager
async def opened(*storages: PostgresStorage, host: Host | None = None) -> AsyncGenerator[None]:
    """Have storages open in a `with` block."""
    async with contextlib.AsyncExitStack() as stack:
        for storage in storages:
            await storage.open(host or SystemRuntime())
            stack.push_async_callback(storage.close)
        yield


class Ear:
    """Hears the notices of a storage."""

    def __init__(self, storage: PostgresStorage) -> None:
        self.heard: asyncio.Queue[Notice] = asyncio.Queue()
        storage.watch(self.heard.put_nowait)

    def so_far(self) -> list[Notice]:
        """Return what was heard and not yet asked for."""
        return [self.heard.get_nowait() for _ in range(self.heard.qsize())]


# At the door


@pytest.mark.parametrize("dsn", ["jobs.db", "sqlite:///x.db", "host=here", "postgresql+asyncpg://x"])
def test_an_address_is_one_of_postgresql(dsn: str) -> None:
    """What is not the address of a PostgreSQL database is refused, with an example of one."""
    with pytest.raises(ValueError, match="'postgresql://user@host/database'"):
        PostgresStorage(dsn)


@pytest.mark.parametrize(
    "options",
    [{"schema": 'a"b'}, {"schema": ""}, {"schema": "x" * 51}, {"lease": 0.5}, {"horizon": -1}, {"timeout": "1"}],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused(options: dict[str, Any]) -> None:
    """Names and durations are checked before there is a connection."""
    with pytest.raises(ValueError, match=r"cannot|must"):
        PostgresStorage("postgresql://here/x", **options)


def test_a_password_is_not_shown() -> None:
    """Errors and logs say which database it is, and not how to get in."""
    pytest.importorskip("asyncpg")
    storage = PostgresStorage("postgresql://ada:secret@here:5432/jobs?password=secret")
    assert repr(storage) == "PostgresStorage('postgresql://ada:…@here:5432/jobs')"


def test_a_missing_driver_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asyncpg the error says what to install; the storage itself can be imported."""
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ImportError, match=r"jobify\[postgres\]"):
        PostgresStorage("postgresql://here/x")


async def test_a_server_that_is_not_there_is_an_error(database: Database) -> None:
    """An app that cannot reach its database does not start, and says why."""
    app = Jobify(storage=PostgresStorage(f"postgresql://jobify@/x?host={database.server.folder}/nowhere"))
    with pytest.raises(StorageError, match="cannot use PostgresStorage") as caught:
        await app.start()
    assert isinstance(caught.value.__cause__, OSError)
    assert app.health().state == "stopped"


async def test_a_database_that_is_not_there_is_an_error(database: Database) -> None:
    """What the server says is in the error."""
    storage = PostgresStorage(f"postgresql://jobify@/nowhere?host={database.server.folder}")
    with pytest.raises(StorageError, match='"nowhere" does not exist'):
        await storage.open(SystemRuntime())


async def test_processes_that_start_at_once_make_the_tables_once(database: Database) -> None:
    """Ten first openings at the same time are as one."""
    storages = [database.storage() for _ in range(10)]
    await asyncio.gather(*(storage.open(SystemRuntime()) for storage in storages))
    numbers = await asyncio.gather(
        *(storage.add(make_job(str(n)), replace=False) for n, storage in enumerate(storages))
    )
    assert sorted(numbers) == list(range(1, 11))
    for storage in storages:
        await storage.close()


async def test_a_newer_schema_is_refused(database: Database) -> None:
    """Tables of a newer jobify are not touched."""
    async with opened(database.storage()), database.connected() as admin:
        await admin.execute("UPDATE jobify_schema SET version = 99")
    with pytest.raises(StorageError, match="schema 99"):
        await database.storage().open(SystemRuntime())


async def test_texts_that_postgresql_does_not_take(database: Database) -> None:
    """An id with the character 0 is refused; in the words of an error it is written as people would."""
    storage = database.storage()
    async with opened(storage):
        with pytest.raises(StorageError, match="character 0"):
            await storage.add(make_job("a\0b"), replace=False)
        number = await storage.add(make_job(), replace=False)
        await storage.finish(number, None, runs=[make_run(number, error="a\0b \ud800")])
        assert [run.error for run in await storage.runs(RunQuery())] == ["a\\x00b \\ud800"]


async def test_what_cannot_be_written_fails_alone(database: Database) -> None:
    """Of verbs that share a transaction the others are carried out."""
    storage = database.storage()
    async with opened(storage):
        jobs = [make_job("one"), make_job("x" * 50_000 + "".join(map(chr, range(256, 5000)))), make_job("two")]
        results = await asyncio.gather(*(storage.add(job, replace=False) for job in jobs), return_exceptions=True)
        assert [type(result) for result in results] == [int, StorageError, int]
        assert [job.id for job in await storage.find()] == ["one", "two"]


# On virtual time


@pytest.mark.virtual_clock
async def test_an_app_on_virtual_time(
    database: Database, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """An app with this storage runs at its times, to the instant, and leaves nothing behind."""
    storage = database.storage()
    app = Jobify(storage=storage)

    @app.task
    async def add(a: int, b: int) -> int:
        return a + b

    async with app:
        job = await add.schedule(1, 2).delay(50)
        await virtual_clock.advance(49.999)
        assert not job.is_done()
        await virtual_clock.advance(0.001)
        assert job.result() == 3
        assert list(await storage.find()) == []
    assert job_transitions.timeline(job) == [(0, "scheduled"), (50, "running"), (50, "success")]


@pytest.mark.virtual_clock
async def test_time_stands_still_while_the_server_works(database: Database, virtual_clock: VirtualClock) -> None:
    """Whatever part of its answer has come already, and however long the rest takes: here half a second."""
    storage = database.storage(timeout=0.5)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with opened(storage, host=loop.jobify_runtime), database.connected() as other:
        transaction = other.transaction()
        await transaction.start()
        await storage.add_using(other, make_job("200"))
        begin = virtual_clock.monotonic()
        adds = (storage.add(make_job(str(n)), replace=False) for n in range(300))
        results = await asyncio.gather(*adds, return_exceptions=True)
        assert [n for n, result in enumerate(results) if not isinstance(result, int)] == [200]
        assert virtual_clock.monotonic() == begin
        await transaction.rollback()


@pytest.mark.virtual_clock
async def test_the_jobs_of_the_dead_are_taken_over(database: Database, virtual_clock: VirtualClock) -> None:
    """A lease that is not renewed runs out: then others look, and have the jobs; not an instant before."""
    first, second = database.storage(lease=30), database.storage(lease=30)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with opened(first, second, host=loop.jobify_runtime):
        ear = Ear(second)
        far = FOREVER - timedelta(days=1)
        number = await first.add(make_job(exec_at=virtual_clock.now()), replace=False)
        await first.start(number, **START)
        await virtual_clock.advance(25)
        first.abandon()  # it has renewed its lease at 20 s
        await virtual_clock.advance(25)
        assert list(await second.claim(far)) == []
        await virtual_clock.advance(10)
        assert ear.heard.get_nowait() == Notice("look")
        (job,) = await second.claim(far)
        assert (job.number, job.running, job.attempt) == (number, True, 1)


def make_app(database: Database, calls: list[int]) -> tuple[Jobify, Task[[int], Coroutine[Any, Any, int], int]]:
    """Return an app with a task that notes its calls."""
    app = Jobify(storage=database.storage())

    @app.task(name="work")
    async def work(n: int) -> int:
        calls.append(n)
        return n

    return app, work


@pytest.mark.virtual_clock
async def test_two_apps_run_each_job_once(database: Database, virtual_clock: VirtualClock) -> None:
    """Whoever comes first runs a job, near or far, and a recurring one; who has ordered it learns what became of it."""
    calls: list[int] = []
    (first, here), (second, there) = make_app(database, calls), make_app(database, calls)
    async with first, second:
        jobs = [await task.schedule(n).delay(100.0 * n) for n in range(1, 11) for task in (here, there)]
        minutes = await here.schedule(0).every(60, job_id="minutes")
        await virtual_clock.advance(1000)
        assert [job.result() for job in jobs] == [n for n in range(1, 11) for _ in (here, there)]
        assert sorted(calls) == [0] * 16 + sorted([*range(1, 11)] * 2)
        job = await second.get_job(minutes.id)
        assert job is not None
        assert job.run_count == 16
        assert await job.cancel()
        await virtual_clock.advance(600)
        assert len(calls) == 36


@pytest.mark.virtual_clock
async def test_an_app_takes_over_from_one_that_has_crashed(database: Database, virtual_clock: VirtualClock) -> None:
    """What a process that has died was to run, another runs, when the lease is over."""
    calls: list[int] = []
    (first, here), (second, _) = make_app(database, calls), make_app(database, calls)
    await first.start()
    async with second:
        await here.schedule(1).delay(50)
        await virtual_clock.advance(1)
        await crash(first)
        await virtual_clock.advance(60)
        assert calls == [1]


# The lease


async def test_who_has_lost_its_lease_writes_nothing(database: Database) -> None:
    """A process that was stopped, and whose jobs others have taken, starts none of them; its run is in the history."""
    first, second = database.storage(), database.storage()
    async with opened(first):
        ear = Ear(first)
        running = await first.add(make_job("running"), replace=False)
        waiting = await first.add(make_job("waiting"), replace=False)
        await first.start(running, **START)
        await database.let_leases_run_out()
        async with opened(second):
            assert [job.number for job in await second.claim(FOREVER)] == [running, waiting]
            assert await second.start(running, **START)
            assert not await first.start(waiting, **START)
            assert ear.so_far() == [Notice("look"), Notice("lost", running), Notice("lost", waiting)]
            assert not first.is_mine(running)

            await first.amend(make_job(number=waiting, paused=True))
            await first.finish(running, None, runs=[make_run(running), make_run(running, reason="why")])
            assert [(job.id, job.running, job.paused) for job in await second.find()] == [
                ("running", True, False),
                ("waiting", False, False),
            ]
            reasons = [run.reason for run in await second.runs(RunQuery())]
            assert reasons == ["why; lease lost", "lease lost"]


async def test_what_is_lost_while_it_runs_is_not_claimed_again_before_its_end(database: Database) -> None:
    """A process never has two runs of a job at once, also if the job is nobody's for a while."""
    first, second = database.storage(), database.storage()
    async with opened(first):
        number = await first.add(make_job(trigger="{}"), replace=False)
        await first.start(number, **START)
        await database.let_leases_run_out()
        async with opened(second):
            pass  # it has found that the lease was over
        assert not await first.start(0, **START)  # the loss shows itself
        assert list(await first.claim(FOREVER)) == []
        await first.amend(make_job(number=number, trigger="{}", paused=True))
        assert [job.paused for job in await first.find()] == [False]
        await first.finish(number, make_job(number=number, trigger="{}"))
        assert [job.number for job in await first.claim(FOREVER)] == [number]
        assert await first.start(number, **START)


async def test_a_lease_that_has_run_out_and_nobody_has_taken_is_still_its_owners(database: Database) -> None:
    """Being late is no loss by itself: the jobs are still there, and the run counts."""
    storage = database.storage()
    async with opened(storage):
        number = await storage.add(make_job(), replace=False)
        await database.let_leases_run_out()
        assert await storage.start(number, **START)
        await storage.finish(number, None, runs=[make_run(number)])
        assert [run.reason for run in await storage.runs(RunQuery())] == [None]


class WrongClock(SystemClock):
    """The clock of a machine that is an hour ahead."""

    def now(self) -> datetime:
        """Return the wall clock of the machine."""
        return super().now() + timedelta(hours=1)


async def test_a_wrong_clock_takes_nothing_from_others(database: Database) -> None:
    """Leases are reckoned in the time of the server, whatever the clock of a machine says."""
    first, second = database.storage(), database.storage()
    host = SystemRuntime()
    host.clock = WrongClock()
    async with opened(first):
        number = await first.add(make_job(), replace=False)
        async with opened(second, host=host), database.connected() as admin:
            assert list(await second.claim(FOREVER)) == []
            assert await first.start(number, **START)
            leases = "SELECT max(lease_until) - min(lease_until) FROM jobify_owners"
            assert await admin.fetchval(leases) < timedelta(minutes=1)


async def test_a_claim_that_nobody_waits_for_is_given_back(database: Database) -> None:
    """A cancelled add leaves no job behind that is claimed, and that nobody runs."""
    storage = database.storage()
    async with opened(storage):
        kept: set[int] = set()  # by those whose answer came before the cancel: turns of a loop measure no server
        for steps in range(20):
            add = asyncio.ensure_future(storage.add(make_job(f"job {steps}"), replace=False))
            for _ in range(steps):
                await asyncio.sleep(0)
            add.cancel()
            await asyncio.wait([add])
            if not add.cancelled():
                kept.add(add.result())
        kept.add(await storage.add(make_job("last"), replace=False))
        given_back = [job.number for job in await storage.find() if job.number not in kept]
        assert given_back
        assert [job.number for job in await storage.claim(FOREVER)] == given_back


async def test_a_claim_whose_answer_comes_with_the_cancel_is_given_back(database: Database) -> None:
    """An add that is cancelled when its answer is there, and its caller not yet awake, leaves no claim behind."""
    storage, other = database.storage(), database.storage()
    async with opened(storage), opened(other):
        await storage.add(make_job(), replace=False)

        def cancel(_: Notice) -> None:  # this is told in the same turn of the loop in which the answer comes
            add.cancel()

        other.watch(cancel)
        add = asyncio.ensure_future(storage.add(make_job(), replace=True))
        await asyncio.wait([add])
        assert add.cancelled()
        (job,) = await storage.claim(FOREVER)
        assert job.id == make_job().id


async def test_a_claim_whose_answer_comes_at_the_end_is_given_up(database: Database) -> None:
    """Who is cancelled while the storage closes leaves no claim behind, and no task."""
    storage, other = database.storage(), database.storage()
    async with opened(other):
        await storage.open(SystemRuntime())
        await storage.add(make_job(), replace=False)
        closing: list[asyncio.Future[None]] = []

        def cancel_and_close(_: Notice) -> None:
            if not closing:
                closing.append(asyncio.ensure_future(storage.close()))
                add.cancel()

        other.watch(cancel_and_close)
        add = asyncio.ensure_future(storage.add(make_job(), replace=True))
        await asyncio.wait([add])
        await closing[0]
        assert [job.id for job in await other.claim(FOREVER)] == [make_job().id]
        assert asyncio.all_tasks() == {asyncio.current_task()}


# Notices


async def test_what_other_processes_say_is_heard(database: Database) -> None:
    """A notification of the server is told as notices; what is none is left out."""
    storage = database.storage()
    async with opened(storage), database.connected() as admin:
        ear = Ear(storage)
        await admin.execute("SELECT pg_notify($1, 'ended:7,newer:1,gone:x,gone:8')", database.channel)
        assert [await ear.heard.get() for _ in range(2)] == [Notice("ended", 7), Notice("gone", 8)]


async def test_other_processes_hear_what_is_said(database: Database) -> None:
    """What is written is notified with the commit, however much it is, in payloads that the server takes."""
    storage = database.storage()
    payloads: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _sender: int, _channel: str, payload: str) -> None:
        payloads.put_nowait(payload)

    async with opened(storage), database.connected() as admin:
        await admin.add_listener(database.channel, hear)
        numbers = await asyncio.gather(*(storage.add(make_job(str(n)), replace=False) for n in range(2000)))
        await asyncio.gather(*(storage.remove(number) for number in numbers))
        told: list[str] = []
        while len(told) < 2000:
            payload = await payloads.get()
            assert len(payload) < 8000
            told += payload.split(",")
        assert told == [f"gone:{number}" for number in numbers]


async def test_a_listener_that_fails_is_no_trouble(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and others are told all the same."""
    first, second = database.storage(), database.storage()

    def fail(notice: Notice) -> None:
        raise ValueError(notice.kind)

    async with opened(first, second):
        second.watch(fail)
        ear = Ear(second)
        number = await first.add(make_job(), replace=False)
        await first.remove(number)
        assert await ear.heard.get() == Notice("gone", number)
    assert "a listener of the storage has failed" in caplog.text


# In a transaction of the user's


async def test_a_job_is_added_in_a_transaction_of_the_user(database: Database) -> None:
    """It is there with the commit, unclaimed, and all are told then; not if it is rolled back."""
    storage = database.storage()
    async with opened(storage), database.connected() as connection:
        ear = Ear(storage)
        transaction = connection.transaction()
        await transaction.start()
        await storage.add_using(connection, make_job("not"))
        await transaction.rollback()
        assert list(await storage.find()) == []
        async with connection.transaction():
            number = (await storage.add_using(connection, make_job("it"))).number
            assert list(await storage.claim(FOREVER)) == []
            with pytest.raises(DuplicateJobError):
                await storage.add_using(connection, make_job("it"))
        assert await ear.heard.get() == Notice("look")
        assert ear.heard.empty()
        assert [job.number for job in await storage.claim(FOREVER)] == [number]


async def test_a_storage_that_is_not_open_can_add_in_a_transaction(database: Database) -> None:
    """A program that only orders jobs needs no app that runs."""
    storage = database.storage()
    async with opened(database.storage()):
        pass
    async with database.connected() as connection:
        number = (await storage.add_using(connection, make_job())).number
    async with opened(storage):
        assert [job.number for job in await storage.claim(FOREVER)] == [number]


@pytest.mark.parametrize("rows", ["tuple_row", "dict_row"])
async def test_the_transaction_may_be_one_of_psycopg(database: Database, rows: str) -> None:
    """A connection of psycopg does as well, whatever its rows are."""
    psycopg: Any = pytest.importorskip("psycopg")
    kinds: Any = pytest.importorskip("psycopg.rows")
    storage = database.storage()
    async with opened(storage):
        options = {"row_factory": getattr(kinds, rows)}
        async with await psycopg.AsyncConnection.connect(database.server.dsn, **options) as connection:
            number = (
                await storage.add_using(connection, make_job(exec_at=FOREVER - timedelta(days=1), delay=0.1))
            ).number
            with pytest.raises(DuplicateJobError):
                await storage.add_using(connection, make_job())
        (job,) = await storage.claim(FOREVER)
        assert (job.number, job.exec_at, job.delay) == (number, FOREVER - timedelta(days=1), 0.1)


async def test_another_connection_is_refused(database: Database) -> None:
    """What is no connection of the two drivers is named; errors of the driver are those of the storage."""
    with pytest.raises(TypeError, match="AsyncConnection of psycopg"):
        await database.storage().add_using(object(), make_job())
    async with database.connected() as connection:
        with pytest.raises(StorageError, match=r"jobify_jobs.* does not exist"):
            await database.storage().add_using(connection, make_job())
