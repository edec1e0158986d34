"""A job that starts when it is accepted: both are one write, and that changes nothing else."""

import asyncio

import pytest

from jobify import Jobify, JobStatus
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.storages import HookedStorage


class Told(HookedStorage):
    """A storage that notes its verbs, and takes a turn of the loop, or a second, for each."""

    def __init__(self) -> None:
        super().__init__()
        self.verbs: list[str] = []
        self.seconds = 0.0

    async def before(self, verb: str) -> None:
        """Note it."""
        if verb in ("add", "start", "finish"):
            self.verbs.append(verb)
        await asyncio.sleep(self.seconds)


async def test_a_push_and_its_start_are_one_write(virtual_clock: VirtualClock) -> None:
    """What is pushed while a slot is free is written twice in its life: as it begins, and as it ends."""
    storage = Told()
    app = Jobify(storage=storage)

    @app.task
    async def work() -> None: ...

    async with app:
        storage.verbs.clear()
        await (await work.push()).wait()
        assert storage.verbs == ["add", "finish"]
        storage.verbs.clear()
        await (await work.schedule().delay(1)).wait()
        assert storage.verbs == ["add", "start", "finish"]
    assert virtual_clock.monotonic() == 1


async def test_no_more_begin_than_find_a_slot(virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """Who will have to stand in line is accepted first, and starts later."""
    storage = Told()
    app = Jobify(storage=storage, max_concurrency=2)

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)

    async with app:
        storage.verbs.clear()
        jobs = await asyncio.gather(*(work.push() for _ in range(4)))
        later = await work.push()
        await app.wait_all()
        assert storage.verbs.count("start") == 3
    starts = [time for job in (*jobs, later) for time, status in job_transitions.timeline(job) if status == "running"]
    assert starts == [0, 0, 10, 10, 20]
    assert virtual_clock.monotonic() == 30


async def test_a_slot_that_was_promised_in_vain_is_free_again(virtual_clock: VirtualClock) -> None:
    """A job that the storage did not take leaves the slot to the next."""
    storage = Told()
    app = Jobify(storage=storage, max_concurrency=1)

    @app.task
    async def work() -> None: ...

    async with app:
        storage.seconds = 1
        refused = asyncio.create_task(work.push())
        await virtual_clock.settle()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MemoryStorage, "add", _fail)
            await virtual_clock.advance(1)
        with pytest.raises(Exception, match="the disk is full"):
            await refused
        storage.seconds = 0
        storage.verbs.clear()
        await (await work.push()).wait()
        assert storage.verbs == ["add", "finish"]


async def _fail(*_: object, **__: object) -> int:
    msg = "the disk is full"
    raise OSError(msg)


async def test_who_pushes_has_the_handle_first(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job can be cancelled in the step in which its push returned: it never ran, and no row is left."""
    ran: list[int] = []

    @app.task
    async def work() -> None:
        ran.append(1)

    async with app:
        job = await work.push()
        assert job.status is JobStatus.SCHEDULED
        assert await job.cancel()
        await virtual_clock.settle()
        assert (str(job.status), ran) == ("cancelled", [])
        assert await app.get_job(job.id) is None
    async with app:
        assert await app.jobs() == []


async def test_a_crash_after_the_write_starts_it_again(virtual_clock: VirtualClock) -> None:
    """Between the write and the body a crash counts as one in the run: the next start begins anew."""
    app = Jobify(storage=Told())
    ran: list[int] = []

    @app.task
    async def work() -> None:
        ran.append(1)

    async with app:
        job = await work.push()
        await crash(app)
        assert ran == []
    async with app:
        await app.wait_all()
        assert [str(run.status) for run in await app.history(job_id=job.id)] == ["success", "interrupted"]
    assert ran == [1]


async def test_what_a_crash_must_not_start_again_is_not_lost(virtual_clock: VirtualClock) -> None:
    """With `on_crash="skip"` a start is a write of its own: who has not started yet starts after the crash."""
    storage = Told()
    app = Jobify(storage=storage)
    ran: list[int] = []

    @app.task(on_crash="skip")
    async def work() -> None:
        ran.append(1)

    async with app:
        job = await work.push()
        await crash(app)
        assert ran == []
    async with app:
        await app.wait_all()
        runs = [(str(run.status), run.attempts) for run in await app.history(job_id=job.id)]
        assert runs == [("success", 1)]
    assert ran == [1]


async def test_a_stop_before_the_body_counts_as_nothing(virtual_clock: VirtualClock) -> None:
    """A job whose write ends behind the stop waits in the storage as one that has never started."""
    storage = Told()
    app = Jobify(storage=storage, shutdown_grace=0)
    ran: list[int] = []

    @app.task
    async def work() -> None:
        ran.append(1)

    async with app:
        storage.seconds = 1
        pushed = asyncio.create_task(work.push())
        await virtual_clock.settle()
        await app.stop()
        job = await pushed
    assert ran == []
    async with app:
        await app.wait_all()
        runs = [(str(run.status), run.attempts) for run in await app.history(job_id=job.id)]
        assert runs == [("success", 1)]


async def test_a_promise_of_a_slot_is_kept(virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """Who comes while a job is being accepted as one that begins stands in line behind it, and nothing is untrue."""
    storage = Told()
    app = Jobify(storage=storage, max_concurrency=1)

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)

    @app.task(durable=False)
    async def fleeting() -> None: ...

    async with app:
        between = [await fleeting.schedule().delay(1), await work.schedule().delay(1)]
        storage.seconds = 2
        pushed = await work.push()
        storage.seconds = 0
        await virtual_clock.advance(9)
        assert str(pushed.status) == "running"
        await crash(app)
    async with app:
        await app.wait_all()
        ends = [(run.job_id, str(run.status), run.attempts) for run in await app.history()]
    assert sorted(ends) == sorted(
        [(pushed.id, "interrupted", 1), (pushed.id, "success", 1), (between[1].id, "success", 1)]
    )
    starts = [time for time, status in job_transitions.timeline(pushed) if status == "running"]
    assert starts == [2, 11]


async def test_no_slot_is_promised_past_who_is_due(virtual_clock: VirtualClock) -> None:
    """A job that is due, and has not been woken yet, comes before one that is pushed now."""
    app = Jobify(storage=Told(), max_concurrency=1)
    ran: list[str] = []

    @app.task
    async def work(name: str) -> None:
        ran.append(name)

    async with app:
        await work.schedule("due").delay(5)
        virtual_clock.block(6)
        await work.push("pushed")
        await app.wait_all()
    assert ran == ["due", "pushed"]
