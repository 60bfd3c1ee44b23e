"""The places of connections: what a connection missed, for the one that goes on where it broke off.

While a connection that asked for it is open, its place remembers what it was sent lately, as it may
not have arrived. Once the connection has dropped, its place is in its groups instead of it.
"""

import math
from bisect import bisect_left
from collections.abc import Collection
from typing import NamedTuple
from urllib.parse import parse_qs

from pm_realtime.hub.messages import NEVER_SENT, Message
from pm_realtime.layer import ControlMessage, RefreshRoom, Unsubscribe, room_group

#: Whose place it is: a user and the digest of a session, each None where there is none.
OwnerKey = tuple[int | str | None, str | None]


class ResumePosition(NamedTuple):
    """How far a client has read: on which connection, and how many frames after ``connected``."""

    connection_id: str
    seen: int


def read_resume_position(query: bytes) -> ResumePosition | None:
    """The ``resume`` of a handshake; None where the client does not ask for a place.

    A client without a connection before, or with one that nobody can have had, only asks that a
    place be kept from now on: its ``connection_id`` is empty.
    """
    if b"resume=" not in query:
        return None
    values = parse_qs(query.decode("latin1"), keep_blank_values=True).get("resume")
    if not values:
        return None
    connection_id, _, seen = values[-1].partition(",")
    if not (seen.isascii() and seen.isdigit() and len(seen) < 16):
        return ResumePosition("", 0)
    return ResumePosition(connection_id, int(seen))


class MessageBuffer:
    """Messages for one connection, each with a number that never gets smaller."""

    __slots__ = ("bytes", "messages")

    def __init__(self) -> None:
        #: A list, as most have nothing to keep, and an empty deque is ten times its size.
        self.messages: list[tuple[float, Message]] = []
        self.bytes = 0

    def add(self, number: float, message: Message) -> None:
        self.messages.append((number, message))
        self.bytes += message.size

    def pop(self) -> float:
        """Forget the oldest message; its number."""
        number, message = self.messages.pop(0)
        self.bytes -= message.size
        return number

    def take(self, groups: Collection[str]) -> list[tuple[float, Message]]:
        """The messages of ``groups``, which are not here any more."""
        taken = [each for each in self.messages if each[1].group in groups]
        self._leave([each for each in self.messages if each[1].group not in groups])
        return taken

    def _leave(self, messages: list[tuple[float, Message]]) -> None:
        self.messages = messages
        self.bytes = sum(message.size for _, message in messages)


