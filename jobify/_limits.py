"""What all recurrences share: from when to when, how often they run and fail, what they call. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from jobify._policies import MisfirePolicy, Overlap, misfire_policy_of, overlap_of
from jobify._zones import aware_utc, seconds_of
from jobify.exceptions import InvalidScheduleError


class LimitOptions(TypedDict, total=False):
    """The fields of `Limits`, as the keywords that every recurrence takes."""

    start_date: datetime | None
    end_date: datetime | None
    max_runs: int | None
    max_failures: int | None
    misfire_policy: MisfirePolicy | str
    overlap: Overlap | str
    jitter: float | timedelta
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, init=False)
class Limits:
    """The limits of a recurrence.

    Attributes:
        start_date: no time is before this instant; in UTC. None for no bound.
        end_date: no time is after it.
        max_runs: after how many runs it ends; None for never.
        max_failures: after how many failed runs in a row it ends; None for never.
        misfire_policy: what becomes of times that passed while nothing could start the job.
        overlap: what becomes of times that pass while a run is in progress.
        jitter: each run starts up to so many seconds after its time, drawn anew for each.
        args: the positional arguments of a declared recurrence.
        kwargs: its keyword arguments.

    Raises:
        InvalidScheduleError: a date is naive, the end is before the start, a limit is no whole number from 1, the
            jitter is no duration, or there is no such policy.
    """

    start_date: datetime | None = None
    end_date: datetime | None = None
    max_runs: int | None = None
    max_failures: int | None = 10
    misfire_policy: MisfirePolicy = MisfirePolicy.ONCE
    overlap: Overlap = Overlap.SKIP
    jitter: float = 0.0
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)

    def __init__(self, **limits: Unpack[LimitOptions]) -> None:
        given: dict[str, Any] = {**_DEFAULTS, **limits}
        if unknown := limits.keys() - _DEFAULTS.keys():
            msg = f"a recurrence has no {', '.join(sorted(unknown))}; it has {', '.join(_DEFAULTS)}"
            raise TypeError(msg)
        for what in ("max_runs", "max_failures"):
            number = given[what]
            if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
                msg = f"cannot use {number!r} as {what}: give a whole number from 1, or None for no limit"
                raise InvalidScheduleError(msg)
        args: Any = given["args"]
        kwargs: Any = given["kwargs"]
        if not isinstance(args, tuple | list) or not isinstance(kwargs, Mapping | None):
            msg = f"cannot call a task with args={args!r} and kwargs={kwargs!r}: give a tuple and a dict"
            raise InvalidScheduleError(msg)
        start, end = _instant(given["start_date"], "start_date"), _instant(given["end_date"], "end_date")
        if start is not None and end is not None and end < start:
            msg = f"cannot use {end.isoformat()} as end_date: give one behind the start_date, {start.isoformat()}"
            raise InvalidScheduleError(msg)
        checked: dict[str, Any] = {
            "start_date": start,
            "end_date": end,
            "misfire_policy": misfire_policy_of(given["misfire_policy"]),
            "overlap": overlap_of(given["overlap"]),
            "jitter": seconds_of(given["jitter"], "jitter"),
            "args": (*args,),
            "kwargs": {**(kwargs or {})},
        }
        for name, value in (given | checked).items():
            object.__setattr__(self, name, value)


_DEFAULTS: dict[str, Any] = {
    "start_date": None,
    "end_date": None,
    "max_runs": None,
    "max_failures": 10,
    "misfire_policy": MisfirePolicy.ONCE,
    "overlap": Overlap.SKIP,
    "jitter": 0.0,
    "args": (),
    "kwargs": {},
}


def _instant(moment: datetime | None, what: str) -> datetime | None:
    return aware_utc(moment, what) if moment is not None else None
