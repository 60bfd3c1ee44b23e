"""A type that a site wrote as an annotation: values of JSON become values of it, and back."""

from typing import Any, Final

import msgspec
import orjson

from pm_realtime.exceptions import RealtimeError
from pm_realtime.protocol import to_json_type

_AT: Final = " - at `$"


class InvalidPayload(RealtimeError):
    """A value does not fit its type. ``path`` is where, as in ``items[0].amount``; "" is all of it.

    ``message`` says what was expected.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path


class PayloadType:
    """The type of a payload. Made by :func:`payload_type`."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation
        self._decoder = msgspec.json.Decoder(annotation)

    def convert(self, value: Any) -> Any:
        """``value``, as JSON has it, as a value of this type. Raises :exc:`InvalidPayload`."""
        try:
            return msgspec.convert(value, self.annotation, str_keys=True)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(_AT)
            raise InvalidPayload(message, path.rstrip("`").lstrip(".")) from None

    def encode(self, value: Any) -> str:
        """The JSON text of ``value``, a value of this type. Raises :exc:`InvalidPayload`."""
        text = orjson.dumps(value, to_json_type)
        try:
            self._decoder.decode(text)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(_AT)
            raise InvalidPayload(message, path.rstrip("`").lstrip(".")) from None
        return text.decode()


def payload_type(annotation: Any) -> PayloadType:
    """The type of an annotation. Raises ``TypeError`` if it cannot be read, with a sentence."""
    return PayloadType(annotation)
