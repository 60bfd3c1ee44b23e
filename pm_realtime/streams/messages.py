"""Messages on their way from the channel layer, or from a stream, to the members of a hub."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from pm_realtime.backends import Publication
from pm_realtime.texts import size_of

#: Bytes of messages that a member is given at once, if it is more than one message.
MAX_BURST_BYTES: Final = 65536


class Message(NamedTuple):
    """A push to ``group``. ``size`` is in bytes.

    If the group has a stream, ``cursor`` is the position of the message, which its text has too,
    and ``previous`` that of the one before it. For a slow reader, one that ``is_volatile`` takes
    the place of the one before it from the same connection, which is ``exclude``.
    """

    group: str
    text: str
    size: int
    exclude: str | None = None
    cursor: str | None = None
    previous: str = ""
    is_volatile: bool = False

    @property
    def sender(self) -> "Sender":
        """The connection that has sent a volatile message."""
        return Sender(self.group, self.exclude)

    @classmethod
    def of_push(cls, group: str, push: Mapping[str, Any]) -> Self:
        """The message that arrived as ``push``."""
        text, cursor = push["text"], push.get("cursor")
        if cursor is None:
            is_volatile = push.get("volatile") is True
            return cls(group, text, size_of(text), push.get("exclude"), is_volatile=is_volatile)
        text = with_cursor(text, cursor)
        return cls(group, text, size_of(text), push.get("exclude"), cursor, push["previous"])

    @classmethod
    def of_stream(cls, group: str, publication: Publication, more: str = "") -> Self:
        """The message that was read from the stream of ``group``, with ``more`` fields."""
        cursor, previous, text, exclude = publication
        text = with_cursor(text, cursor, more)
        return cls(group, text, size_of(text), exclude, cursor, previous)


class Sender(NamedTuple):
    """A connection whose volatile messages to a group take each other's place."""

    group: str
    connection_id: str | None


def with_cursor(text: str, cursor: str, more: str = "") -> str:
    """The encoded envelope ``text`` with its position and the encoded fields ``more``."""
    return f'{text[:-1]},"cursor":"{cursor}"{more}}}'


class Burst(NamedTuple):
    """Messages for one group that arrived together."""

    messages: Sequence[Message]
    texts: tuple[str, ...]
    #: The connections that do not get all of them.
    excluded: frozenset[str | None]
    #: The senders of the messages if they are volatile, all of them; else none.
    senders: tuple[Sender, ...] = ()

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Self:
        texts = tuple(message.text for message in messages)
        excluded = frozenset(message.exclude for message in messages)
        if not messages[0].is_volatile:
            return cls(messages, texts, excluded)
        return cls(messages, texts, excluded, tuple(message.sender for message in messages))


def bursts(messages: Iterable[Message], max_bytes: int = MAX_BURST_BYTES) -> Iterator[Burst]:
    """``messages``, all for one group, in bursts of at most ``max_bytes``, or of one message.

    Volatile messages are in bursts of their own.
    """
    together: list[Message] = []
    size = 0
    for message in messages:
        is_other = together and message.is_volatile is not together[0].is_volatile
        if is_other or (together and size + message.size > max_bytes):
            yield Burst.of(together)
            together, size = [], 0
        together.append(message)
        size += message.size
    if together:
        yield Burst.of(together)


class HeldMessages:
    """Messages for one connection whose rights are uncertain."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        #: A list: most of these are empty, and an empty deque is ten times the size.
        self.messages: list[Message] = []
        self.bytes = 0

    def add(self, message: Message) -> None:
        """Hold ``message``; a volatile one in the place of the one before it."""
        if message.is_volatile:
            for earlier in self.messages:
                if earlier.is_volatile and earlier.sender == message.sender:
                    self.messages.remove(earlier)
                    self.bytes -= earlier.size
                    break
        self.messages.append(message)
        self.bytes += message.size

    def drop(self, group: str) -> None:
        """Drop the messages of ``group``."""
        self.messages = [message for message in self.messages if message.group != group]
        self.bytes = sum(message.size for message in self.messages)
