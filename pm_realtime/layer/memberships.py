"""The groups of an event loop, with their local members."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class HasConnectionId(Protocol):
    @property
    def connection_id(self) -> str: ...


M = TypeVar("M", bound=HasConnectionId)


@dataclass(slots=True, eq=False)
class Group(Generic[M]):
    """The members of one group by connection id; those ``joining`` get no messages yet.

    ``lock`` is held while the group is added to the layer or discarded. ``is_added`` says whether
    messages for it certainly arrive, and ``is_kept`` whether it stays although it has no members.
    """

    members: dict[str, M] = field(default_factory=dict)
    joining: dict[str, M] = field(default_factory=dict)
    is_added: bool = False
    is_kept: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    use_count: int = 0

    @property
    def has_members(self) -> bool:
        return bool(self.members or self.joining or self.is_kept)


class Groups(dict[str, Group[M]]):
    """Groups by name: those with members, and those that are being joined or left."""

    @contextmanager
    def using(self, name: str) -> Iterator[Group[M]]:
        """The group called ``name``, which stays the same object until the block ends."""
        group = self.get(name)
        if group is None:
            group = self[name] = Group()
        group.use_count += 1
        try:
            yield group
        finally:
            group.use_count -= 1
            if not group.use_count and not group.has_members:
                del self[name]


class Memberships(Generic[M]):
    """The members of an event loop, and the groups of each. The hub tells the layer."""

    def __init__(self) -> None:
        self.groups: Groups[M] = Groups()
        self._members: dict[str, tuple[M, set[str]]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[M]:
        """All members of this moment; they may leave meanwhile."""
        return iter([member for member, _ in self._members.values()])

    def __contains__(self, member: M) -> bool:
        return self.find(member.connection_id) is member

    def add(self, member: M) -> None:
        self._members[member.connection_id] = (member, set())

    def find(self, connection_id: str) -> M | None:
        """The member with this id, None if there is none."""
        known = self._members.get(connection_id)
        return None if known is None else known[0]

    def groups_of(self, connection_id: str) -> frozenset[str]:
        known = self._members.get(connection_id)
        return frozenset() if known is None else frozenset(known[1])

    def remove(self, connection_id: str) -> None:
        """Remove a member that has left all its groups."""
        self._members.pop(connection_id, None)

    def begin(self, member: M, group: str) -> None:
        """Note that ``member`` joins ``group``, and is not live there yet.

        Raises ``LookupError`` if it is gone.
        """
        self._groups_of(member).add(group)
        entry = self.groups[group]
        entry.members.pop(member.connection_id, None)
        entry.joining[member.connection_id] = member

    def enter(self, member: M, group: str) -> None:
        """Make ``member``, which joins ``group``, live. Raises ``LookupError`` if it has left."""
        entry = self.groups.get(group)
        if entry is None or entry.joining.pop(member.connection_id, None) is not member:
            raise LookupError(f"connection {member.connection_id} has left")
        entry.members[member.connection_id] = member

    def is_live(self, member: M, group: str) -> bool:
        """Whether ``member`` is live in ``group``."""
        entry = self.groups.get(group)
        return entry is not None and entry.members.get(member.connection_id) is member

    def leave(self, member: M, group: str) -> bool:
        """Note that ``member`` is not in ``group`` any more; False if it was not."""
        entry, connection_id = self.groups.get(group), member.connection_id
        if entry is None or not (
            entry.members.pop(connection_id, None) or entry.joining.pop(connection_id, None)
        ):
            return False
        self._groups_of(member).discard(group)
        return True

    def _groups_of(self, member: M) -> set[str]:
        known = self._members.get(member.connection_id)
        if known is None or known[0] is not member:
            raise LookupError(f"connection {member.connection_id} is gone")
        return known[1]
