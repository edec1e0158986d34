"""What survives a stop and a start, and in what state."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from jobify import ApplicationStateError, Jobify, JobStatus, Retry
from jobify.storage import SQLiteStorage, Storage
from jobify_testing import TransitionLog, VirtualClock, VirtualLoop


async def test_pending_jobs_survive(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job that waits runs after a restart at its time, with its arguments, under its id."""
    calls: list[tuple[float, str]] = []

    @app.task
    async def note(text: str) -> None:
        calls.append((virtual_clock.monotonic(), text))

    async with app:
        await note.schedule("delayed").delay(100, job_id="delayed")
        await note.schedule("at").at(datetime(2026, 1, 1, 0, 2, tzinfo=UTC))
    async with app:
        found = await app.get_job("delayed")
        assert found is not None
        assert (found.status, found.exec_at) == (JobStatus.SCHEDULED, datetime(2026, 1, 1, 0, 1, 40, tzinfo=UTC))
        await app.wait_all()
    assert calls == [(100, "delayed"), (120, "at")]


async def test_overdue_jobs_run_at_the_start_in_order(app: Jobify, virtual_clock: VirtualClock) -> None:
    """What became due while the app was down runs as soon as it is up, the earliest first."""
    calls: list[int] = []

    @app.task
    async def note(n: int) -> None:
        calls.append(n)

    async with app:
        for n in (3, 1, 2):
            await note.schedule(n).delay(n)
    await virtual_clock.advance(1000)
    assert calls == []
    async with app:
        await virtual_clock.settle()
    assert calls == [1, 2, 3]
    assert virtual_clock.monotonic() == 1000


async def test_jobs_of_one_instant_keep_their_order(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The order of scheduling holds over a restart."""
    calls: list[int] = []

    @app.task
    async def note(n: int) -> None:
        calls.append(n)

    async with app:
        for n in range(10):
            await note.schedule(n).delay(10)
    async with app:
        await app.wait_all()
    assert calls == list(range(10))


async def test_finished_and_fleeting_jobs_do_not_come_back(app: Jobify, job_transitions: TransitionLog) -> None:
    """Finished jobs have left the storage; jobs that are not durable end with their app, CANCELLED."""

    @app.task
    async def nothing() -> None: ...

    @app.task(durable=False)
    async def fleeting() -> None: ...

    async with app:
        await (await nothing.push())
        job = await fleeting.schedule().delay(100)
        waiter = asyncio.ensure_future(job.wait())
        await asyncio.sleep(1)
    assert await waiter is None
    assert job.status is JobStatus.CANCELLED
    assert job_transitions.of(job)[-1].reason == "stopped"
    async with app:
        assert await app.jobs() == []


async def test_a_backoff_goes_on(app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """A job that was stopped in backoff makes its next attempt at the same time, with the same number."""

    @app.task(retry=Retry(2, delay=50, factor=1, jitter=False))
    async def fail() -> None:
        raise ValueError

    async with app:
        await fail.schedule().delay(0, job_id="it")
        await virtual_clock.advance(30)
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert job.attempt == 1
        run = await job.wait()
        assert run is not None
        assert (run.attempts, run.started_at) == (3, datetime(2026, 1, 1, tzinfo=UTC))
    running = [transition for transition in job_transitions.of("it") if transition.status is JobStatus.RUNNING]
    assert [(transition.elapsed, transition.attempt) for transition in running] == [(0, 1), (50, 2), (100, 3)]


async def test_a_row_whose_task_is_not_registered_is_kept(
    storage: Storage, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A job of an unknown task is held and reported, never deleted, and comes back with its task."""
    with_task, without = Jobify(storage=storage), Jobify(storage=storage)

    @with_task.task(name="answer")
    async def answer() -> int:
        return 42

    async with with_task:
        await answer.schedule().delay(10, job_id="it")
    async with without:
        (job,) = await without.jobs()
        assert job.held == "task 'answer' is not registered"
        assert "held=" in repr(job)
        assert without.health().held == {"it": "task 'answer' is not registered"}
        await without.wait_all()
        await virtual_clock.advance(100)
        assert job.status is JobStatus.SCHEDULED
    assert "'answer' is not registered" in caplog.text
    async with with_task:
        found = await with_task.get_job("it")
        assert found is not None
        assert await found == 42


async def test_a_held_job_can_be_cancelled(storage: Storage, virtual_clock: VirtualClock) -> None:
    """Who does not want a held job any more cancels it."""
    with_task, without = Jobify(storage=storage), Jobify(storage=storage)

    @with_task.task(name="nothing")
    async def nothing() -> None: ...

    async with with_task:
        await nothing.schedule().delay(10)
    async with without:
        (job,) = await without.jobs()
        assert await job.cancel()
    async with with_task:
        assert await with_task.jobs() == []


async def test_arguments_that_fit_no_more_hold_the_job(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A job whose stored arguments do not fit the new signature is held at its time, and its row is kept."""
    before, after = (Jobify(storage=SQLiteStorage("shared.db")) for _ in range(2))

    @before.task(name="greet")
    async def greet(name: str) -> None: ...

    @after.task(name="greet")
    async def greet_anew(first: str, last: str) -> None: ...

    async with before:
        await greet.schedule("Ada").delay(10, job_id="it")
    async with after:
        await virtual_clock.advance(20)
        (job,) = await after.jobs()
        assert job.held is not None
        assert "do not fit" in job.held
    assert "is held" in caplog.text
    async with before:
        found = await before.get_job("it")
        assert found is not None
        await found


async def test_a_delay_is_never_longer_than_was_asked_for(storage: Storage, virtual_clock: VirtualClock) -> None:
    """After a restart a delay lasts what is left of it."""
    app = Jobify(storage=storage)

    @app.task
    async def nothing() -> None: ...

    async with app:
        await nothing.schedule().delay(timedelta(hours=1), job_id="it")
        await virtual_clock.advance(minutes=20)
    await virtual_clock.advance(minutes=20)
    async with app:
        job = await app.get_job("it")
        assert job is not None
        await job
    assert virtual_clock.monotonic() == 3600


async def test_the_same_app_starts_again_on_another_loop() -> None:
    """An app object has as many starts as you like, each on the loop that runs then."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task(every=3600)
    async def often() -> None: ...

    for _ in range(3):

        def run() -> list[str]:
            async def main() -> list[str]:
                async with app:
                    return [job.task for job in await app.jobs()]

            with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                return runner.run(main())

        assert await asyncio.to_thread(run) == [often.name]


async def test_a_start_that_lost_its_loop_is_no_hindrance(virtual_clock: VirtualClock) -> None:
    """After a loop was closed under a running app, the app starts anew."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def nothing() -> None: ...

    def crash() -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(app.start())

    await asyncio.to_thread(crash)
    with pytest.raises(ApplicationStateError):
        await nothing.push()
    async with app:
        await (await nothing.push())
