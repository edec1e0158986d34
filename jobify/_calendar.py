"""Intervals of the calendar: every second month, every three weeks, at a time of day. Pure."""

from bisect import bisect_left
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, time, tzinfo
from typing import NamedTuple, Self, Unpack

from jobify._dst import DstRule, dst_rule_of, first_instant_after
from jobify._limits import LimitOptions
from jobify._recurrence import Recurrence
from jobify._zones import zone_name, zone_of
from jobify.exceptions import InvalidScheduleError

_LAST_DAY = date.max.toordinal()
_MONTHS = 12
_DAYS = 7


@dataclass(frozen=True, init=False)
class CalendarInterval(Recurrence):
    """A recurrence on every n-th month, week or day from a first day on, at a time of day.

    The n-th day is `first_day` and n times the interval: first the years and months, where a day that a month does
    not have becomes its last one, then the weeks and days. So from 31 January every month is 28 or 29 February,
    31 March, 30 April.

    Args:
        years: at least one of the four is not 0.
        months: calendar months.
        weeks: seven days each.
        days: calendar days, which are not always 24 hours.
        first_day: the day from which on they are counted, itself among them.
        at: the time of day on the wall clock; midnight by default.
        tz: the zone of the wall clock; that of the app by default.
        dst: what becomes of the time of day where a change of the clocks takes it away, or repeats it.
        limits: `start_date` and `end_date`, `max_runs` and `max_failures`, `args` and `kwargs`, as for `Cron`.

    Raises:
        InvalidScheduleError: the interval is none, or one of the arguments cannot be used.
    """

    years: int = 0
    months: int = 0
    weeks: int = 0
    days: int = 0
    first_day: date = date.min
    at: time = time()
    tz: tzinfo | None = None
    dst: DstRule = DstRule.VIXIE

    def __init__(  # noqa: PLR0913  # the units of a calendar, each a keyword with a default
        self,
        *,
        first_day: date,
        years: int = 0,
        months: int = 0,
        weeks: int = 0,
        days: int = 0,
        at: time = time(),
        tz: tzinfo | str | None = None,
        dst: DstRule | str = DstRule.VIXIE,
        **limits: Unpack[LimitOptions],
    ) -> None:
        super().__init__(**limits)
        units = {"years": years, "months": months, "weeks": weeks, "days": days}
        _check_units(units)
        if not isinstance(first_day, date) or isinstance(first_day, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot use {first_day!r} as first_day: give a date, as in date(2026, 1, 31)"
            raise InvalidScheduleError(msg)
        if not isinstance(at, time) or at.tzinfo is not None:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot use {at!r} as the time of day: give a time without a zone, and the zone as tz"
            raise InvalidScheduleError(msg)
        zone = zone_of(tz, "the zone of a calendar interval") if tz is not None else None
        if zone is not None:
            zone_name(zone)
        checked = {"first_day": first_day, "at": at.replace(fold=0), "tz": zone, "dst": dst_rule_of(dst)}
        for name, value in (units | checked).items():
            object.__setattr__(self, name, value)

    def in_zone(self, tz: tzinfo) -> Self:
        """Return the same recurrence, in a zone of its own if it has none."""
        return self._but(tz=tz) if self.tz is None else self

    def _first_after(self, moment: datetime, tz: tzinfo, /) -> datetime | None:
        return first_instant_after(self._times(), moment, self.tz or tz, self.dst)

    def _times(self) -> "_Times":
        months, days = _MONTHS * self.years + self.months, _DAYS * self.weeks + self.days
        return _Times(self.first_day, months, days, self.at)

    def _zone(self, tz: tzinfo) -> tzinfo:
        return self.tz or tz

    def __str__(self) -> str:
        units = ((self.years, "years"), (self.months, "months"), (self.weeks, "weeks"), (self.days, "days"))
        return f"interval of {', '.join(f'{number} {unit}' for number, unit in units if number)}"


def _check_units(units: dict[str, int]) -> None:
    for unit, number in units.items():
        if isinstance(number, bool) or not isinstance(number, int) or number < 0:  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot use {number!r} as {unit} of an interval: give a whole number from 0"
            raise InvalidScheduleError(msg)
    if not any(units.values()):
        msg = "cannot use an interval of no length: give years, months, weeks or days"
        raise InvalidScheduleError(msg)


class _Times(NamedTuple):
    """The wall times of an interval: one on each n-th day."""

    first_day: date
    months: int
    days: int
    at: time
    is_rhythm: bool = False

    def after(self, local: datetime, /) -> datetime | None:
        """Return the first of them strictly after a naive datetime; None if there is none."""
        earliest = local.toordinal() + (local.time() >= self.at)
        n = bisect_left(range(_LAST_DAY), earliest, key=self._day)
        day = self._day(n)
        return datetime.combine(date.fromordinal(day), self.at) if day <= _LAST_DAY else None

    def between(self, after: datetime, until: datetime, /) -> int:
        """Return how many of them are strictly after a naive datetime, and not after another."""
        first, last = (moment.toordinal() + (moment.time() >= self.at) for moment in (after, until))
        return bisect_left(range(_LAST_DAY), last, key=self._day) - bisect_left(range(_LAST_DAY), first, key=self._day)

    def _day(self, n: int) -> int:
        """Return the n-th day, as an ordinal; beyond the calendar of Python it is some day beyond."""
        year, month = divmod(_MONTHS * self.first_day.year + self.first_day.month - 1 + n * self.months, _MONTHS)
        if year > MAXYEAR:
            return _LAST_DAY + 1
        day = min(self.first_day.day, monthrange(year, month + 1)[1])
        return date(year, month + 1, day).toordinal() + n * self.days
