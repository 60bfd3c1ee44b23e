"""Pages of streams for members that catch up. Reads of many within a moment are one read."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from pm_realtime.backends import BYTES_PER_PAGE, Page, Position, get_streams
from pm_realtime.concurrency import Coalescer, note_result
from pm_realtime.conf import conf
from pm_realtime.streams.group_streams import GroupStream
from pm_realtime.streams.joining import Joining
from pm_realtime.streams.messages import Burst, Message, bursts

#: Pages that are kept for the next reader, and for how long. A page has at most 64 KiB.
KEPT_PAGES: Final = 16
KEPT_SECONDS: Final = 1.0
#: Reads of one event loop at once.
MAX_READS: Final = 16
#: Before every message.
EARLIEST: Final = str(Position(0, 0))


class Replay(NamedTuple):
    """A page as members get it, in parts of which at most half a queue waits for a client.

    ``start`` is the position after which its messages follow, and ``end`` that of the last one.
    """

    parts: Sequence[Burst]
    start: str
    end: str
    is_whole: bool
    #: The bytes of its messages.
    size: int = 0


class First(NamedTuple):
    """How a member begins in ``stream``: with ``replay``, or else with what is new.

    ``is_whole`` says whether nothing is missing after ``since``; None without that.
    """

    stream: GroupStream | None
    replay: Replay | None = None
    is_whole: bool | None = None


class PageReader:
    """Belongs to one hub. Its methods raise ``BackendError``."""

    def __init__(self, kept_seconds: float = KEPT_SECONDS) -> None:
        self._kept_seconds = kept_seconds
        self._tops = Coalescer(_get_tops_for_all)
        self._slots = asyncio.Semaphore(MAX_READS)
        #: Calls by what was asked, the least recently used first.
        self._calls: OrderedDict[Any, asyncio.Task[Any]] = OrderedDict()

    async def read_all(
        self,
        joinings: Sequence[Joining],
        streams: Sequence[GroupStream | None],
        start: Callable[[GroupStream, str], None],
    ) -> list[First]:
        """The first pages that are asked for, of all ``streams`` in one round trip.

        ``start`` is called with each stream that has no position yet, and its present one.
        """
        new = [stream for stream in streams if stream is not None and not stream.last]
        starting = self._start_all(new, start)
        if all(each.since is None and each.last is None for each in joinings):
            await starting
            return [First(stream) for stream in streams]
        reads = asyncio.gather(*map(self._read_first, joinings, streams))
        _, firsts = await asyncio.gather(starting, reads)
        return firsts

    async def _start_all(
        self, streams: Sequence[GroupStream], start: Callable[[GroupStream, str], None]
    ) -> None:
        if streams:
            tops = await self._tops.ask(tuple(stream.group for stream in streams))
            for stream, top in zip(streams, tops, strict=True):
                start(stream, top)

    async def _read_first(self, joining: Joining, stream: GroupStream | None) -> First:
        """The first page that ``joining`` asks for."""
        since, last, is_whole = joining.since, joining.last, None
        if stream is None or (since is None and last is None):
            return First(stream)
        if stream.last and since == stream.last:
            return First(stream, Replay((), since, since, True), True)
        if since is not None:
            replay = await self.replay(stream, since if _is_cursor(since) else EARLIEST)
            is_whole = replay.is_whole
            if is_whole or last is None:
                return First(stream, replay, is_whole)
        start = await self._find_start(stream, last or 0)
        return First(stream, await self.replay(stream, start), is_whole)

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
            return replay.end >= stream.last or bool(replay.parts)

        replay: Replay = await self._share((stream.group, after), read, is_current)
        return replay

    async def _find_start(self, stream: GroupStream, count: int) -> str:
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
        return Replay((), page.top, page.top, page.is_whole)
    messages = [Message.of_stream(group, each, ',"replayed":true') for each in page.publications]
    parts = [*bursts(messages, min(BYTES_PER_PAGE, conf.MAX_QUEUE_BYTES // 2))]
    size = sum(message.size for message in messages)
    start = after if page.is_whole else page.publications[0].previous
    return Replay(parts, start, page.publications[-1].cursor, page.is_whole, size)


def _is_cursor(text: str) -> bool:
    try:
        Position.read(text)
    except ValueError:
        return False
    return True


async def _get_tops_for_all(requests: Sequence[tuple[str, ...]]) -> list[list[str]]:
    tops = iter(await get_streams().get_tops([group for groups in requests for group in groups]))
    return [list(islice(tops, len(groups))) for groups in requests]
