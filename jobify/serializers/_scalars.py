"""The forms of what has no parts: texts, numbers, times, and whatever can be written as a text."""

import base64
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from jobify.serializers._form import MisfitError, a, class_of, misfit, name_of, number, text, unreadable
from jobify.serializers._times import (
    read_datetime,
    read_offset,
    read_time,
    write_datetime,
    write_offset,
    write_time,
    zone_key,
)


class ScalarForm:
    """The form of a class whose values JSON has itself: None, bool, int, str."""

    is_exact = True

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self.kinds = frozenset({{type(None): "null"}.get(kind, kind.__name__)})

    def to_json(self, value: Any) -> Any:
        """Return the value, if it is exactly of this class."""
        if class_of(value) is not self._kind:
            raise misfit(value, name_of(self._kind))
        return text(value) if class_of(value) is str else value

    def from_json(self, data: Any) -> Any:
        """Return the decoded value, if it is of this class."""
        if class_of(data) is not self._kind:
            raise unreadable(data, name_of(self._kind))
        return data


class FloatForm:
    """The form of float. An int is welcome, as it is for type checkers; it is written as an int, and stays one."""

    kinds = frozenset({"int", "float"})
    is_exact = True

    def to_json(self, value: Any) -> Any:
        """Return the value, if it is a finite number."""
        if class_of(value) is float:
            return number(value)
        if class_of(value) is not int:
            raise misfit(value, "float")
        return value

    def from_json(self, data: Any) -> Any:
        """Return the decoded value, if it is a number."""
        if class_of(data) not in (float, int):
            raise unreadable(data, "float")
        return data


class TextForm:
    """The form of a class whose values can be written as a text, and read from it.

    Args:
        kind: the class.
        write: makes the text.
        read: makes a value of a text, or raises a `ValueError` or an `ArithmeticError`.
        name: what people write as the annotation; None for the name of the class.
    """

    kinds = frozenset({"str"})
    is_exact = True

    def __init__(
        self, kind: type, write: Callable[[Any], str], read: Callable[[str], Any], name: str | None = None
    ) -> None:
        self._kind = kind
        self._write = write
        self._read = read
        self._name = name if name is not None else kind.__name__

    def to_json(self, value: Any) -> Any:
        """Return the text of a value that is exactly of this class."""
        if class_of(value) is not self._kind:
            raise misfit(value, self._name)
        return self._write(value)

    def from_json(self, data: Any) -> Any:
        """Return the value of a text."""
        if class_of(data) is not str:
            raise unreadable(data, self._name)
        try:
            return self._read(data)
        except (ValueError, ArithmeticError, LookupError) as error:
            if isinstance(error, MisfitError):
                raise
            msg = f"cannot be {a(self._name)}: {str(error) or repr(data)}"
            raise MisfitError(msg) from error


class PatternForm:
    """The form of a regular expression: its pattern and its flags."""

    kinds = frozenset({"object"})
    is_exact = True

    def __init__(self, of: Any = None) -> None:
        self._of = of

    def to_json(self, value: Any) -> Any:
        """Return pattern and flags."""
        if class_of(value) is not re.Pattern or self._of not in (None, class_of(value.pattern)):
            raise misfit(value, "Pattern")
        if isinstance(value.pattern, bytes):
            return {"bytes": base64.b64encode(value.pattern).decode(), "flags": value.flags}
        return {"pattern": text(value.pattern), "flags": value.flags}

    def from_json(self, data: Any) -> Any:
        """Compile what was stored."""
        try:
            pattern = data["pattern"] if "pattern" in data else base64.b64decode(data["bytes"], validate=True)
            return re.compile(pattern, data["flags"])
        except (re.error, TypeError, LookupError, ValueError) as error:
            msg = f"cannot be a Pattern: {error}"
            raise MisfitError(msg) from error


def _write_bytes(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode()


def _read_bytes(data: str) -> bytes:
    return base64.b64decode(data, validate=True)


def _read_bytearray(data: str) -> bytearray:
    return bytearray(_read_bytes(data))


def _write_timedelta(value: timedelta) -> str:
    return str(msgspec.to_builtins(value))


def _read_timedelta(data: str) -> timedelta:
    return msgspec.convert(data, timedelta)


def _write_path(value: PurePath) -> str:
    return text(str(value))


def _write_complex(value: complex) -> str:
    number(value.real)
    number(value.imag)
    return repr(value)


_ADDRESSES: tuple[Any, ...] = (
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)
_FORMS: dict[Any, ScalarForm | FloatForm | TextForm | PatternForm] = {
    **{kind: ScalarForm(kind) for kind in (type(None), bool, int, str)},
    float: FloatForm(),
    bytes: TextForm(bytes, _write_bytes, _read_bytes),
    bytearray: TextForm(bytearray, _write_bytes, _read_bytearray),
    datetime: TextForm(datetime, write_datetime, read_datetime),
    date: TextForm(date, date.isoformat, date.fromisoformat),
    time: TextForm(time, write_time, read_time),
    timedelta: TextForm(timedelta, _write_timedelta, _read_timedelta),
    ZoneInfo: TextForm(ZoneInfo, zone_key, ZoneInfo),
    timezone: TextForm(timezone, write_offset, read_offset),
    uuid.UUID: TextForm(uuid.UUID, str, uuid.UUID),
    Decimal: TextForm(Decimal, str, Decimal),
    Fraction: TextForm(Fraction, str, Fraction),
    complex: TextForm(complex, _write_complex, complex),
    Path: TextForm(type(Path()), _write_path, Path, "Path"),
    PurePath: TextForm(type(PurePath()), _write_path, PurePath, "PurePath"),
    re.Pattern: PatternForm(),
    re.Pattern[str]: PatternForm(str),
    re.Pattern[bytes]: PatternForm(bytes),
    **{kind: TextForm(kind, _write_path, kind) for kind in (PurePosixPath, PureWindowsPath)},
    **{kind: TextForm(kind, str, kind) for kind in _ADDRESSES},
}


def form_of_class(kind: Any) -> ScalarForm | FloatForm | TextForm | PatternForm | None:
    """Return the form of a class whose values have no parts; None if it is none of them."""
    return _FORMS.get(kind)
