"""The order at one instant: who was scheduled first starts first."""

import asyncio
from datetime import timedelta

import pytest

from jobify import Event, Jobify, JobStatus, RunMode, StorageError, Transition
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import VirtualClock
from tests.storages import HookedStorage


def listen_for_starts(app: Jobify) -> list[str]:
    """Return a list that will have the ids of the jobs in the order in which they start."""
    started: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Transition) and event.status is JobStatus.RUNNING:
            started.append(event.job_id)

    app.subscribe(listen)
    return started


def nothing() -> None:
    """Do nothing, in whatever kind of worker."""


async def nothing_on_the_loop() -> None:
    """Do nothing, on the loop."""


async def test_jobs_of_one_instant_start_in_order_whatever_their_run_mode(
    storage: Storage, virtual_clock: VirtualClock
) -> None:
    """The loop, threads and processes are one line: who was scheduled first starts first."""
    app = Jobify(storage=storage, max_processes=12)
    started = listen_for_starts(app)
    tasks = [
        app.task(nothing, name="process", run_mode=RunMode.PROCESS),
        app.task(nothing, name="thread", run_mode=RunMode.THREAD),
        app.task(nothing_on_the_loop, name="main"),
    ]
    async with app:
        for n in range(12):
            await tasks[n % 3].schedule().delay(10, job_id=str(n))
        await app.wait_all()
    assert started == [str(n) for n in range(12)]


async def test_jobs_of_one_instant_start_in_order_whatever_their_durability(app: Jobify) -> None:
    """A job whose start has to be written first is not overtaken by one that is kept nowhere."""
    started = listen_for_starts(app)
    tasks = [
        app.task(nothing_on_the_loop, name="durable"),
        app.task(nothing_on_the_loop, name="fleeting", durable=False),
        app.task(nothing, name="durable thread"),
        app.task(nothing, name="fleeting thread", durable=False),
    ]
    async with app:
        for n in range(16):
            await tasks[n % 4].schedule().delay(10, job_id=str(n))
        await app.wait_all()
    assert started == [str(n) for n in range(16)]


async def test_pushed_jobs_of_one_instant_start_in_order(app: Jobify) -> None:
    """What is pushed at one instant is due at one instant."""
    started = listen_for_starts(app)
    tasks = [app.task(nothing_on_the_loop, name=str(durable), durable=durable) for durable in (True, False)]
    async with app:
        jobs = [await tasks[n % 2].push() for n in range(6)]
        await app.wait_all()
    assert started == [job.id for job in jobs]


async def test_a_push_does_not_pass_who_is_due_already(virtual_clock: VirtualClock) -> None:
    """What became due while the loop was blocked starts before what is pushed right behind that."""
    app = Jobify(storage=MemoryStorage())
    started = listen_for_starts(app)
    task = app.task(nothing_on_the_loop, name="task")

    async with app:
        await task.schedule().delay(5, job_id="delayed")
        virtual_clock.block(6)
        pushed = await task.push()
        await task.schedule().at(virtual_clock.now() + timedelta(seconds=5), job_id="at a time")
        await pushed
        virtual_clock.block(6)
        last = await task.push()
        await app.wait_all()
    assert started == ["delayed", pushed.id, "at a time", last.id]


async def test_a_later_time_does_not_wait_for_an_earlier_one(virtual_clock: VirtualClock) -> None:
    """Only jobs of the very same instant wait for each other's start."""
    app = Jobify(storage=SlowStorage())
    started = listen_for_starts(app)
    stored = app.task(nothing_on_the_loop, name="stored")
    fleeting = app.task(nothing_on_the_loop, name="fleeting", durable=False)
    async with app:
        await stored.schedule().delay(10, job_id="stored")
        await fleeting.schedule().delay(10, job_id="same instant")
        await fleeting.schedule().delay(10.5, job_id="later")
        await virtual_clock.advance(10.5)
        assert started == ["later"]
        await virtual_clock.advance(0.5)
        assert started == ["later", "stored", "same instant"]


