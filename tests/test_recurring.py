"""Jobs that recur: by cron expressions and by intervals."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobify import (
    Cron,
    Every,
    InvalidArgumentsError,
    InvalidScheduleError,
    JobFailedError,
    Jobify,
    JobStatus,
    Skipped,
)
from jobify.storage import MemoryStorage, Storage
from jobify_testing import TransitionLog, VirtualClock


async def test_a_cron_job_runs_at_all_matching_times(app: Jobify, job_transitions: TransitionLog) -> None:
    """A cron job runs at each matching minute, and is SCHEDULED in between."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("*/5 * * * *", job_id="tick")
        assert (job.cron_expression, job.is_done()) == ("*/5 * * * *", False)
        assert job.exec_at == datetime(2026, 1, 1, 0, 5, tzinfo=UTC)
        for _ in range(3):
            await job.wait()
        assert job.exec_at == datetime(2026, 1, 1, 0, 20, tzinfo=UTC)

    assert [at for at, status in job_transitions.timeline(job) if status is JobStatus.RUNNING] == [300, 600, 900]
    assert [transition.run for transition in job_transitions.of(job)] == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


@pytest.mark.virtual_clock(start=datetime(2026, 1, 1, 0, 5, tzinfo=UTC))
async def test_the_first_time_is_strictly_after_now(job_transitions: TransitionLog) -> None:
    """A cron job that is scheduled at a matching time waits for the next one."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("*/5 * * * *", job_id="tick")
        await job.wait()
    assert job_transitions.timeline(job)[1] == (300, "running")


async def test_a_cron_job_follows_the_zone_of_the_app(virtual_clock: VirtualClock) -> None:
    """Nine o'clock is nine o'clock in the zone of the app, in winter and in summer."""
    app = Jobify(storage=MemoryStorage(), tz=ZoneInfo("America/New_York"))
    seen: list[str] = []

    @app.task
    async def open_shop() -> None:
        seen.append(f"{virtual_clock.now():%m-%d %H:%M}")

    async with app:
        job = await open_shop.schedule().cron("0 9 1 * *", job_id="open")
        await virtual_clock.advance(days=125)
        assert job.exec_at.isoformat() == "2026-06-01T09:00:00-04:00"
    assert seen == ["01-01 14:00", "02-01 14:00", "03-01 14:00", "04-01 13:00", "05-01 13:00"]


async def test_the_zone_of_a_cron_wins(app: Jobify) -> None:
    """A `Cron` with a zone of its own follows that."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron(Cron("0 9 * * *", tz="Asia/Tokyo"), job_id="tick")
        assert job.exec_at == datetime(2026, 1, 2, 0, 0, tzinfo=UTC)


async def test_an_interval_has_no_drift(app: Jobify, job_transitions: TransitionLog) -> None:
    """Runs are whole intervals apart, however long each of them takes."""

    @app.task
    async def work() -> None:
        await asyncio.sleep(0.7)

    async with app:
        job = await work.schedule().every(timedelta(seconds=10), job_id="work")
        for _ in range(3):
            await job.wait()
    starts = [at for at, status in job_transitions.timeline(job) if status is JobStatus.RUNNING]
    assert starts == [10, 20, 30]
    assert job.cron_expression is None


async def test_a_recurring_job_neither_overlaps_nor_lags(app: Jobify, job_transitions: TransitionLog) -> None:
    """After a run that took too long the next one is at the next time that is still to come."""

    @app.task
    async def slow() -> None:
        await asyncio.sleep(25)

    async with app:
        job = await slow.schedule().every(10, job_id="slow")
        for _ in range(2):
            await job.wait()
    assert job_transitions.timeline(job) == [
        (0, "scheduled"),
        (10, "running"), (35, "success"), (35, "scheduled"),
        (40, "running"), (65, "success"), (65, "scheduled"),
    ]  # fmt: skip
    first = next(event for event in job_transitions if isinstance(event, Skipped))
    assert first == Skipped(
        job_id="slow",
        task=slow.name,
        at=datetime(2026, 1, 1, 0, 0, 35, tzinfo=UTC),
        elapsed=35,
        first=datetime(2026, 1, 1, 0, 0, 20, tzinfo=UTC),
        last=datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC),
        count=2,
        reason="overlap",
    )


