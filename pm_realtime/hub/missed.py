"""The interface to the messages that connections missed, all that the hub knows of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from pm_realtime.hub.members import Member
from pm_realtime.hub.messages import Message


class ResumePosition(NamedTuple):
    """How far a client has read: on which connection, and how many frames after ``connected``."""

    connection_id: str
    seen: int


class Resumed(NamedTuple):
    """The result of :meth:`MissedMessages.resume`."""

    #: Whether the connection will get all that its client has missed.
    is_whole: bool
    #: The client's last connection, if it is of the same owner: it has dropped or gives way.
    former: str | None


class SentMessages(Protocol):
    """The messages that one connection was sent."""

    def note(self, number: float, message: Message, max_bytes: int) -> str | None:
        """``message`` was sent as frame ``number``; keep at most ``max_bytes``.

        If another connection joined its group during the fan-out and would not get it, returns the
        id of that.
        """


class MissedMessages(Protocol):
    """The messages that connections of one hub may have missed, for those that resume them."""

    @property
    def noted(self) -> Mapping[str, SentMessages]:
        """The connections whose messages are noted, by id; always the same object."""

    def begin(self, member: Member) -> None:
        """Note the messages that ``member`` is sent from now on."""

    def keep(self, member: Member) -> bool:
        """``member`` has dropped: put a member in its place that gathers its messages.

        False if nothing is kept for it.
        """

    def resume(self, member: Member, position: ResumePosition) -> Resumed:
        """Let ``member`` go on where its client has stopped reading."""

    def hand_over(self, connection_id: str, group: str, serial: int) -> Sequence[Message]:
        """The messages that a connection missed in ``group``, which it has just joined.

        ``serial`` is that of the last message whose fan-out has begun.
        """

    def forget_group(self, connection_id: str, group: str) -> None:
        """A connection has left ``group``: no other gets its messages."""

    def forget(self, connection_id: str) -> None:
        """A connection has ended: keep nothing of it."""

    def kept(self) -> Sequence[Member]:
        """The members that stand in for connections that have dropped."""

    def sweep(self, now: float) -> None:
        """Drop the messages that are too old at ``now`` (monotonic seconds)."""

    def expired(self) -> Iterator[Member]:
        """The stand-ins whose time is over at the moment when the iterator reaches them."""
