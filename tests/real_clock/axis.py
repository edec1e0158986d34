"""What the tests of the real clock share that is no fixture."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobify import Alarm, SystemClock
from jobify._timerfd import Kernel, kernel_of_libc, kernel_of_os

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
linux = pytest.mark.skipif(sys.platform != "linux", reason="timer descriptors are Linux's")


def no_kernel() -> None:
    """Stand for a platform without timer descriptors."""


PRECISE = {name: find for name, find in {"os": kernel_of_os, "libc": kernel_of_libc}.items() if find()}
WAYS: dict[str, Callable[[], Kernel | None]] = {**PRECISE, "timers of the loop": no_kernel}


class Axis:
    """One of the two axes of a clock, in seconds from now."""

    def __init__(self, clock: SystemClock, name: str) -> None:
        self.clock = clock
        self.is_wall = name == "wall"
        self.start = self._read()

    def _read(self) -> float:
        return (self.clock.now() - EPOCH) / timedelta(seconds=1) if self.is_wall else self.clock.monotonic()

    def call_in(self, seconds: float, callback: Callable[[], object]) -> Alarm:
        """Set an alarm, by the time at which the test began; equal seconds are the same instant."""
        if self.is_wall:
            return self.clock.call_at_wall(EPOCH + timedelta(seconds=self.start + seconds), callback)
        return self.clock.call_at(self.start + seconds, callback)

    async def wait(self, seconds: float) -> None:
        """Wait until an alarm rings."""
        rung = asyncio.get_running_loop().create_future()
        self.call_in(seconds, lambda: rung.set_result(None))
        await rung


def descriptors() -> int:
    """Return how many timer descriptors this process has open."""
    targets: list[str] = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(link.readlink()))
        except FileNotFoundError:
            continue  # that of the listing itself
    return sum("timerfd" in target for target in targets)


async def turns() -> None:
    """Let the loop turn until the timers that are due now, and those which they set, have run."""
    loop = asyncio.get_running_loop()
    for _ in range(5):
        turned = loop.create_future()
        loop.call_later(0.002, turned.set_result, None)
        await turned
