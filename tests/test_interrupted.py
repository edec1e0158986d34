"""Tasks that somebody cancels from outside, as `asyncio.run` does at the end: nothing is lost, nobody hangs."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from jobify import ApplicationStateError, Jobify, JobStatus
from jobify.storage import SQLiteStorage, Storage
from jobify_testing import VirtualClock


def cancel_all_others() -> None:
    """Cancel every task of the loop but this one."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


def task_of(job_id: str) -> asyncio.Task[Any] | None:
    """Return the task of a run: it bears the id of its job."""
    return next((task for task in asyncio.all_tasks() if task.get_name() == job_id), None)


def cancel_run(job_id: str) -> None:
    """Cancel the task of a run."""
    task = task_of(job_id)
    assert task is not None
    task.cancel()


async def test_a_graceful_stop_after_an_interruption_is_no_crash(app: Jobify, virtual_clock: VirtualClock) -> None:
    """However often a run is interrupted, a stop in good order never counts towards the three crashes."""
    calls: list[int] = []

    @app.task
    async def nap() -> None:
        calls.append(1)
        await asyncio.sleep(100)

    async with app:
        await nap.schedule().delay(0, job_id="it")
        await virtual_clock.advance(1)
        cancel_run("it")
    for number in range(2, 7):
        async with app:
            await virtual_clock.advance(1)
            job = await app.get_job("it")
            assert job is not None
            assert (job.held, job.attempt, len(calls)) == (None, 1, number)
            cancel_run("it")


