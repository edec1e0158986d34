"""What is known of runs that have ended, in this process or in an earlier one."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobify import (
    ApplicationStateError,
    Cron,
    InvalidScheduleError,
    JobFailedError,
    Jobify,
    MisfirePolicy,
    ResultNotStoredError,
    Retention,
    Retry,
    RunRecord,
    RunStatus,
)
from jobify.storage import MemoryStorage, SQLiteStorage, Storage
from jobify_testing import VirtualClock, crash

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def told(records: list[RunRecord]) -> list[tuple[str, str, float, int, str | None]]:
    """Return the records in the order in which they were made: job, status, time, count and reason."""
    return [
        (
            record.job_id,
            str(record.status),
            (record.scheduled_for - NEW_YEAR).total_seconds(),
            record.count,
            record.reason,
        )
        for record in reversed(records)
    ]


async def test_a_run_is_found_by_a_later_process(storage: Storage, virtual_clock: VirtualClock) -> None:
    """Result, times, attempts and process of a run are known when its job is gone, over restarts too."""
    app = Jobify(storage=storage, tz=ZoneInfo("Europe/Paris"))
    calls = 0

    @app.task(name="work", retry=Retry(1, delay=5, jitter=False))
    async def work(n: int) -> dict[str, int]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(2)
        if calls == 1:
            raise ValueError
        return {"n": n}

    async with app:
        await work.schedule(7).delay(10, job_id="it")
        await app.wait_all()
        assert await app.get_job("it") is None
    async with app:
        run = await app.get_run("it")
        assert run is not None
        assert run.result() == {"n": 7}
        assert (run.job_id, run.task, run.status, run.attempts) == ("it", "work", RunStatus.SUCCESS, 2)
        assert run.scheduled_for == NEW_YEAR + timedelta(seconds=10)
        assert (run.started_at, run.finished_at) == (
            NEW_YEAR + timedelta(seconds=10),
            NEW_YEAR + timedelta(seconds=19),
        )
        assert run.finished_at.tzinfo == ZoneInfo("Europe/Paris")
        assert (run.error, run.reason, run.parent, run.process) == (None, None, None, "virtual:1")
        assert await app.get_run("another") is None


async def test_a_failure_is_known_in_words(app: Jobify) -> None:
    """The error of a failed run is kept as text, and is raised as such."""

    @app.task
    async def fail() -> None:
        raise ValueError("no such user")

    @app.task(timeout=5)
    async def hang() -> None:
        await asyncio.sleep(10)

    async with app:
        await fail.schedule().delay(1, job_id="fails")
        await hang.schedule().delay(1, job_id="hangs")
        await app.wait_all()
        failed, hung = await app.get_run("fails"), await app.get_run("hangs")
        assert failed is not None
        assert hung is not None
        assert (failed.status, failed.error) == (RunStatus.FAILED, "ValueError: no such user")
        assert hung.status is RunStatus.TIMEOUT
        with pytest.raises(JobFailedError, match="no such user"):
            failed.result()
        with pytest.raises(JobFailedError, match="timeout"):
            hung.result()


async def test_everything_that_became_of_a_recurrence_is_there(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Runs, and each stretch without runs as one record with its reason: missed, overlap, paused, cancelled."""
    slow = [False]

    @app.task(name="tick")
    async def tick() -> None:
        if slow[0]:
            slow[0] = False
            await asyncio.sleep(2.5 * 3600)

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="tick")
        await virtual_clock.advance(HOUR)
        slow[0] = True
        await virtual_clock.advance(4 * HOUR)
        await job.pause()
        await virtual_clock.advance(2.5 * HOUR)
        await job.resume()
    await virtual_clock.advance(3 * HOUR)
    async with app:
        await virtual_clock.settle()
        found = await app.get_job("tick")
        assert found is not None
        await found.cancel()
        records = await app.history(job_id="tick")
        assert told(records) == [
            ("tick", "success", 3600, 1, None),
            ("tick", "success", 7200, 1, None),
            ("tick", "skipped", 10800, 2, "overlap"),
            ("tick", "success", 18000, 1, None),
            ("tick", "skipped", 21600, 2, "paused"),
            ("tick", "skipped", 28800, 2, "missed"),
            ("tick", "success", 36000, 1, None),
            ("tick", "cancelled", 39600, 1, "cancelled"),
        ]
        (overlap,) = [record for record in records if record.reason == "overlap"]
        assert overlap.last == NEW_YEAR + 4 * HOUR
        assert (overlap.started_at, overlap.attempts) == (None, 0)
        with pytest.raises(JobFailedError, match="skipped: overlap"):
            overlap.result()


