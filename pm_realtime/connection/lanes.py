"""The lanes of one connection: commands for one room in their order, all others side by side.

Volatile messages of the rooms that it is in have lanes of their own, so that no slow command holds
them up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from pm_realtime.commands import SiteCommand
from pm_realtime.protocol import Command, MessageType

#: Commands of a connection that may wait or run before no more frames are read.
MAX_UNFINISHED_COMMANDS: Final = 100

#: A command: a built-in one, or one of the site.
Item = Command | SiteCommand
#: A room, its volatile messages, or a command about the user.
Key = str | tuple[Literal["volatile"], str] | SiteCommand


class _Lane:
    """Commands that are carried out one after another in one task."""

    __slots__ = ("current", "waiting", "worker")

    def __init__(self, first: Item) -> None:
        #: A list, as an empty deque takes 700 bytes.
        self.waiting: list[Item] = [first]
        self.current: Item | None = None
        self.worker: asyncio.Task[None]

    @property
    def is_under_way(self) -> bool:
        """Whether a command of the site runs: it outlives its connection."""
        return isinstance(self.current, SiteCommand) and self.current.has_begun

    def replace_volatile(self, item: Item) -> bool:
        """Have a volatile message take the place of one that waits: of these, only the latest
        counts. False if there is none."""
        if not _is_volatile(item):
            return False
        for index, each in enumerate(self.waiting):
            if _is_volatile(each):
                self.waiting[index] = item
                return True
        return False


@dataclass(slots=True, eq=False, repr=False)
class Lanes:
    """Belongs to one connection and its event loop. ``handle`` carries out one command."""

    _handle: Callable[[Item], Awaitable[None]]
    _lanes: dict[Key, _Lane] = field(default_factory=dict)
    _unfinished: int = 0
    #: Done when that is not too many any more.
    _not_full: "asyncio.Future[None] | None" = None
    _is_finishing: bool = False

    def __bool__(self) -> bool:
        """Whether a command waits or runs."""
        return bool(self._lanes)

    def is_free(self, key: Key) -> bool:
        """Whether a command for ``key`` need not wait for another."""
        return key not in self._lanes

    def put(self, item: Item, key: Key) -> "asyncio.Task[None] | None":
        """Carry out ``item`` after the commands for ``key`` before it.

        Returns the task that does, if it is the only one. A volatile message takes the place of one
        that waits.
        """
        lane = self._lanes.get(key)
        if lane is not None and lane.replace_volatile(item):
            return None
        self._unfinished += 1
        if lane is not None:
            lane.waiting.append(item)
            return None
        lane = self._lanes[key] = _Lane(item)
        lane.worker = asyncio.get_running_loop().create_task(self._work(key, lane))
        return lane.worker if len(self._lanes) == 1 else None

    def put_site_command(self, command: SiteCommand) -> None:
        """Carry out ``command``, after those for its room before it if it is about one."""
        # While the process stops, the client sends it again to the next one.
        if not self._is_finishing:
            self.put(command, command if command.room is None else command.room)

    @property
    def is_full(self) -> bool:
        return self._unfinished > MAX_UNFINISHED_COMMANDS

    async def until_not_full(self) -> None:
        while self.is_full:
            if self._not_full is None:
                self._not_full = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._not_full)

    async def finish(self, seconds: float, site_seconds: float) -> None:
        """Wait ``seconds`` for the commands, and ``site_seconds`` for those of the site that have
        begun. No others of them begin."""
        self._is_finishing = True
        ends_at = asyncio.get_running_loop().time() + site_seconds
        for lane in self._lanes.values():
            self._drop_site_commands(lane)
        await _wait(self._workers(), seconds)
        under_way = [lane.worker for lane in self._lanes.values() if lane.is_under_way]
        await _wait(under_way, ends_at - asyncio.get_running_loop().time())

    async def finish_messages(self) -> None:
        """After the client's end: carry out its messages to others, drop the rest."""
        unfinished = []
        for lane in self._lanes.values():
            self._drop_site_commands(lane)
            if not any(map(_is_message, lane.waiting)):
                self._keep(lane, [])
            if lane.waiting or not isinstance(lane.current, SiteCommand):
                unfinished.append(lane.worker)
        await _wait(unfinished, None)

    def leave(self) -> "list[asyncio.Task[None]]":
        """Drop all commands that have not begun. Returns the tasks that are to be cancelled.

        Commands of the site that run go on.
        """
        cancelled = []
        for lane in self._lanes.values():
            self._drop_site_commands(lane)
            self._keep(lane, [])
            if not lane.is_under_way:
                cancelled.append(lane.worker)
        return cancelled

    def _drop_site_commands(self, lane: _Lane) -> None:
        """Drop those that have not begun."""
        self._keep(lane, [each for each in lane.waiting if isinstance(each, Command)])
        if isinstance(lane.current, SiteCommand):
            lane.current.drop()

    def _keep(self, lane: _Lane, items: list[Item]) -> None:
        dropped, lane.waiting = len(lane.waiting) - len(items), items
        self._note_end(dropped)

    def _workers(self) -> "list[asyncio.Task[None]]":
        return [lane.worker for lane in self._lanes.values()]

    async def _work(self, key: Key, lane: _Lane) -> None:
        try:
            while lane.waiting:
                lane.current = lane.waiting.pop(0)
                try:
                    await self._handle(lane.current)
                finally:
                    self._note_end(1)
        finally:
            self._keep(lane, [])
            del self._lanes[key]

    def _note_end(self, count: int) -> None:
        self._unfinished -= count
        if self._not_full is not None and not self.is_full:
            if not self._not_full.done():
                self._not_full.set_result(None)
            self._not_full = None


def _is_volatile(item: Item) -> bool:
    return isinstance(item, Command) and item.is_volatile


def _is_message(item: Item) -> bool:
    return isinstance(item, Command) and item.type == MessageType.MESSAGE


async def _wait(tasks: "list[asyncio.Task[None]]", seconds: float | None) -> None:
    if tasks and (seconds is None or seconds > 0):
        await asyncio.wait(tasks, timeout=seconds)
