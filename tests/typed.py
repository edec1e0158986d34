"""What equal means to the tests of typed values: more than `==` says."""

import dataclasses
from collections.abc import Callable
from typing import Any

class_of: Callable[[object], Any] = type


def identical(value: Any, back: Any) -> bool:
    """Whether two values are equal, and of the same types, all the way down; their text tells what `==` does not."""
    if type(value) is not type(back):
        return False
    kind = class_of(value)
    if issubclass(kind, dict):
        return identical([*value.items()], [*back.items()])
    if issubclass(kind, set | frozenset):
        others = {item: item for item in back}
        return value == back and all(identical(item, others[item]) for item in value)
    if issubclass(kind, list | tuple):
        return len(value) == len(back) and all(identical(*pair) for pair in zip(value, back, strict=True))
    if dataclasses.is_dataclass(kind):
        return all(identical(getattr(value, each.name), getattr(back, each.name)) for each in dataclasses.fields(kind))
    return bool(value == back) and repr(value) == repr(back)
