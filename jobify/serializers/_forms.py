"""From an annotation to the form of its values."""

import collections.abc
import enum
import types
import typing
from functools import lru_cache
from typing import Any

from jobify.serializers._annotations import Unresolved, bare, fill_in, spelled
from jobify.serializers._choices import EnumForm, LiteralForm, UnionForm
from jobify.serializers._collections import ArrayForm, DictForm, TupleForm
from jobify.serializers._form import Form, MisfitError, PlainDictForm, PlainForm, a, class_of, name_of
from jobify.serializers._pydantic import AdaptedForm, ModelForm, is_model, is_of_pydantic
from jobify.serializers._records import RecordForm, TypedDictForm, fields_of
from jobify.serializers._scalars import form_of_class

_PLAIN = PlainForm()
_PLAIN_CLASSES: set[Any] = {type(None), bool, int, float, str}
_ARRAYS: dict[Any, tuple[type, ...]] = {
    list: (list,),
    set: (set,),
    frozenset: (frozenset,),
    collections.abc.Sequence: (list, tuple),
    collections.abc.MutableSequence: (list,),
    collections.abc.Set: (set, frozenset),
    collections.abc.MutableSet: (set,),
    collections.abc.Collection: (list, tuple, set, frozenset),
    collections.abc.Iterable: (list, tuple, set, frozenset),
}
_PLAIN_DICT = PlainDictForm()
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def form_of(annotation: Any) -> Form:
    """Return the form of the values of an annotation; one that is not known takes none."""
    try:
        return _remembered(annotation)
    except TypeError:  # it cannot be hashed
        return _form_of(annotation)


@lru_cache(maxsize=4096)
def _remembered(annotation: Any) -> Form:
    return _form_of(annotation)


def _form_of(annotation: Any) -> Form:
    annotation = bare(annotation)
    if annotation is Any or annotation is object:
        return _PLAIN
    found = form_of_class(type(None) if annotation is None else annotation) or _construct(annotation)
    if found is None:
        args = typing.get_args(annotation)
        kind = typing.get_origin(annotation) or annotation
        if isinstance(kind, type):
            is_empty = annotation == tuple[()]
            found = TupleForm([]) if is_empty else _collection(kind, args) or _class(annotation, kind)
    if found is not None:
        return found
    return AdaptedForm(annotation) if is_of_pydantic(annotation) else UnknownForm(annotation)


