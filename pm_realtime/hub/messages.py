"""The messages of the layer as a hub delivers them."""

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

#: The frame number of a message that was not sent, as the connection had dropped.
NEVER_SENT: Final = math.inf

#: Bytes of messages that a member is given at once, if it is more than one message.
MAX_BURST_BYTES: Final = 65536


class Message(NamedTuple):
    """A push to ``group``, the ``serial``-th message of its hub. ``size`` is in bytes."""

    serial: int
    #: Monotonic seconds.
    arrived_at: float
    group: str
    text: str
    size: int
    exclude: str | None = None

    def resent(self, number: float) -> Self:
        """This message, marked as frame ``number`` of the last connection if it was sent there."""
        if number == NEVER_SENT:
            return self
        return self._replace(text=f'{self.text[:-1]},"resent":{number}}}')


class Burst(NamedTuple):
    """Messages for one group that arrived together."""

    messages: Sequence[Message]
    texts: tuple[str, ...]
    #: The connections that do not get all of them.
    excluded: frozenset[str | None]

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Self:
        texts = tuple(message.text for message in messages)
        return cls(messages, texts, frozenset(message.exclude for message in messages))


def bursts(group: str, pushes: Sequence[Mapping[str, Any]], serial: int) -> Iterator[Burst]:
    """The ``pushes`` to ``group`` as messages, which follow number ``serial``."""
    together: list[Message] = []
    size = 0
    now = time.monotonic()
    for number, push in enumerate(pushes, serial + 1):
        text = push["text"]
        length = len(text) if text.isascii() else len(text.encode())
        if together and size + length > MAX_BURST_BYTES:
            yield Burst.of(together)
            together, size = [], 0
        together.append(Message(number, now, group, text, length, push.get("exclude")))
        size += length
    yield Burst.of(together)


class MessageBuffer:
    """Messages for one connection, each with a frame number that never decreases."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        #: A list: most buffers are empty, and an empty deque is ten times the size.
        self.messages: list[tuple[float, Message]] = []
        self.bytes = 0

    def add(self, number: float, message: Message) -> None:
        self.messages.append((number, message))
        self.bytes += message.size

    def take(self, groups: Collection[str]) -> list[tuple[float, Message]]:
        """Remove and return the messages of ``groups``."""
        taken = [each for each in self.messages if each[1].group in groups]
        self.replace([each for each in self.messages if each[1].group not in groups])
        return taken

    def replace(self, messages: list[tuple[float, Message]]) -> None:
        """Hold ``messages`` instead of the present ones."""
        self.messages = messages
        self.bytes = sum(message.size for _, message in messages)
