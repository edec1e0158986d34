"""What a second look found: rows that cannot be read, handles that are renewed, clocks and codecs that fail once."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobify import (
    Alarm,
    ApplicationStateError,
    ElsewhereError,
    JobFailedError,
    Jobify,
    JobStatus,
    ResultNotStoredError,
    Retry,
    RunStatus,
)
from jobify.storage import MemoryStorage, Notice, SQLiteStorage
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.shared_storage import Hub
from tests.test_missed import HOUR, NEW_YEAR, starts
from tests.test_shared import Program

NEWER = '{"every":100,"max_failures":10,"max_runs":null,"newer":1}'


class Doom(BaseException):
    """An error that is no `Exception`."""


# Rows that cannot be read


async def unreadable(storage: MemoryStorage, app: Jobify, *, interruptions: int = 0) -> None:
    """Have a newer version write the recurrence of the one job."""
    async with app:
        (row,) = await storage.find()
        await storage.amend(replace(row, trigger=NEWER, interruptions=interruptions))


async def test_a_recurrence_that_cannot_be_read_is_kept_whatever_a_person_does(virtual_clock: VirtualClock) -> None:
    """A job of a newer version is held; a pause leaves its recurrence as it is, and it cannot be resumed."""
    storage = MemoryStorage()
    app = Jobify(storage=storage)

    @app.task(name="tick")
    async def tick() -> None: ...

    async with app:
        await tick.schedule().every(100, job_id="it")
    await unreadable(storage, app, interruptions=1)
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert job.held is not None
        assert "cannot be read" in job.held
        assert await job.pause()
        with pytest.raises(ApplicationStateError, match="cannot be read"):
            await job.resume()
        await virtual_clock.advance(1000)
        (row,) = await storage.find()
        assert (row.trigger, row.paused, row.runs) == (NEWER, True, 0)


async def test_a_job_of_an_unknown_task_is_not_resumed_for_its_crashes(virtual_clock: VirtualClock) -> None:
    """That crashes have interrupted it is not why it is held."""
    storage = MemoryStorage()
    app, other = Jobify(storage=storage), Jobify(storage=storage)

    @app.task(name="gone")
    async def work() -> None: ...

    async with app:
        await work.schedule().delay(100, job_id="it")
    async with app:
        (row,) = await storage.find()
        await storage.amend(replace(row, interruptions=1))
    async with other:
        job = await other.get_job("it")
        assert job is not None
        with pytest.raises(ApplicationStateError, match="not registered"):
            await job.resume()
        await virtual_clock.advance(1000)
        assert list(other.health().held) == ["it"]


# Handles that are renewed when another process is followed no more


async def test_a_job_that_is_taken_over_is_as_its_row_says(virtual_clock: VirtualClock) -> None:
    """What was true of it when it was followed, such as why it was held, is true no more."""
    hub = Hub()
    calls: list[tuple[str, int]] = []
    first, second = Program(hub, "first", calls), Program(hub, "second", calls)
    async with first:
        await first.work.schedule(2).every(50, job_id="it")
    async with first, second:
        (row,) = await hub.rows.find("it")
        await hub.rows.amend(replace(row, interruptions=3))
    await first.start()
    followed = await first.get_job("it")
    assert followed is not None
    assert followed.held is not None
    async with second:
        hub.owner_of = {row.number: second.way}
        hub.tell(Notice("lost", row.number), besides=second.way)
        await virtual_clock.settle()
        hub.owner_of = {}
        hub.tell(Notice("look"), besides=first.way)
        await virtual_clock.settle()
        there = await second.get_job("it")
        assert there is not None
        assert await there.resume()
    await virtual_clock.advance(51)
    assert followed.held is None
    assert calls == [("first", 2)]
    await first.stop()


async def test_a_handle_whose_recurrence_cannot_be_read_is_released_by_a_stop(virtual_clock: VirtualClock) -> None:
    """Taken over by a process that does not know its recurrence, a job is held; nobody waits behind the stop."""
    hub = Hub(active_only=True)
    calls: list[tuple[str, int]] = []
    active, standby = Program(hub, "active", calls), Program(hub, "standby", calls)
    await active.start()
    async with standby:
        job = await standby.work.schedule(2).every(50, job_id="it")
        (row,) = await hub.rows.find("it")
        await hub.rows.amend(replace(row, trigger=NEWER))
        await active.stop()
        await virtual_clock.settle()
        waiter = asyncio.ensure_future(job.wait())
        await virtual_clock.settle()
        assert job.held is not None
        assert "cannot be read" in job.held
    with pytest.raises(ApplicationStateError, match="stopped"):
        await waiter


async def test_a_result_from_elsewhere_is_read_or_refused(virtual_clock: VirtualClock) -> None:
    """A result that this process cannot read is no success here, and nobody gets bytes for it."""
    calls: list[int] = []

    def program(*, knows: bool) -> tuple[Jobify, Any]:
        app = Jobify(storage=SQLiteStorage("jobs.db", standby=True))

        async def work(n: int) -> dict[str, int]:
            calls.append(n)
            return {"n": n}

        return app, app.task(work, name="work") if knows else None

    (active, work), (stranger, _) = program(knows=True), program(knows=False)
    async with active, stranger:
        job = await work.schedule(1).delay(10, job_id="it")
        there = await stranger.get_job("it")
        assert there is not None
        await there.wait()
        assert job.result() == {"n": 1}
        with pytest.raises(JobFailedError, match="not registered") as caught:
            there.result()
        assert isinstance(caught.value.__cause__, ElsewhereError)
    assert calls == [1]


# Code of users that fails in a way of its own


class DoomedRetry(Retry):
    """A rule that ends the world."""

    def backoff(self, attempt: int, random: object) -> float:
        """Return nothing."""
        raise Doom


class CancellingRetry(Retry):
    """A rule that cancels."""

    def backoff(self, attempt: int, random: object) -> float:
        """Return nothing."""
        raise asyncio.CancelledError


@pytest.mark.parametrize("retry", [DoomedRetry(3), CancellingRetry(3)])
async def test_a_retry_that_raises_whatever_it_likes_ends_the_run(app: Jobify, retry: Retry) -> None:
    """The job has failed; it is not put back for the next start."""

    @app.task(retry=retry)
    async def fail() -> None:
        raise ValueError

    async with app:
        job = await fail.push()
        await job.wait()
        assert job.status is JobStatus.FAILED
        assert await app.jobs() == []


class Moody:
    """A serializer that can be told to fail."""

    is_json = True
    error: BaseException | None = None

    def dumps(self, value: object, annotation: Any, /) -> bytes:
        """Return JSON, or fail."""
        if self.error is not None:
            raise self.error
        return b'{"a": 5}' if isinstance(value, dict) else b"null"

    def loads(self, data: bytes, annotation: Any, /) -> Any:
        """Return what was written."""
        return {"a": 5} if data.startswith(b"{") else None


@pytest.mark.parametrize("error", [Doom(), asyncio.CancelledError(), GeneratorExit()])
async def test_a_result_that_cannot_be_written_in_any_way_is_a_success(
    virtual_clock: VirtualClock, error: BaseException
) -> None:
    """The job has run, and does not run again at the next start."""
    serializer = Moody()
    app = Jobify(storage=SQLiteStorage("jobs.db"), serializer=serializer)
    calls = 0

    @app.task
    async def work() -> dict[str, int]:
        nonlocal calls
        calls += 1
        serializer.error = error
        return {"a": 5}

    async with app:
        job = await work.schedule().delay(1, job_id="it")
        await job.wait()
        assert job.result() == {"a": 5}
    serializer.error = None
    async with app:
        await virtual_clock.settle()
        run = await app.get_run("it")
        assert run is not None
        assert run.status is RunStatus.SUCCESS
        with pytest.raises(ResultNotStoredError):
            run.result()
    assert calls == 1


class FlickeringClock:
    """A clock of which one reading, or one alarm, fails when it is told to."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.plan: dict[str, int] = {}

    def _pass(self, what: str) -> None:
        if what in self.plan:
            self.plan[what] -= 1
            if self.plan[what] < 0:
                del self.plan[what]
                raise OSError("no time")

    def now(self) -> datetime:
        """Return the wall clock."""
        self._pass("now")
        return self._clock.now()

    def monotonic(self) -> float:
        """Return the monotonic clock."""
        self._pass("monotonic")
        return self._clock.monotonic()

    def call_at(self, when: float, callback: Any) -> Alarm:
        """Set an alarm."""
        self._pass("call_at")
        return self._clock.call_at(when, callback)

    def call_at_wall(self, when: datetime, callback: Any) -> Alarm:
        """Set an alarm on the wall clock."""
        self._pass("call_at_wall")
        return self._clock.call_at_wall(when, callback)


