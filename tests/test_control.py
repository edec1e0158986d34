"""What a person does to a job: pause, resume, trigger, reschedule, backfill."""

import asyncio
from datetime import UTC, date, datetime, time, timedelta

import pytest

from jobify import (
    AnyOf,
    ApplicationStateError,
    CalendarInterval,
    Cron,
    DuplicateJobError,
    Every,
    InvalidScheduleError,
    Jobify,
    JobStatus,
    Moved,
    Retry,
    StorageError,
)
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.test_missed import HOUR, NEW_YEAR, skips, starts
from tests.test_outage import BrokenStorage


def moves(log: TransitionLog) -> list[tuple[float, str]]:
    """Return what was done to jobs by hand, and when."""
    return [(event.elapsed, event.reason) for event in log if isinstance(event, Moved)]


# Pause and resume


async def test_a_paused_job_does_not_start(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A paused cron job lets its times pass; resumed, it goes on at the next, and the others are one record."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        await virtual_clock.advance(hours=1)
        assert await job.pause()
        assert not await job.pause()
        assert (job.paused, job.held, job.status) == (True, "it is paused", JobStatus.SCHEDULED)
        assert app.health().held == {"tick": "it is paused"}
        await virtual_clock.advance(hours=4, minutes=30)
        assert await job.resume()
        assert not await job.resume()
        assert (job.paused, job.held) == (False, None)
        assert job.exec_at == NEW_YEAR + timedelta(hours=6)
        await virtual_clock.advance(hours=1)
    assert starts(job_transitions, "tick") == [(HOUR, HOUR), (6 * HOUR, 6 * HOUR)]
    assert skips(job_transitions) == [(2 * HOUR, 5 * HOUR, 4, "paused")]
    assert moves(job_transitions) == [(HOUR, "paused"), (5.5 * HOUR, "resumed")]


async def test_a_pause_survives_restarts(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A paused job is paused at the next start too, after a crash as well; its times count as paused, not missed."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        await job.pause()
    await virtual_clock.advance(hours=2, minutes=30)
    async with app:
        found = await app.get_job("tick")
        assert found is not None
        assert found.paused
        await virtual_clock.advance(hours=1)
        await crash(app)
    async with app:
        found = await app.get_job("tick")
        assert found is not None
        assert found.paused
        await found.resume()
        await virtual_clock.advance(minutes=30)
    assert starts(job_transitions, "tick") == [(4 * HOUR, 4 * HOUR)]
    assert skips(job_transitions) == [(HOUR, 3 * HOUR, 3, "paused")]


async def test_a_pause_before_the_next_time_costs_nothing(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A job that is resumed before it is due is due when it was; an interval keeps its phase."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().every(HOUR, job_id="tick")
        await virtual_clock.advance(minutes=20)
        await job.pause()
        await virtual_clock.advance(minutes=20)
        await job.resume()
        assert job.exec_at == NEW_YEAR + timedelta(hours=1)
        await virtual_clock.advance(minutes=30)
        await job.pause()
        await virtual_clock.advance(hours=3)
        await job.resume()
        await virtual_clock.advance(hours=2)
    assert starts(job_transitions, "tick") == [(hour * HOUR, hour * HOUR) for hour in (1, 5, 6)]
    assert skips(job_transitions) == [(2 * HOUR, 4 * HOUR, 3, "paused")]


async def test_a_run_in_progress_goes_on(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Who is paused during a run ends it, and does not start the next; so does a job that pauses itself."""

    @app.task
    async def tick() -> None:
        found = await app.get_job("tick")
        assert found is not None
        await found.pause()
        await asyncio.sleep(60)

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        await virtual_clock.advance(hours=1)
        assert (job.status, job.paused) == (JobStatus.RUNNING, True)
        await virtual_clock.advance(hours=5)
        assert (job.status, job.run_count) == (JobStatus.SCHEDULED, 1)
        await job.resume()
        await virtual_clock.advance(hours=1)
    assert starts(job_transitions, "tick") == [(HOUR, HOUR), (7 * HOUR, 7 * HOUR)]


async def test_a_backoff_is_paused_too(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The next attempt of a paused job waits for its resumption, and then starts at once."""
    calls: list[float] = []

    @app.task(retry=Retry(3, delay=10, factor=1, jitter=False))
    async def flaky() -> None:
        calls.append(virtual_clock.monotonic())
        raise ValueError

    async with app:
        job = await flaky.push()
        await virtual_clock.advance(5)
        await job.pause()
        await virtual_clock.advance(100)
        await job.resume()
        await virtual_clock.advance(10)
        assert calls == [0, 105, 115]


async def test_nobody_waits_for_a_paused_one_time_job(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`wait_all` returns when only paused jobs are left; resumed, an overdue one starts at once."""

    @app.task
    async def remind() -> str:
        return "sent"

    async with app:
        job = await remind.schedule().delay(60)
        waiter = asyncio.ensure_future(app.wait_all())
        await virtual_clock.advance(30)
        await job.pause()
        await virtual_clock.settle()
        assert waiter.done()
        await virtual_clock.advance(100)
        assert job.status is JobStatus.SCHEDULED
        await job.resume()
        assert await job == "sent"
        assert virtual_clock.monotonic() == 130
        assert (await job.pause(), await job.resume()) == (False, False)


async def test_a_paused_job_can_be_cancelled(app: Jobify) -> None:
    """A pause keeps nobody from cancelling."""

    @app.task
    async def remind() -> None: ...

    async with app:
        job = await remind.schedule().delay(60, job_id="it")
        await job.pause()
        assert await job.cancel()
        assert await app.jobs() == []
    async with app:
        assert await app.jobs() == []


async def test_what_was_held_by_crashes_is_released_by_hand(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A job that crashes have interrupted three times starts again when somebody says so."""
    calls = 0

    @app.task
    async def work() -> str:
        nonlocal calls
        calls += 1
        if calls <= 3:
            await asyncio.sleep(10)
        return "done"

    async with app:
        await work.schedule().delay(1, job_id="it")
        await virtual_clock.advance(2)
        await crash(app)
    for _ in range(2):
        async with app:
            await virtual_clock.advance(2)
            await crash(app)
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert job.held == "a crash has cut its run short 3 times"
        assert not job.paused
        await virtual_clock.advance(100)
        assert calls == 3
        assert await job.resume()
        assert await job == "done"


async def test_a_job_without_its_task_cannot_be_resumed(virtual_clock: VirtualClock) -> None:
    """Nobody can start what is held because its task is not registered; the reason is said."""
    storage = MemoryStorage()
    app = Jobify(storage=storage)

    @app.task(name="gone")
    async def work() -> None: ...

    async with app:
        await work.schedule().cron("0 * * * *", job_id="it")
    other = Jobify(storage=storage)
    async with other:
        job = await other.get_job("it")
        assert job is not None
        with pytest.raises(ApplicationStateError, match="not registered"):
            await job.resume()
        with pytest.raises(ApplicationStateError, match="not registered"):
            await job.trigger()
        await virtual_clock.settle()


# Trigger


async def test_a_recurring_job_is_triggered_beside_its_times(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """`trigger` starts a job of its own now; the next time of the recurrence stays."""

    @app.task
    async def tick(text: str) -> str:
        return text

    async with app:
        job = await tick.schedule("hello").cron("0 * * * *", job_id="tick")
        await virtual_clock.advance(minutes=10)
        child = await job.trigger()
        assert await child == "hello"
        assert (child.parent, child.recurring, job.run_count) == ("tick", False, 0)
        assert job.exec_at == NEW_YEAR + timedelta(hours=1)
        named = await job.trigger(job_id="by hand")
        assert named.id == "by hand"
        await virtual_clock.advance(hours=1)
    assert starts(job_transitions, "tick") == [(HOUR, HOUR)]
    assert starts(job_transitions, "by hand") == [(600, 600)]


async def test_a_paused_or_running_recurrence_can_be_triggered(app: Jobify, virtual_clock: VirtualClock) -> None:
    """By hand a job starts also while its recurrence is paused, and beside a run that is in progress."""
    running: list[int] = [0]

    @app.task
    async def tick() -> None:
        running[0] += 1
        await asyncio.sleep(60)

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        await job.pause()
        await job.trigger()
        await virtual_clock.advance(10)
        assert running == [1]
        await job.resume()
        await virtual_clock.advance(hours=1)
        await job.trigger()
        await virtual_clock.settle()
        assert running == [3]


async def test_a_triggered_job_survives_a_crash_with_its_parent(app: Jobify, virtual_clock: VirtualClock) -> None:
    """What a trigger has returned from is stored."""
    calls: list[float] = []

    @app.task
    async def tick() -> None:
        calls.append(virtual_clock.monotonic())
        if len(calls) == 1:
            await asyncio.sleep(100)

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        child = await job.trigger()
        await virtual_clock.advance(10)
        await crash(app)
    async with app:
        found = await app.get_job(child.id)
        assert found is not None
        assert found.parent == "tick"
        await found.wait()
    assert calls == [0, 10]


async def test_a_one_time_job_is_triggered_itself(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A one-time job starts now instead of at its time, and once."""
    calls: list[float] = []

    @app.task
    async def remind() -> str:
        calls.append(virtual_clock.monotonic())
        await asyncio.sleep(5)
        return "sent"

    async with app:
        job = await remind.schedule().at(NEW_YEAR + timedelta(hours=1), job_id="it")
        await virtual_clock.advance(60)
        assert await job.trigger() == job
        await virtual_clock.advance(1)
        with pytest.raises(InvalidScheduleError, match="runs already"):
            await job.trigger()
        assert await job == "sent"
        with pytest.raises(InvalidScheduleError, match="finished"):
            await job.trigger()
        other = await remind.schedule().delay(60)
        with pytest.raises(InvalidScheduleError, match="itself"):
            await other.trigger(job_id="x")
        await other.pause()
        with pytest.raises(InvalidScheduleError, match="paused"):
            await other.trigger()
        await virtual_clock.advance(hours=2)
    assert calls == [60]


# Reschedule


async def test_a_one_time_job_is_rescheduled(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A one-time job is due at another time, earlier or later, over restarts too."""
    calls: list[float] = []

    @app.task
    async def remind() -> None:
        calls.append(virtual_clock.monotonic())

    async with app:
        later = await remind.schedule().delay(60, job_id="later")
        sooner = await remind.schedule().at(NEW_YEAR + timedelta(hours=5), job_id="sooner")
        assert await later.reschedule(at=NEW_YEAR + timedelta(hours=1))
        assert await sooner.reschedule(delay=timedelta(minutes=5))
        assert (later.exec_at, sooner.exec_at) == (
            NEW_YEAR + timedelta(hours=1),
            NEW_YEAR + timedelta(minutes=5),
        )
        await virtual_clock.advance(120)
    async with app:
        await app.wait_all()
    assert calls == [300, 3600]
    assert moves(job_transitions) == [(0, "rescheduled"), (0, "rescheduled")]


async def test_what_runs_is_not_rescheduled(app: Jobify, virtual_clock: VirtualClock) -> None:
    """On a running or finished one-time job `reschedule` has no effect; a backoff can be moved."""
    calls: list[float] = []

    @app.task(retry=Retry(1, delay=10, jitter=False))
    async def work() -> None:
        calls.append(virtual_clock.monotonic())
        await asyncio.sleep(5)
        raise ValueError

    async with app:
        job = await work.push()
        await virtual_clock.advance(1)
        assert not await job.reschedule(delay=100)
        await virtual_clock.advance(5)
        assert await job.reschedule(delay=100)
        await job.wait()
        assert calls == [0, 106]
        assert not await job.reschedule(delay=100)


async def test_a_recurrence_is_rescheduled(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A recurring job follows another recurrence, keeps its counters, and does so after a restart."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        await virtual_clock.advance(hours=2)
        assert await job.reschedule(Every(600))
        assert (job.exec_at, job.cron_expression, job.run_count) == (NEW_YEAR + timedelta(minutes=130), None, 2)
        await virtual_clock.advance(minutes=15)
    async with app:
        found = await app.get_job("tick")
        assert found is not None
        assert (found.cron_expression, found.run_count) == (None, 3)
        await virtual_clock.advance(minutes=10)
        assert await found.reschedule(Cron("30 * * * *"))
        assert found.cron_expression == "30 * * * *"
        await virtual_clock.advance(minutes=10)
    assert [at / 60 for at, _ in starts(job_transitions, "tick")] == [60, 120, 130, 140, 150]


@pytest.mark.parametrize("recurrence", [Every(600), Cron("*/10 * * * *")], ids=["every", "cron"])
@pytest.mark.parametrize("first", ["0 * * * *", 3600])
async def test_a_run_in_progress_is_not_rescheduled(
    app: Jobify,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    recurrence: Every | Cron,
    first: str | int,
) -> None:
    """The run goes on; what follows is of the new recurrence, and so is what passed since."""

    @app.task
    async def tick() -> None:
        if virtual_clock.monotonic() < HOUR + 1:
            await asyncio.sleep(1750)

    async with app:
        schedule = tick.schedule()
        job = await (
            schedule.cron(first, job_id="tick") if isinstance(first, str) else schedule.every(first, job_id="tick")
        )
        await virtual_clock.advance(minutes=60)
        assert await job.reschedule(recurrence)
        await virtual_clock.advance(minutes=29, seconds=30)
        assert job.last_run is not None
        assert job.last_run.scheduled_for == NEW_YEAR + timedelta(hours=1)
        await virtual_clock.advance(30)
    assert [at / 60 for at, _ in starts(job_transitions, "tick")] == [60, 90]
    assert skips(job_transitions) == [(4200, 4800, 2, "overlap")]


async def test_a_recurrence_takes_a_recurrence_and_a_one_time_job_a_time(app: Jobify) -> None:
    """What does not fit the kind of job is refused, and changes nothing."""

    @app.task
    async def tick() -> None: ...

    async with app:
        recurring = await tick.schedule().cron("0 * * * *", job_id="tick")
        once = await tick.schedule().delay(60)
        with pytest.raises(InvalidScheduleError, match="give a recurrence"):
            await recurring.reschedule(delay=5)
        with pytest.raises(InvalidScheduleError, match="give delay= or at="):
            await once.reschedule(Every(5))
        with pytest.raises(InvalidScheduleError, match="exactly one"):
            await once.reschedule()
        with pytest.raises(InvalidScheduleError, match="exactly one"):
            await once.reschedule(delay=5, at=NEW_YEAR)
        with pytest.raises(InvalidScheduleError, match="naive"):
            await once.reschedule(at=datetime(2026, 1, 1))  # noqa: DTZ001  # that is the point
        for delay in (-1, float("nan"), "5"):
            with pytest.raises(InvalidScheduleError, match="delay"):
                await once.reschedule(delay=delay)  # type: ignore[arg-type]
        with pytest.raises(InvalidScheduleError, match="9999"):
            await once.reschedule(delay=timedelta(days=365 * 9000))
        with pytest.raises(InvalidScheduleError, match="no time"):
            await recurring.reschedule(Cron("0 * * * *", end_date=NEW_YEAR - timedelta(days=1)))
        assert (recurring.exec_at, once.exec_at) == (NEW_YEAR + timedelta(hours=1), NEW_YEAR + timedelta(minutes=1))


# Backfill


@pytest.mark.parametrize("kind", ["cron", "every"])
async def test_a_period_is_filled(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, kind: str
) -> None:
    """Each time of a period has a run, one after the other, the oldest first, both ends included."""
    running = 0

    @app.task
    async def tick(text: str) -> str:
        nonlocal running
        running += 1
        assert running == 1
        await asyncio.sleep(10)
        running -= 1
        return text

    async with app:
        schedule = tick.schedule("hello")
        job = await (
            schedule.cron("0 * * * *", job_id="tick") if kind == "cron" else schedule.every(HOUR, job_id="tick")
        )
        await virtual_clock.advance(minutes=30)
        start = NEW_YEAR - timedelta(hours=3)
        fill = await job.backfill(start, NEW_YEAR)
        assert (fill.id, fill.parent) == ("tick@2025-12-31T21:00:00Z..2026-01-01T00:00:00Z", "tick")
        with pytest.raises(DuplicateJobError):
            await job.backfill(start, NEW_YEAR)
        await virtual_clock.advance(60)
        assert fill.is_done()
        assert (fill.result(), fill.run_count) == ("hello", 4)
        assert job.exec_at == NEW_YEAR + timedelta(hours=1)
    assert starts(job_transitions, fill.id) == [
        (1800, -3 * HOUR), (1810, -2 * HOUR), (1820, -HOUR), (1830, 0),
    ]  # fmt: skip
    assert skips(job_transitions) == []


async def test_a_backfill_survives_a_restart(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A backfill goes on where it was, paused or not, and its H is that of the job."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(10)

    async with app:
        job = await tick.schedule().cron("H * * * *", job_id="tick")
        minute = job.exec_at.minute
        fill = await job.backfill(NEW_YEAR - timedelta(hours=300), NEW_YEAR, job_id="fill")
        await virtual_clock.advance(25)
        await fill.pause()
        await virtual_clock.advance(100)
    async with app:
        found = await app.get_job("fill")
        assert found is not None
        assert found.run_count == 3
        await virtual_clock.advance(100)
        await found.resume()
        await virtual_clock.advance(hours=2)
    due = [due for _, due in starts(job_transitions, "fill")]
    assert due == [-(300 - hour) * HOUR + minute * 60 for hour in range(300)]


async def test_a_period_that_cannot_be_filled_is_refused(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The period lies in the past, has a time at least, and no more than the limit."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        hour = timedelta(hours=1)
        with pytest.raises(InvalidScheduleError, match="has passed"):
            await job.backfill(NEW_YEAR, NEW_YEAR + hour)
        with pytest.raises(InvalidScheduleError, match="has passed"):
            await job.backfill(NEW_YEAR, NEW_YEAR - hour)
        with pytest.raises(InvalidScheduleError, match="no time"):
            await job.backfill(NEW_YEAR - hour / 2, NEW_YEAR - hour / 3)
        with pytest.raises(InvalidScheduleError, match="1001 times, and the limit is 1000"):
            await job.backfill(NEW_YEAR - 1000 * hour, NEW_YEAR)
        with pytest.raises(InvalidScheduleError, match="whole number"):
            await job.backfill(NEW_YEAR - hour, NEW_YEAR, limit=0)
        with pytest.raises(InvalidScheduleError, match="naive"):
            await job.backfill(datetime(2025, 1, 1), NEW_YEAR)  # noqa: DTZ001  # that is the point
        once = await tick.schedule().delay(5)
        with pytest.raises(InvalidScheduleError, match="one-time"):
            await once.backfill(NEW_YEAR - hour, NEW_YEAR)
        assert len(await app.jobs()) == 2
        assert (await job.backfill(NEW_YEAR - 1000 * hour, NEW_YEAR, limit=1001)).recurring
        await virtual_clock.settle()


# When it cannot be written, and when it comes at a bad moment


async def test_what_cannot_be_written_is_not_done(virtual_clock: VirtualClock) -> None:
    """While the storage is down each of these fails at once, and the job goes on as it was."""
    storage = BrokenStorage()
    app = Jobify(storage=storage)
    calls: list[float] = []

    @app.task
    async def tick() -> None:
        calls.append(virtual_clock.monotonic())

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        once = await tick.schedule().delay(60, job_id="once")
        storage.broken = True
        for step in (job.pause(), job.trigger(), job.reschedule(Every(5)), once.reschedule(delay=5), once.trigger()):
            with pytest.raises(StorageError):
                await step
        assert not job.paused
        assert (job.exec_at, once.exec_at) == (NEW_YEAR + timedelta(hours=1), NEW_YEAR + timedelta(minutes=1))
        storage.broken = False
        await job.pause()
        storage.broken = True
        with pytest.raises(StorageError):
            await job.resume()
        assert job.paused
        storage.broken = False
        await job.resume()
        await virtual_clock.advance(hours=1)
    assert calls == [60, HOUR]


@pytest.mark.virtual_clock(order="random")
@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_caller_leaves_a_whole_change_or_none(
    app: Jobify, virtual_clock: VirtualClock, steps: int
) -> None:
    """Who is cancelled in the middle of a pause leaves a job that is paused, in storage too, or one that is not."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        pausing = asyncio.ensure_future(job.pause())
        for _ in range(steps):
            await asyncio.sleep(0)
        pausing.cancel()
        await asyncio.wait([pausing])
        await virtual_clock.settle()
        paused = job.paused
    async with app:
        found = await app.get_job("tick")
        assert found is not None
        assert found.paused is paused
        await virtual_clock.advance(hours=1)
        assert found.run_count == (0 if paused else 1)


async def test_changes_at_once_come_one_after_the_other(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Of concurrent changes each sees what the one before has left."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        answers = await asyncio.gather(
            job.pause(), job.resume(), job.pause(), job.reschedule(Every(60)), job.cancel(), job.pause(), job.resume()
        )
        assert answers == [True, True, True, True, True, False, False]
        await virtual_clock.advance(hours=2)
        assert await app.jobs() == []
    async with app:
        assert await app.jobs() == []


@pytest.mark.parametrize("what", ["pause", "reschedule", "trigger"])
async def test_a_change_at_the_very_instant_of_the_end_of_a_run(
    app: Jobify, virtual_clock: VirtualClock, what: str
) -> None:
    """What is done while the end of a run is being written waits for that, and is not overwritten by it."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(10)

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")

        async def interfere(steps: int) -> None:
            await asyncio.sleep(HOUR + 10)
            for _ in range(steps):
                await asyncio.sleep(0)
            if what == "pause":
                await job.pause()
            elif what == "reschedule":
                await job.reschedule(Cron("15 * * * *"))
            else:
                await job.trigger()

        await asyncio.gather(*(interfere(steps) for steps in range(10)))
        assert job.paused is (what == "pause")
        expected = timedelta(hours=1, minutes=15) if what == "reschedule" else timedelta(hours=2)
        assert job.exec_at == NEW_YEAR + expected
    async with app:
        found = await app.get_job("tick")
        assert found is not None
        assert found.paused is (what == "pause")
        assert found.exec_at == NEW_YEAR + expected


async def test_a_handle_of_an_earlier_start_is_refused(app: Jobify) -> None:
    """After a stop each of these says that the job has to be looked up again."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
    for step in (
        job.pause(), job.resume(), job.trigger(), job.reschedule(Every(5)), job.backfill(NEW_YEAR, NEW_YEAR),
    ):  # fmt: skip
        with pytest.raises(ApplicationStateError, match="stopped"):
            await step


# A redeploy


async def test_an_unchanged_declaration_keeps_the_next_time(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The same declaration again: the phase of the interval, the counters and a pause are kept."""
    storage = MemoryStorage()

    def program() -> Jobify:
        app = Jobify(storage=storage)

        @app.task(name="tick", every=HOUR)
        async def tick() -> None: ...

        return app

    async with program():
        await virtual_clock.advance(minutes=90)
    async with program() as app:
        job = await app.get_job("tick")
        assert job is not None
        assert (job.exec_at, job.run_count) == (NEW_YEAR + timedelta(hours=2), 1)
        await job.pause()
    async with program() as app:
        job = await app.get_job("tick")
        assert job is not None
        assert job.paused
    assert len(starts(job_transitions, "tick")) == 1


async def test_a_declaration_with_other_limits_keeps_the_next_time(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Policies and limits of a declaration can be changed without a change of its times."""
    storage = MemoryStorage()

    def program(trigger: Every) -> Jobify:
        app = Jobify(storage=storage)

        @app.task(name="tick", every=trigger)
        async def tick() -> None: ...

        return app

    caplog.set_level("INFO", "jobify")
    async with program(Every(HOUR)):
        await virtual_clock.advance(minutes=90)
    async with program(Every(HOUR, misfire_policy="skip", max_runs=2)) as app:
        job = await app.get_job("tick")
        assert job is not None
        assert (job.exec_at, job.run_count) == (NEW_YEAR + timedelta(hours=2), 1)
        await virtual_clock.advance(minutes=30)
        assert job.is_done()
    assert "has changed: its next time stays 2026-01-01 02:00:00+00:00" in caplog.text


async def test_a_changed_declaration_replaces_the_job_and_says_so(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Other times: the job is replaced, which the log says; if it was paused, it still is."""
    storage = MemoryStorage()

    def program(cron: str) -> Jobify:
        app = Jobify(storage=storage)

        @app.task(name="tick", cron=cron)
        async def tick() -> None: ...

        return app

    caplog.set_level("INFO", "jobify")
    async with program("0 * * * *") as app:
        job = await app.get_job("tick")
        assert job is not None
        await job.pause()
    async with program("30 * * * *") as app:
        job = await app.get_job("tick")
        assert job is not None
        assert (job.exec_at, job.paused) == (NEW_YEAR + timedelta(minutes=30), True)
        await virtual_clock.advance(hours=1)
        assert job.run_count == 0
    assert "has changed: its next time is 2026-01-01 00:30:00+00:00" in caplog.text


async def test_what_was_rescheduled_by_hand_stays_until_the_declaration_changes(virtual_clock: VirtualClock) -> None:
    """A redeploy of the same declaration does not undo what a person did; a changed one does."""
    storage = MemoryStorage()

    def program(cron: str) -> Jobify:
        app = Jobify(storage=storage)

        @app.task(name="tick", cron=cron)
        async def tick() -> None: ...

        return app

    async with program("0 * * * *") as app:
        job = await app.get_job("tick")
        assert job is not None
        await job.reschedule(Cron("15 * * * *"))
    async with program("0 * * * *") as app:
        job = await app.get_job("tick")
        assert job is not None
        assert job.cron_expression == "15 * * * *"
    async with program("45 * * * *") as app:
        job = await app.get_job("tick")
        assert job is not None
        assert job.cron_expression == "45 * * * *"
        await virtual_clock.settle()


# The door for every recurrence


async def test_any_recurrence_can_be_scheduled_and_declared(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """`recur` takes intervals of the calendar and unions, when scheduling and when declaring."""
    monthly = CalendarInterval(months=1, first_day=date(2026, 1, 31), at=time(9))
    union = AnyOf(Cron("0 9 * * mon"), Cron("0 12 1 * *"))

    @app.task(name="declared", recur=union)
    async def declared() -> None: ...

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().recur(monthly, job_id="monthly")
        assert job.exec_at == datetime(2026, 1, 31, 9, tzinfo=UTC)
        await virtual_clock.advance_to(datetime(2026, 3, 1, 10, tzinfo=UTC))
        assert job.exec_at == datetime(2026, 3, 31, 9, tzinfo=UTC)
    async with app:
        found = await app.get_job("monthly")
        assert found is not None
        assert found.exec_at == datetime(2026, 3, 31, 9, tzinfo=UTC)
    assert len(starts(job_transitions, "monthly")) == 2
    assert len(starts(job_transitions, "declared")) == 8 + 2


async def test_what_is_no_recurrence_is_refused(app: Jobify) -> None:
    """`recur` says what it takes."""

    @app.task
    async def tick() -> None: ...

    async with app:
        for wrong in ("* * * * *", 5, None):
            with pytest.raises(InvalidScheduleError, match="give a Cron, an Every"):
                await tick.schedule().recur(wrong, job_id="x")  # type: ignore[arg-type]
