"""The edges of the calendar: what cannot be shown is refused at the door, and what has no next time is over."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobify import Every, InvalidScheduleError, Job, Jobify, JobStatus, Retry, Schedule
from jobify.storage import MemoryStorage, Storage
from jobify_testing import VirtualClock

LAST = datetime.max.replace(tzinfo=UTC)
FIRST = datetime.min.replace(tzinfo=UTC)
AEONS = timedelta(days=365 * 7900)


async def test_a_backoff_beyond_the_calendar_is_no_backoff(app: Jobify, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose next attempt would be after the year 9999 ends with its own outcome, and the log says why."""

    @app.task(retry=Retry(5, delay=timedelta(days=365 * 9000), maximum=timedelta(days=365 * 9000), jitter=False))
    async def fail() -> None:
        raise ValueError("of its own")

    async with app:
        job = await fail.push()
        run = await job.wait()
    assert run is not None
    assert (run.status, run.attempts, str(run.error)) == (JobStatus.FAILED, 1, "of its own")
    assert "is not tried again" in caplog.text


@pytest.mark.parametrize("error", [None, ValueError("no")])
async def test_a_recurrence_that_has_no_further_time_is_over(
    app: Jobify, virtual_clock: VirtualClock, error: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """After the last run before the end of the calendar a recurring job is finished, with the outcome of that run."""
    caplog.set_level("INFO", "jobify")

    @app.task
    async def work() -> None:
        if error is not None:
            raise error

    async with app:
        job = await work.schedule().every(AEONS, job_id="aeons")
        await job.wait()
        assert job.status is (JobStatus.SUCCESS if error is None else JobStatus.FAILED)
        assert job.is_done()
        assert await app.jobs() == []
    assert "job 'aeons' is over" in caplog.text
    async with app:
        assert await app.jobs() == []


async def test_a_cron_that_has_no_further_time_is_over(storage: Storage, virtual_clock: VirtualClock) -> None:
    """The last New Year of the calendar is the last run of a yearly job."""
    app = Jobify(storage=storage)

    @app.task
    async def work() -> None: ...

    async with app:
        await virtual_clock.advance_to(datetime(9998, 6, 1, tzinfo=UTC))
        job = await work.schedule().cron("0 0 1 1 *", job_id="yearly")
        assert job.exec_at == datetime(9999, 1, 1, tzinfo=UTC)
        await job.wait()
        assert job.is_done()


@pytest.mark.parametrize(
    ("tz", "moment"),
    [
        ("Asia/Tokyo", datetime(9999, 12, 31, 23, 59, tzinfo=UTC)),
        ("Asia/Tokyo", datetime(9999, 12, 31, 15, tzinfo=UTC)),
        ("+00:01", datetime(9999, 12, 31, 23, 59, tzinfo=UTC)),
        ("UTC", LAST),
        ("America/New_York", FIRST),
    ],
)
async def test_an_instant_that_the_zone_of_the_app_cannot_show_is_refused(
    virtual_clock: VirtualClock, tz: str, moment: datetime
) -> None:
    """What `exec_at` could not say is not accepted."""
    app = Jobify(storage=MemoryStorage(), tz=tz)

    @app.task
    async def nothing() -> None: ...

    async with app:
        with pytest.raises(InvalidScheduleError, match=f"years 1 to 9999 of the zone {tz.replace('+', '.')}"):
            await nothing.schedule().at(moment)
        assert await app.jobs() == []


async def test_the_last_instants_that_can_be_shown_are_fine(virtual_clock: VirtualClock) -> None:
    """Up to the edge of the calendar a job is accepted, shown, kept and found."""
    app = Jobify(storage=MemoryStorage(), tz="Asia/Tokyo")
    moment = datetime(9999, 12, 31, 14, 59, tzinfo=UTC)

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().at(moment, job_id="it")
        assert job.exec_at.isoformat() == "9999-12-31T23:59:00+09:00"
        assert "9999-12-31T23:59:00+09:00" in repr(job)
    async with app:
        assert [job.exec_at for job in await app.jobs()] == [moment]


async def test_what_is_late_in_the_zone_is_refused_however_it_is_said(virtual_clock: VirtualClock) -> None:
    """A delay and the first time of a recurrence are held to the same calendar as an instant."""
    app = Jobify(storage=MemoryStorage(), tz="Asia/Tokyo")
    rest = datetime(9999, 12, 31, 23, 59, tzinfo=UTC) - datetime(2026, 1, 1, tzinfo=UTC)

    @app.task
    async def nothing() -> None: ...

    def sentences(schedule: Schedule[None]) -> list[Awaitable[Job[Any]]]:
        return [schedule.delay(rest), schedule.every(rest, job_id="it"), schedule.every(Every(rest), job_id="it")]

    async with app:
        for sentence in sentences(nothing.schedule()):
            with pytest.raises(InvalidScheduleError, match="years 1 to 9999 of the zone Asia/Tokyo"):
                await sentence


async def test_the_next_time_of_a_recurrence_is_held_to_the_calendar_of_the_zone(virtual_clock: VirtualClock) -> None:
    """A recurring job whose next time could not be shown is over."""
    app = Jobify(storage=MemoryStorage(), tz="Asia/Tokyo")
    rest = datetime(9999, 12, 31, 23, 59, tzinfo=UTC) - datetime(2026, 1, 1, tzinfo=UTC)

    @app.task
    async def nothing() -> None: ...

    async with app:
        job = await nothing.schedule().every(rest / 2, job_id="it")
        await job.wait()
        assert job.is_done()


async def test_a_job_of_another_zone_can_be_looked_at(storage: Storage, virtual_clock: VirtualClock) -> None:
    """A stored job that the zone of a later start cannot show is shown in UTC."""
    before, after = Jobify(storage=storage), Jobify(storage=storage, tz="Asia/Tokyo")
    for app in (before, after):
        app.task(nothing, name="nothing")
    moment = datetime(9999, 12, 31, 23, 59, tzinfo=UTC)
    async with before:
        task = before.task(nothing, name="other")
        await task.schedule().at(moment, job_id="it")
    async with after:
        (job,) = await after.jobs()
        assert (job.exec_at, job.exec_at.tzinfo) == (moment, UTC)
        assert "9999-12-31T23:59:00+00:00" in repr(job)


@pytest.mark.parametrize("days", [-300, 300])
@pytest.mark.parametrize("moment", [FIRST + timedelta(days=1), LAST - timedelta(days=1)])
async def test_another_machine_knows_the_same_calendar(
    storage: Storage, virtual_clock: VirtualClock, moment: datetime, days: int
) -> None:
    """A clock that is ahead or behind takes every instant of the calendar: what has passed for it runs at once."""
    app = Jobify(storage=storage, clock=virtual_clock.shifted(timedelta(days=days)))
    task = app.task(nothing, name="nothing")

    async with app:
        job = await task.schedule().at(moment, job_id="it")
        assert job.exec_at == moment
        await virtual_clock.settle()
        assert job.is_done() is (moment < virtual_clock.now())
        await virtual_clock.advance(timedelta(days=1000))
        assert job.is_done() is (moment < virtual_clock.now())


@pytest.mark.parametrize("delta", [-AEONS, 2 * AEONS])
async def test_no_machine_is_outside_of_the_calendar(virtual_clock: VirtualClock, delta: timedelta) -> None:
    """A shift that leads out of the calendar is refused."""
    with pytest.raises(ValueError, match=r"cannot shift a clock by .*years 1 to 9999"):
        virtual_clock.shifted(delta)


async def nothing() -> None:
    """Do nothing."""
