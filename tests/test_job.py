"""The handle of a job: what it says, and waiting for it."""

import asyncio
import pickle
from datetime import UTC, datetime

import pytest

from jobify import (
    ApplicationStateError,
    Job,
    JobCancelledError,
    JobFailedError,
    Jobify,
    JobNotCompletedError,
    JobStatus,
    Run,
)
from jobify_testing import VirtualClock


def test_is_not_made_by_hand() -> None:
    """`Job()` is refused, and says how a job is made."""
    with pytest.raises(TypeError, match="schedule"):
        Job()


def test_statuses_are_lower_case_words() -> None:
    """A status is its own word in lower case."""
    assert [str(status) for status in JobStatus] == [
        "scheduled", "running", "cancelled", "success", "failed", "timeout", "permanently_failed",
    ]  # fmt: skip


async def test_result_is_there_when_the_job_has_succeeded(app: Jobify) -> None:
    """Before completion there is no result; afterwards it can be read any number of times."""

    @app.task
    async def nap() -> str:
        await asyncio.sleep(1)
        return "slept"

    async with app:
        job = await nap.schedule().delay(1)
        with pytest.raises(JobNotCompletedError, match="scheduled"):
            job.result()
        await asyncio.sleep(1.5)
        with pytest.raises(JobNotCompletedError, match="running"):
            job.result()
        assert await job == "slept"
        assert (job.result(), job.result()) == ("slept", "slept")


async def test_result_of_a_failure_wraps_the_original_exception(app: Jobify) -> None:
    """`JobFailedError` says what happened, and its cause is the very exception."""
    original = ZeroDivisionError("by nothing")

    @app.task
    async def fail() -> None:
        raise original

    async with app:
        job = await fail.push()
        run = await job.wait()

    assert job.status is JobStatus.FAILED
    assert run is not None
    for question in (job.result, run.result):
        with pytest.raises(JobFailedError, match="by nothing") as caught:
            question()
        assert caught.value.__cause__ is original


async def test_await_raises_what_result_raises(app: Jobify) -> None:
    """`await job` is `wait()` and the result of that run."""

    @app.task
    async def fail() -> None:
        raise ValueError

    async with app:
        job = await fail.push()
        with pytest.raises(JobFailedError):
            await job


async def test_a_run_says_when_and_how_it_was(app: Jobify) -> None:
    """A run has its due time, its start, its end, its attempts and its value."""

    @app.task
    async def nap() -> int:
        await asyncio.sleep(2)
        return 7

    async with app:
        job = await nap.schedule().delay(10)
        assert job.last_run is None
        run = await job.wait()

    assert run is not None
    assert run == Run(
        job_id=job.id,
        status=JobStatus.SUCCESS,
        scheduled_for=datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC),
        started_at=datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC),
        finished_at=datetime(2026, 1, 1, 0, 0, 12, tzinfo=UTC),
        attempts=1,
        error=None,
        value=7,
    )
    assert job.last_run is run
    assert run.result() == 7


