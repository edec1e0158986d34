"""User code that misbehaves, and callers that are cancelled: the app works on, and the storage is true."""

import asyncio
import contextvars
import logging

import pytest

from jobify import (
    DuplicateJobError,
    Event,
    Every,
    JobFailedError,
    Jobify,
    JobStatus,
    Transition,
)
from jobify.storage import MemoryStorage, SQLiteStorage
from jobify_testing import TransitionLog, VirtualClock


class UnusualError(Exception):
    """An exception that cannot be made from its `args`, and cannot be shown either."""

    def __init__(self, *, code: int, lock: object) -> None:
        super().__init__()
        self.code = code
        self.lock = lock

    def __str__(self) -> str:
        raise RuntimeError("I will not be shown")


@pytest.mark.parametrize("steps", range(14))
async def test_a_cancelled_push_is_accepted_whole_or_not_at_all(
    app: Jobify, steps: int, virtual_clock: VirtualClock
) -> None:
    """Who is cancelled while scheduling leaves a job that can be found and runs, or none; never half of one."""
    calls: list[int] = []

    @app.task
    async def note() -> None:
        calls.append(1)

    async with app:
        caller = asyncio.ensure_future(note.schedule().delay(10, job_id="it"))
        for _ in range(steps):
            await asyncio.sleep(0)
        caller.cancel()
        found = await app.get_job("it")
        await virtual_clock.settle()
        assert (await app.get_job("it") is not None) is (found is not None)
        if found is not None:
            with pytest.raises(DuplicateJobError):
                await note.schedule().delay(10, job_id="it")
            await found
        else:
            await (await note.schedule().delay(10, job_id="it"))
    assert calls == [1]
    async with app:
        assert await app.jobs() == []


@pytest.mark.parametrize("steps", range(14))
async def test_a_cancelled_replacement_is_done_whole_or_not_at_all(
    app: Jobify, steps: int, virtual_clock: VirtualClock
) -> None:
    """Who is cancelled while replacing leaves the old job or the new one, alive, in memory and in storage."""
    calls: list[str] = []

    @app.task
    async def note(text: str) -> None:
        calls.append(text)

    async with app:
        await note.schedule("old").delay(10, job_id="it")
        caller = asyncio.ensure_future(note.schedule("new").delay(10, job_id="it", replace=True))
        for _ in range(steps):
            await asyncio.sleep(0)
        caller.cancel()
        await virtual_clock.settle()
        assert len(await app.jobs()) == 1
    async with app:
        await app.wait_all()
    assert calls in (["old"], ["new"])


async def test_a_body_that_lets_a_cancellation_escape_has_failed(app: Jobify) -> None:
    """`CancelledError` out of a body is an error like any other."""

    @app.task
    async def awaits_a_cancelled_task() -> None:
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task

    async with app:
        job = await awaits_a_cancelled_task.push()
        run = await job.wait()
        assert job.status is JobStatus.FAILED
        assert run is not None
        assert isinstance(run.error, asyncio.CancelledError)
        with pytest.raises(JobFailedError):
            await job
    async with app:
        assert await app.jobs() == []


async def test_a_body_that_cancels_its_own_task_has_failed(app: Jobify) -> None:
    """A body that cancels the task that it runs in has failed; so it does not run for ever."""

    @app.task
    async def suicide() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(10)

    @app.task
    async def late_suicide() -> str:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return "before anything was awaited"

    async with app:
        job = await suicide.push()
        await job.wait()
        assert job.status is JobStatus.FAILED
        late = await late_suicide.push()
        await late.wait()
        assert late.result() == "before anything was awaited"
    async with app:
        assert await app.jobs() == []


async def test_a_recurring_job_goes_on_after_a_cancellation_escaped(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A recurring job whose body raised `CancelledError` runs again at its next time."""
    outcomes = iter([asyncio.CancelledError(), KeyError(), None])

    @app.task
    async def work() -> str:
        if (error := next(outcomes)) is not None:
            raise error
        return "fine"

    async with app:
        job = await work.schedule().every(10, job_id="work")
        await virtual_clock.advance(30)
        assert job.result() == "fine"


async def test_who_cancels_all_tasks_interrupts_but_loses_nothing(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A run that is cancelled from outside, as at the end of a program, is put back and runs at the next start."""
    naps = iter([100, 1])

    @app.task
    async def nap() -> str:
        await asyncio.sleep(next(naps))
        return "slept"

    await app.start()
    await nap.schedule().delay(0, job_id="nap")
    await asyncio.sleep(1)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await virtual_clock.settle()
    await app.stop()
    async with app:
        job = await app.get_job("nap")
        assert job is not None
        run = await job.wait()
        assert run is not None
        assert (run.result(), run.attempts) == ("slept", 1)
    assert [transition.reason for transition in job_transitions.of("nap")] == [
        None, None, "interrupted", "restored", None, None,
    ]  # fmt: skip


async def test_an_unusual_exception_is_kept_as_it_is(app: Jobify) -> None:
    """An exception that can be neither pickled nor shown is the cause of the failure all the same."""
    original = UnusualError(code=3, lock=object())

    @app.task
    async def fail() -> None:
        raise original

    @app.task
    def fail_in_a_thread() -> None:
        raise original

    async with app:
        for task in (fail, fail_in_a_thread):
            job = await task.push()
            with pytest.raises(JobFailedError, match="UnusualError") as caught:
                await job
            assert caught.value.__cause__ is original


@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration(), GeneratorExit(), SystemExit(3)])
async def test_a_thread_may_raise_anything(app: Jobify, error: BaseException) -> None:
    """What a thread raises ends neither the program nor its worker: the job has failed."""

    @app.task
    def fail() -> None:
        raise error

    async with app:
        job = await fail.push()
        run = await job.wait()
        assert run is not None
        assert run.error is error


