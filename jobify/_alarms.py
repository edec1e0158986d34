"""The alarms that wait in one event loop: heaps, each rung by one timer descriptor.

The loop owns it all: what holds a heap is the reader that the loop has for its descriptor, so a loop
that is closed, or gone, takes alarms and descriptors with it. A loop that is left alone has its descriptor closed
`TIDY` seconds after the last alarm; one that cannot have any is told apart once, and sets timers of its own.
"""

import asyncio
import contextvars
import heapq
import math
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from itertools import count

from jobify._timerfd import TimerDescriptor

Loop = asyncio.AbstractEventLoop

LOOK_AGAIN = 30.0
"""Seconds within which a step of the wall clock is noticed where nobody tells of it."""

TIDY = 1.0
"""Seconds after which a descriptor that is set for a cancelled alarm, or for none, is set anew, or closed.

Not at once: a job with a timeout sets an alarm and cancels it soon after, and so does the next job.
"""

_NEVER = math.inf
_BUSY = -math.inf
"""For what a descriptor is set while callbacks run: it will be set once, after them."""
_GHOSTS = 64
"""Cancelled alarms that a heap may hold, and at most half of it."""
_EARLY = 1_000_000
"""Nanoseconds to wait at least, after a descriptor that was ready before the clock showed its time."""
_FOREVER = 1e10
"""Seconds that are as good as infinity."""


def no_alarms() -> None:
    """Stand for a reference to alarms that are no more."""


class HeapAlarm:
    """An alarm in a heap, or one that was taken out to ring."""

    __slots__ = ("_alarms", "_callback", "_context", "when")

    def __init__(self, when: float, callback: Callable[[], object], alarms: Callable[[], "Alarms | None"]) -> None:
        self.when = when
        self._callback: Callable[[], object] | None = callback
        self._context = contextvars.copy_context()
        self._alarms = alarms

    def is_cancelled(self) -> bool:
        """Whether it waits for nothing."""
        return self._callback is None

    def cancel(self) -> None:
        """See to it that the callback is not called; harmless if it was, or if repeated."""
        if self._callback is None:
            return
        self._callback = None
        del self._context  # what it holds is the user's
        alarms = self._alarms()
        if alarms is not None:
            alarms.forget(self)

    def take_out(self) -> None:
        """Take note that it is in no heap any more."""
        self._alarms = no_alarms

    def ring(self, loop: Loop) -> None:
        """Call back, unless it was cancelled. What that raises is told to the loop, as with a timer of its own."""
        callback, self._callback = self._callback, None
        if callback is None:
            return
        try:
            self._context.run(callback)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:  # noqa: BLE001  # the loop's handler decides
            loop.call_exception_handler({"message": f"an alarm failed: {callback!r}", "exception": error})


