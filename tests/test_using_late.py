"""Transactions of the user's that stay open, or are committed when the app is gone."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobify import (
    ApplicationStateError,
    DuplicateJobError,
    Jobify,
    JobStatus,
)
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock, VirtualOptions, VirtualRunawayError, crash, run
from tests.shops import Shop

START = datetime(2026, 1, 1, tzinfo=UTC)

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


# While the transaction is open


async def test_a_commit_is_seen_soon(shop: Shop, connection: sqlite3.Connection, virtual_clock: VirtualClock) -> None:
    """A transaction that stays open is looked for again: after 0.01 s, then in times that double, up to 0.5 s."""
    async with shop.app:
        job = await shop.ship.schedule("shoes").using(connection).delay(0)
        await virtual_clock.advance(0.03)
        connection.commit()
        await virtual_clock.advance(0.039)
        assert not job.is_done()
        await virtual_clock.advance(0.001)
        assert job.result() == "shoes"
        late = await shop.ship.schedule("late").using(connection).delay(0)
        await virtual_clock.advance(3600)
        connection.commit()
        await virtual_clock.advance(0.5)
        assert late.result() == "late"


async def test_a_commit_is_seen_while_the_next_transaction_writes(
    shop: Shop, connection: sqlite3.Connection, virtual_clock: VirtualClock
) -> None:
    """It needs no moment in which nobody writes; but the app does, to begin."""
    async with shop.app:
        job = await shop.ship.schedule("shoes").using(connection).delay(0)
        await virtual_clock.advance(0.001)
        connection.commit()
        connection.execute("INSERT INTO orders VALUES ('socks')")
        await virtual_clock.advance(5)
        assert "locked" in str(shop.app.health().storage_error)
        connection.commit()
        assert await job == "shoes"
        assert shop.app.health().ok


async def test_who_asks_sees_a_commit_at_once(shop: Shop, connection: sqlite3.Connection) -> None:
    """A job of a transaction that is over is found, listed and waited for, without a moment in between."""
    async with shop.app:
        for ask in (shop.app.jobs, shop.app.wait_all):
            job = await shop.ship.schedule("it").using(connection).delay(0, job_id="it")
            await asyncio.sleep(0.025)
            connection.commit()
            assert await ask() in ([job], None)
            await job.wait()
        await shop.ship.schedule("it").using(connection).delay(0, job_id="it")
        await asyncio.sleep(0.025)
        connection.commit()
        assert await shop.app.get_job("it") is not None
        await shop.app.wait_all()
    assert [what for _, what in shop.ran] == ["it"] * 3


async def test_what_is_not_there_cannot_be_changed(shop: Shop, connection: sqlite3.Connection) -> None:
    """Before the commit the transaction is what can be taken back; right behind it, the job."""
    async with shop.app:
        job = await shop.ship.schedule("it").using(connection).delay(60, job_id="it")
        for change in (job.cancel, job.pause):
            with pytest.raises(ApplicationStateError, match="'it': its transaction is not committed yet"):
                await change()
        connection.commit()
        assert await job.pause()
        assert await job.cancel()
        assert (await job.wait(), job.status) == (None, JobStatus.CANCELLED)


async def test_an_id_in_an_open_transaction_is_taken(shop: Shop, connection: sqlite3.Connection) -> None:
    """Also for a job that is in memory only, of which the file knows nothing, and the other way round."""

    @shop.app.task(durable=False)
    async def note() -> None: ...

    async with shop.app:
        await note.schedule().delay(60, job_id="other")
        with pytest.raises(DuplicateJobError):
            await shop.ship.schedule("it").using(connection).delay(0, job_id="other")
        job = await shop.ship.schedule("it").using(connection).delay(0, job_id="it")
        with pytest.raises(DuplicateJobError):
            await note.schedule().delay(0, job_id="it")
        connection.commit()
        assert await job == "it"


async def test_a_taken_id_is_refused_and_the_transaction_goes_on(shop: Shop, connection: sqlite3.Connection) -> None:
    """What was done before and after it is committed."""
    async with shop.app:
        await shop.ship.schedule("first").delay(60, job_id="it")
        connection.execute("INSERT INTO orders VALUES ('before')")
        for _ in range(2):
            with pytest.raises(DuplicateJobError):
                await shop.ship.schedule("second").using(connection).delay(0, job_id="it")
        job = await shop.ship.schedule("third").using(connection).delay(0)
        connection.execute("INSERT INTO orders VALUES ('after')")
        connection.commit()
        assert await job == "third"
    assert connection.execute("SELECT what FROM orders").fetchall() == [("before",), ("after",)]


def test_a_transaction_that_stays_open_hangs_no_test() -> None:
    """Who waits for a commit that does not come has a report, as for all that goes on for ever."""
    app = Jobify(storage=SQLiteStorage("shop.db"))

    @app.task
    async def ship() -> None: ...

    async def wait_in_vain() -> None:
        runtime: Any = getattr(asyncio.get_running_loop(), "jobify_runtime")  # noqa: B009  # of a virtual loop
        async with app:
            with closing(sqlite3.connect(runtime.database_path(Path("shop.db")))) as connection:
                await (await ship.schedule().using(connection).delay(0)).wait()

    with pytest.raises(VirtualRunawayError, match="time has moved 101 times"):
        run(wait_in_vain(), options=VirtualOptions(max_jumps=100))


# When it is due


async def test_all_ends_of_the_sentence(
    shop: Shop, connection: sqlite3.Connection, virtual_clock: VirtualClock
) -> None:
    """A delay counts from the order, and a recurrence begins there."""
    async with shop.app:
        ship = shop.ship
        await ship.schedule("delay").using(connection).delay(10)
        await ship.schedule("at").using(connection).at(START + timedelta(seconds=20))
        await ship.schedule("every").using(connection).every(25, job_id="every")
        await ship.schedule("cron").using(connection).cron("* * * * *", job_id="cron")
        await virtual_clock.advance(5)
        connection.commit()
        await virtual_clock.advance_to(START + timedelta(seconds=60))
    assert shop.ran == [(10, "delay"), (20, "at"), (25, "every"), (50, "every"), (60, "cron")]


async def test_a_late_commit_starts_what_is_overdue(
    shop: Shop, connection: sqlite3.Connection, virtual_clock: VirtualClock
) -> None:
    """It starts as soon as it is seen, unless its misfire policy finds it too late."""
    async with shop.app:
        await shop.ship.schedule("late").using(connection).delay(10)
        await shop.ship.schedule("too late").using(connection).delay(10, misfire_policy="skip")
        await virtual_clock.advance(100)
        connection.commit()
        await virtual_clock.advance(1)
    assert [what for _, what in shop.ran] == ["late"]


async def test_a_thousand_jobs_of_a_transaction_start_at_once(shop: Shop, connection: sqlite3.Connection) -> None:
    """They are no backlog of an earlier start: the rate of that does not hold them up."""
    async with shop.app:
        with connection:
            for n in range(1000):
                await shop.ship.schedule(str(n)).using(connection).delay(0)
        await shop.app.wait_all()
    assert len(shop.ran) == 1000
    assert {at for at, _ in shop.ran} == {0}


async def test_a_job_that_is_far_away_is_in_memory_all_the_same(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    """As one that was ordered without a transaction: whatever waits in the storage, it can be changed here."""
    shop = Shop(tmp_path / "shop.db", virtual_clock, window=1)
    async with shop.app:
        for n in range(5):
            await shop.ship.schedule(str(n)).delay(1000 * n + 1000)
    async with shop.app:
        with shop.connected() as connection, connection:
            jobs = [await shop.ship.schedule("far").using(connection).delay(9000, job_id=name) for name in ("a", "b")]
        await virtual_clock.settle()
        assert [job.held for job in jobs] == [None, None]
        assert await jobs[0].cancel()
        assert await jobs[1] == "far"
    assert [what for _, what in shop.ran] == ["0", "1", "2", "3", "4", "far"]


# Stops and crashes


async def test_a_stop_parts_from_open_transactions(shop: Shop, connection: sqlite3.Connection) -> None:
    """Who waits is told what is known; if it is committed later, the next start has the job."""
    async with shop.app:
        job = await shop.ship.schedule("shoes").using(connection).delay(0, job_id="it")
        waiting = asyncio.create_task(job.wait())
        await asyncio.sleep(1)
    with pytest.raises(ApplicationStateError, match="stored if its transaction is committed"):
        await waiting
    connection.commit()
    async with shop.app:
        assert await shop.app.get_job("it") is not None
        await shop.app.wait_all()
    assert [what for _, what in shop.ran] == ["shoes"]


async def test_a_crash_behind_the_commit_loses_nothing(shop: Shop, connection: sqlite3.Connection) -> None:
    """Nobody has seen the commit yet, and the next start finds the job."""
    await shop.app.start()
    job = await shop.ship.schedule("shoes").using(connection).delay(0)
    connection.commit()
    await crash(shop.app)
    with pytest.raises(ApplicationStateError, match="stopped"):
        await job.wait()
    async with shop.app:
        await shop.app.wait_all()
    assert [what for _, what in shop.ran] == ["shoes"]


async def test_jobs_are_ordered_while_the_app_stops(shop: Shop, connection: sqlite3.Connection) -> None:
    """A job in its grace may still order what the next start is to run."""

    @shop.app.task
    async def last() -> None:
        await asyncio.sleep(5)
        with connection:
            await shop.ship.schedule("shoes").using(connection).delay(0)

    async with shop.app:
        await last.push()
        await asyncio.sleep(1)
    assert shop.ran == []
    async with shop.app:
        await shop.app.wait_all()
    assert [what for _, what in shop.ran] == ["shoes"]


async def test_who_stands_by_orders_in_a_transaction_too(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    """The active process is told, and runs the job; also if the other does not live to tell it."""
    active, waiting = (Shop(tmp_path / "shop.db", virtual_clock, standby=True) for _ in range(2))
    async with active.app:
        await waiting.app.start()
        with waiting.connected() as connection:
            with connection:
                job = await waiting.ship.schedule("told").using(connection).delay(0)
            assert await job == "told"
            with connection:
                await waiting.ship.schedule("not told").using(connection).delay(0)
            await crash(waiting.app)
        await virtual_clock.advance(1)
    assert [what for _, what in active.ran] == ["told", "not told"]
    assert waiting.ran == []
