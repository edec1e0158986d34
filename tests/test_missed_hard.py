"""What an attack on missed runs, overlaps and rescheduling has found: each of these was wrong once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from jobify import AnyOf, Cron, Every, Jobify, JobStatus, MisfirePolicy, StorageError, Transition
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.test_missed import HOUR, NEW_YEAR, skips, starts
from tests.test_outage import BrokenStorage

HOURLY = "0 * * * *"


def hours(log: TransitionLog, job_id: str = "t") -> list[float]:
    """Return the times that the runs were meant for, in hours."""
    return [due / HOUR for _, due in starts(log, job_id)]


def skipped(log: TransitionLog) -> list[tuple[float, float, int, str]]:
    """Return the records of skipped times, in hours."""
    return [(first / HOUR, last / HOUR, count, reason) for first, last, count, reason in skips(log)]


async def test_a_recurrence_that_ended_in_a_pause_is_gone_when_it_is_resumed(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """It is cancelled, and does not come back at the next start."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron(Cron(HOURLY, end_date=NEW_YEAR + timedelta(hours=3)), job_id="t")
        await job.pause()
        await virtual_clock.advance(hours=5)
        await job.resume()
        assert job.status is JobStatus.CANCELLED
    async with app:
        assert await app.jobs() == []
        await virtual_clock.settle()
    assert hours(job_transitions) == []
    assert skipped(job_transitions) == [(1, 3, 3, "paused")]


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_a_cron_that_became_an_interval_during_a_run_is_an_interval_after_a_restart(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, how: str
) -> None:
    """Its next time is on the monotonic clock, and in this century."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(600)

    async with app:
        job = await tick.schedule().cron(HOURLY, job_id="t")
        await virtual_clock.advance(hours=1, minutes=1)
        await job.reschedule(Every(HOUR))
        if how == "crash":
            await crash(app)
    async with app:
        found = await app.get_job("t")
        assert found is not None
        await virtual_clock.advance(hours=3)
        assert found.exec_at == NEW_YEAR + timedelta(hours=4, minutes=1)
    assert len(starts(job_transitions, "t")) == (4 if how == "crash" else 5)


@pytest.mark.parametrize("policy", ["skip", "once", "all"])
async def test_missed_times_are_told_once(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, policy: str
) -> None:
    """However often the app starts and stops before the next run, no time is recorded twice."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron(Cron(HOURLY, misfire_policy=policy), job_id="t")
    await virtual_clock.advance(hours=3, minutes=30)
    for _ in range(3):
        async with app:
            pass
    await virtual_clock.advance(hours=1)
    async with app:
        await virtual_clock.advance(hours=1)
    told = [time for first, last, _, _ in skipped(job_transitions) for time in range(int(first), int(last) + 1)]
    assert sorted([*told, *map(int, hours(job_transitions))]) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("policy", "beside", "records"),
    [("all", [4, 5], []), ("once", [5], [(4, 4, 1, "missed")]), ("skip", [], [(4, 5, 2, "missed")])],
)
async def test_what_ran_beside_a_run_is_not_run_again_after_a_stop(
    app: Jobify,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    policy: str,
    beside: list[int],
    records: list[Any],
) -> None:
    """The times of jobs beside a run are covered, over restarts too; what was missed after them is not."""
    slow = True

    @app.task
    async def tick() -> None:
        if slow:
            await asyncio.sleep(20 * HOUR)

    async with app:
        await tick.schedule().cron(Cron(HOURLY, overlap="allow", misfire_policy=policy), job_id="t")
        await virtual_clock.advance(hours=3, minutes=30)
    await virtual_clock.advance(hours=2)
    slow = False
    async with app:
        await virtual_clock.advance(minutes=10)
    assert hours(job_transitions) == [1, 1]
    assert skipped(job_transitions) == records
    begun = [
        event.due
        for event in job_transitions
        if "@" in event.job_id and isinstance(event, Transition) and event.status is JobStatus.RUNNING
    ]
    assert begun == [NEW_YEAR + timedelta(hours=hour) for hour in (2, 3, 2, 3, *beside)]


