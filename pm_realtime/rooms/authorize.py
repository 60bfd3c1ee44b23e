"""The rule of a room, ``authorize``: code of the site that may be slow, stuck or broken.

A thread in which a rule is stuck cannot be stopped. The calls of each rule are therefore limited:
a rule that is stuck in all of them refuses its own rooms, and other rooms go on.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models.manager import BaseManager
from django.http import Http404
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from pm_realtime.auth import reading_primary, run_in_pool
from pm_realtime.concurrency import PerLoop, note_abandoned_call, note_result
from pm_realtime.conf import Room, RoomOptions, conf
from pm_realtime.exceptions import CommandError, OutageError
from pm_realtime.observability import throttle
from pm_realtime.protocol import INTERNAL_ERROR, ErrorCode
from pm_realtime.rooms.site_code import run_site_code, site_threads

logger = logging.getLogger("pm_realtime.room")

#: A rule returns these, or what could be called, by mistake.
_ALWAYS_TRUE: Final = (
    Iterator, AsyncIterator, BaseManager, BaseException, HttpResponseBase, type(NotImplemented),
)  # fmt: skip
#: Calls of one rule that are under way at the same time in an event loop.
MAX_CALLS_PER_RULE: Final = 16

#: By the dotted path of the rule.
_free_calls: Final = PerLoop[dict[str, asyncio.Semaphore]](dict)


async def is_authorized(room: Room, user: Any) -> bool:
    """Whether the rule of ``room`` lets ``user`` in; False after ``AUTHORIZE_TIMEOUT``.

    ``PermissionDenied`` and ``Http404`` mean no, as in a view. Raises ``CommandError`` with
    ``INTERNAL_ERROR`` if the rule raises anything else.
    """
    path, seconds = room.options.authorize, conf.AUTHORIZE_TIMEOUT
    assert path is not None
    try:
        async with asyncio.timeout(seconds) as limit:
            return await _call(path, room, user)
    except (PermissionDenied, Http404):
        return False
    except (CommandError, OutageError):
        raise
    except Exception as error:
        if isinstance(error, TimeoutError) and limit.expired():
            if count := throttle.note(("slow", room.options)):
                text = "%s did not answer within %g s (AUTHORIZE_TIMEOUT). Connections refused: %d."
                logger.warning(text, path, seconds, count, extra={"room": room.name})
            return False
        if count := throttle.note_error(error, path):
            about = error if isinstance(error, _BrokenRule) else f"{path} raised an exception."
            logger.error("%s Connections refused: %d.", about, count, exc_info=error)
        raise CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR, room=room.name) from None


class _BrokenRule(ImproperlyConfigured):
    """The setting of a rule names nothing that can be called."""


def _import_rule(options: RoomOptions) -> Callable[..., Any]:
    where = f"{options.setting}['authorize']: expected the dotted path of a function"
    try:
        rule = import_string(options.authorize or "")
    except Exception as error:
        raise _BrokenRule(f"{where}, got {options.authorize!r} ({error}).") from error
    if not callable(rule):
        raise _BrokenRule(f"{where}, got {options.authorize!r}, which is {rule!r}.")
    return rule  # type: ignore[no-any-return]


async def _call(path: str, room: Room, user: Any) -> bool:
    rule = _import_rule(room.options)
    free_calls = _free_calls.get().setdefault(path, asyncio.Semaphore(MAX_CALLS_PER_RULE))
    await free_calls.acquire()
    with reading_primary():
        call = asyncio.ensure_future(_ask(rule, user, room.name, **room.kwargs))
    # After a timeout the call goes on in its thread, and stays one of those under way.
    call.add_done_callback(lambda _: free_calls.release())
    call.add_done_callback(note_result)
    try:
        await asyncio.wait({call})
    except asyncio.CancelledError:
        if inspect.iscoroutinefunction(rule):
            call.cancel()
            note_abandoned_call(call)  # It may not take its cancellation.
        raise
    if call.cancelled():
        raise RuntimeError(f"{path} was cancelled")
    return call.result()


async def _ask(rule: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """The answer of ``rule`` as a bool, which a ``QuerySet`` becomes in a thread by a query."""
    if not inspect.iscoroutinefunction(rule):
        rule = partial(_ask_in_thread, rule)
    answer = await run_site_code(rule, *args, **kwargs)
    # By its type: the class of a lazy object would be found by a query here in the loop.
    while hasattr(type(answer), "__await__"):
        answer = await answer
    return answer if type(answer) is bool else await run_in_pool(site_threads, _as_bool, answer)


def _ask_in_thread(rule: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    answer = rule(*args, **kwargs)
    return answer if inspect.isawaitable(answer) else _as_bool(answer)


def _as_bool(answer: Any) -> bool:
    """``answer`` as a bool. Raises ``TypeError`` for one that is true whatever it says no to."""
    if callable(answer) or isinstance(answer, _ALWAYS_TRUE):
        raise TypeError(f"expected True or False, got {answer!r}, which is always true")
    return bool(answer)
