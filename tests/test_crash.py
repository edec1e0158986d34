"""Crashes on virtual time: what `kill -9` would leave, and what the next start finds."""

import asyncio
import time
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest

from jobify import ApplicationStateError, Job, Jobify, JobStatus, StorageError, Task
from jobify.storage import SQLiteStorage
from jobify_testing import TransitionLog, VirtualClock, VirtualTimeError, crash, run


async def test_waiting_jobs_survive_a_crash(app: Jobify, virtual_clock: VirtualClock) -> None:
    """What scheduling returned from is there after the crash, at its time; old handles say that they are of no use."""
    ran: list[float] = []

    @app.task
    async def work() -> None:
        ran.append(virtual_clock.monotonic())

    await app.start()
    job = await work.schedule().delay(100, job_id="it")
    waiting = asyncio.create_task(job.wait())
    await virtual_clock.advance(30)
    await crash(app)
    with pytest.raises(ApplicationStateError, match="abandoned"):
        await waiting
    with pytest.raises(ApplicationStateError, match="not running"):
        await work.push()
    await virtual_clock.advance(20)
    async with app:
        assert await app.get_job("it") is not None
        await virtual_clock.advance(49)
        assert ran == []
        await virtual_clock.advance(1)
    assert ran == [100]


async def test_a_running_job_gets_no_further_step(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The attempt in progress, its child tasks and its threads are dead; the next start runs the job again."""
    steps: list[str] = []

    async def child() -> None:
        await asyncio.sleep(20)
        steps.append("child")

    def thread() -> None:
        time.sleep(20)
        steps.append("thread")

    @app.task
    async def work() -> None:
        steps.append(f"start at {virtual_clock.monotonic():g}")
        if len(steps) == 1:
            await asyncio.gather(child(), asyncio.to_thread(thread), asyncio.create_task(child()))
            steps.append("end")

    await app.start()
    await work.schedule().delay(10, job_id="it")
    await virtual_clock.advance(15)
    await crash(app)
    await virtual_clock.advance(100)
    assert steps == ["start at 10"]
    async with app:
        await app.wait_all()
    await virtual_clock.advance(100)
    assert steps == ["start at 10", "start at 115"]


async def test_what_a_job_has_left_behind_is_dead_too(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Tasks, timers and submitted coroutines of jobs, ended ones too, get no further step; those of the test go on."""
    steps: list[str] = []
    loop = asyncio.get_running_loop()
    kept: list[object] = []

    async def tick(name: str) -> None:
        while True:
            await asyncio.sleep(10)
            steps.append(name)

    @app.task
    async def leave() -> None:
        kept.append(asyncio.create_task(tick("task of a job")))
        loop.call_later(20, steps.append, "timer of a job")

    @app.task
    def submit() -> None:
        kept.append(asyncio.run_coroutine_threadsafe(tick("coroutine of a thread"), loop))

    await app.start()
    await (await leave.push()).wait()
    await (await submit.push()).wait()
    ours = asyncio.create_task(tick("task of the test"))
    await virtual_clock.advance(10)
    assert sorted(steps) == ["coroutine of a thread", "task of a job", "task of the test"]
    await crash(app)
    steps.clear()
    loop.call_later(10, steps.append, "timer of the test")
    await virtual_clock.advance(20)
    assert steps == ["timer of the test", "task of the test", "task of the test"]
    ours.cancel()


async def test_a_job_may_crash_its_own_app(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job that pulls the plug does not see what comes after; the row says that it was running."""
    steps: list[str] = []

    @app.task
    async def pull() -> None:
        steps.append("before")
        if len(steps) == 1:
            await crash(app)
            steps.append("after")

    await app.start()
    await pull.schedule().delay(5, job_id="it")
    await virtual_clock.advance(10)
    assert steps == ["before"]
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert (await job.wait() or job).status is JobStatus.SUCCESS
    assert steps == ["before", "before"]


async def test_what_stands_in_the_same_turn_of_the_loop_is_dead_too(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Two jobs wake at one instant: the first crashes the app, and the other gets no further step."""
    steps: list[str] = []

    @app.task
    async def pull() -> None:
        await asyncio.sleep(10)
        await crash(app)

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)
        steps.append("after")

    await app.start()
    await pull.push()
    await work.push()
    await virtual_clock.advance(20)
    assert steps == []


async def test_nothing_is_told_after_a_crash(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The stream is cut off with the storage: what abandoned work does later is told to nobody."""

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)

    await app.start()
    job = await work.push()
    await virtual_clock.advance(5)
    await crash(app)
    told = len(job_transitions)
    await virtual_clock.advance(50)
    assert len(job_transitions) == told
    assert job_transitions.timeline(job) == [(0, "scheduled"), (0, "running")]


async def test_a_push_in_progress_is_refused_or_kept(virtual_clock: VirtualClock) -> None:
    """A caller whose row was being written gets an error, and the row is there or it is not: never half."""
    storage = SQLiteStorage("jobs.db")
    app = Jobify(storage=storage)

    @app.task
    async def work() -> None: ...

    await app.start()
    pushing = [asyncio.create_task(work.schedule().delay(10)) for _ in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await crash(app)
    results = await asyncio.gather(*pushing, return_exceptions=True)
    assert all(isinstance(result, StorageError) for result in results)
    async with app:
        assert len(await app.jobs()) in (0, 3)


async def test_another_program_takes_over_what_a_dead_one_left(virtual_clock: VirtualClock) -> None:
    """Locks die with their owner: the next program on the same file finds and runs the jobs."""
    ran: list[str] = []

    def make(name: str) -> tuple[Jobify, Task[[], Coroutine[Any, Any, None], None]]:
        app = Jobify(storage=SQLiteStorage("jobs.db"))

        @app.task(name="work")
        async def work() -> None:
            ran.append(name)

        return app, work

    (first, work), (second, _) = make("first"), make("second")
    await first.start()
    await work.schedule().delay(10)
    await virtual_clock.advance(5)
    await crash(first)
    async with second:
        await virtual_clock.advance(5)
    assert ran == ["second"]


async def test_crashes_again_and_again_on_one_timeline(app: Jobify, virtual_clock: VirtualClock) -> None:
    """An app may die as often as you like; a job that dies with it three times is held."""
    starts: list[float] = []

    @app.task
    async def deadly() -> None:
        starts.append(virtual_clock.monotonic())
        await asyncio.sleep(60)

    await app.start()
    await deadly.schedule().delay(1, job_id="it")
    for _ in range(3):
        await virtual_clock.advance(5)
        await crash(app)
        await app.start()
    job = await app.get_job("it")
    assert job is not None
    assert job.held == "a crash has cut its run short 3 times"
    await virtual_clock.advance(1000)
    assert starts == [1, 5, 10]
    await app.stop()


async def test_a_crash_of_what_does_not_run_is_harmless(app: Jobify) -> None:
    """An app that is stopped has nothing to lose."""
    await crash(app)
    async with app:
        pass
    await crash(app)


@pytest.mark.parametrize("turns", range(1, 13))
async def test_a_crash_while_the_app_starts_or_stops(
    storage: SQLiteStorage, virtual_clock: VirtualClock, turns: int
) -> None:
    """At whatever step of a start or a stop the app dies, it can be started again, and has lost nothing."""
    app = Jobify(storage=storage)

    @app.task
    async def work() -> None: ...

    async with app:
        await work.schedule().delay(10, job_id="it")
    starting = asyncio.create_task(app.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    await crash(app)
    await asyncio.gather(starting, return_exceptions=True)
    await app.start()
    stopping = asyncio.create_task(app.stop())
    for _ in range(turns):
        await asyncio.sleep(0)
    await crash(app)
    await asyncio.gather(stopping, return_exceptions=True)
    async with app:
        assert [job.id for job in await app.jobs()] == ["it"]
        await virtual_clock.advance(10)
        assert await app.jobs() == []


def test_a_crash_needs_a_virtual_loop() -> None:
    """Nobody can keep the tasks of a real loop from going on."""
    with pytest.raises(VirtualTimeError, match="only a virtual loop"):
        asyncio.run(crash(Jobify()))


async def test_other_apps_live_on(virtual_clock: VirtualClock) -> None:
    """A job of the dead app has scheduled a job of another one: that runs, and so do all that come later."""
    dying, living = Jobify(storage=SQLiteStorage("dying.db")), Jobify(storage=SQLiteStorage("living.db"))
    ran: list[float] = []

    @living.task
    async def remind() -> None:
        ran.append(virtual_clock.monotonic())

    @dying.task
    async def shop() -> None:
        await remind.schedule().delay(60)
        await remind.schedule().at(virtual_clock.now() + timedelta(seconds=70))

    async with living:
        await dying.start()
        await (await shop.push()).wait()
        await crash(dying)
        await remind.schedule().delay(80)
        await virtual_clock.advance(90)
        assert ran == [60, 70, 80]


@pytest.mark.parametrize("turns", range(1, 9))
async def test_a_call_that_waits_for_the_dead_is_told(virtual_clock: VirtualClock, turns: int) -> None:
    """A test that asks for an id which a dying job is just scheduling gets an answer or an error, and does not hang."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def nothing() -> None: ...

    @app.task
    async def work() -> None:
        await nothing.schedule().delay(60, job_id="x", replace=True)

    await app.start()
    await work.push()
    for _ in range(turns):
        await asyncio.sleep(0)
    calls = [
        asyncio.create_task(app.get_job("x")),
        asyncio.create_task(nothing.schedule().delay(60, job_id="x", replace=True)),
    ]
    await asyncio.sleep(0)
    await crash(app)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(result is None or isinstance(result, Job | StorageError | ApplicationStateError) for result in results)


async def test_what_an_earlier_start_has_left_behind_is_dead_too(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A task that a job left behind before a graceful stop gets no step after the crash of the next start."""
    beats: list[float] = []
    kept: list[asyncio.Task[None]] = []

    async def beat() -> None:
        while True:
            await asyncio.sleep(1)
            beats.append(virtual_clock.monotonic())

    @app.task
    async def leave() -> None:
        kept.append(asyncio.create_task(beat()))

    async with app:
        await (await leave.push()).wait()
    await app.start()
    await virtual_clock.advance(2)
    await crash(app)
    await virtual_clock.advance(10)
    assert beats == [1, 2]


def test_a_program_may_end_with_a_crash() -> None:
    """`run` returns what a program returns that has crashed its app in the middle of a run."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def work() -> None:
        await asyncio.sleep(60)

    async def main() -> str:
        await app.start()
        await work.push()
        await asyncio.sleep(5)
        await crash(app)
        return "returned"

    assert run(main()) == "returned"
