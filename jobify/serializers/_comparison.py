"""Whether a value that was stored has come back as it went: equal, and of the same types, all the way down."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time, tzinfo
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from jobify.serializers._form import MisfitError, a, class_of, name_of
from jobify.serializers._pydantic import is_model
from jobify.serializers._records import fields_of

_REMEDY = "pass another value, or use durable=False"
_PLAIN = (type(None), bool, int, str, bytes)
Part = tuple[str, object, object]
"""Where it is in a value, what is there, and what is there in the one that has come back."""

Seen = dict[tuple[int, int], tuple[object, object]]
"""The pairs that are being looked at, by their ids; they are kept, so that no other object gets the id of one."""


def difference(value: object, back: object) -> MisfitError | None:
    """Return how a value has not come back as it went; None if it has.

    What has fields is judged by them, so that it need not say itself what equal means. What has neither, or does not
    say yes or no, is judged by what `copy` and `pickle` would make it from.
    """
    return _difference(value, back, {})


def _difference(value: Any, back: Any, seen: Seen) -> MisfitError | None:
    kind = class_of(value)
    if value is back or (id(value), id(back)) in seen:
        return None
    if kind is not class_of(back):
        msg = f"is {a(name_of(kind))}, and would come back as {a(name_of(class_of(back)))}; {_REMEDY}"
        return MisfitError(msg)
    atom = value if kind in _PLAIN else _atom(value)
    parts = None
    if atom is not None:
        equal = atom == (back if kind in _PLAIN else _atom(back))
    else:
        seen[id(value), id(back)] = value, back
        parts = _parts(value, back, seen)
        equal = _is_equal(value, back) if parts is None else None
    if equal is not None:
        return None if equal else _other(value)
    for step, item, other in parts if parts is not None else _made_from(value, back):
        if (found := _difference(item, other, seen)) is not None:
            return found.inside(step)
    return None


def _other(value: object) -> MisfitError:
    return MisfitError(f"is {a(name_of(class_of(value)))} that would come back with other contents; {_REMEDY}")


def _atom(value: object) -> object:
    """Return all that there is to some values whose `==` does not look at all of it; None for others."""
    if isinstance(value, float):
        return repr(value) if math.isnan(value) else (value, math.copysign(1, value))
    if isinstance(value, Decimal):
        return value.as_tuple()
    if isinstance(value, datetime | time):
        return value.replace(tzinfo=None), value.fold, _zone(value.tzinfo)
    if isinstance(value, ZoneInfo):
        return _zone(value)
    return None


def _zone(zone: tzinfo | None) -> object:
    return (ZoneInfo, zone.key) if isinstance(zone, ZoneInfo) else (class_of(zone), zone)


def _parts(value: Any, back: Any, seen: Seen) -> Iterable[Part] | None:
    """Return the contents of two values of one type side by side; None if it has none."""
    kind = class_of(value)
    if issubclass(kind, dict):
        return _of_dicts(value, back)
    if issubclass(kind, set | frozenset):
        return _of_sets(value, back, seen)
    if is_model(kind):
        return _of_models(value, back)
    fields = fields_of(kind)
    if fields is not None:
        names = [field.name for field in fields if field.is_compared]
        return [(f".{name}", getattr(value, name, None), getattr(back, name, None)) for name in names]
    return _side_by_side(value, back) if issubclass(kind, list | tuple) else None


def _side_by_side(items: Any, others: Any) -> Iterable[Part]:
    yield ".__len__()", len(items), len(others)
    for index, (item, other) in enumerate(zip(items, others, strict=True)):
        yield f"[{index}]", item, other


def _of_dicts(items: Mapping[Any, Any], others: Mapping[Any, Any], dot: str = "") -> Iterator[Part]:
    yield ".__len__()", len(items), len(others)
    for key, other in zip(items, others, strict=True):
        yield f".keys() of {key!r}", key, other
        yield f".{key}" if dot else f"[{key!r}]", items[key], others[other]


def _of_models(value: Any, back: Any) -> Iterator[Part]:
    for name in ("__dict__", "__pydantic_extra__", "__pydantic_private__"):
        yield from _of_dicts(getattr(value, name) or {}, getattr(back, name) or {}, ".")


def _of_sets(items: Any, others: Any, seen: Seen) -> Iterable[Part]:
    """Pair the members of two sets: by their `==`, else each with one from which it does not differ."""
    if items == others:
        equals = {other: other for other in others}
        return [("{...}", item, equals[item]) for item in items]
    left = list(others)
    pairs: list[Part] = [(".__len__()", len(items), len(others))]
    for item in items:
        found = [index for index, other in enumerate(left) if _difference(item, other, {**seen}) is None]
        if not found:
            return [("{...}", item, left[0] if left else None)]
        pairs.append(("{...}", item, left.pop(found[0])))
    return pairs


def _is_equal(value: Any, back: Any) -> bool | None:
    """Return what two objects say themselves; None if they do not."""
    own: object = class_of(value).__eq__
    if own is object.__eq__:
        return None
    try:
        equal = value == back
    except Exception:  # noqa: BLE001  # an object of a user
        return None
    return equal if isinstance(equal, bool) else None


def _made_from(value: Any, back: Any) -> Iterator[Part]:
    """Return what the two could be made from again."""
    for item, other in zip(_reduced(value), _reduced(back), strict=True):
        if class_of(item) is class_of(other) is dict:
            yield from _of_dicts(item, other, ".")
        else:
            yield "", item, other


def _reduced(value: Any) -> list[Any]:
    reduced: Any = value.__reduce_ex__(4)
    parts: list[Any] = list(reduced) if class_of(reduced) is tuple else [reduced]
    made: list[Any] = [[*part] if hasattr(part, "__next__") else part for part in parts]
    return made + [None] * (6 - len(made))
