"""Recurring work that overlaps, backs off, is rescheduled and filled: exactly which times run, and which are told."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from jobify import Cron, Every, Jobify, JobStatus, Retry, Transition
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock, VirtualDeadlockError, crash, run
from tests.test_missed import HOUR, NEW_YEAR, skips, starts


async def test_a_rescheduled_job_is_watched_by_its_new_times(app: Jobify, virtual_clock: VirtualClock) -> None:
    """What starts beside the next run is of the new trigger, with no time in between left out."""
    lasts = [0, 1000]

    @app.task
    async def tick() -> None:
        await asyncio.sleep(lasts.pop(0) if lasts else 0)

    async with app:
        job = await tick.schedule().cron(Cron("0 * * * *", overlap="allow"), job_id="t")
        await virtual_clock.advance(HOUR + 10)
        await job.reschedule(Cron("* * * * *", overlap="allow"))
        await virtual_clock.advance(200)
        children = [run.scheduled_for for run in await app.history() if run.parent == "t"]
    assert children == [NEW_YEAR + timedelta(minutes=minutes) for minutes in (63, 62)]


async def test_what_was_overtaken_is_told(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A run that takes its time to end passes over the times in between, and says so."""

    @app.task
    async def tick() -> None:
        try:
            await asyncio.sleep(90)
        except asyncio.CancelledError:
            await asyncio.sleep(150)
            raise

    async with app:
        await tick.schedule().cron(Cron("* * * * *", overlap="cancel_other"), job_id="t")
        await virtual_clock.advance(275)
        history = [(str(run.status), run.reason, run.count) for run in await app.history()]
    assert starts(job_transitions, "t") == [(60, 60), (270, 240)]
    assert skips(job_transitions) == [(120, 180, 2, "overlap")]
    assert history == [("skipped", "overlap", 2), ("cancelled", "overtaken", 1)]


async def test_a_run_that_overtakes_a_backoff_started_when_it_did(app: Jobify, virtual_clock: VirtualClock) -> None:
    """It is a run of its own: its start and its attempts are not those of the run that it replaced."""
    calls = 0

    @app.task(retry=Retry(1, delay=100, maximum=100, jitter=False))
    async def tick() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError

    async with app:
        job = await tick.schedule().cron(Cron("* * * * *", overlap="cancel_other"), job_id="t")
        await virtual_clock.advance(121)
        assert job.last_run is not None
        assert (job.last_run.started_at, job.last_run.attempts) == (NEW_YEAR + timedelta(minutes=2), 1)


