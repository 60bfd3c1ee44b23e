"""Resume buffers: the messages that a connection missed, for the next connection of its client.

While a connection that asked for one is open, its buffer has the messages that it was sent lately,
as they may not have arrived. Once it has dropped, its buffer is in its groups instead of it.
"""

import math
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator
from typing import NamedTuple

from pm_realtime.conf import conf
from pm_realtime.hub.members import Member, OwnerKey, Registry, SilentMember
from pm_realtime.hub.messages import NEVER_SENT, Message, MessageBuffer
from pm_realtime.layer import (
    ControlMessage,
    CookieExpected,
    CookieRenewed,
    RefreshRoom,
    Subscribe,
    Unsubscribe,
    connection_group,
    room_group,
)


class ResumePosition(NamedTuple):
    """How far a client has read: on which connection, and how many frames after ``connected``."""

    connection_id: str
    seen: int


class Resumed(NamedTuple):
    """The result of :meth:`ResumeBuffers.resume`."""

    #: Whether the connection will get all that its client has missed.
    is_whole: bool
    #: The client's last connection, if it is of the same owner: it has dropped or gives way.
    former: str | None


class ResumeBuffer(MessageBuffer, SilentMember):
    """The messages of one connection. After :meth:`keep` it is a member that gathers more."""

    __slots__ = (
        "_earlier_successors",
        "_handed_over",
        "_last_dropped",
        "connection_id",
        "expires_at",
        "groups",
        "owner_key",
        "successor",
    )

    def __init__(self, connection_id: str) -> None:
        super().__init__()
        self.connection_id = connection_id
        #: None while the connection is open, and if no other may get its messages.
        self.owner_key: OwnerKey | None = None
        #: Monotonic seconds.
        self.expires_at = math.inf
        #: The connection that goes on from here.
        self.successor: str | None = None
        #: The number of the last message that was dropped.
        self._last_dropped: float = 0
        #: The groups whose messages are gathered; None while the connection is open.
        self.groups: set[str] | None = None
        #: By group that a successor has joined: that one, and the last serial before it joined.
        self._handed_over: dict[str, tuple[str, int]] = {}
        #: Successors that dropped before they got everything.
        self._earlier_successors: frozenset[str] = frozenset()

    def note(self, number: float, message: Message, max_bytes: int) -> str | None:
        """``message`` was sent as frame ``number``; keep at most ``max_bytes``.

        If another connection joined its group during the fan-out and would not get it, returns the
        id of that. Called for each message and connection.
        """
        groups = self.groups
        if groups is not None:
            successor, serial = self._handed_over.get(message.group, (None, -1))
            if message.serial <= serial:
                return successor
            if message.group not in groups:
                return None
        self.messages.append((number, message))
        self.bytes += message.size
        while self.bytes > max_bytes:
            self._last_dropped, oldest = self.messages.pop(0)
            self.bytes -= oldest.size
            if groups is not None:
                self.end()
        return None

    def trim(self, oldest: float) -> None:
        """Drop what arrived before ``oldest`` (monotonic seconds), if the connection is open."""
        if self.groups is not None:
            return
        count = bisect_left(self.messages, oldest, key=lambda each: each[1].arrived_at)
        if count:
            self._last_dropped = self.messages[count - 1][0]
            self.replace(self.messages[count:])

    def keep(self, owner_key: OwnerKey, groups: Collection[str], expires_at: float) -> None:
        """The connection has dropped: gather the messages of ``groups``."""
        self.owner_key, self.expires_at, self.groups = owner_key, expires_at, set(groups)
        self.take({message.group for _, message in self.messages} - self.groups)

    def give_to(self, successor: str, seen: int, expires_at: float) -> bool:
        """Let another connection go on, whose client has received the first ``seen`` frames.

        False if more is missing than was kept.
        """
        if seen < self._last_dropped:
            return False
        self.successor, self.expires_at = successor, expires_at
        self.replace([each for each in self.messages if each[0] > seen])
        return True

    def pass_on(self, successor: str, expires_at: float) -> None:
        """The successor has dropped as well: another one gets the rest."""
        if self.owner_key is None or self.successor is None:
            return
        if self.groups:
            # An empty buffer only names its successor for a while. If it lived longer, a client
            # that comes back all the time would leave more and more of them.
            self.expires_at = expires_at
            self._earlier_successors |= {self.successor}
        self.successor = successor
        self.forget_numbers()

    def forget_numbers(self) -> None:
        """The successor's client has never seen the connection that the numbers are of."""
        self.messages = [(NEVER_SENT, message) for _, message in self.messages]

    def hand_over(self, group: str, serial: int) -> list[Message]:
        """The messages for the successor, which has just joined ``group``.

        ``serial`` is that of the last message whose fan-out has begun.
        """
        successor = self.successor
        if successor is None or self.groups is None or group not in self.groups:
            return []
        self._drop(group)
        self._handed_over[group] = (successor, serial)
        return [
            message.resent(number)
            for number, message in self.take({group})
            if message.exclude != successor and message.exclude not in self._earlier_successors
        ]

    def forget_group(self, group: str) -> None:
        """Drop the messages of ``group`` and gather no more."""
        self._drop(group)
        self.take({group})

    def end(self) -> None:
        """Drop everything: no connection gets it."""
        self.owner_key, self.expires_at, self.groups = None, -math.inf, set()
        self._handed_over.clear()
        self.replace([])

    def _drop(self, group: str) -> None:
        if self.groups is not None:
            self.groups.discard(group)
        self._handed_over.pop(group, None)

    def receive_control(self, message: ControlMessage) -> None:
        """A message that may end a right ends the buffer, or what it has of the room."""
        if isinstance(message, Unsubscribe | RefreshRoom):
            self.forget_group(room_group(message.room))
        elif not isinstance(message, Subscribe | CookieExpected | CookieRenewed):
            self.end()


