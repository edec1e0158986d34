"""A storage of somebody else's, which raises whatever it likes: errors are `StorageError`, and the health says so."""

import asyncio
from typing import Any

import pytest

from jobify import ApplicationStateError, DuplicateJobError, Jobify, JobStatus, StorageError
from jobify.storage import SQLiteStorage
from jobify_testing import VirtualClock, crash
from tests.storages import HookedStorage


class OddError(BaseException):
    """An error that is no `Exception`, and cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("I will not be shown")


class Troubled(HookedStorage):
    """A storage whose verbs raise what they are told to.

    Args:
        immediate: whether its verbs do not suspend.
    """

    def __init__(self, *, immediate: bool = False) -> None:
        super().__init__()
        self.immediate = immediate
        self.trouble: dict[str, BaseException] = {}

    async def before(self, verb: str) -> None:
        """Suspend, and raise."""
        if not self.immediate:
            await asyncio.sleep(0)
        if verb in self.trouble:
            raise self.trouble[verb]


ERRORS = [StorageError("full"), OSError("full"), asyncio.CancelledError(), OddError(), TypeError(), TimeoutError()]


@pytest.fixture(params=[True, False], ids=["immediate", "suspending"])
def storage(request: pytest.FixtureRequest) -> Troubled:
    """A storage that can be told to raise."""
    return Troubled(immediate=request.param)


@pytest.fixture(params=ERRORS, ids=lambda error: type(error).__name__)
def error(request: pytest.FixtureRequest) -> BaseException:
    """Whatever a storage may raise."""
    found: BaseException = request.param
    return found


async def test_what_cannot_be_stored_is_a_storage_error(app: Jobify, storage: Troubled, error: BaseException) -> None:
    """Whatever `add` raises, the caller gets a `StorageError`, there is no job, and the health says why."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        storage.trouble["add"] = error
        with pytest.raises(StorageError) as caught:
            await nothing.schedule().delay(10, job_id="it")
        assert caught.value is error or caught.value.__cause__ is error
        assert app.health().storage_error is caught.value
        assert not app.health().ok
        assert await app.jobs() == []
        del storage.trouble["add"]
        job = await nothing.schedule().delay(10, job_id="it")
        assert app.health().storage_error is None
        assert app.health().ok
        await job


async def test_what_can_be_read_says_nothing_of_writes(app: Jobify, storage: Troubled, error: BaseException) -> None:
    """A write that has failed stays in the health until one succeeds; a read that has failed, until one does."""

    @app.task
    async def nothing() -> None: ...

    def told() -> bool:
        return app.health().storage_error is not None

    async with app:
        for _ in range(2):
            storage.trouble["runs"] = error
            with pytest.raises(StorageError):
                await app.history()
            assert told()
            del storage.trouble["runs"]
            await app.history()
            assert not told()
            storage.trouble |= {"add": error, "runs": error}
            with pytest.raises(StorageError) as of_write:
                await nothing.push()
            with pytest.raises(StorageError):
                await app.history()
            assert app.health().storage_error is of_write.value
            del storage.trouble["runs"]
            await app.history()
            assert app.health().storage_error is of_write.value
            del storage.trouble["add"]
            await (await nothing.push())
            assert not told()
            storage.trouble["runs"] = error
            with pytest.raises(StorageError):
                await app.history()
            del storage.trouble["runs"]
            await (await nothing.push())
            assert not told()


