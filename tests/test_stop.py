"""Starting and stopping: states, grace, and what is left behind."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from jobify import ApplicationStateError, Jobify, JobStatus, StorageError, SystemClock
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import TransitionLog, VirtualClock


async def test_is_used_while_it_runs(app: Jobify) -> None:
    """Before the start and after the stop, every use is refused with what to do."""

    @app.task
    async def nothing() -> None: ...

    uses: list[Callable[[], Awaitable[Any]]] = [
        nothing.push,
        lambda: nothing.schedule().delay(1),
        lambda: nothing.schedule().every(1, job_id="x"),
        lambda: app.get_job("x"),
        app.jobs,
        app.wait_all,
    ]
    for use in uses:
        with pytest.raises(ApplicationStateError, match="async with app"):
            await use()
    async with app:
        pass
    for use in uses:
        with pytest.raises(ApplicationStateError, match="async with app"):
            await use()


async def test_a_second_start_is_refused(app: Jobify) -> None:
    """An app that runs cannot be started, and goes on running."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        with pytest.raises(ApplicationStateError, match="running"):
            await app.start()
        await (await nothing.push())


async def test_concurrent_starts_and_stops(app: Jobify) -> None:
    """Of concurrent starts one wins; concurrent stops are one stop; a stop too many is harmless."""
    results = await asyncio.gather(*(app.start() for _ in range(3)), return_exceptions=True)
    assert sorted(str(type(result).__name__) for result in results) == [
        "ApplicationStateError", "ApplicationStateError", "NoneType",
    ]  # fmt: skip
    await asyncio.gather(*(app.stop() for _ in range(3)))
    await app.stop()
    assert app.health().state == "stopped"


async def test_running_jobs_get_their_grace(storage: Storage, virtual_clock: VirtualClock) -> None:
    """A stop waits for running jobs, as long as the grace lasts and no longer than they take."""
    app = Jobify(storage=storage, shutdown_grace=15)

    @app.task
    async def nap() -> str:
        await asyncio.sleep(10)
        return "slept"

    async with app:
        job = await nap.push()
        await asyncio.sleep(1)
    assert virtual_clock.monotonic() == 10
    assert job.result() == "slept"


