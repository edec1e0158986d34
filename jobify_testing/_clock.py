"""The hands of a test on virtual time."""

import contextlib
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobify import Alarm, to_nanoseconds
from jobify_testing._engine import Engine

if TYPE_CHECKING:
    from time_machine import Traveller

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time starts, unless a test says otherwise."""

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SECOND = 1_000_000_000


class _WallAlarm:
    """A callback for an instant of the wall clock, known to its clock for as long as it is pending."""

    def __init__(self, pending: "set[_WallAlarm]", callback: Callable[[], object]) -> None:
        self._pending = pending
        self._callback = callback
        self._timer: Alarm | None = None
        pending.add(self)

    def arm(self, loop: Engine, when: int) -> None:
        self._timer = loop.call_at_nanoseconds(when, self.ring)

    def ring(self) -> None:
        self.cancel()
        self._callback()

    def cancel(self) -> None:
        self._pending.discard(self)
        if self._timer is not None:
            self._timer.cancel()


class VirtualClock:
    """The clock of a virtual loop: the wall clock and the monotonic one, and the means to move them.

    Waiting for what only time can bring moves time by itself: `await job.wait()`,
    `await asyncio.sleep(3600)`. `advance` and its like are for tests that want to stand at an instant.

    Args:
        loop: the virtual loop.
        start: what the wall clock shows when the loop is at 0; aware.
    """

    def __init__(self, loop: Engine, *, start: datetime = EPOCH) -> None:
        _refuse_naive(start, "start at")
        self._loop = loop
        self._start = start.astimezone(UTC)
        self._start_nanoseconds = (self._start - _UNIX) // _MICROSECOND * 1000
        # All that has to look again when the wall clock is stepped.
        self._wall_alarms: set[_WallAlarm] = set()

    # What the scheduler asks

    def now(self) -> datetime:
        """Return the virtual wall clock: aware, in UTC."""
        return self._start + self._loop.nanoseconds // 1000 * _MICROSECOND

    def monotonic(self) -> float:
        """Return the virtual seconds since the loop was made."""
        return self._loop.time()

    def call_at(self, when: float, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, when `monotonic()` reaches `when`."""
        return self._loop.call_at(when, callback)

    def call_at_wall(self, when: datetime, callback: Callable[[], object]) -> Alarm:
        """Call `callback` once, when `now()` reaches `when`."""
        alarm = _WallAlarm(self._wall_alarms, callback)
        alarm.arm(self._loop, max((when - self._start) // _MICROSECOND * 1000, self._loop.nanoseconds))
        return alarm

    def wall_nanoseconds(self) -> int:
        """Return the virtual wall clock in nanoseconds since 1970-01-01T00:00:00Z."""
        return self._start_nanoseconds + self._loop.nanoseconds

    # What a test does

    async def advance(  # the units of a timedelta
        self,
        duration: float | timedelta = 0,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
        milliseconds: float = 0,
    ) -> None:
        """Let a duration pass, its end included; seconds, a timedelta, or in units: `hours=1`.

        Time stops at every due instant on the way. When this returns, everything that could run has run,
        and no work is in flight.

        Raises:
            ValueError: the duration is negative or not finite.
        """
        if isinstance(duration, timedelta):
            nanoseconds = duration // _MICROSECOND * 1000
        else:
            nanoseconds = _nanoseconds(duration, _SECOND)
        nanoseconds += _nanoseconds(days, 86_400 * _SECOND) + _nanoseconds(hours, 3_600 * _SECOND)
        nanoseconds += _nanoseconds(minutes, 60 * _SECOND) + _nanoseconds(seconds, _SECOND)
        nanoseconds += _nanoseconds(milliseconds, 1_000_000)
        if nanoseconds < 0:
            msg = f"cannot advance by {nanoseconds / _SECOND!r} s from {self.monotonic()!r} s: time does not go back"
            raise ValueError(msg)
        await self._loop.reach(self._loop.nanoseconds + nanoseconds)

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until the wall clock shows an aware datetime, that instant included.

        Raises:
            ValueError: the datetime is naive, or has passed.
        """
        _refuse_naive(moment, "advance to")
        if moment < self.now():
            msg = f"cannot advance to {moment.isoformat()}: it is {self.now().isoformat()} already"
            raise ValueError(msg)
        await self._loop.reach((moment - self._start) // _MICROSECOND * 1000)

    async def settle(self) -> None:
        """Return when everything that can run at this instant has run, and no work is in flight."""
        await self._loop.reach(self._loop.nanoseconds)

    @contextlib.contextmanager
    def each_jump(self, callback: Callable[[], object]) -> Generator[None, None, None]:
        """Call `callback` each time that time has moved, before anything runs at the new instant."""
        before, self._loop.after_jump = self._loop.after_jump, callback
        try:
            yield
        finally:
            self._loop.after_jump = before

    def __repr__(self) -> str:
        return f"<VirtualClock: {self.now().isoformat()}, {self.monotonic()!r} s>"


def _refuse_naive(moment: datetime, verb: str) -> None:
    if moment.utcoffset() is None:
        msg = f"cannot {verb} {moment!r}: it is naive; give it a zone, as in datetime(..., tzinfo=UTC)"
        raise ValueError(msg)


def _nanoseconds(number: float, unit: int) -> int:
    """Return a number of units of so many nanoseconds; whole numbers are exact at any size."""
    if isinstance(number, int):
        return number * unit
    try:
        return to_nanoseconds(number * unit / _SECOND)
    except (ValueError, OverflowError):
        msg = f"cannot advance by {number!r}: that never ends"
        raise ValueError(msg) from None


@contextlib.contextmanager
def wall_follows(clock: VirtualClock) -> Generator[None, None, None]:
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
    with time_machine.travel(0, tick=False) as traveller:
        # Read through a live function, a jump of time costs nothing. This is not documented, hence the check.
        with contextlib.suppress(AttributeError):
            traveller.time_ns = clock.wall_nanoseconds  # type: ignore[method-assign]  # as said
        if time.time_ns() == clock.wall_nanoseconds():
            yield
            return
        _move(traveller, clock)
        with clock.each_jump(lambda: _move(traveller, clock)):
            yield


def _move(traveller: "Traveller", clock: VirtualClock) -> None:
    # In microseconds, which a timedelta holds exactly; a float of seconds would not.
    traveller.shift((clock.wall_nanoseconds() - time.time_ns()) // 1000 * _MICROSECOND)
