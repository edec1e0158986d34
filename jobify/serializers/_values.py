"""One value as JSON that can stand in a row, and back: by a serializer, and checked."""

import base64
import json
from typing import Any

import msgspec

from jobify._words import in_words
from jobify.serializers._comparison import difference
from jobify.serializers._form import MisfitError, class_of
from jobify.serializers._forms import form_of
from jobify.serializers._json import JSONSerializer
from jobify.serializers._protocol import Serializer

_SIMPLE = frozenset({type(None), bool, int, str})
"""Types whose values need no other check than that they can be written."""

_encode = msgspec.json.Encoder().encode


class ValueCodec:
    """Stores single values.

    Args:
        serializer: whose bytes are checked to be what they claim.
    """

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self._is_ours = type(serializer) is JSONSerializer  # whose word alone it is that this can stand in a row

    def pack(self, value: object, hint: Any) -> bytes:
        """Return a value as JSON.

        Raises:
            MisfitError: it would not come back as it is.
        """
        kind = class_of(value)
        if kind is hint and kind in _SIMPLE and self._is_ours:
            try:
                return _encode(value)
            except Exception:  # noqa: BLE001, S110  # the long way says what is wrong
                pass
        try:
            if not self._is_ours:
                return self._in_a_row(self._checked(self._serializer.dumps(value, hint), value, hint))
            form = form_of(hint)
            data = _encode(form.to_json(value))
            return data if form.is_exact else self._checked(data, value, hint)
        except Exception as error:
            raise _told(error, "; use durable=False, or another type") from error

    def _checked(self, data: bytes, value: object, hint: Any) -> bytes:
        found = difference(value, self._serializer.loads(data, hint))
        if found is not None:
            raise found
        return data

    def unpack(self, data: bytes, hint: Any) -> object:
        """Return the value that was stored.

        Raises:
            MisfitError: it does not fit any more.
        """
        try:
            if not self._serializer.is_json:
                data = base64.b64decode(msgspec.json.decode(data, type=str), validate=True)
            return self._serializer.loads(data, hint)
        except Exception as error:
            raise _told(error, "") from error

    def _in_a_row(self, data: bytes) -> bytes:
        if not self._serializer.is_json:
            return b'"' + base64.b64encode(data) + b'"'
        try:
            json.loads(data)
        except ValueError as error:
            msg = f"cannot be stored: the serializer says that it makes JSON, and made {data[:40]!r}"
            raise MisfitError(msg) from error
        return data


def _told(error: Exception, remedy: str) -> MisfitError:
    if isinstance(error, MisfitError):
        return error
    if isinstance(error, RecursionError):
        return MisfitError(f"is nested too deep, or contains itself{remedy}")
    return MisfitError(f"cannot be stored or read: {in_words(error)}{remedy}")
