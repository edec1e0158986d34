"""Parts of a program that raise where nobody expects it: no job is lost, and nobody waits for ever."""

import asyncio
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from jobify import (
    Alarm,
    ApplicationStateError,
    Event,
    InvalidArgumentsError,
    Jobify,
    JobStatus,
    Retry,
    Run,
    Transition,
)
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import VirtualClock


class Doom(BaseException):
    """An error that is no `Exception`."""


class Unspeakable(Exception):  # noqa: N818  # what it is
    """An exception that cannot be shown in any way."""

    def __str__(self) -> str:
        raise Doom

    __repr__ = __str__


class Moody(type):
    """A class of classes that cannot say what their instances are."""

    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("do not ask")


class MoodyError(Exception, metaclass=Moody):
    """An exception that nothing can be compared with."""


class MoodyRetry(Retry):
    """A rule of one's own that computes nonsense."""

    def backoff(self, attempt: int, random: object) -> float:
        """Return no number."""
        return float("nan")


@pytest.mark.parametrize("retry", [Retry(3, on=(MoodyError,)), Retry(3, never=(MoodyError,)), MoodyRetry(3)])
async def test_a_retry_that_cannot_be_asked_ends_the_run(
    app: Jobify, retry: Retry, caplog: pytest.LogCaptureFixture
) -> None:
    """A rule that raises costs the retries, and nothing else."""

    @app.task(retry=retry)
    async def fail() -> None:
        raise ValueError("of its own")

    async with app:
        run = await (await fail.push()).wait()
    assert run is not None
    assert (run.status, run.attempts, str(run.error)) == (JobStatus.FAILED, 1, "of its own")
    assert "is not tried again: its Retry has raised" in caplog.text
    async with app:
        assert await app.jobs() == []


class RaisingHandler(logging.Handler):
    """A handler of the log that breaks the rules: it raises."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise."""
        raise RuntimeError(record.getMessage())


@pytest.fixture
def _raising_handler() -> Any:  # pyright: ignore[reportUnusedFunction]  # asked for by name
    logger, handler = logging.getLogger("jobify"), RaisingHandler()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.mark.usefixtures("_raising_handler")
