"""Thousands of jobs that are overdue at a start: they begin in order, and not all at once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from jobify import Cron, InvalidScheduleError, Jobify, JobStatus, MisfirePolicy
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock
from tests.test_missed import skips, starts

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(("rate", "expected"), [(100, [100, 100, 50]), (None, [250]), (1000, [250])])
async def test_overdue_jobs_begin_so_many_in_each_second(
    virtual_clock: VirtualClock, rate: int | None, expected: list[int]
) -> None:
    """The earliest begin first, each second the same number; what is not overdue does not wait for them."""
    storage = MemoryStorage()
    app = Jobify(storage=storage, catch_up_rate=rate)
    begun: list[tuple[float, int]] = []

    @app.task
    async def work(n: int) -> None:
        begun.append((virtual_clock.monotonic(), n))

    async with app:
        for n in range(250):
            await work.schedule(n).delay(1000 - n)
    await virtual_clock.advance(2000)
    async with app:
        await work.push(-1)
        await app.wait_all()
    assert begun[: expected[0] + 1][-1] == (2000, -1)  # pushed after the start, it is behind the first of them
    begun.remove((2000, -1))
    assert [n for _, n in begun] == list(range(249, -1, -1))
    assert list(Counter(at for at, _ in begun).items()) == [(2000 + second, n) for second, n in enumerate(expected)]


async def test_a_job_that_waits_for_its_second_is_as_late_as_it_is(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """When a job was due stays what it was; its start shows how late it is."""
    app = Jobify(storage=MemoryStorage(), catch_up_rate=1)

    @app.task
    async def work() -> None: ...

    async with app:
        for n in range(3):
            await work.schedule().delay(10, job_id=str(n))
    await virtual_clock.advance(60)
    async with app:
        last = await app.get_job("2")
        assert last is not None
        assert last.exec_at == NEW_YEAR + timedelta(seconds=10)
        await app.wait_all()
    assert [starts(job_transitions, str(n)) for n in range(3)] == [[(60, 10)], [(61, 10)], [(62, 10)]]


async def test_whether_a_job_is_too_late_does_not_depend_on_its_second(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A grace is counted from the due time to the start of the app, not to the second that a job waits for."""
    app = Jobify(storage=MemoryStorage(), catch_up_rate=1)

    @app.task
    async def work() -> None: ...

    async with app:
        for n in range(5):
            await work.schedule().delay(10, job_id=f"once {n}", misfire_policy=MisfirePolicy.GRACE(11))
            trigger = Cron("* * * * *", misfire_policy=MisfirePolicy.GRACE(11))
            await work.schedule().cron(trigger, job_id=f"cron {n}")
    await virtual_clock.advance(70)
    async with app:
        await virtual_clock.advance(20)
    assert [len(starts(job_transitions, f"cron {n}")) for n in range(5)] == [1] * 5
    assert [job_transitions.of(f"once {n}")[-1].status for n in range(5)] == [JobStatus.CANCELLED] * 5
    assert skips(job_transitions) == [(10, 10, 1, "missed")] * 5


async def test_a_job_that_waits_for_its_second_can_be_cancelled(virtual_clock: VirtualClock) -> None:
    """It is scheduled, as every job that waits: cancelled, paused, and stopped with the app."""
    app = Jobify(storage=MemoryStorage(), catch_up_rate=1)
    calls: list[int] = []

    @app.task
    async def work(n: int) -> None:
        calls.append(n)

    async with app:
        for n in range(5):
            await work.schedule(n).delay(10 + n, job_id=str(n))
    await virtual_clock.advance(60)
    async with app:
        second, third = await app.get_job("1"), await app.get_job("2")
        assert second is not None
        assert third is not None
        assert await second.cancel()
        assert await third.pause()
        await virtual_clock.advance(3)
    assert calls == [0, 3]
    async with app:
        await virtual_clock.advance(5)
    assert calls == [0, 3, 4]


async def test_ten_thousand_overdue_jobs_do_not_block_the_loop(virtual_clock: VirtualClock) -> None:
    """All of them run, and no more than the rate at one instant."""
    app = Jobify(storage=MemoryStorage())
    running = most = done = 0

    @app.task
    async def work() -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.5)
        running -= 1
        done += 1

    async with app:
        for _ in range(10_000):
            await work.schedule().delay(1)
    await virtual_clock.advance(60)
    async with app:
        await app.wait_all()
    assert (done, most) == (10_000, 100)
    assert virtual_clock.monotonic() == 60 + 99 + 0.5


@pytest.mark.parametrize("rate", [0, -1, 1.5, True, "5"])
def test_the_rate_is_a_whole_number(rate: int) -> None:
    """A rate that is none is refused where it is given."""
    with pytest.raises(InvalidScheduleError, match="overdue jobs"):
        Jobify(storage=MemoryStorage(), catch_up_rate=rate)
