"""The forms of collections: lists, tuples, sets, dicts."""

from collections.abc import Callable
from typing import Any

import msgspec

from jobify.serializers._form import Form, MisfitError, class_of, each, each_of_dict, misfit, unreadable

_ARRAY = frozenset({"array"})
_encode = msgspec.json.Encoder().encode


class ArrayForm:
    """The form of a list, a set, a frozenset or a tuple of any length.

    The items of a set are stored in the order of their JSON: a set of texts has another order in each process.

    Args:
        kind: the class.
        item: the form of an item.
    """

    kinds = _ARRAY

    def __init__(self, kind: type, item: Form) -> None:
        self._kind = kind
        self._item = item
        self._is_set = issubclass(kind, set | frozenset)

    @property
    def is_exact(self) -> bool:
        """Whether the items are."""
        return self._item.is_exact

    def to_json(self, value: Any) -> Any:
        """Return the items."""
        if class_of(value) is not self._kind:
            raise misfit(value, self._kind.__name__)
        items = each(self._item.to_json, value)
        return sorted(items, key=_encode) if self._is_set else items

    def from_json(self, data: Any) -> Any:
        """Return the collection."""
        if class_of(data) is not list:
            raise unreadable(data, self._kind.__name__)
        return self._kind(each(self._item.from_json, data))


class TupleForm:
    """The form of a tuple with a type for each item."""

    kinds = _ARRAY

    def __init__(self, items: list[Form]) -> None:
        self._items = items

    @property
    def is_exact(self) -> bool:
        """Whether all items are."""
        return all(item.is_exact for item in self._items)

    def to_json(self, value: Any) -> Any:
        """Return the items."""
        if class_of(value) is not tuple:
            raise misfit(value, "tuple")
        items: tuple[Any, ...] = value
        return self._each([form.to_json for form in self._items], items)

    def from_json(self, data: Any) -> Any:
        """Return the tuple."""
        if class_of(data) is not list:
            raise unreadable(data, "tuple")
        items: list[Any] = data
        return tuple(self._each([form.from_json for form in self._items], items))

    def _each(self, converters: list[Callable[[Any], Any]], items: tuple[Any, ...] | list[Any]) -> list[Any]:
        if len(items) != len(converters):
            msg = f"has {len(items)} items, and not {len(converters)}"
            raise MisfitError(msg)
        following = iter(converters)

        def convert(item: object) -> Any:
            return next(following)(item)

        return each(convert, items)


class DictForm:
    """The form of a dict: an object if its keys can be written as texts, else an array of pairs.

    Args:
        key: the form of a key.
        item: the form of a value.
    """

    def __init__(self, key: Form, item: Form) -> None:
        self._key = key
        self._item = item
        self._has_numbers = key.kinds == frozenset({"int"})
        self._is_object = key.kinds == frozenset({"str"}) or self._has_numbers
        self.kinds = frozenset({"object" if self._is_object else "array"})

    @property
    def is_exact(self) -> bool:
        """Whether keys and values are."""
        return self._key.is_exact and self._item.is_exact

    def to_json(self, value: Any) -> Any:
        """Return the object, or the pairs."""
        if class_of(value) is not dict:
            raise misfit(value, "dict")
        keys = self._keys(self._key.to_json, value)
        items = each_of_dict(self._item.to_json, value)
        if not self._is_object:
            return [list(pair) for pair in zip(keys, items, strict=True)]
        return dict(zip(map(str, keys) if self._has_numbers else keys, items, strict=True))

    def from_json(self, data: Any) -> Any:
        """Return the dict."""
        if not self._is_object:
            return dict(zip(*self._columns(data), strict=True))
        if class_of(data) is not dict:
            raise unreadable(data, "dict")
        keys = self._keys(self._read_key, data)
        return dict(zip(keys, each_of_dict(self._item.from_json, data), strict=True))

    def _columns(self, data: Any) -> tuple[list[Any], list[Any]]:
        if class_of(data) is not list or any(class_of(pair) is not list or len(pair) != 2 for pair in data):  # noqa: PLR2004  # a pair
            raise unreadable(data, "dict")
        keys = self._keys(self._key.from_json, [pair[0] for pair in data])
        return keys, each(self._item.from_json, [pair[1] for pair in data])

    def _read_key(self, data: str) -> Any:
        if not self._has_numbers:
            return self._key.from_json(data)
        try:
            return self._key.from_json(int(data))
        except ValueError as error:
            if isinstance(error, MisfitError):
                raise
            msg = f"has a key that is no int: {data!r}"
            raise MisfitError(msg) from error

    @staticmethod
    def _keys(convert: Callable[[Any], Any], keys: Any) -> list[Any]:
        made: list[Any] = []
        for key in keys:
            try:
                made.append(convert(key))
            except MisfitError as error:
                step = f".keys()[{len(made)}]" if error.path else f" has the key {key!r}, which"
                raise error.inside(step) from error.__cause__
        return made
