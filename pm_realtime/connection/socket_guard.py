"""The limits of one socket: for frames without a message, for bytes that nobody reads, and for the
time that it stays after its connection has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pm_realtime.conf import conf
from pm_realtime.connection.frames import limit_messages, refuse_compression, watch_frames
from pm_realtime.connection.sockets import Socket
from pm_realtime.connection.timings import ConnectionTimings

#: A server lets so many bytes wait without a word to the application.
MIN_WAITING_BYTES: Final = 262144
#: Seconds in which a client with too much to read has to read some of it.
STALL_SECONDS: Final = 1.0
#: Seconds that a client that has flooded has to read the close frame.
FLOOD_END_SECONDS: Final = 1.0
#: The largest message that the server reads, in units of ``MAX_MESSAGE_BYTES``. One between the two
#: is answered with an error, and the connection stays open.
MAX_MESSAGE_FACTOR: Final = 2


@dataclass(slots=True, eq=False, repr=False)
class SocketGuard:
    """Belongs to one connection.

    ``on_flood`` is called, at most once, for a flood of frames that the server is about to handle.
    """

    socket: Socket
    _timings: ConnectionTimings
    _on_flood: Callable[[], None] | None
    _uncounted: int = 0
    _window_began_at: float = 0.0
    #: The least that has waited since it was too much, and when it last became less.
    _least_waiting: int = 0
    _moved_at: float = 0.0
    _is_ending: bool = False
    _is_ended: bool = False

    def begin(self) -> None:
        """Set the limits of the connection, before its handshake is answered."""
        self.socket.limit_read_buffer()
        self.socket.limit_unread(self._timings.unread_seconds)
        if (protocol := self.socket.protocol) is not None:
            watch_frames(protocol, self._note)
            limit_messages(protocol, MAX_MESSAGE_FACTOR * conf.MAX_MESSAGE_BYTES)
            if not conf.COMPRESSION:
                refuse_compression(protocol)

    def is_stuck(self) -> bool:
        """Whether more than ``MAX_QUEUE_BYTES`` wait and do not become less.

        The application's own messages wait in the outbox, but a server's answers to pings do not,
        and daphne keeps all messages itself.
        """
        waiting = self.socket.waiting_bytes
        if waiting <= MIN_WAITING_BYTES or waiting <= conf.MAX_QUEUE_BYTES:
            self._least_waiting = 0
        elif self._least_waiting and waiting >= self._least_waiting:
            return time.monotonic() - self._moved_at >= STALL_SECONDS
        else:
            self._least_waiting, self._moved_at = waiting, time.monotonic()
        return False

    def check(self) -> None:
        """Drop a socket that the server itself has given up, but that does not close."""
        if self.socket.is_closing:
            self.end()

    def begin_end(self) -> None:
        """The connection is about to end: few frames are still expected."""
        self._on_flood, self._is_ending = None, True

    def end(self) -> None:
        """The connection has ended: drop its socket if the client does not soon."""
        self.begin_end()
        if not self._is_ended:
            self._is_ended = True
            self.socket.abort_after(self._timings.linger_seconds)

    def end_flood(self) -> None:
        """Read nothing more, and drop the socket soon."""
        self.socket.pause_reading()
        self.socket.abort_after(FLOOD_END_SECONDS)

    def _note(self, frames: int, uncounted: int) -> bool:
        """Count the frames of a flood; once the connection is about to end, any."""
        if not (count := frames if self._is_ending else uncounted):
            return False
        now = time.monotonic()
        if now - self._window_began_at >= self._timings.frame_window_seconds:
            self._uncounted, self._window_began_at = 0, now
        self._uncounted += count
        if self._uncounted <= self._timings.max_uncounted_frames:
            return False
        if self._is_ending:
            self.socket.abort()
        elif self._on_flood is not None:
            on_flood, self._on_flood = self._on_flood, None
            on_flood()
        return True
