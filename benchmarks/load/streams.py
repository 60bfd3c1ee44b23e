"""Publishing messages: a number of them in flight, or a number per second."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

from benchmarks.load.tally import Tally

#: Without any delivery for this long, the messages in flight count as lost. A slow server may be
#: busy with a large room for some seconds.
STALL_SECONDS = 10.0
#: Stalls after which a stream ends.
MAX_STALLS = 3


class Stream:
    """Publishes into rooms. A message is done when all members of its room have it.

    ``publish(tally, body)`` sends a message. ``give_up(tally)`` counts missing messages as lost. It
    is called after ``stall_seconds`` without any delivery.
    """

    def __init__(
        self,
        tallies: Sequence[Tally],
        publish: Callable[[Tally, str], None],
        give_up: Callable[[Tally], object],
        stall_seconds: float = STALL_SECONDS,
    ) -> None:
        self.tallies, self._publish, self._give_up = tallies, publish, give_up
        self._stall_seconds = stall_seconds
        self.published = self.under_way = self.done = self.stalls = 0
        self.began = self.ended = self._until = 0.0
        self._idle: deque[Tally] = deque()
        self._is_kept = False
        self._finished = asyncio.get_running_loop().create_future()
        for tally in tallies:
            tally.on_done = self._on_done

    async def keep(self, in_flight: int, seconds: float) -> None:
        """Keep ``in_flight`` messages in flight for ``seconds``, then wait for the last of them.

        Several rooms take turns.
        """
        self._is_kept = True
        self.began = perf_counter()
        self._until = self.began + seconds
        self._idle.extend(list(self.tallies) * max(1, in_flight // len(self.tallies)))
        for _ in range(in_flight):
            self._start(self._idle.popleft())
        await self._wait()

    async def pace(self, rate: float, count: int) -> None:
        """Publish ``count`` messages into the first room, ``rate`` per second."""
        self.began = perf_counter()
        self._until = float("inf")
        for number in range(count):
            await asyncio.sleep(max(0, self.began + number / rate - perf_counter()))
            self._start(self.tallies[0])
        self._until = 0
        if self.under_way:
            await self._wait()
        self.ended = self.ended or perf_counter()

    def _start(self, tally: Tally) -> None:
        self.under_way += 1
        self.published += 1
        self._publish(tally, tally.publish())

    def _on_done(self, tally: Tally, count: int) -> None:
        self.under_way -= count
        self.done += count
        if perf_counter() < self._until:
            for _ in range(count if self._is_kept else 0):
                self._idle.append(tally)
                self._start(self._idle.popleft())
        elif not self.under_way and not self._finished.done():
            self.ended = perf_counter()
            self._finished.set_result(None)

    async def _wait(self) -> None:
        """Return when all messages are done. After a stall, go on without the missing ones."""
        seen, since = -1, perf_counter()
        while not self._finished.done():
            await asyncio.wait([self._finished], timeout=self._stall_seconds / 12)
            now, moved = perf_counter(), sum(map(_progress, self.tallies))
            if moved != seen:
                seen, since = moved, now
            elif now - since > self._stall_seconds:
                self.stalls += 1
                if self.stalls >= MAX_STALLS:
                    self._until = 0
                for tally in self.tallies:
                    self._give_up(tally)
                since = now


def _progress(tally: Tally) -> int:
    return sum(position * count for position, count in tally.at.items())
