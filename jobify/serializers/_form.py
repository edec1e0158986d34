"""The form that values of one type have in JSON: what a form is, and how a value that has none is refused."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

KINDS = frozenset({"null", "bool", "int", "float", "str", "array", "object"})
"""The kinds of JSON values, an int told from a float; what the decoder makes of them is told apart by its type."""

_KIND_OF: dict[type, str] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "array",
    dict: "object",
}


class_of: Callable[[object], type[Any]] = type
"""The class of a value. Unlike `type(value) is list` it leaves to type checkers a value of which they ask nothing."""


class MisfitError(ValueError):
    """A value that has no form, or bytes that are no form of a value.

    Attributes:
        path: where it is in the argument, from the outside in, as in `.lines[2]`.
        reason: what is wrong, as the rest of a sentence that begins with the path.
        is_stranger: whether all that is wrong is that the value is of another type: of the members of a union, most say
            so, and none of them says much.
    """

    def __init__(self, reason: str, *, is_stranger: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = ""
        self.is_stranger = is_stranger

    def inside(self, step: str) -> "MisfitError":
        """Return the error, now with one more step of the way to the culprit."""
        self.path = step + self.path
        self.is_stranger = False
        return self

    def about(self, name: str) -> str:
        """Return what is wrong, as a sentence about an argument of this name."""
        return f"{name}{self.path} {self.reason}"

    def __str__(self) -> str:
        return self.about("it")


class Form(Protocol):
    """How the values of one annotation are written as JSON, and read."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of JSON values that it makes: by them the members of a union are told apart."""
        ...

    @property
    def is_exact(self) -> bool:
        """Whether all that it takes comes back by construction, as no code of a user takes part."""
        ...

    def to_json(self, value: Any) -> Any:
        """Return what JSON is made of.

        Raises:
            MisfitError: the value is not exactly of this type, all the way down.
        """
        ...

    def from_json(self, data: Any) -> Any:
        """Return the value.

        Raises:
            MisfitError: this is not what `to_json` makes.
        """
        ...


def kind_of(data: object) -> str:
    """Return the kind of a decoded JSON value."""
    return _KIND_OF[class_of(data)]


def misfit(value: object, wanted: str) -> MisfitError:
    """Return the error about a value of another type than the annotated one."""
    kind = name_of(class_of(value))
    reason = f"is {a(kind)}, and not {a(wanted)}; pass {a(wanted)}, or annotate it with {kind}"
    return MisfitError(reason, is_stranger=True)


def unreadable(data: object, wanted: str) -> MisfitError:
    """Return the error about JSON that is not the form of a type."""
    return MisfitError(f"cannot be {a(wanted)}: {a(kind_of(data))} is stored", is_stranger=True)


def name_of(kind: type) -> str:
    """Return what people call a class."""
    return "None" if kind is type(None) else kind.__qualname__


def a(noun: str) -> str:
    """Return a noun with its article."""
    if noun in ("None", "null"):
        return noun
    return f"{'an' if noun[0] in 'AEIOaeio' else 'a'} {noun}"


def number(value: float) -> float:
    """Return a float for which JSON has a word.

    Raises:
        MisfitError: it is NaN or infinite.
    """
    if not math.isfinite(value):
        msg = f"is {value}, and JSON has no {value}; use durable=False, or another type, such as Decimal"
        raise MisfitError(msg)
    return value


def text(value: str) -> str:
    """Return a str that can be written.

    Raises:
        MisfitError: it has half of a surrogate pair, so that it is no Unicode.
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            msg = f"is no text that can be written as UTF-8: {value!a}; pass bytes, or use durable=False"
            raise MisfitError(msg) from None
    return value


class PlainForm:
    """The form of what has no annotation: values that are JSON already, and come back of the same types."""

    kinds = KINDS
    is_exact = True

    def to_json(self, value: Any) -> Any:
        """Return the value, if there is nothing in it but None, bool, int, float, str, list and dict."""
        kind = class_of(value)
        if kind is str:
            return text(value)
        if kind is float:
            return number(value)
        if kind in (int, bool, type(None)):
            return value
        if kind is list:
            return each(self.to_json, value)
        if kind is dict:
            return dict(zip([self._key(key) for key in value], each_of_dict(self.to_json, value), strict=True))
        name = name_of(kind)
        msg = (
            f"is {a(name)}, which JSON alone does not bring back as one; annotate it with its type, as in "
            f"{example(value, name)}, or use durable=False"
        )
        raise MisfitError(msg)

    def _key(self, key: Any) -> str:
        if class_of(key) is not str:
            kind = name_of(class_of(key))
            msg = (
                f"has a key that is {a(kind)}: {key!r}; JSON has only str keys, so annotate it with the types of its "
                f"keys, as in dict[{kind}, ...]"
            )
            raise MisfitError(msg)
        return text(key)

    def from_json(self, data: Any) -> Any:
        """Return the decoded value, which it is already."""
        return data


class PlainDictForm(PlainForm):
    """The form of a dict of which the annotation does not say what is in it."""

    kinds = frozenset({"object"})

    def to_json(self, value: Any) -> Any:
        """Return the dict, if it has str keys, and plain values."""
        if class_of(value) is not dict:
            raise misfit(value, "dict")
        return PlainForm().to_json(value)  # what is in it need not be a dict

    def from_json(self, data: Any) -> Any:
        """Return the dict."""
        if class_of(data) is not dict:
            raise unreadable(data, "dict")
        return data


def example(value: object, name: str) -> str:
    """Return an annotation that would do for a value."""
    if class_of(value) not in (tuple, set, frozenset):
        return name
    items: Any = value
    inner = next((name_of(class_of(item)) for item in items), "int")
    return f"tuple[{inner}, ...]" if name == "tuple" else f"{name}[{inner}]"


def each(convert: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """Convert the items of a collection; what is wrong with one is told with the way to it."""
    made: list[Any] = []
    try:
        for item in items:
            made.append(convert(item))  # noqa: PERF401  # the number of those made tells which one it was
    except MisfitError as error:
        step = f"[{len(made)}]"
        raise error.inside(step) from error.__cause__
    return made


def each_of_dict(convert: Callable[[Any], Any], items: Mapping[Any, Any]) -> list[Any]:
    """Convert the values of a dict; what is wrong with one is told with its key."""
    made: list[Any] = []
    try:
        for item in items.values():
            made.append(convert(item))  # noqa: PERF401  # the same
    except MisfitError as error:
        step = f"[{list(items)[len(made)]!r}]"
        raise error.inside(step) from error.__cause__
    return made


def within(step: str, convert: Callable[[Any], Any], value: object) -> Any:
    """Convert a part of a value; what is wrong with it is told with the way to it."""
    try:
        return convert(value)
    except MisfitError as error:
        raise error.inside(step) from error.__cause__
