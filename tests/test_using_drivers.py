"""Jobs that are ordered in a transaction of the user's, over the drivers that asyncio people use."""

import contextlib
import sqlite3
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobify import ApplicationStateError, DuplicateJobError, Jobify, JobStatus, StorageError, Task
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock
from tests.postgres import Database

END = "SELECT pg_terminate_backend($1)"


def shop(storage: Any) -> tuple[Jobify, Task[[str], Any, str]]:
    """Return an app, and its task."""
    app = Jobify(storage=storage)

    @app.task(name="ship")
    async def ship(what: str) -> str:
        return what

    return app, ship


@contextlib.asynccontextmanager
async def connected(database: Database, driver: str) -> AsyncGenerator[Any]:
    """Have a connection of a driver, which begins no transaction by itself, in a `with` block."""
    if driver == "asyncpg":
        async with database.connected() as connection:
            yield connection
    else:
        psycopg: Any = pytest.importorskip("psycopg")
        async with await psycopg.AsyncConnection.connect(database.server.dsn, autocommit=True) as connection:
            yield connection


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
async def test_a_job_is_there_with_the_commit(database: Database, driver: str) -> None:
    """Who waits for it waits for the commit too, and has its result; after a rollback, the reason why there is none."""
    app, ship = shop(database.storage())
    async with app, connected(database, driver) as connection:
        await connection.execute("BEGIN")
        job = await ship.schedule("shoes").using(connection).delay(0)
        assert job.held == "its transaction is not committed yet"
        assert await app.get_job(job.id) is None
        with pytest.raises(ApplicationStateError, match="not committed yet"):
            await job.cancel()
        await connection.execute("COMMIT")
        assert await job == "shoes"
        await connection.execute("BEGIN")
        kept = await ship.schedule("kept").using(connection).delay(0)
        await connection.execute("SAVEPOINT here")
        dropped = await ship.schedule("dropped").using(connection).delay(0)
        await connection.execute("ROLLBACK TO here")
        await connection.execute("COMMIT")
        await connection.execute("BEGIN")
        gone = await ship.schedule("gone").using(connection).delay(0)
        await connection.execute("ROLLBACK")
        assert await kept == "kept"
        for none in (dropped, gone):
            with pytest.raises(ApplicationStateError, match="rolled back"):
                await none.wait()


@pytest.mark.slow
async def test_a_connection_that_is_cut_leaves_no_job(database: Database) -> None:
    """The server rolls the transaction back, and who waits is told; the app goes on."""
    app, ship = shop(database.storage())
    async with app, database.connected() as admin:
        async with database.connected() as connection:
            await connection.execute("BEGIN")
            job = await ship.schedule("shoes").using(connection).delay(0)
            await admin.execute(END, connection.get_server_pid())
            with pytest.raises(StorageError):
                await ship.schedule("socks").using(connection).delay(0)
        with pytest.raises(ApplicationStateError, match="rolled back"):
            await job.wait()
        assert app.health().ok
        assert await (await ship.push("hat")) == "hat"


@pytest.mark.slow
async def test_an_id_that_is_taken_leaves_the_transaction_as_it_is(database: Database) -> None:
    """What else is ordered in it is committed."""
    app, ship = shop(database.storage())
    async with app, database.connected() as connection:
        await ship.schedule("first").delay(3600, job_id="it")
        async with connection.transaction():
            with pytest.raises(DuplicateJobError):
                await ship.schedule("second").using(connection).delay(0, job_id="it")
            job = await ship.schedule("third").using(connection).delay(0)
        assert await job == "third"


@pytest.mark.slow
async def test_any_process_may_run_what_was_committed(database: Database) -> None:
    """Who has ordered it follows it: to its end in another process, and while nobody has claimed it."""
    app, ship = shop(database.storage(horizon=timedelta(seconds=60)))
    other, _ = shop(database.storage())
    async with app, other, database.connected() as connection:
        async with connection.transaction():
            jobs = [await ship.schedule(str(n)).using(connection).delay(0) for n in range(20)]
            later = await ship.schedule("later").using(connection).delay(3600, job_id="later")
        assert [await job for job in jobs] == [str(n) for n in range(20)]
        assert await app.get_job("later") is not None
        assert later.held is None
        assert await later.cancel()
        assert later.status is JobStatus.CANCELLED


