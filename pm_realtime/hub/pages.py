"""Pages of streams for members that catch up. What many read within a moment is one read."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from pm_realtime.backends import Page, Position, get_streams
from pm_realtime.concurrency import note_result
from pm_realtime.hub.group_streams import GroupStream
from pm_realtime.hub.messages import Burst, Message

#: Pages that are kept for the next reader, and for how long. A page has at most 64 KiB.
KEPT_PAGES: Final = 16
KEPT_SECONDS: Final = 1.0
#: Reads of one event loop at once.
MAX_READS: Final = 16
#: Before every message.
EARLIEST: Final = str(Position(0, 0))


class Replay(NamedTuple):
    """A page as members get it. ``burst`` is None if it is empty.

    ``start`` is the position after which its messages follow, and ``end`` that of the last one.
    """

    burst: Burst | None
    start: str
    end: str
    is_whole: bool
    #: The bytes of its messages.
    size: int = 0


class PageReader:
    """Belongs to one hub. Its methods raise ``BackendError``."""

    def __init__(self, kept_seconds: float = KEPT_SECONDS) -> None:
        self._kept_seconds = kept_seconds
        self._slots = asyncio.Semaphore(MAX_READS)
        #: Calls by what was asked, the least recently used first.
        self._calls: OrderedDict[Any, asyncio.Task[Any]] = OrderedDict()

    def forget(self) -> None:
        """Read everything anew: the store may have lost something."""
        self._calls.clear()

    async def read(self, stream: GroupStream, after: str) -> Page:
        async with self._slots:
            return await get_streams().read(stream.group, after, stream.ttl_seconds)

    async def replay(self, stream: GroupStream, after: str) -> Replay:
        """The page after the cursor ``after``; the first one if that is no cursor."""

        async def read() -> Replay:
            return _replay(stream.group, after, await self.read(stream, after))

        def is_current(replay: Replay) -> bool:
            return replay.end >= stream.last or replay.burst is not None

        replay: Replay = await self._share((stream.group, after), read, is_current)
        return replay

    async def find_start(self, stream: GroupStream, count: int) -> str:
        """The position after which the last ``count`` messages come."""

        async def find() -> str:
            async with self._slots:
                return await get_streams().find_start(stream.group, count, stream.ttl_seconds)

        # A stream that has not started may have had others since an earlier call.
        key = stream.group, count, stream.last or object()
        start: str = await self._share(key, find, lambda start: True)
        return start

    async def _share(
        self, key: Any, begin: Callable[[], Awaitable[Any]], is_current: Callable[[Any], bool]
    ) -> Any:
        task = self._calls.pop(key, None)
        if task is None or not _is_good(task, is_current):
            task = asyncio.ensure_future(begin())
            task.add_done_callback(note_result)
            loop = asyncio.get_running_loop()
            loop.call_later(self._kept_seconds, self._calls.pop, key, None)
            if len(self._calls) >= KEPT_PAGES:
                self._calls.popitem(last=False)
        self._calls[key] = task
        return await asyncio.shield(task)


def _is_good(task: asyncio.Task[Any], is_current: Callable[[Any], bool]) -> bool:
    """Whether ``task`` is not done yet, or its result is still right."""
    if not task.done():
        return True
    return not task.cancelled() and task.exception() is None and is_current(task.result())


def _replay(group: str, after: str, page: Page) -> Replay:
    if not page.publications:
        return Replay(None, page.top, page.top, page.is_whole)
    messages = [Message.of_stream(group, each, ',"replayed":true') for each in page.publications]
    burst, size = Burst.of(messages), sum(message.size for message in messages)
    start = after if page.is_whole else page.publications[0].previous
    return Replay(burst, start, page.publications[-1].cursor, page.is_whole, size)


def is_cursor(text: str) -> bool:
    try:
        Position.read(text)
    except ValueError:
        return False
    return True
