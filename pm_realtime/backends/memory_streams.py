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
from pm_realtime.texts import size_of

#: The memory of a stream, a message and a key, besides texts.
BYTES_PER_STREAM: Final = 600
BYTES_PER_MESSAGE: Final = 250
BYTES_PER_KEY: Final = 250


#: The digits of a cursor that are its time.
MS_DIGITS: Final = 13
#: In the place of a message that was dropped.
_DROPPED: Final = Publication("", "", "")


class _Stream:
    """The kept messages of a group are ``publications[first:]``; those before were dropped."""

    __slots__ = ("first", "publications", "top", "top_cursor")

    def __init__(self, top: Position) -> None:
        #: A list: pages begin in its middle. Dropped ones are removed many at a time.
        self.publications: list[Publication] = []
        self.first = 0
        self.top, self.top_cursor = top, str(top)

    def __len__(self) -> int:
        return len(self.publications) - self.first

    def index_after(self, cursor: str) -> int:
        return bisect_right(self.publications, cursor, self.first, key=_cursor)

    def drop(self, count: int) -> int:
        """Drop the oldest messages, and return their bytes."""
        dropped, kept = 0, self.publications
        end = self.first + count
        for index in range(self.first, end):
            dropped += _bytes_of(kept[index])
            kept[index] = _DROPPED
        if 2 * end > len(kept):
            del kept[:end]
            end = 0
        self.first = end
        return dropped


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
        return self._is_only_process or not layer.get_adapter().is_remote

    async def publish(self, message: StreamMessage) -> Receipt:
        if (adapter := layer.get_adapter()).is_remote:
            receipt, push = self.append(message)
            if push is not None:
                with self._forgetting_key(message):
                    await layer.asend(message.group, push)
            return receipt
        receipt = self._hand_over(adapter, message, asyncio.get_running_loop())
        await layer.send_handed_over()
        return receipt

    def publish_from_thread(self, message: StreamMessage) -> Receipt:
        if (adapter := layer.get_adapter()).is_remote:
            receipt, push = self.append(message)
            if push is not None:
                with self._forgetting_key(message):
                    layer.send(message.group, push)
            return receipt
        return self._hand_over(adapter, message)

    def _hand_over(
        self,
        adapter: layer.LayerAdapter,
        message: StreamMessage,
        running_loop: asyncio.AbstractEventLoop | None = None,
    ) -> Receipt:
        is_alone = False
        # Under the lock, so that messages are handed over in the order of their streams.
        with self._lock:
            receipt, push = self._append(message)
            if push is not None:
                is_alone = not layer.hand_over(adapter, message.group, push, running_loop)
        if is_alone:
            layer.warn_if_alone()
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
            return [self._use(group).top_cursor for group in groups]

    async def read(self, group: str, after: str, ttl_seconds: float) -> Page:
        with self._lock:
            stream = self._use(group, ttl_seconds)
            kept = stream.publications
            found: list[Publication] = []
            size = 0
            for index in range(stream.index_after(after), len(kept)):
                size += size_of(kept[index].text)
                if found and (len(found) == MESSAGES_PER_PAGE or size > BYTES_PER_PAGE):
                    break
                found.append(kept[index])
            return Page.of(after, found, stream.top_cursor)

    async def find_start(self, group: str, count: int, ttl_seconds: float) -> str:
        with self._lock:
            stream = self._use(group, ttl_seconds)
            count = min(count, len(stream))
            return stream.publications[-count].previous if count else stream.top_cursor

    async def get_stats(self) -> StreamStats:
        with self._lock:
            messages = sum(map(len, self._streams.values()))
            return StreamStats(len(self._streams), messages, self._bytes)

    async def forget_all(self) -> None:
        with self._lock:
            # Streams that are born anew still begin after the last position.
            self._streams.clear()
            self._keys.clear()
            self._bytes = 0

    def _append(self, message: StreamMessage) -> tuple[Receipt, layer.Message | None]:
        group, text, exclude, size, ttl_seconds, key, key_ttl_seconds, is_control, _ = message
        now = self._now()
        if key is not None and (known := self._find_key(group, key, now)) is not None:
            return Receipt(known[0], is_repeated=True), None
        cursor = previous = None
        if size:
            stream = self._use(group)
            previous = stream.top_cursor
            stream.top = position = stream.top.next(now)
            stream.top_cursor = cursor = str(position)
            self._highest = max(self._highest, position)
            publication = Publication(cursor, previous, text, exclude)
            stream.publications.append(publication)
            self._bytes += _bytes_of(publication)
            if (excess := len(stream) - size) > 0:
                self._bytes -= stream.drop(excess)
            self._drop_expired(stream, now - int(ttl_seconds * 1000))
        if key is not None:
            # An expired one may still be there, behind others that are not.
            if self._keys.pop((group, key), None) is None:
                self._bytes += BYTES_PER_KEY
            self._keys[group, key] = (cursor, now + key_ttl_seconds * 1000)
        if self._bytes > (max_bytes := conf.HISTORY_MAX_BYTES):
            self._shrink(max_bytes)
        push = layer.stream_message(
            *(group, text, exclude),
            is_control=is_control,
            is_volatile=message.is_volatile,
            cursor=cursor,
            previous=previous,
        )
        return Receipt(cursor), push

    def _find_key(self, group: str, key: str, now: int) -> tuple[str | None, float] | None:
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
            self._drop_expired(stream, self._now() - int(ttl_seconds * 1000))
        return stream

    def _drop_expired(self, stream: _Stream, oldest_ms: int) -> None:
        """Drop the messages from before ``oldest_ms``."""
        if len(stream) and int(stream.publications[stream.first].cursor[:MS_DIGITS]) < oldest_ms:
            index = bisect_left(
                stream.publications, str(Position(oldest_ms, 0)), stream.first, key=_cursor
            )
            self._bytes -= stream.drop(index - stream.first)

    def _shrink(self, max_bytes: int) -> None:
        """Keep within ``max_bytes``. Keys go last: without them messages are doubled."""
        while self._bytes > max_bytes:
            if not self._streams:
                self._forget_oldest_key()
                continue
            group, stream = next(iter(self._streams.items()))
            if len(stream):
                self._bytes -= stream.drop(1)
            else:
                del self._streams[group]
                self._bytes -= BYTES_PER_STREAM

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _cursor(publication: Publication) -> str:
    return publication.cursor


def _bytes_of(publication: Publication) -> int:
    return BYTES_PER_MESSAGE + size_of(publication.text)


_all: Final[weakref.WeakSet[MemoryStreams]] = weakref.WeakSet()


def _reset_all() -> None:
    for streams in list(_all):
        streams._reset()


after_fork(_reset_all)
