"""Streams: the log of each group, and the contract of the stores that keep them.

A cursor is the position of a message in its stream: a text of fixed width, made of a time in ms and
a sequence number. Cursors of one stream sort as texts in the stream's order, also after a store has
lost its last writes.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple, Self

#: Messages of one page, and bytes of their texts; a page has at least one message.
MESSAGES_PER_PAGE: Final = 256
BYTES_PER_PAGE: Final = 65536
#: The sequence numbers of one ms end here.
MAX_SEQUENCE: Final = 999_999
#: For how long a stream without new messages keeps the position of its last one.
TOP_TTL_SECONDS: Final = 30 * 86_400
CURSOR_LENGTH: Final = 20


class Position(NamedTuple):
    """A cursor as numbers."""

    ms: int
    sequence: int

    @classmethod
    def read(cls, cursor: str) -> Self:
        """Raises ``ValueError`` for a text that is no cursor."""
        ms, dash, sequence = cursor[:13], cursor[13:14], cursor[14:]
        digits = ms + sequence
        if len(digits) != 19 or dash != "-" or not (digits.isascii() and digits.isdecimal()):
            raise ValueError(f"expected a cursor, got {cursor!r}")
        return cls(int(ms), int(sequence))

    def next(self, now_ms: int) -> Self:
        """The first position after this one, at ``now_ms`` or later."""
        ms, sequence = self
        if now_ms > ms:
            return type(self)(now_ms, 0)
        return type(self)(ms, sequence + 1) if sequence < MAX_SEQUENCE else type(self)(ms + 1, 0)

    def __str__(self) -> str:
        return f"{self.ms:013d}-{self.sequence:06d}"


class Publication(NamedTuple):
    """A message in its stream. ``previous`` is the cursor of the one before it.

    ``exclude`` is the connection that does not get it.
    """

    cursor: str
    previous: str
    text: str
    exclude: str | None = None


class StreamMessage(NamedTuple):
    """A message for a stream, and for how long and among how many others it is kept.

    A ``size`` of 0 keeps nothing: the message has no position.
    """

    group: str
    text: str
    exclude: str | None
    size: int
    ttl_seconds: float
    #: A message of the same key and group was published before if its key is still remembered.
    idempotency_key: str | None = None
    key_ttl_seconds: float = 0
    #: Whether ``text`` is a control message, as ``layer.control_text`` writes it.
    is_control: bool = False
    #: Whether a later one of the connection ``exclude`` may take its place. Then ``size`` is 0.
    is_volatile: bool = False


class Receipt(NamedTuple):
    """The position of a published message; None if its stream keeps nothing."""

    cursor: str | None
    #: Whether it was published before, under the same key, and not again.
    is_repeated: bool = False


class Page(NamedTuple):
    """The messages that follow a cursor, as many as a page holds."""

    publications: Sequence[Publication]
    #: The position of the last message of the stream, or its birth.
    top: str
    #: False if something between the cursor and this page is not kept any more.
    is_whole: bool

    @property
    def is_last(self) -> bool:
        """Whether the page ends at the top of the stream."""
        return not self.publications or self.publications[-1].cursor >= self.top

    @classmethod
    def of(cls, after: str, publications: Sequence[Publication], top: str) -> Self:
        """The page of ``publications``, which are the kept ones that follow ``after``."""
        first = publications[0].previous if publications else top
        return cls(publications, top, first <= after)


class StreamStats(NamedTuple):
    """The counts of a store. None: it cannot tell without reading all of it."""

    streams: int
    messages: int | None
    size_bytes: int | None
    #: False if the store has more than it counted.
    is_complete: bool = True


class Streams(ABC):
    """The streams of all groups. Every method may raise ``BackendError``."""

    #: Whether they are in the memory of this process.
    is_in_process: ClassVar[bool] = False

    @property
    def keeps_messages(self) -> bool:
        """Whether messages have positions. If not, no group has a stream."""
        return True

    @abstractmethod
    async def publish(self, message: StreamMessage) -> Receipt:
        """Append ``message`` to the stream of its group, and send it to the group's members."""

    @abstractmethod
    def publish_from_thread(self, message: StreamMessage) -> Receipt:
        """As :meth:`publish`, from a thread without an event loop."""

    @abstractmethod
    async def get_tops(self, groups: Sequence[str]) -> list[str]:
        """The position of the last message of each group's stream.

        A stream without one is born: messages that follow are later than the returned position.
        """

    @abstractmethod
    async def read(self, group: str, after: str, ttl_seconds: float) -> Page:
        """The messages after the cursor ``after`` that are at most ``ttl_seconds`` old."""

    @abstractmethod
    async def find_start(self, group: str, count: int, ttl_seconds: float) -> str:
        """The cursor after which the last ``count`` messages come, or as many as are kept."""

    async def get_stats(self) -> StreamStats | None:
        """The counts, for a person to look at; None if the store does not count."""
        return None

    async def forget_all(self) -> None:
        """Forget every stream and every key, as a store that came back empty. For tests."""
        raise NotImplementedError(f"{type(self).__name__} cannot forget its streams.")
