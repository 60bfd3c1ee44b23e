"""The control messages that a process received lately.

A connection that is just joining a group finds here what the group was told meanwhile.
"""

import time
from collections import deque
from collections.abc import Callable, Collection
from itertools import takewhile
from typing import Final

from pm_realtime.layer import ControlMessage, Refresh

MAX_LOGGED_MESSAGES: Final = 10_000


class ControlLog:
    """Belongs to one event loop; times are monotonic seconds."""

    def __init__(
        self, max_messages: int = MAX_LOGGED_MESSAGES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        #: When each message arrived and for the members of which group, the newest first.
        self._messages: deque[tuple[float, str, ControlMessage]] = deque(maxlen=max_messages)
        self._clock = clock

    def add(self, target: str, message: ControlMessage) -> None:
        """Note a control message that has just arrived."""
        self._messages.appendleft((self._clock(), target, message))

    def since(self, moment: float, groups: Collection[str]) -> list[ControlMessage]:
        """The messages for ``groups`` since ``moment``, in order.

        If some may have been forgotten, a refresh precedes the others.
        """
        since = self._since(moment)
        found = [message for _, target, message in reversed(since) if target in groups]
        return [Refresh(), *found] if len(since) == self._messages.maxlen else found

    def has(self, message: ControlMessage, seconds: float) -> bool:
        """Whether ``message`` arrived within the last ``seconds``, for any target."""
        return any(each == message for _, _, each in self._since(self._clock() - seconds))

    def _since(self, moment: float) -> list[tuple[float, str, ControlMessage]]:
        return list(takewhile(lambda each: each[0] >= moment, self._messages))