@pytest.mark.slow
@pytest.mark.virtual_clock
async def test_a_rollback_is_seen_on_virtual_time(database: Database, virtual_clock: VirtualClock) -> None:
    """Nobody tells of it: it is looked for, at instants that are always the same."""
    app, ship = shop(database.storage(lease=timedelta(days=1)))
    async with app, database.connected() as connection:
        await connection.execute("BEGIN")
        job = await ship.schedule("shoes").using(connection).delay(0)
        await virtual_clock.advance(0.02)
        await connection.execute("ROLLBACK")
        await virtual_clock.advance(0.009)
        assert not job.is_done()
        await virtual_clock.advance(0.001)
        assert job.is_done()


# aiosqlite


@pytest.mark.slow
async def test_the_transaction_may_be_one_of_aiosqlite(tmp_path: Path) -> None:
    """It is awaited, and else as one of sqlite3."""
    aiosqlite: Any = pytest.importorskip("aiosqlite")
    app, ship = shop(SQLiteStorage(tmp_path / "shop.db"))
    async with app:
        async with aiosqlite.connect(tmp_path / "shop.db") as connection:
            await connection.execute("CREATE TABLE orders (what TEXT)")
            await connection.execute("INSERT INTO orders VALUES ('shoes')")
            job = await ship.schedule("shoes").using(connection).delay(0)
            assert job.held == "its transaction is not committed yet"
            await connection.commit()
            assert await job == "shoes"
            await ship.schedule("it").delay(3600, job_id="it")
            with pytest.raises(DuplicateJobError):
                await ship.schedule("it").using(connection).delay(0, job_id="it")
            gone = await ship.schedule("gone").using(connection).delay(0)
            await connection.rollback()
            with pytest.raises(ApplicationStateError, match="rolled back"):
                await gone.wait()
            connection.row_factory = aiosqlite.Row
            await ship.schedule("rows").using(connection).delay(0)
            await connection.commit()
        with pytest.raises(StorageError, match="cannot use"):
            await ship.schedule("closed").using(connection).delay(0)
        async with aiosqlite.connect(tmp_path / "other.db") as other:
            with pytest.raises(StorageError, match=r"other\.db"):
                await ship.schedule("elsewhere").using(other).delay(0)
        assert app.health().ok


@pytest.mark.virtual_clock(storage="keep")
async def test_a_transaction_of_aiosqlite_on_virtual_time(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    """Its thread holds time as long as the connection is open: the commit is at the instant of the order."""
    aiosqlite: Any = pytest.importorskip("aiosqlite")
    app, ship = shop(SQLiteStorage(tmp_path / "shop.db"))
    async with app:
        async with aiosqlite.connect(tmp_path / "shop.db") as connection:
            job = await ship.schedule("shoes").using(connection).delay(10)
            await connection.commit()
        assert virtual_clock.monotonic() == 0
        await virtual_clock.advance(9.999)
        assert not job.is_done()
        await virtual_clock.advance(0.001)
        assert job.result() == "shoes"


# The lock of a file


@pytest.mark.slow
async def test_a_transaction_that_holds_the_lock_loses_nothing(tmp_path: Path) -> None:
    """While it is open the app writes nothing, and runs begin and end later; scheduling fails after `timeout`."""
    app, ship = shop(SQLiteStorage(tmp_path / "shop.db", timeout=0.05))
    with contextlib.closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        async with app:
            due = await ship.schedule("due").delay(0.02)
            job = await ship.schedule("shoes").using(connection).delay(0)
            with pytest.raises(StorageError, match="locked"):
                await ship.push("refused")
            assert not due.is_done()
            assert "locked" in str(app.health().storage_error)
            connection.commit()
            assert (await due, await job) == ("due", "shoes")
            assert app.health().ok