class SlowStorage(HookedStorage):
    """A storage that takes a second to write a start, and can be broken."""

    def __init__(self) -> None:
        super().__init__()
        self.is_broken = False

    async def before(self, verb: str) -> None:
        """Take the time, and fail if it is broken."""
        if verb in ("add", "start"):
            await asyncio.sleep(1 if verb == "start" else 0)
            if self.is_broken:
                raise StorageError("broken")


async def test_an_outage_holds_up_no_job_that_needs_no_storage(virtual_clock: VirtualClock) -> None:
    """While the storage is down, a job that is not durable starts at its time, whoever is due before it."""
    storage = SlowStorage()
    app = Jobify(storage=storage)
    started = listen_for_starts(app)
    stored = app.task(nothing_on_the_loop, name="stored")
    fleeting = app.task(nothing_on_the_loop, name="fleeting", durable=False)
    async with app:
        for n in range(4):
            await (stored, fleeting)[n % 2].schedule().delay(10, job_id=f"first {n}")
            await (stored, fleeting)[n % 2].schedule().delay(20, job_id=f"second {n}")
        storage.is_broken = True
        await virtual_clock.advance(11)  # the first write fails, and the outage is known
        assert started == ["first 1", "first 3"]
        await virtual_clock.advance(9)
        assert started == ["first 1", "first 3", "second 1", "second 3"]
        storage.is_broken = False
        await app.wait_all()
    assert sorted(started[4:]) == ["first 0", "first 2", "second 0", "second 2"]


@pytest.mark.parametrize("durable", [True, False])
async def test_a_full_line_holds_up_no_other(storage: Storage, virtual_clock: VirtualClock, *, durable: bool) -> None:
    """A job that finds no slot waits, and those of other run modes pass it."""
    app = Jobify(storage=storage, max_concurrency=1)
    started = listen_for_starts(app)

    @app.task(durable=durable)
    async def nap() -> None:
        await asyncio.sleep(5)

    in_a_thread = app.task(nothing, durable=durable)
    async with app:
        await nap.schedule().delay(10, job_id="first")
        await nap.schedule().delay(10, job_id="second")
        await in_a_thread.schedule().delay(10, job_id="third")
        await virtual_clock.advance(10)
        assert started == ["first", "third"]
        await virtual_clock.advance(5)
        assert started == ["first", "third", "second"]


@pytest.mark.parametrize("storage", [SQLiteStorage("jobs.db")])
async def test_a_job_that_is_called_off_at_its_instant_holds_up_nobody(
    app: Jobify, virtual_clock: VirtualClock
) -> None:
    """Who waits for the start of a job that is cancelled at that very instant starts all the same."""
    started = listen_for_starts(app)
    stored = app.task(nothing_on_the_loop, name="stored")
    fleeting = app.task(nothing_on_the_loop, name="fleeting", durable=False)
    async with app:
        first = await stored.schedule().delay(10)
        await fleeting.schedule().delay(10, job_id="second")
        await asyncio.sleep(10)
        cancelled = await first.cancel()
        await virtual_clock.settle()
        assert started == (["second"] if cancelled else [first.id, "second"])


async def test_jobs_are_listed_in_the_order_of_scheduling_after_a_failed_replacement(
    virtual_clock: VirtualClock,
) -> None:
    """A job that could not be replaced keeps its place in the list, and at its instant."""
    storage = SlowStorage()
    app = Jobify(storage=storage)
    started = listen_for_starts(app)
    task = app.task(nothing_on_the_loop)
    async with app:
        jobs = [await task.schedule().delay(10, job_id=str(n)) for n in range(3)]
        storage.is_broken = True
        with pytest.raises(StorageError):
            await task.schedule().delay(10, job_id="0", replace=True)
        storage.is_broken = False
        assert await app.jobs() == jobs
        assert app.local_jobs() == jobs
        await app.wait_all()
    assert started == ["0", "1", "2"]
