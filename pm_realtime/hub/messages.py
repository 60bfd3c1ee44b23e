"""What comes from the layer for a group, and what of it goes to a member in one go."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

#: The number of what a connection was never sent, as it had dropped.
NEVER_SENT: Final = math.inf

#: Bytes of messages that a member is handed in one go, where it is more than one.
MAX_BYTES: Final = 65536


class Message(NamedTuple):
    """What came from the layer for ``group``, as the ``serial``-th message of its hub."""

    serial: int
    came_at: float
    group: str
    text: str
    size: int
    exclude: str | None = None

    @classmethod
    def of(cls, serial: int, group: str, text: str, exclude: str | None) -> Self:
        """What has come just now."""
        size = len(text) if text.isascii() else len(text.encode())
        return cls(serial, time.monotonic(), group, text, size, exclude)

    def again(self, number: float) -> Self:
        """This message, saying which frame of the last connection it was."""
        if number == NEVER_SENT:
            return self
        return self._replace(text=f'{self.text[:-1]},"resent":{number}}}')


class Burst(NamedTuple):
    """Messages for one group that have come together."""

    messages: Sequence[Message]
    texts: tuple[str, ...]
    #: The connections that are not to get one or the other.
    excluded: frozenset[str | None]

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Self:
        texts = tuple(message.text for message in messages)
        return cls(messages, texts, frozenset(message.exclude for message in messages))


def bursts(group: str, pushes: Sequence[Mapping[str, Any]], serial: int) -> Iterator[Burst]:
    """The ``pushes`` to ``group`` as messages that are counted from ``serial`` on."""
    together: list[Message] = []
    size = 0
    for number, push in enumerate(pushes, serial + 1):
        message = Message.of(number, group, push["text"], push.get("exclude"))
        if together and size + message.size > MAX_BYTES:
            yield Burst.of(together)
            together, size = [], 0
        together.append(message)
        size += message.size
    yield Burst.of(together)
