"""The rows of a SQLite file: their numbers, which are given once, and a long history, which is swept in parts."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobify import Jobify, Retention
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock, crash
from tests.shops import Shop

pytestmark = pytest.mark.virtual_clock(storage="keep")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "jobs.db"


def rows_of(path: Path, query: str) -> list[Any]:
    """Return what is in a file."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


async def test_a_number_is_given_once(path: Path, virtual_clock: VirtualClock) -> None:
    """Over stops, crashes, and rows that somebody else adds and takes back, no two jobs have the same number."""
    shop = Shop(path, virtual_clock)
    for ends in ("stop", "crash", "stop"):
        await shop.app.start()
        await asyncio.gather(*(shop.ship.push(f"{ends} {n}") for n in range(3)))
        with shop.connected() as connection:
            for end in (connection.rollback, connection.commit, connection.rollback):
                await shop.ship.schedule(ends).using(connection).delay(0)
                await asyncio.sleep(0)
                end()
        await shop.ship.push(f"{ends} last")
        await shop.app.wait_all()
        await (crash(shop.app) if ends == "crash" else shop.app.stop())
    runs = rows_of(path, "SELECT number, job FROM jobify_runs ORDER BY finished_at, number")
    assert len(runs) == len({job for _, job in runs}) == 15
    assert runs == sorted(runs)


async def test_what_comes_behind_an_order_in_a_transaction_is_numbered_behind(
    path: Path, virtual_clock: VirtualClock
) -> None:
    """Jobs that are due at one instant have numbers in the order of scheduling, whoever has added their rows."""
    shop = Shop(path, virtual_clock)
    async with shop.app:
        await shop.ship.schedule("first").delay(60)
        with shop.connected() as connection, connection:
            await shop.ship.schedule("second").using(connection).delay(60)
        await shop.ship.schedule("third").delay(60)
    names = [name for (name,) in rows_of(path, "SELECT arguments FROM jobify_jobs ORDER BY number")]
    assert [word for name in names for word in ("first", "second", "third") if word in str(name)] == [
        "first",
        "second",
        "third",
    ]


async def test_a_duplicate_is_refused_among_others(path: Path, virtual_clock: VirtualClock) -> None:
    """In a transaction of many jobs the one whose id is taken is refused, also where the user's triggers write too."""
    app = Jobify(storage=SQLiteStorage(path, window=1))

    @app.task(name="work")
    async def work(n: int) -> None: ...

    async with app:
        await work.schedule(0).delay(3600, job_id="nearer")
        await work.schedule(0).delay(7200, job_id="taken")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE seen (id TEXT)")
        connection.execute("CREATE TRIGGER see AFTER INSERT ON jobify_jobs BEGIN INSERT INTO seen VALUES (NEW.id); END")
    async with app:
        orders = [work.schedule(n).delay(60, job_id=name) for n, name in enumerate(["a", "taken", "b", "c"])]
        answers = await asyncio.gather(*orders, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["Job", "DuplicateJobError", "Job", "Job"]
    ids = [job_id for (job_id,) in rows_of(path, "SELECT id FROM jobify_jobs ORDER BY exec_at, number")]
    assert ids == ["a", "b", "c", "nearer", "taken"]


async def test_a_long_history_is_pruned_in_parts(path: Path, virtual_clock: VirtualClock) -> None:
    """What has expired goes while others come, five rows for each; so a history that is forgotten is soon short."""
    app = Jobify(storage=SQLiteStorage(path), retention=Retention(success=timedelta(hours=1)))

    @app.task
    async def work() -> None: ...

    async with app:
        await asyncio.gather(*(work.push() for _ in range(5000)))
        await app.wait_all()
        await virtual_clock.advance(hours=2)
        for _ in range(12):
            await asyncio.gather(*(work.push() for _ in range(130)))
            await app.wait_all()
            await virtual_clock.settle()
    assert 1560 <= rows_of(path, "SELECT count(*) FROM jobify_runs")[0][0] <= 1560 + 128


async def test_a_long_history_is_bounded(path: Path, virtual_clock: VirtualClock) -> None:
    """There are never more records than wanted, and a quarter."""
    app = Jobify(storage=SQLiteStorage(path), retention=Retention(most=2000))

    @app.task
    async def work() -> None: ...

    async with app:
        for _ in range(20):
            await asyncio.gather(*(work.push() for _ in range(400)))
            await app.wait_all()
            await virtual_clock.settle()
            assert rows_of(path, "SELECT count(*) FROM jobify_runs")[0][0] <= 2500
    assert rows_of(path, "SELECT count(*) FROM jobify_runs")[0][0] >= 2000


@pytest.mark.parametrize("window", [10, None])
async def test_all_that_ran_is_claimed_at_a_start(path: Path, window: int | None, virtual_clock: VirtualClock) -> None:
    """Jobs whose run a crash has cut short are found among others, many more than are in memory, and once."""
    app = Jobify(storage=SQLiteStorage(path, window=window), catch_up_rate=None)
    ran: list[int] = []

    @app.task(name="work")
    async def work(n: int) -> None:
        ran.append(n)
        await asyncio.sleep(10)

    async with app:
        for n in range(100, 150):
            await work.schedule(n).delay(3600)
        await asyncio.gather(*(work.push(n) for n in range(30)))
        await virtual_clock.settle()
        await crash(app)
    async with app:
        await app.wait_all()
    assert sorted(ran) == sorted([*range(30), *range(30), *range(100, 150)])
