"""Whether a value that was stored has come back as it went: equal, and of the same types, all the way down."""

import dataclasses
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, TypeGuard

import msgspec

_PLAIN = (type(None), bool, int, float, str)
_write = msgspec.json.Encoder().encode


def is_same(value: object, back: object, dumps: Callable[[object, object], bytes]) -> bool:
    """Whether a value has come back as it went: equal, and of the same types, all the way down.

    The one exception is an int for a float, which people write all the time. What has fields is judged by them, so it
    need not say itself what equal means; who has neither is judged by its bytes.

    Args:
        value: what was stored.
        back: what has come back.
        dumps: of the serializer.
    """
    kind = type(value)
    if kind is not type(back):
        return kind is int and type(back) is float and value == back
    if kind in _PLAIN:
        return bool(value == back)
    pairs = _pairs(value, back)
    if pairs is not None:
        return all(is_same(item, other, dumps) for item, other in pairs)
    if isinstance(value, datetime) and isinstance(back, datetime) and _is_one_instant(value, back):
        return True
    return bool(value == back) or (_has_no_equality(kind) and dumps(value, Any) == dumps(back, Any))


def _has_no_equality(kind: Any) -> bool:
    return kind.__eq__ is object.__eq__


def _is_one_instant(value: datetime, back: datetime) -> bool:
    """Whether two aware datetimes are one instant; `==` denies it where a time comes twice or not at all (PEP 495)."""
    if value.utcoffset() is None or back.utcoffset() is None:
        return False
    return value.astimezone(UTC) == back.astimezone(UTC)


def culprit(value: Any, back: Any, is_same: Callable[[Any, Any], bool]) -> tuple[Any, Any]:
    """Return the innermost part of a value that has not come back as it went, and what has come instead."""
    pairs = _pairs(value, back) if type(value) is type(back) else None
    for item, other in pairs or ():
        if item is not value and not is_same(item, other):
            return culprit(item, other, is_same)
    return value, back


def _pairs(value: Any, back: Any) -> list[tuple[Any, Any]] | None:
    """Return the contents of two values of one type side by side; None if it has none.

    Containers of different sizes or keys have a pair that is never the same.
    """
    if is_dict(value):
        if value.keys() != back.keys():
            return [(value, None)]
        keys = {key: key for key in back}
        return [pair for key, item in value.items() for pair in ((key, keys[key]), (item, back[key]))]
    if _is_sequence(value):
        return list(zip(value, back, strict=True)) if len(value) == len(back) else [(value, None)]
    if _is_set(value):
        return _pairs_of_sets(value, back)
    names = _fields(type(value))
    return None if names is None else [(getattr(value, name, None), getattr(back, name, None)) for name in names]


def _pairs_of_sets(value: AbstractSet[Any], back: AbstractSet[Any]) -> list[tuple[Any, Any]]:
    if value == back:
        others = {item: item for item in back}
        return [(item, others[item]) for item in value]
    if len(value) != len(back):
        return [(value, None)]
    return list(zip(sorted(value, key=_write), sorted(back, key=_write), strict=True))


def _fields(kind: Any) -> list[str] | None:
    """Return the names of what a dataclass, a Struct or a class of attrs is made of, and compared by."""
    if issubclass(kind, msgspec.Struct):
        return list(kind.__struct_fields__)
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind) if field.compare]
    attributes = getattr(kind, "__attrs_attrs__", None)
    return None if attributes is None else [attribute.name for attribute in attributes if attribute.eq]


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """Whether a value is a dict, of whatever."""
    return isinstance(value, dict)


def _is_set(value: object) -> TypeGuard[AbstractSet[Any]]:
    return isinstance(value, set | frozenset)


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)
