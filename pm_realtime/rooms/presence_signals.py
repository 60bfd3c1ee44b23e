"""The signals ``arrived`` and ``departed``, each sent by the one process that found it out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
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
#: Databases limit the parameters of a query.
USERS_PER_QUERY: Final = 500


class PresenceSignals:
    """Belongs to one event loop. The signals of one member are sent in their order."""

    def __init__(self) -> None:
        self._slots: Final = asyncio.Semaphore(MAX_SENDINGS)
        #: By room and key.
        self._last: Final[dict[tuple[str, str], asyncio.Task[None]]] = {}

    def tell_arrival(self, room: str, key: str, user: Any) -> None:
        """Send ``arrived``, beside what the caller goes on with."""
        self._begin(Arrival(room, key, None), partial(_known, user))

    def tell_departure(self, departure: Departure, user: Any) -> asyncio.Task[None] | None:
        """Send ``departed``. Returns the task that does, None if nobody receives it."""
        return self._begin(departure, partial(_known, user))

    def tell_all(self, found: Sequence[Departure | Arrival]) -> None:
        """Send the signal of each of ``found``, beside what the caller goes on with."""
        told = [each for each in found if _signal_of(each).has_listeners(None)]
        for start in range(0, len(told), USERS_PER_QUERY):
            some = told[start : start + USERS_PER_QUERY]
            user_ids = {each.user_id for each in some if each.user_id is not None}
            users = asyncio.get_running_loop().create_task(_find_users(user_ids))
            # Begun now: one of them may come again before its user is found.
            for each in some:
                self._begin(each, partial(_found, users, each.user_id))

    def _begin(
        self, change: Departure | Arrival, find_user: Callable[[], Awaitable[Any]]
    ) -> asyncio.Task[None] | None:
        signal, room, key = _signal_of(change), change.room, change.key
        text = "%r has left %r." if isinstance(change, Departure) else "%r has come to %r."
        logger.debug(text, key, room, extra={"room": room})
        if not signal.has_listeners(None):
            return None
        about: dict[str, Any] = {"room": room, "key": key}
        if isinstance(change, Departure):
            about["seconds"] = change.seconds
        before = self._last.get((room, key))
        sending = self._send(before, find_user, signal, about)
        task = self._last[room, key] = asyncio.get_running_loop().create_task(sending)
        task.add_done_callback(lambda _: self._forget((room, key), task))
        return task

    async def _send(
        self,
        before: asyncio.Task[None] | None,
        find_user: Callable[[], Awaitable[Any]],
        signal: Signal,
        about: dict[str, Any],
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        user = await find_user()
        async with self._slots:
            await run_site_code(signal.asend_robust, sender=None, user=user, **about)

    def _forget(self, place: tuple[str, str], task: asyncio.Task[None]) -> None:
        note_result(task)
        if self._last.get(place) is task:
            del self._last[place]


def _signal_of(change: Departure | Arrival) -> Signal:
    return signals.departed if isinstance(change, Departure) else signals.arrived


async def _known(user: Any) -> Any:
    return user


async def _found(users: asyncio.Task[dict[str, Any]], user_id: str | None) -> Any:
    found = await asyncio.shield(users)
    return anonymous().user if user_id is None else found.get(user_id)


async def _find_users(user_ids: set[str]) -> dict[str, Any]:
    try:
        return await run_in_pool(site_threads, find_users, user_ids)
    except Exception as error:
        log_failure(logger, "The users who have left rooms could not be read.", error)
        return {}


_signals: Final = PerLoop(PresenceSignals)

#: Those of the running event loop.
get_presence_signals: Final = _signals.get
