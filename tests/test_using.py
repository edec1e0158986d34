"""Jobs that are ordered in a transaction of the user's, in the file that has the user's own tables too."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobify import (
    ApplicationStateError,
    InvalidArgumentsError,
    InvalidScheduleError,
    JobCancelledError,
    Jobify,
    JobStatus,
    StorageError,
    Transition,
)
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock
from tests.shops import Shop

pytestmark = pytest.mark.virtual_clock(storage="keep")


@pytest.fixture
def shop(tmp_path: Path, virtual_clock: VirtualClock) -> Shop:
    """The app."""
    return Shop(tmp_path / "shop.db", virtual_clock)


@pytest.fixture
def connection(shop: Shop) -> Iterator[sqlite3.Connection]:
    """A connection of the user's."""
    with shop.connected() as connection:
        yield connection


def as_dict(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    """Return a row by the names of its columns."""
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


# A commit, or none


async def test_a_job_is_there_with_the_commit(
    shop: Shop, connection: sqlite3.Connection, job_transitions: TransitionLog
) -> None:
    """It is committed with the rest, and starts when that is seen, soon after; nothing of it is told before."""
    async with shop.app:
        with connection:
            connection.execute("INSERT INTO orders VALUES ('shoes')")
            job = await shop.ship.schedule("shoes").using(connection).delay(0)
            assert (job.status, job.held) == (JobStatus.SCHEDULED, "its transaction is not committed yet")
            assert await shop.app.get_job(job.id) is None
            assert list(job_transitions) == []
        assert await job == "shoes"
        assert job.held is None
    assert shop.ran == [(0.01, "shoes")]
    assert [event.reason for event in job_transitions if isinstance(event, Transition)] == [None] * 3
    assert job_transitions.timeline(job) == [(0.01, "scheduled"), (0.01, "running"), (0.01, "success")]


async def test_a_rollback_leaves_no_job(
    shop: Shop, connection: sqlite3.Connection, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Who waits is told; nothing runs, now or later, and the id is free."""
    async with shop.app:
        job = await shop.ship.schedule("shoes").using(connection).delay(0, job_id="it")
        waiting = asyncio.create_task(job.wait())
        connection.rollback()
        with pytest.raises(ApplicationStateError, match="job 'it' is not there: its transaction was rolled back"):
            await waiting
        with pytest.raises(ApplicationStateError, match="rolled back"):
            await job.wait()
        with pytest.raises(JobCancelledError):
            job.result()
        assert (job.is_done(), job.status, await job.cancel()) == (True, JobStatus.CANCELLED, False)
        assert job.held is not None
        assert list(job_transitions) == []
        await virtual_clock.advance(60)
        assert shop.ran == []
        await shop.ship.schedule("again").delay(0, job_id="it")
        await shop.app.wait_all()
    assert [what for _, what in shop.ran] == ["again"]


async def test_a_savepoint_that_is_rolled_back_leaves_no_job(shop: Shop, connection: sqlite3.Connection) -> None:
    """The rest of the transaction is committed all the same."""
    async with shop.app:
        kept = await shop.ship.schedule("kept").using(connection).delay(0)
        connection.execute("SAVEPOINT here")
        dropped = await shop.ship.schedule("dropped").using(connection).delay(0)
        connection.execute("ROLLBACK TO here")
        connection.commit()
        assert await kept == "kept"
        with pytest.raises(ApplicationStateError, match="rolled back"):
            await dropped.wait()


async def test_an_id_is_free_again_after_a_rollback(shop: Shop, connection: sqlite3.Connection) -> None:
    """The second of two tries is not taken for the first, although both have the number of the row, and the id."""
    async with shop.app:
        first = await shop.ship.schedule("first").using(connection).delay(0, job_id="it")
        connection.rollback()
        second = await shop.ship.schedule("second").using(connection).delay(0, job_id="it")
        connection.commit()
        assert await second == "second"
        with pytest.raises(ApplicationStateError, match="rolled back"):
            await first.wait()
    assert [what for _, what in shop.ran] == ["second"]


async def test_a_number_that_is_given_again_is_another_job(shop: Shop, connection: sqlite3.Connection) -> None:
    """The row of a job that was rolled back may become that of any other."""
    async with shop.app:
        gone = await shop.ship.schedule("gone").using(connection).delay(0, job_id="gone")
        connection.rollback()
        assert await (await shop.ship.push("pushed")) == "pushed"
        with pytest.raises(ApplicationStateError, match="rolled back"):
            await gone.wait()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="it came with Python 3.12")
@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_a_connection_may_always_be_in_a_transaction(shop: Shop, ends: str) -> None:
    """With `autocommit=False` the next transaction begins with the end of the last, and is no trouble."""
    options: dict[str, Any] = {"autocommit": False}
    async with shop.app:
        with shop.connected(**options) as connection:
            job = await shop.ship.schedule("shoes").using(connection).delay(0)
            getattr(connection, ends)()
            if ends == "commit":
                assert await job == "shoes"
            else:
                with pytest.raises(ApplicationStateError, match="rolled back"):
                    await job.wait()


async def test_a_connection_may_be_in_no_transaction(shop: Shop) -> None:
    """Then the job is there at once."""
    async with shop.app:
        with shop.connected(isolation_level=None) as connection:
            assert await (await shop.ship.schedule("shoes").using(connection).delay(0)) == "shoes"


@pytest.mark.parametrize("rows", [sqlite3.Row, as_dict])
async def test_rows_and_texts_may_be_of_any_kind(shop: Shop, connection: sqlite3.Connection, rows: Any) -> None:
    """What the user has made of rows and texts is no matter of the job."""
    connection.row_factory = rows
    connection.text_factory = bytes
    async with shop.app:
        with connection:
            job = await shop.ship.schedule("shoes").using(connection).delay(0)
        assert await job == "shoes"


# What is refused


async def test_what_cannot_be_in_a_transaction_is_refused(
    shop: Shop, connection: sqlite3.Connection, tmp_path: Path
) -> None:
    """Each refusal says why, and nothing is ordered."""

    @shop.app.task(durable=False)
    async def note() -> None: ...

    @shop.app.task
    async def keep(what: object) -> None: ...

    ship = shop.ship.schedule("it")
    with pytest.raises(ApplicationStateError, match="not running"):
        await ship.using(connection).delay(0)
    async with shop.app:
        with pytest.raises(InvalidScheduleError, match="not durable"):
            note.schedule().using(connection)
        with pytest.raises(TypeError, match="using None"):
            ship.using(None)
        with pytest.raises(TypeError, match="a connection of sqlite3, or one of aiosqlite"):
            await ship.using(object()).delay(0)
        with pytest.raises(InvalidScheduleError, match="replace=True"):
            await ship.using(connection).delay(0, job_id="it", replace=True)
        with pytest.raises(InvalidScheduleError, match="without a job_id"):
            await ship.using(connection).every(1, job_id=None)
        with pytest.raises(InvalidArgumentsError):
            await keep.schedule(object()).using(connection).delay(0)
        with (
            closing(sqlite3.connect(tmp_path / "other.db")) as other,
            pytest.raises(StorageError, match=r"other\.db"),
        ):
            await ship.using(other).delay(0)
        with pytest.raises(StorageError, match="closed"):
            await ship.using(other).delay(0)
        assert shop.app.health().ok
        connection.commit()
        assert await shop.app.jobs() == []
    with pytest.raises(ApplicationStateError, match="not running"):
        await ship.using(connection).delay(0)


async def test_a_storage_without_transactions_is_named(connection: sqlite3.Connection) -> None:
    """It is the optional part of a storage."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def work() -> None: ...

    async with app:
        with pytest.raises(StorageError, match=r"MemoryStorage has no add_using\(connection, job\)"):
            await work.schedule().using(connection).delay(0)


async def test_a_sentence_without_an_end_orders_nothing(shop: Shop, connection: sqlite3.Connection) -> None:
    """It is warned of, as every such sentence; that of which it was made can have another end."""
    async with shop.app:
        with pytest.warns(RuntimeWarning, match="never given a time"):
            shop.ship.schedule("it").using(connection)
        sentence = shop.ship.schedule("it")
        with connection:
            await sentence.using(connection).delay(0)
        await sentence.delay(0)
        await shop.app.wait_all()
    assert len(shop.ran) == 2