async def test_a_handler_of_the_log_that_raises_harms_nobody(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Jobs fail, are tried again, recur and are restored, whatever becomes of what is told of it."""

    @app.task(retry=1)
    async def fail() -> None:
        raise Unspeakable

    def listener(event: Event) -> None:
        raise ValueError

    app.subscribe(listener)
    async with app:
        job = await fail.push()
        run = await job.wait()
        assert run is not None
        assert (run.status, run.attempts) == (JobStatus.FAILED, 2)
        recurring = await fail.schedule().every(10, job_id="it")
        await recurring.wait()
        assert recurring.status is JobStatus.SCHEDULED
    async with app:
        assert [job.id for job in await app.jobs()] == ["it"]
        await virtual_clock.advance(10)


@pytest.mark.parametrize("error", [Doom(), GeneratorExit(), asyncio.CancelledError(), Unspeakable()])
async def test_whatever_a_body_raises_is_its_outcome(app: Jobify, error: BaseException) -> None:
    """On the loop too a job may raise anything: it has failed, and the program lives."""

    @app.task
    async def fail() -> None:
        await asyncio.sleep(1)
        raise error

    async with app:
        job = await fail.push()
        run = await job.wait()
        assert run is not None
        assert (run.status, run.error is error) == (JobStatus.FAILED, True)
    async with app:
        assert await app.jobs() == []


@pytest.mark.slow
@pytest.mark.parametrize("exit_error", [SystemExit(3), KeyboardInterrupt()])
def test_a_job_that_ends_the_program_is_put_back(exit_error: BaseException, tmp_path: Any) -> None:
    """Who ends the program from inside a job ends it; the app still stops in good order, and the job is put back."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "jobs.db"))
    calls: list[int] = []

    @app.task
    async def leave() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise exit_error

    async def main() -> None:
        async with app:
            if not calls:
                await leave.schedule().delay(0, job_id="it")
                await asyncio.sleep(60)
            await app.wait_all()

    with pytest.raises(type(exit_error)):
        asyncio.run(main())
    assert app.health().state == "stopped"
    asyncio.run(main())
    assert calls == [1, 1]


@pytest.mark.parametrize("error", [Doom(), GeneratorExit(), asyncio.CancelledError(), Unspeakable()])
async def test_whatever_a_listener_raises_harms_nobody(
    app: Jobify, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener that raises at every event leaves the app working, and the others told."""
    heard: list[str] = []

    def bad(event: Event) -> None:
        raise error

    @app.task
    async def nothing() -> None: ...

    app.subscribe(bad)
    app.subscribe(lambda event: heard.append(event.status) if isinstance(event, Transition) else None)
    async with app:
        await (await nothing.push())
    assert heard == ["scheduled", "running", "success"]
    assert "a listener raised" in caplog.text


class Serializer:
    """A serializer whose hooks do what they are told to.

    Args:
        error: what `loads` raises, once it is broken.
        is_json: what it says of its bytes.
        data: the bytes that it gives for every value.
    """

    def __init__(self, error: BaseException | None = None, *, is_json: bool = False, data: Any = b"1") -> None:
        self.error = error
        self.is_json = is_json
        self.data = data
        self.is_broken = False

    def dumps(self, value: object, annotation: object, /) -> bytes:
        """Return the bytes."""
        if self.is_broken and self.error is not None:
            raise self.error
        data: bytes = self.data
        return data

    def loads(self, data: bytes, annotation: object, /) -> object:
        """Return 1."""
        if self.is_broken and self.error is not None:
            raise self.error
        return 1


@pytest.mark.parametrize("error", [Unspeakable(), RecursionError(), InvalidArgumentsError("no")])
async def test_a_serializer_that_raises_refuses_and_holds(virtual_clock: VirtualClock, error: Exception) -> None:
    """Whatever its hooks raise: a job that is scheduled is refused, and one that is stored is held."""
    serializer = Serializer(error)
    app = Jobify(storage=SQLiteStorage("jobs.db"), serializer=serializer)

    @app.task
    async def take(n: int) -> int:
        return n

    async with app:
        await take.schedule(1).delay(10, job_id="it")
        serializer.is_broken = True
        with pytest.raises(InvalidArgumentsError, match="'n'"):
            await take.schedule(1).delay(10)
    async with app:
        await virtual_clock.advance(10)
        (job,) = await app.jobs()
        assert job.held is not None
        assert "does not fit" in job.held
    serializer.is_broken = False
    async with app:
        found = await app.get_job("it")
        assert found is not None
        assert await found == 1


@pytest.mark.parametrize(
    "serializer",
    [Serializer(is_json=True, data=b"no json"), Serializer(is_json=True, data=b"1, 2"), Serializer(data="text")],
)
async def test_a_serializer_that_lies_is_found_out_when_scheduling(
    virtual_clock: VirtualClock, serializer: Serializer
) -> None:
    """Bytes that could not be read at the next start are refused now."""
    app = Jobify(storage=SQLiteStorage("jobs.db"), serializer=serializer)

    @app.task
    async def take(n: int) -> int:
        return n

    async with app:
        with pytest.raises(InvalidArgumentsError, match="'n'"):
            await take.push(1)
        assert await app.jobs() == []


class Faulty:
    """A clock that raises from a certain moment on."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.faulty: set[str] = set()

    def _check(self, name: str) -> None:
        if name in self.faulty:
            raise OSError("no time")

    def now(self) -> datetime:
        """Return the wall clock."""
        self._check("now")
        return self.clock.now()

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        self._check("monotonic")
        return self.clock.monotonic()

    def call_at(self, when: float, callback: Any) -> Alarm:
        """Set an alarm."""
        self._check("call_at")
        return self.clock.call_at(when, callback)

    def call_at_wall(self, when: datetime, callback: Any) -> Alarm:
        """Set an alarm."""
        self._check("call_at_wall")
        return self.clock.call_at_wall(when, callback)


@pytest.mark.parametrize("fault", ["now", "monotonic", "call_at"])
async def test_a_clock_that_fails_while_jobs_run_loses_none(
    storage: Storage, virtual_clock: VirtualClock, fault: str
) -> None:
    """When a clock raises at the end of a run, nobody waits for ever, and the job runs again at the next start."""
    clock = Faulty(virtual_clock)
    app = Jobify(storage=storage, clock=clock)
    runs: list[Run[int]] = []

    @app.task(timeout=100)
    async def work() -> int:
        if not runs:
            clock.faulty = {fault}
        await asyncio.sleep(1)
        return 42

    await app.start()
    job = await work.schedule().every(10, job_id="it")
    waiter = asyncio.ensure_future(job.wait())
    await asyncio.sleep(20)
    clock.faulty = set()
    await app.stop()
    assert waiter.done()
    runs.extend([run] if waiter.exception() is None and (run := waiter.result()) is not None else [])
    runs.append(None)  # type: ignore[arg-type]  # from now on the clock is a good one
    async with app:
        found = await app.get_job("it")
        assert found is not None
        assert await found == 42


@pytest.mark.parametrize("fault", ["now", "monotonic", "call_at"])
async def test_a_clock_that_fails_leaves_nobody_waiting_for_a_fleeting_job(
    virtual_clock: VirtualClock, fault: str
) -> None:
    """When a clock raises at the end of a run that is stored nowhere, the job is over all the same."""
    clock = Faulty(virtual_clock)
    app = Jobify(storage=MemoryStorage(), clock=clock)

    @app.task(durable=False, retry=Retry(3))
    async def fail() -> None:
        clock.faulty = {fault}
        raise ValueError

    async with app:
        job = await fail.push()
        await job.wait()
        assert job.is_done()
        clock.faulty = set()


async def test_arguments_that_fit_no_more_hold_a_job_in_memory_too(virtual_clock: VirtualClock) -> None:
    """A job of a changed function is held, whatever kind of storage it comes from."""
    storage = MemoryStorage()
    before, after = Jobify(storage=storage), Jobify(storage=storage)

    @before.task(name="greet")
    async def greet(name: str) -> str:
        return name

    @after.task(name="greet")
    async def greet_anew(first: str, last: str) -> None: ...

    async with before:
        await greet.schedule("Ada").delay(10, job_id="it")
    async with after:
        (job,) = await after.jobs()
        with pytest.raises(InvalidArgumentsError, match="do not fit"):
            _ = job.arguments
        await virtual_clock.advance(20)
        assert job.held is not None
        assert "do not fit" in job.held
    async with before:
        found = await before.get_job("it")
        assert found is not None
        assert found.arguments == {"name": "Ada"}
        assert await found == "Ada"


async def test_a_task_may_be_registered_while_the_app_starts(storage: Storage, virtual_clock: VirtualClock) -> None:
    """Who registers a task while the app starts does not break the start."""
    app = Jobify(storage=storage)

    @app.task(every=10)
    async def often() -> None: ...

    @app.task(every=20)
    async def rarely() -> None: ...

    starter = asyncio.ensure_future(app.start())
    for number in range(10):
        app.task(often.function, name=f"late {number}")
        await asyncio.sleep(0)
    await starter
    assert [job.task for job in await app.jobs()] == [often.name, rarely.name]
    await app.stop()


@pytest.mark.slow
async def test_a_stop_of_an_app_that_lost_its_loop_is_harmless(tmp_path: Path) -> None:
    """After its event loop was closed under it, an app is stopped: using it is refused, a stop has nothing to do."""
    app = Jobify(storage=SQLiteStorage(tmp_path / "jobs.db"))

    @app.task
    async def nothing() -> None: ...

    def run_and_close() -> None:
        with asyncio.Runner() as runner:
            runner.run(app.start())

    await asyncio.to_thread(run_and_close)
    with pytest.raises(ApplicationStateError, match="not running"):
        await nothing.push()
    await app.stop()
    assert app.health().state == "stopped"
