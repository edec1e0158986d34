"""The two clocks of a virtual loop, as the scheduler asks them, and the wall clock of the process."""

import contextlib
import contextvars
import os
import time
import warnings
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobify import Alarm, Clock, SystemRuntime
from jobify_testing._engine import Engine
from jobify_testing._errors import VirtualTimeWarning
from jobify_testing._options import nanoseconds_of

if TYPE_CHECKING:
    from time_machine import Traveller

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


@contextlib.contextmanager
def wall_follows(clock: TwoClocks) -> Generator[None, None, None]:
    """Let `datetime.now()`, `time.time()` and their like read a virtual clock, in this process.

    Raises:
        ImportError: time-machine is not installed.
    """
    try:
        import time_machine  # noqa: PLC0415  # a part of the extra: not there in every project
    except ImportError as error:
        msg = "virtual time needs time-machine: install jobify[testing]"
        raise ImportError(msg) from error
    # A number, unlike a datetime, leaves the TZ of the process alone.
    with _same_timezone_behind(), _no_real_app(), time_machine.travel(0, tick=False) as traveller:
        # Read through a live function, a jump of time costs nothing. This is not documented, hence the check.
        with contextlib.suppress(AttributeError):
            traveller.time_ns = clock.wall_nanoseconds  # type: ignore[method-assign]  # as said
        with contextlib.ExitStack() as stack:
            if time.time_ns() != clock.wall_nanoseconds():
                _move(traveller, clock)
                stack.enter_context(_at_each_jump(clock, lambda: _move(traveller, clock)))
            try:
                yield
            finally:
                _end_forgotten_travels(traveller)


@contextlib.contextmanager
def _no_real_app() -> Generator[None, None, None]:
    before = SystemRuntime.refused
    SystemRuntime.refused = (
        "on a real event loop while the wall clock is virtual: it would run what is really stored, at virtual dates. "
        "Start it on the loop of the test; a client that brings a thread and a loop of its own, as the TestClient of "
        "Starlette and FastAPI does, has an async one beside it, as httpx.AsyncClient with ASGITransport"
    )
    try:
        yield
    finally:
        SystemRuntime.refused = before


def _end_forgotten_travels(traveller: "Traveller") -> None:
    """Stop what a test has started on top of our own travel and not stopped: ours would else stop that instead."""
    from time_machine import traveller_stack  # noqa: PLC0415  # see above

    forgotten = 0
    while traveller in traveller_stack and traveller_stack[-1] is not traveller:
        traveller_stack.pop()
        forgotten += 1
    if forgotten:
        warnings.warn(
            f"{forgotten} time_machine.travel() of this test was started and not stopped; it is stopped now",
            VirtualTimeWarning,
            stacklevel=2,
        )


@contextlib.contextmanager
def _same_timezone_behind() -> Generator[None, None, None]:
    before = os.environ.get("TZ")
    try:
        yield
    finally:
        if os.environ.get("TZ") != before:
            if before is None:
                os.environ.pop("TZ", None)
            else:
                os.environ["TZ"] = before
            time.tzset()


@contextlib.contextmanager
def _at_each_jump(clock: TwoClocks, callback: Callable[[], object]) -> Generator[None, None, None]:
    """Call `callback` each time that time has moved, before anything runs at the new instant."""
    loop = clock._loop  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # one thing in two functions
    before, loop.after_jump = loop.after_jump, callback
    try:
        yield
    finally:
        loop.after_jump = before


def _move(traveller: "Traveller", clock: TwoClocks) -> None:
    # In microseconds, which a timedelta holds exactly; a float of seconds would not.
    traveller.shift((clock.wall_nanoseconds() - time.time_ns()) // 1000 * _MICROSECOND)
