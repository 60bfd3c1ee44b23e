"""One object for each event loop of a process."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object for each event loop, made by ``make`` when it is first used there."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The object of the running loop. Objects of closed loops are dropped."""
        if (found := self.find()) is None:
            for loop in [loop for loop in self._made if loop.is_closed()]:
                del self._made[loop]
            self.set(found := self._make())
        return found

    def find(self) -> T | None:
        """The object of the running loop; None if there is none yet."""
        return self._made.get(asyncio.get_running_loop())

    def set(self, thing: T) -> None:
        """Make ``thing`` the object of the running loop."""
        self._made[asyncio.get_running_loop()] = thing

    def drop(self, thing: T) -> None:
        """Forget ``thing`` if it is the object of the running loop; the next is made anew."""
        if self.find() is thing:
            del self._made[asyncio.get_running_loop()]