async def test_a_cron_job_neither_overlaps_nor_lags(app: Jobify, job_transitions: TransitionLog) -> None:
    """A cron job skips the times at which its own run was in progress, and says so."""

    @app.task
    async def slow() -> None:
        await asyncio.sleep(200)

    async with app:
        job = await slow.schedule().cron("* * * * *", job_id="slow")
        for _ in range(2):
            await job.wait()
    assert [at for at, status in job_transitions.timeline(job) if status is JobStatus.RUNNING] == [60, 300]
    skipped = next(event for event in job_transitions if isinstance(event, Skipped))
    assert (skipped.first.minute, skipped.last.minute, skipped.count) == (2, 4, 3)


async def test_a_run_that_ends_at_the_next_time_misses_it(app: Jobify, job_transitions: TransitionLog) -> None:
    """The next time is strictly after the end of a run: one at that very instant has passed."""

    @app.task
    async def slow() -> None:
        await asyncio.sleep(10)

    async with app:
        job = await slow.schedule().every(10, job_id="slow")
        for _ in range(2):
            await job.wait()
    assert [at for at, status in job_transitions.timeline(job) if status is JobStatus.RUNNING] == [10, 30]


async def test_wait_is_for_the_run_in_progress_or_else_the_next(app: Jobify) -> None:
    """`wait()` on a recurring job returns with one run, each time a later one."""
    count = 0

    @app.task
    async def number() -> int:
        nonlocal count
        count += 1
        await asyncio.sleep(2)
        return count

    async with app:
        job = await number.schedule().every(10, job_id="number")
        assert [await job, await job] == [1, 2]
        await asyncio.sleep(9)
        assert job.status is JobStatus.RUNNING
        assert job.result() == 2
        assert await job == 3
        assert job.last_run is not None
        assert job.last_run.scheduled_for == datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)


async def test_the_result_is_never_a_stale_one(app: Jobify) -> None:
    """After a run that failed there is no result of an earlier one."""
    outcomes: Iterator[int | ValueError] = iter([1, ValueError("no"), 3])

    @app.task
    async def outcome() -> int:
        value = next(outcomes)
        if isinstance(value, ValueError):
            raise value
        return value

    async with app:
        job = await outcome.schedule().every(10, job_id="it")
        await job.wait()
        assert job.result() == 1
        run = await job.wait()
        assert run is not None
        assert run.status is JobStatus.FAILED
        with pytest.raises(JobFailedError, match="ValueError: no"):
            job.result()
        await job.wait()
        assert job.result() == 3


async def test_max_runs_ends_a_recurrence_with_the_status_of_the_last_run(
    app: Jobify, job_transitions: TransitionLog, virtual_clock: VirtualClock
) -> None:
    """After `max_runs` the job is done, and its status is that of its last run."""

    @app.task
    async def tick() -> str:
        return "tick"

    async with app:
        job = await tick.schedule().cron(Cron("* * * * *", max_runs=3), job_id="tick")
        await virtual_clock.advance(hours=1)
        assert (job.status, job.is_done(), job.result()) == (JobStatus.SUCCESS, True, "tick")
        assert await app.jobs() == []
    assert job_transitions.timeline(job)[-1] == (180, "success")
    async with app:
        assert await app.jobs() == []


