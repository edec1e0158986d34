"""The hands of a test: advancing, settling, and the wall clock that follows."""

import asyncio
import random
import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobify import Jobify
from jobify_testing import VirtualClock

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


async def test_all_clocks_read_one_instant(virtual_clock: VirtualClock) -> None:
    """E44: inside every callback the loop, the clock and the wall clock of Python agree, to the nanosecond."""
    loop = asyncio.get_running_loop()
    assert virtual_clock.now() == datetime.now(UTC) == EPOCH
    seen: list[bool] = []

    def look() -> None:
        elapsed = loop.time()
        now = EPOCH + timedelta(seconds=elapsed)
        seen.append(
            virtual_clock.monotonic() == elapsed
            and virtual_clock.now() == now == datetime.now(UTC)
            and time.time() == now.timestamp()
            and time.time_ns() == 1_767_225_600_000_000_000 + round(elapsed * 1e9)
            and date.today() == now.date()  # noqa: DTZ011  # a wall clock like the others
        )

    for when in (0, 0.5, 1.25, 86_400, 86_400 * 59 + 0.000001):
        loop.call_at(when, look)
    await virtual_clock.advance(days=60)
    assert seen == [True] * 5


async def test_nanoseconds_are_kept_and_microseconds_cut(virtual_clock: VirtualClock) -> None:
    """E8: `time_ns` has the nanoseconds; a datetime drops what is less than a microsecond."""
    await virtual_clock.advance(0.000001999)
    assert time.time_ns() % 1_000_000 == 1999
    assert datetime.now(UTC).microsecond == virtual_clock.now().microsecond == 1


async def test_advance_includes_its_target(virtual_clock: VirtualClock) -> None:
    """E18: what is due at the target runs; a nanosecond less, and it does not."""
    called: list[float] = []
    loop = asyncio.get_running_loop()
    loop.call_later(10, lambda: called.append(loop.time()))
    await virtual_clock.advance(9.999999999)
    assert called == []
    await virtual_clock.advance(0.000000001)
    assert called == [10]
    assert loop.time() == 10


async def test_advance_stops_at_every_due_instant(virtual_clock: VirtualClock) -> None:
    """E19, E20: each callback sees its own time, and what it arms within the advance runs within it."""
    loop = asyncio.get_running_loop()
    seen: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(10)
            seen.append(loop.time())

    task = asyncio.create_task(tick())
    await virtual_clock.advance(35)
    assert seen == [10, 20, 30]
    assert loop.time() == 35
    task.cancel()


async def test_advance_runs_the_last_of_its_instant(virtual_clock: VirtualClock) -> None:
    """E17: also what the target instant itself brings about has run when `advance` returns."""
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    async def chain() -> None:
        await asyncio.sleep(5)
        for n in range(50):
            await asyncio.sleep(0)
            seen.append(str(n))
        loop.call_soon(seen.append, "end")

    task = asyncio.create_task(chain())
    await virtual_clock.advance(5)
    assert seen[-1] == "end"
    assert task.done()


async def test_advance_waits_for_storage_writes(app: Jobify, virtual_clock: VirtualClock) -> None:
    """When `advance` returns no work is in flight: jobs have ended, and their end is stored."""

    @app.task
    async def nothing() -> None: ...

    async with app:
        jobs = [await nothing.schedule().delay(5) for _ in range(50)]
        await virtual_clock.advance(5)
        assert all(job.is_done() for job in jobs)
        assert await app.jobs() == []


async def test_advances_side_by_side(virtual_clock: VirtualClock) -> None:
    """E22: concurrent advances, and one inside another, each end at their own target, in order."""
    ends: list[tuple[int, float]] = []

    async def go(n: int) -> None:
        await virtual_clock.advance(n)
        ends.append((n, virtual_clock.monotonic()))

    async def nested() -> None:
        await virtual_clock.advance(1)
        await virtual_clock.advance(1)
        ends.append((-2, virtual_clock.monotonic()))

    await asyncio.gather(go(3), go(1), nested(), go(2))
    assert ends == [(1, 1), (2, 2), (-2, 2), (3, 3)]
    assert virtual_clock.monotonic() == 3


