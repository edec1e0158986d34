"""Failed attempts, and what follows from them."""

import asyncio
from datetime import UTC, datetime

import pytest

from jobify import JobFailedError, Jobify, JobStatus, JobTimeoutError, Retry
from jobify_testing import TransitionLog, VirtualClock


async def test_retries_with_exponential_backoff(app: Jobify, job_transitions: TransitionLog) -> None:
    """`retry=3` is three more attempts; each wait is twice the one before."""

    @app.task(retry=Retry(3, delay=1, factor=2, jitter=False))
    async def fail() -> None:
        raise ValueError

    async with app:
        job = await fail.push()
        run = await job.wait()
        assert run is not None
        assert run.attempts == 4

    assert job_transitions.timeline(job) == [
        (0, "scheduled"),
        (0, "running"), (0, "scheduled"),
        (1, "running"), (1, "scheduled"),
        (3, "running"), (3, "scheduled"),
        (7, "running"), (7, "failed"),
    ]  # fmt: skip
    assert [transition.attempt for transition in job_transitions.of(job)] == [0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [transition.reason for transition in job_transitions.of(job)][2::2] == ["retry", "retry", "retry", None]


async def test_a_success_ends_the_retries(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The first attempt that succeeds is the last, and its value is the result."""
    attempts: list[float] = []

    @app.task(retry=Retry(5, delay=10, factor=1, jitter=False))
    async def third_time_lucky() -> str:
        attempts.append(virtual_clock.monotonic())
        if len(attempts) < 3:
            raise ConnectionError
        return "lucky"

    async with app:
        assert await (await third_time_lucky.push()) == "lucky"
    assert attempts == [0, 10, 20]


async def test_backoff_is_a_status_with_a_time_and_without_a_slot(virtual_clock: VirtualClock) -> None:
    """In backoff a job is SCHEDULED, `exec_at` is the end of it, and others may run meanwhile."""
    app = Jobify(max_concurrency=1)

    @app.task(retry=Retry(1, delay=60, jitter=False))
    async def fail() -> None:
        raise ValueError

    @app.task
    async def other() -> None:
        await asyncio.sleep(1)

    async with app:
        job = await fail.push()
        await virtual_clock.settle()
        assert (job.status, job.attempt) == (JobStatus.SCHEDULED, 1)
        assert job.exec_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
        await (await other.push())
        assert virtual_clock.monotonic() == 1


async def test_jitter_is_seeded(virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """Under virtual time the jitter of a backoff is the same in every run of a test."""
    app = Jobify()

    @app.task(retry=Retry(1, delay=100))
    async def fail() -> None:
        raise ValueError

    async with app:
        job = await fail.push()
        await job.wait()
    (_, first, backoff, second, _) = job_transitions.timeline(job)
    assert backoff[0] == first[0] == 0
    assert 50 <= second[0] <= 100
    assert second[0] == 55.332655546


@pytest.mark.parametrize(
    ("retry", "attempts"),
    [
        (0, 1),
        (2, 3),
        (Retry(2, delay=0, on=LookupError), 3),
        (Retry(2, delay=0, on=(OSError, KeyError)), 3),
        (Retry(2, delay=0, on=OSError), 1),
        (Retry(2, delay=0, never=KeyError), 1),
        (Retry(2, delay=0, on=LookupError, never=KeyError), 1),
        (Retry(2, delay=0, on=KeyError, never=OSError), 3),
    ],
)
async def test_on_and_never_decide_which_errors_count(app: Jobify, retry: int | Retry, attempts: int) -> None:
    """Only errors that are `on` are tried again, and `never` wins."""

    @app.task(retry=retry)
    async def fail() -> None:
        raise KeyError

    async with app:
        run = await (await fail.push()).wait()
    assert run is not None
    assert run.attempts == attempts


async def test_a_timeout_ends_an_attempt(app: Jobify, job_transitions: TransitionLog) -> None:
    """An attempt that takes longer than `timeout` is cancelled at that very instant."""
    cleaned: list[str] = []

    @app.task(timeout=30)
    async def hang() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            cleaned.append("up")

    async with app:
        job = await hang.push()
        with pytest.raises(JobFailedError) as caught:
            await job
    assert job_transitions.timeline(job)[1:] == [(0, "running"), (30, "timeout")]
    cause = caught.value.__cause__
    assert isinstance(cause, JobTimeoutError)
    assert isinstance(cause, TimeoutError)
    assert cause.seconds == 30
    assert cleaned == ["up"]


async def test_each_attempt_has_the_whole_timeout(app: Jobify, job_transitions: TransitionLog) -> None:
    """The timeout is that of an attempt, not of the job, and a timeout may be tried again."""

    @app.task(timeout=10, retry=Retry(1, delay=5, jitter=False))
    async def hang() -> None:
        await asyncio.sleep(1000)

    async with app:
        job = await hang.push()
        await job.wait()
    assert job_transitions.timeline(job)[1:] == [
        (0, "running"), (10, "scheduled"), (15, "running"), (25, "timeout"),
    ]  # fmt: skip


async def test_a_job_that_ends_before_its_timeout_is_not_touched(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A nanosecond before the limit is in time."""

    @app.task(timeout=10)
    async def nap() -> str:
        await asyncio.sleep(9.999999999)
        return "slept"

    async with app:
        assert await (await nap.push()) == "slept"


async def test_a_job_as_long_as_its_timeout_times_out(app: Jobify) -> None:
    """A job that takes exactly its timeout is too late: the limit was set first."""

    @app.task(timeout=10)
    async def nap() -> None:
        await asyncio.sleep(10)

    async with app:
        job = await nap.push()
        await job.wait()
    assert job.status is JobStatus.TIMEOUT


async def test_the_users_own_timeout_error_is_a_failure(app: Jobify) -> None:
    """A `TimeoutError` of the user's making is FAILED, with or without a `timeout`."""

    @app.task
    async def impatient() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(10)

    @app.task(timeout=100)
    async def raises() -> None:
        raise TimeoutError

    async with app:
        for task in (impatient, raises):
            job = await task.push()
            run = await job.wait()
            assert job.status is JobStatus.FAILED
            assert run is not None
            assert type(run.error) is TimeoutError


async def test_an_error_while_a_timeout_is_cleaned_up_is_still_a_timeout(app: Jobify) -> None:
    """What a body raises because it was cancelled by its timeout is the cause of the timeout error."""
    original = RuntimeError("could not clean up")

    @app.task(timeout=1)
    async def hang() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            raise original

    async with app:
        job = await hang.push()
        run = await job.wait()
    assert job.status is JobStatus.TIMEOUT
    assert run is not None
    assert isinstance(run.error, JobTimeoutError)
    assert run.error.__cause__ is original


async def test_a_body_that_swallows_its_timeout_and_returns_has_succeeded(app: Jobify) -> None:
    """As with `asyncio.timeout`, a value that is returned in spite of the cancellation counts."""

    @app.task(timeout=1)
    async def stubborn() -> str:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return "late"

    async with app:
        job = await stubborn.push()
        assert await job == "late"
