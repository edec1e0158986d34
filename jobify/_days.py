"""On which days a cron expression matches: the calendar as croniter knows it, asked as seldom as can be. Pure."""

import threading
from datetime import date, datetime, timedelta
from functools import lru_cache

from jobify._fields import CRONITER_ERRORS, DAY, MONTH, WEEKDAY, YEAR, values_of

_HORIZON = 40
"""Years without a day after which there is none to come.

A 29 February of one day of the week comes after 28 years, and after 40 where a century without a leap day is between.
"""
_ALL_YEARS = YEAR.size
_MINUTE = timedelta(minutes=1)
_SOME_DAY = date(2000, 1, 1).toordinal()
_FIRST_YEAR = date(YEAR.first, 1, 1).toordinal()


class Days:
    """The days that match day-of-month, month, day-of-week and year; days are ordinals, as those of `date`.

    Where day-of-month and day-of-week are both given, either is enough. One that begins with `*` (or is `?`) is
    not given in this sense: then both must match, as in Vixie cron, for which `*/2` is such a field.

    Raises:
        ValueError: a field cannot be read.
    """

    def __init__(self, day: str, month: str, weekday: str, year: str) -> None:
        for field, text in ((DAY, day), (MONTH, month), (WEEKDAY, weekday), (YEAR, year)):
            values_of(field, text)
        self._first = _FIRST_YEAR if year != "*" else 1
        self._searches: tuple[_Search, ...] = ()
        if {day, month, weekday, year} <= {"*", "?"}:
            return
        if day[0] in "*?" or weekday[0] in "*?":
            self._searches = (_Search(day, month, weekday, year),)
        else:
            self._searches = (_Search(day, month, "*", year), _Search("*", month, weekday, year))

    def on_or_after(self, day: int) -> int | None:
        """Return the first matching day that is not before `day`; None if there is none."""
        if not self._searches:
            return day
        day = max(day, self._first)
        found = [found for search in self._searches if (found := search.on_or_after(day)) is not None]
        return min(found, default=None)

    def ever_match(self) -> bool:
        """Return whether there is any day at all: within the years given, or within 40 of 2000."""
        return self.on_or_after(_SOME_DAY if self._first == 1 else _FIRST_YEAR) is not None


days_of = lru_cache(maxsize=1024)(Days)


class _Search:
    """croniter on the days of one expression, and the last answers that it gave."""

    def __init__(self, day: str, month: str, weekday: str, year: str) -> None:
        from croniter import croniter  # noqa: PLC0415  # see `values_of`

        expression = f"0 0 {day} {month} {weekday}" + (f" 0 {year}" if year != "*" else "")
        self._cron: croniter = croniter(
            expression,
            datetime(2000, 1, 1),  # noqa: DTZ001  # a day has no zone, and the default would read the time
            day_or=False,
            max_years_between_matches=_ALL_YEARS if year != "*" else _HORIZON,
        )
        self._lock = threading.Lock()  # croniter remembers where it stands
        self._known = ((0, 0), (0, 0))  # from which day on, which is the next: as a rule today, and tomorrow

    def on_or_after(self, day: int) -> int | None:
        for asked, found in self._known:
            if asked <= day <= found:
                return found
        next_one = self._ask(day)
        if next_one is not None:
            self._known = ((day, next_one), self._known[0])
        return next_one

    def _ask(self, day: int) -> int | None:
        midnight = datetime.fromordinal(max(day, 2))  # before the first day of all there is no minute
        with self._lock:
            try:
                self._cron.set_current(midnight - _MINUTE, force=True)
                found: datetime = self._cron.get_next(datetime)
            except CRONITER_ERRORS:
                return None
        return found.toordinal()
