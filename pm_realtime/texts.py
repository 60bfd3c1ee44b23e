"""Texts as a site gives them: also members of enums, and safe or lazy strings of Django."""

import unicodedata
from enum import Enum

from django.utils.functional import Promise


def plain_text(value: object) -> str | None:
    """``value`` as a ``str`` of exactly that type; None if it is no text.

    A member of an enum stands for its value, whatever its ``__str__`` returns.
    """
    if type(value) is str:
        return value
    if isinstance(value, Enum) and isinstance(found := value.value, str):
        value = found
    # By the real type, as a lazy object claims to have the type of the object that it wraps.
    return str.__str__(value) if issubclass(type(value), str) else None


def shown_text(value: object) -> str | None:
    """As :func:`plain_text`, for texts that people read; these may be lazy translations too.

    Half surrogates, which no frame can hold, become question marks.
    """
    text = plain_text(str(value) if isinstance(value, Promise) else value)
    return None if text is None else text.encode(errors="replace").decode()


def is_clean(text: str) -> bool:
    """Whether ``text`` has neither control characters nor half surrogates."""
    return text.isprintable() or not any(unicodedata.category(c) in ("Cc", "Cs") for c in text)


def size_of(text: str) -> int:
    """The bytes of ``text`` in UTF-8. Raises ``UnicodeEncodeError`` for half surrogates."""
    return len(text) if text.isascii() else len(text.encode())
