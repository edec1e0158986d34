"""Recurrences: what they are, when they are due next, and how they are stored. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobify._cron import Cron
from jobify._limits import Limits
from jobify._zones import aware_utc, seconds_of, zone_name
from jobify.exceptions import InvalidScheduleError


@dataclass(frozen=True, init=False)
class Every(Limits):
    """A recurrence by an interval, without drift: the times are whole intervals apart.

    Args:
        interval: seconds or a timedelta; at least a microsecond.
        max_runs: after how many runs it ends; None for never.
        max_failures: after how many failed runs in a row it ends; None for never.
        args: the positional arguments of a declared recurrence.
        kwargs: its keyword arguments.

    Raises:
        InvalidScheduleError: the interval or a limit cannot be used.
    """

    seconds: float = 0.0

    def __init__(
        self,
        interval: float | timedelta,
        *,
        max_runs: int | None = None,
        max_failures: int | None = 10,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            max_runs=max_runs, max_failures=max_failures, args=args, kwargs={} if kwargs is None else kwargs
        )
        seconds = seconds_of(interval, "an interval")
        object.__setattr__(self, "seconds", seconds)
        if not self.interval:
            msg = f"cannot use {interval!r} as an interval: it must be at least a microsecond"
            raise InvalidScheduleError(msg)

    @property
    def interval(self) -> timedelta:
        """The interval, in whole microseconds."""
        return timedelta(seconds=self.seconds)

    def next_after(self, moment: datetime, *, last: datetime) -> datetime:
        """Return the first time strictly after `moment` that is whole intervals after `last`; in UTC.

        Raises:
            InvalidScheduleError: there is none before the year 10000, or a datetime is naive.
        """
        moment, last = aware_utc(moment, "moment"), aware_utc(last, "last")
        intervals = max((moment - last) // self.interval + 1, 1)
        try:
            return last + intervals * self.interval
        except OverflowError:
            msg = f"an interval of {self.seconds:g} s has no time after {moment.isoformat()} before the year 10000"
            raise InvalidScheduleError(msg) from None


Trigger = Cron | Every


def trigger_to_text(trigger: Trigger) -> str:
    """Return a recurrence as the text that is stored; its arguments are stored as those of the job."""
    what: dict[str, Any] = {"max_failures": trigger.max_failures, "max_runs": trigger.max_runs}
    if isinstance(trigger, Cron):
        what["cron"] = trigger.expression
        what["tz"] = zone_name(trigger.tz) if trigger.tz is not None else None
    else:
        what["every"] = trigger.seconds
    return json.dumps(what, sort_keys=True, separators=(",", ":"))


def trigger_from_text(text: str) -> Trigger:
    """Return the recurrence of a stored text.

    Raises:
        InvalidScheduleError: it is not the text of a recurrence that can be used.
    """
    try:
        what = json.loads(text)
        limits = {"max_failures": what.pop("max_failures"), "max_runs": what.pop("max_runs")}
        if "cron" in what:
            return Cron(what.pop("cron"), tz=what.pop("tz"), **limits, **what)
        return Every(what.pop("every"), **limits, **what)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"cannot read {text!r} as a recurrence: {error!r}"
        raise InvalidScheduleError(msg) from error
