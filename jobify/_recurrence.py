"""Recurrences as such: the question that all of them answer, intervals, and unions. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self, Unpack

from jobify._limits import LimitOptions, Limits
from jobify._zones import aware_utc, seconds_of
from jobify.exceptions import InvalidScheduleError

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, init=False)
class Recurrence(Limits, ABC):
    """What can be asked when it is next: a `Cron`, an `Every`, a `CalendarInterval`, or `AnyOf` them."""

    def next_after(self, moment: datetime, tz: tzinfo = UTC) -> datetime:
        """Return the first time strictly after an aware datetime.

        It is in UTC, where datetimes compare and subtract as instants do; within one zone of Python they do not,
        in an hour that comes twice. `preview` is in the zone.

        Args:
            moment: the datetime.
            tz: the zone, if the recurrence has none of its own.

        Raises:
            InvalidScheduleError: there is none before the end of the recurrence or of the calendar, or `moment`
                is naive.
        """
        moment = aware_utc(moment, "moment")
        found = self._next(moment, tz)
        if found is None:
            msg = f"{self} has no time after {moment.isoformat()}"
            raise InvalidScheduleError(msg)
        return found

    def preview(self, n: int, *, after: datetime, tz: tzinfo = UTC) -> list[datetime]:
        """Return the first n times strictly after an aware datetime, or as many as there are.

        They are what `next_after` finds again and again, in the zone of the recurrence; counters that live with
        a job (`max_runs`) do not shorten them.

        Args:
            n: how many, from 1.
            after: the datetime.
            tz: the zone, if the recurrence has none of its own.

        Raises:
            InvalidScheduleError: there is none at all, `n` is no whole number from 1, or `after` is naive.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot preview {n!r} times: give a whole number from 1"
            raise InvalidScheduleError(msg)
        moment: datetime | None = self.next_after(after, tz)
        times: list[datetime] = []
        while moment is not None:
            times.append(moment.astimezone(self._zone(tz)))
            moment = self._next(moment, tz) if len(times) < n else None
        return times

    def count(self, *, after: datetime, until: datetime, tz: tzinfo = UTC) -> int:
        """Return how many times are strictly after one aware datetime, and not after another.

        Args:
            after: the one; an `Every` without a `start_date` is counted from it.
            until: the other.
            tz: the zone, if the recurrence has none of its own.

        Raises:
            InvalidScheduleError: one of them is naive.
        """
        after, until = aware_utc(after, "after"), aware_utc(until, "until")
        if self.start_date is not None:
            after = max(after, self.start_date - _TICK)
        if self.end_date is not None:
            until = min(until, self.end_date)
        return self._count(after, until, tz) if after < until else 0

    def in_zone(self, tz: tzinfo) -> Self:  # noqa: ARG002  # for those that follow a wall clock
        """Return the same recurrence, in a zone of its own if it follows a wall clock and has none."""
        return self

    def has_same_times(self, other: "Recurrence") -> bool:
        """Whether another recurrence has the same times; limits, policies and arguments may differ."""
        return type(other) is type(self) and self._but(**_PLAIN) == other._but(**_PLAIN)  # noqa: SLF001  # of its own kind

    def bound_to(self, job_id: str) -> Self:  # noqa: ARG002  # for those that draw
        """Return the same recurrence with all that it draws by the id of its job."""
        return self

    def __or__(self, other: "Recurrence") -> "AnyOf":
        if not isinstance(other, Recurrence):  # pyright: ignore[reportUnnecessaryIsInstance]  # users write anything
            return NotImplemented
        return AnyOf(self, other)

    def _next(self, moment: datetime, tz: tzinfo) -> datetime | None:
        """Return the first time strictly after a moment in UTC; None if there is none."""
        if self.start_date is not None and moment < self.start_date:
            moment = self.start_date - _TICK
        try:
            found = self._first_after(moment, tz)
        except OverflowError:  # the calendar of Python ends with the year 9999
            return None
        return None if found is not None and self.end_date is not None and found > self.end_date else found

    @abstractmethod
    def _first_after(self, moment: datetime, tz: tzinfo, /) -> datetime | None:
        """Return the first time strictly after a moment in UTC, whatever the dates; None if there is none."""

    def _count(self, after: datetime, until: datetime, tz: tzinfo, /) -> int:
        """Return how many times there are within its dates: strictly after `after`, and not after `until`."""
        count = 0
        while (found := self._next(after, tz)) is not None and found <= until:
            after, count = found, count + 1
        return count

    def _but(self, **changes: object) -> Self:
        """Return the same recurrence, with what has been checked already in place of these attributes."""
        changed = copy(self)
        for name, value in changes.items():
            object.__setattr__(changed, name, value)
        return changed

    def _zone(self, tz: tzinfo) -> tzinfo:
        """Return the zone in which people are shown its times."""
        return tz


