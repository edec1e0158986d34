"""Pickle, for those who trust their storage as they trust their code."""

import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from jobify._words import in_words
from jobify.serializers._form import MisfitError, a, class_of, name_of

_WARNING = (
    "PickleSerializer runs the code that is in the storage: whoever can write there can do in this process whatever it "
    "can do; say PickleSerializer(trust_storage=True) if only you can, or use the default, which stores JSON"
)


class PickleSerializer:
    """Stores values by `pickle`: any picklable object, whatever the annotations say.

    Warning: unpickling runs code. Whoever can write to the storage, or to a backup that is put back, can run any code
    in the process of the app. Use it only where nobody can write to the storage who may not change the program.

    What is stored also hangs on the modules and the names of classes: a class that was moved or renamed makes its jobs
    unreadable, and they are held.

    Args:
        trust_storage: says that you know that, and have it not warn.
        protocol: of pickle.

    Warns:
        UserWarning: `trust_storage` is not given.
    """

    is_json = False

    def __init__(self, *, trust_storage: bool = False, protocol: int = pickle.DEFAULT_PROTOCOL) -> None:
        if not trust_storage:
            warnings.warn(_WARNING, stacklevel=2)
        self._protocol = protocol

    def dumps(self, value: object, annotation: object, /) -> bytes:  # noqa: ARG002  # a pickle knows its types itself
        """Return a value as a pickle.

        Raises:
            ValueError: a part of it cannot be pickled.
        """
        try:
            return pickle.dumps(value, self._protocol)
        except RecursionError:
            raise
        except Exception as error:
            raise _culprit(value, error, self._pickles) from error

    def loads(self, data: bytes, annotation: object, /) -> object:  # noqa: ARG002  # the same
        """Return the value of a pickle, and run whatever code is in it.

        Raises:
            ValueError: it is none, or names what is not there any more.
        """
        try:
            return pickle.loads(data)  # noqa: S301  # what this class is for, and warns of
        except Exception as error:
            msg = f"cannot be unpickled: {in_words(error)}"
            raise MisfitError(msg) from error

    def _pickles(self, value: object) -> Exception | None:
        """Return why a value cannot be pickled; None if it can."""
        try:
            pickle.dumps(value, self._protocol)
        except Exception as error:  # noqa: BLE001  # whatever the objects of users raise
            return error
        return None


def _culprit(value: object, error: Exception, try_one: Callable[[object], Exception | None]) -> MisfitError:
    """Return the error about the innermost part that cannot be pickled."""
    for step, part in _parts(value):
        if (found := try_one(part)) is not None:
            return _culprit(part, found, try_one).inside(step)
    kind = a(name_of(class_of(value)))
    msg = (
        f"is {kind} that cannot be pickled: {in_words(error)}; pass what it can be made of again, such as a function "
        "that has a name in a module, or use durable=False"
    )
    return MisfitError(msg)


def _parts(value: Any) -> Iterator[tuple[str, object]]:
    kind = class_of(value)
    if issubclass(kind, dict):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif issubclass(kind, list | tuple | set | frozenset):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif not callable(value):
        attributes: dict[str, Any] = getattr(value, "__dict__", {})
        yield from ((f".{name}", item) for name, item in attributes.items())
