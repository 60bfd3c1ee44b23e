"""The signals ``arrived`` and ``departed``, each sent by the one process that found it out."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from django.dispatch import Signal

from pm_realtime import signals
from pm_realtime.auth import anonymous, find_users, run_in_pool
from pm_realtime.backends import Arrival, Departure
from pm_realtime.concurrency import PerLoop, note_result
from pm_realtime.observability import log_failure
from pm_realtime.rooms.site_code import run_site_code, site_threads

logger = logging.getLogger("pm_realtime.room")

#: Signals of an event loop that are sent at the same time.
MAX_SENDINGS: Final = 8


class PresenceSignals:
    """Belongs to one event loop. The signals of one member are sent in their order."""

    def __init__(self) -> None:
        self._slots: Final = asyncio.Semaphore(MAX_SENDINGS)
        #: By room and key.
        self._last: Final[dict[tuple[str, str], asyncio.Task[None]]] = {}
        self._searches: Final[set[asyncio.Task[None]]] = set()

    def tell_arrival(self, room: str, key: str, user: Any) -> None:
        """Send ``arrived``, beside what the caller goes on with."""
        logger.debug("%r has come to %r.", key, room, extra={"room": room})
        self._begin(signals.arrived, room, key, user=user)

    async def tell_departure(self, departure: Departure, user: Any) -> None:
        """Send ``departed``, and wait until it was."""
        if (task := self._begin_departure(departure, user)) is not None:
            await asyncio.shield(task)

    def tell_all(self, found: Sequence[Departure | Arrival]) -> None:
        """Send the signal of each of ``found``, beside what the caller goes on with."""
        both = (signals.departed, signals.arrived)
        if found and any(signal.has_listeners(None) for signal in both):
            task = asyncio.get_running_loop().create_task(self._find_users_and_tell(found))
            self._searches.add(task)
            task.add_done_callback(self._searches.discard)

    async def _find_users_and_tell(self, found: Sequence[Departure | Arrival]) -> None:
        user_ids = {each.user_id for each in found if each.user_id is not None}
        users: dict[str, Any] = {}
        try:
            users = await run_in_pool(site_threads, find_users, user_ids)
        except Exception as error:
            log_failure(logger, "The users who have left rooms could not be read.", error)
        for each in found:
            user = anonymous().user if each.user_id is None else users.get(each.user_id)
            if isinstance(each, Departure):
                self._begin_departure(each, user)
            else:
                self.tell_arrival(each.room, each.key, user)

    def _begin_departure(self, departure: Departure, user: Any) -> asyncio.Task[None] | None:
        room, key, _, seconds = departure
        logger.debug("%r has left %r.", key, room, extra={"room": room})
        return self._begin(signals.departed, room, key, user=user, seconds=seconds)

    def _begin(
        self, signal: Signal, room: str, key: str, **about: Any
    ) -> asyncio.Task[None] | None:
        if not signal.has_listeners(None):
            return None
        before = self._last.get((room, key))
        sending = self._send(before, signal, room=room, key=key, **about)
        task = self._last[room, key] = asyncio.get_running_loop().create_task(sending)
        task.add_done_callback(lambda _: self._forget((room, key), task))
        return task

    async def _send(self, before: asyncio.Task[None] | None, signal: Signal, **about: Any) -> None:
        if before is not None:
            await asyncio.wait([before])
        async with self._slots:
            await run_site_code(signal.asend_robust, sender=None, **about)

    def _forget(self, place: tuple[str, str], task: asyncio.Task[None]) -> None:
        note_result(task)
        if self._last.get(place) is task:
            del self._last[place]


_signals: Final = PerLoop(PresenceSignals)

#: Those of the running event loop.
get_presence_signals: Final = _signals.get
