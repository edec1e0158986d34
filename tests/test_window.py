"""Of the jobs in a file only the nearest are in memory; of the others nobody notices that they are not."""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobify import (
    ApplicationStateError,
    Cron,
    DuplicateJobError,
    Jobify,
    JobStatus,
    MisfirePolicy,
    OnCrash,
    Retry,
    RunStatus,
    StorageError,
    Task,
)
from jobify.storage import SQLiteStorage, Storage
from jobify_testing import TransitionLog, VirtualClock, VirtualTimeError, crash, run
from tests.storages import HookedStorage

MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class World:
    """An app whose file has more jobs than its window, and what its jobs have done.

    Attributes:
        calls: the argument of each call, with the hour of the virtual clock.
    """

    def __init__(
        self,
        clock: VirtualClock,
        *,
        window: int | None = 3,
        grace: float = 15,
        storage: Storage | None = None,
        **options: Any,
    ) -> None:
        self.calls: list[tuple[float, str]] = []
        self._clock = clock
        storage = storage or SQLiteStorage("jobs.db", window=window, **options)
        self.app = Jobify(storage=storage, catch_up_rate=1, shutdown_grace=grace)
        self.note = self.app.task(self._make_note(), name="note")
        self.fleeting = self.app.task(self._make_note(), name="fleeting", durable=False)

    def _make_note(self) -> Callable[[str], Coroutine[Any, Any, str]]:
        async def note(text: str) -> str:
            self.calls.append((self._clock.monotonic() / 3600, text))
            return text

        return note

    async def fill(self, *hours: float, task: Task[[str], Any, str] | None = None) -> None:
        """Store a job for each hour, of the wall clock, by an earlier start of the app."""
        async with self.app:
            for hour in hours:
                await (task or self.note).schedule(f"{hour:g}").at(MIDNIGHT + hour * HOUR, job_id=f"{hour:g}")

    @property
    def in_memory(self) -> list[str]:
        """The ids of the jobs that are not in the file alone."""
        return [job.id for job in self.app.local_jobs()]


@pytest.fixture
def world(virtual_clock: VirtualClock) -> World:
    """An app with a window of three jobs."""
    return World(virtual_clock)


def _host() -> Any:
    loop: Any = asyncio.get_running_loop()
    return loop.jobify_runtime


async def test_only_the_nearest_are_in_memory(world: World, virtual_clock: VirtualClock) -> None:
    """A start reads as many jobs as the window has, and the next as many when the last of them comes near."""
    await world.fill(5, 1, 4, 2, 7, 3, 6)
    async with world.app:
        assert world.in_memory == ["1", "2", "3"]
        assert world.app.health().has_more
        await virtual_clock.advance(hours=2, minutes=59, seconds=29)
        assert world.in_memory == ["3"]
        await virtual_clock.advance(seconds=1)
        assert sorted(world.in_memory) == ["3", "4", "5", "6"]
        await virtual_clock.advance(hours=3)
        assert sorted(world.in_memory) == ["6", "7"]
        assert not world.app.health().has_more
        await virtual_clock.advance(hours=10)
    assert world.calls == [(n, str(n)) for n in range(1, 8)]


