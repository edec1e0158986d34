"""The times that a recurring job is meant for: which of them have passed, and which is next. Pure.

They lie on the axis of time that the job follows. A cron follows the wall clock. An interval follows the monotonic
clock: what the wall clock shows at its times is a forecast, made anew from where the two clocks stand now.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from jobify._clock import wall_nanoseconds
from jobify._recurrence import Every
from jobify._triggers import Trigger
from jobify.exceptions import InvalidScheduleError

_TICK = timedelta(microseconds=1)


class Nominal(NamedTuple):
    """A time that a run is meant for.

    Attributes:
        moment: on the wall clock; in UTC.
        nanoseconds: on the axis of its job: since 1970, or on the monotonic clock.
    """

    moment: datetime
    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Passed:
    """Due times in a row that have passed.

    Attributes:
        first: the first of them.
        last: the last of them.
        count: how many they are.
    """

    first: Nominal
    last: Nominal
    count: int


class Times(ABC):
    """The times of one recurrence, seen from now."""

    @abstractmethod
    def after(self, time: Nominal, /, *, within: Nominal | None = None) -> Nominal | None:
        """Return the first time strictly after another; None if there is none, or none up to `within`."""

    @abstractmethod
    def coming(self, time: Nominal, /) -> Nominal | None:
        """Return the first time strictly after another, and after now; None if there is none."""

    @abstractmethod
    def passed(self, time: Nominal, /) -> Passed | None:
        """Return the times strictly after another that are not after now; None if there are none."""

    @abstractmethod
    def age(self, time: Nominal, /) -> float:
        """Return how many seconds ago a time was."""

    @abstractmethod
    def last(self, passed: Passed, most: int, /) -> Passed:
        """Return the last of times that have passed, as many as `most`, which they are more than."""

    @abstractmethod
    def before_last(self, passed: Passed, most: int, /) -> Passed:
        """Return the times that have passed before the last `most`, of which there are more."""


def times_of(trigger: Trigger, tz: tzinfo, *, now: datetime, monotonic: int | None) -> Times:
    """Return the times of a recurrence.

    Args:
        trigger: the recurrence.
        tz: its zone, if it has none of its own.
        now: the wall clock; in UTC.
        monotonic: the monotonic clock, in nanoseconds; None for a recurrence that follows the wall clock.
    """
    if monotonic is None:
        return _WallTimes(trigger, tz, now)
    assert isinstance(trigger, Every)  # noqa: S101  # all others follow the wall clock
    return _Intervals(trigger, now, monotonic)


class _WallTimes(Times):
    def __init__(self, trigger: Trigger, tz: tzinfo, now: datetime) -> None:
        self._trigger = trigger
        self._tz = tz
        self._now = now
        self._behind: tuple[Nominal, Nominal | None] | None = None  # a time, and the one to come behind it

    def after(self, time: Nominal, /, *, within: Nominal | None = None) -> Nominal | None:
        found = self._after(time.moment)
        return found if found is None or within is None or found.moment <= within.moment else None

    def coming(self, time: Nominal, /) -> Nominal | None:
        if self._behind is not None and self._behind[0] is time:
            return self._behind[1]
        return self._after(max(time.moment, self._now))

    def _after(self, moment: datetime) -> Nominal | None:
        try:
            return _at(self._trigger.next_after(moment, self._tz))
        except InvalidScheduleError:  # the recurrence is over, or the calendar
            return None

    def passed(self, time: Nominal, /) -> Passed | None:
        first = self._after(time.moment)
        if first is None or first.moment > self._now:
            self._behind = time, first
            return None
        # The last time is the first moment behind which there is none.
        last = self._first_moment(first.moment, self._now, self._now, most=0)
        return Passed(first, _at(last), 1 + self._count(first.moment, last))

    def age(self, time: Nominal, /) -> float:
        return (self._now - time.moment).total_seconds()

    def _count(self, after: datetime, until: datetime) -> int:
        return self._trigger.count(after=after, until=until, tz=self._tz)

    def _first_moment(self, low: datetime, high: datetime, until: datetime, *, most: int) -> datetime:
        """Return the first moment from `low` to `high` after which, up to `until`, no more than `most` times are."""
        while low < high:
            middle = low + (high - low) // 2
            if self._count(middle, until) > most:
                low = middle + _TICK
            else:
                high = middle
        return high

    def last(self, passed: Passed, most: int, /) -> Passed:
        moment = self._first_moment(passed.first.moment, passed.last.moment, passed.last.moment, most=most)
        return Passed(_at(self._trigger.next_after(moment, self._tz)), passed.last, most)

    def before_last(self, passed: Passed, most: int, /) -> Passed:
        moment = self._first_moment(passed.first.moment, passed.last.moment, passed.last.moment, most=most)
        return Passed(passed.first, _at(moment), passed.count - most)


class _Intervals(Times):
    def __init__(self, trigger: Every, now: datetime, monotonic: int) -> None:
        self._interval = trigger.interval // _TICK * 1000
        self._end = trigger.end_date
        self._now = now
        self._monotonic = monotonic

    def _at(self, nanoseconds: int) -> Nominal:
        return Nominal(self._now + timedelta(microseconds=(nanoseconds - self._monotonic) // 1000), nanoseconds)

    def _unless_over(self, nanoseconds: int) -> Nominal | None:
        try:
            time = self._at(nanoseconds)
        except OverflowError:  # the calendar is over
            return None
        return time if self._end is None or time.moment <= self._end else None

    def after(self, time: Nominal, /, *, within: Nominal | None = None) -> Nominal | None:
        nanoseconds = time.nanoseconds + self._interval
        if within is None:
            return self._unless_over(nanoseconds)
        if nanoseconds > within.nanoseconds:
            return None
        # What the wall clock showed when these times passed does not change when it is stepped.
        return Nominal(time.moment + timedelta(microseconds=self._interval // 1000), nanoseconds)

    def coming(self, time: Nominal, /) -> Nominal | None:
        intervals = max((self._monotonic - time.nanoseconds) // self._interval, 0) + 1
        return self._unless_over(time.nanoseconds + intervals * self._interval)

    def passed(self, time: Nominal, /) -> Passed | None:
        until = self._monotonic
        if self._end is not None and self._end < self._now:
            until -= (self._now - self._end) // _TICK * 1000
        count = (until - time.nanoseconds) // self._interval
        if count <= 0:
            return None
        return Passed(
            self._at(time.nanoseconds + self._interval), self._at(time.nanoseconds + count * self._interval), count
        )

    def age(self, time: Nominal, /) -> float:
        return (self._monotonic - time.nanoseconds) / 1_000_000_000

    def last(self, passed: Passed, most: int, /) -> Passed:
        first = passed.last.nanoseconds - (most - 1) * self._interval
        return Passed(self._at(first), passed.last, most)

    def before_last(self, passed: Passed, most: int, /) -> Passed:
        last = passed.last.nanoseconds - most * self._interval
        return Passed(passed.first, self._at(last), passed.count - most)


def _at(moment: datetime) -> Nominal:
    return Nominal(moment.astimezone(UTC), wall_nanoseconds(moment))
