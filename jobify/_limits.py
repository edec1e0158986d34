"""What all recurrences share: from when to when, how often they run and fail, what they call. Pure."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, TypedDict

from jobify._zones import aware_utc
from jobify.exceptions import InvalidScheduleError


class LimitOptions(TypedDict, total=False):
    """The fields of `Limits`, as the keywords that every recurrence takes."""

    start_date: datetime | None
    end_date: datetime | None
    max_runs: int | None
    max_failures: int | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """The limits of a recurrence.

    Attributes:
        start_date: no time is before this instant; in UTC. None for no bound.
        end_date: no time is after it.
        max_runs: after how many runs it ends; None for never.
        max_failures: after how many failed runs in a row it ends; None for never.
        args: the positional arguments of a declared recurrence.
        kwargs: its keyword arguments.

    Raises:
        InvalidScheduleError: a date is naive, the end is before the start, or a limit is no whole number from 1.
    """

    _: KW_ONLY
    start_date: datetime | None = None
    end_date: datetime | None = None
    max_runs: int | None = None
    max_failures: int | None = 10
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def __post_init__(self) -> None:
        for what, number in (("max_runs", self.max_runs), ("max_failures", self.max_failures)):
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
                msg = f"cannot use {number!r} as {what}: give a whole number from 1, or None for no limit"
                raise InvalidScheduleError(msg)
        if not isinstance(self.args, tuple | list) or not isinstance(self.kwargs, Mapping | None):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot call a task with args={self.args!r} and kwargs={self.kwargs!r}: give a tuple and a dict"
            raise InvalidScheduleError(msg)
        start, end = _instant(self.start_date, "start_date"), _instant(self.end_date, "end_date")
        if start is not None and end is not None and end < start:
            msg = f"cannot use {end.isoformat()} as end_date: it is before the start_date, {start.isoformat()}"
            raise InvalidScheduleError(msg)
        object.__setattr__(self, "start_date", start)
        object.__setattr__(self, "end_date", end)
        object.__setattr__(self, "args", tuple(self.args))
        object.__setattr__(self, "kwargs", dict(self.kwargs or {}))


def _instant(moment: datetime | None, what: str) -> datetime | None:
    return aware_utc(moment, what) if moment is not None else None
