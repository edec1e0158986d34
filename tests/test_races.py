"""What meets in the middle: a cancellation or a replacement, and the end of the run that it concerns."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from jobify import (
    ApplicationStateError,
    Event,
    InvalidArgumentsError,
    InvalidScheduleError,
    JobFailedError,
    Jobify,
    JobStatus,
    Retry,
)
from jobify.storage import SQLiteStorage
from jobify_testing import TransitionLog, VirtualClock, assert_scheduled


@pytest.mark.parametrize("turns", range(25))
@pytest.mark.parametrize("replaced", [False, True])
async def test_what_is_called_off_at_the_end_of_a_run_does_not_come_back(
    virtual_clock: VirtualClock, *, turns: int, replaced: bool
) -> None:
    """At whatever step of its end a run is met: its recurrence is gone from memory and storage, for good."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def beat() -> None: ...

    @app.task(durable=False)
    async def volatile() -> None: ...

    async with app:
        job = await beat.schedule().every(1, job_id="beat")
        await asyncio.sleep(1)
        for _ in range(turns):
            await asyncio.sleep(0)
        if replaced:
            await volatile.schedule().delay(3600, job_id="beat", replace=True)
        else:
            assert await job.cancel() is True
        await virtual_clock.settle()
        assert job.status is JobStatus.CANCELLED
    async with app:
        assert await app.jobs() == []


async def test_an_error_of_its_own_is_a_failure_whoever_cancelled(
    app: Jobify, job_transitions: TransitionLog, virtual_clock: VirtualClock
) -> None:
    """A body whose library makes timeouts by cancelling its task, and does not take that back, has failed."""

    @app.task(retry=Retry(1, delay=1, jitter=False))
    async def poll() -> None:
        timer = asyncio.get_running_loop().call_later(0.5, getattr(asyncio.current_task(), "cancel"))  # noqa: B009  # there is a task
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            msg = "mine"
            raise TimeoutError(msg) from None
        finally:
            timer.cancel()

    async with app:
        job = await poll.schedule().every(60, job_id="poll")
        await virtual_clock.advance(125)
    assert job_transitions.timeline(job)[:8] == [
        (0, "scheduled"),
        (60, "running"), (60.5, "scheduled"),
        (61.5, "running"), (62, "failed"), (62, "scheduled"),
        (120, "running"), (120.5, "scheduled"),
    ]  # fmt: skip


@pytest.mark.parametrize("fold", [0, 1])
@pytest.mark.parametrize("day", [datetime(2026, 10, 25, 2, 30), datetime(2026, 3, 29, 2, 30)])  # noqa: DTZ001  # the zone is set below
async def test_a_time_that_comes_twice_or_never_can_be_an_argument(
    virtual_clock: VirtualClock, day: datetime, fold: int
) -> None:
    """A datetime of the hour of a clock change is stored as the instant that it is."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))
    got: list[datetime] = []

    @app.task
    async def note(moment: datetime, more: dict[str, datetime]) -> None:
        got.extend([moment, more["it"]])

    moment = day.replace(fold=fold, tzinfo=ZoneInfo("Europe/Paris"))
    async with app:
        await note.schedule(moment, {"it": moment}).delay(60)
    async with app:
        await app.wait_all()
    assert [found.astimezone(UTC) for found in got] == [moment.astimezone(UTC)] * 2


async def test_a_declaration_does_not_take_the_place_of_another_tasks_job(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A stored job is kept when a recurrence is declared under its id, and the log says that this does not begin."""
    ran: list[str] = []

    async def send(what: str) -> None:
        ran.append(what)

    async def clean_up() -> None:
        ran.append("clean")

    first, second = Jobify(storage=SQLiteStorage("jobs.db")), Jobify(storage=SQLiteStorage("jobs.db"))
    async with first:
        await first.task(send, name="send").schedule("invoice").delay(3600, job_id="cleanup")
    second.task(send, name="send")
    second.task(clean_up, name="cleanup", every=86_400)
    async with second:
        await virtual_clock.advance(3600)
        assert ran == ["invoice"]
    assert "the declared recurrence of 'cleanup' does not begin" in caplog.text
    async with second:
        await virtual_clock.advance(86_400)
    assert ran == ["invoice", "clean"]


async def test_an_app_that_a_listener_abandons_during_its_start_is_stopped(app: Jobify) -> None:
    """It says so to who starts it, and can be started again."""

    @app.task
    async def work() -> None: ...

    async with app:
        await work.schedule().delay(60, job_id="it")

    def abandon(event: Event) -> None:
        if event.reason == "restored":
            app.abandon()

    unsubscribe = app.subscribe(abandon)
    with pytest.raises(ApplicationStateError, match="abandoned meanwhile"):
        await app.start()
    unsubscribe()
    async with app:
        assert [job.id for job in await app.jobs()] == ["it"]


async def test_a_time_in_the_repeated_hour_is_found(virtual_clock: VirtualClock) -> None:
    """`assert_scheduled` compares instants, whatever the zone of the app."""
    app = Jobify(storage=SQLiteStorage("jobs.db"), tz="Europe/Paris")

    @app.task
    async def work() -> None: ...

    moment = datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Paris"))
    async with app:
        job = await work.schedule().at(moment)
        assert assert_scheduled(app, work, at=moment) == job


class ClaimsNothingError(Exception):
    """Does not even say of which class it is."""

    @property  # type: ignore[misc]  # hostile on purpose
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]  # the same
        """Fail."""
        msg = "no"
        raise RuntimeError(msg)


class CannotBeShownError(AttributeError):
    """Ends the program where its traceback is printed."""

    def __str__(self) -> str:
        """Fail in the worst way."""
        raise KeyboardInterrupt


@pytest.mark.parametrize("kind", [ClaimsNothingError, CannotBeShownError])
async def test_an_exception_that_tells_nothing_is_a_failure_all_the_same(app: Jobify, kind: type[Exception]) -> None:
    """A job that raises it has failed, `result()` raises `JobFailedError`, and the app goes on."""

    @app.task(durable=False, retry=1)
    async def work() -> None:
        raise kind

    async with app:
        job = await work.push()
        run = await job.wait()
        assert run is not None
        assert run.status is JobStatus.FAILED
        with pytest.raises(JobFailedError):
            job.result()


async def test_arguments_too_deep_are_refused_by_name(virtual_clock: VirtualClock) -> None:
    """A value that no recursion gets to the end of is an error that names the parameter."""
    app = Jobify(storage=SQLiteStorage("jobs.db"))

    @app.task
    async def work(deep: object) -> None: ...

    deep: list[object] = []
    for _ in range(2000):
        deep = [deep]
    async with app:
        with pytest.raises(InvalidArgumentsError, match="'deep'"):
            await work.push(deep)


async def test_an_id_that_is_no_text_is_refused_at_the_door(app: Jobify) -> None:
    """Half of a surrogate pair cannot be stored anywhere; the storage is not said to be ill for it."""

    @app.task
    async def work() -> None: ...

    async with app:
        with pytest.raises(InvalidScheduleError, match="half of a character"):
            await work.schedule().delay(1, job_id="\ud800")
        assert app.health().ok