async def test_what_cannot_be_cancelled_is_a_storage_error(
    app: Jobify, storage: Troubled, error: BaseException
) -> None:
    """Whatever `remove` raises, the caller gets a `StorageError`, and the job runs."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(10)
        storage.trouble["remove"] = error
        with pytest.raises(StorageError):
            await job.cancel()
        assert not app.health().ok
        storage.trouble.clear()
        await job.wait()
        assert job.status is JobStatus.SUCCESS
        assert app.health().ok


@pytest.mark.parametrize("verb", ["start", "finish"])
async def test_what_must_be_written_is_written_in_the_end(
    app: Jobify, storage: Troubled, error: BaseException, verb: str, virtual_clock: VirtualClock
) -> None:
    """Whatever the writing of a start or an end raises, it is tried again."""

    @app.task
    async def answer() -> int:
        return 42

    async with app:
        job = await answer.schedule().delay(1)
        storage.trouble[verb] = error
        await virtual_clock.advance(2)
        assert not job.is_done()
        assert not app.health().ok
        storage.trouble.clear()
        assert await job == 42
        assert app.health().ok
    async with app:
        assert await app.jobs() == []


@pytest.mark.parametrize("verb", ["open", "claim"])
async def test_a_start_that_fails_says_so(
    app: Jobify, storage: Troubled, error: BaseException, verb: str, virtual_clock: VirtualClock
) -> None:
    """Whatever the storage raises at the start, it is a `StorageError`, and the app stays stopped."""
    storage.trouble[verb] = error
    with pytest.raises(StorageError):
        await app.start()
    assert app.health().state == "stopped"
    storage.trouble.clear()
    async with app:
        assert app.health().ok


@pytest.mark.parametrize("verb", ["release", "close", "finish", "start"])
async def test_a_stop_goes_to_its_end(
    app: Jobify, storage: Troubled, error: BaseException, verb: str, virtual_clock: VirtualClock
) -> None:
    """Whatever the storage raises during a stop, the app is stopped, everybody is released, nothing is lost."""
    naps = iter([1000, 0, 0])

    @app.task
    async def nap() -> None:
        await asyncio.sleep(next(naps))

    await app.start()
    await nap.schedule().delay(0, job_id="runs")
    await virtual_clock.advance(1)
    await nap.schedule().delay(5, job_id="waits")
    jobs = await app.jobs()
    storage.trouble[verb] = error
    stopper = asyncio.ensure_future(app.stop())
    await asyncio.wait([stopper])
    assert app.health().state == "stopped"
    if not isinstance(error, OddError):
        assert stopper.exception() is None
    for job in jobs:
        with pytest.raises(ApplicationStateError):
            await job.wait()
    storage.trouble.clear()
    async with app:
        await app.wait_all()
        assert await app.jobs() == []


async def test_a_program_that_ends_does_not_wait_for_a_storage_that_is_down(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Who cancels all tasks while a write is repeated ends that: the job has its outcome, and runs once more later."""
    storage = Troubled()
    app = Jobify(storage=storage)
    calls: list[float] = []

    @app.task
    async def note() -> None:
        calls.append(virtual_clock.monotonic())

    await app.start()
    job = await note.schedule().delay(10, job_id="it")
    storage.trouble["finish"] = OSError("full")
    await virtual_clock.advance(10.5)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await virtual_clock.settle()
    assert (job.status, virtual_clock.monotonic()) == (JobStatus.SUCCESS, 10.5)
    assert "a write is given up" in caplog.text
    storage.trouble.clear()
    await app.stop()
    async with app:
        await app.wait_all()
    assert calls == [10, 10.5]


async def test_a_taken_id_is_no_trouble(app: Jobify, storage: Troubled) -> None:
    """A storage that says `DuplicateJobError` works."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        storage.trouble["add"] = StorageError("full")
        with pytest.raises(StorageError):
            await nothing.schedule().delay(10, job_id="it")
        storage.trouble["add"] = DuplicateJobError("it")
        with pytest.raises(DuplicateJobError):
            await nothing.schedule().delay(10, job_id="it")
        assert app.health().ok
        storage.trouble.clear()
        await nothing.schedule().delay(10, job_id="it")


async def test_one_job_that_cannot_be_written_takes_no_other_with_it(virtual_clock: VirtualClock) -> None:
    """Writes share a transaction; what SQLite cannot take fails alone."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def nothing() -> None: ...

    @app.task(name="no text: \ud800")
    async def unwritable() -> None: ...

    async with app:
        await nothing.schedule().delay(10, job_id="old")
        orders = [(nothing, "first"), (unwritable, "bad"), (nothing, "second"), (nothing, "old")]
        results = await asyncio.gather(
            *(task.schedule().delay(10, job_id=job_id) for task, job_id in orders), return_exceptions=True
        )
        assert [type(result).__name__ for result in results] == ["Job", "StorageError", "Job", "DuplicateJobError"]
        assert [job.id for job in await app.jobs()] == ["old", "first", "second"]
    async with app:
        assert [job.id for job in await app.jobs()] == ["old", "first", "second"]


@pytest.mark.parametrize("verb", ["start", "finish"])
async def test_an_id_that_is_taken_is_no_answer_to_a_start_or_an_end(verb: str, virtual_clock: VirtualClock) -> None:
    """A storage that says so does not work: the health tells it, and the write is made when it does."""
    storage = Troubled()
    app = Jobify(storage=storage)

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(1)
        storage.trouble[verb] = DuplicateJobError("it")
        await virtual_clock.advance(2)
        assert not job.is_done()
        assert isinstance(app.health().storage_error, StorageError)
        storage.trouble.clear()
        await virtual_clock.advance(2)
        assert job.status is JobStatus.SUCCESS
        assert app.health().ok


async def test_a_start_that_fails_leaves_no_write_to_the_next_one(virtual_clock: VirtualClock) -> None:
    """Of two removals one fails at once, the other takes its time: what it notes is noted once."""
    storage = Troubled()
    remove = storage.remove
    refused: list[int] = []

    async def remove_slowly(number: int, **options: Any) -> bool:
        if not refused:
            refused.append(number)
            raise StorageError("full")
        await asyncio.sleep(5)
        return await remove(number, **options)

    app = Jobify(storage=storage)

    @app.task(on_crash="skip")
    async def work() -> None:
        await asyncio.sleep(100)

    async with app:
        await work.push()
        await work.push()
        await virtual_clock.advance(1)
        await crash(app)
    storage.remove = remove_slowly  # type: ignore[method-assign]  # of this one object
    with pytest.raises(StorageError):
        await app.start()
    async with app:
        await virtual_clock.advance(10)
        assert [str(run.status) for run in await app.history()] == ["interrupted", "interrupted"]