def keep_quiet(_: asyncio.AbstractEventLoop, __: dict[str, Any]) -> None:
    """Swallow what the clock raises into the loop: it is meant to."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("what", ["now", "monotonic", "call_at", "call_at_wall"])
@pytest.mark.parametrize("turn", range(2))
async def test_a_clock_that_fails_once_loses_no_job(virtual_clock: VirtualClock, what: str, turn: int) -> None:
    """An alarm that rings while a clock cannot be read rings again; what was due then starts."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(keep_quiet)
    clock = FlickeringClock(virtual_clock)
    app = Jobify(storage=MemoryStorage(), clock=clock)
    begun: list[int] = []

    @app.task
    async def work(n: int) -> None:
        begun.append(n)

    async with app:
        for n in range(3):
            await work.schedule(n).delay(10 + 10 * n)
        await work.schedule(3).at(NEW_YEAR + timedelta(seconds=10))
        await work.schedule(4).at(NEW_YEAR + timedelta(seconds=40))
        await virtual_clock.advance(5)
        clock.plan = {what: turn}
        await virtual_clock.advance(100)
        clock.plan = {}
        left = await app.jobs()
        assert all(job.held is not None for job in left)  # put back, and said so
        assert sorted([*begun, *(job.arguments["n"] for job in left)]) == [0, 1, 2, 3, 4]


