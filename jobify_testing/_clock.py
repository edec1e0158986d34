"""The hands of a test on virtual time."""

import contextlib
import math
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta

from jobify import Alarm
from jobify_testing._engine import Engine

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""When virtual time starts, unless a test says otherwise."""

_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class VirtualClock:
    """The clock of a virtual loop: the wall clock and the monotonic one, and the means to move them.

    Waiting for what only time can bring moves time by itself: `await job.wait()`,
    `await asyncio.sleep(3600)`. `advance` and its like are for tests that want to stand at an instant.
    """

    def __init__(self, loop: Engine, *, start: datetime = EPOCH) -> None:
        self._loop = loop
        self._start = start
        self._start_nanoseconds = (start - _UNIX) // _MICROSECOND * 1000

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
        due = (when - self._start) // _MICROSECOND * 1000
        return self._loop.call_at_nanoseconds(max(due, self._loop.nanoseconds), callback)

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
        parts = [(days, 86_400), (hours, 3_600), (minutes, 60), (seconds, 1), (milliseconds, 0.001)]
        nanoseconds = _nanoseconds(duration) + sum(_nanoseconds(number * unit) for number, unit in parts)
        if nanoseconds < 0:
            msg = f"cannot advance by {nanoseconds / 1e9:g} s from {self.monotonic():g} s: time does not go back"
            raise ValueError(msg)
        await self._loop.reach(self._loop.nanoseconds + nanoseconds)

    async def advance_to(self, moment: datetime) -> None:
        """Let time pass until the wall clock shows an aware datetime, that instant included.

        Raises:
            ValueError: the datetime is naive, or has passed.
        """
        if moment.utcoffset() is None:
            msg = f"cannot advance to {moment!r}: it is naive; give it a zone, as in datetime(..., tzinfo=UTC)"
            raise ValueError(msg)
        if moment < self.now():
            msg = f"cannot advance to {moment.isoformat()}: it is {self.now().isoformat()} already"
            raise ValueError(msg)
        await self._loop.reach((moment - self._start) // _MICROSECOND * 1000)

    async def settle(self) -> None:
        """Return when everything that can run at this instant has run, and no work is in flight."""
        await self._loop.reach(self._loop.nanoseconds)

    def __repr__(self) -> str:
        return f"<VirtualClock: {self.now().isoformat()}, {self.monotonic():g} s>"


def _nanoseconds(duration: float | timedelta) -> int:
    if isinstance(duration, timedelta):
        return duration // _MICROSECOND * 1000
    if not math.isfinite(duration):
        msg = f"cannot advance by {duration!r}: that never ends"
        raise ValueError(msg)
    return round(duration * 1_000_000_000)


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
        traveller.time_ns = clock.wall_nanoseconds  # type: ignore[method-assign]  # so a jump of time costs nothing
        if time.time_ns() != clock.wall_nanoseconds():
            msg = "virtual time does not get along with this version of time-machine; install jobify[testing]"
            raise RuntimeError(msg)
        yield
