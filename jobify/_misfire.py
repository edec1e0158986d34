"""Times at which a recurring job was due and no run started. Pure: it is given the time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from jobify._recurrence import Every
from jobify._triggers import Trigger
from jobify.exceptions import InvalidScheduleError


@dataclass(frozen=True, slots=True)
class Stretch:
    """Due times in a row.

    Attributes:
        first: the first of them; in UTC.
        last: the last of them.
        count: how many they are.
    """

    first: datetime
    last: datetime
    count: int


def skipped_between(trigger: Trigger, last: datetime, following: datetime, tz: tzinfo) -> Stretch | None:
    """Return the due times behind `last` and before `following`; None if there are none."""
    if isinstance(trigger, Every):
        interval = timedelta(seconds=trigger.seconds)
        # Forecasts of one interval differ by what the two clocks of a machine drift apart.
        count = round((following - last) / interval) - 1
        return Stretch(last + interval, last + count * interval, count) if count > 0 else None
    return _stretch(moment for moment in _times(trigger, last, tz, until=following) if moment < following)


def catch_up(trigger: Trigger, first: datetime, now: datetime, tz: tzinfo) -> tuple[datetime, Stretch | None]:
    """Fold all due times from `first`, which has passed, up to `now` into one run.

    Returns:
        The time for which that run is meant, the last of them, and the times that it stands for too.
    """
    if isinstance(trigger, Every):
        interval = timedelta(seconds=trigger.seconds)
        until = min(now, trigger.end_date) if trigger.end_date is not None else now
        more = max((until - first) // interval, 0)
        last = first + more * interval
        return last, Stretch(first, last - interval, more) if more else None
    last, skipped = first, None
    for moment in _times(trigger, first, tz, until=now):
        skipped = Stretch(first, last, skipped.count + 1 if skipped is not None else 1)
        last = moment
    return last, skipped


def _times(trigger: Trigger, after: datetime, tz: tzinfo, *, until: datetime) -> Iterator[datetime]:
    moment = after
    while True:
        try:
            moment = (
                trigger.next_after(moment, last=moment)
                if isinstance(trigger, Every)
                else trigger.next_after(moment, tz)
            )
        except InvalidScheduleError:  # no further time in the years that a calendar knows
            return
        if moment > until:
            return
        yield moment


def _stretch(moments: Iterator[datetime]) -> Stretch | None:
    stretch: Stretch | None = None
    for moment in moments:
        stretch = (
            Stretch(stretch.first, moment, stretch.count + 1) if stretch is not None else Stretch(moment, moment, 1)
        )
    return stretch
