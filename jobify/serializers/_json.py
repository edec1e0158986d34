"""JSON, typed by annotations."""

from functools import lru_cache
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=4096)
def _decoder(annotation: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(annotation)


class JSONSerializer:
    """Stores values as JSON that people can read.

    It knows what msgspec knows: the types of JSON, datetimes, dates, times, timedeltas, UUID, Decimal,
    Enum, bytes, dataclasses, attrs classes, NamedTuple, TypedDict, Struct, and unions and collections of
    these. A datetime keeps its instant and its offset from UTC, not the name of its zone.
    """

    is_json = True

    def dumps(self, value: object, annotation: object, /) -> bytes:  # noqa: ARG002  # a value tells its type itself
        """Return a value as JSON.

        Raises:
            TypeError: JSON has no form for it.
        """
        return _encode(value)

    def loads(self, data: bytes, annotation: object, /) -> object:
        """Return JSON as a value of the annotated type.

        Raises:
            msgspec.ValidationError: it is not a value of that type.
        """
        try:
            decoder = _decoder(annotation)
        except TypeError:  # an annotation that cannot be hashed
            decoder = msgspec.json.Decoder(annotation)
        return decoder.decode(data)
