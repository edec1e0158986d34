"""A storage that does not work for a while: nothing is lost, nothing hangs, and the health says why."""

import asyncio

import pytest

from jobify import Jobify, JobStatus, StorageError
from jobify_testing import TransitionLog, VirtualClock
from tests.storages import HookedStorage


class BrokenStorage(HookedStorage):
    """A storage that can be broken and mended, and whose verbs suspend."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    async def before(self, verb: str) -> None:
        """Fail, if it is broken; it can be opened and closed all the same."""
        if verb not in ("open", "close"):
            await asyncio.sleep(0)
            if self.broken:
                raise StorageError("the disk is full")


@pytest.fixture
def storage() -> BrokenStorage:
    """A storage to break."""
    return BrokenStorage()


async def test_scheduling_fails_at_once_and_leaves_nothing(app: Jobify, storage: BrokenStorage) -> None:
    """What cannot be stored is not accepted, and the id stays free."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        storage.broken = True
        with pytest.raises(StorageError, match="disk is full"):
            await nothing.schedule().delay(10, job_id="it")
        assert await app.jobs() == []
        storage.broken = False
        await (await nothing.schedule().delay(10, job_id="it"))


async def test_a_cancellation_that_cannot_be_stored_has_no_effect(app: Jobify, storage: BrokenStorage) -> None:
    """A job that could not be removed stays as it was, and runs at its time."""

    @app.task
    async def answer() -> int:
        return 42

    async with app:
        job = await answer.schedule().delay(10)
        storage.broken = True
        with pytest.raises(StorageError):
            await job.cancel()
        assert job.status is JobStatus.SCHEDULED
        storage.broken = False
        assert await job == 42


async def test_a_replacement_that_cannot_be_stored_leaves_the_old_job(app: Jobify, storage: BrokenStorage) -> None:
    """A job that could not be replaced stays as it was, and runs at its time."""

    @app.task
    async def answer(n: int) -> int:
        return n

    async with app:
        job = await answer.schedule(1).delay(10, job_id="it")
        storage.broken = True
        with pytest.raises(StorageError):
            await answer.schedule(2).delay(5, job_id="it", replace=True)
        storage.broken = False
        assert await app.jobs() == [job]
        assert await job == 1


async def test_a_start_waits_for_the_storage(
    app: Jobify, storage: BrokenStorage, job_transitions: TransitionLog
) -> None:
    """A job that is due while the storage is down stays SCHEDULED, and starts when the storage is mended."""

    @app.task
    async def answer() -> int:
        return 42

    async with app:
        job = await answer.schedule().delay(10)
        storage.broken = True
        await asyncio.sleep(12)
        assert job.status is JobStatus.SCHEDULED
        health = app.health()
        assert (health.ok, str(health.storage_error)) == (False, "the disk is full")
        storage.broken = False
        assert await job == 42
        assert app.health().ok
    assert job_transitions.timeline(job) == [(0, "scheduled"), (13, "running"), (13, "success")]


async def test_an_end_waits_for_the_storage(
    app: Jobify, storage: BrokenStorage, job_transitions: TransitionLog
) -> None:
    """A job that ends while the storage is down stays RUNNING until its end is written; it ran once."""
    calls: list[int] = []

    @app.task
    async def note() -> None:
        calls.append(1)
        await asyncio.sleep(10)

    async with app:
        job = await note.push()
        await asyncio.sleep(5)
        storage.broken = True
        await asyncio.sleep(100)
        assert job.status is JobStatus.RUNNING
        storage.broken = False
        await job
    assert calls == [1]
    # The pauses are 1, 2, 4, 8, 16 and then 30 seconds: 10, 11, 13, 17, 25, 41, 71, 101, 131.
    assert job_transitions.timeline(job)[-1] == (131, "success")
    async with app:
        assert await app.jobs() == []


async def test_a_stop_does_not_wait_for_a_storage_that_is_down(
    app: Jobify, storage: BrokenStorage, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that is down when the app stops is tried for as long as the grace lasts, and then no more."""
    calls: list[int] = []

    @app.task
    async def note() -> None:
        calls.append(1)

    async with app:
        await note.schedule().delay(10)
        storage.broken = True
        await asyncio.sleep(20)
    assert virtual_clock.monotonic() == 35
    assert "a write is given up" in caplog.text
    assert calls == []
    storage.broken = False
    async with app:
        await app.wait_all()
    assert calls == [1]
