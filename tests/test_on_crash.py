"""What becomes of a run that a crash of the process has cut short."""

import asyncio
from datetime import timedelta

import pytest

from jobify import Cron, Jobify, JobStatus, MisfirePolicy, OnCrash, RunStatus, StorageError, TaskDefinitionError
from jobify.storage import MemoryStorage, Storage
from jobify_testing import TransitionLog, VirtualClock, crash
from tests.storages import HookedStorage
from tests.test_missed import HOUR, NEW_YEAR, skips, starts


@pytest.mark.parametrize(
    ("on_crash", "again"),
    [(None, True), ("rerun", True), (OnCrash.RERUN, True), ("skip", False), (OnCrash.SKIP, False)],
)
async def test_a_one_time_job_runs_again_or_is_over(
    storage: Storage,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    on_crash: str | None,
    again: bool,  # noqa: FBT001  # a column of the table
) -> None:
    """By default a one-time job runs at least once; one that skips, at most once."""
    app = Jobify(storage=storage)
    calls: list[float] = []

    @app.task(on_crash=on_crash)
    async def work() -> None:
        calls.append(virtual_clock.monotonic())
        await asyncio.sleep(10)

    async with app:
        await work.schedule().delay(5, job_id="it")
        await virtual_clock.advance(8)
        await crash(app)
    async with app:
        await app.wait_all()
        assert await app.jobs() == []
        statuses = [run.status for run in await app.history(job_id="it")]
    assert calls == ([5, 8] if again else [5])
    assert statuses == ([RunStatus.SUCCESS, RunStatus.INTERRUPTED] if again else [RunStatus.INTERRUPTED])
    last = job_transitions.of("it")[-1]
    assert (last.status, last.reason) == ((JobStatus.SUCCESS, None) if again else (JobStatus.CANCELLED, "interrupted"))
    async with app:
        assert await app.jobs() == []


@pytest.mark.parametrize(("on_crash", "due"), [(None, [1, 2, 3]), ("skip", [1, 2, 3]), ("rerun", [1, 1, 2, 3])])
@pytest.mark.parametrize("kind", ["cron", "every"])
async def test_an_occurrence_is_started_at_most_once_unless_it_is_to_run_again(  # a table
    storage: Storage,
    virtual_clock: VirtualClock,
    job_transitions: TransitionLog,
    on_crash: str | None,
    due: list[int],
    kind: str,
) -> None:
    """A recurring job goes on at its next time behind a crash; with "rerun" the occurrence is made up for."""
    app = Jobify(storage=storage)

    @app.task(on_crash=on_crash)
    async def tick() -> None:
        await asyncio.sleep(600)

    async with app:
        schedule = tick.schedule()
        await (schedule.cron("0 * * * *", job_id="it") if kind == "cron" else schedule.every(HOUR, job_id="it"))
        await virtual_clock.advance(HOUR + 60)
        await crash(app)
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert job.run_count == (0 if on_crash == "rerun" else 1)
        await virtual_clock.advance(2 * HOUR + 30)
    assert [time / HOUR for _, time in starts(job_transitions, "it")] == due
    assert skips(job_transitions) == []


async def test_a_crash_and_a_downtime_are_two_things(
    storage: Storage, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """The occurrence that was cut short is not missed; those that passed before the next start are."""
    app = Jobify(storage=storage)

    @app.task
    async def tick() -> None:
        await asyncio.sleep(600)

    async with app:
        await tick.schedule().cron("0 * * * *", job_id="once")
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy=MisfirePolicy.SKIP), job_id="skip")
        await tick.schedule().cron(Cron("0 * * * *", misfire_policy=MisfirePolicy.ALL), job_id="all")
        await virtual_clock.advance(HOUR + 60)
        await crash(app)
    await virtual_clock.advance(3 * HOUR)
    async with app:
        await virtual_clock.advance(0.9 * HOUR)
        history = [(run.job_id, str(run.status), run.count) for run in reversed(await app.history())]
    due = {job_id: [time / HOUR for _, time in starts(job_transitions, job_id)] for job_id in ("once", "skip", "all")}
    assert due == {"once": [1, 4], "skip": [1], "all": [1, 2, 3, 4]}
    assert skips(job_transitions) == [(2 * HOUR, 3 * HOUR, 2, "missed"), (2 * HOUR, 4 * HOUR, 3, "missed")]
    assert ("once", "skipped", 2) in history
    assert ("skip", "skipped", 3) in history
    assert [status for job_id, status, _ in history if job_id == "all"] == ["interrupted", *["success"] * 3]


