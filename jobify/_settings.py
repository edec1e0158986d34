"""What the user of an app decided once, and for all its jobs."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from os import cpu_count

from jobify._history import Retention
from jobify._spec import RunMode
from jobify._zones import seconds_of, zone_name, zone_of
from jobify.exceptions import InvalidScheduleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of an app.

    Attributes:
        tz: the zone of `exec_at`, and of every cron that names none.
        shutdown_grace: the seconds that running jobs get when the app stops.
        slots: how many attempts may be in progress at once, for each run mode; None for any number.
        catch_up_rate: how many overdue jobs may begin in each second after a start; None for all at once.
        max_interruptions: how often a crash may cut a run short before its job is held; None for any number.
        retention: how long the history is kept; None for none.
    """

    tz: tzinfo
    shutdown_grace: float
    slots: Mapping[RunMode, int | None]
    catch_up_rate: int | None
    max_interruptions: int | None
    retention: Retention | None


_PARTS = {
    "storage": (
        "serialized", "immediate", "open", "add", "claim", "start", "finish", "amend", "release", "remove", "runs",
        "prune", "find", "watch", "is_mine", "shared", "horizon", "window", "abandon", "close",
    ),
    "clock": ("now", "monotonic", "call_at", "call_at_wall"),
    "serializer": ("is_json", "dumps", "loads"),
}  # fmt: skip
_GOOD = {
    "storage": "a Storage, such as SQLiteStorage('jobify.db')",
    "clock": "a Clock, such as SystemClock()",
    "serializer": "a Serializer, such as JSONSerializer()",
}


def check_part(what: str, part: object) -> None:
    """See to it that what a user gives as storage, clock or serializer is one; None stands for the default.

    Raises:
        TypeError: it is none.
    """
    missing = [name for name in _PARTS[what] if not hasattr(part, name)]
    if isinstance(part, type):
        reason = f"it is a class; give an object, as in {what}={part.__name__}(...)"
    elif isinstance(part, str) and what == "storage":
        reason = f"it is a str; for a file give SQLiteStorage({part!r})"
    elif missing and part is not None:
        reason = f"it has no {', '.join(missing)}; give {_GOOD[what]}"
    else:
        return
    msg = f"cannot use {part!r} as {what}: {reason}"
    raise TypeError(msg)


def make_settings(
    tz: tzinfo | str,
    shutdown_grace: float | timedelta,
    slots: Mapping[RunMode, int | None],
    catch_up_rate: int | None,
    max_interruptions: int | None,
    retention: Retention | None,
) -> Settings:
    """Check what a user decided.

    Raises:
        InvalidScheduleError: one of it cannot be used.
    """
    numbers = {f"{mode} jobs at once": number for mode, number in slots.items()}
    numbers |= {"overdue jobs in each second": catch_up_rate, "interrupted runs of a job": max_interruptions}
    for what, number in numbers.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, int) or number < 1):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
            msg = f"cannot run {number!r} {what}: give a whole number from 1"
            raise InvalidScheduleError(msg)
    if retention is not None and not isinstance(retention, Retention):  # pyright: ignore[reportUnnecessaryIsInstance]  # users pass anything
        msg = f"cannot keep a history by {retention!r}: give a Retention(...), or None for no history"
        raise InvalidScheduleError(msg)
    zone = zone_of(tz, "tz")
    zone_name(zone)  # a zone that cannot be named could not be stored with a recurrence
    processes = slots[RunMode.PROCESS] or cpu_count() or 1
    return Settings(
        tz=zone,
        shutdown_grace=seconds_of(shutdown_grace, "shutdown_grace"),
        slots={**slots, RunMode.PROCESS: processes},
        catch_up_rate=catch_up_rate,
        max_interruptions=max_interruptions,
        retention=retention,
    )
