"""Cancelling: what has not started is stopped, what runs or has run is left alone."""

import asyncio

import pytest

from jobify import Jobify, JobStatus, Retry
from jobify_testing import TransitionLog, VirtualClock


async def test_a_waiting_job_is_cancelled_and_gone_from_storage(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job that has not started is CANCELLED, does not run, and does not come back after a restart."""
    calls: list[int] = []

    @app.task
    async def note() -> None:
        calls.append(1)

    async with app:
        job = await note.schedule().delay(10, job_id="note")
        assert await job.cancel() is True
        assert job.status is JobStatus.CANCELLED
        assert job.is_done()
        assert await app.get_job("note") is None
        await virtual_clock.advance(100)
    async with app:
        assert await app.jobs() == []
    assert calls == []


async def test_cancel_has_no_effect_on_a_running_job(app: Jobify) -> None:
    """A one-time job that runs goes on, and `cancel` says False."""

    @app.task
    async def nap() -> str:
        await asyncio.sleep(10)
        return "slept"

    async with app:
        job = await nap.push()
        await asyncio.sleep(1)
        assert await job.cancel() is False
        assert job.status is JobStatus.RUNNING
        assert await job == "slept"


async def test_cancel_has_no_effect_on_a_finished_job(app: Jobify, job_transitions: TransitionLog) -> None:
    """A finished job keeps its status and its result, however often it is cancelled."""

    @app.task
    async def answer() -> int:
        return 42

    async with app:
        job = await answer.push()
        await job
        assert await job.cancel() is False
        assert await job.cancel() is False
        assert (job.status, job.result()) == (JobStatus.SUCCESS, 42)
    assert await job.cancel() is False
    assert len(job_transitions.of(job)) == 3


async def test_cancelling_twice_tells_once(app: Jobify, job_transitions: TransitionLog) -> None:
    """Of two concurrent cancellations one has the effect."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(10)
        assert sorted(await asyncio.gather(job.cancel(), job.cancel())) == [False, True]
        assert await job.cancel() is False
    assert job_transitions.timeline(job) == [(0, "scheduled"), (0, "cancelled")]


async def test_a_job_in_backoff_is_cancelled(app: Jobify, job_transitions: TransitionLog) -> None:
    """A job that waits for its next attempt has not started it, and can be cancelled."""

    @app.task(retry=Retry(5, delay=10, jitter=False))
    async def fail() -> None:
        raise ValueError

    async with app:
        job = await fail.push(*())
        await asyncio.sleep(5)
        assert await job.cancel() is True
        assert await job.wait() is None
    assert job_transitions.timeline(job) == [(0, "scheduled"), (0, "running"), (0, "scheduled"), (5, "cancelled")]


async def test_a_job_cancels_itself(app: Jobify) -> None:
    """A one-time job that cancels itself while it runs just goes on."""

    @app.task
    async def cancel_me() -> bool:
        job = await app.get_job("me")
        assert job is not None
        return await job.cancel()

    async with app:
        job = await cancel_me.schedule().delay(1, job_id="me")
        assert await job is False
        assert job.status is JobStatus.SUCCESS


async def test_a_recurring_job_between_runs_is_cancelled(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A recurring job that waits is cancelled like any other, and keeps the result of its last run."""

    @app.task
    async def count() -> int:
        return 1

    async with app:
        job = await count.schedule().every(10, job_id="count")
        await virtual_clock.advance(25)
        assert await job.cancel() is True
        assert (job.status, job.is_done(), job.result()) == (JobStatus.CANCELLED, True, 1)
        assert await job.wait() is job.last_run
    async with app:
        assert await app.jobs() == []


async def test_a_recurring_job_cancelled_during_a_run_finishes_it(app: Jobify, job_transitions: TransitionLog) -> None:
    """The run in progress ends with its own outcome, there is no further one, and the row is gone at once."""

    @app.task
    async def nap() -> str:
        await asyncio.sleep(4)
        return "slept"

    async with app:
        job = await nap.schedule().every(10, job_id="nap")
        await asyncio.sleep(11)
        assert await job.cancel() is True
        assert job.status is JobStatus.RUNNING
        assert await app.get_job("nap") is None
        assert await job.cancel() is False
        successor = await nap.schedule().delay(100, job_id="nap")
        run = await job.wait()
        assert run is not None
        assert run.result() == job.result() == "slept"
        assert await app.get_job("nap") == successor

    assert [status for _, status in job_transitions.timeline(job)][:4] == [
        "scheduled", "running", "scheduled", "success",
    ]  # fmt: skip
    assert (job.status, job.is_done()) == (JobStatus.CANCELLED, True)


async def test_a_recurring_job_cancels_itself(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A recurring job may end its own recurrence from inside."""
    calls: list[float] = []

    @app.task
    async def thrice() -> None:
        calls.append(virtual_clock.monotonic())
        if len(calls) == 3:
            job = await app.get_job("thrice")
            assert job is not None
            assert await job.cancel()

    async with app:
        await thrice.schedule().every(10, job_id="thrice")
        await virtual_clock.advance(100)
        assert await app.jobs() == []
    assert calls == [10, 20, 30]


async def test_cancel_at_the_very_instant_of_the_start(app: Jobify, virtual_clock: VirtualClock) -> None:
    """At its due instant a job either runs or is cancelled, never both."""
    calls: list[int] = []

    @app.task
    async def note() -> None:
        calls.append(1)

    async with app:
        job = await note.schedule().delay(10)
        await asyncio.sleep(10)
        cancelled = await job.cancel()
        await virtual_clock.settle()
        assert job.status is (JobStatus.CANCELLED if cancelled else JobStatus.SUCCESS)
        assert calls == ([] if cancelled else [1])
        assert await app.jobs() == []


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_cancel_is_whole(app: Jobify, steps: int, virtual_clock: VirtualClock) -> None:
    """A caller that is cancelled while it cancels leaves a job that is cancelled whole, or not at all."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(10, job_id="it")
        canceller = asyncio.ensure_future(job.cancel())
        for _ in range(steps):
            await asyncio.sleep(0)
        canceller.cancel()
        await virtual_clock.settle()
        gone = job.status is JobStatus.CANCELLED
        assert (await app.get_job("it") is None) is gone
    async with app:
        assert [found.id for found in await app.jobs()] == ([] if gone else ["it"])