async def test_wait_all_does_not_wait_for_who_has_left(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job that was interrupted is not waited for, before and while it happens; the others are."""

    @app.task
    async def nap(seconds: int) -> None:
        await asyncio.sleep(seconds)

    async with app:
        await nap.schedule(10).delay(0, job_id="first")
        await nap.schedule(20).delay(0, job_id="second")
        waiter = asyncio.ensure_future(app.wait_all())
        await asyncio.sleep(1)
        cancel_run("first")
        await waiter
        assert virtual_clock.monotonic() == 20
        await app.wait_all()
        assert [job.id for job in await app.jobs()] == ["first"]


async def test_wait_all_says_so_if_the_app_is_stopped(app: Jobify) -> None:
    """Who waits for jobs that a stop leaves behind is told."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        await nothing.schedule().delay(100)
        waiter = asyncio.ensure_future(app.wait_all())
        await asyncio.sleep(1)
    with pytest.raises(ApplicationStateError, match="the app was stopped"):
        await waiter


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("steps", range(8))
async def test_a_run_that_is_cancelled_before_its_body_is_interrupted(
    storage: Storage, *, durable: bool, steps: int, virtual_clock: VirtualClock
) -> None:
    """A cancellation strikes a run like any other before its body has begun: it is put back, or CANCELLED."""
    app = Jobify(storage=storage, max_concurrency=1)
    calls: list[str] = []

    @app.task(durable=durable)
    async def nap(name: str) -> None:
        calls.append(name)
        await asyncio.sleep(5)

    async with app:
        job = await nap.schedule("it").delay(10, job_id="it")
        await nap.schedule("next").delay(12, job_id="next")
        waiter = asyncio.ensure_future(job.wait())
        await asyncio.sleep(10)
        while task_of("it") is None:  # the order at one instant may be a random one
            await asyncio.sleep(0)
        for _ in range(steps):
            await asyncio.sleep(0)
        cancel_run("it")
        await virtual_clock.settle()
        if durable:
            with pytest.raises(ApplicationStateError, match="next start"):
                await waiter
            assert (job.status, job.attempt) == (JobStatus.SCHEDULED, 0)
        else:
            assert await waiter is None
            assert job.status is JobStatus.CANCELLED
        await app.wait_all()  # the slot is free again
        assert virtual_clock.monotonic() == 17
    async with app:
        assert [found.id for found in await app.jobs()] == (["it"] if durable else [])
        await app.wait_all()
    assert calls.count("next") == 1
    assert calls[-1] == ("it" if durable else "next")


@pytest.mark.parametrize("steps", range(20))
async def test_who_cancels_all_tasks_cuts_nothing_in_two(
    storage: Storage, steps: int, virtual_clock: VirtualClock
) -> None:
    """At whatever moment all tasks are cancelled: what was accepted is found, and runs to its end at the next start."""
    app = Jobify(storage=storage)
    ended: list[str] = []
    accepted: list[str] = []

    @app.task(retry=1)
    async def work(name: str) -> None:
        await asyncio.sleep(0)
        ended.append(name)

    async def order(name: str, delay: float) -> None:
        await work.schedule(name).delay(delay, job_id=name)
        accepted.append(name)

    await app.start()
    await order("waits", 100)
    await order("is due", 10)
    await order("is called off", 50)
    called_off = await app.get_job("is called off")
    assert called_off is not None
    await asyncio.sleep(10)
    orders = [asyncio.ensure_future(order(f"new {n}", n)) for n in range(2)]
    callers = [*orders, asyncio.ensure_future(called_off.cancel())]
    for _ in range(steps):
        await asyncio.sleep(0)
    cancel_all_others()
    await asyncio.wait(callers)
    await virtual_clock.settle()
    found = {job.id for job in await app.jobs()}
    assert set(accepted) - set(ended) - {"is called off"} <= found
    assert called_off.is_done() is ("is called off" not in found)
    await app.stop()
    async with app:
        assert {job.id for job in await app.jobs()} == found
        await app.wait_all()
    assert sorted(set(ended)) == sorted(found | set(ended))
    assert len(ended) == len(set(ended))


@pytest.mark.parametrize("steps", range(1, 12))
async def test_a_stop_that_is_cancelled_from_outside_releases_everybody(
    storage: Storage, steps: int, virtual_clock: VirtualClock
) -> None:
    """Who cancels all tasks while the app stops leaves a stopped app, a closed storage, and nobody who waits."""
    app = Jobify(storage=storage, shutdown_grace=5)

    @app.task
    async def nap() -> None:
        await asyncio.sleep(1000)

    await app.start()
    running, waiting = await nap.push(), await nap.schedule().delay(100)
    await asyncio.sleep(1)
    stopper = asyncio.ensure_future(app.stop())
    for _ in range(steps):
        await asyncio.sleep(0)
    cancel_all_others()
    await asyncio.wait([stopper])
    await virtual_clock.settle()
    assert app.health().state == "stopped"
    for job in (running, waiting):
        with pytest.raises(ApplicationStateError):
            await job.wait()
    async with app:
        assert {(job.id, job.held) for job in await app.jobs()} == {(running.id, None), (waiting.id, None)}


@pytest.mark.slow
def test_the_end_of_a_program_that_did_not_stop_its_app(tmp_path: Path) -> None:
    """A program that just ends, while jobs run, wait and are being written, does end; and the next one finds them."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "jobs.db"))
    started = asyncio.Event()
    naps = {"runs": 3600, "waits": 0, "is written": 0}
    ended: list[str] = []

    @app.task
    async def nap(name: str) -> None:
        started.set()
        await asyncio.sleep(naps[name])
        ended.append(name)

    async def forget_to_stop() -> None:
        await app.start()
        await nap.schedule("waits").delay(0.5)
        await nap.push("runs")
        await started.wait()
        writes = asyncio.ensure_future(nap.schedule("is written").delay(0.5))
        await asyncio.sleep(0)
        assert not writes.done()

    async def go_on() -> None:
        naps["runs"] = 0
        async with app:
            assert [job.held for job in await app.jobs()] == [None] * 3
            await app.wait_all()

    asyncio.run(forget_to_stop())
    assert ended == []
    asyncio.run(go_on())
    assert sorted(ended) == ["is written", "runs", "waits"]
