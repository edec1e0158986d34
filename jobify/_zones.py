"""Time zones and durations at the door: what a user passes, checked and made uniform. Pure."""

import math
from datetime import MAXYEAR, UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobify.exceptions import InvalidScheduleError

_LONGEST = timedelta(days=3_652_058)  # from the year 1 to the year 9999: no datetime is further away
_INSTANT = timedelta(microseconds=1)


def seconds_of(value: float | timedelta, what: str) -> float:
    """Return a duration in seconds.

    Raises:
        InvalidScheduleError: it is not a number of seconds or a timedelta, or it is NaN, infinite,
            negative or longer than the calendar.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, bool) or not isinstance(value, int | float):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot use {value!r} as {what}: give seconds as a number, or a timedelta"
        raise InvalidScheduleError(msg)
    else:
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
    if not 0 <= seconds <= _LONGEST.total_seconds():  # NaN is neither
        msg = f"cannot use {value!r} as {what}: it must be finite, not negative, and within the years 1 to 9999"
        raise InvalidScheduleError(msg)
    return seconds


def aware_utc(moment: datetime, what: str) -> datetime:
    """Return an aware datetime in UTC.

    Raises:
        InvalidScheduleError: it is not a datetime, it is naive, or it is not in the years 1 to 9999.
    """
    if not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot use {moment!r} as {what}: give an aware datetime"
        raise InvalidScheduleError(msg)
    if moment.tzinfo is UTC:  # as it is nearly always inside the library
        return moment
    if moment.utcoffset() is None:
        msg = (
            f"cannot use {moment!r} as {what}: it is naive; "
            "give it a zone, as in datetime(..., tzinfo=ZoneInfo('Europe/Paris'))"
        )
        raise InvalidScheduleError(msg)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        msg = f"cannot use {moment!r} as {what}: in UTC it is not in the years 1 to 9999"
        raise InvalidScheduleError(msg) from None


def check_calendar(moment: datetime, tz: tzinfo) -> None:
    """See to it that an aware datetime can be shown in a zone, and is not the very last that there is.

    Raises:
        OverflowError: it cannot, or it is: nothing is before that, and so no storage would ever call it due.
    """
    if not 1 < moment.year < MAXYEAR:  # no zone is a year away from UTC
        (moment + _INSTANT).astimezone(tz)


def shown_in(moment: datetime, tz: tzinfo) -> datetime:
    """Return an aware datetime in a zone, or as it is where the zone has no such year."""
    if moment.tzinfo is tz:
        return moment
    try:
        return moment.astimezone(tz)
    except OverflowError:
        return moment


def zone_of(tz: tzinfo | str, what: str) -> tzinfo:
    """Return a time zone, found by its name if that is what is given.

    Raises:
        InvalidScheduleError: there is no such zone.
    """
    if isinstance(tz, tzinfo):
        return tz
    if not isinstance(tz, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot use {tz!r} as {what}: give a tzinfo, or the name of a zone such as 'Europe/Paris'"
        raise InvalidScheduleError(msg)
    if tz == "UTC":
        return UTC
    if tz[:1] in ("+", "-"):
        return _fixed_offset(tz, what)
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the name of a folder is an OSError
        msg = f"cannot use {tz!r} as {what}: the tz database knows no such zone (is the package tzdata installed?)"
        raise InvalidScheduleError(msg) from None


def _fixed_offset(text: str, what: str) -> tzinfo:
    try:
        offset = datetime.strptime(text, "%z").utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        msg = f"cannot use {text!r} as {what}: an offset is written as '+02:00'"
        raise InvalidScheduleError(msg)
    return timezone(offset)


def zone_name(tz: tzinfo) -> str:
    """Return the name by which `zone_of` finds a zone again.

    Raises:
        InvalidScheduleError: it has none.
    """
    if tz is UTC:
        return "UTC"
    if isinstance(tz, ZoneInfo) and tz.key:
        return tz.key
    if isinstance(tz, timezone) and not (offset := tz.utcoffset(None)) % timedelta(seconds=1):
        sign, size = ("-", -offset) if offset < timedelta() else ("+", offset)
        hours, rest = divmod(size, timedelta(hours=1))
        minutes, rest = divmod(rest, timedelta(minutes=1))
        seconds = f":{rest.seconds:02}" if rest else ""
        return f"{sign}{hours:02}:{minutes:02}{seconds}"
    msg = f"cannot use {tz!r} as a zone: it has no name to store; use zoneinfo.ZoneInfo"
    raise InvalidScheduleError(msg)