class ResumeBuffers:
    """The messages that connections of one hub may have missed, for those that resume them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        #: Those of all connections whose messages are noted, by id; always the same object.
        self.noted: dict[str, ResumeBuffer] = {}
        #: The buffers of earlier connections by their successor, the oldest first.
        self._given: dict[str, list[ResumeBuffer]] = {}

    def begin(self, member: Member) -> None:
        """Note the messages that ``member`` is sent from now on."""
        self.noted[member.connection_id] = ResumeBuffer(member.connection_id)

    def keep(self, member: Member) -> bool:
        """``member`` has dropped: put a buffer in its place that gathers its messages.

        False if nothing is kept for it.
        """
        connection_id, owner_key = member.connection_id, member.owner_key
        buffer = self.noted.get(connection_id)
        if buffer is None or owner_key is None:
            return False
        groups = self._registry.groups_of(connection_id) - {connection_group(connection_id)}
        buffer.keep(owner_key, groups, _expiry())
        self._registry.replace(buffer)
        return True

    def resume(self, member: Member, position: ResumePosition) -> Resumed:
        """Let ``member`` go on where its client has stopped reading."""
        buffer, seen = self.noted.get(position.connection_id), position.seen
        # Another connection, of which the client never heard, may have got the buffer: see its own.
        while buffer is not None and buffer.successor is not None:
            buffer, seen = self.noted.get(buffer.successor), 0
        owner_key = member.owner_key
        if buffer is None or owner_key is None:
            return Resumed(False, None)
        former = self._registry.find(buffer.connection_id)
        if former and former is not buffer and former.owner_key == owner_key and self.keep(former):
            # The server has not noticed yet that it dropped.
            former.give_way()
        if buffer.owner_key != owner_key:
            return Resumed(False, None)
        if not buffer.give_to(member.connection_id, seen, _expiry()):
            return Resumed(False, buffer.connection_id)
        self._give(buffer, member.connection_id)
        if buffer.connection_id != position.connection_id:
            buffer.forget_numbers()
            # Its client may not have received the id of this one either.
            self.noted[position.connection_id].expires_at = buffer.expires_at
        return Resumed(True, buffer.connection_id)

    def _give(self, buffer: ResumeBuffer, successor: str) -> None:
        """Give ``successor`` a buffer, with all that its former connection had not yet got."""
        earlier = [
            each
            for each in self._given.pop(buffer.connection_id, [])
            if self.noted.get(each.connection_id) is each
        ]
        for each in earlier:
            each.pass_on(successor, buffer.expires_at)
        self._given[successor] = [*earlier, buffer]

    def hand_over(self, connection_id: str, group: str, serial: int) -> list[Message]:
        """The messages that a connection missed in ``group``, which it has just joined.

        ``serial`` is that of the last message whose fan-out has begun.
        """
        buffers = self._given.get(connection_id, ())
        return [message for buffer in buffers for message in buffer.hand_over(group, serial)]

    def forget_group(self, connection_id: str, group: str) -> None:
        """A connection has left ``group``: no other gets its messages."""
        if buffer := self.noted.get(connection_id):
            buffer.forget_group(group)

    def forget(self, connection_id: str) -> None:
        """A connection has ended: keep nothing of it."""
        self.noted.pop(connection_id, None)
        self._given.pop(connection_id, None)

    def kept(self) -> list[ResumeBuffer]:
        """The buffers that stand in for connections that have dropped."""
        return [buffer for buffer in self.noted.values() if buffer.groups is not None]

    def sweep(self, now: float) -> None:
        """Drop the messages that are too old at ``now`` (monotonic seconds)."""
        oldest = now - conf.RESUME_PERIOD
        for buffer in self.noted.values():
            buffer.trim(oldest)

    def expired(self) -> Iterator[ResumeBuffer]:
        """The buffers whose time is over at the moment when the iterator reaches them."""
        for buffer in list(self.noted.values()):
            if buffer.expires_at <= time.monotonic():
                yield buffer


def _expiry() -> float:
    return time.monotonic() + conf.RESUME_PERIOD
