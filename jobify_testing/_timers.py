"""An event loop whose timers are whole nanoseconds, on a time that stands still until it is moved.

Who moves it, and when, is not decided here: see `_engine`.
"""

import asyncio
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextvars import Context
from fractions import Fraction
from typing import Any, TypeVarTuple

from jobify import to_nanoseconds
from jobify_testing._owner import owner_in

Ts = TypeVarTuple("Ts")

_EXACT = 1_000_000
"""Seconds below which a float times 1e9 is the nearest whole nanosecond."""

_FEW_TIMERS = 100


class _Timer(asyncio.TimerHandle):
    """What asyncio knows as the handle of a timer."""

    __slots__ = ()
    _cancelled: bool
    _scheduled: bool


class TimedLoop(asyncio.SelectorEventLoop):
    """The timers of a virtual loop, and the instants that somebody waits to be reached.

    Attributes:
        nanoseconds: the virtual instant, in whole nanoseconds since the loop was made.
        ties: the order of the timers of one instant, as keys that can be compared; by default that
            in which they were set, as it is on a real loop, where no two are due at one instant.
        after_jump: called each time that time has moved.
    """

    _closed: bool
    _debug: bool
    _ready: deque[asyncio.Handle]
    _timer_cancelled_count: int
    _check_closed: Callable[[], None]
    _check_thread: Callable[[], None]

    def __init__(self) -> None:
        super().__init__()
        self.ties: Iterator[Any] = itertools.count()
        self.after_jump: Callable[[], object] | None = None
        self.nanoseconds = 0
        self._spins = 0
        self._timers: list[tuple[int, Any, _Timer]] = []
        self._reached: list[tuple[int, int, asyncio.Future[None], object | None]] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        """Return the virtual instant in seconds since the loop was made."""
        return self.nanoseconds / 1_000_000_000

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback` after a duration, exactly; one that is negative is none.

        Raises:
            ValueError: the delay is not finite.
        """
        try:
            # NaN is not below anything, and is refused by the exact conversion.
            wait = round(delay * 1e9) if -_EXACT < delay < _EXACT else to_nanoseconds(delay)
        except (ValueError, OverflowError):
            raise _never(delay) from None
        return self.call_at_nanoseconds(
            self.nanoseconds + wait if wait > 0 else self.nanoseconds, callback, args, context
        )

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call `callback` at an instant of `time()`.

        Raises:
            ValueError: the instant is not finite.
        """
        try:
            nanoseconds = to_nanoseconds(when)
        except (ValueError, OverflowError):
            raise _never(when) from None
        if nanoseconds <= self.nanoseconds and when > self.time():
            # Who waits for the last fraction of a nanosecond would else be called again and again for ever.
            nanoseconds = math.ceil(Fraction(when) * 1_000_000_000)
        return self.call_at_nanoseconds(nanoseconds, callback, args, context)

    def call_at_nanoseconds(
        self,
        when: int,
        callback: Callable[[*Ts], object],
        args: tuple[*Ts] = (),  # type: ignore[assignment]  # of a callback that takes none
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call `callback` at a virtual instant."""
        if self._closed or self._debug:
            self._check_closed()
            self._check_thread()
        timer = _Timer(when / 1_000_000_000, callback, args, self, context)
        timer._scheduled = True  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # or the loop is not told when it is cancelled
        timers = self._timers
        if self._timer_cancelled_count > _FEW_TIMERS // 2 and self._timer_cancelled_count * 2 > len(timers):
            self._drop_cancelled()
        heapq.heappush(timers, (when, next(self.ties), timer))
        return timer

    def _drop_cancelled(self) -> None:
        self._timers[:] = [item for item in self._timers if not item[2].cancelled()]
        heapq.heapify(self._timers)
        self._timer_cancelled_count = 0

    def live_timers(self) -> list[tuple[int, asyncio.TimerHandle]]:
        """Return the timers that are set, with their instants, in order."""
        return [(when, timer) for when, _, timer in sorted(self._timers) if not timer.cancelled()]

    def next_due(self) -> int | None:
        """Return the earliest instant at which a timer is due; one that was cancelled is not."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
            self._timer_cancelled_count -= 1
        return timers[0][0] if timers else None

    def _collect_due(self) -> None:
        timers, now = self._timers, self.nanoseconds
        while timers and timers[0][0] <= now:
            timer = heapq.heappop(timers)[2]
            timer._scheduled = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # it is in the heap no more
            if timer._cancelled:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # as asyncio does: a call costs more than the look
                self._timer_cancelled_count -= 1
            else:
                self._ready.append(timer)

    def _move_to(self, when: int) -> None:
        if when > self.nanoseconds:
            self.nanoseconds = when
            self._spins = 0
            if self.after_jump is not None:
                self.after_jump()

    def block(self, nanoseconds: int) -> None:
        """Let time pass while the loop does not get to run: what is due meanwhile is late."""
        self._move_to(self.nanoseconds + nanoseconds)

    def reach(self, when: int) -> asyncio.Future[None]:
        """Return a future that is resolved when all that is due until `when`, included, has run.

        That is when nothing can run any more, no work is in flight, and time would pass that instant.
        """
        reached: asyncio.Future[None] = self.create_future()
        heapq.heappush(self._reached, (when, next(self._numbers), reached, owner_in(None)))
        return reached

    def _next_reached(self) -> int | None:
        """Return the earliest instant that somebody waits to be reached."""
        waiting = self._reached
        while waiting and waiting[0][2].done():
            heapq.heappop(waiting)
        return waiting[0][0] if waiting else None

    def close(self) -> None:
        """Close the loop; `time()` still tells when that was."""
        super().close()
        self._timers.clear()
        self._reached.clear()


def _never(seconds: float) -> ValueError:
    return ValueError(f"cannot set a timer to {seconds!r} s: that instant is never reached")