async def test_a_durable_run_that_outlasts_the_grace_runs_again(
    storage: Storage, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A run cut short by a stop goes back to SCHEDULED, and the next start runs it; no attempt is counted."""
    app = Jobify(storage=storage, shutdown_grace=15)
    naps = iter([100, 1])

    @app.task
    async def nap() -> str:
        await asyncio.sleep(next(naps))
        return "slept"

    async with app:
        await nap.schedule().delay(0, job_id="nap")
        await asyncio.sleep(1)
    assert virtual_clock.monotonic() == 16
    async with app:
        job = await app.get_job("nap")
        assert job is not None
        run = await job.wait()
        assert run is not None
        assert (run.attempts, run.result()) == (1, "slept")
    assert [(t.elapsed, t.status, t.reason) for t in job_transitions.of("nap")] == [
        (0, "scheduled", None),
        (0, "running", None),
        (16, "scheduled", "stopped"),
        (16, "scheduled", "restored"),
        (16, "running", None),
        (17, "success", None),
    ]


async def test_a_fleeting_run_that_outlasts_the_grace_is_cancelled(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A run that is not durable ends with the app, CANCELLED."""

    @app.task(durable=False)
    async def nap() -> None:
        await asyncio.sleep(100)

    async with app:
        job = await nap.push()
        await asyncio.sleep(1)
    assert (job.status, virtual_clock.monotonic()) == (JobStatus.CANCELLED, 16)


async def test_a_job_that_does_not_end_is_abandoned_and_named(
    storage: Storage, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that swallows its cancellation gets 5 s more; then the stop goes on without it."""
    app = Jobify(storage=storage, shutdown_grace=2)
    end = asyncio.Event()

    @app.task(name="stubborn")
    async def stubborn() -> None:
        while not end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await end.wait()

    async with app:
        await stubborn.schedule().delay(0, job_id="it")
        await asyncio.sleep(1)
    assert virtual_clock.monotonic() == 8
    assert "'it' of task 'stubborn' does not end, and is abandoned" in caplog.text
    end.set()
    await virtual_clock.settle()
    async with app:
        job = await app.get_job("it")
        assert job is not None
        await job


async def test_a_job_that_ends_by_itself_when_cancelled_has_its_own_outcome(
    storage: Storage, virtual_clock: VirtualClock
) -> None:
    """A body that returns in spite of the cancellation of a stop has succeeded, and does not run again."""
    app = Jobify(storage=storage, shutdown_grace=1)

    @app.task
    async def hurry() -> str:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return "in a hurry"
        return "at leisure"

    async with app:
        job = await hurry.push()
        await asyncio.sleep(1)
    assert job.result() == "in a hurry"
    async with app:
        assert await app.jobs() == []


async def test_nothing_starts_during_a_stop(app: Jobify, virtual_clock: VirtualClock) -> None:
    """While running jobs have their grace, no other job starts."""
    calls: list[str] = []

    @app.task
    async def nap() -> None:
        await asyncio.sleep(10)

    @app.task
    async def note() -> None:
        calls.append("too late")

    async with app:
        await nap.push()
        await note.schedule().delay(5)
        await asyncio.sleep(1)
    assert (calls, virtual_clock.monotonic()) == ([], 10)
    async with app:
        await app.wait_all()
    assert calls == ["too late"]


async def test_a_job_may_schedule_during_its_grace(app: Jobify) -> None:
    """During the grace a running job may schedule what the next start runs, if that is durable."""
    errors: list[Exception] = []

    @app.task
    async def follow_up() -> None: ...

    @app.task(durable=False)
    async def fleeting() -> None: ...

    @app.task
    async def nap() -> None:
        await asyncio.sleep(10)
        await follow_up.schedule().delay(0, job_id="follow up")
        try:
            await fleeting.push()
        except ApplicationStateError as error:
            errors.append(error)

    async with app:
        await nap.push()
        await asyncio.sleep(1)
    assert len(errors) == 1
    async with app:
        assert [job.id for job in await app.jobs()] == ["follow up"]


async def test_a_cancelled_stop_goes_on(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Who is cancelled while stopping gives up the waiting; the app stops all the same."""

    @app.task
    async def nap() -> None:
        await asyncio.sleep(10)

    await app.start()
    await nap.push()
    await asyncio.sleep(1)
    stopper = asyncio.ensure_future(app.stop())
    await asyncio.sleep(1)
    stopper.cancel()
    await asyncio.sleep(20)
    assert app.health().state == "stopped"
    async with app:
        assert await app.jobs() == []


async def stop_here(app: Jobify) -> None:
    """Stop the app in the very task of the caller."""
    await app.stop()


async def stop_in_a_task(app: Jobify) -> None:
    """Stop the app in a task of one's own."""
    await asyncio.gather(app.stop())


async def stop_twice(app: Jobify) -> None:
    """Stop the app when somebody else is at it already."""
    await app.stop()
    await app.stop()


@pytest.mark.parametrize("stop", [stop_here, stop_in_a_task, stop_twice])
async def test_a_job_that_stops_its_own_app(
    app: Jobify,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    stop: Callable[[Jobify], Awaitable[None]],
) -> None:
    """Inside a job a stop returns at once: the job goes on, ends with its outcome, and the app is stopped behind it."""

    @app.task
    async def stop_all() -> str:
        await stop(app)
        assert app.health().state == "stopping"
        await asyncio.sleep(3)
        return "goodbye"

    await app.start()
    job = await stop_all.push()
    await app.wait_all()
    await app.stop()
    assert app.health().state == "stopped"
    assert job.result() == "goodbye"
    assert job_transitions.timeline(job) == [(0, "scheduled"), (0, "running"), (3, "success")]
    async with app:
        assert await app.jobs() == []


async def test_a_thread_job_that_stops_its_own_app(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A thread that has the loop stop the app is inside a job, too."""
    loop = asyncio.get_running_loop()

    @app.task
    def stop_all() -> str:
        asyncio.run_coroutine_threadsafe(app.stop(), loop).result()
        return "goodbye"

    await app.start()
    job = await stop_all.push()
    await job.wait()
    await app.stop()
    assert job.result() == "goodbye"
    assert asyncio.get_running_loop().time() == 0


async def test_jobs_that_stop_their_app_wait_for_nobody(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Two jobs that stop the app do not wait for each other, and their app gives a third its grace."""

    @app.task
    async def stop_all() -> None:
        await asyncio.sleep(1)
        await app.stop()

    @app.task
    async def nap() -> str:
        await asyncio.sleep(5)
        return "rested"

    await app.start()
    napping, *stopping = [await nap.push(), await stop_all.push(), await stop_all.push()]
    await asyncio.sleep(2)
    assert [job.status for job in stopping] == [JobStatus.SUCCESS, JobStatus.SUCCESS]
    assert app.health().state == "stopping"
    await app.stop()
    assert napping.result() == "rested"
    assert asyncio.get_running_loop().time() == 5


async def test_what_outlives_its_job_waits_for_a_stop(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A task that a job has begun and left behind is not inside of it any more: its stop is a stop like any other."""
    tasks: list[asyncio.Task[str]] = []

    async def watch() -> str:
        await asyncio.sleep(1)
        await app.stop()
        return app.health().state

    @app.task
    async def begin() -> None:
        tasks.append(asyncio.create_task(watch()))

    await app.start()
    await (await begin.push())
    assert await tasks[0] == "stopped"


async def test_a_job_that_stops_another_app_waits_for_it(virtual_clock: VirtualClock) -> None:
    """Inside a job of one app another one is started and stopped as anywhere; its own is running already."""
    outer, inner = Jobify(storage=MemoryStorage()), Jobify(storage=MemoryStorage())

    @inner.task
    async def nap() -> str:
        await asyncio.sleep(5)
        return "rested"

    @outer.task
    async def use() -> str:
        async with inner:
            job = await nap.push()
            await asyncio.sleep(1)
        assert inner.health().state == "stopped"
        with pytest.raises(ApplicationStateError, match="it is running"):
            await outer.start()
        return job.result()

    async with outer:
        assert await (await use.push()) == "rested"


@pytest.mark.parametrize("status", [JobStatus.RUNNING, JobStatus.SUCCESS])
async def test_a_listener_that_stops_its_app(app: Jobify, virtual_clock: VirtualClock, status: JobStatus) -> None:
    """A listener cannot wait, but may begin a task that stops the app, and that waits for the job it heard of."""
    stops: list[asyncio.Task[str]] = []

    async def stop() -> str:
        await app.stop()
        return app.health().state

    def listen(event: object) -> None:
        if getattr(event, "status", None) is status:
            stops.append(asyncio.create_task(stop()))

    @app.task
    async def nap() -> str:
        await asyncio.sleep(5)
        return "rested"

    app.subscribe(listen)
    await app.start()
    job = await nap.push()
    await job.wait()
    assert [await stop for stop in stops] == ["stopped"]
    assert job.result() == "rested"


async def test_many_jobs_that_end_while_the_app_stops(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Jobs that end at the very end of the grace are finished or put back, each of them whole."""
    done: list[int] = []

    @app.task
    async def nap(n: int) -> None:
        await asyncio.sleep(5 + n % 20)
        done.append(n)

    async with app:
        jobs = [await nap.push(n) for n in range(100)]
        await asyncio.sleep(1)
    finished = [n for n, job in enumerate(jobs) if job.status is JobStatus.SUCCESS]
    assert sorted(done) == finished == [n for n in range(100) if 5 + n % 20 <= 16]
    async with app:
        assert len(await app.jobs()) == 100 - len(finished)
        await app.wait_all()
    assert sorted(set(done)) == list(range(100))


async def test_a_start_that_fails_leaves_the_app_stopped(virtual_clock: VirtualClock) -> None:
    """When the storage cannot be opened the app stays stopped, and can be started later."""
    storage = MemoryStorage()
    first, second = Jobify(storage=storage), Jobify(storage=storage)
    async with first:
        with pytest.raises(StorageError, match="open already"):
            await second.start()
        assert second.health().state == "stopped"
        assert first.health().ok
    async with second:
        assert second.health().ok


async def test_a_cancelled_start_leaves_the_app_stopped(virtual_clock: VirtualClock) -> None:
    """Who is cancelled while starting leaves a stopped app and a closed storage, wherever it was."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task(every=10)
    async def often() -> None: ...

    for steps in range(15):
        starter = asyncio.ensure_future(app.start())
        for _ in range(steps):
            await asyncio.sleep(0)
        starter.cancel()
        await asyncio.wait([starter])
        if starter.cancelled():
            assert app.health().state == "stopped"
        else:
            await app.stop()
    async with app:
        assert [job.task for job in await app.jobs()] == [often.name]


async def test_a_system_clock_is_refused_on_a_virtual_loop(virtual_clock: VirtualClock) -> None:
    """A `SystemClock` that is given on a loop with a clock of its own is refused, with the remedy."""
    app = Jobify(storage=MemoryStorage(), clock=SystemClock())
    with pytest.raises(ApplicationStateError, match="leave clock= out"):
        await app.start()
    assert app.health().state == "stopped"


async def test_a_clock_that_is_given_is_used(virtual_clock: VirtualClock) -> None:
    """`Jobify(clock=...)` takes the place of the clock of the loop."""
    app = Jobify(storage=MemoryStorage(), clock=virtual_clock)

    @app.task
    async def nothing() -> None: ...

    async with app:
        await (await nothing.schedule().delay(10))
    assert virtual_clock.monotonic() == 10


async def test_health_says_how_the_app_is(app: Jobify) -> None:
    """`health()` can be asked at any time."""

    @app.task
    async def nap() -> None:
        await asyncio.sleep(10)

    assert (app.health().state, app.health().ok) == ("stopped", False)
    async with app:
        await nap.push()
        await nap.schedule().delay(100)
        await asyncio.sleep(1)
        health = app.health()
        assert (health.state, health.ok, health.running, health.scheduled) == ("running", True, 1, 1)
        assert (health.storage_error, health.held) == (None, {})
    assert repr(app) == "<Jobify: stopped, 1 tasks>"


@pytest.mark.parametrize("option", ["max_concurrency", "max_threads", "max_processes"])
@pytest.mark.parametrize("number", [0, -1, 1.5, True, "4"])
def test_refuses_what_is_no_number_of_slots(option: str, number: int) -> None:
    """The number of slots is a whole number from 1."""
    options: dict[str, Any] = {option: number}
    with pytest.raises(ValueError, match="whole number from 1"):
        Jobify(**options)


@pytest.mark.parametrize("tz", ["Mars/Olympus", "", "../etc/passwd", 5, None, "America"])
def test_refuses_what_is_no_zone(tz: str) -> None:
    """An unknown zone is refused when the app is made."""
    with pytest.raises(ValueError, match="as tz"):
        Jobify(tz=tz)


def test_refuses_what_is_no_grace() -> None:
    """The grace of a stop is a duration."""
    with pytest.raises(ValueError, match="shutdown_grace"):
        Jobify(shutdown_grace=-1)
