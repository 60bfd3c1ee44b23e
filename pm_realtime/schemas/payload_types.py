"""A type that a site wrote as an annotation: values of JSON become values of it, and back."""

from abc import ABC, abstractmethod
from typing import Any, Final

from pm_realtime.exceptions import RealtimeError

#: Characters of a message; those of msgspec and pydantic may hold a value of the client.
MAX_MESSAGE_LENGTH: Final = 300


class InvalidPayload(RealtimeError, ValueError):
    """A value does not fit its type. ``path`` is where, as in ``items[0].amount``; "" is all of it.

    ``message`` says what was expected. A ``ValueError``, so that msgspec adds the path to that of a
    part of a value.
    """

    def __init__(self, message: str, path: str = "") -> None:
        if len(message) > MAX_MESSAGE_LENGTH:
            message = f"{message[:MAX_MESSAGE_LENGTH]}…"
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path


class PayloadType(ABC):
    """The type of a payload. Made by :func:`payload_type`."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    @abstractmethod
    def convert(self, value: Any) -> Any:
        """``value``, as JSON has it, as a value of this type. Raises :exc:`InvalidPayload`."""

    @abstractmethod
    def encode(self, value: Any) -> str:
        """The JSON text of ``value``, a value of this type. Raises :exc:`InvalidPayload`.

        The text has what the type has, and nothing else that an instance of a subclass may hold.
        """


def join_paths(outer: str, inner: str) -> str:
    """The path of ``inner``, which is relative to the value at ``outer``."""
    separator = "." if outer and inner and inner[0] != "[" else ""
    return f"{outer}{separator}{inner}"
