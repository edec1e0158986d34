"""The hands of a test that know what they wait for: next, until, run_until_idle, pending; and the modes."""

import asyncio
import contextlib
import os
import sqlite3
import time
from datetime import UTC, datetime, timedelta

import pytest

from jobify import Jobify, JobStatus
from jobify.storage import MemoryStorage
from jobify_testing import (
    VirtualClock,
    VirtualDeadlockError,
    VirtualLoop,
    VirtualOptions,
    VirtualTimeError,
    assert_scheduled,
    run,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


async def test_next_goes_to_the_next_due_instant(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`next` runs what is due next, whatever it is, and says when that was."""
    told: list[str] = []

    @app.task
    async def tell(word: str) -> None:
        told.append(word)

    async with app:
        await tell.schedule("job").delay(90)
        asyncio.get_running_loop().call_later(30, told.append, "timer")
        assert await virtual_clock.next() == EPOCH + timedelta(seconds=30)
        assert told == ["timer"]
        assert await virtual_clock.next() == EPOCH + timedelta(seconds=90)
        assert told == ["timer", "job"]
        with pytest.raises(VirtualTimeError, match="nothing is due"):
            await virtual_clock.next()


async def test_until_a_condition_is_true(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`until` asks at every due instant, and stops at the first at which it is true."""
    runs: list[float] = []

    @app.task(every=60)
    async def count() -> None:
        runs.append(virtual_clock.monotonic())

    async with app:
        await virtual_clock.until(lambda: len(runs) == 3)
        assert virtual_clock.monotonic() == 180
        await virtual_clock.until(lambda: True)
        assert virtual_clock.monotonic() == 180
        with pytest.raises(VirtualTimeError, match="the limit is reached") as caught:
            await virtual_clock.until(lambda: len(runs) == 10, limit=timedelta(minutes=5))
        assert virtual_clock.monotonic() == 480
        assert "due next:\n  2026-01-01T00:09:00+00:00  job" in str(caught.value)


async def test_until_a_job_ends_or_has_run_so_often(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`until` takes a job: until its end, or until so many of its runs have ended."""

    @app.task
    async def work() -> None:
        await asyncio.sleep(5)

    async with app:
        once = await work.schedule().delay(10)
        often = await work.schedule().every(20, job_id="often")
        await virtual_clock.until(once)
        assert virtual_clock.monotonic() == 15
        assert once.status is JobStatus.SUCCESS
        await virtual_clock.until(often, run=3)
        assert virtual_clock.monotonic() == 65
        assert not often.is_done()
        with pytest.raises(TypeError, match="is no job"):
            await virtual_clock.until(lambda: True, run=2)


async def test_until_what_can_never_be(virtual_clock: VirtualClock) -> None:
    """A condition that nothing due can make true is an error, and not a hang."""
    with pytest.raises(VirtualTimeError, match=r"was not true .* nothing is due"):
        await virtual_clock.until(lambda: False)


async def test_until_a_datetime(virtual_clock: VirtualClock) -> None:
    """`until` takes an aware datetime of the wall clock, within its limit."""
    await virtual_clock.until(datetime(2026, 1, 1, 9, tzinfo=UTC))
    assert virtual_clock.monotonic() == 9 * 3600
    with pytest.raises(VirtualTimeError, match="beyond the limit"):
        await virtual_clock.until(datetime(2027, 1, 1, tzinfo=UTC), limit=3600)
    with pytest.raises(ValueError, match="naive"):
        await virtual_clock.until(datetime(2026, 1, 2))  # noqa: DTZ001  # naive on purpose


async def test_recurring_work_is_background(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`run_until_idle` ends although a recurrence never does: behind one-time jobs, retries and runs in progress."""

    @app.task(every=60)
    async def beat() -> None:
        await asyncio.sleep(45)

    @app.task(retry=1)
    async def fail() -> None:
        raise ValueError

    async with app:
        job = await fail.schedule().delay(100)
        await virtual_clock.run_until_idle()
        assert job.status is JobStatus.FAILED
        assert virtual_clock.monotonic() == 105  # the run of `beat` that began at 60 has ended
        await virtual_clock.run_until_idle()
        assert virtual_clock.monotonic() == 105


async def test_run_until_idle_has_a_limit(virtual_clock: VirtualClock) -> None:
    """Work that never ends is named when the limit is reached."""

    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(10)

    beating = asyncio.create_task(heartbeat(), name="the heart")
    with pytest.raises(VirtualTimeError, match="task 'the heart' of"):
        await virtual_clock.run_until_idle(limit=100)
    assert virtual_clock.monotonic() == 100
    beating.cancel()


async def test_pending_says_what_is_due_and_whose_it_is(app: Jobify, virtual_clock: VirtualClock) -> None:
    """`pending` lists jobs and the timers of everything else, in order, and not the alarms that stand for jobs."""

    @app.task(name="mail", timeout=5)
    async def mail() -> None: ...

    async def nap() -> None:
        await asyncio.sleep(20)

    async with app:
        job = await mail.schedule().delay(30, job_id="letter")
        await mail.schedule().at(EPOCH + timedelta(seconds=10), job_id="card")
        napping = asyncio.create_task(nap(), name="napper")
        await virtual_clock.settle()
        assert [str(pending) for pending in virtual_clock.pending()] == [
            "2026-01-01T00:00:10+00:00  job 'card' of 'mail'",
            f"2026-01-01T00:00:20+00:00  task 'napper' of {nap.__qualname__}",
            "2026-01-01T00:00:30+00:00  job 'letter' of 'mail'",
        ]
        assert virtual_clock.pending()[-1].job == job
        await napping


async def test_pending_follows_each_clock(virtual_clock: VirtualClock) -> None:
    """After a step, and on a clock of another machine, `pending` and `due_in` say when a job really starts."""
    app, fast = Jobify(storage=MemoryStorage()), Jobify(storage=MemoryStorage(), clock=virtual_clock.shifted(30))

    @app.task(name="work")
    async def work() -> None: ...

    @fast.task(name="fast work")
    async def fast_work() -> None: ...

    async with app, fast:
        delayed = await work.schedule().delay(100)
        at = await fast_work.schedule().at(EPOCH + timedelta(seconds=100))
        virtual_clock.step_wall(60)
        assert delayed.due_in() == timedelta(seconds=100)
        assert at.due_in() == timedelta(seconds=10)
        assert [(pending.job, pending.at) for pending in virtual_clock.pending()] == [
            (at, EPOCH + timedelta(seconds=70)),
            (delayed, EPOCH + timedelta(seconds=160)),
        ]
        assert_scheduled(app, work, delay=100)
        assert_scheduled(fast, fast_work, delay=10)
        assert await virtual_clock.next() == EPOCH + timedelta(seconds=70)
        assert await virtual_clock.next() == EPOCH + timedelta(seconds=160)


async def test_a_job_never_sees_a_time_before_its_own(app: Jobify, virtual_clock: VirtualClock) -> None:
    """The forecast of a delay that is no whole number of microseconds is cut like the time that a job sees."""

    @app.task
    async def now() -> datetime:
        return datetime.now(UTC)

    async with app:
        job = await now.schedule().delay(2 / 3)
        assert_scheduled(app, now, delay=2 / 3)
        assert await job == job.exec_at


# Modes


@pytest.mark.virtual_clock(mode="manual")
async def test_in_manual_mode_only_the_driver_moves_time(virtual_clock: VirtualClock) -> None:
    """E28: in manual mode time moves by `advance` alone, up to its target."""
    napping = asyncio.create_task(asyncio.sleep(10))
    await virtual_clock.advance(9)
    assert not napping.done()
    await virtual_clock.advance(1)
    assert napping.done()


def test_waiting_in_manual_mode_is_an_error_that_says_so() -> None:
    """E28: who waits for time in manual mode, and does not advance, is told so and does not hang."""

    async def main() -> None:
        await asyncio.sleep(1)

    with pytest.raises(VirtualDeadlockError, match="only advance"):
        run(main(), options=VirtualOptions(mode="manual"))


@pytest.mark.slow
@pytest.mark.virtual_clock(mode="real")
async def test_in_real_mode_time_is_that_of_the_machine(virtual_clock: VirtualClock) -> None:
    """In real mode the same test waits for real, and every clock is the machine's."""
    before, loop = time.monotonic(), asyncio.get_running_loop()
    await virtual_clock.advance(0.02)
    await asyncio.sleep(0.01)
    assert time.monotonic() - before >= 0.03
    assert loop.time() >= 0.03
    assert (datetime.now(UTC) - virtual_clock.now()).total_seconds() <= 0
    app = Jobify(storage=MemoryStorage())

    @app.task
    def thread() -> int:
        return 42

    async with app:
        assert await (await thread.schedule().delay(0.01)) == 42


# Advances that go wrong


async def test_advancing_inside_an_advance(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E22: a job may advance, too: each advance returns at its own instant, the inner one first."""
    returned: list[tuple[str, float]] = []

    @app.task
    async def inner() -> None:
        await virtual_clock.advance(5)
        returned.append(("inner", virtual_clock.monotonic()))

    async with app:
        await inner.schedule().delay(10)
        await virtual_clock.advance(20)
        returned.append(("outer", virtual_clock.monotonic()))
    assert returned == [("inner", 15), ("outer", 20)]


async def test_exceptions_in_jobs_do_not_reach_the_driver(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E26, E27: whatever jobs raise, groups included, the advance goes on to its target."""

    @app.task
    async def fail(error: str) -> None:
        raise {"group": ExceptionGroup("several", [ValueError(), KeyError()]), "one": ValueError()}[error]

    async with app:
        jobs = [await fail.schedule(kind).delay(n) for n, kind in enumerate(("group", "one", "group"))]
        await virtual_clock.advance(10)
    assert [job.status for job in jobs] == [JobStatus.FAILED] * 3
    assert virtual_clock.monotonic() == 10


async def test_a_cancelled_advance_moves_time_no_further(virtual_clock: VirtualClock) -> None:
    """E23: when the driver is cancelled, nobody goes on for it."""
    advancing = asyncio.create_task(virtual_clock.advance(100))
    asyncio.get_running_loop().call_later(30, advancing.cancel)
    with pytest.raises(asyncio.CancelledError):
        await advancing
    assert virtual_clock.monotonic() == 30
    await virtual_clock.settle()
    assert virtual_clock.monotonic() == 30


@pytest.mark.parametrize("argument", ["x", None, [1]])
async def test_what_is_no_duration_is_refused_at_once(virtual_clock: VirtualClock, argument: object) -> None:
    """A wrong type is an error at the door, and not a minute of work."""
    with pytest.raises(TypeError):
        await virtual_clock.advance(argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a user may pass anything
    with pytest.raises(TypeError):
        await virtual_clock.advance(hours=argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the same
    with pytest.raises(TypeError):
        await virtual_clock.advance_to(argument)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the same


# The clocks of a machine


async def test_a_step_moves_the_wall_clock_alone(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E45: after a step `at` follows the wall clock, `delay` the monotonic one; `datetime.now()` shows the step."""

    @app.task
    async def work() -> None: ...

    async with app:
        delayed = await work.schedule().delay(100)
        at = await work.schedule().at(EPOCH + timedelta(seconds=100))
        virtual_clock.step_wall(60)
        assert datetime.now(UTC) == virtual_clock.now() == EPOCH + timedelta(seconds=60)
        assert virtual_clock.monotonic() == 0
        await virtual_clock.advance(40)
        assert (at.is_done(), delayed.is_done()) == (True, False)
        await virtual_clock.advance(60)
        assert delayed.is_done()


async def test_a_step_back_makes_at_wait_longer(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E45: when the wall clock goes back, what follows it waits until it shows the time after all."""

    @app.task
    async def work() -> None: ...

    async with app:
        job = await work.schedule().at(EPOCH + timedelta(seconds=100))
        await virtual_clock.advance(50)
        virtual_clock.step_wall(timedelta(seconds=-30))
        await virtual_clock.advance(79)
        assert not job.is_done()
        await virtual_clock.advance(1)
        assert job.is_done()
        await virtual_clock.advance_to(EPOCH + timedelta(seconds=200))
        assert virtual_clock.monotonic() == 230


async def test_a_cron_never_runs_a_nominal_time_twice(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E46: the wall clock goes back over a time that has been run, and it is not run again."""
    runs: list[datetime] = []

    @app.task(cron="* * * * *")
    async def note() -> None:
        runs.append(virtual_clock.now())

    async with app:
        await virtual_clock.advance(60)
        virtual_clock.step_wall(-0.001)
        await virtual_clock.advance(60)
        virtual_clock.step_wall(-59)
        await virtual_clock.advance(120)
    assert [moment.minute for moment in runs] == [1, 2, 3]


async def test_a_suspended_machine_wakes_to_a_later_wall_clock(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E47: as on Linux, the monotonic clock stands still while the machine sleeps; `at` is late, `delay` waits on."""

    @app.task
    async def work() -> None: ...

    async with app:
        at = await work.schedule().at(EPOCH + timedelta(hours=1))
        delayed = await work.schedule().delay(3600)
        virtual_clock.suspend(timedelta(hours=2))
        await virtual_clock.settle()
        assert (at.is_done(), delayed.is_done()) == (True, False)
        assert virtual_clock.now() == EPOCH + timedelta(hours=2)
        virtual_clock.suspend(3600, monotonic=True)
        await virtual_clock.settle()
        assert delayed.is_done()
        assert virtual_clock.now() == EPOCH + timedelta(hours=3)


async def test_a_blocked_loop_is_late(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E48: what was due while the loop was blocked sees the time at which it really starts."""
    seen: list[float] = []

    @app.task
    async def look() -> None:
        seen.append(virtual_clock.monotonic())

    async with app:
        await look.schedule().delay(10)
        await look.schedule().delay(100)
        virtual_clock.block(90)
        await virtual_clock.settle()
        assert seen == [90]
        await virtual_clock.advance(10)
        assert seen == [90, 100]


async def test_time_sleep_on_the_loop_blocks_it(virtual_clock: VirtualClock) -> None:
    """`time.sleep` in a coroutine does in virtual time what it does in real time: nobody else runs meanwhile."""
    seen: list[float] = []
    asyncio.get_running_loop().call_later(10, lambda: seen.append(virtual_clock.monotonic()))
    time.sleep(60)
    assert virtual_clock.monotonic() == 60
    await virtual_clock.settle()
    assert seen == [60]


@pytest.mark.parametrize("duration", [-1, float("nan"), float("inf"), timedelta(seconds=-1)])
async def test_clocks_of_machines_do_not_go_wrong(virtual_clock: VirtualClock, duration: float) -> None:
    """Neither a sleep nor a block can be negative or endless; a step may be negative."""
    with pytest.raises(ValueError, match="cannot"):
        virtual_clock.suspend(duration)
    with pytest.raises(ValueError, match="cannot"):
        virtual_clock.block(duration)
    assert virtual_clock.monotonic() == 0


async def test_a_step_out_of_the_calendar_is_refused(virtual_clock: VirtualClock) -> None:
    """The wall clock knows the years 1 to 9999; a refused step changes nothing."""
    with pytest.raises(ValueError, match="years 1 to 9999"):
        virtual_clock.step_wall(timedelta(days=3_000_000))
    assert virtual_clock.now() == EPOCH


async def test_the_local_zone_can_be_set(virtual_clock: VirtualClock) -> None:
    """`set_timezone` changes what naive local time is; the plugin sets it back."""
    virtual_clock.set_timezone("Asia/Tokyo")
    assert os.environ["TZ"] == "Asia/Tokyo"
    assert datetime.now().hour == 9  # noqa: DTZ005  # the local time is what is tested
    with pytest.raises(ValueError, match="no such zone"):
        virtual_clock.set_timezone("Mars/Olympus")


async def test_the_local_zone_is_set_back(virtual_clock: VirtualClock) -> None:
    """E50: the zone of an earlier test is gone."""
    assert os.environ.get("TZ") != "Asia/Tokyo"


async def test_a_clock_of_another_machine(virtual_clock: VirtualClock) -> None:
    """Two apps with clocks that disagree can run on one timeline."""
    fast = Jobify(storage=MemoryStorage(), clock=virtual_clock.shifted(30))
    slow = Jobify(storage=MemoryStorage())
    starts: list[tuple[str, float]] = []

    @fast.task(name="fast")
    async def fast_task() -> None:
        starts.append(("fast", virtual_clock.monotonic()))

    @slow.task(name="slow")
    async def slow_task() -> None:
        starts.append(("slow", virtual_clock.monotonic()))

    async with fast, slow:
        await slow_task.schedule().at(EPOCH + timedelta(seconds=100))
        await fast_task.schedule().at(EPOCH + timedelta(seconds=100))
        await fast_task.schedule().delay(10)
        await virtual_clock.advance(100)
    assert starts == [("fast", 10), ("fast", 70), ("slow", 100)]


# Without pytest


def test_runs_without_pytest() -> None:
    """`run` is `asyncio.run` on virtual time: a year at once, with the wall clock following."""

    async def main() -> datetime:
        await asyncio.sleep(365 * 86_400)
        return datetime.now(UTC)

    assert run(main()) == datetime(2027, 1, 1, tzinfo=UTC)
    before = time.time()
    assert run(main(), options=VirtualOptions(start=datetime(2000, 1, 1, tzinfo=UTC))) == datetime(
        2000, 12, 31, tzinfo=UTC
    )
    assert time.time() >= before
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(asyncio.sleep(86_400, "slept")) == "slept"


def test_run_lets_a_program_that_is_interrupted_clean_up() -> None:
    """What ends the program comes out of `run`, behind all `finally`, as it does of `asyncio.run`."""
    cleaned: list[str] = []

    async def end() -> None:
        await asyncio.sleep(1)
        raise SystemExit(3)

    async def main() -> None:
        ending = asyncio.create_task(end())
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(0)
            cleaned.append(ending.get_name())

    with pytest.raises(SystemExit):
        run(main())
    assert len(cleaned) == 1
    with pytest.raises((ValueError, TypeError), match="coroutine"):
        run(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # wrong on purpose


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "fast"},
        {"order": "best"},
        {"seed": 1.5},
        {"start": datetime(2026, 1, 1)},  # noqa: DTZ001  # naive on purpose
        {"patience": -1},
        {"grace": float("nan")},
        {"max_jumps": 0},
        {"threads": "some"},
        {"storage": "mine"},
        {"holds": {"socket": "maybe"}},
        {"holds": {"printer": "wait"}},
    ],
)
def test_options_are_checked(wrong: dict[str, object]) -> None:
    """An option that cannot be used is refused with its name."""
    with pytest.raises(ValueError, match=f"cannot use {next(iter(wrong))}="):
        VirtualOptions(**wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # wrong on purpose


async def test_what_does_not_follow(virtual_clock: VirtualClock) -> None:
    """E51: some clocks stay real, and the docs say which: `time.ctime`, `time.monotonic`, those of SQLite."""
    before = time.monotonic()
    await virtual_clock.advance(days=365)
    assert time.monotonic() - before < 86_400
    assert time.ctime() != time.ctime(virtual_clock.now().timestamp())
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        (now,) = database.execute("SELECT strftime('%s')").fetchone()
    assert int(now) != int(time.time())
