"""The timer descriptors of the real clock: one for each loop and axis, none left behind, and no wake-ups."""

import asyncio
import errno
import gc
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from jobify import Alarm, Jobify, SystemClock
from jobify._timerfd import Kernel, find_kernel, kernel_of_libc, kernel_of_os
from jobify.storage import MemoryStorage
from tests.real_clock.axis import PRECISE, Axis, descriptors, linux, turns

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("find", PRECISE.values(), ids=PRECISE)
def test_what_the_kernel_refuses_is_an_os_error(find: Callable[[], Kernel | None]) -> None:
    """However the kernel is called, its refusal has the number of the error."""
    kernel = find()
    assert kernel is not None
    reader, writer = os.pipe()
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as caught:
        kernel.set(reader, 0, 1)
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        kernel.create(12345, 0)
    os.close(reader)
    os.close(writer)


def test_an_interpreter_without_ctypes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the C library cannot be called there is nothing to be had of it."""
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert kernel_of_libc() is None


@linux
def test_it_is_the_clock_of_asyncio() -> None:
    """The time of asyncio's loops is that which the monotonic descriptor waits for, and the best way is found."""
    assert time.get_clock_info("monotonic").implementation == "clock_gettime(CLOCK_MONOTONIC)"
    assert (kernel_of_os() is not None) == hasattr(os, "timerfd_create")
    assert find_kernel() is not None


async def test_a_thousand_alarms_share_a_descriptor(precise_axis: Axis, before: int) -> None:
    """However many alarms a loop has on an axis, one descriptor rings them all."""
    rung: list[int] = []
    order = sorted(range(1000), key=lambda number: number * 7919 % 1000)
    for number in order:
        precise_axis.call_in(number / 100_000, partial(rung.append, number))
    for number in range(1000):
        precise_axis.call_in(3600 + number, print)
    assert descriptors() == before + 1
    await precise_axis.wait(0.0101)
    assert rung == list(range(1000))


async def test_cancelled_alarms_are_not_kept(precise_axis: Axis) -> None:
    """What a cancelled alarm holds is let go of, long before its time: a heap is no leak."""
    kept = precise_axis.call_in(3600, print)
    gc.collect()
    size = len(gc.get_objects())
    for _ in range(10_000):
        precise_axis.call_in(7200, lambda: None).cancel()
    gc.collect()
    assert len(gc.get_objects()) < size + 2_000
    kept.cancel()


@linux
async def test_a_loop_that_is_left_alone_has_no_descriptor(
    precise_axis: Axis, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Soon after the last alarm has rung, or was cancelled, the descriptor is closed; the next alarm opens another."""
    monkeypatch.setattr("jobify._alarms.TIDY", 0.0)
    for _ in range(3):
        alarm = precise_axis.call_in(3600, print)
        assert descriptors() == before + 1
        alarm.cancel()
        await turns()
        assert descriptors() == before
        await precise_axis.wait(0)
        await turns()
        assert descriptors() == before


class Recorder(selectors.DefaultSelector):
    """A selector that notes how long it is to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float | None] = []

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Note, and wait."""
        if timeout != 0:
            self.timeouts.append(timeout)
        return super().select(timeout)


def test_far_alarms_wake_nobody(precise: SystemClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thousand jobs wait, the loop waits for as long as it takes: not for a step, nor for a cancelled alarm."""
    monkeypatch.setattr("jobify._alarms.TIDY", 0.0)
    clock, selector = precise, Recorder()

    async def idle() -> None:
        app = Jobify(storage=MemoryStorage(), clock=clock)

        @app.task(timeout=0.5)
        async def nothing() -> None: ...

        async with app:
            for number in range(500):
                await nothing.schedule().delay(3600 + number)
                await nothing.schedule().at(clock.now() + timedelta(days=1, seconds=number))
            await nothing.push()
            await turns()
            selector.timeouts.clear()
            await Axis(clock, "monotonic").wait(0.05)
            await Axis(clock, "wall").wait(0.05)
            assert set(selector.timeouts) <= {None}

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(idle())


@linux
def test_a_loop_that_is_closed_leaves_no_descriptor(precise: SystemClock, before: int) -> None:
    """Alarms that still wait when a loop is closed go with it, even those that somebody holds."""
    clock = precise
    held: list[Alarm] = []

    async def leave() -> None:
        held.append(clock.call_at(clock.monotonic() + 3600, print))
        held.append(clock.call_at_wall(clock.now() + timedelta(hours=1), print))
        await Axis(clock, "monotonic").wait(0)
        assert descriptors() == before + 2

    gc.disable()
    try:
        for _ in range(100):
            asyncio.run(leave())
            assert descriptors() == before
    finally:
        gc.enable()
    for alarm in held:
        alarm.cancel()


@linux
async def test_many_starts_leave_no_descriptor(before: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does an app that is started and stopped again and again on one loop."""
    monkeypatch.setattr("jobify._alarms.TIDY", 0.0)
    app = Jobify(storage=MemoryStorage())

    @app.task(durable=False)
    async def nothing() -> None: ...

    for _ in range(200):
        async with app:
            await nothing.schedule().delay(3600)
            await nothing.schedule().at(datetime(2100, 1, 1, tzinfo=UTC))
            assert descriptors() <= before + 2
    await turns()
    assert descriptors() == before


FORKING = """
import asyncio, os, sys
from datetime import timedelta
from jobify import SystemClock

clock = SystemClock()

def timers():
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return sum("timerfd" in os.readlink(link) for link in links if os.path.lexists(link))

async def of_the_child():
    assert timers() == 0, timers()
    for alarm in alarms:
        alarm.cancel()
    rung = asyncio.get_running_loop().create_future()
    clock.call_at(clock.monotonic() + 0.001, lambda: rung.set_result("child"))
    assert await rung == "child"
    assert called == [], called

async def of_the_parent():
    both = [asyncio.get_running_loop().create_future() for _ in range(2)]
    when, at = clock.monotonic() + 0.05, clock.now() + timedelta(seconds=0.05)
    alarms.append(clock.call_at(when, lambda: both[0].set_result(called.append(1))))
    alarms.append(clock.call_at_wall(at, lambda: both[1].set_result(called.append(2))))
    assert timers() == 2, timers()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            asyncio._set_running_loop(None)
            asyncio.run(of_the_child())
            code = 0
        finally:
            os._exit(code)
    await asyncio.gather(*both)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

alarms, called = [], []
asyncio.run(of_the_parent())
assert sorted(called) == [1, 2]
"""


@linux
def test_a_forked_child_has_no_part_in_the_alarms_of_its_parent() -> None:
    """It neither rings nor disturbs them, holds no descriptor of theirs, and has alarms of its own."""
    command = [sys.executable, "-W", "error", "-c", FORKING]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603  # our own interpreter
    assert (result.returncode, result.stderr) == (0, "")
