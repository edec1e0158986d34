"""What is pushed to SQLite goes on in the moment in which it is written, without a task of its own."""

import asyncio
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import jobify.storage._sqlite_rows as sqlite_rows
from jobify import Jobify, JobStatus, Transition
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


async def test_listeners_live_in_the_context_of_the_app(app: Jobify) -> None:
    """Neither who pushes nor the function of a job has a part in the context in which events are told."""
    seen: list[tuple[str, str]] = []

    @app.task
    async def work() -> None:
        REQUEST.set("of the job")

    REQUEST.set("of the start")
    async with app:
        app.subscribe(lambda event: seen.append((str(event.status), REQUEST.get())))  # type: ignore[union-attr]
        REQUEST.set("of the push")
        await (await work.push()).wait()
    assert dict(seen) == {"scheduled": "of the start", "running": "of the start", "success": "of the start"}


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
    """As `asyncio.run` does, which cancels all tasks: one goes on until the acceptance, or the end, is written."""
    app = Jobify(storage=SQLiteStorage(path))
    ran: list[int] = []
    transact = sqlite_rows.transact
    may_write, writes = threading.Event(), threading.Event()

    def held_up(*arguments: Any) -> list[Any]:
        writes.set()
        may_write.wait()
        return transact(*arguments)

    @app.task(name="work")
    async def work(n: int) -> None:
        ran.append(n)
        if n == 1:
            may_write.clear()
            writes.clear()

    async def forget_to_stop() -> None:
        may_write.set()
        await app.start()
        await work.push(1)
        while not ran:
            await asyncio.sleep(0)
        await asyncio.to_thread(writes.wait)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        _, pending = await asyncio.wait(others, timeout=0)
        assert len(pending) == 1
        may_write.set()
        await asyncio.wait(others)
        await work.push(2)  # the program goes on, and what is written is watched again
        assert len(asyncio.all_tasks() - others) > 1

    async def go_on() -> None:
        async with app:
            await app.wait_all()

    monkeypatch.setattr(sqlite_rows, "transact", held_up)
    asyncio.run(forget_to_stop())
    asyncio.run(go_on())
    assert ran.count(1) == 1
    assert 2 in ran


async def test_nothing_is_left_behind_a_stop(path: Path) -> None:
    """A stop leaves no task: not the one either that watches what is written."""
    app = Jobify(storage=SQLiteStorage(path))

    @app.task
    async def work() -> None: ...

    before = asyncio.all_tasks()
    async with app:
        await work.push()
    assert asyncio.all_tasks() == before
