"""What server code asked of the members of groups, as a process remembers it for a while.

Who is on its way into a group when an order for it comes finds it here.
"""

import time
from collections import deque
from collections.abc import Collection
from itertools import takewhile
from typing import Any, Final, NamedTuple

#: Orders that are remembered.
MEMORY: Final = 10_000


class Order(NamedTuple):
    """What server code asked of the members of ``target``, and when it was heard."""

    heard_at: float
    target: str
    instruction: str
    arguments: dict[str, Any]


class OrderLog:
    """Belongs to one event loop; times are monotonic seconds."""

    def __init__(self) -> None:
        self._orders: deque[Order] = deque(maxlen=MEMORY)

    def add(self, target: str, instruction: str, arguments: dict[str, Any]) -> None:
        """An order has just been heard."""
        self._orders.append(Order(time.monotonic(), target, instruction, arguments))

    def since(self, moment: float, groups: Collection[str]) -> list[Order]:
        """Those for ``groups`` since ``moment``.

        Where some may have been forgotten, a ``refresh`` stands for them.
        """
        since = list(takewhile(lambda each: each.heard_at >= moment, reversed(self._orders)))
        found = [each for each in reversed(since) if each.target in groups]
        if len(since) == MEMORY:
            return [Order(moment, since[-1].target, "refresh", {}), *found]
        return found
