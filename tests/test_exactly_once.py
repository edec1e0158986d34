"""Graces, crashes, restarts and other processes: exactly what is counted, held, kept and shown."""

import asyncio
from datetime import timedelta

import pytest

from jobify import Cron, Every, Jobify, JobStatus, MisfirePolicy, Retention
from jobify.storage import MemoryStorage, Notice
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.shared_storage import Hub
from tests.test_missed import HOUR, NEW_YEAR, skips, starts
from tests.test_shared import Program


async def test_a_job_that_is_rescheduled_while_it_waits_for_its_second_has_its_policy_again(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """That it was overdue once says nothing about its new time."""
    app = Jobify(storage=MemoryStorage(), catch_up_rate=1)

    @app.task
    async def work() -> None: ...

    async with app:
        for n in range(2):
            await work.schedule().delay(10 + n, job_id=str(n), misfire_policy=MisfirePolicy.GRACE(300))
    await virtual_clock.advance(60)
    async with app:
        second = await app.get_job("1")
        assert second is not None
        await second.reschedule(delay=100)
        virtual_clock.block(1000)
        await virtual_clock.settle()
        assert second.status is JobStatus.CANCELLED
    assert skips(job_transitions) == [(160, 160, 1, "missed")]


@pytest.mark.parametrize("then", ["nothing", "a reschedule"])
async def test_a_resumed_job_has_no_interruptions_left(app: Jobify, virtual_clock: VirtualClock, then: str) -> None:
    """Who resumes a job says that it may run: it has the whole number of crashes again, rescheduled or not."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(10)

    async with app:
        await tick.schedule().every(60, job_id="t")
    for _ in range(2):
        async with app:
            await virtual_clock.advance(60)
            await crash(app)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        assert (await job.pause(), await job.resume()) == (True, True)
        if then == "a reschedule":
            await job.reschedule(Every(60))
        await virtual_clock.advance(60)
        assert job.status is JobStatus.RUNNING
        await crash(app)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        assert job.held is None


@pytest.mark.parametrize(("blocked", "status"), [(1.5, JobStatus.SUCCESS), (1.6, JobStatus.CANCELLED)])
async def test_a_grace_below_a_second_counts(virtual_clock: VirtualClock, blocked: float, status: JobStatus) -> None:
    """A grace is measured to the fraction."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def work() -> None: ...

    async with app:
        job = await work.schedule().delay(60, misfire_policy=MisfirePolicy.GRACE(0.5))
        await virtual_clock.advance(59)
        virtual_clock.block(blocked)
        await virtual_clock.settle()
        assert job.status is status


@pytest.mark.parametrize(("policy", "count"), [("once", 4), ("skip", 5)])
async def test_what_a_blocked_loop_missed_is_in_the_history(
    virtual_clock: VirtualClock, policy: str, count: int
) -> None:
    """A miss while the app runs is recorded as one over a downtime is."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy=policy), job_id="t")
        virtual_clock.block(timedelta(hours=5, minutes=30))
        await virtual_clock.settle()
        found = [(run.reason, run.count) for run in await app.history(status="skipped")]
    assert found == [("missed", count)]


async def test_times_that_are_passed_over_count_for_no_run_after_a_restart(
    app: Jobify, virtual_clock: VirtualClock
) -> None:
    """A time that was missed raises no counter in the storage."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy="skip"), job_id="t")
        virtual_clock.block(1.5 * HOUR)
        await virtual_clock.advance(60)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        assert (job.run_count, job.failure_count) == (0, 0)


async def test_a_record_is_kept_up_to_its_last_moment(virtual_clock: VirtualClock) -> None:
    """It goes when its age reaches the retention, not before."""
    app = Jobify(storage=MemoryStorage(), retention=Retention(success=100))

    @app.task
    async def work() -> None: ...

    async with app:
        await work.push()
        await app.wait_all()
    await virtual_clock.advance(99)
    async with app:
        assert len(await app.history()) == 1
    await virtual_clock.advance(1)
    async with app:
        assert await app.history() == []


async def test_a_run_that_has_ended_forgets_crashes_also_for_what_is_written_later(
    app: Jobify, virtual_clock: VirtualClock
) -> None:
    """A reschedule after a good run does not write the old interruptions again."""
    lasts = [10.0, 10.0]

    @app.task
    async def tick() -> None:
        await asyncio.sleep(lasts.pop() if lasts else 0)

    async with app:
        await tick.schedule().every(60, job_id="t")
    for _ in range(2):
        async with app:
            await virtual_clock.advance(60)
            await crash(app)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        await virtual_clock.advance(60)
        assert job.status is JobStatus.SCHEDULED
        await job.reschedule(Every(60))
        lasts.append(10)
        await virtual_clock.advance(60)
        assert str(job.status) == "running"
        await crash(app)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        assert job.held is None


@pytest.mark.parametrize("most", [1, 2])
async def test_a_one_time_job_is_held_by_as_many_crashes_as_set(virtual_clock: VirtualClock, most: int) -> None:
    """`max_interruptions` counts for a one-time job as for a recurring one."""
    app = Jobify(storage=MemoryStorage(), max_interruptions=most)

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)

    async with app:
        await work.schedule().delay(1, job_id="once")
    held: list[bool] = []
    for _ in range(most + 1):
        async with app:
            job = await app.get_job("once")
            assert job is not None
            held.append(job.held is not None)
            await virtual_clock.advance(2)
            await crash(app)
    assert held == [False] * most + [True]


