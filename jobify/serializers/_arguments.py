"""The arguments of a call as bytes, and back: one by one, by the annotations of the function.

What would not come back as it went is refused when a job is scheduled, not found out at a restart.
"""

import inspect
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from jobify.exceptions import InvalidArgumentsError
from jobify.serializers._annotations import hints_of_class, hints_of_function
from jobify.serializers._form import MisfitError
from jobify.serializers._protocol import Serializer
from jobify.serializers._values import ValueCodec


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
        self._values = ValueCodec(serializer)
        self._positional: list[tuple[str, Any]] | None = None
        self._by_name: dict[str, Any] = {}
        self._rest_positional: Iterable[tuple[str, Any]] = ()
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
        try:
            return msgspec.Raw(self._values.pack(value, hint))
        except MisfitError as error:
            msg = f"cannot store the argument {name!r} of {self._who()}: {error.about(name)}"
            raise InvalidArgumentsError(msg) from error

    def _unpack(self, name: str, hint: Any, raw: msgspec.Raw) -> object:
        try:
            return self._values.unpack(bytes(raw), hint)
        except MisfitError as error:
            msg = f"the stored argument {name!r} does not fit {self._who()} any more: {error.about(name)}"
            raise InvalidArgumentsError(msg) from error

    def _who(self) -> str:
        return f"{getattr(self._function, '__qualname__', repr(self._function))}{self._signature}"

    def _slots(self) -> Iterator[tuple[str, Any]]:
        """Return name and annotation of each positional argument, as many as there may be."""
        if self._positional is None:
            self._positional = self._read_annotations()
        return itertools.chain(self._positional, self._rest_positional)

    def _hint(self, name: str) -> Any:
        if self._positional is None:
            self._positional = self._read_annotations()
        return self._by_name.get(name, self._rest_by_name)

    def _read_annotations(self) -> list[tuple[str, Any]]:
        hints = hints_of_function(self._function)
        positional: list[tuple[str, Any]] = []
        for name, parameter in self._signature.parameters.items():
            hint = hints.get(name, Any)
            if parameter.kind is parameter.VAR_POSITIONAL:
                first, rest = _of_rest(hint)
                positional += [(name, each) for each in first]
                self._rest_positional = itertools.repeat((name, rest))
            elif parameter.kind is parameter.VAR_KEYWORD:
                if typing.get_origin(hint) is typing.Unpack:
                    self._by_name |= hints_of_class(*typing.get_args(hint))
                else:
                    self._rest_by_name = hint
            else:
                if parameter.kind is not parameter.KEYWORD_ONLY:
                    positional.append((name, hint))
                if parameter.kind is not parameter.POSITIONAL_ONLY:
                    self._by_name[name] = hint
        return positional


def _of_rest(hint: Any) -> tuple[tuple[Any, ...], Any]:
    """Return the annotations of the first of `*args`, and of all that follow: `*tuple[int, str]` tells them apart."""
    if typing.get_origin(hint) is typing.Unpack:
        hint = typing.get_args(hint)[0]
    elif not getattr(hint, "__unpacked__", False):
        return (), hint
    args = typing.get_args(hint)
    return ((), args[0]) if args[-1:] and args[-1] is ... else (args, Any)