async def test_skipped_times_are_written_once(app: Jobify, virtual_clock: VirtualClock) -> None:
    """Each downtime is one record, and no later start tells it again, also if the program crashes before a run."""

    @app.task
    async def tick() -> None: ...

    async with app:
        trigger = Cron("0 * * * *", misfire_policy=MisfirePolicy.SKIP)
        await tick.schedule().cron(trigger, job_id="tick")
    for _ in range(3):
        await virtual_clock.advance(3 * HOUR + HOUR / 4)
        await app.start()
        await virtual_clock.settle()
        await crash(app)
    async with app:
        await virtual_clock.advance(HOUR)
        assert told(await app.history()) == [
            ("tick", "skipped", 3600, 3, "missed"),
            ("tick", "skipped", 14400, 3, "missed"),
            ("tick", "skipped", 25200, 3, "missed"),
            ("tick", "success", 36000, 1, None),
        ]


async def test_the_history_is_asked(app: Jobify, virtual_clock: VirtualClock) -> None:
    """By job, task, status and time, the latest first, and no more than the limit."""

    @app.task(name="good")
    async def good(n: int) -> int:
        return n

    @app.task(name="bad")
    async def bad() -> None:
        raise ValueError

    async with app:
        for n in range(5):
            await good.schedule(n).delay(n + 1)
        await bad.schedule().delay(3)
        await app.wait_all()
        assert [run.result() for run in await app.history(task=good)] == [4, 3, 2, 1, 0]
        assert [run.result() for run in await app.history(task="good", limit=2)] == [4, 3]
        assert [run.task for run in await app.history(status="failed")] == ["bad"]
        assert [run.task for run in await app.history(status=[RunStatus.FAILED, "timeout"])] == ["bad"]
        since = NEW_YEAR + timedelta(seconds=3)
        assert len(await app.history(since=since)) == 4
        assert len(await app.history(since=since, task=good, status=RunStatus.SUCCESS)) == 3
        assert len(await app.history()) == 6
        wrongs: list[dict[str, Any]] = [
            {"limit": 0},
            {"limit": True},
            {"status": "done"},
            {"since": datetime(2026, 1, 1)},  # noqa: DTZ001  # that is the point
        ]
        for wrong in wrongs:
            with pytest.raises(InvalidScheduleError):
                await app.history(**wrong)
    with pytest.raises(ApplicationStateError):
        await app.history()


async def test_the_history_is_kept_for_its_time(storage: Storage, virtual_clock: VirtualClock) -> None:
    """Successes are kept for a day, failures for a week; what has expired goes when others are written."""
    app = Jobify(storage=storage)

    @app.task
    async def work(n: int) -> None:
        if n % 2:
            raise ValueError

    async with app:
        for n in range(10):
            await work.push(n)
        await app.wait_all()
        await virtual_clock.advance(25 * HOUR)
        for _ in range(150):
            await work.push(0)
        await app.wait_all()
        await virtual_clock.settle()
        assert len(await app.history(status="failed", limit=1000)) == 5
        assert len(await app.history(status="success", limit=1000)) == 150
        await virtual_clock.advance(timedelta(days=7))
        for _ in range(150):
            await work.push(0)
        await app.wait_all()
        await virtual_clock.settle()
        assert len(await app.history(status="failed", limit=1000)) == 0


async def test_the_history_is_bounded(storage: Storage, virtual_clock: VirtualClock) -> None:
    """No more records than wanted, but for those that came since they were last counted."""
    app = Jobify(storage=storage, retention=Retention(most=10))

    @app.task
    async def work(n: int) -> int:
        return n

    async with app:
        for n in range(300):
            await work.push(n)
        await app.wait_all()
        await virtual_clock.settle()
        kept = [run.result() for run in await app.history(limit=1000)]
        assert 10 <= len(kept) <= 10 + 128
        assert kept[:10] == list(range(299, 289, -1))


async def test_no_history_is_kept_where_none_is_wanted(storage: Storage, virtual_clock: VirtualClock) -> None:
    """`retention=None` writes nothing; jobs that are not durable have no history either."""
    app = Jobify(storage=storage, retention=None)

    @app.task
    async def work() -> int:
        return 1

    async with app:
        job = await work.push()
        await app.wait_all()
        assert job.result() == 1
        recurring = await work.schedule().cron("0 * * * *", job_id="it")
        await recurring.pause()
        await virtual_clock.advance(5 * HOUR)
        await recurring.resume()
        await recurring.cancel()
        assert await app.history() == []
    other = Jobify(storage=storage)

    @other.task(durable=False)
    async def passing() -> int:
        return 1

    async with other:
        await passing.push()
        await other.wait_all()
        assert await other.history() == []


@dataclass
class Point:
    """A result with a type."""

    x: int
    y: int