async def test_an_overdue_job_is_judged_at_the_start_and_not_when_it_finds_a_slot(virtual_clock: VirtualClock) -> None:
    """A grace excuses the downtime; the wait behind another job is not lateness of its own."""
    app = Jobify(storage=MemoryStorage(), max_concurrency=1)
    begun: list[float] = []

    @app.task
    async def work() -> None:
        begun.append(virtual_clock.monotonic())
        await asyncio.sleep(600)

    async with app:
        for _ in range(2):
            await work.schedule().delay(10, misfire_policy=MisfirePolicy.GRACE(300))
    await virtual_clock.advance(70)
    async with app:
        await app.wait_all()
    assert begun == [70, 670]


async def test_a_job_that_was_lost_during_its_run_is_over_here_with_that(virtual_clock: VirtualClock) -> None:
    """The run goes on to its end, and starts nothing after it: another process has the job."""
    hub = Hub()
    calls: list[tuple[str, int]] = []
    slow, other = Program(hub, "slow", calls), Program(hub, "other", calls)
    async with slow, other:
        job = await slow.work.schedule(3).every(30, job_id="again")
        await virtual_clock.advance(35)
        (number,) = hub.owner_of
        hub.owner_of = {}
        hub.tell(Notice("lost", number), besides=other.way)
        await virtual_clock.advance(4)
        assert not job.is_done()
        await virtual_clock.advance(1)
        assert job.is_done()
        assert calls == [("slow", 3)]


async def test_a_job_that_is_followed_shows_its_next_time(virtual_clock: VirtualClock) -> None:
    """A standby sees the run of the active process counted, and its next time."""
    hub = Hub(active_only=True)
    calls: list[tuple[str, int]] = []
    active, standby = Program(hub, "active", calls), Program(hub, "standby", calls)
    async with active, standby:
        await active.work.schedule(3).every(30, job_id="again")
        found = await standby.get_job("again")
        assert found is not None
        await virtual_clock.advance(50)
        assert (found.exec_at, found.run_count) == (NEW_YEAR + timedelta(seconds=60), 1)


async def test_an_interval_that_ended_in_a_downtime_has_no_times_behind_its_end(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """What is made good stops at the end date."""

    @app.task
    async def tick() -> None: ...

    async with app:
        trigger = Every(HOUR, end_date=NEW_YEAR + timedelta(hours=3), misfire_policy="all")
        await tick.schedule().every(trigger, job_id="t")
    await virtual_clock.advance(5 * HOUR)
    async with app:
        await virtual_clock.advance(1)
        assert await app.jobs() == []
    assert [due / HOUR for _, due in starts(job_transitions, "t")] == [1, 2, 3]


@pytest.mark.parametrize("policy", ["once", "skip"])
async def test_a_downtime_is_one_record(app: Jobify, virtual_clock: VirtualClock, policy: str) -> None:
    """The times that a downtime missed are one record, however many they are."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy=policy), job_id="t")
    await virtual_clock.advance(5.5 * HOUR)
    async with app:
        await virtual_clock.advance(HOUR)
        assert len(await app.history(status="skipped")) == 1


async def test_a_run_whose_job_was_replaced_is_in_the_history_once(app: Jobify, virtual_clock: VirtualClock) -> None:
    """As cancelled by its replacement; its late end writes no second record."""

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)

    async with app:
        await work.schedule().delay(0, job_id="it")
        await virtual_clock.advance(1)
        await work.schedule().delay(100, job_id="it", replace=True)
        await virtual_clock.advance(50)
        assert [(str(run.status), run.reason) for run in await app.history()] == [("cancelled", "replaced")]


async def test_a_restart_takes_nothing_from_a_jitter(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The time that was drawn is the one that is kept."""

    @app.task
    async def tick() -> None: ...

    async with app:
        due = (await tick.schedule().every(Every(HOUR, jitter=600), job_id="t")).exec_at
        assert due > NEW_YEAR + timedelta(hours=1)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        assert job.exec_at == due
