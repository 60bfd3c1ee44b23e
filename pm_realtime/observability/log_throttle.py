"""What comes up again and again is told at once, and then now and then with how often."""

import time
from collections.abc import Hashable
from typing import Final

#: Seconds between two tellings of the same thing.
PERIOD: Final = 60.0
#: Different things that are known; the one that was told first is forgotten first.
MEMORY: Final = 1000


class LogThrottle:
    """How often things came up that nobody was told of."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, int]] = {}

    def note(self, thing: Hashable) -> int:
        """Count ``thing``: how often it came up since it was told last, where it is to be told
        now (1 at first), else 0.
        """
        now = time.monotonic()
        told_at, count = self._known.get(thing, (float("-inf"), 0))
        if now - told_at < PERIOD:
            self._known[thing] = (told_at, count + 1)
            return 0
        self._known.pop(thing, None)
        if len(self._known) >= MEMORY:
            del self._known[next(iter(self._known))]
        self._known[thing] = (now, 0)
        return count + 1

    def note_error(self, error: BaseException, *about: Hashable) -> int:
        """The same for an exception: one of the same type from the same line is the same."""
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = last and (last.tb_frame.f_code.co_filename, last.tb_lineno)
        return self.note((type(error), place, about))

    def clear(self) -> None:
        """Begin anew."""
        self._known.clear()


#: Those of this process.
throttle: Final = LogThrottle()
