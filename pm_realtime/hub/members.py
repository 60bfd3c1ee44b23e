"""The connections of a hub, as the hub knows them, and the groups they are in."""

import logging
from collections.abc import Iterator
from typing import Protocol

from pm_realtime.layer import ControlMessage, Groups

logger = logging.getLogger("pm_realtime.push")


class Member(Protocol):
    """A connection. ``tests/contracts/test_hub_members.py`` is the contract."""

    @property
    def connection_id(self) -> str: ...

    def deliver(self, text: str) -> object:
        """Send ``text`` without waiting."""

    def deliver_all(self, texts: tuple[str, ...]) -> object:
        """Send several texts without waiting, each in a frame of its own."""

    def has_room(self) -> bool:
        """Whether a page can be delivered now: nothing waits, or the handshake is not over."""

    async def until_drained(self) -> None:
        """Return when more can be delivered without much of it waiting; at once if nothing waits.

        Not while its rights are uncertain. Also if the connection has ended.
        """

    def receive_control(self, message: ControlMessage) -> None:
        """Begin to carry out a control message. Never waits."""

    def check_heartbeat(self, deadline: float) -> None:
        """End if the last frame came before ``deadline`` (monotonic seconds).

        Also if the client reads nothing of too much that waits for it.
        """


def hand_control(member: Member, message: ControlMessage) -> None:
    """Hand ``message`` to ``member``; an error in it is logged."""
    try:
        member.receive_control(message)
    except Exception:
        logger.exception("A connection failed at a control message.")


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

    def begin(self, member: Member, group: str) -> None:
        """Note that ``member`` joins ``group``, and is not live there yet.

        Raises ``LookupError`` if it is gone.
        """
        self._groups_of(member).add(group)
        entry = self.groups[group]
        entry.members.pop(member.connection_id, None)
        entry.joining[member.connection_id] = member

    def enter(self, member: Member, group: str) -> None:
        """Make ``member``, which joins ``group``, live. Raises ``LookupError`` if it has left."""
        entry = self.groups.get(group)
        if entry is None or entry.joining.pop(member.connection_id, None) is not member:
            raise LookupError(f"connection {member.connection_id} has left")
        entry.members[member.connection_id] = member

    def is_live(self, member: Member, group: str) -> bool:
        """Whether ``member`` is live in ``group``."""
        entry = self.groups.get(group)
        return entry is not None and entry.members.get(member.connection_id) is member

    def leave(self, member: Member, group: str) -> bool:
        """Note that ``member`` is not in ``group`` any more; False if it was not."""
        entry, connection_id = self.groups.get(group), member.connection_id
        if entry is None or not (
            entry.members.pop(connection_id, None) or entry.joining.pop(connection_id, None)
        ):
            return False
        self._groups_of(member).discard(group)
        return True

    def _groups_of(self, member: Member) -> set[str]:
        known = self._members.get(member.connection_id)
        if known is None or known[0] is not member:
            raise LookupError(f"connection {member.connection_id} is gone")
        return known[1]
