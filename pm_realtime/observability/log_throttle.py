"""A throttle for log lines: an event is logged at once, and a repeated one only now and then."""

import logging
import time
from collections.abc import Callable, Hashable
from traceback import walk_tb
from typing import Final

from django.core.exceptions import ImproperlyConfigured

THROTTLE_PERIOD_SECONDS: Final = 60.0
#: Different events that are remembered. The one that was logged first is forgotten first.
MAX_THROTTLED_EVENTS: Final = 1000


class LogThrottle:
    """Counts the events that were not logged. One repeated event is logged once a period."""

    def __init__(
        self,
        *,
        period_seconds: float = THROTTLE_PERIOD_SECONDS,
        max_events: int = MAX_THROTTLED_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period_seconds = period_seconds
        self._max_events = max_events
        self._clock = clock
        self._known: dict[Hashable, tuple[float, int]] = {}

    def note(self, event: Hashable) -> int:
        """Count ``event``. Returns 0 if it was logged less than a period ago.

        Otherwise the caller logs it, and gets the number of events since it was logged last: 1 for
        the first.
        """
        now = self._clock()
        logged_at, count = self._known.get(event, (float("-inf"), 0))
        if now - logged_at < self._period_seconds:
            self._known[event] = (logged_at, count + 1)
            return 0
        self._known.pop(event, None)
        if len(self._known) >= self._max_events:
            del self._known[next(iter(self._known))]
        self._known[event] = (now, 0)
        return count + 1

    def note_error(self, error: BaseException, *context: Hashable) -> int:
        """As :meth:`note`. Errors of one type, raised in one line, are the same event."""
        lines = [(each.f_code.co_filename, line) for each, line in walk_tb(error.__traceback__)]
        return self.note((type(error), tuple(lines[-1:]), context))

    def clear(self) -> None:
        """Forget every event."""
        self._known.clear()


#: The throttle of this process.
throttle: Final = LogThrottle()


def log_failure(logger: logging.Logger, text: str, error: BaseException) -> None:
    """Log an unexpected ``error`` if it is not a repetition: ``text``, or the setting at fault."""
    if isinstance(error, ImproperlyConfigured):
        text, count = str(error), throttle.note((ImproperlyConfigured, str(error)))
    else:
        count = throttle.note_error(error, text)
    if count:
        if count > 1:
            text = f"{text} ({count} times)"
        logger.error("%s", text, exc_info=error)