class Alarms(ABC):
    """The alarms of one loop on one axis of time, ordered by (when, number), and the descriptor that rings them."""

    def __init__(self, loop: Loop, descriptor: TimerDescriptor) -> None:
        self.closed = False
        self._loop = loop
        self._descriptor = descriptor
        self._heap: list[tuple[float, int, HeapAlarm]] = []
        self._numbers = count()
        self._ghosts = 0
        self._set_for = _NEVER
        self._tidying: asyncio.TimerHandle | None = None
        self._itself: Callable[[], Alarms | None] = weakref.ref(self)
        # In a context of its own: that of whoever set the first alarm would live as long as the reader.
        contextvars.Context().run(loop.add_reader, descriptor.fd, self._wake)

    def add(self, when: float, callback: Callable[[], object]) -> HeapAlarm:
        """Have the loop call `callback` when the clock shows `when`.

        Raises:
            ValueError: `when` is NaN.
        """
        if math.isnan(when):
            msg = "cannot set an alarm at NaN: it has no place among the others"
            raise ValueError(msg)
        alarm = HeapAlarm(when, callback, self._itself)
        heapq.heappush(self._heap, (when, next(self._numbers), alarm))
        if when < self._set_for:
            self._set(when)
        return alarm

    def forget(self, alarm: HeapAlarm) -> None:
        """Take note that an alarm was cancelled. It stays in the heap as a ghost, for a while."""
        self._ghosts += 1
        if self._ghosts > _GHOSTS and 2 * self._ghosts > len(self._heap):
            self._ghosts = 0
            self._heap[:] = [item for item in self._heap if not item[2].is_cancelled()]
            heapq.heapify(self._heap)
        if alarm.when <= self._set_for:
            self._tidy_later()

    def abandon(self) -> None:
        """Let go of everything and touch nothing: in a forked child all of it is the parent's."""
        self.closed = True
        self._heap.clear()
        self._descriptor.close()

    def _wake(self) -> None:
        if not self.closed:
            self._catch_up(stepped=self._descriptor.read())

    def _catch_up(self, *, stepped: bool = False) -> None:
        """Ring what is due, or everything, in order; then wait for the next."""
        expected, self._set_for = self._set_for, _BUSY
        due = self._take_due(everything=stepped)
        early = not due and not stepped and bool(self._heap) and self._heap[0][0] <= expected
        ringing = iter(due)
        try:
            for alarm in ringing:
                alarm.ring(self._loop)
        finally:
            for alarm in ringing:  # one has stopped the loop: the others are not to be lost
                self._loop.call_soon(alarm.ring, self._loop)
            self._wait(early=early)

    def _take_due(self, *, everything: bool) -> list[HeapAlarm]:
        now = self._read()
        heap = self._heap
        due: list[HeapAlarm] = []
        while heap and (everything or heap[0][0] <= now):
            alarm = heapq.heappop(heap)[2]
            if alarm.is_cancelled():
                self._ghosts -= 1
            else:
                alarm.take_out()
                due.append(alarm)
        return due

    def _head(self) -> float:
        """Return when the first alarm is due that is no ghost; `_NEVER` if there is none."""
        heap = self._heap
        while heap and heap[0][2].is_cancelled():
            heapq.heappop(heap)
            self._ghosts -= 1
        return heap[0][0] if heap else _NEVER

    def _wait(self, *, early: bool = False) -> None:
        when = self._head()
        if not self._heap:
            self._set_for = _NEVER
            self._tidy_later()
        elif early:
            # The alarm that it was set for is not due: by a hair, or because somebody patches the clock meanwhile.
            self._set_for = when
            self._descriptor.wake_in(min(max(self._left(when), _EARLY), int(LOOK_AGAIN * 1e9)))
        else:
            self._set(when)

    def _set(self, when: float) -> None:
        self._set_for = when
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None
        left = self._left(when)
        if left > 0:
            self._set_descriptor(when, left)
        else:  # the kernel would take longer to say so
            self._soon(self._catch_up)

    def _soon(self, call: Callable[[], object]) -> None:
        self._loop.call_soon(call, context=contextvars.Context())

    def _tidy_later(self) -> None:
        if self._tidying is None and not self.closed:
            self._tidying = self._loop.call_later(TIDY, self._tidy, context=contextvars.Context())

    def _tidy(self) -> None:
        self._tidying = None
        when = self._head()
        if not self._heap:
            self.closed = True
            self._loop.remove_reader(self._descriptor.fd)
            self._descriptor.close()
        elif when != self._set_for:
            self._set(when)

    @abstractmethod
    def _read(self) -> float:
        """Return what the clock shows."""

    @abstractmethod
    def _left(self, when: float) -> int:
        """Return the nanoseconds until the clock shows `when`, rounded up."""

    @abstractmethod
    def _set_descriptor(self, when: float, left: int) -> None:
        """Have the descriptor ring then."""


class MonotonicAlarms(Alarms):
    """Alarms in seconds of the loop's time."""

    def _read(self) -> float:
        return self._loop.time()

    def _left(self, when: float) -> int:
        return math.ceil(min(max(when - self._loop.time(), 0.0), _FOREVER) * 1e9)

    def _set_descriptor(self, when: float, left: int) -> None:  # noqa: ARG002  # one needs this, one that
        # By what is left, not by the instant: so it waits as asyncio would, whatever `time()` is made to say.
        self._descriptor.wake_in(left)


class WallAlarms(Alarms):
    """Alarms in nanoseconds of the wall clock since 1970; all of them ring when that is stepped."""

    def _read(self) -> float:
        return time.time_ns()

    def _left(self, when: float) -> int:
        return int(when) - time.time_ns()

    def _set_descriptor(self, when: float, left: int) -> None:  # noqa: ARG002  # one needs this, one that
        if self._descriptor.wake_at(int(when)):
            self._soon(partial(self._catch_up, stepped=True))
