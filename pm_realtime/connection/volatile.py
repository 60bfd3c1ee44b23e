"""Volatile messages for one slow reader: of each sender to a group only the latest waits.

Not every server says when a client has read something, so a look for room is taken again and again,
ever less often, while messages wait.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from pm_realtime.conf import conf
from pm_realtime.connection.outbox import Outbox
from pm_realtime.connection.sockets import Socket
from pm_realtime.hub import Member, Sender

#: Seconds between two looks for room: at first, and for readers that stay slow.
MIN_PAUSE_SECONDS: Final = 0.005
MAX_PAUSE_SECONDS: Final = 0.2
#: Bytes that a server may keep for a reader that is not slow: uvloop and Twisted write once all
#: that can run has run.
MAX_UNSENT_BYTES: Final = 4096
#: Characters that wait at most, or ``MAX_QUEUE_BYTES`` if that is less. The earliest go first.
MAX_WAITING_LENGTH: Final = 262_144


@dataclass(slots=True, eq=False, repr=False)
class VolatileMessages:
    """Belongs to one connection and its event loop."""

    _connection: Member
    _outbox: Outbox
    _socket: Socket
    _waiting: dict[Sender, str] = field(default_factory=dict)
    _length: int = 0
    _timer: asyncio.TimerHandle | None = None
    _pause_seconds: float = MIN_PAUSE_SECONDS

    def deliver(self, texts: tuple[str, ...], senders: Sequence[Sender]) -> None:
        """Send ``texts``, each of one of ``senders``, now or once there is room. Never waits."""
        if not self._waiting and self._has_room():
            self._connection.deliver_all(texts)
            return
        for sender, text in zip(senders, texts, strict=True):
            self._put(sender, text)
        if self._timer is None and self._waiting:
            self._look_later(MIN_PAUSE_SECONDS)

    def forget(self, group: str) -> None:
        """Drop the messages to ``group``, of which the connection is no member any more."""
        for sender in [each for each in self._waiting if each.group == group]:
            self._drop(sender)

    def _has_room(self) -> bool:
        outbox = self._outbox
        if outbox.waiting_bytes:
            return outbox.is_held
        return self._socket.waiting_bytes <= MAX_UNSENT_BYTES

    def _put(self, sender: Sender, text: str) -> None:
        if sender in self._waiting:
            self._drop(sender)
        self._waiting[sender] = text
        self._length += len(text)
        max_length = min(MAX_WAITING_LENGTH, conf.MAX_QUEUE_BYTES)
        while self._length > max_length:
            self._drop(next(iter(self._waiting)))

    def _drop(self, sender: Sender) -> None:
        self._length -= len(self._waiting.pop(sender))

    def _look_later(self, seconds: float) -> None:
        self._pause_seconds = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._outbox.is_closed:
            self._waiting.clear()
        elif self._waiting and not self._has_room():
            self._look_later(min(2 * self._pause_seconds, MAX_PAUSE_SECONDS))
        elif self._waiting:
            texts, self._length = tuple(self._waiting.values()), 0
            self._waiting.clear()
            self._connection.deliver_all(texts)
