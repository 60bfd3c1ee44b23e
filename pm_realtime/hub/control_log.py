"""The control messages that a process received lately.

A connection that is just joining a group finds here what the group was told meanwhile.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from itertools import takewhile
from typing import Final, NamedTuple

from pm_realtime.layer import ControlMessage, Refresh

MAX_LOGGED_MESSAGES: Final = 10_000


class LoggedControl(NamedTuple):
    """A control message for the members of ``target``; ``at`` is in monotonic seconds."""

    at: float
    target: str
    message: ControlMessage


class ControlLog:
    """Belongs to one event loop; times are monotonic seconds."""

    def __init__(
        self, max_messages: int = MAX_LOGGED_MESSAGES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._messages: deque[LoggedControl] = deque(maxlen=max_messages)
        self._clock = clock

    def add(self, target: str, message: ControlMessage) -> None:
        """Note a control message that has just arrived."""
        self._messages.append(LoggedControl(self._clock(), target, message))

    def since(self, moment: float, groups: Collection[str]) -> list[ControlMessage]:
        """The messages for ``groups`` since ``moment``, in order.

        If some may have been forgotten, a refresh precedes the others.
        """
        since = list(self._newest_first(moment))
        found = [each.message for each in reversed(since) if each.target in groups]
        return [Refresh(), *found] if len(since) == self._messages.maxlen else found

    def has(self, message: ControlMessage, seconds: float) -> bool:
        """Whether ``message`` arrived within the last ``seconds``, for any target."""
        newest_first = self._newest_first(self._clock() - seconds)
        return any(each.message == message for each in newest_first)

    def _newest_first(self, moment: float) -> Iterator[LoggedControl]:
        return takewhile(lambda each: each.at >= moment, reversed(self._messages))