async def test_stop_iteration_in_a_coroutine_is_a_failure(app: Jobify) -> None:
    """Python makes a `RuntimeError` of a `StopIteration` in a coroutine, and that is the error."""

    @app.task
    async def fail() -> None:
        raise StopIteration

    async with app:
        job = await fail.push()
        run = await job.wait()
        assert run is not None
        assert isinstance(run.error, RuntimeError)


async def test_a_listener_that_raises_is_logged_and_harms_nobody(app: Jobify, caplog: pytest.LogCaptureFixture) -> None:
    """The other listeners are told, the job runs, and the log has the exception."""
    heard: list[str] = []

    def bad(event: Event) -> None:
        raise ValueError("I do not listen")

    def worse(event: Event) -> None:
        raise asyncio.CancelledError

    @app.task
    async def nothing() -> None: ...

    app.subscribe(bad)
    app.subscribe(worse)
    app.subscribe(lambda event: heard.append(str(event.status)) if isinstance(event, Transition) else None)
    async with app:
        await (await nothing.push())
    assert heard == ["scheduled", "running", "success"]
    assert "I do not listen" in caplog.text


async def test_what_a_listener_causes_is_told_behind(app: Jobify, job_transitions: TransitionLog) -> None:
    """A listener that causes another event is told of it later: all listeners see one order."""
    seen: list[tuple[str, str]] = []
    log = logging.getLogger("test")

    @app.task(durable=False)
    async def nothing() -> None: ...

    def first(event: Event) -> None:
        assert isinstance(event, Transition)
        seen.append(("first", event.status))
        if event.status is JobStatus.SUCCESS and event.task == nothing.name and len(seen) < 20:
            coroutine = nothing.push()
            try:  # scheduling what is not durable does not suspend
                coroutine.send(None)
            except StopIteration:
                log.debug("scheduled")

    def second(event: Event) -> None:
        assert isinstance(event, Transition)
        seen.append(("second", event.status))

    app.subscribe(first)
    app.subscribe(second)
    async with app:
        await nothing.push()
        await app.wait_all()
    assert seen == [(who, status) for status in ["scheduled", "running", "success"] * 4 for who in ("first", "second")]


async def test_a_subscription_ends(app: Jobify) -> None:
    """What `subscribe` returns ends the subscription, once and for all."""
    heard: list[Event] = []

    @app.task
    async def nothing() -> None: ...

    end, end_other = app.subscribe(heard.append), app.subscribe(heard.append)
    async with app:
        await (await nothing.push())
        assert len(heard) == 6
        end()
        end()
        await (await nothing.push())
        assert len(heard) == 9
        end_other()
        await (await nothing.push())
        assert len(heard) == 9


async def test_context_variables_do_not_leak_from_run_to_run(app: Jobify) -> None:
    """Each run starts from what was set before the start of the app, on the loop and in threads."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("before the start")

    @app.task
    async def on_the_loop() -> str:
        before = variable.get()
        variable.set("by a run")
        return before

    @app.task
    def in_a_thread() -> str:
        before = variable.get()
        variable.set("by a thread")
        return before

    async with app:
        variable.set("after the start")
        for task in (on_the_loop, in_a_thread, on_the_loop, in_a_thread):
            assert await (await task.push()) == "before the start"
    assert variable.get() == "after the start"


async def test_a_job_that_schedules_from_inside(app: Jobify) -> None:
    """A job may schedule, wait for and cancel other jobs."""

    @app.task
    async def child(n: int) -> int:
        return n

    @app.task
    async def parent() -> int:
        doomed = await child.schedule(1).delay(1000)
        await doomed.cancel()
        return await (await child.push(20)) + await (await child.schedule(22).delay(5))

    async with app:
        assert await (await parent.push()) == 42


async def test_a_failure_is_logged_with_its_traceback(app: Jobify, caplog: pytest.LogCaptureFixture) -> None:
    """A job that nobody waits for does not fail in silence."""

    @app.task(name="broken")
    async def broken() -> None:
        raise ValueError("in the dark")

    async with app:
        await (await broken.push()).wait()
    assert "of task 'broken': failed" in caplog.text
    assert "in the dark" in caplog.text


@pytest.mark.parametrize("storage", [MemoryStorage(), SQLiteStorage("jobs.db")], ids=["memory", "sqlite"])
async def test_an_app_survives_everything_at_once(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Failures, timeouts, cancellations and replacements in the same second leave a true storage."""

    @app.task(timeout=1, retry=1)
    async def work(n: int) -> int:
        if n % 5 == 0:
            raise ValueError(n)
        await asyncio.sleep(n % 3)
        return n

    async with app:
        jobs = [await work.schedule(n).delay(n % 7, job_id=f"job {n % 40}", replace=True) for n in range(100)]
        recurring = await work.schedule(1).every(Every(2, max_failures=None), job_id="recurring")
        for job in jobs[::3]:
            await job.cancel()
        await app.wait_all()
        assert all(job.is_done() for job in jobs)
        assert await app.jobs() == [recurring]
    async with app:
        assert [job.id for job in await app.jobs()] == ["recurring"]
