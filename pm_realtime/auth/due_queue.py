"""Items and the time at which each is due."""

import heapq
import itertools
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: Replaced entries that are kept before the queue is built anew, beside as many as there are items.
MAX_STALE_ENTRIES: Final = 50


class _Entry(Generic[T]):
    """``item`` is None once the entry was replaced or discarded."""

    __slots__ = ("due_at", "item")

    def __init__(self, due_at: float, item: T) -> None:
        self.due_at = due_at
        self.item: T | None = item


class DueQueue(Generic[T]):
    """At most one time for each item. Nothing keeps a discarded item alive."""

    def __init__(self) -> None:
        self._entries: Final[dict[T, _Entry[T]]] = {}
        #: A number in each row, as entries cannot be compared.
        self._heap: list[tuple[float, int, _Entry[T]]] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """The entries kept, those that were replaced included."""
        return len(self._heap)

    @property
    def next_at(self) -> float | None:
        """The next time at which an item may be due; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def put(self, item: T, due_at: float) -> bool:
        """Have ``item`` due at ``due_at`` and not before. True if nothing else is due earlier."""
        before = self._entries.get(item)
        if before is not None and before.due_at == due_at:
            return False
        self.discard(item)
        if len(self._heap) > 2 * len(self._entries) + MAX_STALE_ENTRIES:
            self._heap = [row for row in self._heap if row[2].item is not None]
            heapq.heapify(self._heap)
        entry = self._entries[item] = _Entry(due_at, item)
        heapq.heappush(self._heap, (due_at, next(self._numbers), entry))
        return self._heap[0][2] is entry

    def discard(self, item: T) -> None:
        """Forget ``item``."""
        entry = self._entries.pop(item, None)
        if entry is not None:
            entry.item = None

    def take_due(self, now: float) -> list[T]:
        """Remove the items that are due at ``now``, the longest due first."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)[2].item
            if item is not None:
                del self._entries[item]
                due.append(item)
        return due