async def test_wait_on_a_finished_job_returns_at_once(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`wait()` on a finished job takes no time, also after the stop of the app."""

    @app.task
    async def nothing() -> int:
        return 1

    async with app:
        job = await nothing.push()
        await job
        assert (await job.wait()) is job.last_run
    assert (await job.wait()) is job.last_run
    assert virtual_clock.monotonic() == 0


async def test_any_number_may_wait_and_a_cancelled_one_harms_nobody(app: Jobify) -> None:
    """All waiters get the same run; one that is cancelled takes nobody with it."""

    @app.task
    async def nap() -> str:
        await asyncio.sleep(10)
        return "done"

    async with app:
        job = await nap.push()
        waiters = [asyncio.ensure_future(job.wait()) for _ in range(5)]
        await asyncio.sleep(1)
        waiters[2].cancel()
        results = await asyncio.gather(*waiters, return_exceptions=True)

    assert isinstance(results[2], asyncio.CancelledError)
    assert [result for result in results if result is job.last_run] == [job.last_run] * 4
    assert job.status is JobStatus.SUCCESS


async def test_wait_returns_none_for_a_job_cancelled_before_any_run(app: Jobify) -> None:
    """A cancelled job releases its waiters, and has no run to give them."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(10)
        waiter = asyncio.ensure_future(job.wait())
        await asyncio.sleep(1)
        assert await job.cancel()
        assert await waiter is None
        with pytest.raises(JobCancelledError):
            await job
        with pytest.raises(JobNotCompletedError):
            job.result()


async def test_says_who_it_is(app: Jobify) -> None:
    """The representation of a job names it, its task, its status and its time."""

    @app.task(name="greet")
    async def greet() -> None: ...

    async with app:
        job = await greet.schedule().delay(10, job_id="hello")
        assert repr(job) == "<Job 'hello' of 'greet': scheduled, exec_at=2026-01-01T00:00:10+00:00>"
        assert (job.id, job.task, job.attempt, job.cron_expression, job.held) == ("hello", "greet", 0, None, None)


async def test_two_handles_of_one_job_are_equal(app: Jobify) -> None:
    """`get_job` gives a handle of the same job, equal to the first and with the same hash."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(10)
        other = await nothing.schedule().delay(10)
        found = await app.get_job(job.id)
        assert found == job
        assert hash(found) == hash(job)
        assert found != other
        assert job != "job"


async def test_cannot_be_pickled(app: Jobify) -> None:
    """A handle belongs to one start of one app: pickling it is refused, with the remedy."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.push()
        with pytest.raises(TypeError, match="get_job"):
            pickle.dumps(job)


async def test_finished_jobs_are_not_kept(app: Jobify) -> None:
    """The app knows a job until it has finished; the handle goes on to say how it ended."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(1)
        assert await app.jobs() == [job]
        await job
        assert await app.jobs() == []
        assert await app.get_job(job.id) is None
        assert job.is_done()


async def test_jobs_are_listed_in_order_and_filtered(app: Jobify) -> None:
    """`jobs()` lists what is not finished, in the order of scheduling, by task and by status."""

    @app.task(name="one")
    async def one() -> None:
        await asyncio.sleep(100)

    @app.task(name="two")
    async def two() -> None: ...

    async with app:
        first = await one.push()
        second = await two.schedule().delay(20)
        third = await one.schedule().delay(10)
        await asyncio.sleep(1)

        assert await app.jobs() == [first, second, third]
        assert await app.jobs(task=one) == [first, third]
        assert await app.jobs(task="two") == [second]
        assert await app.jobs(status=JobStatus.RUNNING) == [first]
        assert await app.jobs(task=two, status=JobStatus.RUNNING) == []


async def test_wait_all_waits_for_one_time_jobs_and_those_they_schedule(
    app: Jobify, virtual_clock: VirtualClock
) -> None:
    """`wait_all` returns when no one-time job is left; recurring ones do not count."""

    @app.task
    async def chain(n: int) -> None:
        if n:
            await chain.schedule(n - 1).delay(10)

    async with app:
        await chain.schedule(0).every(7, job_id="for ever")
        await chain.push(3)
        await app.wait_all()
        assert virtual_clock.monotonic() == 30


async def test_wait_all_gives_up_after_its_timeout(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`wait_all(timeout=...)` raises `TimeoutError` at its time, and leaves the jobs alone."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(100)
        with pytest.raises(TimeoutError, match="60 s"):
            await app.wait_all(timeout=60)
        assert virtual_clock.monotonic() == 60
        await app.wait_all(timeout=41)
        assert job.is_done()
        await app.wait_all(timeout=0)


async def test_a_stop_releases_who_waits_for_a_stored_job(app: Jobify) -> None:
    """`wait()` on a job that stays stored ends with the stop, and says what to do."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(100)
        waiter = asyncio.ensure_future(job.wait())
        await asyncio.sleep(1)

    with pytest.raises(ApplicationStateError, match="get_job"):
        await waiter
    with pytest.raises(ApplicationStateError, match="get_job"):
        await job.wait()
    with pytest.raises(ApplicationStateError, match="get_job"):
        await job.cancel()
    assert not job.is_done()
