"""How late alarms ring: those of a `SystemClock` on both axes, beside a bare `loop.call_at`.

    python benchmarks/lateness.py [--alarms 300] [--turns 5]

All set as many alarms, a little over two milliseconds apart, and each notes what its clock shows when it is called.
They take turns on one event loop after the other, in one process, for lateness is mostly that of the machine and
of what else it does: read the ratios. asyncio rounds each wait up to a millisecond. "Without descriptors" is what
other platforms than Linux have.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

from jobify import SystemClock
from jobify._alarm_book import AlarmBook
from jobify._timerfd import kernel_of_libc, kernel_of_os

Contender = Callable[[int], Coroutine[Any, Any, list[float]]]
"""Sets so many alarms, and returns the microseconds by which each was late."""

APART = 0.00217
AHEAD = 0.02
TARGET = 0.25
"""Of the median lateness of a bare `loop.call_at`."""

FLOOR = "bare loop.call_at"


async def ring_all(alarms: int, set_alarm: Callable[[int, Callable[[float], None]], object]) -> list[float]:
    """Wait until all have rung."""
    late: list[float] = []
    done = asyncio.get_running_loop().create_future()

    def ring(seconds: float) -> None:
        late.append(seconds * 1e6)
        if len(late) == alarms:
            done.set_result(None)

    for number in range(alarms):
        set_alarm(number, ring)
    await done
    return late


async def bare(alarms: int) -> list[float]:
    """Set timers of asyncio."""
    loop = asyncio.get_running_loop()
    start = loop.time() + AHEAD

    def set_alarm(number: int, ring: Callable[[float], None]) -> None:
        when = start + number * APART
        loop.call_at(when, lambda: ring(loop.time() - when))

    return await ring_all(alarms, set_alarm)


async def monotonic(clock: SystemClock, alarms: int) -> list[float]:
    """Set alarms on the time of the loop."""
    start = clock.monotonic() + AHEAD

    def set_alarm(number: int, ring: Callable[[float], None]) -> None:
        when = start + number * APART
        clock.call_at(when, lambda: ring(clock.monotonic() - when))

    return await ring_all(alarms, set_alarm)


async def wall(clock: SystemClock, alarms: int) -> list[float]:
    """Set alarms on the wall clock."""
    start = clock.now() + timedelta(seconds=AHEAD)

    def set_alarm(number: int, ring: Callable[[float], None]) -> None:
        when = start + timedelta(seconds=number * APART)
        clock.call_at_wall(when, lambda: ring((clock.now() - when).total_seconds()))

    return await ring_all(alarms, set_alarm)


def contenders() -> dict[str, Contender]:
    """Return who takes part on this platform, and on this Python."""
    clocks = {"": SystemClock(), ", without descriptors": SystemClock(_book=AlarmBook(lambda: None))}
    if kernel_of_os() and kernel_of_libc():  # then the others are those of `os`
        clocks[", descriptors by ctypes"] = SystemClock(_book=AlarmBook(kernel_of_libc))
    ours: dict[str, Contender] = {}
    for name, clock in clocks.items():
        ours[f"call_at{name}"] = partial(monotonic, clock)
        ours[f"call_at_wall{name}"] = partial(wall, clock)
    return {FLOOR: bare} | ours


def take_turns(runners: dict[str, Contender], *, alarms: int, turns: int) -> dict[str, list[list[float]]]:
    """Return the microseconds of each, turn by turn; every other turn goes the other way round."""
    late: dict[str, list[list[float]]] = {name: [] for name in runners}
    for turn in range(turns):
        for name in list(runners) if turn % 2 == 0 else reversed(runners):
            late[name].append(asyncio.run(runners[name](alarms)))
    return late


def main() -> None:
    """Let all take turns, and print medians and ratios."""
    parser = argparse.ArgumentParser(description="Lateness of alarms, against a bare loop.call_at.")
    parser.add_argument("--alarms", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    chosen = parser.parse_args()
    began = time.perf_counter()
    late = take_turns(contenders(), alarms=chosen.alarms, turns=chosen.turns)

    print(f"Python {sys.version.split()[0]}, {chosen.alarms} alarms, {chosen.turns} turns, ", end="")
    print(f"{time.perf_counter() - began:.0f} s; the target with descriptors is at most {TARGET:g} of the floor")
    print(f"{'microseconds late':40}{'earliest':>10}{'median':>10}{'99 %':>10}{'of the floor':>15}")
    for name, turns in late.items():
        every = sorted(microseconds for turn in turns for microseconds in turn)
        ratio = statistics.median(
            statistics.median(mine) / statistics.median(floor) for mine, floor in zip(turns, late[FLOOR], strict=True)
        )
        print(f"{name:40}{every[0]:>10.1f}{statistics.median(every):>10.1f}", end="")
        print(f"{every[int(len(every) * 0.99)]:>10.1f}{ratio:>15.3f}")


if __name__ == "__main__":
    main()
