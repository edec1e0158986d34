"""The wall alarms of the real clock when that is stepped, patched, or not what the kernel thinks."""

import asyncio
import errno
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import time_machine

from jobify import Jobify, SystemClock
from jobify._alarm_book import AlarmBook
from jobify._timerfd import Kernel, find_kernel
from jobify.storage import MemoryStorage
from tests.real_clock.axis import Axis, linux

pytestmark = pytest.mark.slow


class SteppedKernel:
    """A kernel that says that the wall clock was stepped, which no test may do."""

    def __init__(self) -> None:
        kernel = find_kernel()
        assert kernel is not None
        self._real = kernel
        self.by_read = self.by_set = False
        self.walls: set[int] = set()

    def find(self) -> Kernel:
        """Return it."""
        return Kernel(self._create, self._set, self._read)

    def step(self) -> None:
        """Do as if: those who wait for the wall clock can read, and read that."""
        self.by_read = True
        for fd in self.walls:
            self._real.set(fd, 0, 1)

    def _create(self, clock: int, flags: int) -> int:
        fd = self._real.create(clock, flags)
        if clock == time.CLOCK_REALTIME:
            self.walls.add(fd)
        return fd

    def _set(self, fd: int, flags: int, nanoseconds: int) -> None:
        self._real.set(fd, flags, nanoseconds)
        if self.by_set and fd in self.walls:
            self.by_set = False
            raise OSError(errno.ECANCELED, "stepped")

    def _read(self, fd: int, size: int) -> bytes:
        if self.by_read and fd in self.walls:
            self.by_read = False
            raise OSError(errno.ECANCELED, "stepped")
        return self._real.read(fd, size)


@linux
async def test_a_step_of_the_wall_clock_rings_all_its_alarms_at_once() -> None:
    """Linux tells of a step: whoever waits for the wall clock looks again, whoever waits for time to pass does not."""
    kernel = SteppedKernel()
    clock = SystemClock(_book=AlarmBook(kernel.find))
    rung: list[int] = []
    looked = asyncio.get_running_loop().create_future()
    now = clock.now()
    for hours in (3, 1, 2):
        clock.call_at_wall(now + timedelta(hours=hours), partial(rung.append, hours))
    clock.call_at_wall(now + timedelta(hours=4), lambda: looked.set_result(None))
    clock.call_at_wall(now + timedelta(hours=1), lambda: rung.append(0)).cancel()
    delay = clock.call_at(clock.monotonic() + 3600, lambda: rung.append(-1))
    kernel.step()
    await looked
    assert rung == [1, 2, 3]
    delay.cancel()


@linux
async def test_who_looks_again_after_a_step_can_wait_again() -> None:
    """An alarm that is set again after a step is a new one: for its time, or the next step."""
    kernel = SteppedKernel()
    clock = SystemClock(_book=AlarmBook(kernel.find))
    looked: asyncio.Queue[bool] = asyncio.Queue()
    when = clock.now() + timedelta(seconds=0.05)

    def look() -> None:
        looked.put_nowait(clock.now() >= when)
        if clock.now() < when:
            clock.call_at_wall(when, look)

    clock.call_at_wall(when, look)
    for _ in range(2):
        kernel.step()
        assert not await looked.get()
    assert await looked.get()


@linux
async def test_a_step_that_setting_an_alarm_tells_of() -> None:
    """Where the kernel says so not to the reader, but to the next that sets the descriptor, all ring too."""
    kernel = SteppedKernel()
    clock = SystemClock(_book=AlarmBook(kernel.find))
    rung: list[int] = []
    looked = asyncio.get_running_loop().create_future()
    now = clock.now()
    clock.call_at_wall(now + timedelta(hours=2), lambda: looked.set_result(None))
    kernel.by_set = True
    clock.call_at_wall(now + timedelta(hours=1), lambda: rung.append(1))
    assert rung == []
    await looked
    assert rung == [1]
    await Axis(clock, "wall").wait(0.001)


@linux
async def test_an_app_starts_what_a_step_made_due() -> None:
    """A job that waits for a time of the wall clock starts as soon as the clock is stepped there."""
    kernel = SteppedKernel()
    clock = SystemClock(_book=AlarmBook(kernel.find))
    app = Jobify(storage=MemoryStorage(), clock=clock)

    @app.task
    async def answer() -> int:
        return 42

    async with app:
        later = await answer.schedule().at(clock.now() + timedelta(hours=3))
        job = await answer.schedule().at(clock.now() + timedelta(hours=1))
        with time_machine.travel(clock.now() + timedelta(hours=2)):
            kernel.step()
            assert await job == 42
        assert not later.is_done()


@linux
@pytest.mark.parametrize("name", ["monotonic", "wall"])
async def test_a_descriptor_that_is_early_makes_no_alarm_early(name: str) -> None:
    """A kernel that wakes before the clock shows the time is asked again, for what is left: there is no spinning."""
    real, asked = find_kernel(), 0
    assert real is not None

    def set_(fd: int, flags: int, nanoseconds: int) -> None:
        nonlocal asked
        asked += 1
        real.set(fd, 0, 1 if asked == 1 else nanoseconds)

    clock = SystemClock(_book=AlarmBook(lambda: real._replace(set=set_)))
    when, at = clock.monotonic() + 0.02, clock.now() + timedelta(seconds=0.02)
    rung = asyncio.get_running_loop().create_future()
    if name == "wall":
        clock.call_at_wall(at, lambda: rung.set_result(clock.now() >= at))
    else:
        clock.call_at(when, lambda: rung.set_result(clock.monotonic() >= when))
    assert await rung
    assert asked == 2


@pytest.mark.parametrize("days", [-4000, 4000])
async def test_a_wall_clock_that_is_patched_is_followed(clock: SystemClock, days: int) -> None:
    """A descriptor knows only the machine's clock: where the process has another, it is not asked."""
    with time_machine.travel(clock.now() + timedelta(days=days)):
        start = clock.now()
        await Axis(clock, "wall").wait(0.01)
        assert clock.now() >= start + timedelta(seconds=0.01)


async def test_a_wall_clock_that_stands_still(clock: SystemClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is an alarm early on a patched clock that does not go on; where that is moved is seen in a while."""
    monkeypatch.setattr("jobify._clock.LOOK_AGAIN", 0.01)
    rung = asyncio.get_running_loop().create_future()
    start = datetime(2030, 1, 1, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as traveller:
        clock.call_at_wall(start + timedelta(hours=1), lambda: rung.set_result(clock.now()))
        await Axis(clock, "monotonic").wait(0.03)
        assert not rung.done()
        traveller.shift(timedelta(hours=2))
        assert await rung == start + timedelta(hours=2)
