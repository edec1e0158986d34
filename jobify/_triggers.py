"""Recurrences as they are stored: each as a text that is always the same for the same recurrence. Pure."""

import json
from datetime import date, datetime, time
from typing import Any

from jobify._calendar import CalendarInterval
from jobify._cron import Cron
from jobify._dst import DstRule
from jobify._limits import Limits
from jobify._recurrence import AnyOf, Every, Recurrence
from jobify._zones import zone_name
from jobify.exceptions import InvalidScheduleError

Trigger = Cron | Every | CalendarInterval | AnyOf

_LONGEST = 1000
"""Characters of a text that an error repeats."""
_POLICIES = ("misfire_policy", "overlap", "jitter")
_DEFAULTS = Limits()
_UNITS = ("years", "months", "weeks", "days")


def storable(recurrence: Recurrence) -> Trigger:
    """Return a recurrence of one of the kinds that can be stored.

    Raises:
        InvalidScheduleError: it is of none of them.
    """
    if not isinstance(recurrence, Trigger):
        msg = f"cannot recur by {recurrence!r}: give a Cron, an Every, a CalendarInterval, or AnyOf them"
        raise InvalidScheduleError(msg)
    return recurrence


def trigger_to_text(trigger: Trigger) -> str:
    """Return a recurrence as the text that is stored; its arguments are stored as those of the job.

    What was added to recurrences later is in the text only where it is not the default, so that the text of an
    unchanged recurrence stays the same when the library is renewed.
    """
    return json.dumps(_written(trigger), sort_keys=True, separators=(",", ":"))


def trigger_from_text(text: str) -> Trigger:
    """Return the recurrence of a stored text.

    Raises:
        InvalidScheduleError: it is not the text of a recurrence that can be used.
    """
    try:
        return _read(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        msg = f"cannot read {shown!r} as a recurrence: {error!r}"
        raise InvalidScheduleError(msg) from error


def _written(trigger: Recurrence) -> dict[str, Any]:
    what: dict[str, Any] = {"max_failures": trigger.max_failures, "max_runs": trigger.max_runs}
    for name in ("start_date", "end_date"):
        moment: datetime | None = getattr(trigger, name)
        if moment is not None:
            what[name] = moment.isoformat()
    for name in _POLICIES:
        if (value := getattr(trigger, name)) != getattr(_DEFAULTS, name):
            what[name] = value if isinstance(value, float) else str(value)
    if isinstance(trigger, Every):
        return what | {"every": trigger.seconds}
    if isinstance(trigger, AnyOf):
        return what | {"any_of": [_written(member) for member in trigger.triggers]}
    assert isinstance(trigger, Cron | CalendarInterval)  # noqa: S101  # there are no others
    what["tz"] = zone_name(trigger.tz) if trigger.tz is not None else None
    if trigger.dst is not DstRule.VIXIE:
        what["dst"] = str(trigger.dst)
    if isinstance(trigger, Cron):
        return what | {"cron": trigger.expression}
    units = {unit: number for unit in _UNITS if (number := getattr(trigger, unit))}
    return what | units | {"at": trigger.at.isoformat(), "calendar": trigger.first_day.isoformat()}


def _read(what: dict[str, Any]) -> Trigger:
    what = dict(what)
    limits: dict[str, Any] = {"max_failures": what.pop("max_failures"), "max_runs": what.pop("max_runs")}
    for name in ("start_date", "end_date"):
        if name in what:
            limits[name] = datetime.fromisoformat(what.pop(name))
    limits |= {name: what.pop(name) for name in _POLICIES if name in what}
    if "every" in what:
        return Every(what.pop("every"), **limits, **_known(what))
    if "any_of" in what:
        return AnyOf(*map(_read, what.pop("any_of")), **limits, **_known(what))
    if "cron" in what:
        return Cron(what.pop("cron"), **limits, **_known(what, "tz", "dst"))
    first_day, at = date.fromisoformat(what.pop("calendar")), time.fromisoformat(what.pop("at"))
    return CalendarInterval(first_day=first_day, at=at, **limits, **_known(what, "tz", "dst", *_UNITS))


def _known(what: dict[str, Any], *names: str) -> dict[str, Any]:
    if unknown := sorted(what.keys() - set(names)):
        msg = f"this version does not know its {', '.join(map(repr, unknown))}"
        raise ValueError(msg)
    return what
