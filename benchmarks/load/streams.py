"""Messages going in: as many at a time as may be in flight, or so many a second."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter

from benchmarks.load.tally import Tally

#: Seconds without any delivery after which what is under way counts as lost: a slow server may be
#: busy with a big room for some of them.
STALL = 10.0
#: Stalls after which a stream ends.
MAX_STALLS = 3


class Stream:
    """Publishes into rooms; a message is done when all members of its room have it.

    ``publish(tally, body)`` sends; ``give_up(tally)`` counts as lost what has not come.
    """

    def __init__(
        self,
        tallies: Sequence[Tally],
        publish: Callable[[Tally, str], None],
        give_up: Callable[[Tally], object],
    ) -> None:
        self.tallies, self._publish, self._give_up = tallies, publish, give_up
        self.published = self.under_way = self.done = self.stalls = 0
        self.began = self.ended = self._until = 0.0
        self._idle: deque[Tally] = deque()
        self._is_kept = False
        self._finished = asyncio.get_running_loop().create_future()
        for tally in tallies:
            tally.on_done = self._on_done

    async def keep(self, in_flight: int, seconds: float) -> None:
        """Have ``in_flight`` messages under way for ``seconds``, then wait for the last of them.

        With several rooms they take turns.
        """
        self._is_kept = True
        self.began = perf_counter()
        self._until = self.began + seconds
        self._idle.extend(list(self.tallies) * max(1, in_flight // len(self.tallies)))
        for _ in range(in_flight):
            self._start(self._idle.popleft())
        await self._wait()

    async def pace(self, rate: float, count: int) -> None:
        """Publish ``count`` messages into the first room, ``rate`` a second."""
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
        """Until all is done; where nothing moves any more, go on without what is missing."""
        seen, since = -1, perf_counter()
        while not self._finished.done():
            await asyncio.wait([self._finished], timeout=STALL / 12)
            now, moved = perf_counter(), sum(map(_places, self.tallies))
            if moved != seen:
                seen, since = moved, now
            elif now - since > STALL:
                self.stalls += 1
                if self.stalls >= MAX_STALLS:
                    self._until = 0
                for tally in self.tallies:
                    self._give_up(tally)
                since = now


def _places(tally: Tally) -> int:
    return sum(place * count for place, count in tally.at.items())
