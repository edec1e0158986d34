"""Cron expressions. croniter reads the fields; the limits, the guarantees and the errors are ours. Pure."""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Any

from jobify._limits import Limits
from jobify._zones import aware_utc, zone_name, zone_of
from jobify.exceptions import InvalidScheduleError

_LONGEST = 256
_FIELDS = 5
_ALIASES = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_RANDOM = re.compile(r"(?:^|[\s,/-])[rh]", re.IGNORECASE)  # no name of a month or day begins so
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_ERRORS = (ValueError, OverflowError, TypeError, AttributeError, KeyError, IndexError)
"""What croniter raises for an expression that it cannot read; its own errors are among the first."""
_HORIZON = 8
"""Years without a match after which an expression counts as one that never fires.

The longest regular gap of the calendar, eight years, lies between the leap days around 1900 and 2100.
"""


@dataclass(frozen=True, init=False)
class Cron(Limits):
    """A recurrence by a cron expression: minute, hour, day of month, month, day of week.

    Args:
        expression: five fields, or an alias such as `@daily`.
        tz: the zone whose wall clock it follows; that of the app by default.
        max_runs: after how many runs it ends; None for never.
        max_failures: after how many failed runs in a row it ends; None for never.
        args: the positional arguments of a declared recurrence.
        kwargs: its keyword arguments.

    Raises:
        InvalidScheduleError: the expression cannot be read or never fires, the zone is unknown, or a
            limit cannot be used.
    """

    expression: str = ""
    tz: tzinfo | None = None

    def __init__(  # each is a keyword with a default
        self,
        expression: str,
        *,
        tz: tzinfo | str | None = None,
        max_runs: int | None = None,
        max_failures: int | None = 10,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            max_runs=max_runs, max_failures=max_failures, args=args, kwargs={} if kwargs is None else kwargs
        )
        zone = zone_of(tz, "the zone of a cron") if tz is not None else None
        if zone is not None:
            zone_name(zone)
        object.__setattr__(self, "expression", expression)
        object.__setattr__(self, "tz", zone)
        _check(expression)

    def in_zone(self, tz: tzinfo) -> "Cron":
        """Return the same recurrence, in a zone of its own if it has none."""
        return self if self.tz is not None else replace(self, tz=tz)

    def next_after(self, moment: datetime, tz: tzinfo = UTC) -> datetime:
        """Return the first matching time strictly after an aware datetime, in UTC.

        Args:
            moment: the datetime.
            tz: the zone, if the recurrence has none of its own.

        Raises:
            InvalidScheduleError: there is none in the years that a calendar knows, or `moment` is naive.
        """
        return _next(self.expression, self.tz or tz, aware_utc(moment, "moment"))


class _Engine:
    """croniter on one expression in one zone: making it costs more than asking it."""

    def __init__(self, expression: str, tz: tzinfo) -> None:
        from croniter import croniter  # noqa: PLC0415  # 70 ms, which a program without crons need not pay

        start = _SOME_DAY.astimezone(tz)  # given, for its default would read the time
        self._cron: croniter = croniter(expression, start, max_years_between_matches=_HORIZON)
        self._lock = threading.Lock()  # it remembers where it stands

    def next_after(self, moment: datetime, tz: tzinfo) -> datetime:
        with self._lock:
            self._cron.set_current(moment.astimezone(tz), force=True)
            found: datetime = self._cron.get_next(datetime)
            # In a repeated hour it may stand still or go back; all is compared in UTC.
            while found.astimezone(UTC) <= moment:
                found = self._cron.get_next(datetime)
        return found.astimezone(UTC)


_engine = lru_cache(maxsize=1024)(_Engine)


def _next(expression: str, tz: tzinfo, moment: datetime) -> datetime:
    try:
        return _engine(expression, tz).next_after(moment, tz)
    except _ERRORS as error:
        msg = f"the cron expression {expression!r} has no time after {moment.isoformat()}: {error}"
        raise InvalidScheduleError(msg) from error


def _check(expression: str) -> None:
    if (reason := _form_error(expression) or _meaning_error(expression)) is not None:
        shown = f"{expression[:40]}…" if isinstance(expression, str) and len(expression) > _LONGEST else expression  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot use the cron expression {shown!r}: {reason}"
        raise InvalidScheduleError(msg)


def _form_error(expression: str) -> str | None:
    if not isinstance(expression, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        return "it is not a str"
    if len(expression) > _LONGEST:
        return f"it is longer than {_LONGEST} characters"
    if expression.startswith("@"):
        return None if expression.lower() in _ALIASES else f"the aliases are {', '.join(sorted(_ALIASES))}"
    if (fields := len(expression.split())) != _FIELDS:
        return f"it has {fields} fields, not 5: minute, hour, day of month, month, day of week"
    # croniter would draw anew each time that it reads an R: a restart would move the job.
    return "it has a field that is drawn at random" if _RANDOM.search(expression) else None


def _meaning_error(expression: str) -> str | None:
    try:
        engine = _engine(expression, UTC)
    except _ERRORS as error:
        return str(error)
    try:
        engine.next_after(_SOME_DAY, UTC)
    except _ERRORS:
        return f"it never fires: no time within {_HORIZON} years matches it"
    return None