async def test_the_end_of_a_run_is_one_instant(virtual_clock: VirtualClock) -> None:
    """Handle and history agree on it, and what was written to be over is over, whatever the clock does then."""
    clock = FlickeringClock(virtual_clock)
    app = Jobify(storage=MemoryStorage(), clock=clock)

    @app.task
    async def work() -> int:
        return 1

    async with app:
        for turn in range(6):
            job = await work.schedule().delay(1)
            await virtual_clock.advance(0.5)
            clock.plan = {"now": turn}
            await virtual_clock.advance(1)
            clock.plan = {}
            written = await app.get_run(job.id)
            assert (written is not None) is (job.last_run is not None)
            if written is not None and job.last_run is not None:
                assert written.finished_at == job.last_run.finished_at


async def test_an_id_like_that_of_a_job_beside_makes_none(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A job that was triggered by hand runs again after a crash, whatever it is called."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(10)

    async with app:
        job = await tick.schedule().every(HOUR, job_id="it")
        await job.trigger(job_id="it@mine")
        await virtual_clock.advance(5)
        await crash(app)
    async with app:
        await app.wait_all()
    assert [at for at, _ in starts(job_transitions, "it@mine")] == [0, 5]


async def test_a_bare_dict_may_have_anything_plain_in_it(app: Jobify) -> None:
    """`dict` says no more than that: what is in it is as in a parameter without annotation."""
    seen: list[dict[str, Any]] = []

    async def echo(what: Any) -> Any:
        seen.append(what)
        return what

    echo.__annotations__ |= {"what": dict, "return": dict}
    work = app.task(echo)
    what = {"a": 1, "b": [1, {"c": None}], "d": {"e": "f"}}
    async with app:
        await work.schedule(what).delay(1, job_id="it")
        await app.wait_all()
        run = await app.get_run("it")
        assert run is not None
        assert run.result() == what
    assert seen == [what]


async def test_jobs_of_one_task_are_listed_from_elsewhere(virtual_clock: VirtualClock) -> None:
    """The filter of `jobs` holds for what other processes hold too."""
    hub = Hub(active_only=True)
    calls: list[tuple[str, int]] = []
    active, standby = Program(hub, "active", calls, cron="0 * * * *"), Program(hub, "standby", calls)
    async with active, standby:
        await active.work.schedule(1).delay(60)
        assert [job.task for job in await standby.jobs(task="tick")] == ["tick"]
        assert [job.task for job in await standby.jobs(task=standby.work)] == ["work"]
        assert await standby.jobs(status=JobStatus.RUNNING) == []
        await virtual_clock.settle()
