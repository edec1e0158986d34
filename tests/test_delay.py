"""Jobs that run once: after a delay, at an instant, or as soon as possible."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from jobify import InvalidScheduleError, Jobify, JobStatus
from jobify.storage import MemoryStorage, Storage
from jobify_testing import TransitionLog, VirtualClock


async def test_runs_when_the_delay_is_over(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A delayed job runs at its time: not earlier, and not later."""

    @app.task
    async def add(a: int, b: int) -> int:
        return a + b

    async with app:
        job = await add.schedule(1, 2).delay(5)

        await virtual_clock.advance(4.999999999)
        assert not job.is_done()

        await virtual_clock.advance(0.000000001)
        assert job.result() == 3


async def test_tells_each_change_once_and_at_its_instant(app: Jobify, job_transitions: TransitionLog) -> None:
    """The life of a delayed job is three transitions, at exact instants."""

    @app.task
    async def nap() -> None:
        await asyncio.sleep(2.5)

    async with app:
        job = await nap.schedule().delay(timedelta(minutes=1))
        await job.wait()

    assert job_transitions.timeline(job) == [(0, "scheduled"), (60, "running"), (62.5, "success")]
    scheduled, running, success = job_transitions.of(job)
    assert (scheduled.previous, running.previous, success.previous) == (None, "scheduled", "running")
    assert (scheduled.attempt, running.attempt, success.attempt) == (0, 1, 1)
    assert running.due == running.at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)


async def test_exec_at_is_the_forecast_in_the_zone_of_the_app(virtual_clock: VirtualClock) -> None:
    """`exec_at` is aware, and in the zone that the app was given."""
    app = Jobify(storage=MemoryStorage(), tz="Asia/Tokyo")

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().delay(3600)
        assert job.exec_at == datetime(2026, 1, 1, 10, tzinfo=ZoneInfo("Asia/Tokyo"))
        assert job.exec_at.tzinfo == ZoneInfo("Asia/Tokyo")


async def test_push_runs_as_soon_as_possible(app: Jobify, job_transitions: TransitionLog) -> None:
    """A pushed job is scheduled, and runs at the same instant."""

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    async with app:
        job = await double.push(21)
        assert job.status is JobStatus.SCHEDULED
        assert await job == 42

    assert job_transitions.timeline(job) == [(0, "scheduled"), (0, "running"), (0, "success")]


async def test_at_runs_at_an_instant_of_any_zone(app: Jobify, virtual_clock: VirtualClock) -> None:
    """An aware datetime is an instant, whatever its zone."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().at(datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=1))))
        assert job.exec_at == datetime(2026, 1, 1, 1, tzinfo=UTC)

        await virtual_clock.advance_to(datetime(2026, 1, 1, 0, 59, 59, 999999, tzinfo=UTC))
        assert (job.status, job.is_done()) == (JobStatus.SCHEDULED, False)

        await virtual_clock.advance_to(datetime(2026, 1, 1, 1, tzinfo=UTC))
        assert (job.status, job.is_done()) == (JobStatus.SUCCESS, True)


async def test_a_past_at_runs_at_once(app: Jobify, job_transitions: TransitionLog) -> None:
    """An instant that has passed is due now, and is still what `exec_at` says."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().at(datetime(1999, 12, 31, tzinfo=UTC))
        assert job.exec_at == datetime(1999, 12, 31, tzinfo=UTC)
        await job

    assert job_transitions.timeline(job)[1:] == [(0, "running"), (0, "success")]


async def test_waits_for_centuries(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job may be due centuries from now, and runs at its microsecond."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        moment = datetime(2525, 7, 1, 12, 30, 0, 123457, tzinfo=UTC)
        job = await nothing.schedule().at(moment)
        await job
        assert virtual_clock.now() == moment


@pytest.mark.parametrize(
    ("delay", "word"),
    [
        (-1, "negative"),
        (-0.000001, "negative"),
        (timedelta(seconds=-1), "negative"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
        (float("-inf"), "finite"),
        (10**400, "finite"),
        (1e18, "9999"),
        (300_000_000_000, "9999"),
        (True, "number"),
        ("5", "number"),
        (None, "number"),
    ],
)
async def test_refuses_what_is_no_delay(app: Jobify, delay: float, word: str) -> None:
    """A delay that cannot be waited for is refused at the door, and no job is left."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        with pytest.raises(InvalidScheduleError, match=word):
            await nothing.schedule().delay(delay)
        assert await app.jobs() == []


@pytest.mark.parametrize(
    ("moment", "word"),
    [
        (datetime(2027, 1, 1), "naive"),  # noqa: DTZ001  # naive on purpose
        ("2027-01-01", "aware datetime"),
        (None, "aware datetime"),
    ],
)
async def test_refuses_what_is_no_instant(app: Jobify, moment: datetime, word: str) -> None:
    """A naive datetime is no instant, and is refused at the door."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        with pytest.raises(InvalidScheduleError, match=word):
            await nothing.schedule().at(moment)
        assert await app.jobs() == []


async def test_a_delay_of_zero_and_a_huge_one_are_fine(app: Jobify) -> None:
    """The limits of a delay are 0 and the year 9999."""

    @app.task
    async def answer() -> int:
        return 42

    async with app:
        assert await (await answer.schedule().delay(0)) == 42
        job = await answer.schedule().delay(timedelta(days=365 * 7000))
        assert job.exec_at.year == 9021


async def test_jobs_of_one_instant_start_in_the_order_of_scheduling(
    app: Jobify, job_transitions: TransitionLog, virtual_clock: VirtualClock
) -> None:
    """What is due at one instant starts first come, first served, however it was scheduled."""
    started: list[int] = []

    @app.task
    async def note(n: int) -> None:
        started.append(n)

    async with app:
        moment = datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)
        for n in range(0, 20, 2):
            await note.schedule(n).delay(10)
            await note.schedule(n + 1).at(moment)
        await virtual_clock.advance(10)

    assert started == list(range(20))


async def test_an_earlier_time_starts_before_an_earlier_order(storage: Storage, virtual_clock: VirtualClock) -> None:
    """Among jobs that wait for a slot the earlier due time goes first, whenever it was ordered."""
    app = Jobify(storage=storage, max_concurrency=1)
    started: list[str] = []

    @app.task
    async def work(name: str) -> None:
        started.append(name)
        await asyncio.sleep(10)

    async with app:
        await work.push("first")
        await work.schedule("due at 2").delay(2)
        await work.schedule("due at 1").delay(1)
        await work.schedule("due at 2, ordered later").delay(2)
        await virtual_clock.advance(30)

    assert started == ["first", "due at 1", "due at 2", "due at 2, ordered later"]


async def test_a_slot_is_all_that_may_run_at_once(virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """With one slot, two jobs due at one instant run one after the other."""
    app = Jobify(storage=MemoryStorage(), max_concurrency=1)

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)

    async with app:
        one, two = await work.push(), await work.push()
        await app.wait_all()

    assert job_transitions.timeline(one)[1:] == [(0, "running"), (10, "success")]
    assert job_transitions.timeline(two)[1:] == [(10, "running"), (20, "success")]