async def test_a_recurrence_whose_last_run_was_cut_short_is_over(
    storage: Storage, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """With `max_runs` the run that crashed was the last one; with an `end_date` there is no further time."""
    app = Jobify(storage=storage)

    @app.task
    async def tick() -> None:
        await asyncio.sleep(600)

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", max_runs=1), job_id="runs")
        await tick.schedule().cron(Cron("0 * * * *", end_date=NEW_YEAR + timedelta(hours=1)), job_id="end")
        await virtual_clock.advance(HOUR + 60)
        await crash(app)
    async with app:
        assert await app.jobs() == []
    assert [job_transitions.of(job_id)[-1].reason for job_id in ("runs", "end")] == ["interrupted", "interrupted"]
    async with app:
        assert await app.jobs() == []


class Unreliable(HookedStorage):
    """A storage that cannot remove anything while it is told so."""

    stuck = False

    async def before(self, verb: str) -> None:
        """Fail."""
        if self.stuck and verb == "remove":
            msg = "the disk is full"
            raise StorageError(msg)


async def test_a_start_that_fails_half_way_tells_nothing_twice(virtual_clock: VirtualClock) -> None:
    """A run that is over by a crash has one record of that, also if the start after the crash fails, or crashes too."""
    storage = Unreliable()
    app = Jobify(storage=storage)

    @app.task(on_crash="skip")
    async def work() -> None:
        await asyncio.sleep(600)

    async with app:
        await work.schedule().delay(10, job_id="it")
        await virtual_clock.advance(60)
        await crash(app)
    storage.stuck = True
    with pytest.raises(StorageError, match="disk is full"):
        await app.start()
    storage.stuck = False
    async with app:
        assert [str(run.status) for run in await app.history()] == ["interrupted"]
        assert await app.jobs() == []


@pytest.mark.parametrize(("most", "held_after"), [(1, 1), (2, 2), (None, None)])
async def test_how_many_crashes_hold_a_job_can_be_set(
    virtual_clock: VirtualClock, most: int | None, held_after: int | None
) -> None:
    """As many crashes in a row as `max_interruptions` hold a job that each cut short; None never does."""
    app = Jobify(storage=MemoryStorage(), max_interruptions=most)

    @app.task
    async def work() -> None:
        await asyncio.sleep(10)

    async with app:
        await work.schedule().delay(1, job_id="once")
        await work.schedule().every(30, job_id="recurring")
    for number in range(1, 5):
        await app.start()
        await virtual_clock.advance(31)
        await crash(app)
        await app.start()
        held = held_after is not None and number >= held_after
        assert [(job.id, job.held is not None) for job in await app.jobs()] == [("recurring", held)]
        await app.stop()


async def test_a_graceful_stop_is_no_crash(
    storage: Storage, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """A run that a stop has cut short runs again, also of a recurring job, and leaves no record of a crash."""
    app = Jobify(storage=storage, shutdown_grace=0)

    @app.task
    async def tick() -> None:
        await asyncio.sleep(600)

    async with app:
        await tick.schedule().cron("0 * * * *", job_id="it")
        await virtual_clock.advance(HOUR + 60)
    async with app:
        await virtual_clock.advance(700)
        assert [str(run.status) for run in await app.history()] == ["success"]
    assert [time / HOUR for _, time in starts(job_transitions, "it")] == [1, 1]


async def test_a_job_beside_another_is_started_at_most_once_too(
    storage: Storage, virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """What runs beside a recurring job is an occurrence of it: by default a crash ends it, with a record."""
    app = Jobify(storage=storage)

    @app.task
    async def tick() -> None:
        await asyncio.sleep(1.5 * HOUR)

    async with app:
        await tick.schedule().cron(Cron("0 * * * *", overlap="allow"), job_id="it")
        await virtual_clock.advance(2 * HOUR + 60)
        await crash(app)
    async with app:
        assert [(job.id, job.recurring) for job in await app.jobs()] == [("it", True)]
        interrupted = [run.job_id for run in await app.history(status="interrupted")]
        assert sorted(interrupted) == ["it", "it@2026-01-01T02:00:00Z"]


async def test_a_held_recurrence_that_is_released_goes_on_at_its_next_time(virtual_clock: VirtualClock) -> None:
    """Released by hand it runs no occurrence again that a crash has cut short."""
    app = Jobify(storage=MemoryStorage(), max_interruptions=1)
    calls: list[float] = []

    @app.task
    async def tick() -> None:
        calls.append(virtual_clock.monotonic())
        await asyncio.sleep(60)

    async with app:
        await tick.schedule().cron("0 * * * *", job_id="it")
        await virtual_clock.advance(HOUR + 10)
        await crash(app)
    async with app:
        job = await app.get_job("it")
        assert job is not None
        assert job.held == "a crash has cut its run short once"
        await job.resume()
        await virtual_clock.advance(HOUR)
    assert calls == [HOUR, 2 * HOUR]


@pytest.mark.parametrize("turns", range(1, 25))
async def test_a_crash_of_the_next_start_records_nothing_twice(
    storage: Storage, virtual_clock: VirtualClock, turns: int
) -> None:
    """What becomes of a job is written with its record, in one transaction."""
    app = Jobify(storage=storage)

    @app.task(on_crash="skip")
    async def work() -> None:
        await asyncio.sleep(10)

    async with app:
        await work.schedule().delay(1, job_id="cut")
        await work.schedule().delay(100, job_id="late", misfire_policy=MisfirePolicy.SKIP)
        await virtual_clock.advance(2)
        await crash(app)
    await virtual_clock.advance(200)
    starting = asyncio.ensure_future(app.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    await crash(app)
    await asyncio.wait([starting])
    async with app:
        assert await app.jobs() == []
        assert sorted(run.job_id for run in await app.history()) == ["cut", "late"]


def test_what_is_no_policy_is_refused() -> None:
    """`on_crash` is one of two words."""
    app = Jobify(storage=MemoryStorage())
    for wrong in ("never", "", 3, True):
        with pytest.raises(TaskDefinitionError, match="on_crash"):

            @app.task(on_crash=wrong)  # type: ignore[arg-type]
            async def work() -> None: ...