async def test_max_failures_in_a_row_end_a_recurrence_for_good(
    app: Jobify, job_transitions: TransitionLog, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """So many failed runs in a row are PERMANENTLY_FAILED, and logged; a success in between starts the count anew."""
    outcomes = iter([False, False, True, False, False, False])

    @app.task
    async def work() -> None:
        if not next(outcomes):
            raise ValueError

    async with app:
        job = await work.schedule().every(Every(10, max_failures=3), job_id="work")
        await virtual_clock.advance(1000)
        assert (job.status, job.is_done()) == (JobStatus.PERMANENTLY_FAILED, True)
        with pytest.raises(JobFailedError, match="ValueError"):
            job.result()
        assert await app.jobs() == []
    assert job_transitions.timeline(job)[-3:] == [(60, "running"), (60, "failed"), (60, "permanently_failed")]
    assert caplog.messages[-1] == "job 'work' recurs no more: 3 runs in a row have failed"


async def test_counters_survive_a_restart(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`max_runs` and `max_failures` count over restarts."""
    runs: list[float] = []

    @app.task
    async def fail() -> None:
        runs.append(virtual_clock.monotonic())
        raise ValueError

    @app.task
    async def tick() -> None:
        runs.append(virtual_clock.monotonic())

    async with app:
        await fail.schedule().every(Every(10, max_failures=3), job_id="fail")
        await tick.schedule().every(Every(100, max_runs=2), job_id="tick")
        await virtual_clock.advance(105)
    assert runs == [10, 20, 30, 100]
    async with app:
        (job,) = await app.jobs()
        await virtual_clock.advance(1000)
        assert job.status is JobStatus.SUCCESS
    assert runs == [10, 20, 30, 100, 200]


async def test_failures_count_over_restarts(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Failed runs before a restart count for `max_failures` after it."""

    @app.task
    async def fail() -> None:
        raise ValueError

    async with app:
        await fail.schedule().every(Every(10, max_failures=3), job_id="fail")
        await virtual_clock.advance(25)
    async with app:
        (job,) = await app.jobs()
        await job.wait()
        assert job.status is JobStatus.PERMANENTLY_FAILED


async def test_a_retried_run_is_one_run(app: Jobify, job_transitions: TransitionLog) -> None:
    """The attempts of a run belong to it; the next time is found when the run has ended."""

    @app.task(retry=2)
    async def fail() -> None:
        raise ValueError

    async with app:
        job = await fail.schedule().every(Every(100, max_failures=2), job_id="fail")
        run = await job.wait()
        assert run is not None
        assert run.attempts == 3
        assert run.scheduled_for == datetime(2026, 1, 1, 0, 1, 40, tzinfo=UTC)
        await job.wait()
    assert [transition.run for transition in job_transitions.of(job)].count(1) == 7


async def test_a_declared_recurrence_starts_with_the_app(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`@app.task(cron=...)` and `every=` need no scheduling; the id of the job is the name of the task."""
    seen: list[str] = []

    @app.task(name="minutely", cron=Cron("* * * * *", args=("a",), kwargs={"b": "c"}))
    async def minutely(a: str, b: str) -> None:
        seen.append(a + b)

    @app.task(name="often", every=30)
    async def often() -> None:
        seen.append("often")

    async with app:
        assert [job.id for job in await app.jobs()] == ["minutely", "often"]
        await virtual_clock.advance(minutes=1)
    assert seen == ["often", "ac", "often"]


async def test_an_unchanged_declaration_keeps_its_next_time(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A restart with the same declaration goes on where it was."""
    seen: list[float] = []

    @app.task(name="often", every=100)
    async def often() -> None:
        seen.append(virtual_clock.monotonic())

    async with app:
        await virtual_clock.advance(30)
    async with app:
        await virtual_clock.advance(30)
    async with app:
        await virtual_clock.advance(140)
    assert seen == [100, 200]


async def test_a_changed_declaration_replaces_the_stored_one(
    storage: Storage, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A new declaration takes the place of the stored one, and the log says so."""
    caplog.set_level("INFO", "jobify")

    def make_app(interval: float) -> Jobify:
        app = Jobify(storage=storage)

        @app.task(name="often", every=interval)
        async def often() -> None: ...

        return app

    async with make_app(100):
        pass
    async with make_app(50) as app:
        (job,) = await app.jobs()
        assert job.exec_at == datetime(2026, 1, 1, 0, 0, 50, tzinfo=UTC)
    assert "has changed" in caplog.text


async def test_a_declaration_that_is_gone_takes_its_job_with_it(
    storage: Storage, virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A stored recurrence that its task declares no more is dropped, and the log says so."""
    caplog.set_level("INFO", "jobify")
    before, after = Jobify(storage=storage), Jobify(storage=storage)

    @before.task(name="often", every=10)
    async def often() -> None: ...

    @after.task(name="often")
    async def still_there() -> None: ...

    async with before:
        await often.schedule().every(10, job_id="by hand")
    async with after:
        assert [job.id for job in await after.jobs()] == ["by hand"]
    assert "declares no recurrence" in caplog.text


async def test_a_declaration_that_is_not_durable_starts_anew(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A declared recurrence with `durable=False` begins with each start."""
    seen: list[float] = []

    @app.task(every=100, durable=False)
    async def often() -> None:
        seen.append(virtual_clock.monotonic())

    async with app:
        await virtual_clock.advance(30)
    async with app:
        await virtual_clock.advance(100)
    assert seen == [130]


async def test_times_missed_while_the_app_was_down_become_one_run(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """After a downtime one run stands for all that was missed, meant for the latest of those times."""

    @app.task
    async def tick() -> None: ...

    async with app:
        await tick.schedule().cron("*/10 * * * *", job_id="cron")
        await tick.schedule().every(600, job_id="every")
    await virtual_clock.advance(minutes=35)
    async with app:
        await virtual_clock.advance(minutes=10)
        for job in await app.jobs():
            assert job.last_run is not None
            assert job.last_run.scheduled_for == datetime(2026, 1, 1, 0, 40, tzinfo=UTC)

    for job_id in ("cron", "every"):
        running = [event for event in job_transitions.of(job_id) if event.status is JobStatus.RUNNING]
        assert [(event.elapsed, event.due.minute) for event in running] == [(2100, 30), (2400, 40)]
    assert {event for event in job_transitions if isinstance(event, Skipped)} == {
        Skipped(
            job_id,
            tick.name,
            datetime(2026, 1, 1, 0, 35, tzinfo=UTC),
            2100,
            datetime(2026, 1, 1, 0, 10, tzinfo=UTC),
            datetime(2026, 1, 1, 0, 20, tzinfo=UTC),
            2,
            "missed",
        )
        for job_id in ("cron", "every")
    }


async def test_a_recurrence_needs_an_id(app: Jobify) -> None:
    """What recurs is found again by its id, so it has to have one."""

    @app.task
    async def tick() -> None: ...

    async with app:
        with pytest.raises(InvalidScheduleError, match="job_id"):
            await tick.schedule().cron("* * * * *")
        with pytest.raises(InvalidScheduleError, match="job_id"):
            await tick.schedule().every(10)


async def test_arguments_are_given_once(app: Jobify) -> None:
    """The arguments of a job that is scheduled stand in `schedule(...)`, not in its recurrence."""

    @app.task
    async def tick(n: int) -> None: ...

    async with app:
        with pytest.raises(InvalidArgumentsError, match="schedule"):
            await tick.schedule(1).cron(Cron("* * * * *", args=(2,)), job_id="tick")


async def test_a_bad_recurrence_is_refused_when_it_is_given(app: Jobify) -> None:
    """A recurrence that cannot be used is refused at the door, and no job is left."""

    @app.task
    async def tick() -> None: ...

    async with app:
        for expression in ("* * * *", "61 * * * *", "0 0 31 2 *", "nonsense"):
            with pytest.raises(InvalidScheduleError, match="cron expression"):
                await tick.schedule().cron(expression, job_id="tick")
        for interval in (0, -1, float("nan"), 1e-9):
            with pytest.raises(InvalidScheduleError, match="interval"):
                await tick.schedule().every(interval, job_id="tick")
        assert await app.jobs() == []


async def test_a_year_of_hours(virtual_clock: VirtualClock) -> None:
    """A job of every hour runs 8,760 times in a year."""
    app = Jobify(storage=MemoryStorage())
    runs = 0

    @app.task(cron="0 * * * *")
    async def hourly() -> None:
        nonlocal runs
        runs += 1

    async with app:
        await virtual_clock.advance(days=365)
    assert runs == 8760