async def test_nothing_wakes_up_when_nothing_is_left(virtual_clock: VirtualClock) -> None:
    """With fewer jobs than the window has there is no other instant than theirs."""
    for window in (4, None):
        world = World(virtual_clock, window=window)
        await world.fill(*(virtual_clock.monotonic() // 3600 + n for n in (1, 2, 3)))
        async with world.app:
            assert not world.app.health().has_more
            for _ in range(3):
                assert (await virtual_clock.next()).minute == 0


@pytest.mark.parametrize("window", [0, -1, True, 1.5, "all"])
def test_a_window_is_a_number_of_jobs(window: Any) -> None:
    """What is none is refused at the door."""
    with pytest.raises(ValueError, match="whole number from 1"):
        SQLiteStorage("jobs.db", window=window)


async def test_what_has_passed_comes_whole(world: World, virtual_clock: VirtualClock) -> None:
    """All that is overdue at a start is decided about at that instant, however much it is."""
    await world.fill(*range(1, 10), 20, 21, 22, 23)
    await virtual_clock.advance(hours=10)
    async with world.app:
        assert world.in_memory == [*(str(n) for n in range(1, 10)), "20", "21", "22"]
        await virtual_clock.advance(8)
        assert world.calls == [(10 + n / 3600, str(n + 1)) for n in range(9)]  # each has its second to begin in


async def test_many_of_one_instant_are_all_in_time_and_in_order(world: World) -> None:
    """More jobs than the window has are due at one time: they start then, in the order of scheduling."""
    async with world.app:
        for n in range(20):
            await world.note.schedule(str(n)).delay(3600)
    async with world.app:
        later = await world.note.schedule("later").delay(3600)
        await world.app.wait_all()
        assert later.is_done()
    assert world.calls == [(1, str(n)) for n in range(20)] + [(1, "later")]


ORDERS = {
    "fifo": [str(n) for n in range(10)],
    "lifo": [str(n) for n in reversed(range(10))],
}


@pytest.mark.parametrize(
    "order", [pytest.param(order, marks=pytest.mark.virtual_clock(order=order, seed=1)) for order in ORDERS]
)
async def test_the_order_of_one_instant_knows_no_window(order: str, world: World) -> None:
    """Also jobs that come into memory later have a place of their own among those of one instant."""
    async with world.app:
        for n in range(9):
            await world.note.schedule(str(n)).delay(3600)
    async with world.app:
        await world.note.schedule("9").delay(3600)
        await world.app.wait_all()
    assert [text for _, text in world.calls] == ORDERS[order]


@pytest.mark.virtual_clock(order="random", seed=1)
async def test_each_job_has_a_place_of_its_own(world: World) -> None:
    """At random, too, as many jobs come at one instant as are due at it."""
    async with world.app:
        for n in range(9):
            await world.note.schedule(str(n)).delay(3600)
    async with world.app:
        await world.app.wait_all()
    texts = [text for _, text in world.calls]
    assert texts != sorted(texts)
    assert sorted(texts) == [str(n) for n in range(9)]


async def test_what_is_in_the_file_keeps_a_test_from_being_idle(world: World, virtual_clock: VirtualClock) -> None:
    """Also when all that was in memory is gone."""
    await world.fill(*range(1, 9))
    async with world.app:
        for job in world.app.local_jobs():
            await job.cancel()
        await virtual_clock.run_until_idle()
    assert world.calls == [(n, str(n)) for n in range(4, 9)]


async def test_a_job_that_nobody_has_read_is_found_by_its_id(world: World, virtual_clock: VirtualClock) -> None:
    """`get_job` brings in the job that it returns, and no other; it can be waited for."""
    await world.fill(*range(1, 10))
    async with world.app:
        job = await world.app.get_job("8")
        assert job is not None
        assert (job.exec_at, job.status) == (MIDNIGHT + 8 * HOUR, JobStatus.SCHEDULED)
        assert sorted(world.in_memory) == ["1", "2", "3", "8"]
        assert await world.app.get_job("none") is None
        assert await job == "8"
    assert [text for _, text in world.calls] == [str(n) for n in range(1, 9)]


async def test_all_jobs_are_listed_in_the_order_of_scheduling(world: World) -> None:
    """`jobs` has them all, those of this start behind the earlier ones."""
    await world.fill(5, 1, 4, 2, 7, 3, 6)
    async with world.app:
        await world.note.schedule("new").delay(1, job_id="new")
        assert await world.app.jobs(status=JobStatus.RUNNING) == []
        assert world.app.health().has_more
        assert [job.id for job in await world.app.jobs(task="note")] == ["5", "1", "4", "2", "7", "3", "6", "new"]
        assert not world.app.health().has_more
        assert world.app.health().scheduled == 8


async def test_people_change_what_nobody_has_read(world: World, virtual_clock: VirtualClock) -> None:
    """A job that waits in the file is cancelled, paused, resumed, triggered and rescheduled as any other."""
    await world.fill(*range(1, 12))
    async with world.app:
        jobs = {n: await world.app.get_job(str(n)) for n in (5, 6, 7, 8, 9)}
        for n, job in jobs.items():
            assert job is not None
            if n == 5:
                assert await job.cancel()
            elif n in (6, 7):
                assert await job.pause()
            elif n == 8:
                assert await job.reschedule(at=MIDNIGHT + 30 * HOUR)
            else:
                assert await job.trigger() is not None
        paused = jobs[7]
        assert paused is not None
        assert await paused.resume()
        await virtual_clock.advance(hours=12)
    assert world.calls == [(0, "9"), *((n, str(n)) for n in (1, 2, 3, 4, 7, 10, 11))]
    async with world.app:
        assert {job.id: job.held for job in await world.app.jobs()} == {"6": "it is paused", "8": None}


async def test_an_id_in_the_file_is_taken(world: World) -> None:
    """A job that nobody has read has its id: for those that are kept, and for those that are not."""
    await world.fill(*range(1, 9))
    async with world.app:
        with pytest.raises(DuplicateJobError):
            await world.note.schedule("new").delay(1, job_id="7")
        with pytest.raises(DuplicateJobError):
            await world.fleeting.schedule("new").delay(1, job_id="8")
        await world.app.wait_all()
    assert world.calls == [(n, str(n)) for n in range(1, 9)]


async def test_a_job_comes_in_while_another_is_refused_under_its_id(world: World, virtual_clock: VirtualClock) -> None:
    """It runs all the same, whatever step of its coming the order meets."""
    await world.fill(*range(1, 9))
    async with world.app:
        await virtual_clock.advance(hours=3, seconds=-30)
        for turns in range(30):
            order = asyncio.ensure_future(world.note.schedule("new").delay(1, job_id="5"))
            for _ in range(turns % 6):
                await asyncio.sleep(0)
            with pytest.raises(DuplicateJobError):
                await order
        await world.app.wait_all()
    assert world.calls == [(n, str(n)) for n in range(1, 9)]


@pytest.mark.parametrize("durable", [True, False])
async def test_what_nobody_has_read_can_be_replaced(
    durable: bool,  # noqa: FBT001  # a parameter of the test
    world: World,
    job_transitions: TransitionLog,
) -> None:
    """The job in the file is over, told and noted as such, and the new one runs."""
    await world.fill(*range(1, 9))
    task = world.note if durable else world.fleeting
    async with world.app:
        await task.schedule("new").delay(1800, job_id="7", replace=True)
        (record,) = await world.app.history(status=RunStatus.CANCELLED)
        assert (record.job_id, record.reason) == ("7", "replaced")
        await world.app.wait_all()
    assert world.calls == [(0.5, "new"), *((n, str(n)) for n in (1, 2, 3, 4, 5, 6, 8))]
    assert (JobStatus.CANCELLED, "replaced") in [(one.status, one.reason) for one in job_transitions.of("7")]


async def test_wait_all_waits_for_what_is_in_the_file(world: World, virtual_clock: VirtualClock) -> None:
    """One-time jobs count wherever they are; recurring ones do not, however many there are."""
    await world.fill(1, 2, 30, 31)
    async with world.app:
        for n in range(3, 13):
            await world.note.schedule("often").every(n * HOUR, job_id=f"often {n}")
            await world.note.schedule("seldom").cron("0 0 1 2 *", job_id=f"seldom {n}")
    async with world.app:
        await world.app.wait_all()
        assert virtual_clock.monotonic() == 31 * 3600
        await world.app.wait_all(timeout=0)
    assert [call for call in world.calls if call[1] != "often"] == [(n, str(n)) for n in (1, 2, 30, 31)]


async def test_a_stop_ends_the_wait_for_what_is_in_the_file(world: World, virtual_clock: VirtualClock) -> None:
    """Who waits for all jobs hears that the app has stopped; they are there at its next start."""
    await world.fill(*range(1, 9))
    async with world.app:
        waiter = asyncio.ensure_future(world.app.wait_all())
        await virtual_clock.advance(hours=2)
    with pytest.raises(ApplicationStateError):
        await waiter
    async with world.app:
        await world.app.wait_all()
    assert world.calls == [(n, str(n)) for n in range(1, 9)]


async def test_a_crash_loses_nothing_in_the_file(world: World, virtual_clock: VirtualClock) -> None:
    """Also in the turn in which the next jobs are claimed."""
    await world.fill(*range(1, 9))
    for hours in (0.5, 1, 1, 0.5 - 30 / 3600, 1):
        await world.app.start()
        await virtual_clock.advance(hours=hours)
        await crash(world.app)
    async with world.app:
        await world.app.wait_all()
    assert world.calls == [(n, str(n)) for n in range(1, 9)]


async def test_a_run_that_a_crash_has_cut_short_does_not_wait(virtual_clock: VirtualClock) -> None:
    """It is known at the start as interrupted, also if the clock has been set back behind its time."""
    world = World(virtual_clock)
    started: list[float] = []

    @world.app.task(name="slow", on_crash=OnCrash.RERUN)
    async def slow() -> None:
        started.append(virtual_clock.monotonic())
        await asyncio.sleep(100)

    await world.app.start()
    await slow.schedule().at(MIDNIGHT + 5 * HOUR, job_id="slow")
    for n in range(1, 5):
        await world.note.schedule(str(n)).at(MIDNIGHT + n * HOUR)
    await virtual_clock.advance(hours=5, seconds=10)
    await crash(world.app)
    virtual_clock.step_wall(-10 * HOUR)
    async with world.app:
        for n in range(1, 5):
            await world.note.schedule(f"again {n}").at(MIDNIGHT - n * HOUR)
    async with world.app:
        (record,) = await world.app.history(status=RunStatus.INTERRUPTED)
        assert record.job_id == "slow"


@pytest.mark.parametrize("how", ["stop", "crash"])
async def test_a_run_that_was_cut_short_comes_first(how: str, virtual_clock: VirtualClock) -> None:
    """It begins anew with the start, although the clock was set back far behind its time, and others are nearer."""
    world = World(virtual_clock, window=1, grace=0)

    @world.app.task(name="slow", on_crash=OnCrash.RERUN)
    async def slow() -> None:
        world.calls.append((virtual_clock.monotonic() / 3600, "slow"))
        await asyncio.sleep(100 * 3600)

    async with world.app:
        await slow.schedule().at(MIDNIGHT + HOUR)
        await virtual_clock.advance(hours=2)
        virtual_clock.step_wall(-HOUR * 1.5)
        await world.note.schedule("near").at(virtual_clock.now() + HOUR / 10)
        if how == "crash":
            await crash(world.app)
    async with world.app:
        await virtual_clock.settle()
    assert world.calls == [(1, "slow"), (2, "slow")]


async def test_a_duration_is_over_in_time_whatever_the_wall_clock_does(
    world: World, virtual_clock: VirtualClock
) -> None:
    """A delay in the file lasts as long as one in memory: the clock is set back, forwards, and back while it is off."""
    async with world.app:
        for n in range(1, 13):
            await world.note.schedule(str(n)).delay(n * HOUR)
    virtual_clock.step_wall(-30 * 24 * HOUR)
    async with world.app:
        assert len(world.in_memory) == 12  # each may be due before its forecast
        await virtual_clock.advance(hours=4)
    assert world.calls == [(n, str(n)) for n in range(1, 5)]
    async with world.app:
        assert len(world.in_memory) == 8


@pytest.mark.parametrize("hours", [-5, -0.1, 0.1, 1.5, 5])
async def test_a_step_of_the_wall_clock_finds_what_is_in_the_file(
    hours: float, world: World, virtual_clock: VirtualClock
) -> None:
    """Jobs at a time of the wall clock follow it, durations do not: in the file as in memory."""
    for n in range(1, 13):
        async with world.app:
            await world.note.schedule(f"delay {n}").delay(n * HOUR, job_id=f"delay {n}")
            await world.note.schedule(f"at {n}").at(MIDNIGHT + n * HOUR, job_id=f"at {n}")
    async with world.app:
        await virtual_clock.advance(minutes=30)
        virtual_clock.step_wall(hours * HOUR)
        await world.app.wait_all()
    started = {text: when for when, text in world.calls}
    assert {n: started[f"delay {n}"] for n in range(1, 13)} == {n: n for n in range(1, 13)}
    assert {n: started[f"at {n}"] for n in range(1, 13)} == {n: max(n - hours, 0.5) for n in range(1, 13)}


@pytest.mark.parametrize("window", [3, None])
async def test_late_comers_are_judged_as_those_in_memory(window: int | None, virtual_clock: VirtualClock) -> None:
    """What a step has made too late for its policy is not started, and that is told."""
    world = World(virtual_clock, window=window)
    async with world.app:
        for n in range(1, 9):
            at = MIDNIGHT + n * HOUR
            await world.note.schedule(str(n)).at(at, job_id=str(n), misfire_policy=MisfirePolicy.GRACE(2 * HOUR))
    async with world.app:
        virtual_clock.step_wall(6 * HOUR)
        await virtual_clock.advance(hours=10)
        missed = [record.job_id for record in await world.app.history() if record.reason == "missed"]
        assert sorted(missed) == ["1", "2", "3"]
    assert world.calls == [(0, "4"), (0, "5"), (0, "6"), (1, "7"), (2, "8")]


async def test_a_declared_recurrence_is_found_wherever_its_row_is(virtual_clock: VirtualClock) -> None:
    """It goes on as it is stored, its counters included, and does not begin twice."""
    for window in (None, 2):
        world = World(virtual_clock, window=window)
        ticks: list[datetime] = []

        @world.app.task(name="tick", cron="0 12 1 * *")
        async def tick(ticks: list[datetime] = ticks) -> None:
            ticks.append(virtual_clock.now())

        if window is None:
            await world.fill(*range(1, 9))
            async with world.app:
                job = await world.app.get_job("tick")
                assert job is not None
                assert await job.pause()
        else:
            async with world.app:
                assert "tick" in world.in_memory
                assert len(world.in_memory) == 3
                assert world.app.health().held == {"tick": "it is paused"}


async def test_a_declaration_that_is_gone_takes_its_row_with_it(world: World, virtual_clock: VirtualClock) -> None:
    """Whenever its row is read: nobody sees it any more."""
    declaring = World(virtual_clock)

    @declaring.app.task(name="tick", every=100 * HOUR)
    async def tick() -> None: ...

    await declaring.fill(*range(1, 9))
    world.app.task(tick.function, name="tick")
    async with world.app:
        assert await world.app.get_job("tick") is None
        assert "tick" not in [job.id for job in await world.app.jobs()]


async def test_jobs_of_unknown_tasks_are_held_when_they_are_read(world: World, virtual_clock: VirtualClock) -> None:
    """They are kept, and no hindrance to those behind them."""
    knowing = World(virtual_clock)
    other = knowing.app.task(knowing.note.function, name="other")
    await knowing.fill(1, 2, 3, 4, task=other)
    await world.fill(5, 6)
    async with world.app:
        await world.app.wait_all()
        assert sorted(world.app.health().held) == ["1", "2", "3", "4"]
    assert world.calls == [(5, "5"), (6, "6")]
    async with knowing.app:
        await knowing.app.wait_all()
    assert [text for _, text in knowing.calls] == ["1", "2", "3", "4"]


async def test_a_recurring_job_in_the_file_goes_on(world: World, virtual_clock: VirtualClock) -> None:
    """Its times are as they were, whenever it is read."""
    async with world.app:
        for n in range(1, 9):
            await world.note.schedule(f"every {n}").every(n * HOUR, job_id=str(n))
    async with world.app:
        await virtual_clock.advance(hours=24)
    expected = [(hour, f"every {n}") for hour in range(1, 25) for n in range(1, 9) if hour % n == 0]
    assert sorted(world.calls) == sorted(expected)


async def _same(virtual_clock: VirtualClock, window: int | None, path: str) -> list[tuple[float, str]]:
    """Return what happens with a window, counted from now."""
    began = virtual_clock.monotonic()
    app = Jobify(storage=SQLiteStorage(path, window=window))
    told: list[tuple[float, str]] = []

    @app.task(name="note", retry=Retry(1, delay=90, jitter=False))
    async def note(n: int) -> None:
        if n % 7 == 0:
            raise ValueError

    async with app:
        for n in range(60):
            minutes = n * 37 % 600
            if n % 3:
                await note.schedule(n).delay(minutes * 60, job_id=str(n))
            elif n % 4:
                await note.schedule(n).at(virtual_clock.now() + timedelta(minutes=minutes), job_id=str(n))
            else:
                await note.schedule(n).every(timedelta(minutes=minutes + 60), job_id=str(n))
    app.subscribe(
        lambda event: (
            told.append((event.elapsed - began, f"{event.job_id} {_told(event)}"))
            if getattr(event, "reason", None) != "restored"
            else None
        )
    )
    async with app:
        await virtual_clock.advance(hours=3)
    async with app:
        await virtual_clock.advance(hours=9)
        for job in await app.jobs():
            await job.cancel()
    return told


def _told(event: Any) -> str:
    return str(getattr(event, "status", type(event).__name__))


async def test_a_window_changes_nothing_that_is_told(virtual_clock: VirtualClock) -> None:
    """Sixty jobs of all sorts, with retries and restarts: each change of each job comes at the same instant."""
    expected = await _same(virtual_clock, None, "whole.db")
    assert len(expected) > 200
    for window in (1, 2, 7, 59, 60, 1000):
        assert await _same(virtual_clock, window, f"{window}.db") == expected


class Windowed(HookedStorage):
    """A storage of somebody's own, in memory, that has a window.

    Attributes:
        seconds: how long each verb of a name takes.
        broken: the verbs that fail, and how often yet.
    """

    window = 3

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self.seconds: dict[str, float] = seconds
        self.broken: dict[str, int] = {}

    async def before(self, verb: str) -> None:
        """Take so long, and fail."""
        if verb in self.seconds:
            await asyncio.sleep(self.seconds[verb])
        if self.broken.get(verb, 0):
            self.broken[verb] -= 1
            raise StorageError("the disk is gone")

    async def claim(self, *args: Any, **options: Any) -> Any:
        """Return what is due, which takes time behind it, too."""
        found = await super().claim(*args, **options)
        if "claim" in self.seconds:
            await asyncio.sleep(self.seconds["claim"])
        return found


@pytest.mark.parametrize("immediate", [True, False])
async def test_a_storage_of_ones_own_may_have_a_window(
    immediate: bool,  # noqa: FBT001  # a parameter of the test
    virtual_clock: VirtualClock,
) -> None:
    """What it needs is in its protocol: a window, and claims with a limit and by an id."""
    storage = Windowed()
    storage.window = 2
    storage.immediate = immediate
    app = Jobify(storage=storage)
    calls: list[int] = []

    @app.task
    async def note(n: int) -> None:
        calls.append(n)

    async with app:
        for n in (5, 3, 1, 2, 4, 6):
            await note.schedule(n).delay(n * HOUR, job_id=str(n))
    async with app:
        assert [job.id for job in app.local_jobs()] == ["1", "2"]
        job = await app.get_job("5")
        assert job is not None
        await job.cancel()
        await app.wait_all()
    assert calls == [1, 2, 3, 4, 6]
    assert virtual_clock.monotonic() == 6 * 3600


async def test_the_next_process_has_a_window_of_its_own(
    virtual_clock: VirtualClock, job_transitions: TransitionLog
) -> None:
    """Who takes over a file reads the nearest; handles of what it followed are those of its jobs, near or far."""
    first, second = (World(virtual_clock, standby=True) for _ in range(2))
    await first.fill(*range(1, 12))
    await first.app.start()
    async with second.app:
        assert second.in_memory == []
        assert not second.app.health().has_more
        followed = [await second.app.get_job(str(n)) for n in (8, 9, 10, 11)]
        eight, nine, ten, eleven = (job for job in followed if job is not None)
        with pytest.raises(ApplicationStateError, match="another process holds it"):
            await eight.pause()
        assert await eleven.cancel()
        await virtual_clock.advance(hours=1, minutes=30)
        await crash(first.app)
        await virtual_clock.settle()
        assert second.in_memory == ["2", "3", "4"]
        assert await eight.pause()
        assert await nine.cancel()
        assert await ten.reschedule(at=MIDNIGHT + 2 * HOUR)
        assert sorted(second.in_memory) == ["10", "2", "3", "4", "8"]
        await second.app.wait_all()
        assert (await ten.wait(), ten.status) == (ten.last_run, JobStatus.SUCCESS)
        assert second.app.health().held == {"8": "it is paused"}
    assert [(one.status, one.reason) for one in job_transitions.of("9")][-1] == (JobStatus.CANCELLED, "cancelled")
    assert first.calls == [(1, "1")]
    assert second.calls == [(2, "2"), (2, "10"), (3, "3"), (4, "4"), (5, "5"), (6, "6"), (7, "7")]


async def test_orders_of_other_processes_come_into_the_window(virtual_clock: VirtualClock) -> None:
    """Near ones at once, far ones when their time comes, among those of the active process."""
    active, other = (World(virtual_clock, standby=True) for _ in range(2))
    await active.fill(*range(1, 9))
    async with active.app, other.app:
        for hour in (0.5, 1.5, 4.5, 8.5):
            await other.note.schedule(f"{hour}").at(MIDNIGHT + hour * HOUR, job_id=f"{hour}")
        with pytest.raises(DuplicateJobError):
            await other.note.schedule("again").delay(1, job_id="8")
        await other.note.schedule("new").at(MIDNIGHT + 7 * HOUR, job_id="7", replace=True)
        await virtual_clock.settle()
        assert sorted(active.in_memory) == ["0.5", "1", "1.5", "2", "3"]
        seen = sorted(float(job.id) for job in await other.app.jobs())
        assert seen == sorted([*range(1, 9), 0.5, 1.5, 4.5, 8.5])
        await virtual_clock.advance(hours=9)
    assert other.calls == []
    expected = {**{hour: f"{hour:g}" for hour in (*range(1, 9), 0.5, 1.5, 4.5, 8.5)}, 7: "new"}
    assert active.calls == sorted(expected.items())


async def test_the_next_claim_has_what_a_connection_has_added(tmp_path: Path, virtual_clock: VirtualClock) -> None:
    """Whoever has written it, a row is read with those about it, or when somebody asks for it."""
    world = World(virtual_clock)
    storage = SQLiteStorage("jobs.db", window=3)
    app = Jobify(storage=storage)
    app.task(world.note.function, name="note")
    await world.fill(*range(1, 9))
    async with app:
        path = _host().database_path(Path("jobs.db"))
        connection = sqlite3.connect(path)
        (row,) = await storage.find("8")
        for n in (6.5, 7.5):
            at = MIDNIGHT + n * HOUR
            await storage.add_using(connection, replace(row, id=f"{n}", exec_at=at, scheduled_for=at))
            connection.commit()
        connection.close()
        job = await app.get_job("7.5")
        assert job is not None
        await virtual_clock.advance(hours=6, minutes=20)
        assert await app.get_job("6.5") is not None
        await app.wait_all()
    assert [hour for hour, _ in world.calls] == [1, 2, 3, 4, 5, 6, 6.5, 7, 7.5, 8]


async def test_a_claim_that_fails_is_tried_again(virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    """The health says so meanwhile; what nobody could read in time starts as soon as it is read."""
    storage = Windowed()
    world = World(virtual_clock, storage=storage)
    await world.fill(*range(1, 9))
    async with world.app:
        storage.broken["claim"] = 1000
        await virtual_clock.advance(hours=2, minutes=59, seconds=31)
        error = world.app.health().storage_error
        assert error is not None
        assert "the disk is gone" in str(error)
        with pytest.raises(StorageError):
            await world.app.get_job("8")
        await virtual_clock.advance(hours=1, minutes=30)
        storage.broken.clear()
        await virtual_clock.advance(seconds=30)
        assert world.app.health().storage_error is None
        await world.app.wait_all()
    assert [text for _, text in world.calls] == [str(n) for n in range(1, 9)]
    assert [hour for hour, text in world.calls if text != "4"] == [1, 2, 3, 5, 6, 7, 8]
    assert "next try in 30 s" in caplog.text


async def test_a_stop_ends_the_wait_for_a_storage_that_does_not_work(virtual_clock: VirtualClock) -> None:
    """Who waits for all jobs is not told that there are none, when nobody could look."""
    storage = Windowed()
    world = World(virtual_clock, storage=storage)
    await world.fill(1, 2, 3, 4)
    async with world.app:
        waiter = asyncio.ensure_future(world.app.wait_all())
        storage.broken["claim"] = 1000
        await virtual_clock.advance(hours=4)
        assert not waiter.done()
    with pytest.raises(ApplicationStateError, match="has not seen all jobs"):
        await waiter


async def test_many_at_one_minute_are_in_time_while_claims_take_long(virtual_clock: VirtualClock) -> None:
    """What is due within a minute is claimed at once, so that there is time to claim what follows."""
    storage = Windowed(claim=2)
    world = World(virtual_clock, storage=storage)
    await world.fill(*(1 + n / 3600 for n in range(150)))
    async with world.app:
        await virtual_clock.advance(hours=2)
    assert [round(hour * 3600) for hour, _ in world.calls] == list(range(3600, 3750))
    assert len({text for _, text in world.calls}) == 150


async def test_who_asks_for_a_job_that_is_coming_gets_it(virtual_clock: VirtualClock) -> None:
    """It is claimed already, and its handle is not there yet: who asks waits for that."""
    storage = Windowed(claim=1, release=1)
    world = World(virtual_clock, storage=storage)
    await world.fill(*range(1, 8))
    async with world.app:
        await virtual_clock.advance_to(MIDNIGHT + 3 * HOUR - timedelta(seconds=25))  # two claims, two seconds each
        job = await world.app.get_job("5")
        assert job is not None
        assert job.id in world.in_memory


async def test_who_asks_for_a_job_about_which_is_being_decided_gets_it(virtual_clock: VirtualClock) -> None:
    """The last jobs come in, and what was decided about them is being written: they are found all the same."""
    storage = Windowed(release=5)
    world = World(virtual_clock, storage=storage)
    await world.fill(1, 2, 3)
    async with world.app:
        for n in (4, 5):
            cron = Cron(f"0 {n} * * *", misfire_policy=MisfirePolicy.SKIP)
            await world.note.schedule(f"{n}").cron(cron, job_id=f"{n}")
    async with world.app:
        virtual_clock.step_wall(10 * HOUR)
        await virtual_clock.advance(1)
        assert not world.app.health().has_more
        assert "5" not in world.in_memory
        job = await world.app.get_job("5")
        assert job is not None
        assert job.exec_at == MIDNIGHT + 29 * HOUR


async def test_an_order_is_refused_for_a_job_about_which_is_being_decided(virtual_clock: VirtualClock) -> None:
    """The order began while that was written, and is refused behind it: the job is there."""
    storage = Windowed(release=5, add=4)
    world = World(virtual_clock, storage=storage)
    await world.fill(1, 2, 3)
    async with world.app:
        cron = Cron("0 5 * * *", misfire_policy=MisfirePolicy.SKIP)
        await world.note.schedule("5").cron(cron, job_id="5")
    async with world.app:
        virtual_clock.step_wall(10 * HOUR)
        await virtual_clock.advance(2)
        with pytest.raises(DuplicateJobError):
            await world.note.schedule("new").delay(1, job_id="5")
        await virtual_clock.settle()
        assert "5" in world.in_memory
        assert await world.app.get_job("5") is not None


@pytest.mark.parametrize("seconds", [29, 27.5, 26.5])
async def test_a_job_comes_in_while_an_order_is_refused_for_it(seconds: float, virtual_clock: VirtualClock) -> None:
    """The order has its id for a moment, before the storage says that it is taken; the job is there behind that."""
    storage = Windowed(add=4, claim=0.5, release=1)
    world = World(virtual_clock, storage=storage)
    await world.fill(*range(1, 8))
    async with world.app:
        await virtual_clock.advance_to(MIDNIGHT + 3 * HOUR - timedelta(seconds=seconds + 3))
        with pytest.raises(DuplicateJobError):
            await world.note.schedule("new").delay(1, job_id="5")
        await virtual_clock.advance(3)
        assert sorted(world.in_memory) == ["3", "4", "5", "6"]
        await world.app.wait_all()
    assert [text for _, text in world.calls] == [str(n) for n in range(1, 8)]


async def test_what_was_decided_is_written_once_however_often_it_takes(virtual_clock: VirtualClock) -> None:
    """Of jobs that come in too late one write fails: the records of the others are not doubled."""
    storage = Windowed()
    world = World(virtual_clock, storage=storage)
    await world.fill(1, 2, 3)
    async with world.app:
        policy = MisfirePolicy.SKIP
        await world.note.schedule("once").at(MIDNIGHT + 4 * HOUR, job_id="once", misfire_policy=policy)
        await world.note.schedule("often").cron(Cron("0 5 * * *", misfire_policy=policy), job_id="often")
    async with world.app:
        storage.broken["release"] = 2
        virtual_clock.step_wall(10 * HOUR)
        await virtual_clock.advance(minutes=10)
        missed = [record.job_id for record in await world.app.history() if record.reason == "missed"]
        assert sorted(missed) == ["often", "once"]
        assert await world.app.get_job("once") is None
        assert await world.app.get_job("often") is not None


async def test_nothing_rings_for_an_app_that_was_abandoned(world: World, virtual_clock: VirtualClock) -> None:
    """The rest of its jobs is no matter of its any more."""
    await world.fill(*range(1, 9))
    await world.app.start()
    world.app.abandon()
    with pytest.raises(VirtualTimeError, match="nothing is due"):
        await virtual_clock.next()


async def test_a_made_id_that_the_file_knows_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A job that is not kept got the id of one in the file: both run, the one in the file behind the next start."""

    async def first() -> str:
        world = World(_host().clock)
        async with world.app:
            return (await world.fleeting.push("")).id

    async def second(made: str) -> list[tuple[float, str]]:
        clock = _host().clock
        world = World(clock)
        await world.fill(*range(1, 8))
        async with world.app:
            await world.note.schedule("kept").at(MIDNIGHT + 8 * HOUR, job_id=made)
        async with world.app:
            assert (await world.fleeting.schedule("fleeting").delay(9 * HOUR)).id == made
            await world.app.wait_all()
        async with world.app:
            await world.app.wait_all()
        return world.calls[7:]

    made = await asyncio.to_thread(run, first())
    assert await asyncio.to_thread(run, second(made)) == [(9, "fleeting"), (9, "kept")]
    assert "waits for the next start" in caplog.text
