"""Datetimes and times as texts, and back: with the name of their zone, and which of two equal wall times is meant.

The texts are those of RFC 9557: ISO 8601, and then what it has no word for, in brackets. Which of two equal wall times
is meant (`fold`) and the name of a fixed offset stand in brackets as experimental suffixes, which begin with `_`.

    2026-10-25T02:30:00+01:00[Europe/Berlin][_fold=1]
    2026-03-01T12:00:00+09:00[_name=JST]
"""

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobify.serializers._form import MisfitError, a, name_of

_SUFFIX = re.compile(r"\[([^\[\]]*)\]")
_FOLD = "_fold=1"
_NAME = "_name="


def write_datetime(value: datetime) -> str:
    """Return a datetime as a text.

    Raises:
        MisfitError: its zone cannot be named.
    """
    return value.isoformat() + _suffixes(value.tzinfo, value.fold)


def write_time(value: time) -> str:
    """Return a time as a text.

    Raises:
        MisfitError: its zone cannot be named.
    """
    return value.isoformat() + _suffixes(value.tzinfo, value.fold)


def read_datetime(data: str) -> datetime:
    """Return the datetime of a text; its zone and its wall time count, should the rules of the zone have changed."""
    body, zone, fold = _parts(data)
    value = datetime.fromisoformat(body)
    return value.replace(tzinfo=_tzinfo(value.tzinfo, zone), fold=fold)


def read_time(data: str) -> time:
    """Return the time of a text."""
    body, zone, fold = _parts(data)
    value = time.fromisoformat(body)
    return value.replace(tzinfo=_tzinfo(value.tzinfo, zone), fold=fold)


def zone_key(zone: ZoneInfo) -> str:
    """Return the name of a zone.

    Raises:
        MisfitError: it has none.
    """
    if zone.key is None:  # pyright: ignore[reportUnnecessaryComparison]  # a zone of ZoneInfo.from_file
        msg = "is in a zone that has no key, so that it cannot be named; use ZoneInfo('Area/City')"
        raise MisfitError(msg)
    return zone.key


def write_offset(zone: timezone) -> str:
    """Return a fixed offset as a text."""
    return datetime(1, 1, 2, tzinfo=zone).isoformat()[19:] + _suffixes(zone, 0)


def read_offset(data: str) -> tzinfo:
    """Return the fixed offset of a text."""
    zone = read_datetime(f"0001-01-02T00:00:00{data}").tzinfo
    if type(zone) is not timezone:
        msg = f"cannot be a timezone: {data!r}"
        raise MisfitError(msg)
    return zone


def _suffixes(zone: tzinfo | None, fold: int) -> str:
    return "".join(f"[{suffix}]" for suffix in (_zone_suffix(zone), _FOLD if fold else "") if suffix)


def _zone_suffix(zone: tzinfo | None) -> str:
    if zone is None or zone is UTC:
        return ""
    if type(zone) is ZoneInfo:
        return zone_key(zone)
    if type(zone) is not timezone:
        kind = name_of(type(zone))
        msg = f"is in a zone that is {a(kind)}, which no text can name; use zoneinfo.ZoneInfo or datetime.timezone"
        raise MisfitError(msg)
    name = zone.tzname(None)
    return "" if name == timezone(zone.utcoffset(None)).tzname(None) else _NAME + quote(name, safe="")


def _parts(data: str) -> tuple[str, str, int]:
    body, _, rest = data.partition("[")
    suffixes = _SUFFIX.findall("[" + rest) if rest else []
    fold = int(_FOLD in suffixes)
    zones = [suffix for suffix in suffixes if suffix != _FOLD]
    if len(zones) > 1 or (rest and "".join(f"[{suffix}]" for suffix in suffixes) != "[" + rest):
        msg = f"has a suffix that nobody knows: {data!r}"
        raise MisfitError(msg)
    return body, zones[0] if zones else "", fold


def _tzinfo(offset: tzinfo | None, zone: str) -> tzinfo | None:
    if not zone:
        return offset
    if zone.startswith(_NAME):
        if offset is None:
            msg = "has the name of an offset, and no offset"
            raise MisfitError(msg)
        return timezone(offset.utcoffset(None) or timedelta(), unquote(zone.removeprefix(_NAME)))
    try:
        return ZoneInfo(zone)
    except ZoneInfoNotFoundError as error:
        msg = f"is in the zone {zone!r}, which this machine does not know: {error}"
        raise MisfitError(msg) from error
