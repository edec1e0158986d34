"""Which event loop has which alarms, and which loops, and processes, can have none."""

import asyncio
import os
import time
import weakref
from collections.abc import Callable
from typing import Generic, TypeVar

from jobify._alarms import Alarms, MonotonicAlarms, WallAlarms, no_alarms
from jobify._timerfd import MONOTONIC, REALTIME, REALTIME_COARSE, Kernel, TimerDescriptor, find_kernel

Loop = asyncio.AbstractEventLoop
A = TypeVar("A", bound=Alarms)

_SAME = 1.0
"""Seconds that two readings of one clock are apart at most."""


class PerLoop(Generic[A]):
    """Remembers the alarms of each loop, without keeping either alive, and which loops cannot have any."""

    def __init__(self, make: Callable[[Loop], A]) -> None:
        self._make = make
        self._known: weakref.WeakKeyDictionary[Loop, weakref.ref[A] | None] = weakref.WeakKeyDictionary()

    def of(self, loop: Loop) -> A | None:
        """Return the alarms of a loop; None if it must set timers of its own."""
        known = self._known.get(loop, no_alarms)
        if known is None:
            return None
        alarms = known()
        if alarms is not None and not alarms.closed:
            return alarms
        return self._open(loop)

    def _open(self, loop: Loop) -> A | None:
        try:
            alarms = self._make(loop)
        except (OSError, NotImplementedError, AttributeError):  # too many open files, or a loop without readers
            self._known[loop] = None
            return None
        self._known[loop] = weakref.ref(alarms)
        _every.add(alarms)
        return alarms


class AlarmBook:
    """Where clocks find the alarms of the loop that runs.

    Args:
        find: Returns the kernel's timer descriptors; None if there are none.
    """

    def __init__(self, find: Callable[[], Kernel | None] = find_kernel) -> None:
        self._find = find
        self._monotonic = PerLoop(self._make_monotonic)
        self._wall = PerLoop(self._make_wall)

    def monotonic(self, loop: Loop) -> MonotonicAlarms | None:
        """Return the alarms on the time of a loop; None if it must set timers of its own."""
        return self._monotonic.of(loop)

    def wall(self, loop: Loop) -> WallAlarms | None:
        """Return the alarms on the wall clock; None also while that of the process is not the machine's."""
        return self._wall.of(loop) if self._find() is not None and _is_real(loop) else None

    def _make_monotonic(self, loop: Loop) -> MonotonicAlarms:
        # A loop with a `time()` of its own has timers that fit: on virtual time, say, or uvloop.
        if getattr(loop.time, "__func__", None) is not asyncio.BaseEventLoop.time:
            raise NotImplementedError
        return MonotonicAlarms(loop, self._open(MONOTONIC))

    def _make_wall(self, loop: Loop) -> WallAlarms:
        return WallAlarms(loop, self._open(REALTIME))

    def _open(self, clock: int) -> TimerDescriptor:
        kernel = self._find()
        if kernel is None:
            raise NotImplementedError
        return TimerDescriptor(kernel, clock)


def _is_real(loop: Loop) -> bool:
    """Return whether the process and the loop have the time of the machine, for which a descriptor waits."""
    try:
        # Those who patch the clocks of `time` leave this reading alone.
        machine = time.clock_gettime_ns(REALTIME_COARSE)
    except OSError:
        return False
    return abs(machine - time.time_ns()) < _SAME * 1e9 and abs(loop.time() - time.monotonic()) < _SAME


_every: "weakref.WeakSet[Alarms]" = weakref.WeakSet()


def _abandon_all() -> None:
    # In a forked child: a timer that it sets is that of its parent, and so is a loop's list of readers.
    for alarms in list(_every):
        alarms.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)
