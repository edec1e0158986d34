"""JSON, typed by annotations."""

import msgspec

from jobify.serializers._form import MisfitError
from jobify.serializers._forms import form_of

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class JSONSerializer:
    """Stores values as JSON that people can read, each in the form of its annotation.

    A value must be exactly of the annotated type, all the way down: so it comes back as it went. What has no
    annotation must be JSON already.
    """

    is_json = True

    def dumps(self, value: object, annotation: object, /) -> bytes:
        """Return a value as JSON.

        Raises:
            ValueError: it is not of the annotated type, or there is no form for that.
        """
        return _encode(form_of(annotation).to_json(value))

    def loads(self, data: bytes, annotation: object, /) -> object:
        """Return JSON as a value of the annotated type.

        Raises:
            ValueError: it is not the form of such a value.
        """
        try:
            decoded = _decode(data)
        except msgspec.DecodeError as error:
            msg = f"is no JSON: {error}"
            raise MisfitError(msg) from error
        return form_of(annotation).from_json(decoded)