@dataclass(frozen=True, init=False)
class Every(Recurrence):
    """A recurrence by an interval, without drift: the times are whole intervals apart.

    They are `start_date + n * interval`, `start_date` among them. Without one they are counted from where the
    job stands: for the first time one interval from the moment of scheduling.

    Args:
        interval: seconds or a timedelta; at least a microsecond.
        limits: `start_date` and `end_date`, `max_runs` and `max_failures`, `args` and `kwargs`, as for `Cron`.

    Raises:
        InvalidScheduleError: the interval or a limit cannot be used.
    """

    seconds: float = 0.0

    def __init__(self, interval: float | timedelta, **limits: Unpack[LimitOptions]) -> None:
        super().__init__(**limits)
        object.__setattr__(self, "seconds", seconds_of(interval, "an interval"))
        if not self.interval:
            msg = f"cannot use {interval!r} as an interval: it must be at least a microsecond"
            raise InvalidScheduleError(msg)

    @property
    def interval(self) -> timedelta:
        """The interval, in whole microseconds."""
        return timedelta(seconds=self.seconds)

    def next_after(self, moment: datetime, tz: tzinfo = UTC, *, last: datetime | None = None) -> datetime:
        """Return the first time strictly after an aware datetime, in UTC.

        Args:
            moment: the datetime.
            tz: not used: intervals know no zone.
            last: an earlier time from which to count, where there is no `start_date`; `moment` by default.

        Raises:
            InvalidScheduleError: there is none before the end of the recurrence or of the year 9999, or a datetime
                is naive.
        """
        if last is None or self.start_date is not None:
            return super().next_after(moment, tz)
        moment, last = aware_utc(moment, "moment"), aware_utc(last, "last")
        intervals = max((moment - last) // self.interval, 0)
        return super().next_after(last + intervals * self.interval, tz)

    def _first_after(self, moment: datetime, tz: tzinfo, /) -> datetime | None:  # noqa: ARG002  # see `next_after`
        if self.start_date is None:
            return moment + self.interval
        return self.start_date + ((moment - self.start_date) // self.interval + 1) * self.interval

    def _count(self, after: datetime, until: datetime, tz: tzinfo, /) -> int:  # noqa: ARG002  # see `next_after`
        start = self.start_date if self.start_date is not None else after
        return (until - start) // self.interval - (after - start) // self.interval

    def __str__(self) -> str:
        return f"interval of {self.seconds:g} s"


@dataclass(frozen=True, init=False)
class AnyOf(Recurrence):
    """The union of recurrences: due whenever one of them is, and once where several are; also `first | second`.

    Args:
        triggers: the recurrences. Of their limits only `start_date` and `end_date` can be theirs, the others are
            those of the union; an `Every` among them needs a `start_date` to count from.
        limits: `start_date` and `end_date`, `max_runs` and `max_failures`, `args` and `kwargs`, as for `Cron`.

    Raises:
        InvalidScheduleError: there is no recurrence, one cannot be part of a union, or a limit cannot be used.
    """

    triggers: tuple[Recurrence, ...] = ()

    def __init__(self, *triggers: Recurrence, **limits: Unpack[LimitOptions]) -> None:
        super().__init__(**limits)
        if not triggers:
            msg = "cannot make a union of no recurrences: give at least one"
            raise InvalidScheduleError(msg)
        for trigger in triggers:
            _check_member(trigger)
        object.__setattr__(self, "triggers", tuple(flat for trigger in triggers for flat in _flat(trigger)))

    def in_zone(self, tz: tzinfo) -> Self:
        """Return the same union, of recurrences in zones of their own."""
        return self._but(triggers=tuple(trigger.in_zone(tz) for trigger in self.triggers))

    def bound_to(self, job_id: str) -> Self:
        """Return the same union, of recurrences bound to a job."""
        return self._but(triggers=tuple(trigger.bound_to(job_id) for trigger in self.triggers))

    def _first_after(self, moment: datetime, tz: tzinfo, /) -> datetime | None:
        return _next_of(self.triggers, moment, tz)

    def _count(self, after: datetime, until: datetime, tz: tzinfo, /) -> int:
        """Count the times of the densest member, and find those of the others one by one."""
        counted = [(trigger.count(after=after, until=until, tz=tz), trigger) for trigger in self.triggers]
        counted.sort(key=lambda pair: pair[0], reverse=True)
        total, densest = counted[0]
        others = [trigger for count, trigger in counted[1:] if count]
        moment = _next_of(others, after, tz) if others else None
        while moment is not None and moment <= until:
            total += densest._next(moment - _TICK, tz) != moment  # noqa: SLF001  # of its own kind
            moment = _next_of(others, moment, tz)
        return total

    def _zone(self, tz: tzinfo) -> tzinfo:
        zones = {trigger._zone(tz) for trigger in self.triggers}  # noqa: SLF001  # of its own kind
        return zones.pop() if len(zones) == 1 else tz

    def __str__(self) -> str:
        return f"union of {', '.join(map(str, self.triggers))}"


def _next_of(triggers: Sequence[Recurrence], moment: datetime, tz: tzinfo) -> datetime | None:
    times = [trigger._next(moment, tz) for trigger in triggers]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return min((time for time in times if time is not None), default=None)


def _check_member(trigger: Recurrence) -> None:
    """See to it that a recurrence can be part of a union.

    Raises:
        InvalidScheduleError: it cannot.
    """
    if not isinstance(trigger, Recurrence):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot make a union with {trigger!r}: give a Cron, an Every or a CalendarInterval"
        raise InvalidScheduleError(msg)
    if isinstance(trigger, Every) and trigger.start_date is None:
        msg = f"cannot make a union with an {trigger} that has no start_date: it would not know where to count from"
        raise InvalidScheduleError(msg)
    if extra := [name for name, plain in _PLAIN.items() if getattr(trigger, name) != plain]:
        msg = f"cannot make a union with a {trigger} that has {', '.join(extra)}: give them to the union, as AnyOf(...)"
        raise InvalidScheduleError(msg)


def _flat(trigger: Recurrence) -> tuple[Recurrence, ...]:
    """Return the members of a union, if it is nothing but that."""
    if isinstance(trigger, AnyOf) and trigger.start_date is None and trigger.end_date is None:
        return trigger.triggers
    return (trigger,)


_PLAIN = {
    field.name: getattr(Limits(), field.name)
    for field in fields(Limits)
    if field.name not in ("start_date", "end_date")
}
"""What has no influence on the times of a recurrence, as it is by default."""