async def test_a_cancelled_advance_leaves_nothing_behind(virtual_clock: VirtualClock) -> None:
    """E23: time does not stop for an advance that was cancelled."""
    advance = asyncio.ensure_future(virtual_clock.advance(10))
    await asyncio.sleep(5)
    advance.cancel()
    await asyncio.sleep(100)
    assert virtual_clock.monotonic() == 105
    assert advance.cancelled()


async def test_advance_by_nothing_settles(virtual_clock: VirtualClock) -> None:
    """E24: `advance(0)` and `settle()` let everything run that can run now."""
    seen: list[int] = []

    async def hop() -> None:
        for n in range(10):
            await asyncio.sleep(0)
            seen.append(n)

    for wait in (virtual_clock.settle, virtual_clock.advance):
        seen.clear()
        task = asyncio.create_task(hop())
        await wait()
        assert task.done()
        assert len(seen) == 10
    assert virtual_clock.monotonic() == 0


@pytest.mark.parametrize(
    "duration", [-1, -0.000000001, timedelta(microseconds=-1), float("nan"), float("inf"), float("-inf")]
)
async def test_time_does_not_go_back(virtual_clock: VirtualClock, duration: float) -> None:
    """E25: a negative or endless advance is refused, with the numbers in the sentence."""
    await virtual_clock.advance(5)
    with pytest.raises(ValueError, match="cannot advance by"):
        await virtual_clock.advance(duration)
    assert virtual_clock.monotonic() == 5


async def test_a_job_that_raises_does_not_break_an_advance(app: Jobify, virtual_clock: VirtualClock) -> None:
    """E26: a failing job is a failed job, and time goes on."""

    @app.task
    async def fail() -> None:
        raise ExceptionGroup("both", [ValueError(), KeyError()])

    async with app:
        job = await fail.schedule().delay(1)
        await virtual_clock.advance(10)
        assert job.is_done()
    assert virtual_clock.monotonic() == 10


async def test_units(virtual_clock: VirtualClock) -> None:
    """A duration may be given in seconds, as a timedelta, or in units that add up."""
    await virtual_clock.advance(1.5)
    await virtual_clock.advance(timedelta(minutes=1))
    await virtual_clock.advance(days=1, hours=1, minutes=1, seconds=1, milliseconds=1)
    assert virtual_clock.monotonic() == 1.5 + 60 + 86_400 + 3_600 + 60 + 1 + 0.001


async def test_advance_to_an_instant(virtual_clock: VirtualClock) -> None:
    """`advance_to` takes an aware datetime of any zone; one that has passed, or is naive, is refused."""
    await virtual_clock.advance_to(datetime(2026, 3, 29, 9, tzinfo=ZoneInfo("Europe/Paris")))
    assert virtual_clock.now() == datetime(2026, 3, 29, 7, tzinfo=UTC)
    await virtual_clock.advance_to(virtual_clock.now())
    with pytest.raises(ValueError, match="already"):
        await virtual_clock.advance_to(datetime(2026, 3, 29, 6, 59, 59, tzinfo=UTC))
    with pytest.raises(ValueError, match="naive"):
        await virtual_clock.advance_to(datetime(2027, 1, 1))  # noqa: DTZ001  # naive on purpose
    assert repr(virtual_clock) == "<VirtualClock: 2026-03-29T07:00:00+00:00, 7542000.0 s>"


@pytest.mark.virtual_clock(start=datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC))
async def test_time_starts_when_the_marker_says(virtual_clock: VirtualClock) -> None:
    """`start=` is what the wall clock shows at first."""
    await asyncio.sleep(1)
    assert datetime.now(UTC) == datetime(2000, 1, 1, tzinfo=UTC)
    assert virtual_clock.monotonic() == 1


async def test_waiting_moves_time_by_itself(virtual_clock: VirtualClock) -> None:
    """What only time can bring is waited for without a hand: time goes exactly to the next due instant."""
    real = time.perf_counter()
    await asyncio.sleep(3600)
    assert virtual_clock.monotonic() == 3600
    assert time.perf_counter() - real < 3600


async def test_real_randomness_is_left_alone(virtual_clock: VirtualClock) -> None:
    """Virtual time seeds what is its own; the random numbers of the program are not touched."""
    state = random.getstate()
    await virtual_clock.advance(10)
    assert random.getstate() == state
