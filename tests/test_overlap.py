"""Due times that pass while a run of the same job is in progress, its backoff included."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobify import (
    Cron,
    Every,
    InvalidScheduleError,
    Jobify,
    JobStatus,
    MisfirePolicy,
    Overlap,
    Recurrence,
    Retry,
    RunMode,
    Transition,
)
from jobify.storage import MemoryStorage
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.test_missed import skips, starts

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = 60


def each_minute(kind: str, overlap: Overlap | str, **limits: Any) -> Recurrence:
    """Return one time each minute, by the wall clock or by an interval."""
    return Cron("* * * * *", overlap=overlap, **limits) if kind == "cron" else Every(MINUTE, overlap=overlap, **limits)


@pytest.mark.parametrize("kind", ["cron", "every"])
@pytest.mark.parametrize(
    ("overlap", "runs", "skipped"),
    [
        ("skip", [(1, 1), (5, 5), (6, 6)], [(2, 4, 3, "overlap")]),
        ("buffer_one", [(1, 1), (4.5, 4), (5, 5), (6, 6)], [(2, 3, 2, "overlap")]),
        ("buffer_all", [(1, 1), (4.5, 2), (4.5, 3), (4.5, 4), (5, 5), (6, 6)], []),
    ],
)
async def test_what_passed_during_a_run(  # a table
    app: Jobify,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    kind: str,
    overlap: str,
    runs: list[tuple[float, float]],
    skipped: list[tuple[int, int, int, str]],
) -> None:
    """The first run takes three and a half minutes, the others no time."""
    first = True

    @app.task
    async def tick() -> None:
        nonlocal first
        if first:
            first = False
            await asyncio.sleep(3.5 * MINUTE)

    async with app:
        await tick.schedule().recur(each_minute(kind, overlap), job_id="tick")
        await virtual_clock.advance(minutes=6, seconds=30)
    assert starts(job_transitions, "tick") == [(at * MINUTE, due * MINUTE) for at, due in runs]
    assert skips(job_transitions) == [(a * MINUTE, b * MINUTE, count, reason) for a, b, count, reason in skipped]


async def test_the_backoff_of_a_run_is_part_of_it(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A time that passes between two attempts finds the run in progress."""
    calls = 0

    @app.task(retry=Retry(1, delay=150, maximum=150, jitter=False))
    async def tick() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError

    async with app:
        await tick.schedule().cron(Cron("* * * * *", overlap="buffer_one"), job_id="tick")
        await virtual_clock.advance(minutes=3, seconds=59)
    assert starts(job_transitions, "tick") == [(60, 60), (210, 60), (210, 180)]
    assert skips(job_transitions) == [(120, 120, 1, "overlap")]