async def test_a_cancellation_that_fails_while_a_missed_time_is_written_loses_no_time(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The job goes on when the storage works again, and each time is run or recorded once."""
    storage = BrokenStorage()
    app = Jobify(storage=storage)

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron(Cron(HOURLY, misfire_policy="skip"), job_id="t")
        await virtual_clock.advance(minutes=50)
        storage.broken = True
        virtual_clock.block(1200)
        await virtual_clock.advance(0.5)
        with pytest.raises(StorageError):
            await job.cancel()
        await virtual_clock.advance(0.2)
        storage.broken = False
        await virtual_clock.advance(hours=3)
    assert skipped(job_transitions) == [(1, 1, 1, "missed")]
    assert hours(job_transitions) == [2, 3, 4]


async def test_children_come_again_after_a_pause_a_reschedule_and_a_failed_cancel(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Whatever happened to the job during its run, each later time has its job beside it."""
    storage = BrokenStorage()
    app = Jobify(storage=storage)

    @app.task
    async def tick() -> None:
        await asyncio.sleep(100 * HOUR)

    async with app:
        job = await tick.schedule().cron(Cron(HOURLY, overlap="allow"), job_id="t")
        await virtual_clock.advance(hours=1, minutes=30)
        storage.broken = True
        with pytest.raises(StorageError):
            await job.cancel()
        storage.broken = False
        await virtual_clock.advance(hours=1)
        await job.pause()
        await virtual_clock.advance(hours=2)
        await job.resume()
        await virtual_clock.advance(hours=1)
        await job.reschedule(Cron("30 * * * *", overlap="allow"))
        await virtual_clock.advance(hours=1, minutes=15)
        beside = sorted(found.id for found in await app.jobs() if found.parent == "t")
        assert [job_id[-9:] for job_id in beside] == ["02:00:00Z", "05:00:00Z", "06:30:00Z"]
    assert skipped(job_transitions) == [(3, 4, 2, "paused")]


async def test_a_reschedule_makes_no_time_disappear(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Times of the old recurrence that have passed are told: in a pause, in a run, and behind a backlog."""
    lasts = [2.9 * HOUR]

    @app.task
    async def tick() -> None:
        await asyncio.sleep(lasts.pop() if lasts else 0)

    async with app:
        job = await tick.schedule().cron(HOURLY, job_id="t")
        await virtual_clock.advance(hours=3, minutes=45)
        await job.reschedule(Cron("30 * * * *"))
        await virtual_clock.advance(hours=1)
        await job.pause()
        await virtual_clock.advance(hours=3)
        await job.reschedule(Cron(HOURLY))
        await job.resume()
        await virtual_clock.advance(hours=1)
    assert hours(job_transitions) == [1, 4.5, 8]
    assert skipped(job_transitions) == [(2, 3, 2, "overlap"), (5.5, 7.5, 3, "paused")]


async def test_a_backlog_that_is_rescheduled_away_is_told(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """What was still to be made up for has no run, and a record."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(60)

    async with app:
        await tick.schedule().cron(Cron(HOURLY, misfire_policy="all"), job_id="t")
    await virtual_clock.advance(hours=5, minutes=30)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        await virtual_clock.advance(90)
        await job.reschedule(Cron("45 * * * *"))
        await virtual_clock.advance(minutes=20)
    assert hours(job_transitions) == [1, 2, 5.75]
    assert skipped(job_transitions) == [(3, 5, 3, "dropped")]


async def test_staggered_jobs_whose_recurrence_is_over_do_not_run(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A recurrence that ended in the downtime is over at the start, whatever second it would have had."""
    app = Jobify(storage=MemoryStorage(), catch_up_rate=1)

    @app.task
    async def tick() -> None: ...

    async with app:
        for n in range(3):
            trigger = Cron(HOURLY, end_date=NEW_YEAR + timedelta(hours=3), misfire_policy="skip")
            await tick.schedule().cron(trigger, job_id=str(n))
    await virtual_clock.advance(hours=5)
    async with app:
        await virtual_clock.advance(10)
        assert await app.jobs() == []
    assert [hours(job_transitions, str(n)) for n in range(3)] == [[], [], []]
    assert skipped(job_transitions) == [(1, 3, 3, "missed")] * 3


async def test_one_time_jobs_with_a_grace_are_staggered_too(virtual_clock: VirtualClock) -> None:
    """What is not too late begins so many in each second, as all that is overdue."""
    app = Jobify(storage=MemoryStorage(), catch_up_rate=10)
    begun: list[float] = []

    @app.task
    async def work() -> None:
        begun.append(virtual_clock.monotonic())

    async with app:
        for _ in range(30):
            await work.schedule().delay(60, misfire_policy=MisfirePolicy.GRACE(3600))
    await virtual_clock.advance(300)
    async with app:
        await app.wait_all()
    assert begun == [300] * 10 + [301] * 10 + [302] * 10


async def test_runs_that_make_up_for_times_are_serial_also_where_overlaps_are_allowed(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """ALL is staggered: what is made up for does not start all at once beside the first run."""
    app = Jobify(storage=MemoryStorage())
    running = most = 0

    @app.task
    async def tick() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(30)
        running -= 1

    async with app:
        await tick.schedule().cron(Cron("* * * * *", overlap="allow", misfire_policy="all"), job_id="t")
    await virtual_clock.advance(hours=1)
    async with app:
        await virtual_clock.advance(minutes=20)
    assert most == 1
    assert len(starts(job_transitions, "t")) == 41


async def test_a_backfill_of_an_interval_keeps_its_times_when_the_clock_is_stepped(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The times of the past are what they were, whatever the wall clock shows now."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(60)

    async with app:
        job = await tick.schedule().every(HOUR, job_id="t")
        await virtual_clock.advance(hours=5, minutes=30)
        start, end = NEW_YEAR + timedelta(hours=1), NEW_YEAR + timedelta(hours=5)
        await job.backfill(start, end, job_id="fill")
        await virtual_clock.advance(90)
        virtual_clock.step_wall(1200)
        await virtual_clock.advance(minutes=10)
    assert hours(job_transitions, "fill") == [1, 2, 3, 4, 5]


async def test_a_backfill_goes_on_behind_failed_runs(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Each time of the period has its run, however many fail."""

    @app.task
    async def tick() -> None:
        raise ValueError

    async with app:
        job = await tick.schedule().cron(Cron(HOURLY, max_failures=2), job_id="t")
        fill = await job.backfill(NEW_YEAR - timedelta(hours=20), NEW_YEAR)
        await virtual_clock.advance(10)
        assert fill.run_count == 21


async def test_a_clock_that_was_set_back_makes_no_time_due_again_by_a_reschedule(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Rescheduled behind a step back, the recurrence goes on behind the last time that had its run."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron(HOURLY, job_id="t")
        await virtual_clock.advance(hours=3)
        virtual_clock.step_wall(timedelta(hours=-2))
        await job.reschedule(Cron(HOURLY, max_runs=100))
        await virtual_clock.advance(hours=4)
    assert hours(job_transitions) == [1, 2, 3, 4, 5]


async def test_a_pause_before_a_shaken_start_costs_no_run(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A job is due when its jitter is over, not before."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron(Cron(HOURLY, jitter=1800), job_id="t")
        due = job.exec_at
        assert due > NEW_YEAR + timedelta(hours=1, seconds=10)
        await virtual_clock.advance_to(NEW_YEAR + timedelta(hours=1, seconds=5))
        await job.pause()
        await job.resume()
        assert job.exec_at == due
        await virtual_clock.advance(hours=1)
    assert hours(job_transitions)[0] == 1
    assert skips(job_transitions) == []


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_a_one_time_run_that_was_cut_short_runs_again_however_late(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, how: str
) -> None:
    """It was on time when it began: no misfire policy, and no step back of the clock, keeps it from its end."""
    calls: list[float] = []

    @app.task
    async def work() -> None:
        calls.append(virtual_clock.monotonic())
        await asyncio.sleep(100)

    async with app:
        await work.schedule().delay(60, job_id="delay", misfire_policy=MisfirePolicy.GRACE(5))
        await work.schedule().at(NEW_YEAR + timedelta(seconds=60), job_id="at", misfire_policy=MisfirePolicy.SKIP)
        await virtual_clock.advance(70)
        if how == "crash":
            await crash(app)
    virtual_clock.step_wall(timedelta(hours=-2) if how == "crash" else timedelta(hours=2))
    async with app:
        await app.wait_all()
    assert [job_transitions.of(job_id)[-1].status for job_id in ("delay", "at")] == [JobStatus.SUCCESS] * 2
    assert calls == [60, 60, *([70, 70] if how == "crash" else [85, 85])]


@pytest.mark.parametrize("policy", ["skip", "once", "all"])
async def test_a_recurring_run_that_a_stop_cut_short_runs_again_under_every_policy(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, policy: str
) -> None:
    """A stop is no miss: the run that it cut short is made good for its own time."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(600)

    async with app:
        await tick.schedule().cron(Cron(HOURLY, misfire_policy=policy), job_id="t")
        await virtual_clock.advance(hours=1, minutes=1)
    await virtual_clock.advance(hours=2)
    async with app:
        await virtual_clock.advance(minutes=5)
    assert hours(job_transitions) == [1, 1]
    assert skipped(job_transitions) == []


async def test_a_declaration_that_has_ended_does_not_keep_the_app_from_starting(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A recurrence that is over is over; what was missed of it before is decided by its policy."""
    storage = MemoryStorage()

    def program() -> Jobify:
        app = Jobify(storage=storage)

        @app.task(name="t", cron=Cron(HOURLY, end_date=NEW_YEAR + timedelta(hours=3)))
        async def tick() -> None: ...

        return app

    async with program():
        await virtual_clock.advance(hours=1)
    await virtual_clock.advance(hours=5)
    async with program() as app:
        await virtual_clock.settle()
        assert await app.jobs() == []
    async with program() as app:
        assert await app.jobs() == []
    assert hours(job_transitions) == [1, 3]
    assert skipped(job_transitions) == [(2, 2, 1, "missed")]


async def test_a_changed_declaration_tells_what_was_missed_of_the_old_one(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Times of a declaration that is replaced are told, in the history too."""
    storage = MemoryStorage()

    def program(cron: str) -> Jobify:
        app = Jobify(storage=storage)

        @app.task(name="t", cron=cron)
        async def tick() -> None: ...

        return app

    async with program(HOURLY):
        pass
    await virtual_clock.advance(hours=3, minutes=10)
    async with program("30 * * * *") as app:
        assert [(run.reason, run.count) for run in await app.history()] == [("missed", 3)]
    assert skipped(job_transitions) == [(1, 3, 3, "missed")]


async def test_a_union_with_a_dense_member_is_counted_quickly(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Two days of missed seconds do not block the start: the sparse member alone is walked through."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().recur(AnyOf(Cron("* * * * * *"), Cron("0 0 * * *")), job_id="t")
    await virtual_clock.advance(timedelta(days=2))
    async with app:
        await virtual_clock.settle()
    assert skips(job_transitions) == [(1, 172_799, 172_799, "missed")]


def test_an_interval_is_what_it_is_counted_by() -> None:
    """A third of a second is 333333 microseconds, for its times as for their number."""
    third = Every(1 / 3, start_date=NEW_YEAR)
    end = NEW_YEAR + timedelta(days=30)
    assert third.count(after=NEW_YEAR, until=end) == timedelta(days=30) // timedelta(microseconds=333_333)
