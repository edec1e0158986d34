"""What a function has returned as bytes, and back: by the annotation of what it returns."""

import collections.abc
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from jobify._words import in_words
from jobify.exceptions import InvalidArgumentsError
from jobify.serializers._annotations import bare, hints_of_function
from jobify.serializers._form import MisfitError
from jobify.serializers._protocol import Serializer
from jobify.serializers._values import ValueCodec

_AWAITABLE = (collections.abc.Awaitable, collections.abc.Coroutine)


@dataclass(frozen=True, slots=True)
class PackedResult:
    """A result as it can be kept.

    Attributes:
        data: the bytes, which are JSON; None if the result cannot be stored.
        reason: why it cannot be, in words; None if it can.
    """

    data: bytes | None
    reason: str | None = None


class ResultCodec:
    """Stores what one function returns.

    Args:
        function: the function; what it says that it returns is read when the first result is stored.
        signature: of `function`.
        serializer: of single values.
    """

    def __init__(self, function: Callable[..., Any], signature: inspect.Signature, serializer: Serializer) -> None:
        self._function = function
        self._signature = signature
        self._values = ValueCodec(serializer)

    def pack_result(self, value: object) -> PackedResult:
        """Return a result as bytes, or the reason why it has none: that fails nobody's job."""
        try:
            return PackedResult(self._values.pack(value, self._hint))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # whatever it is, the job has succeeded
            return PackedResult(None, f"cannot store the result of {self._who()}: {_why(error)}")

    def unpack_result(self, data: bytes | str) -> object:
        """Return a result that was stored.

        Raises:
            InvalidArgumentsError: it is not of the type that the function returns now.
        """
        try:
            return self._values.unpack(data.encode() if isinstance(data, str) else data, self._hint)
        except Exception as error:
            msg = f"the stored result does not fit {self._who()} any more: {_why(error)}"
            raise InvalidArgumentsError(msg) from error

    def _who(self) -> str:
        return f"{getattr(self._function, '__qualname__', repr(self._function))}{self._signature}"

    @cached_property
    def _hint(self) -> Any:
        hint = bare(hints_of_function(self._function).get("return", Any))
        if typing.get_origin(hint) in _AWAITABLE and not _is_async(self._function):
            return typing.get_args(hint)[-1]  # what the caller awaits
        return hint


def _why(error: BaseException) -> str:
    return error.about("the result") if isinstance(error, MisfitError) else in_words(error)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function)) or inspect.iscoroutinefunction(function)
