"""The two clocks of a virtual loop, as the scheduler asks them."""

import contextlib
import contextvars
import os
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta

from jobify import Alarm, Clock
from jobify_testing._engine import Engine
from jobify_testing._options import nanoseconds_of

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _WallAlarm:
    """A callback for an instant of the wall clock, known to its clock for as long as it is pending."""

    def __init__(self, pending: "dict[_WallAlarm, None]", callback: Callable[[], object]) -> None:
        self._pending = pending
        self.inner = callback
        self._timer: Alarm | None = None
        pending[self] = None

    def arm(self, loop: Engine, when: int) -> None:
        self._timer = loop.call_at_nanoseconds(when, self._come, (), contextvars.Context())

    def _come(self) -> None:
        del self._pending[self]
        self.inner()

    def ring(self) -> None:
        """Call back before its time, if it is still pending."""
        if self in self._pending:
            self.cancel()
            self.inner()

    def cancel(self) -> None:
        self._pending.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()


class TwoClocks:
    """The wall clock, which can be stepped, and the monotonic one, which is the time of the loop.

    Args:
        loop: the virtual loop.
        start: what the wall clock shows when the loop is at 0; aware.
    """

    def __init__(self, loop: Engine, start: datetime) -> None:
        self._loop = loop
        self._set_start(start.astimezone(UTC))
        self._wall_alarms: dict[_WallAlarm, None] = {}

    def _set_start(self, start: datetime) -> None:
        self._start = self._shown = start
        self._shown_at = 0  # an instant of the loop, and what the wall clock shows there
        self._start_nanoseconds = (start - _UNIX) // _MICROSECOND * 1000

    @property
    def _is_real(self) -> bool:
        return self._loop.options.mode == "real"

    # What the scheduler asks

    def now(self) -> datetime:
        """Return the virtual wall clock: aware, in UTC."""
        loop = self._loop
        if loop.options.mode == "real":
            return datetime.now(UTC)
        instant = loop.nanoseconds
        if instant != self._shown_at:
            self._shown_at, self._shown = instant, self._start + instant // 1000 * _MICROSECOND
        return self._shown

    def monotonic(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._loop.nanoseconds / 1_000_000_000

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, when `monotonic()` reaches `when`."""
        # In a context of its own: who set the alarm may be of another app, and die with it.
        return self._loop.call_at(when, callback, context=contextvars.Context())

    def call_at_wall(self, when: datetime, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, when `now()` reaches `when`, or when the wall clock is stepped: look again."""
        alarm = _WallAlarm(self._wall_alarms, callback)
        if self._is_real:
            remaining = (when - self.now()) // _MICROSECOND * 1000
            alarm.arm(self._loop, self._loop.nanoseconds + max(remaining, 0))
        else:
            alarm.arm(self._loop, max(self._instant_of(when), self._loop.nanoseconds))
        return alarm

    def _instant_of(self, moment: datetime) -> int:
        """Return when the wall clock shows a datetime, in nanoseconds of the loop, if it is not stepped."""
        return (moment - self._start) // _MICROSECOND * 1000

    @contextlib.contextmanager
    def at_each_jump(self, callback: Callable[[], object]) -> Generator[None, None, None]:
        """In a `with` block, call `callback` each time that time has moved, before anything runs at the new instant."""
        before, self._loop.after_jump = self._loop.after_jump, callback
        try:
            yield
        finally:
            self._loop.after_jump = before

    def wall_nanoseconds(self) -> int:
        """Return the virtual wall clock in nanoseconds since 1970-01-01T00:00:00Z."""
        return self._start_nanoseconds + self._loop.nanoseconds

    # What happens to the clocks of a machine

    def step_wall(self, delta: float | timedelta) -> None:
        """Step the wall clock, as NTP or an operator does; back, if `delta` is negative.

        The monotonic clock goes on as if nothing had happened.

        Raises:
            ValueError: the step is not finite, or leads out of the years 1 to 9999.
        """
        try:
            start = self._start + nanoseconds_of(delta, "step the wall clock by") // 1000 * _MICROSECOND
            _ = start + self._loop.nanoseconds // 1000 * _MICROSECOND
        except OverflowError:
            msg = f"cannot step the wall clock by {delta!r} from {self.now().isoformat()}: it knows the years 1 to 9999"
            raise ValueError(msg) from None
        self._set_start(start)
        for alarm in tuple(self._wall_alarms):
            self._loop.call_soon(alarm.ring)
        if self._loop.after_jump is not None:
            self._loop.after_jump()

    def suspend(self, duration: float | timedelta, *, monotonic: bool = False) -> None:
        """Let the machine sleep: the wall clock has moved on when it wakes.

        Args:
            duration: for how long.
            monotonic: whether the monotonic clock goes on meanwhile. That of Linux does not, and so it is
                here by default, whatever the platform.

        Raises:
            ValueError: the duration is negative or not finite.
        """
        if monotonic:
            self.block(duration)
        else:
            _not_negative(duration, "suspend for")
            self.step_wall(duration)

    def block(self, duration: float | timedelta) -> None:
        """Let time pass while the loop does not get to run: what is due meanwhile is late, and sees the later time.

        Raises:
            ValueError: the duration is negative or not finite.
        """
        self._loop.block(_not_negative(duration, "block for"))

    def set_timezone(self, name: str) -> None:
        """Change the local zone of the process, as it is for naive datetimes, until the end of the test.

        Raises:
            ValueError: the platform cannot do that, or knows no such zone.
        """
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415  # rarely needed

        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            msg = f"cannot set the timezone {name!r}: the tz database knows no such zone"
            raise ValueError(msg) from None
        if not hasattr(time, "tzset"):
            msg = f"cannot set the timezone {name!r}: this platform has no tzset()"
            raise ValueError(msg)
        os.environ["TZ"] = name
        time.tzset()

    def shifted(self, delta: float | timedelta) -> Clock:
        """Return a clock whose wall clock differs by `delta`: for another machine on the same timeline.

        Raises:
            ValueError: the shift is not finite, or leads out of the years 1 to 9999.
        """
        try:
            clock = _Shifted(self, nanoseconds_of(delta, "shift a clock by") // 1000 * _MICROSECOND)
            clock.now()
        except OverflowError:
            msg = f"cannot shift a clock by {delta!r} from {self.now().isoformat()}: it knows the years 1 to 9999"
            raise ValueError(msg) from None
        return clock


def _not_negative(duration: float | timedelta, verb: str) -> int:
    nanoseconds = nanoseconds_of(duration, verb)
    if nanoseconds < 0:
        msg = f"cannot {verb} {duration!r}: time does not go back; step_wall() can step the wall clock"
        raise ValueError(msg)
    return nanoseconds


class _Shifted:
    """The clock of another machine."""

    def __init__(self, clock: TwoClocks, delta: timedelta) -> None:
        self._clock = clock
        self._delta = delta
        self.monotonic = clock.monotonic
        self.call_at = clock.call_at

    def now(self) -> datetime:
        return self._clock.now() + self._delta

    def call_at_wall(self, when: datetime, callback: Callable[[], object]) -> Alarm:
        try:
            moment = when - self._delta
        except OverflowError:  # before all time, or behind it: the first or the last instant will do
            moment = _FIRST if self._delta > timedelta() else _LAST
        return self._clock.call_at_wall(moment, callback)

    def __repr__(self) -> str:
        return f"<{self._clock!r} shifted by {self._delta}>"
