"""What a serializer is."""

from typing import Protocol


class Serializer(Protocol):
    """Turns one value into bytes and back, by the annotation of its parameter.

    Both methods may raise whatever they like: the value is then refused, with the reason.
    """

    @property
    def is_json(self) -> bool:
        """Whether the bytes are one JSON value, which can stand in a row as it is."""
        ...

    def dumps(self, value: object, annotation: object, /) -> bytes:
        """Return the bytes of a value; `annotation` is `typing.Any` where there is none."""
        ...

    def loads(self, data: bytes, annotation: object, /) -> object:
        """Return the value of bytes."""
        ...
