"""The state that a client sets for its own member of a room.

At most ten changes a second of a connection in a room reach the store. The latest always does.
"""

import asyncio
import logging
from typing import Final, NamedTuple

from pm_realtime.backends import get_presence_store
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.push import atell_presence
from pm_realtime.rooms.connection import Connection
from pm_realtime.rooms.presence import note_due, own_key

logger = logging.getLogger("pm_realtime.room")

#: Seconds between two changes that reach the store.
MIN_INTERVAL_SECONDS: Final = 0.1
#: Seconds until a change is written again that the store did not take.
RETRY_SECONDS: Final = 1.0


class _Change(NamedTuple):
    #: A JSON text.
    state: str | None
    ttl_seconds: float | None


class OwnState:
    """Belongs to one connection in one room."""

    __slots__ = ("_connection", "_is_busy", "_lock", "_next_at", "_room", "_timer", "_waiting")

    def __init__(self, connection: Connection, room: str) -> None:
        self._connection = connection
        self._room = room
        self._waiting: _Change | None = None
        #: Whether a change is being written, or a timer runs that does it.
        self._is_busy = False
        self._timer: asyncio.TimerHandle | None = None
        #: The earliest time for the next change, of the clock of the event loop.
        self._next_at = 0.0
        self._lock = asyncio.Lock()

    async def set(self, state: str | None, ttl_seconds: float | None) -> None:
        """Write a change now, or once the last one is long enough ago.

        Raises ``BackendError`` if it was to be written now and could not be.
        """
        self._waiting = _Change(state, ttl_seconds)
        if self._is_busy:
            return
        wait = self._next_at - asyncio.get_running_loop().time()
        if wait > 0:
            self._write_after(wait)
        else:
            await self._write()

    async def finish(self) -> None:
        """Write the change that waits: the connection is about to leave the room."""
        self._stop_timer()
        try:
            await self._write()
        except BackendError as error:
            logger.debug("The last state of a connection could not be written: %s", error)
        self._stop_timer()

    async def _write(self) -> None:
        self._is_busy = True
        try:
            async with self._lock:
                change, self._waiting = self._waiting, None
                if change is not None:
                    now = asyncio.get_running_loop().time()
                    self._next_at = now + MIN_INTERVAL_SECONDS
                    await self._set(change)
        finally:
            self._is_busy = False
            if self._waiting is not None:
                self._write_after(MIN_INTERVAL_SECONDS)

    async def _set(self, change: _Change) -> None:
        key = own_key(self._connection, self._room)
        if key is None:  # It may not be seen any more.
            return
        store = get_presence_store()
        must_tell = await store.set_state(self._room, key, *change)
        if must_tell is None:
            raise OutageError(f"The store does not know the member {key} yet.")
        if change.ttl_seconds is not None:
            note_due(change.ttl_seconds)
        if must_tell:
            await atell_presence(self._room)

    def _write_after(self, seconds: float) -> None:
        self._is_busy = True
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin_to_write)

    def _begin_to_write(self) -> None:
        self._timer = None
        self._connection.begin(self._write_late())

    async def _write_late(self) -> None:
        await self._connection.until_certain()
        change = self._waiting
        try:
            await self._write()
        except (BackendError, asyncio.CancelledError) as error:
            # Nobody hears of it, and it may be the last one.
            if self._waiting is None:
                self._waiting = change
            self._stop_timer()
            if isinstance(error, asyncio.CancelledError):
                raise
            self._write_after(RETRY_SECONDS)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def set_own_state(
    connection: Connection, room: str, state: str | None, ttl_seconds: float | None
) -> None:
    """Replace the state, a JSON text, of the member that ``connection`` is in ``room``.

    Raises ``BackendError``.
    """
    own = connection.own_states.get(room)
    if own is None:
        own = connection.own_states[room] = OwnState(connection, room)
    await own.set(state, ttl_seconds)


async def finish_own_state(connection: Connection, room: str) -> None:
    """Write a change that waits, before ``connection`` leaves ``room``."""
    if (own := connection.own_states.pop(room, None)) is not None:
        await own.finish()
