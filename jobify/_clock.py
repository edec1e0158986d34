"""Time: the one module that reads it and that sets the timers of an event loop.

Two questions, two readings. "What time is it?" is answered by `Clock.now`, which operators, NTP
and a machine that wakes up can step. "How long has it been?" is answered by `Clock.monotonic`,
which never goes back. All else (`sleep`, `Timeout`) is derived from a clock, here.
"""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Protocol, Self

from jobify._alarm_book import AlarmBook
from jobify._alarms import LOOK_AGAIN

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EXACT = 1_000_000
"""Seconds below which a float times 1e9 is nearest to the nanosecond that was meant."""

_EARLY = 0.001
"""Seconds to wait at least, after a timer of a loop that came early."""


class Alarm(Protocol):
    """A callback that a clock will call, as long as it is not cancelled."""

    def cancel(self) -> None:
        """See to it that the callback is not called; harmless if it was, or if repeated."""


class Clock(Protocol):
    """What the scheduler knows of time.

    A clock belongs to the event loop that runs when its methods are called.
    """

    def now(self) -> datetime:
        """Return the wall clock: aware, in UTC. It can be stepped, forwards and back."""
        ...

    def monotonic(self) -> float:
        """Return seconds since a fixed but arbitrary instant; never less than before."""
        ...

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, when `monotonic()` reaches `when`."""
        ...

    def call_at_wall(self, when: datetime, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, when `now()` reaches `when`.

        It is also called, earlier, when the wall clock was stepped: look again, and set a new alarm.
        """
        ...


class SystemClock:
    """The clock of production: the time of the running event loop, the wall clock of the machine.

    On Linux the alarms of a loop are rung by one timer descriptor for each of the two: microseconds late,
    not up to a millisecond, and told at once when the wall clock is stepped. Elsewhere, and on loops that cannot have
    them, they are timers of the loop.
    """

    _book = AlarmBook()

    def __init__(self, *, _book: AlarmBook | None = None) -> None:
        if _book is not None:  # else that of the class: a subclass need not call this
            self._book = _book

    def now(self) -> datetime:
        """Return the wall clock of the machine: aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the time of the running event loop, in seconds."""
        return asyncio.get_running_loop().time()

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, when the time of the running event loop reaches `when`."""
        loop = asyncio.get_running_loop()
        alarms = self._book.monotonic(loop)
        return _LoopAlarm(loop, when, callback) if alarms is None else alarms.add(when, callback)

    def call_at_wall(self, when: datetime, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once the wall clock reaches `when`, or was stepped meanwhile.

        Linux tells of a step at once. Elsewhere, and for a subclass that reads another wall clock, a long
        wait is cut into pieces of `LOOK_AGAIN` seconds: a step is noticed within that time.
        """
        is_machines = getattr(self.now, "__func__", None) is SystemClock.now
        alarms = self._book.wall(asyncio.get_running_loop()) if is_machines else None
        return _WallAlarm(self, when, callback) if alarms is None else alarms.add(wall_nanoseconds(when), callback)


class _LoopAlarm:
    """A timer of the loop, which may come early by the grain of its clock; then it is set again."""

    __slots__ = ("_callback", "_loop", "_timer", "_when")

    def __init__(self, loop: asyncio.AbstractEventLoop, when: float, callback: Callable[[], object]) -> None:
        self._loop = loop
        self._when = when
        self._callback = callback
        self._timer = loop.call_at(when, self._ring)

    def cancel(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        now = self._loop.time()
        if now < self._when:
            self._timer = self._loop.call_at(max(self._when, now + _EARLY), self._ring)
        else:
            self._callback()


class _WallAlarm:
    """Waits for a wall-clock time in pieces, so that a step is noticed."""

    def __init__(self, clock: SystemClock, when: datetime, callback: Callable[[], object]) -> None:
        self._clock = clock
        self._when = when
        self._callback = callback
        self._offset = self._read_offset()
        self._timer = self._arm()

    def cancel(self) -> None:
        self._timer.cancel()

    def _read_offset(self) -> float:
        return (self._clock.now() - EPOCH).total_seconds() - self._clock.monotonic()

    def _arm(self) -> Alarm:
        remaining = (self._when - self._clock.now()).total_seconds()
        piece = min(max(remaining, 0.0), LOOK_AGAIN)
        return self._clock.call_at(self._clock.monotonic() + piece, self._look)

    def _look(self) -> None:
        # A step of less than a second is NTP's daily business: the next piece is measured anew.
        stepped = abs(self._read_offset() - self._offset) > 1.0
        if stepped or self._clock.now() >= self._when:
            self._callback()
        else:
            self._timer = self._arm()


def to_nanoseconds(seconds: float) -> int:
    """Return a reading of a monotonic clock as whole nanoseconds.

    Beyond some days a float of seconds cannot tell single nanoseconds apart, and a sum of such floats
    is a little off. What was meant is then the whole number of microseconds next to it, if there is one
    as near as that.

    Raises:
        ValueError: `seconds` is NaN.
        OverflowError: `seconds` is infinite.
    """
    if -_EXACT < seconds < _EXACT:
        return round(seconds * 1e9)
    microseconds = round(seconds * 1e6)
    if abs(microseconds / 1e6 - seconds) <= 2 * math.ulp(seconds):
        return microseconds * 1000
    return round(seconds * 1e9)


def wall_nanoseconds(moment: datetime) -> int:
    """Return an aware datetime as whole nanoseconds since 1970-01-01T00:00:00Z."""
    return (moment - EPOCH) // _MICROSECOND * 1000


def wall_datetime(nanoseconds: int) -> datetime:
    """Return the aware datetime, in UTC, of whole nanoseconds since 1970-01-01T00:00:00Z."""
    return EPOCH + nanoseconds // 1000 * _MICROSECOND


async def sleep(clock: Clock, seconds: float) -> None:
    """Suspend the calling task until `seconds` have passed on the monotonic side of `clock`."""
    woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    alarm = clock.call_at(clock.monotonic() + seconds, wake)
    try:
        await woken
    finally:
        alarm.cancel()


class Timeout:
    """A block that is cancelled when it takes longer than `seconds` on a clock.

    Unlike `asyncio.timeout` it never raises `TimeoutError`: read `expired` afterwards. So the
    user's own `TimeoutError` cannot be mistaken for ours.
    """

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.expired = False
        self._clock = clock
        self._seconds = seconds

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            msg = "a timeout can be used inside a task only"
            raise RuntimeError(msg)
        self._task = task
        self._cancelling = task.cancelling()
        self._alarm = self._clock.call_at(self._clock.monotonic() + self._seconds, self._expire)
        return self

    def _expire(self) -> None:
        self.expired = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._alarm.cancel()
        if not self.expired:
            return False
        # Our own request is taken back. If another one stands, the cancellation was not only ours.
        others = self._task.uncancel() > self._cancelling
        return kind is not None and issubclass(kind, asyncio.CancelledError) and not others