async def test_too_many_times_are_dropped(virtual_clock: VirtualClock, job_transitions: TransitionLog) -> None:
    """What is buffered is bounded: the latest hundred times, and a record of the others."""
    app = Jobify(storage=MemoryStorage())
    first = True

    @app.task
    async def tick() -> None:
        nonlocal first
        if first:
            first = False
            await asyncio.sleep(199.5 * MINUTE)

    async with app:
        await tick.schedule().cron(Cron("* * * * *", overlap="buffer_all"), job_id="tick")
        await virtual_clock.advance(minutes=201)
    assert [due // MINUTE for _, due in starts(job_transitions, "tick")] == [1, *range(101, 202)]
    assert skips(job_transitions) == [(120, 6000, 99, "dropped")]


@pytest.mark.parametrize("kind", ["cron", "every"])
async def test_a_later_time_can_cancel_the_run_in_progress(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, kind: str
) -> None:
    """`cancel_other`: the run in progress is cancelled at the next time, and counts neither as run nor as failure."""
    cleaned = 0

    @app.task
    async def tick() -> None:
        nonlocal cleaned
        try:
            await asyncio.sleep(90)
        finally:
            cleaned += 1

    async with app:
        job = await tick.schedule().recur(each_minute(kind, Overlap.CANCEL_OTHER, max_failures=1), job_id="tick")
        await virtual_clock.advance(minutes=3, seconds=30)
        assert (job.status, job.run_count, job.failure_count, cleaned) == (JobStatus.RUNNING, 0, 0, 2)
    assert job_transitions.timeline(job)[:6] == [
        (0, "scheduled"),
        (60, "running"),
        (120, "scheduled"),
        (120, "running"),
        (180, "scheduled"),
        (180, "running"),
    ]
    assert [transition.reason for transition in job_transitions.of(job)[:4]] == [None, None, "overtaken", None]
    assert starts(job_transitions, "tick") == [(60, 60), (120, 120), (180, 180)]


async def test_a_body_that_swallows_the_cancellation_has_ended_by_itself(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Its result counts, and the run for the new time follows at once."""

    @app.task
    async def tick() -> str:
        try:
            await asyncio.sleep(90)
        except asyncio.CancelledError:
            return "saved"
        return "done"

    async with app:
        job = await tick.schedule().cron(Cron("* * * * *", overlap="cancel_other", max_runs=2), job_id="tick")
        await virtual_clock.advance(minutes=2)
        assert (job.result(), job.run_count) == ("saved", 1)
        await virtual_clock.advance(minutes=1)
        assert job.is_done()
    assert starts(job_transitions, "tick") == [(60, 60), (120, 120)]


async def test_an_error_of_the_cancelled_run_is_its_own(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A run that answers its cancellation with an error has failed, is not tried again, and the next one starts."""

    @app.task(retry=5)
    async def tick() -> None:
        try:
            await asyncio.sleep(90)
        finally:
            raise ValueError

    async with app:
        job = await tick.schedule().cron(Cron("* * * * *", overlap="cancel_other", max_failures=2), job_id="tick")
        await virtual_clock.advance(minutes=2, seconds=1)
        assert (job.failure_count, job.status) == (1, JobStatus.RUNNING)
    assert job_transitions.timeline(job)[:5] == [
        (0, "scheduled"),
        (60, "running"),
        (120, "failed"),
        (120, "scheduled"),
        (120, "running"),
    ]


async def test_a_later_time_ends_the_backoff_too(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """`cancel_other` in a backoff: a first attempt for the new time starts, instead of a second for the old one."""

    @app.task(retry=Retry(3, delay=100, maximum=100, jitter=False))
    async def tick() -> None:
        raise ValueError

    async with app:
        job = await tick.schedule().cron(Cron("* * * * *", overlap="cancel_other"), job_id="tick")
        await virtual_clock.advance(minutes=3, seconds=1)
        assert job.attempt == 1
    running = [event for event in job_transitions.of(job) if event.status is JobStatus.RUNNING]
    assert [(event.elapsed, event.attempt, event.run) for event in running] == [(60, 1, 1), (120, 1, 1), (180, 1, 1)]
    assert starts(job_transitions, "tick") == [(60, 60), (120, 120), (180, 180)]


@pytest.mark.parametrize("mode", [RunMode.THREAD, None])
async def test_a_thread_cannot_be_overtaken(app: Jobify, mode: RunMode | None) -> None:
    """`cancel_other` is refused for what cannot be cancelled: declared, scheduled and rescheduled."""
    trigger = Cron("* * * * *", overlap="cancel_other")

    @app.task(run_mode=mode)
    def tick() -> None: ...

    with pytest.raises(InvalidScheduleError, match="no thread can be"):
        app.task(recur=trigger, name="declared")(tick.function)
    async with app:
        with pytest.raises(InvalidScheduleError, match="no thread can be"):
            await tick.schedule().recur(trigger, job_id="tick")
        job = await tick.schedule().cron("* * * * *", job_id="tick")
        with pytest.raises(InvalidScheduleError, match="no thread can be"):
            await job.reschedule(trigger)
        assert job.cron_expression == "* * * * *"


@pytest.mark.parametrize("kind", ["cron", "every"])
async def test_runs_can_be_allowed_beside_each_other(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog, kind: str
) -> None:
    """`allow`: a job of its own, with an id and a parent, runs for each time that comes meanwhile."""

    @app.task
    async def tick(text: str) -> str:
        await asyncio.sleep(150)
        return text

    async with app:
        await tick.schedule("hello").recur(each_minute(kind, "allow"), job_id="tick")
        await virtual_clock.advance(minutes=3)
        running = await app.jobs(status=JobStatus.RUNNING)
        assert [found.id for found in running] == ["tick", "tick@2026-01-01T00:02:00Z", "tick@2026-01-01T00:03:00Z"]
        assert [found.parent for found in running] == [None, "tick", "tick"]
        assert [dict(found.arguments) for found in running] == [{"text": "hello"}] * 3
        assert [found.recurring for found in running] == [True, False, False]
        await virtual_clock.advance(minutes=2, seconds=59)
    assert starts(job_transitions, "tick") == [(60, 60), (240, 240)]
    beside = [event for event in job_transitions if isinstance(event, Transition) and event.job_id != "tick"]
    assert [(event.elapsed, (event.due - NEW_YEAR).total_seconds()) for event in beside if event.attempt == 0] == [
        (120, 120),
        (180, 180),
        (300, 300),
    ]
    assert skips(job_transitions) == []


async def test_a_job_beside_survives_a_restart_and_is_not_started_twice(
    app: Jobify, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """What was started beside a run is a job of its own: after a crash each time has one, and only one, job."""

    @app.task(on_crash="rerun")
    async def tick() -> None:
        await asyncio.sleep(200)

    async with app:
        await tick.schedule().cron(Cron("* * * * *", overlap="allow"), job_id="tick")
        await virtual_clock.advance(minutes=3, seconds=10)
        await crash(app)
    async with app:
        await virtual_clock.advance(seconds=20)
        ids = sorted(found.id for found in await app.jobs())
        assert ids == ["tick", "tick@2026-01-01T00:02:00Z", "tick@2026-01-01T00:03:00Z"]
    meant = [
        (event.job_id, event.due)
        for event in job_transitions
        if isinstance(event, Transition) and event.status is JobStatus.RUNNING
    ]
    assert len(set(meant)) == 3
    assert {due for _, due in meant} == {NEW_YEAR + timedelta(minutes=minute) for minute in (1, 2, 3)}


async def test_a_loop_that_was_blocked_during_a_run_starts_one_job_beside(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Times that a blocked loop missed while a run was in progress are decided by the misfire policy."""
    app = Jobify(storage=MemoryStorage())

    @app.task
    async def tick() -> None:
        await asyncio.sleep(1000)

    async with app:
        trigger = Cron("* * * * *", overlap="allow", misfire_policy=MisfirePolicy.ONCE)
        await tick.schedule().cron(trigger, job_id="tick")
        await virtual_clock.advance(61)
        virtual_clock.block(200)
        await virtual_clock.settle()
        beside = [found.id for found in await app.jobs() if found.parent == "tick"]
        assert beside == ["tick@2026-01-01T00:04:00Z"]
        assert skips(job_transitions) == [(120, 180, 2, "missed")]
        await virtual_clock.advance(60)
        assert len(await app.jobs()) == 3


async def test_a_cancelled_job_starts_nothing_beside(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Who cancels the recurrence during its run cancels all that would have followed."""

    @app.task
    async def tick() -> None:
        await asyncio.sleep(600)

    async with app:
        job = await tick.schedule().cron(Cron("* * * * *", overlap="allow"), job_id="tick")
        await virtual_clock.advance(minutes=2)
        assert await job.cancel()
        await virtual_clock.advance(minutes=5)
        assert [found.id for found in await app.jobs()] == ["tick@2026-01-01T00:02:00Z"]


@pytest.mark.parametrize("overlap", ["never", "", None, 3])
def test_an_overlap_that_is_none_is_refused(overlap: str) -> None:
    """What is no policy is refused where it is given."""
    with pytest.raises(InvalidScheduleError, match="overlap"):
        Every(5, overlap=overlap)
