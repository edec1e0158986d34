"""What is pushed to SQLite goes on in the moment in which it is written, without a task of its own."""

import asyncio
import functools
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import closing
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ClassVar

import pytest

import jobify.storage._sqlite_rows as sqlite_rows
from jobify import ApplicationStateError, Jobify, JobStatus, Transition
from jobify.storage import SQLiteStorage, StoredJob
from jobify_testing import TransitionLog, VirtualClock

REQUEST: ContextVar[str] = ContextVar("request", default="none")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file."""
    return tmp_path / "jobs.db"


@pytest.fixture
def app(path: Path, virtual_clock: VirtualClock) -> Jobify:
    """An app on it, and on virtual time."""
    return Jobify(storage=SQLiteStorage(path))


class Loop(asyncio.SelectorEventLoop):
    """A loop that tells when it is about to be closed."""

    order: ClassVar[list[str]] = []

    async def shutdown_asyncgens(self) -> None:
        """Close what has begun, and tell."""
        await super().shutdown_asyncgens()
        self.order.append("the loop is closed next")


async def test_who_is_cancelled_leaves_a_job_that_was_accepted(app: Jobify, job_transitions: TransitionLog) -> None:
    """To cancel a push while it is written gives up the handle, not the job."""

    @app.task(name="work")
    async def work() -> None: ...

    async with app:
        pushing = asyncio.ensure_future(work.push())
        await asyncio.sleep(0)
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        await app.wait_all()
    assert [status for _, status in job_transitions.timeline(work)] == ["scheduled", "running", "success"]


async def test_listeners_do_not_live_in_the_context_of_who_pushes(app: Jobify) -> None:
    """Who pushes has no part in the context in which events are told; what a job has set there its end has too."""
    seen: list[tuple[str, str]] = []

    @app.task
    async def work() -> None:
        REQUEST.set("of the job")

    REQUEST.set("of the start")
    async with app:
        app.subscribe(lambda event: seen.append((str(event.status), REQUEST.get())))  # type: ignore[union-attr]
        REQUEST.set("of the push")
        await (await work.push()).wait()
    assert dict(seen) == {"scheduled": "of the start", "running": "of the start", "success": "of the job"}


def test_a_listener_that_ends_the_program_harms_no_other_job(path: Path) -> None:
    """Of jobs that are written in one transaction, one is told to a listener that exits: all are accepted."""
    app = Jobify(storage=SQLiteStorage(path))
    ran: list[int] = []
    exits = [SystemExit()]

    @app.task(name="work")
    async def work(n: int) -> None:
        ran.append(n)

    def leave(event: object) -> None:
        if exits and isinstance(event, Transition) and event.status is JobStatus.SCHEDULED:
            raise exits.pop()

    async def main() -> None:
        async with app:
            app.subscribe(leave)
            await asyncio.gather(*(work.push(n) for n in range(5)))

    async def go_on() -> None:
        async with app:
            await app.wait_all()

    with pytest.raises(SystemExit):
        asyncio.run(main())
    asyncio.run(go_on())
    assert sorted(ran) == list(range(5))


async def test_all_ends_of_a_turn_are_told_in_their_order(app: Jobify, job_transitions: TransitionLog) -> None:
    """A failure, a recurrence and a success that end together are told in the order in which they began."""

    @app.task(name="fail")
    async def fail() -> None:
        raise ValueError("as ever")

    @app.task(name="work")
    async def work() -> None: ...

    @app.task(name="tick", cron="0 1 * * *")
    async def tick() -> None: ...

    async with app:
        when = (await app.jobs())[0].exec_at
        jobs = [await task.schedule().at(when) for task in (fail, work)]
        await asyncio.gather(*(job.wait() for job in jobs))
    ends = ("success", "failed")
    told = [event for event in job_transitions if isinstance(event, Transition) and event.status in ends]
    assert [event.task for event in told] == ["tick", "fail", "work"]


async def test_who_is_named_is_in_the_same_line(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Jobs with an id and without one start in the order in which they were pushed, and so do those that replace."""
    ran: list[int] = []

    @app.task
    async def work(n: int) -> None:
        ran.append(n)

    async with app:
        orders = [work.push(n) if n % 3 else work.schedule(n).delay(0, job_id=str(n)) for n in range(9)]
        orders.append(work.schedule(9).delay(0, job_id="other", replace=True))
        orders += [work.push(n) for n in range(10, 15)]
        await asyncio.gather(*orders)
        await app.wait_all()
    assert ran == list(range(15))


async def test_a_slot_is_free_when_the_end_is_written(path: Path, virtual_clock: VirtualClock) -> None:
    """No more jobs are RUNNING at once than may be: a job that is not durable waits for the end of the one before."""
    app = Jobify(storage=SQLiteStorage(path), max_concurrency=1)
    running: list[int] = [0]

    def count(event: object) -> None:
        if isinstance(event, Transition):
            running.append(running[-1] + (event.status is JobStatus.RUNNING) - (event.status is JobStatus.SUCCESS))

    @app.task
    async def kept() -> None: ...

    @app.task(durable=False)
    async def light() -> None: ...

    async with app:
        app.subscribe(count)
        await asyncio.gather(kept.push(), light.push(), kept.push(), light.push())
        await app.wait_all()
    assert (max(running), running[-1]) == (1, 0)


