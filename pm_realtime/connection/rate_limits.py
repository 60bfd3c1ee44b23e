"""Counters for rates."""

from array import array
from collections.abc import Hashable
from itertools import islice
from typing import Final

from pm_realtime.conf import Rate

#: Rooms with a rate of their own, and commands, of one sender whose windows are known.
MAX_BUCKETS: Final = 500
#: Buckets looked at for each one that is added. More than one, so that the oldest soon go.
BUCKETS_PER_LOOK: Final = 10


class Window:
    """A sliding window. It is exact: it has the times of the last messages."""

    __slots__ = ("_seconds", "_taken")

    def __init__(self) -> None:
        # Arrays take a quarter of a list's memory, and an empty deque takes 700 bytes.
        self._taken = array("d")
        self._seconds = 0

    def take(self, rate: Rate, now: float) -> float:
        """Count a message at ``now`` (seconds). Returns 0, or the seconds until one fits.

        A refused message takes nothing from the window.
        """
        self._seconds = rate.seconds
        _forget(self._taken, rate.seconds, now)
        if len(self._taken) < rate.count:
            self._taken.append(now)
            return 0.0
        return self._taken[len(self._taken) - rate.count] + rate.seconds - now

    @property
    def count(self) -> int:
        """The number of times that are known."""
        return len(self._taken)

    @property
    def ends_at(self) -> float:
        """The time from which on nothing of it counts any more."""
        return self._taken[-1] + self._seconds if self._taken else 0.0


class RateLimiter(Window):
    """The window of all messages of a sender, and those of rooms and commands with own rates."""

    __slots__ = ("__weakref__", "_buckets", "_malformed", "_malformed_since")

    def __init__(self) -> None:
        super().__init__()
        self._malformed = 0
        self._malformed_since = 0.0
        #: By key, the one that was used last at the end; None until there is one.
        self._buckets: dict[Hashable, Window] | None = None

    def take_from(self, bucket: Hashable, rate: Rate, now: float) -> float:
        """Count a message as :meth:`take` does, in the window of ``bucket`` alone."""
        if self._buckets is None:
            self._buckets = {}
        if (window := self._buckets.pop(bucket, None)) is None:
            window = Window()
            self._forget_buckets(now)
        self._buckets[bucket] = window
        return window.take(rate, now)

    def count_malformed(self, rate: Rate, now: float) -> int:
        """Count a malformed frame. Returns how many there were in this window."""
        if now - self._malformed_since >= rate.seconds:
            self._malformed, self._malformed_since = 0, now
        self._malformed += 1
        return self._malformed

    @property
    def has_history(self) -> bool:
        """Whether a new one could let more pass."""
        return bool(self._taken or self._malformed or self._buckets)

    def count_all(self) -> int:
        """The number of times in all windows."""
        return sum(window.count for window in self._windows())

    def history_ends_at(self, malformed_seconds: int) -> float:
        """The time from which on a new one would let no more pass."""
        malformed_until = self._malformed_since + malformed_seconds if self._malformed else 0.0
        return max(malformed_until, *(window.ends_at for window in self._windows()))

    def _windows(self) -> list[Window]:
        return [self, *(self._buckets or {}).values()]

    def _forget_buckets(self, now: float) -> None:
        """Drop the earliest buckets that are over, a few at a time, or if there are too many."""
        assert self._buckets is not None
        for key, window in list(islice(self._buckets.items(), BUCKETS_PER_LOOK)):
            if window.ends_at <= now or len(self._buckets) >= MAX_BUCKETS:
                del self._buckets[key]


class Refusals:
    """The refused messages of one connection. Those of its sender's other connections, which share
    a limiter with it, are not held against it."""

    __slots__ = ("_times",)

    #: Refusals in a window that are never abuse, however low the rate is.
    MIN_ABUSE: Final = 10

    def __init__(self) -> None:
        self._times = array("d")

    def add(self, rate: Rate, now: float) -> bool:
        """Count one at ``now`` (seconds). Returns whether it is abuse: more were refused within one
        window than a whole window lets pass."""
        _forget(self._times, rate.seconds, now)
        self._times.append(now)
        return len(self._times) > max(rate.count, self.MIN_ABUSE)


class Meter:
    """A rate for each of many keys, with one number for each.

    A key has a bucket of ``rate.count`` that fills up evenly over ``rate.seconds``: so many fit at
    once, then one whenever there is room for one more. The ``size`` latest keys are known; a key
    that was forgotten has a full bucket.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        #: When the bucket of each key will be full; the latest key is the last.
        self._full_at: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable, rate: Rate, now: float) -> float:
        """Count one for ``key`` at ``now`` (seconds). Returns 0, or the seconds until one fits.

        A refused one takes nothing from the bucket.
        """
        step = rate.seconds / rate.count
        full_at = min(max(self._full_at.pop(key, now), now), now + rate.seconds)
        wait = full_at + step - rate.seconds - now
        self._full_at[key] = full_at if wait > _ROUNDING_SECONDS else full_at + step
        self._forget(now)
        return wait if wait > _ROUNDING_SECONDS else 0.0

    def clear(self) -> None:
        """Forget all keys."""
        self._full_at.clear()

    def _forget(self, now: float) -> None:
        """Drop the earliest key if its bucket is full, or if there are too many."""
        first = next(iter(self._full_at))
        if self._full_at[first] <= now or len(self._full_at) > self._size:
            del self._full_at[first]


class Penalties:
    """Seconds for which each of many keys is kept out. They double each time, until it is calm."""

    FIRST_SECONDS: Final = 1.0
    #: After so much time without another penalty, the next is the first again.
    CALM_SECONDS: Final = 600.0

    def __init__(self, size: int) -> None:
        self._size = size
        #: The end of the last penalty of each key, and its length; the latest key is the last.
        self._known: dict[Hashable, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def add(self, key: Hashable, now: float, max_seconds: float) -> None:
        """Keep ``key`` out from ``now`` (seconds). Nothing if it is kept out already."""
        end, seconds = self._known.pop(key, (now, 0.0))
        if now >= end:
            is_first = seconds == 0.0 or now - end > self.CALM_SECONDS
            seconds = self.FIRST_SECONDS if is_first else min(2 * seconds, max_seconds)
            end = now + seconds
        self._known[key] = (end, seconds)
        first = next(iter(self._known))
        if now - self._known[first][0] > self.CALM_SECONDS or len(self._known) > self._size:
            del self._known[first]

    def wait(self, key: Hashable, now: float) -> float:
        """The seconds for which ``key`` is still kept out; 0 if it is not."""
        end, _ = self._known.get(key, (now, 0.0))
        return max(0.0, end - now)


_ROUNDING_SECONDS: Final = 1e-6


def _forget(times: "array[float]", seconds: int, now: float) -> None:
    """Drop the ``times`` that are over."""
    over = 0
    # The same sum as in `take`, so that rounding cannot let the two disagree.
    while over < len(times) and times[over] + seconds <= now:
        over += 1
    del times[:over]
