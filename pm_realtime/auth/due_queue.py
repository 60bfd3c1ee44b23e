"""Items and the time at which each is due."""

import heapq
import itertools
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

#: Replaced rows that are kept before the heap is built anew, beside as many as there are items.
MAX_STALE_ROWS: Final = 50


class DueQueue(Generic[T]):
    """At most one time for each item. Nothing keeps a discarded item alive."""

    def __init__(self) -> None:
        #: The time, a number that decides between equal times, and the item: None once replaced.
        self._heap: list[list[Any]] = []
        self._rows: Final[dict[T, list[Any]]] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        """The rows kept, those that were replaced included."""
        return len(self._heap)

    @property
    def next_at(self) -> float | None:
        """The next time at which an item may be due; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def put(self, item: T, due_at: float) -> bool:
        """Have ``item`` due at ``due_at`` and not before. True if nothing else is due earlier."""
        if item in self._rows and self._rows[item][0] == due_at:
            return False
        self.discard(item)
        if len(self._heap) > 2 * len(self._rows) + MAX_STALE_ROWS:
            self._heap = [row for row in self._heap if row[2] is not None]
            heapq.heapify(self._heap)
        row = self._rows[item] = [due_at, next(self._numbers), item]
        heapq.heappush(self._heap, row)
        return self._heap[0] is row

    def discard(self, item: T) -> None:
        """Forget ``item``."""
        if item in self._rows:
            self._rows.pop(item)[2] = None

    def take_due(self, now: float) -> list[T]:
        """Remove the items that are due at ``now``, the longest due first."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)[2]
            if item is not None:
                del self._rows[item]
                due.append(item)
        return due
