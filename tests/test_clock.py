"""The clock of production, on the real event loop: only what virtual time cannot show."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobify import Jobify, JobStatus, SystemClock
from jobify.storage import MemoryStorage, SQLiteStorage

pytestmark = pytest.mark.slow


async def test_the_system_clock_reads_the_loop_and_the_machine() -> None:
    """`monotonic()` is the time of the loop; `now()` is that of the machine, aware, in UTC."""
    clock, loop = SystemClock(), asyncio.get_running_loop()
    before, now, after = datetime.now(UTC), clock.now(), datetime.now(UTC)
    assert before <= now <= after
    assert now.tzinfo is UTC
    early, monotonic, late = loop.time(), clock.monotonic(), loop.time()
    assert early <= monotonic <= late


async def test_alarms_ring_in_order_and_not_before_their_time() -> None:
    """Alarms on both axes ring once, not early; those that were cancelled do not ring."""
    clock = SystemClock()
    rung: list[str] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    start, wall = clock.monotonic(), clock.now()

    def ring(name: str) -> None:
        rung.append(name)
        if name == "last":
            done.set_result(None)

    clock.call_at(start + 0.02, lambda: ring("monotonic"))
    clock.call_at_wall(wall + timedelta(seconds=0.04), lambda: ring("wall"))
    clock.call_at_wall(wall - timedelta(days=1), lambda: ring("past"))
    clock.call_at(start + 0.01, lambda: ring("cancelled")).cancel()
    clock.call_at_wall(wall + timedelta(seconds=0.01), lambda: ring("cancelled")).cancel()
    clock.call_at(start + 0.06, lambda: ring("last"))
    await done
    assert rung == ["past", "monotonic", "wall", "last"]
    assert clock.now() >= wall + timedelta(seconds=0.04)


class SteppedClock(SystemClock):
    """A clock whose wall side a test can step, as NTP or an operator does."""

    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        """Return the stepped wall clock."""
        return super().now() + self.step


async def test_a_step_of_the_wall_clock_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An `at` follows the wall clock: after a step forward it runs within `LOOK_AGAIN` seconds."""
    monkeypatch.setattr("jobify._clock.LOOK_AGAIN", 0.02)
    clock = SteppedClock()
    app = Jobify(storage=MemoryStorage(), clock=clock)

    @app.task
    async def nothing() -> None: ...

    async with app:
        later = await nothing.schedule().at(clock.now() + timedelta(hours=3))
        job = await nothing.schedule().at(clock.now() + timedelta(hours=1))
        delayed = await nothing.schedule().delay(3600)
        clock.step = timedelta(hours=2)
        await job
        assert (later.status, delayed.status) == (JobStatus.SCHEDULED, JobStatus.SCHEDULED)


async def test_the_whole_way_on_the_real_clock(tmp_path: Path) -> None:
    """On the real loop, with a real file: a delay, a recurrence, a timeout and a restart."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "jobs.db"), shutdown_grace=0.1)

    @app.task(timeout=0.05)
    async def hang() -> None:
        await asyncio.Event().wait()

    @app.task
    async def answer() -> int:
        return 42

    async with app:
        start = datetime.now(UTC)
        assert await (await answer.schedule().delay(0.05)) == 42
        assert datetime.now(UTC) - start >= timedelta(seconds=0.05)
        job = await hang.push()
        await job.wait()
        assert job.status is JobStatus.TIMEOUT
        often = await answer.schedule().every(0.02, job_id="often")
        assert [await often, await often] == [42, 42]
        await answer.schedule().delay(0.3, job_id="later")
    async with app:
        found = await app.get_job("later")
        assert found is not None
        assert await found == 42