async def test_a_run_that_was_overtaken_counts_neither_after_a_restart(
    app: Jobify, virtual_clock: VirtualClock
) -> None:
    """A cancelled run is neither a run that ended nor a failure, here and in the storage."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(90)

    async with app:
        await tick.schedule().cron(Cron("* * * * *", overlap="cancel_other"), job_id="t")
        await virtual_clock.advance(130)
        await crash(app)
    async with app:
        job = await app.get_job("t")
        assert job is not None
        assert (job.run_count, job.failure_count) == (1, 0)  # the one that the crash has cut short


async def test_what_was_buffered_outlives_a_crash(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The times that waited for the run are made good by the next life."""
    lasts = [210.0]

    @app.task
    async def tick() -> None:
        await asyncio.sleep(lasts.pop() if lasts else 1)

    async with app:
        await tick.schedule().cron(Cron("* * * * *", overlap="buffer_all"), job_id="t")
        await virtual_clock.advance(270.5)
        await crash(app)
    async with app:
        await virtual_clock.advance(60)
    assert [due // 60 for _, due in starts(job_transitions, "t")] == [1, 2, 3, 4, 5]
    assert skips(job_transitions) == []


async def test_a_job_beside_that_has_ended_is_not_started_again_by_a_crash(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The rerun is of the run that was cut; of its companions only the one that still ran is repeated."""
    lasts = [3 * HOUR]

    @app.task(on_crash="rerun")
    async def tick() -> None:
        await asyncio.sleep(lasts.pop() if lasts else 1800)

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", overlap="allow", misfire_policy="all"), job_id="t")
        await virtual_clock.advance(2.9 * HOUR)
        await crash(app)
    async with app:
        await virtual_clock.advance(1000)
    begun = [
        (event.job_id, event.due)
        for event in job_transitions
        if isinstance(event, Transition) and event.status is JobStatus.RUNNING
    ]
    at = [NEW_YEAR + timedelta(hours=hour) for hour in range(4)]
    assert begun == [("t", at[1]), ("t@2026-01-01T02:00:00Z", at[2]), ("t", at[1]), ("t@2026-01-01T03:00:00Z", at[3])]


async def test_times_of_a_pause_beside_a_run_are_covered_over_a_restart(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """They were told as paused; a crash of the run makes them neither due nor told again."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(100 * HOUR)

    async with app:
        job = await tick.schedule().cron(Cron("0 * * * *", overlap="allow"), job_id="t")
        await virtual_clock.advance(1.5 * HOUR)
        await job.pause()
        await virtual_clock.advance(2 * HOUR)
        await job.resume()
        await crash(app)
    async with app:
        await virtual_clock.advance(HOUR)
    assert skips(job_transitions) == [(2 * HOUR, 3 * HOUR, 2, "paused")]


async def test_two_times_that_look_the_same_have_one_job_and_a_record(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """After a step back of the wall the second of two equal names is not started, and is told."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def tick() -> None:
        await asyncio.sleep(10 * HOUR)

    async with app:
        await tick.schedule().every(Every(HOUR, overlap="allow"), job_id="t")
        await virtual_clock.advance(2 * HOUR)
        virtual_clock.step_wall(-HOUR)
        await virtual_clock.advance(HOUR)
        assert [job.id for job in await app.jobs()] == ["t", "t@2026-01-01T02:00:00Z"]
    assert skips(job_transitions) == [(2 * HOUR, 2 * HOUR, 1, "dropped")]


async def test_a_backoff_goes_on_when_its_job_is_rescheduled(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The attempt that waits is of the old time; the new trigger begins after it."""
    calls: list[float] = []

    @app.task(retry=Retry(1, delay=100, maximum=100, jitter=False))
    async def tick() -> None:
        calls.append(virtual_clock.monotonic())
        if len(calls) == 1:
            raise ValueError

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="t")
        await virtual_clock.advance(HOUR + 10)
        await job.reschedule(Cron("30 * * * *"))
        await virtual_clock.advance(HOUR)
    assert calls == [HOUR, HOUR + 100, 1.5 * HOUR]
    assert starts(job_transitions, "t") == [(HOUR, HOUR), (HOUR + 100, HOUR), (1.5 * HOUR, 1.5 * HOUR)]


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_a_reschedule_during_a_run_makes_no_earlier_time_due_after_a_restart(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, how: str
) -> None:
    """What the new trigger would have had before the run began, or before the reschedule, is not missed."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(2700)

    async with app:
        job = await tick.schedule().cron(Cron("0 * * * *", misfire_policy="all"), job_id="t")
        await virtual_clock.advance(HOUR + 1500)
        await job.reschedule(Cron("*/10 * * * *", misfire_policy="all"))
        if how == "crash":
            await crash(app)
    async with app:
        await virtual_clock.advance(HOUR + 1800)
    found = [due // 60 for _, due in starts(job_transitions, "t")]
    first, count = (90, 5) if how == "stop" else (100, 4)
    assert found == [60, 60 if how == "stop" else 90, 140]
    assert skips(job_transitions) == [(first * 60, 130 * 60, count, "overlap")]


async def test_a_backfill_of_as_many_times_as_its_limit(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The limit is the most that is allowed, not the first that is too many."""

    @app.task
    async def tick() -> None: ...

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="t")
        fill = await job.backfill(NEW_YEAR - timedelta(hours=4), NEW_YEAR, limit=5)
        await virtual_clock.advance(1)
        assert fill.run_count == 5


@pytest.mark.parametrize("kind", ["cron", "every"])
async def test_a_backfill_has_none_of_the_limits_of_its_job_but_its_dates(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, kind: str
) -> None:
    """No maximum of runs, no jitter, no overlap policy; but no time before the start or after the end either."""
    calls: list[float] = []

    @app.task
    async def tick() -> None:
        calls.append(virtual_clock.monotonic())
        await asyncio.sleep(10)

    async with app:
        limits: dict[str, Any] = {"max_runs": 3, "jitter": 600, "overlap": "cancel_other"}
        if kind == "cron":
            dates: dict[str, Any] = {
                "start_date": NEW_YEAR + timedelta(hours=2),
                "end_date": NEW_YEAR + timedelta(hours=6),
            }
            job = await tick.schedule().cron(Cron("0 * * * *", **limits, **dates), job_id="t")
        else:
            dates = {"end_date": NEW_YEAR + timedelta(hours=6)}
            job = await tick.schedule().every(Every(HOUR, **limits, **dates), job_id="t")
        await job.pause()
        await virtual_clock.advance(8 * HOUR)
        await job.backfill(NEW_YEAR, NEW_YEAR + timedelta(hours=8), job_id="fill")
        await virtual_clock.advance(100)
    first = 2 if kind == "cron" else 0
    hours = range(first, 7)
    assert starts(job_transitions, "fill") == [(8 * HOUR + 10 * n, hour * HOUR) for n, hour in enumerate(hours)]


async def test_a_backfill_of_a_backfill_has_the_same_minute(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`H` is drawn from the id of the first job, and the parent of both is that job."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(60)

    async with app:
        job = await tick.schedule().cron("H * * * *", job_id="t")
        fill = await job.backfill(NEW_YEAR - timedelta(hours=30), NEW_YEAR, job_id="fill")
        await virtual_clock.advance(1)
        again = await fill.backfill(NEW_YEAR - timedelta(hours=20), NEW_YEAR - timedelta(hours=10), job_id="again")
        assert again.exec_at.minute == job.exec_at.minute
    async with app:
        found = await app.get_job("again")
        assert found is not None
        assert found.exec_at.minute == job.exec_at.minute
        assert found.parent == "t"


def test_no_time_passes_for_a_watch_whose_job_is_over() -> None:
    """A job that is over leaves no alarm behind: virtual time has nothing more to go to."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        app = Jobify(storage=MemoryStorage())

        @app.task
        async def tick() -> None: ...

        async with app:
            await (await tick.schedule().cron(Cron("* * * * *", overlap="allow", max_runs=1), job_id="t")).wait()
            await asyncio.Event().wait()

    with pytest.raises(VirtualDeadlockError):
        run(main())
    assert loops[0].time() == 60