@pytest.mark.parametrize("turns", range(8))
async def test_a_stop_takes_in_who_comes_in_between(path: Path, turns: int, virtual_clock: VirtualClock) -> None:
    """A push while the app stops is refused, or runs at the next start; the stop ends either way."""
    app, ran = Jobify(storage=SQLiteStorage(path)), list[int]()

    @app.task(name="work")
    async def work(n: int) -> None:
        ran.append(n)

    await app.start()
    await work.push(0)
    stopping = asyncio.ensure_future(app.stop())
    for _ in range(turns):
        await asyncio.sleep(0)
    (answer,) = await asyncio.gather(work.push(1), return_exceptions=True)
    await stopping
    async with app:
        await app.wait_all()
    assert sorted(ran) == ([0] if isinstance(answer, ApplicationStateError) else [0, 1])


@pytest.mark.virtual_clock(storage="keep")
async def test_a_stop_writes_an_end_for_as_long_as_the_grace_lasts(path: Path, virtual_clock: VirtualClock) -> None:
    """A job whose end could not be written at first is not run again, if it can be within the grace of a stop."""
    app, ran = Jobify(storage=SQLiteStorage(path, timeout=0), shutdown_grace=10), list[int]()

    @app.task(name="work")
    async def work() -> None:
        other.execute("BEGIN IMMEDIATE")
        ran.append(1)

    async with app:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            await work.push()
            await virtual_clock.settle()
            stopping = asyncio.ensure_future(app.stop())
            await virtual_clock.advance(2)
            assert not stopping.done()
            other.execute("ROLLBACK")
            await stopping
    assert virtual_clock.monotonic() == 3
    async with app:
        await app.wait_all()
    assert ran == [1]


@pytest.mark.parametrize("verb", ["add", "finish"])
async def test_a_verb_may_be_wrapped(path: Path, verb: str, virtual_clock: VirtualClock) -> None:
    """A wrapper that looks like the verb is not taken for it: what it returns is awaited."""
    storage, calls = SQLiteStorage(path), list[str]()
    original = getattr(storage, verb)

    @functools.wraps(original)
    async def traced(*args: Any, **options: Any) -> Any:
        calls.append(verb)
        return await original(*args, **options)

    setattr(storage, verb, traced)
    app = Jobify(storage=storage)

    @app.task
    async def work() -> int:
        return 5

    async with app:
        assert await (await work.push()) == 5
    assert calls == [verb]


async def test_a_storage_of_ones_own_may_take_its_time(path: Path, virtual_clock: VirtualClock) -> None:
    """Who overrides a verb by an `async def` is called as every storage is."""

    class Slow(SQLiteStorage):
        async def add(self, job: StoredJob, /, **options: Any) -> int:
            await asyncio.sleep(1)
            return await super().add(job, **options)

        async def finish(self, *args: Any, **options: Any) -> None:
            await asyncio.sleep(10)
            await super().finish(*args, **options)

    app = Jobify(storage=Slow(path))

    @app.task
    async def work() -> None: ...

    async with app:
        await (await work.push()).wait()
    assert virtual_clock.monotonic() == 11


def test_a_program_that_ends_waits_for_what_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stop of the app too: `asyncio.run` closes the loop when the end of a job is written, and not before."""
    app = Jobify(storage=SQLiteStorage(path))
    ran: list[int] = []
    transact = sqlite_rows.transact
    may_write, order = threading.Event(), Loop.order

    def held_up(*arguments: Any) -> list[Any]:
        if ran:
            may_write.wait()
        answers = transact(*arguments)
        order.append("written")
        return answers

    @app.task(name="work")
    async def work(n: int) -> None:
        ran.append(n)

    async def last() -> AsyncGenerator[None]:
        try:
            yield
        finally:
            let_write(100)

    def let_write(turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(let_write, turns - 1)
        else:
            may_write.set()

    closed_at_the_end = last()

    async def forget_to_stop() -> None:
        await app.start()
        await anext(closed_at_the_end)
        await work.push(1)
        while not ran:
            await asyncio.sleep(0)

    async def go_on() -> None:
        async with app:
            await app.wait_all()

    monkeypatch.setattr(sqlite_rows, "transact", held_up)
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(forget_to_stop())
    assert order[-2:] == ["written", "the loop is closed next"]
    asyncio.run(go_on())
    assert ran == [1]


async def test_nothing_is_left_behind_a_stop(path: Path) -> None:
    """A stop leaves no task: not the one either that watches what is written."""
    app = Jobify(storage=SQLiteStorage(path))

    @app.task
    async def work() -> None: ...

    before = asyncio.all_tasks()
    async with app:
        await work.push()
    assert asyncio.all_tasks() == before
