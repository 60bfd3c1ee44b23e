"""The connections of a hub, as the hub knows them, and the groups they are in."""

from collections.abc import Iterator
from typing import Protocol

from pm_realtime.hub.messages import NEVER_SENT
from pm_realtime.layer import ControlMessage, Groups

#: A user and the digest of a session, each None if there is none.
OwnerKey = tuple[int | str | None, str | None]


class Member(Protocol):
    """A connection. ``tests/contracts/test_hub_members.py`` is the contract."""

    @property
    def connection_id(self) -> str: ...

    @property
    def owner_key(self) -> OwnerKey | None:
        """The owner whose next connection may get the messages that this one misses.

        None if no connection may, and while that is uncertain.
        """

    def deliver(self, text: str) -> float:
        """Send ``text`` without waiting. Returns its number among the frames after ``connected``,
        or ``NEVER_SENT``.
        """

    def deliver_all(self, texts: tuple[str, ...]) -> float:
        """Send several texts, each in a frame of its own. Returns the number of the last."""

    async def until_drained(self) -> None:
        """Return when more can be delivered without much of it waiting; at once if nothing waits.

        Also if the connection has ended.
        """

    def receive_control(self, message: ControlMessage) -> None:
        """Begin to carry out a control message. Never waits."""

    def check_heartbeat(self, deadline: float) -> None:
        """End if the last frame came before ``deadline`` (monotonic seconds).

        Also if the client reads nothing of too much that waits for it.
        """

    def give_way(self) -> None:
        """End: the client goes on with another connection."""


class SilentMember:
    """A member that nothing is sent to."""

    __slots__ = ()

    def deliver(self, text: str) -> float:
        return NEVER_SENT

    def deliver_all(self, texts: tuple[str, ...]) -> float:
        return NEVER_SENT

    async def until_drained(self) -> None:
        pass

    def receive_control(self, message: ControlMessage) -> None:
        pass

    def check_heartbeat(self, deadline: float) -> None:
        pass

    def give_way(self) -> None:
        pass


class ControlSubscriber(SilentMember):
    """Keeps the hub in the group of control messages."""

    connection_id = "control"
    owner_key = None


class Registry:
    """Belongs to one hub; the hub tells the layer."""

    def __init__(self) -> None:
        self.groups: Groups[Member] = Groups()
        self._members: dict[str, tuple[Member, set[str]]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Member]:
        """All members of this moment; they may leave meanwhile."""
        return iter([member for member, _ in self._members.values()])

    def __contains__(self, member: Member) -> bool:
        return self.find(member.connection_id) is member

    def add(self, member: Member) -> None:
        self._members[member.connection_id] = (member, set())

    def find(self, connection_id: str) -> Member | None:
        """The member with this id, None if there is none."""
        known = self._members.get(connection_id)
        return None if known is None else known[0]

    def groups_of(self, connection_id: str) -> frozenset[str]:
        known = self._members.get(connection_id)
        return frozenset() if known is None else frozenset(known[1])

    def remove(self, connection_id: str) -> None:
        """Remove a member that has left all its groups."""
        self._members.pop(connection_id, None)

    def enter(self, member: Member, group: str) -> None:
        """Note that ``member`` is in ``group``. Raises ``LookupError`` if it is gone."""
        if member not in self:
            raise LookupError(f"connection {member.connection_id} is gone")
        self._members[member.connection_id][1].add(group)
        self.groups[group].members[member.connection_id] = member

    def leave(self, member: Member, group: str) -> bool:
        """Note that ``member`` is not in ``group``; False if it was not."""
        entry = self.groups.get(group)
        if entry is None or entry.members.pop(member.connection_id, None) is None:
            return False
        self._members[member.connection_id][1].discard(group)
        return True

    def replace(self, stand_in: Member) -> None:
        """Let ``stand_in`` be in all groups instead of the member with its id."""
        _, groups = self._members[stand_in.connection_id]
        self._members[stand_in.connection_id] = (stand_in, groups)
        for group in groups:
            self.groups[group].members[stand_in.connection_id] = stand_in
