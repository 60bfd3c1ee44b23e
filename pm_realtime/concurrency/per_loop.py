"""What each event loop of a process has of its own."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One thing for each event loop, made by ``make`` at its first use there."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """That of the running loop; those of loops that have ended go."""
        loop = asyncio.get_running_loop()
        found = self._made.get(loop)
        if found is None:
            for other in [other for other in self._made if other.is_closed()]:
                del self._made[other]
            found = self._made[loop] = self._make()
        return found

    def find(self) -> T | None:
        """That of the running loop, where there is one."""
        return self._made.get(asyncio.get_running_loop())

    def drop(self, thing: T) -> None:
        """``thing`` is over: where it is that of the running loop, the next is made anew."""
        loop = asyncio.get_running_loop()
        if self._made.get(loop) is thing:
            del self._made[loop]
