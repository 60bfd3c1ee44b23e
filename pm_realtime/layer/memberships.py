"""The groups of an event loop, with their local members."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

M = TypeVar("M")


@dataclass(slots=True, eq=False)
class Group(Generic[M]):
    """The members of one group by connection id.

    ``lock`` is held while the group is added to the layer or discarded.
    """

    members: dict[str, M] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    use_count: int = 0


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
            if not group.use_count and not group.members:
                del self[name]