@pytest.mark.virtual_clock
async def test_results_come_back_by_their_annotation(storage: Storage) -> None:
    """A result of a declared type is that type again."""
    app = Jobify(storage=storage)

    @app.task
    async def where() -> Point:
        return Point(1, 2)

    @app.task
    async def when() -> datetime | None:
        return NEW_YEAR

    async with app:
        await where.schedule().delay(1, job_id="where")
        await when.schedule().delay(1, job_id="when")
        await app.wait_all()
    async with app:
        for job_id, expected in (("where", Point(1, 2)), ("when", NEW_YEAR)):
            run = await app.get_run(job_id)
            assert run is not None
            assert run.result() == expected


@pytest.mark.virtual_clock(storage="private")
async def test_a_result_that_cannot_be_stored_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The job succeeds, its handle has the result, and the history says why it has not."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def work() -> Any:
        return object()

    async with app:
        job = await work.schedule().delay(1, job_id="it")
        await job.wait()
        assert type(job.result()) is object
        run = await app.get_run("it")
        assert run is not None
        assert run.status is RunStatus.SUCCESS
        with pytest.raises(ResultNotStoredError, match="cannot store the result"):
            run.result()
    assert "cannot store the result" in caplog.text


async def test_a_result_of_a_task_that_is_gone_cannot_be_read(virtual_clock: VirtualClock) -> None:
    """Without its task nobody knows what the stored bytes mean; the record says so."""
    before, after = Jobify(storage=SQLiteStorage("jobs.db")), Jobify(storage=SQLiteStorage("jobs.db"))

    @before.task
    async def work() -> int:
        return 1

    async with before:
        await work.schedule().delay(1, job_id="it")
        await before.wait_all()
    async with after:
        run = await after.get_run("it")
        assert run is not None
        with pytest.raises(ResultNotStoredError, match="not registered"):
            run.result()
        await virtual_clock.settle()


async def test_a_crash_is_in_the_history(app: Jobify, virtual_clock: VirtualClock) -> None:
    """A run that a crash has cut short is a record of its own; the run that makes up for it is another."""

    @app.task
    async def work() -> str:
        await asyncio.sleep(10)
        return "done"

    async with app:
        await work.schedule().delay(5, job_id="it")
        await virtual_clock.advance(8)
        await crash(app)
    await virtual_clock.advance(10)
    async with app:
        await app.wait_all()
        interrupted, success = reversed(await app.history(job_id="it"))
        assert (interrupted.status, interrupted.reason, interrupted.attempts) == (RunStatus.INTERRUPTED, "crash", 1)
        assert interrupted.started_at == NEW_YEAR + timedelta(seconds=5)
        assert interrupted.finished_at == NEW_YEAR + timedelta(seconds=18)
        assert (success.status, success.result(), success.attempts) == (RunStatus.SUCCESS, "done", 1)


async def test_replaced_and_cancelled_jobs_are_in_the_history(app: Jobify) -> None:
    """What was called off before it ran says so."""

    @app.task
    async def work() -> None: ...

    async with app:
        first = await work.schedule().delay(10, job_id="it")
        second = await work.schedule().delay(20, job_id="it", replace=True)
        assert not await first.cancel()
        assert await second.cancel()
        assert told(await app.history()) == [
            ("it", "cancelled", 10, 1, "replaced"),
            ("it", "cancelled", 20, 1, "cancelled"),
        ]


async def test_the_last_run_of_a_cancelled_recurrence_is_in_the_history(
    app: Jobify, virtual_clock: VirtualClock
) -> None:
    """A job that is cancelled during a run ends that run, whose outcome is known later."""

    @app.task
    async def tick() -> int:
        await asyncio.sleep(10)
        return 7

    async with app:
        job = await tick.schedule().cron("0 * * * *", job_id="it")
        await virtual_clock.advance(HOUR)
        await job.cancel()
        await job.wait()
    async with app:
        run = await app.get_run("it")
        assert run is not None
        assert run.result() == 7


async def test_the_history_is_pruned_at_a_start_too(storage: Storage, virtual_clock: VirtualClock) -> None:
    """A program that never writes many records between two starts is bounded all the same."""
    app = Jobify(storage=storage, retention=Retention(most=10))

    @app.task
    async def work() -> None: ...

    for _ in range(4):
        async with app:
            for _ in range(20):
                await work.push()
            await app.wait_all()
    async with app:
        assert len(await app.history(limit=1000)) == 10


@pytest.mark.parametrize(
    "wrong", [{"success": -1}, {"failure": float("nan")}, {"most": 0}, {"most": True}, {"success": None}]
)
def test_a_retention_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Durations are durations, and a number of records is a whole number from 1."""
    with pytest.raises(InvalidScheduleError):
        Retention(**wrong)
    with pytest.raises(InvalidScheduleError, match="Retention"):
        Jobify(storage=MemoryStorage(), retention=5)  # type: ignore[arg-type]
