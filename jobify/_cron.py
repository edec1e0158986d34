"""Cron expressions: the times of day, the days, and the recurrence that is made of them. Pure."""

from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import product
from typing import Self, Unpack

from jobify._days import Days, days_of
from jobify._dst import DstRule, count_instants, dst_rule_of, first_instant_after
from jobify._fields import HOUR, LONGEST, MINUTE, SECOND, has_hash, read_fields, values_of
from jobify._limits import LimitOptions
from jobify._recurrence import Recurrence
from jobify._zones import zone_name, zone_of
from jobify.exceptions import InvalidScheduleError

_LAST_DAY = date.max.toordinal()


@dataclass(frozen=True, init=False)
class Cron(Recurrence):
    """A recurrence by a cron expression.

    The order of the fields: five are minute, hour, day-of-month, month, day-of-week; six are second and
    these five; seven are second, these five, and year (1970 to 2099).

    A field is `*`, a value, a range `a-b` (`fri-mon` wraps), a list `a,b`, or one of these with a step `/n`.
    Months and days of the week have names (`jan`, `mon`); Sunday is 0 and 7. Day-of-month knows `L`, the last
    day, and `15W`, the working day nearest to the 15th; day-of-week knows `mon#2`, the second Monday, and `L5`,
    the last Friday. Where day-of-month and day-of-week are both given, either is enough; where one of them
    begins with `*`, both must match (as Vixie cron has it). `H`, `H(a-b)`, `H/n` and `H(a-b)/n` stand for values
    that are drawn by the id of the job, always the same, so that many jobs spread over the hours. The aliases
    are `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`, `@annually`.

    Args:
        expression: the fields, or an alias; at most 256 characters.
        tz: the zone whose wall clock it follows; that of the app by default.
        dst: what becomes of a fixed time of day that a change of the clocks takes away, or repeats.
        limits: `start_date` and `end_date`, aware datetimes between which, both included, its times are;
            `max_runs`, after how many runs it ends, and `max_failures`, after how many failed ones in a row, None
            for never; `args` and `kwargs`, what a declared recurrence calls its task with.

    Attributes:
        drawn_for: the id of the job whose `H` it has; None as long as it is bound to none, or has no `H`.

    Raises:
        InvalidScheduleError: the expression cannot be read or never fires, the zone or the rule is unknown, or
            a limit cannot be used.
    """

    expression: str = ""
    tz: tzinfo | None = None
    dst: DstRule = DstRule.VIXIE
    drawn_for: str | None = field(default=None, init=False)

    def __init__(
        self,
        expression: str,
        *,
        tz: tzinfo | str | None = None,
        dst: DstRule | str = DstRule.VIXIE,
        **limits: Unpack[LimitOptions],
    ) -> None:
        super().__init__(**limits)
        zone = zone_of(tz, "the zone of a cron") if tz is not None else None
        if zone is not None:
            zone_name(zone)
        _read(expression)
        object.__setattr__(self, "expression", " ".join(expression.split()))
        object.__setattr__(self, "tz", zone)
        object.__setattr__(self, "dst", dst_rule_of(dst))
        object.__setattr__(self, "drawn_for", None)

    def in_zone(self, tz: tzinfo) -> Self:
        """Return the same recurrence, in a zone of its own if it has none."""
        return self._but(tz=tz) if self.tz is None else self

    def bound_to(self, job_id: str) -> Self:
        """Return the same recurrence with each `H` drawn for a job; what is stored of it keeps the `H`.

        Raises:
            InvalidScheduleError: what is drawn never fires.
        """
        if not has_hash(self.expression):
            return self
        _read(self.expression, job_id)
        return self._but(drawn_for=job_id)

    def _first_after(self, moment: datetime, tz: tzinfo, /) -> datetime | None:
        return first_instant_after(self._times(), moment, self.tz or tz, self.dst)

    def _times(self) -> "_Times":
        if self.drawn_for is None and has_hash(self.expression):
            msg = (
                f"cannot tell the times of the cron expression {self.expression!r}: its H is drawn by the id of the "
                "job; ask cron.bound_to(job_id)"
            )
            raise InvalidScheduleError(msg)
        return _times(self.expression, self.drawn_for or "")

    def _count(self, after: datetime, until: datetime, tz: tzinfo, /) -> int:
        return count_instants(self._times(), after, until, self.tz or tz, self.dst)

    def _zone(self, tz: tzinfo) -> tzinfo:
        return self.tz or tz

    def __str__(self) -> str:
        return f"cron {self.expression!r}"


class _Times:
    """All wall times of an expression: the minutes of a matching day, the seconds of a minute, and the days."""

    def __init__(self, expression: str, job_id: str) -> None:
        fields = read_fields(expression, job_id)
        hours, minutes = values_of(HOUR, fields.hour), values_of(MINUTE, fields.minute)
        self.is_rhythm = fields.is_rhythm
        self.days: Days = days_of(fields.day, fields.month, fields.weekday, fields.year)
        self._minutes = array("H", (60 * hour + minute for hour, minute in product(hours, minutes)))
        self._seconds = values_of(SECOND, fields.second)
        self._first = timedelta(minutes=self._minutes[0], seconds=self._seconds[0])

    def after(self, local: datetime, /) -> datetime | None:
        """Return the first of them strictly after a naive datetime; None if there is none."""
        today = local.toordinal()
        day = self.days.on_or_after(today)
        if day == today:
            minutes = self._minutes
            minute = 60 * local.hour + local.minute
            index = bisect_left(minutes, minute)
            if index < len(minutes) and minutes[index] == minute:
                second = bisect_right(self._seconds, local.second)
                if second < len(self._seconds):
                    return local.replace(second=self._seconds[second], microsecond=0)
                index += 1
            if index < len(minutes):
                hour, minute = divmod(minutes[index], 60)
                return local.replace(hour=hour, minute=minute, second=self._seconds[0], microsecond=0)
            day = self.days.on_or_after(today + 1) if today < _LAST_DAY else None
        return datetime.fromordinal(day) + self._first if day is not None else None

    def between(self, after: datetime, until: datetime, /) -> int:
        """Return how many of them are strictly after a naive datetime, and not after another."""
        first, last = after.toordinal(), until.toordinal()
        count, day = 0, self.days.on_or_after(first)
        while day is not None and day <= last:
            passed = self._until(after) if day == first else 0
            count += (self._until(until) if day == last else len(self._minutes) * len(self._seconds)) - passed
            day = self.days.on_or_after(day + 1) if day < _LAST_DAY else None
        return count

    def _until(self, local: datetime) -> int:
        """Return how many times of a day are not after a time of day."""
        minute = 60 * local.hour + local.minute
        index = bisect_left(self._minutes, minute)
        seconds = index < len(self._minutes) and self._minutes[index] == minute
        return index * len(self._seconds) + (bisect_right(self._seconds, local.second) if seconds else 0)


_times = lru_cache(maxsize=4096)(_Times)


def _read(expression: str, job_id: str = "") -> None:
    """See to it that an expression can be read, and fires.

    Raises:
        InvalidScheduleError: it cannot, or does not.
    """
    reason = "it is not a str; give one, as in '0 9 * * 1-5'"
    if isinstance(expression, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        try:
            reason = "" if _times(expression, job_id).days.ever_match() else "it never fires: no day matches it"
        except ValueError as error:
            reason = str(error)
    if reason:
        shown = repr(expression)
        shown = shown if len(shown) <= LONGEST else f"{shown[:40]}…"
        msg = f"cannot use the cron expression {shown}: {reason}"
        raise InvalidScheduleError(msg)