def _construct(annotation: Any) -> Form | None:
    """Return the form of an annotation that is no class: an alias, a union, a literal."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, Unresolved):
        return UnresolvedForm(annotation)
    if _is_alias(annotation) or _is_alias(origin):
        return AliasForm(annotation)
    if origin is typing.Literal and len({class_of(value) for value in args}) == 1:
        return LiteralForm([(value, form_of(class_of(value))) for value in args])
    if isinstance(annotation, typing.TypeVar) or origin in (typing.Union, types.UnionType, typing.Literal):
        return _union(annotation)
    return None


def _collection(kind: Any, args: tuple[Any, ...]) -> Form | None:
    if kind is tuple:
        if not args or args[-1] is ...:
            return ArrayForm(tuple, form_of(args[0] if args else Any))
        return TupleForm([form_of(argument) for argument in args])
    if kind in _DICTS:
        return DictForm(*(form_of(argument) for argument in args)) if args else _PLAIN_DICT
    if (classes := _ARRAYS.get(kind)) is None:
        return None
    item = form_of(args[0] if args else Any)
    forms: dict[str, Form] = {each.__name__: ArrayForm(each, item) for each in classes}
    return UnionForm(forms) if len(forms) > 1 else ArrayForm(classes[0], item)


def _class(annotation: Any, kind: Any) -> Form | None:
    if issubclass(kind, enum.Enum):
        return EnumForm(kind)
    if is_model(kind):
        return ModelForm(kind, form_of)
    if hasattr(kind, "__required_keys__"):
        return TypedDictForm(annotation, kind, form_of)
    if fields_of(kind) is not None:
        return RecordForm(annotation, kind, form_of)
    return None


def _union(annotation: Any) -> Form:
    members = dict.fromkeys(_members(annotation))
    covered = _PLAIN_CLASSES if Any in members else {int} if float in members else set[Any]()
    kept = [
        member for member in members if member not in covered
    ]  # the others are taken by that one, and stay the same
    if len(kept) == 1:
        return form_of(*kept)
    names = [_name(member) for member in kept]
    longer = [
        f"{getattr(member, '__module__', '')}.{name}" if names.count(name) > 1 else name
        for member, name in zip(kept, names, strict=True)
    ]
    return UnionForm({name: form_of(member) for name, member in zip(longer, kept, strict=True)})


def _name(member: Any) -> str:
    if typing.get_origin(member) is typing.Literal:  # which is not called another when it has one value more
        return f"Literal[{spelled(type(typing.get_args(member)[0]))}]"
    return spelled(member)


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, and of the unions in it."""
    annotation = bare(annotation)
    if annotation is object:
        return [Any]
    if isinstance(annotation, typing.TypeVar):
        meant: tuple[Any, ...] = annotation.__constraints__ or (annotation.__bound__ or Any,)
        return [member for each in meant for member in _members(each)]
    if _is_alias(annotation) or _is_alias(typing.get_origin(annotation)):
        return _members(_meaning(annotation))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [member for argument in typing.get_args(annotation) for member in _members(argument)]
    if typing.get_origin(annotation) is typing.Literal:
        values = typing.get_args(annotation)
        kinds = dict.fromkeys(class_of(value) for value in values)
        return [typing.Literal[tuple(value for value in values if class_of(value) is kind)] for kind in kinds]
    return [annotation]


def _is_alias(annotation: Any) -> bool:
    return type(annotation).__name__ == "TypeAliasType"


def _meaning(annotation: Any) -> Any:
    """Return what `type Name = ...` stands for."""
    alias = typing.get_origin(annotation) or annotation
    return fill_in(alias.__value__, dict(zip(alias.__type_params__, typing.get_args(annotation), strict=False)))


class AliasForm:
    """The form of `type Name = ...`, which may name itself."""

    is_exact = False  # it may be recursive, so that nobody could tell

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    @property
    def kinds(self) -> frozenset[str]:
        """Those of what it stands for."""
        return self._meant.kinds

    def to_json(self, value: Any) -> Any:
        """Return the form of a value of what it stands for."""
        return self._meant.to_json(value)

    def from_json(self, data: Any) -> Any:
        """Return the value."""
        return self._meant.from_json(data)

    @property
    def _meant(self) -> Form:
        return form_of(_meaning(self._annotation))


class UnknownForm:
    """The form of an annotation that has none."""

    kinds: frozenset[str] = frozenset()
    is_exact = True

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def to_json(self, value: Any) -> Any:
        """Refuse the value."""
        msg = (
            f"is {a(name_of(class_of(value)))}, and there is no form in which {spelled(self._annotation)} is stored; "
            "pass what it can be made of again, such as an id, or use durable=False or serializer=PickleSerializer()"
        )
        raise MisfitError(msg, is_stranger=class_of(value) is not self._annotation)

    def from_json(self, data: Any) -> Any:  # noqa: ARG002  # whatever it is
        """Refuse what is stored."""
        msg = f"cannot be {spelled(self._annotation)}: there is no form in which that is stored"
        raise MisfitError(msg)


class UnresolvedForm(PlainForm):
    """The form of an annotation that means nothing: it is as good as none, and a refusal says why."""

    is_exact = True

    def __init__(self, annotation: Unresolved) -> None:
        self._annotation = annotation

    def to_json(self, value: Any) -> Any:
        """Return the value if it needs no annotation."""
        try:
            return super().to_json(value)
        except MisfitError as error:
            error.reason += (
                f"; its annotation {self._annotation.source!r} means nothing when the task is called: "
                f"{self._annotation.reason}; import that outside of `if TYPE_CHECKING`"
            )
            raise