class ResumeBuffer(MessageBuffer):
    """What one connection was sent lately; after :meth:`keep`, a member that gathers for it."""

    __slots__ = (
        "_lost",
        "_outdated",
        "_taken",
        "_wanted",
        "connection_id",
        "owner_key",
        "successor",
        "until",
    )

    def __init__(self, connection_id: str) -> None:
        super().__init__()
        self.connection_id = connection_id
        #: None while the connection is open, and when nobody is to have this place.
        self.owner_key: OwnerKey | None = None
        #: When it is over, monotonic seconds.
        self.until = math.inf
        #: The connection that goes on here.
        self.successor: str | None = None
        #: The number of the last message that was forgotten.
        self._lost: float = 0
        #: The groups whose messages are gathered; None for all.
        self._wanted: set[str] | None = None
        #: By group that a successor has joined: which, and the last message before it had.
        self._taken: dict[str, tuple[str, int]] | None = None
        #: The connections that went on here and dropped before all was theirs.
        self._outdated: frozenset[str] = frozenset()

    def note(self, number: float, message: Message, limit: int) -> None:
        """A message was sent as the ``number``-th frame; at most ``limit`` bytes are kept."""
        if self._wanted is not None and message.group not in self._wanted:
            return
        # Once for each message and connection: as little as can be.
        self.messages.append((number, message))
        self.bytes += message.size
        while self.bytes > limit:
            self._lost = self.pop()
            if self._wanted is not None:
                self.end()

    def trim(self, oldest: float) -> None:
        """While the connection is open, forget what came before ``oldest``, monotonic seconds."""
        if self._wanted is not None:
            return
        count = bisect_left(self.messages, oldest, key=lambda each: each[1].came_at)
        if count:
            self._lost = self.messages[count - 1][0]
            self._leave(self.messages[count:])

    def keep(self, owner_key: OwnerKey, groups: Collection[str], until: float) -> None:
        """The connection has dropped: gather what comes for ``groups`` until that moment."""
        self.owner_key, self.until, self._wanted = owner_key, until, set(groups)
        self.take({message.group for _, message in self.messages} - self._wanted)

    def give_to(self, successor: str, seen: int, until: float) -> bool:
        """Have another connection go on here, whose client saw the first ``seen`` frames.

        False where more is missing than was kept.
        """
        if seen < self._lost:
            return False
        self.successor, self.until = successor, until
        self._leave([each for each in self.messages if each[0] > seen])
        return True

    def pass_on(self, successor: str, until: float) -> None:
        """The connection that went on here has dropped as well: another gets the rest."""
        if self.owner_key is None or self.successor is None:
            return
        if self._wanted:
            # What has nothing more to give only says for a while who has it: without an end, who
            # comes back all the time would leave a trail of such.
            self.until = until
            self._outdated |= {self.successor}
        self.successor = successor
        self.forget_numbers()

    def forget_numbers(self) -> None:
        """To who goes on they mean nothing: they are of a connection that its client never saw."""
        self.messages = [(NEVER_SENT, message) for _, message in self.messages]

    def hand_over(self, group: str, serial: int) -> list[Message]:
        """What is to be sent to the successor, who has just joined ``group``.

        ``serial`` is that of the last message that the hub has begun to hand out.
        """
        successor = self.successor
        if successor is None or self._wanted is None or group not in self._wanted:
            return []
        self._drop(group)
        self._taken = {**(self._taken or {}), group: (successor, serial)}
        return [
            message.again(number)
            for number, message in self.take({group})
            if message.exclude != successor and message.exclude not in self._outdated
        ]

    def taker_of(self, message: Message) -> str | None:
        """Who joined while ``message`` was being handed out, and so would never get it."""
        if self._taken is None or message.group not in self._taken:
            return None
        taker, serial = self._taken[message.group]
        return taker if message.serial <= serial else None

    def forget(self, group: str) -> None:
        """Nobody is to get what came for ``group``."""
        self._drop(group)
        self.take({group})

    def end(self) -> None:
        """Nobody is to have this place."""
        self.owner_key, self.until, self._wanted = None, -math.inf, set()
        self._taken = None
        self._leave([])

    def is_over(self, now: float) -> bool:
        return self.until <= now

    def _drop(self, group: str) -> None:
        if self._wanted is not None:
            self._wanted.discard(group)
        if self._taken is not None:
            self._taken.pop(group, None)

    def deliver(self, text: str) -> float:
        """As a connection would: see :meth:`note`."""
        return NEVER_SENT

    def deliver_all(self, texts: tuple[str, ...]) -> float:
        return NEVER_SENT

    def receive_control(self, message: ControlMessage) -> None:
        """Whatever may touch rights ends the place, or what it has of the room in question."""
        if isinstance(message, Unsubscribe | RefreshRoom):
            self.forget(room_group(message.room))
        elif message.affects_rights:
            self.end()

    def check_heartbeat(self, deadline: float) -> None:
        pass

    def give_way(self) -> None:
        pass


class ResumeBuffers(dict[str, ResumeBuffer]):
    """The places of the connections of one hub, by connection."""

    def __init__(self) -> None:
        super().__init__()
        #: Those that were given away, by who has them; the oldest first.
        self._given: dict[str, list[ResumeBuffer]] = {}

    def offer(self, connection_id: str) -> None:
        """Remember from now on what an open connection is sent."""
        self[connection_id] = ResumeBuffer(connection_id)

    def find(self, bookmark: ResumePosition) -> tuple[ResumeBuffer, int] | None:
        """Where a client goes on, and how many frames it saw there.

        Where another connection of it has been given the place already, it goes on after that one,
        of which it never heard.
        """
        place, seen = self.get(bookmark.connection_id), bookmark.seen
        while place is not None and place.successor is not None:
            place, seen = self.get(place.successor), 0
        return (place, seen) if place is not None else None

    def discard(self, connection_id: str) -> None:
        """Forget what a connection has, of its own and of another."""
        self.pop(connection_id, None)
        self._given.pop(connection_id, None)

    def give(
        self, place: ResumeBuffer, connection_id: str, owner_key: OwnerKey, seen: int, until: float
    ) -> bool:
        """Have another connection go on at ``place``: see :meth:`ResumeBuffer.give_to`."""
        if place.owner_key != owner_key or not place.give_to(connection_id, seen, until):
            return False
        earlier = self._given.pop(place.connection_id, [])
        earlier = [each for each in earlier if self.get(each.connection_id) is each]
        for each in earlier:
            each.pass_on(connection_id, until)
        self._given[connection_id] = [*earlier, place]
        return True

    def hand_over(self, connection_id: str, group: str, serial: int) -> list[Message]:
        """What a connection gets of the place that it has: see :meth:`ResumeBuffer.hand_over`."""
        places = self._given.get(connection_id, ())
        return [message for place in places for message in place.hand_over(group, serial)]

    def sweep(self, now: float, period: float) -> list[ResumeBuffer]:
        """Forget what is older than ``period`` seconds; the places that are over, to be left."""
        for place in self.values():
            place.trim(now - period)
        return [place for place in self.values() if place.is_over(now)]
