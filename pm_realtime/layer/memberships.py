"""The groups of an event loop, with their local members."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

M = TypeVar("M")


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
