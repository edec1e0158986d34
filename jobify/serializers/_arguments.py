"""The arguments of a call as bytes, and back: one by one, by the annotations of the function.

What would not come back as it went is refused when a job is scheduled, not found out at a restart.
"""

import base64
import inspect
import math
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeGuard

import msgspec

from jobify._words import in_words
from jobify.exceptions import InvalidArgumentsError
from jobify.serializers._comparison import culprit, is_dict, is_same
from jobify.serializers._json import JSONSerializer
from jobify.serializers._protocol import Serializer

_OTHERWISE = "use durable=False, or another type"


class _Call(msgspec.Struct):
    """The stored form of a call."""

    args: list[msgspec.Raw]
    kwargs: dict[str, msgspec.Raw]


_read = msgspec.json.Decoder(_Call).decode
_write = msgspec.json.Encoder().encode


class ArgumentsCodec:
    """Stores calls of one function.

    Args:
        function: the function; its annotations are read when the first call is stored, so that they may
            name what is defined later.
        signature: of `function`.
        serializer: of single values.
    """

    def __init__(self, function: Callable[..., Any], signature: inspect.Signature, serializer: Serializer) -> None:
        self._function = function
        self._signature = signature
        self._serializer = serializer
        self._is_same = partial(is_same, dumps=serializer.dumps)
        self._positional: list[tuple[str, Any]] | None = None
        self._by_name: dict[str, Any] = {}
        self._rest_positional: tuple[str, Any] | None = None
        self._rest_by_name: Any = Any

    def pack(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Return the arguments of a call that fits the signature as bytes.

        Raises:
            InvalidArgumentsError: one of them would not come back as it is.
        """
        call = _Call(
            [self._pack(name, value, hint) for (name, hint), value in zip(self._slots(), args, strict=False)],
            {name: self._pack(name, value, self._hint(name)) for name, value in kwargs.items()},
        )
        return _write(call)

    def unpack(self, data: bytes | str) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return the arguments that were stored.

        Raises:
            InvalidArgumentsError: they do not fit the function any more.
        """
        try:
            call = _read(data)
        except msgspec.MsgspecError as error:
            msg = f"cannot read the stored arguments of {self._who()}: {error}"
            raise InvalidArgumentsError(msg) from error
        slots = self._slots()
        args: list[Any] = []
        for raw in call.args:
            name, hint = next(slots, ("one too many", Any))
            args.append(self._unpack(name, hint, raw))
        kwargs = {name: self._unpack(name, self._hint(name), raw) for name, raw in call.kwargs.items()}
        return self.check(tuple(args), kwargs)

    def pack_result(self, value: object) -> bytes:
        """Return what the function has returned as bytes.

        Raises:
            InvalidArgumentsError: it would not come back as it is.
        """
        return bytes(self._pack("return", value, self._return_hint()))

    def unpack_result(self, data: bytes) -> object:
        """Return what the function had returned.

        Raises:
            InvalidArgumentsError: it does not fit the function any more.
        """
        return self._unpack("return", self._return_hint(), msgspec.Raw(data))

    def _return_hint(self) -> Any:
        return _hints(self._function).get("return", Any)

    def check(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return arguments that were stored by an earlier start of the app.

        Raises:
            InvalidArgumentsError: they do not fit the function any more.
        """
        try:
            self._signature.bind(*args, **kwargs)
        except TypeError as error:
            msg = f"the stored arguments do not fit {self._who()} any more: {error}"
            raise InvalidArgumentsError(msg) from None
        return args, kwargs

    def _pack(self, name: str, value: object, hint: Any) -> msgspec.Raw:
        data = b""
        try:
            data = self._serializer.dumps(value, hint)
            back = self._serializer.loads(data, hint)
            if self._is_same(value, back):
                return self._raw(data)
            reason = _in_words(*culprit(value, back, self._is_same), is_annotated=hint is not Any)
        except Exception as error:
            number = _number_without_word(value) if data and self._serializer.is_json else None
            reason = f"{in_words(error)}; {_OTHERWISE}" if number is None else _no_number(number)
            msg = f"cannot store the argument {name!r} of {self._who()}: {reason}"
            raise InvalidArgumentsError(msg) from error
        msg = f"cannot store the argument {name!r} of {self._who()}: {reason}"
        raise InvalidArgumentsError(msg)

    def _raw(self, data: bytes) -> msgspec.Raw:
        if not self._serializer.is_json:
            return msgspec.Raw(b'"' + base64.b64encode(data) + b'"')
        if type(self._serializer) is not JSONSerializer:  # whose word alone it is that this can stand in a row
            msgspec.json.decode(data)
        return msgspec.Raw(data)

    def _unpack(self, name: str, hint: Any, raw: msgspec.Raw) -> object:
        try:
            data = bytes(raw) if self._serializer.is_json else base64.b64decode(bytes(raw)[1:-1])
            return self._serializer.loads(data, hint)
        except Exception as error:
            msg = f"the stored argument {name!r} does not fit {self._who()} any more: {in_words(error)}"
            raise InvalidArgumentsError(msg) from error

    def _who(self) -> str:
        return f"{getattr(self._function, '__qualname__', repr(self._function))}{self._signature}"

    def _slots(self) -> Iterator[tuple[str, Any]]:
        """Return name and annotation of each positional argument, as many as there may be."""
        if self._positional is None:
            self._positional = self._read_annotations()
        yield from self._positional
        while self._rest_positional is not None:
            yield self._rest_positional

    def _hint(self, name: str) -> Any:
        if self._positional is None:
            self._positional = self._read_annotations()
        return self._by_name.get(name, self._rest_by_name)

    def _read_annotations(self) -> list[tuple[str, Any]]:
        hints = _hints(self._function)
        positional: list[tuple[str, Any]] = []
        for name, parameter in self._signature.parameters.items():
            hint = hints.get(name, Any)
            hint = Any if hint is object else hint
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._rest_positional = (name, hint)
            elif parameter.kind is parameter.VAR_KEYWORD:
                self._rest_by_name = hint
            else:
                if parameter.kind is not parameter.KEYWORD_ONLY:
                    positional.append((name, hint))
                if parameter.kind is not parameter.POSITIONAL_ONLY:
                    self._by_name[name] = hint
        return positional


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what the annotations mean; those that cannot be resolved are as good as none."""
    function = inspect.unwrap(function)
    if not inspect.isroutine(function):  # an object with __call__
        function = type(function).__call__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001  # annotations are the user's code
        raw = getattr(function, "__annotations__", {})
        return {name: hint for name, hint in raw.items() if not isinstance(hint, str)}


def _in_words(value: Any, back: Any, *, is_annotated: bool) -> str:
    """Return what has become of the culprit, and what to do."""
    if isinstance(value, float) and not math.isfinite(value):
        return _no_number(value)
    if is_dict(value) and is_dict(back) and (keys := [key for key in value if key not in back]):
        return (
            f"a key would come back as str: {keys[0]!r}; "
            f"annotate the parameter with the types of its keys, as in dict[{type(keys[0]).__name__}, ...]"
        )
    kind, other = type(value).__name__, type(back).__name__
    remedy = "pass a value of the annotated type" if is_annotated else "annotate the parameter with its type"
    if type(value) is type(back):
        return f"a {kind} would come back with other contents; {remedy}"
    if is_annotated:
        remedy = f"pass a value of the annotated type itself, or annotate the parameter with {kind}"
    return f"a {kind} would come back as {other}; {remedy}"


def _no_number(number: float) -> str:
    return f"JSON has no {number}, however the parameter is annotated; {_OTHERWISE}"


def _not_finite(value: Any) -> float | None:
    """Return a number in a value for which JSON has no word; None if there is none."""
    if isinstance(value, float):
        return None if math.isfinite(value) else value
    items: Iterable[Any] = value.values() if is_dict(value) else value if _is_collection(value) else ()
    return next((number for item in items if (number := _not_finite(item)) is not None), None)


def _number_without_word(value: Any) -> float | None:
    try:
        return _not_finite(value)
    except RecursionError:  # it is too deep to be looked through, and that is what is wrong with it
        return None


def _is_collection(value: object) -> TypeGuard[Collection[Any]]:
    return isinstance(value, list | tuple | set | frozenset)
