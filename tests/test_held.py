"""Jobs that do not start by themselves: how they come to be held, and for how long."""

import asyncio

import pytest

from jobify import Jobify, JobStatus, Retry
from jobify.storage import MemoryStorage, Storage
from jobify_testing import VirtualClock, crash


async def crash_while_it_runs(app: Jobify, clock: VirtualClock, *, times: int) -> None:
    """Crash the app again and again, each time one second after its start."""
    for _ in range(times):
        await app.start()
        await clock.advance(1)
        await crash(app)


async def test_three_crashes_hold_a_job_over_every_further_start(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job that was interrupted by three crashes stays held, however often the app is stopped and started."""
    calls: list[float] = []

    @app.task
    async def kill() -> None:
        calls.append(virtual_clock.monotonic())
        await asyncio.sleep(100)

    async with app:
        await kill.schedule().delay(0.5, job_id="it")
    await crash_while_it_runs(app, virtual_clock, times=3)
    assert calls == [0.5, 1, 2]
    for _ in range(3):
        async with app:
            await virtual_clock.advance(1000)
            job = await app.get_job("it")
            assert job is not None
            assert (job.status, job.held) == (JobStatus.SCHEDULED, "a crash has cut its run short 3 times")
    assert calls == [0.5, 1, 2]


async def test_who_has_ended_a_run_has_a_clean_record(storage: Storage, virtual_clock: VirtualClock) -> None:
    """Crashes are counted for one run: a recurring job whose run has ended begins to count anew."""
    app = Jobify(storage=storage)
    hard = [True, True, False, True, True, False]

    @app.task(on_crash="rerun")
    async def work() -> None:
        if hard.pop(0):
            await asyncio.sleep(100)

    async with app:
        await work.schedule().every(10, job_id="it")
    for _ in range(2):
        for _ in range(2):
            await app.start()
            await virtual_clock.advance(10)
            await crash(app)
        async with app:
            await virtual_clock.advance(5)
            job = await app.get_job("it")
            assert job is not None
            assert (job.held, job.last_run is not None) == (None, True)
    assert hard == []


async def test_a_held_job_is_not_waited_for_by_wait_all(virtual_clock: VirtualClock) -> None:
    """A job that is found to be unfit at its time, while somebody waits for all jobs, is waited for no longer."""
    storage = MemoryStorage()
    before, after = Jobify(storage=storage), Jobify(storage=storage)

    @before.task(name="greet")
    async def greet(name: str) -> None: ...

    @after.task(name="greet")
    async def greet_anew(first: str, last: str) -> None: ...

    async with before:
        await greet.schedule("Ada").delay(10, job_id="it")
    async with after:
        await after.wait_all()
        assert virtual_clock.monotonic() == 10
        (job,) = await after.jobs()
        assert job.held is not None
        assert "do not fit" in job.held
    async with before:
        await before.wait_all()
        assert await before.jobs() == []


@pytest.mark.parametrize("retries", [0, 3])
async def test_crashes_and_attempts_are_counted_apart(
    storage: Storage, virtual_clock: VirtualClock, retries: int
) -> None:
    """A crash takes no attempt from a job: it still has all that its `Retry` allows."""
    app = Jobify(storage=storage)
    lives = [100, 0.0, 0.0, 0.0, 0.0]

    @app.task(retry=Retry(retries, delay=1, factor=1, jitter=False))
    async def work() -> None:
        await asyncio.sleep(lives.pop(0))
        raise ValueError

    async with app:
        await work.schedule().delay(0.5, job_id="it")
    await crash_while_it_runs(app, virtual_clock, times=1)
    async with app:
        job = await app.get_job("it")
        assert job is not None
        run = await job.wait()
    assert run is not None
    assert run.attempts == retries + 1
