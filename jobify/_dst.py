"""Wall clock and instants: what becomes of times that a change of the clocks takes away or repeats. Pure."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from typing import NamedTuple, Protocol

from jobify.exceptions import InvalidScheduleError

_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)
_SPAN = timedelta(hours=3)
"""No zone has changed its clocks twice in so short a time."""


class DstRule(StrEnum):
    """What becomes of a fixed time of day when the clocks are changed.

    A fixed time in the gap (02:30, when 02:00 is followed by 03:00) does not exist on that day; one in the
    fold (01:30, when 02:00 is followed by 01:00) exists twice. Times that fall into one gap are one run.

    A recurrence whose second, minute or hour begins with `*` has no fixed time but a rhythm, and keeps it
    under every rule: nothing in the gap, both passes of the fold.

    The distinction, and the default, are those of Vixie cron, as Debian documents it in cron(8): of jobs that
    "run at a particular time" those in the skipped time "will be run soon after the change", and those that
    "fall into the repeated time will not be re-run". It knows the change from the tz database, though, so that
    it holds for changes of any size.
    """

    VIXIE = "vixie"
    """In the gap right after it, at the very instant of the change; in the fold once, in the first pass."""
    SKIP = "skip"
    """In the gap not at all; in the fold once. So the draft of OCPS 1.4 (§4.3.1, July 2025) recommends."""
    BOTH = "both"
    """In the gap right after it; in the fold twice."""


def dst_rule_of(rule: DstRule | str) -> DstRule:
    """Return a rule, found by its name if that is what is given.

    Raises:
        InvalidScheduleError: there is no such rule.
    """
    try:
        return DstRule(rule)
    except ValueError:
        msg = f"cannot use {rule!r} as dst: the rules are {', '.join(map(repr, map(str, DstRule)))}"
        raise InvalidScheduleError(msg) from None


class WallTimes(Protocol):
    """Times on a wall clock, which knows no zone."""

    @property
    def is_rhythm(self) -> bool:
        """Whether they are a rhythm, and no fixed times of the day."""
        ...

    def after(self, local: datetime, /) -> datetime | None:
        """Return the first of them strictly after a naive datetime; None if there is none."""
        ...

    def between(self, after: datetime, until: datetime, /) -> int:
        """Return how many of them are strictly after a naive datetime, and not after another."""
        ...


class _Change(NamedTuple):
    """A change of the clocks: the instant, and what the clock shows there by the old and by the new offset."""

    instant: datetime
    old: datetime
    new: datetime


def first_instant_after(times: WallTimes, moment: datetime, tz: tzinfo, rule: DstRule) -> datetime | None:
    """Return the first instant strictly after `moment` at which a clock in the zone shows one of the times.

    Args:
        times: what the clock is to show.
        moment: in UTC.
        tz: the zone.
        rule: for what falls into a gap or a fold.

    Returns:
        The instant in UTC; None if there is none.

    Raises:
        OverflowError: it is not in the years 1 to 9999.
    """
    if isinstance(tz, timezone):  # an offset that never changes; UTC is one
        found = times.after(moment.astimezone(tz).replace(tzinfo=None))
        return found.replace(tzinfo=tz).astimezone(UTC) if found is not None else None
    here = moment.astimezone(tz)
    local = here.replace(tzinfo=None, fold=0)
    change = _change_at(local, tz)
    if change is None:
        return _instant_of(times.after(local), times, tz, rule)
    return _first_in_fold(times, local, change, tz, rule, is_second=here.fold == 1)


def count_instants(times: WallTimes, after: datetime, until: datetime, tz: tzinfo, rule: DstRule) -> int:
    """Return how many instants strictly after `after`, and not after `until`, `first_instant_after` finds.

    Where the clocks do not change they are counted, not found one by one: a year takes milliseconds.

    Args:
        times: what the clock is to show.
        after: in UTC.
        until: in UTC.
        tz: the zone.
        rule: for what falls into a gap or a fold.
    """
    if isinstance(tz, timezone):
        return times.between(after.astimezone(tz).replace(tzinfo=None), until.astimezone(tz).replace(tzinfo=None))
    count = 0
    low, low_here = after, after.astimezone(tz)
    while low < until:
        high = min(low + _SPAN, until)
        high_here = high.astimezone(tz)
        if _is_even(low_here, high_here, tz):
            count += times.between(low_here.replace(tzinfo=None), high_here.replace(tzinfo=None))
        else:
            moment = first_instant_after(times, low, tz, rule)
            while moment is not None and moment <= high:
                count += 1
                moment = first_instant_after(times, moment, tz, rule)
        low, low_here = high, high_here
    return count


def _is_even(low: datetime, high: datetime, tz: tzinfo) -> bool:
    """Whether a wall clock goes on evenly between two instants a few hours apart, and shows nothing twice."""
    return low.utcoffset() == high.utcoffset() and all(
        _offset(tz, end.replace(tzinfo=None, fold=0)) == _offset(tz, end.replace(tzinfo=None, fold=1))
        for end in (low, high)
    )


def _first_in_fold(
    times: WallTimes, local: datetime, change: _Change, tz: tzinfo, rule: DstRule, *, is_second: bool
) -> datetime | None:
    """Go on from a moment whose wall time comes twice."""
    if not is_second:
        found = times.after(local)
        if found is not None and found < change.old:
            return change.instant - (change.old - found)
        local = change.new - _TICK  # the clock is put back
    if not _repeats(times, rule):
        return _instant_of(times.after(change.old - _TICK), times, tz, rule)
    found = times.after(local)
    if found is not None and found < change.old:
        return change.instant + (found - change.new)
    return _instant_of(found, times, tz, rule)


def _instant_of(found: datetime | None, times: WallTimes, tz: tzinfo, rule: DstRule) -> datetime | None:
    """Return the first instant of a wall time; that of a later one if it has none."""
    while found is not None:
        before, after = _offset(tz, found), _offset(tz, found.replace(fold=1))
        if after <= before:  # the time exists; if it comes twice, this is the first
            return found.replace(tzinfo=UTC) - before
        change = _change_between(found, before, after, tz)
        if not times.is_rhythm and rule is not DstRule.SKIP:
            return change.instant
        found = times.after(change.new - _TICK)
    return None


def _repeats(times: WallTimes, rule: DstRule) -> bool:
    return times.is_rhythm or rule is DstRule.BOTH


def _change_at(local: datetime, tz: tzinfo) -> _Change | None:
    """Return the change of the clocks for which a wall time is ambiguous; None if it is not."""
    before, after = _offset(tz, local), _offset(tz, local.replace(fold=1))
    return _change_between(local, before, after, tz) if before != after else None


def _change_between(local: datetime, before: timedelta, after: timedelta, tz: tzinfo) -> _Change:
    """Find the change of the clocks around a wall time whose offset depends on its fold (PEP 495)."""
    naive = local.replace(microsecond=0, tzinfo=UTC)
    low, high = sorted((naive - before, naive - after))
    while (distance := (high - low) // _SECOND) > 1:
        middle = low + distance // 2 * _SECOND
        if middle.astimezone(tz).utcoffset() == before:
            low = middle
        else:
            high = middle
    instant = high.replace(tzinfo=None)
    return _Change(high, instant + before, instant + after)


def _offset(tz: tzinfo, local: datetime) -> timedelta:
    offset = tz.utcoffset(local)
    if offset is None:
        msg = f"cannot use {tz!r} as a zone: it has no offset at {local}"
        raise InvalidScheduleError(msg)
    return offset
