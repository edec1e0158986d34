"""What annotations mean: of functions and of classes, with the parameters of generic ones filled in."""

import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any


class Unresolved:
    """An annotation that names what is not there when it is read.

    Args:
        source: as it is written.
        reason: why it means nothing.
    """

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = reason


def hints_of_function(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what the annotations of a function mean; one that means nothing spoils no other."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):  # an object with __call__
        function = inspect.unwrap(type(function).__call__)
    function = getattr(function, "__func__", function)
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001  # annotations are the user's code
        return {name: _resolve(function, name, hint) for name, hint in _written(function).items()}


def _resolve(function: Callable[..., Any], name: str, hint: Any) -> Any:
    def alone() -> None: ...

    alone.__annotations__ = {name: hint}
    names = {parameter.__name__: parameter for parameter in getattr(function, "__type_params__", ())}
    try:
        return typing.get_type_hints(alone, getattr(function, "__globals__", {}), names, include_extras=True)[name]
    except Exception as error:  # noqa: BLE001  # annotations are the user's code
        source = hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", repr(hint))
        return Unresolved(source, str(error))


def _written(thing: Any) -> Mapping[str, Any]:
    """Return annotations as they are written, also those that name what is not there."""
    if sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415  # new in 3.14

        return annotationlib.get_annotations(thing, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(thing)


def hints_of_class(annotation: Any) -> dict[str, Any]:
    """Return what the annotations of a class mean, those that it inherits too.

    Args:
        annotation: the class; or a generic one with its arguments, as in `Box[int]`.

    Raises:
        NameError: one of them names what is not there.
    """
    origin: Any = typing.get_origin(annotation) or annotation
    bound: dict[Any, dict[Any, Any]] = {}
    _bind(origin, typing.get_args(annotation), bound)
    try:
        hints = typing.get_type_hints(origin, include_extras=True)
    except NameError:  # a class inside a function that names itself
        hints = typing.get_type_hints(origin, localns={origin.__name__: origin}, include_extras=True)
    if typing.is_typeddict(origin) or not hasattr(origin, "__mro__"):  # it has forgotten what it inherits from whom
        meanings = {parameter: meant for each in bound.values() for parameter, meant in each.items()}
        return {name: fill_in(hint, meanings) for name, hint in hints.items()}
    owner = {name: kind for kind in reversed(origin.__mro__) for name in _written(kind)}
    return {name: fill_in(hint, bound.get(owner.get(name, origin), {})) for name, hint in hints.items()}


def _bind(origin: Any, args: tuple[Any, ...], bound: dict[Any, dict[Any, Any]]) -> None:
    """Note what the type parameters of a class and of its bases stand for."""
    own = dict(zip(getattr(origin, "__parameters__", ()), args, strict=False))
    bound[origin] = own
    bases = vars(origin).get("__orig_bases__", ()) if isinstance(origin, type) else ()
    generic = {typing.get_origin(base): base for base in bases if typing.get_origin(base) is not None}
    for base in getattr(origin, "__bases__", ()):
        if base not in generic:
            _bind(base, (), bound)
    for kind, base in generic.items():
        if kind not in (typing.Generic, typing.Protocol):
            _bind(kind, tuple(fill_in(argument, own) for argument in typing.get_args(base)), bound)


def fill_in(hint: Any, meanings: Mapping[Any, Any]) -> Any:
    """Return an annotation with its type parameters replaced by what they stand for."""
    if isinstance(hint, typing.TypeVar):
        return meanings.get(hint, hint)
    parameters = getattr(hint, "__parameters__", ())
    if isinstance(hint, type) or not any(parameter in meanings for parameter in parameters):
        return hint
    return hint[tuple(meanings.get(parameter, parameter) for parameter in parameters)]


def bare(annotation: Any) -> Any:
    """Return an annotation without what is no part of the type: `Annotated`, `NewType`, `Final`, `Required`..."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is not None and getattr(origin, "__name__", getattr(origin, "_name", None)) in _WRAPPERS:
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return annotation


_WRAPPERS = {"Annotated", "ClassVar", "Final", "NotRequired", "ReadOnly", "Required"}


def qualifiers(annotation: Any) -> set[str]:
    """Return which of `Required` and `NotRequired` an annotation of a TypedDict says."""
    found: set[str] = set()
    while (origin := typing.get_origin(annotation)) is not None:
        name = getattr(origin, "__name__", getattr(origin, "_name", ""))
        if name not in _WRAPPERS:
            break
        found.add(name)
        annotation = typing.get_args(annotation)[0]
    return found


def spelled(annotation: Any) -> str:
    """Return an annotation as people write it, without the modules."""
    if annotation is type(None) or annotation is None:
        return "None"
    args = typing.get_args(annotation)
    if isinstance(annotation, type) and not args:
        return annotation.__qualname__.rpartition("<locals>.")[2]
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and origin.__name__ not in ("Union", "UnionType"):
        inner = ", ".join("..." if argument is ... else spelled(argument) for argument in args)
        return f"{spelled(origin)}[{inner}]"
    return repr(annotation).replace("typing.", "")
