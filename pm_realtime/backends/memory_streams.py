"""The streams of one process, in its memory."""

import asyncio
import threading
import time
import weakref
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from pm_realtime import layer
from pm_realtime.backends.streams import (
    BYTES_PER_PAGE,
    MESSAGES_PER_PAGE,
    Page,
    Position,
    Publication,
    Receipt,
    StreamMessage,
    Streams,
    StreamStats,
)
from pm_realtime.concurrency import after_fork
from pm_realtime.conf import conf

#: The memory of a stream, a message and a key, besides texts.
BYTES_PER_STREAM: Final = 600
BYTES_PER_MESSAGE: Final = 250
BYTES_PER_KEY: Final = 250


class _Stream:
    __slots__ = ("publications", "top")

    def __init__(self, top: Position) -> None:
        #: A list: pages begin in its middle.
        self.publications: list[Publication] = []
        self.top = top


class MemoryStreams(Streams):
    """A list for each stream, under one lock. All together have a bound, ``HISTORY_MAX_BYTES``.

    Over it, the streams that were not used for the longest time lose their oldest messages first.
    ``clock`` returns seconds since the epoch.

    Behind a layer that reaches other processes nothing is kept: each process would have cursors of
    its own. Unless ``is_only_process`` says that there is no other one.
    """

    is_in_process = True

    def __init__(
        self, clock: Callable[[], float] = time.time, *, is_only_process: bool = False
    ) -> None:
        self._clock = clock
        self._is_only_process = is_only_process
        self._reset()
        _all.add(self)

    def _reset(self) -> None:
        """Begin anew; in a forked child too, as another thread may have held the lock."""
        self._lock = threading.Lock()
        #: By group, the least recently used first.
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        #: By group and key: the cursor, and when (ms since the epoch) it is forgotten.
        self._keys: OrderedDict[tuple[str, str], tuple[str | None, float]] = OrderedDict()
        self._bytes = 0
        #: The last position of all streams: those that are born anew begin after it.
        self._highest = Position(0, 0)

    @property
    def keeps_messages(self) -> bool:
        return self._is_only_process or not layer.is_remote()

    async def publish(self, message: StreamMessage) -> Receipt:
        if layer.is_remote():
            receipt, push = self.append(message)
            if push is not None:
                with self._forgetting_key(message):
                    await layer.asend(message.group, push)
            return receipt
        # Under the lock, so that messages are handed over in the order of their streams.
        with self._lock:
            receipt, push = self._append(message)
            if push is not None:
                layer.hand_over(message.group, push, asyncio.get_running_loop())
        await layer.send_handed_over()
        return receipt

    def publish_from_thread(self, message: StreamMessage) -> Receipt:
        if layer.is_remote():
            receipt, push = self.append(message)
            if push is not None:
                with self._forgetting_key(message):
                    layer.send(message.group, push)
            return receipt
        with self._lock:
            receipt, push = self._append(message)
            if push is not None:
                layer.hand_over(message.group, push)
        return receipt

    def append(self, message: StreamMessage) -> tuple[Receipt, layer.Message | None]:
        """The receipt for ``message``, and the message for its group; None if it is repeated."""
        with self._lock:
            return self._append(message if self.keeps_messages else message._replace(size=0))

    @contextmanager
    def _forgetting_key(self, message: StreamMessage) -> Iterator[None]:
        """After a failure the message may be sent again under its key."""
        try:
            yield
        except BaseException:
            if (key := message.idempotency_key) is not None:
                with self._lock:
                    if self._keys.pop((message.group, key), None) is not None:
                        self._bytes -= BYTES_PER_KEY
            raise

    async def get_tops(self, groups: Sequence[str]) -> list[str]:
        with self._lock:
            return [str(self._use(group).top) for group in groups]

    async def read(self, group: str, after: str, ttl_seconds: float) -> Page:
        with self._lock:
            stream = self._use(group, ttl_seconds)
            kept = stream.publications
            found: list[Publication] = []
            size = 0
            for index in range(bisect_right(kept, after, key=_cursor), len(kept)):
                size += _size(kept[index].text)
                if found and (len(found) == MESSAGES_PER_PAGE or size > BYTES_PER_PAGE):
                    break
                found.append(kept[index])
            return Page.of(after, found, str(stream.top))

    async def find_start(self, group: str, count: int, ttl_seconds: float) -> str:
        with self._lock:
            stream = self._use(group, ttl_seconds)
            last = stream.publications[-count:] if count else []
            return last[0].previous if last else str(stream.top)

    async def get_stats(self) -> StreamStats:
        with self._lock:
            messages = sum(len(stream.publications) for stream in self._streams.values())
            return StreamStats(len(self._streams), messages, self._bytes)

    async def forget_all(self) -> None:
        with self._lock:
            # What is born anew still begins after the last position.
            self._streams.clear()
            self._keys.clear()
            self._bytes = 0

    def _append(self, message: StreamMessage) -> tuple[Receipt, layer.Message | None]:
        key = message.idempotency_key
        if key is not None and (known := self._find_key(message.group, key)) is not None:
            return Receipt(known[0], is_repeated=True), None
        cursor = previous = None
        if message.size:
            cursor, previous = self._store(message)
        if key is not None:
            expires_at = self._now() + message.key_ttl_seconds * 1000
            self._keys[message.group, key] = (cursor, expires_at)
            self._bytes += BYTES_PER_KEY
        self._shrink()
        group, text, exclude = message.group, message.text, message.exclude
        push = layer.stream_message(
            group, text, exclude, is_control=message.is_control, cursor=cursor, previous=previous
        )
        return Receipt(cursor), push

    def _store(self, message: StreamMessage) -> tuple[str, str]:
        stream = self._use(message.group)
        position = stream.top.next(self._now())
        publication = Publication(str(position), str(stream.top), message.text, message.exclude)
        if stream.publications:
            # Its own cursor is the same text; one object is enough.
            publication = publication._replace(previous=stream.publications[-1].cursor)
        stream.publications.append(publication)
        stream.top = position
        self._highest = max(self._highest, position)
        self._bytes += _bytes_of(publication)
        self._drop_oldest(stream, len(stream.publications) - message.size)
        self._drop_expired(stream, message.ttl_seconds)
        return publication.cursor, publication.previous

    def _find_key(self, group: str, key: str) -> tuple[str | None, float] | None:
        now = self._now()
        while self._keys and next(iter(self._keys.values()))[1] <= now:
            self._forget_oldest_key()
        known = self._keys.get((group, key))
        return known if known is not None and known[1] > now else None

    def _forget_oldest_key(self) -> None:
        self._keys.popitem(last=False)
        self._bytes -= BYTES_PER_KEY

    def _use(self, group: str, ttl_seconds: float | None = None) -> _Stream:
        """The stream of ``group``, born if there is none, without what is too old."""
        stream = self._streams.get(group)
        if stream is None:
            self._highest = self._highest.next(self._now())
            stream = self._streams[group] = _Stream(self._highest)
            self._bytes += BYTES_PER_STREAM
        else:
            self._streams.move_to_end(group)
        if ttl_seconds is not None:
            self._drop_expired(stream, ttl_seconds)
        return stream

    def _drop_expired(self, stream: _Stream, ttl_seconds: float) -> None:
        oldest = str(Position(max(0, int(self._now() - ttl_seconds * 1000)), 0))
        self._drop_oldest(stream, bisect_left(stream.publications, oldest, key=_cursor))

    def _drop_oldest(self, stream: _Stream, count: int) -> None:
        if count > 0:
            self._bytes -= sum(map(_bytes_of, stream.publications[:count]))
            del stream.publications[:count]

    def _shrink(self) -> None:
        """Keep within ``HISTORY_MAX_BYTES``. Keys go last: without them messages are doubled."""
        max_bytes = conf.HISTORY_MAX_BYTES
        while self._bytes > max_bytes:
            if not self._streams:
                self._forget_oldest_key()
                continue
            group, stream = next(iter(self._streams.items()))
            if stream.publications:
                self._drop_oldest(stream, 1)
            else:
                del self._streams[group]
                self._bytes -= BYTES_PER_STREAM

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _cursor(publication: Publication) -> str:
    return publication.cursor


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _bytes_of(publication: Publication) -> int:
    return BYTES_PER_MESSAGE + _size(publication.text)


_all: Final[weakref.WeakSet[MemoryStreams]] = weakref.WeakSet()


def _reset_all() -> None:
    for streams in list(_all):
        streams._reset()


after_fork(_reset_all)
