"""The real clock on loops that cannot have a timer descriptor, and where there is none to be had."""

import asyncio
import errno
import sys
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobify import SystemClock
from jobify._alarm_book import AlarmBook
from jobify._timerfd import Kernel
from tests.real_clock.axis import Axis, descriptors

pytestmark = pytest.mark.slow


class Peculiar(asyncio.SelectorEventLoop):
    """A loop with a time of its own, in whole milliseconds, as uvloop's is."""

    def time(self) -> float:
        """Return it."""
        return 1000 + int(super().time() * 1000) / 1000


class Blind(asyncio.SelectorEventLoop):
    """A loop without readers, as those of Windows are."""

    def add_reader(self, fd: object, callback: object, *args: object) -> None:
        """Refuse."""
        raise NotImplementedError


@pytest.mark.parametrize("factory", [Peculiar, Blind])
def test_a_loop_that_can_have_no_descriptor_sets_its_own_timers(
    factory: Callable[[], asyncio.AbstractEventLoop], before: int
) -> None:
    """There alarms do all the same, and are not early either."""

    async def ring() -> None:
        clock = SystemClock()
        for number in range(20):
            start, wall = clock.monotonic(), clock.now()
            await Axis(clock, "monotonic").wait(number / 3001)
            await Axis(clock, "wall").wait(number / 3001)
            assert clock.monotonic() >= start + number / 3001
            assert clock.now() >= wall + timedelta(seconds=number / 3001)
        if sys.platform == "linux":
            assert descriptors() == before

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(ring())


async def test_a_process_that_can_open_no_more_files() -> None:
    """A loop that is refused a descriptor has its own timers from then on."""
    refused: list[int] = []

    def create(clock: int, flags: int) -> int:
        refused.append(clock)
        raise OSError(errno.EMFILE, "too many open files")

    def set_(_fd: int, _flags: int, _nanoseconds: int) -> None: ...

    clock = SystemClock(_book=AlarmBook(lambda: Kernel(create, set_)))
    for _ in range(3):
        await Axis(clock, "monotonic").wait(0.001)
        await Axis(clock, "wall").wait(0.001)
    assert refused == ([time.CLOCK_MONOTONIC, time.CLOCK_REALTIME] if sys.platform == "linux" else [1])


def test_uvloop(before: int) -> None:
    """On uvloop alarms are not early; on Linux the wall clock is waited for by a descriptor."""
    uvloop = pytest.importorskip("uvloop")

    async def ring() -> None:
        clock = SystemClock()
        for number in range(20):
            start, wall = clock.monotonic(), clock.now()
            await Axis(clock, "monotonic").wait(number / 3001)
            await Axis(clock, "wall").wait(number / 3001)
            assert clock.monotonic() >= start + number / 3001
            assert clock.now() >= wall + timedelta(seconds=number / 3001)
        assert descriptors() == before + 1

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ring())
    assert descriptors() == before
