"""A room's own rule, ``authorize``: code of the site that may be slow, wrong or stuck.

A thread in which a rule is stuck cannot be stopped. So no rule has more than :data:`PLACES` at a
time: where one fills them, whoever it is asked about is denied after ``AUTHORIZE_TIMEOUT``, and
other rooms go on.
"""

import asyncio
import inspect
import logging
from typing import Any, Final

from django.utils.module_loading import import_string

from pm_realtime.concurrency import PerLoop, note_result
from pm_realtime.conf import conf
from pm_realtime.exceptions import CommandError, OutageError
from pm_realtime.observability import throttle
from pm_realtime.protocol import INTERNAL_ERROR, ErrorCode
from pm_realtime.rooms.options import Room
from pm_realtime.rooms.site_code import run_site_code

logger = logging.getLogger("pm_realtime.room")

#: Users about whom an event loop asks one rule at the same time.
PLACES: Final = 16

#: Those places, by the dotted path of the rule.
_places: Final = PerLoop[dict[str, asyncio.Semaphore]](dict)


async def is_authorized(room: Room, user: Any) -> bool:
    """Whether the rule of ``room`` lets ``user`` in; what takes too long means no.

    Raises ``CommandError`` with ``INTERNAL_ERROR`` where the rule fails.
    """
    path, seconds = room.options.authorize, conf.AUTHORIZE_TIMEOUT
    assert path is not None
    try:
        async with asyncio.timeout(seconds) as limit:
            return bool(await _ask(path, room, user))
    except (CommandError, OutageError):
        raise
    except Exception as error:
        if isinstance(error, TimeoutError) and limit.expired():
            _log_slow(path, room, seconds)
            return False
        _log_failure(path, error)
        raise CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR, room=room.name) from None


async def _ask(path: str, room: Room, user: Any) -> Any:
    rule = import_string(path)
    places = _places.get().setdefault(path, asyncio.Semaphore(PLACES))
    await places.acquire()
    work = asyncio.ensure_future(run_site_code(rule, user, room.name, **room.kwargs))
    work.add_done_callback(lambda done: places.release())
    work.add_done_callback(note_result)
    try:
        await asyncio.wait({work})
    except asyncio.CancelledError:
        if inspect.iscoroutinefunction(rule):
            work.cancel()
        raise
    if work.cancelled():
        raise RuntimeError(f"{path} was cancelled")
    return work.result()


def _log_slow(path: str, room: Room, seconds: float) -> None:
    count = throttle.note(("slow", room.options))
    if count:
        logger.warning(
            "%s did not answer within %g s (AUTHORIZE_TIMEOUT), which means no; %d times.",
            path,
            seconds,
            count,
            extra={"room": room.name},
        )


def _log_failure(path: str, error: Exception) -> None:
    count = throttle.note_error(error, path)
    if count:
        logger.error("%s failed, so nobody gets in; %d times.", path, count, exc_info=error)
