"""The forms of what has fields: dataclasses, classes of attrs, Structs, named tuples, typed dicts."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from jobify.serializers._annotations import hints_of_class, qualifiers, spelled
from jobify.serializers._form import Form, MisfitError, class_of, misfit, text, unreadable, within

FormOf = Callable[[Any], Form]
_OBJECT = frozenset({"object"})


class Field(NamedTuple):
    """A field of a class.

    Attributes:
        name: the attribute.
        argument: what `__init__` calls it; None if it does not take it.
        is_optional: whether there is something to put there if nothing was stored.
        is_compared: whether it is a part of what the object is.
    """

    name: str
    argument: str | None
    is_optional: bool
    is_compared: bool


def fields_of(kind: Any) -> list[Field] | None:
    """Return the fields of a class; None if it is not one that declares them."""
    if issubclass(kind, msgspec.Struct):
        return [
            Field(field.name, field.name, not field.required, is_compared=True)
            for field in msgspec.structs.fields(kind)
        ]
    if tuple in kind.__mro__ and hasattr(kind, "_fields"):
        defaults: Mapping[str, object] = getattr(kind, "_field_defaults", {})
        names: tuple[str, ...] = kind._fields
        return [Field(name, name, name in defaults, is_compared=True) for name in names]
    if dataclasses.is_dataclass(kind):
        return [
            Field(field.name, field.name if field.init else None, _has_default(field), field.compare)
            for field in dataclasses.fields(kind)
        ]
    attributes = getattr(kind, "__attrs_attrs__", None)
    if attributes is None:
        return None
    nothing = [type(attribute.default).__name__ == "_Nothing" for attribute in attributes]
    return [
        Field(attribute.name, attribute.alias if attribute.init else None, not empty, bool(attribute.eq))
        for attribute, empty in zip(attributes, nothing, strict=True)
    ]


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    missing = dataclasses.MISSING
    return not field.init or field.default is not missing or field.default_factory is not missing


class RecordForm:
    """The form of a class with fields: an object with the fields by their names.

    Args:
        annotation: the class, or a generic one with its arguments.
        kind: the class.
        form_of: returns the form of an annotation: of a field, when the first value is stored, as it may be the class
            itself.
    """

    kinds = _OBJECT
    is_exact = False

    def __init__(self, annotation: Any, kind: Any, form_of: FormOf) -> None:
        self._annotation = annotation
        self._kind = kind
        self._form_of = form_of

    @cached_property
    def _fields(self) -> list[tuple[Field, Form]]:
        hints = hints_of(self._annotation)
        return [(field, self._form_of(hints.get(field.name, Any))) for field in fields_of(self._kind) or ()]

    def to_json(self, value: Any) -> Any:
        """Return the fields."""
        if class_of(value) is not self._kind:
            raise misfit(value, spelled(self._annotation))
        stored: dict[str, Any] = {}
        for field, form in self._fields:
            try:
                stored[field.name] = within(f".{field.name}", form.to_json, getattr(value, field.name))
            except MisfitError:
                if field.is_compared or not field.is_optional:
                    raise
            except AttributeError as error:
                msg = f"has no {field.name}: {error}"
                raise MisfitError(msg) from error
        return stored

    def from_json(self, data: Any) -> Any:
        """Make an object with what was stored; `__init__` gets all that it takes."""
        if class_of(data) is not dict:
            raise unreadable(data, spelled(self._annotation))
        entries: dict[str, Any] = data
        if unknown := entries.keys() - {field.name for field, _ in self._fields}:
            msg = f"has a field that {spelled(self._annotation)} has not: {min(unknown)!r}"
            raise MisfitError(msg)
        values: dict[str, Any] = {}
        for field, form in self._fields:
            if field.name in entries:
                values[field.name] = within(f".{field.name}", form.from_json, entries[field.name])
            elif not field.is_optional:
                msg = f"has no {field.name!r}, which {spelled(self._annotation)} needs; give the field a default"
                raise MisfitError(msg)
        arguments = {field.argument: values[field.name] for field, _ in self._fields if field.name in values}
        made = self._kind(**{name: value for name, value in arguments.items() if name is not None})
        for field, _ in self._fields:
            if field.argument is None and field.name in values:
                object.__setattr__(made, field.name, values[field.name])
        return made


class TypedDictForm:
    """The form of a TypedDict: an object with the keys that are there."""

    kinds = _OBJECT

    def __init__(self, annotation: Any, kind: Any, form_of: FormOf) -> None:
        self._annotation = annotation
        self._kind = kind
        self._form_of = form_of

    is_exact = False  # it may be recursive, so that nobody could tell

    @cached_property
    def _forms(self) -> dict[str, Form]:
        return {name: self._form_of(hint) for name, hint in hints_of(self._annotation).items()}

    @cached_property
    def _required(self) -> set[str]:
        """The keys that must be there; of annotations in quotes only their meaning says so."""
        required: set[str] = set(self._kind.__required_keys__)
        for name, hint in hints_of(self._annotation).items():
            said = qualifiers(hint)
            required = (
                required | {name} if "Required" in said else required - {name} if "NotRequired" in said else required
            )
        return required

    def to_json(self, value: Any) -> Any:
        """Return the items."""
        if class_of(value) is not dict:
            raise misfit(value, spelled(self._annotation))
        self._check(value)
        return {text(name): within(f"[{name!r}]", self._forms[name].to_json, item) for name, item in value.items()}

    def from_json(self, data: Any) -> Any:
        """Return the dict."""
        if class_of(data) is not dict:
            raise unreadable(data, spelled(self._annotation))
        self._check(data)
        return {name: within(f"[{name!r}]", self._forms[name].from_json, item) for name, item in data.items()}

    def _check(self, items: dict[Any, Any]) -> None:
        for key in items:
            if class_of(key) is not str or key not in self._forms:
                msg = f"has a key that {spelled(self._annotation)} has not: {key!r}; add it to the class"
                raise MisfitError(msg)
        if missing := self._required - items.keys():
            msg = f"has no {min(missing)!r}, which {spelled(self._annotation)} needs; pass it, or say NotRequired"
            raise MisfitError(msg)


def hints_of(annotation: Any) -> dict[str, Any]:
    """Return what the annotations of a class mean.

    Raises:
        MisfitError: one of them means nothing.
    """
    try:
        return hints_of_class(annotation)
    except Exception as error:
        msg = f"is {spelled(annotation)}, whose annotations cannot be read: {error}; import what they name"
        raise MisfitError(msg) from error
