"""The rule of a room, ``authorize``: code of the site that may be slow, stuck or broken.

A rule that is stuck in all of its calls refuses its own rooms, and other rooms go on.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.db.models.manager import BaseManager
from django.http import Http404
from django.http.response import HttpResponseBase

from pm_realtime.auth import run_in_pool
from pm_realtime.conf import Room, conf
from pm_realtime.exceptions import CommandError, OutageError
from pm_realtime.observability import throttle
from pm_realtime.protocol import INTERNAL_ERROR, ErrorCode
from pm_realtime.rooms.limited_calls import call_limited, describe_failure, import_function
from pm_realtime.rooms.site_code import run_site_code, site_threads

logger = logging.getLogger("pm_realtime.room")

#: A rule returns these, or what could be called, by mistake.
_ALWAYS_TRUE: Final = (
    Iterator, AsyncIterator, BaseManager, BaseException, HttpResponseBase, type(NotImplemented),
)  # fmt: skip

#: Errors of Django REST framework that are a no in its views; it need not be installed.
_REST_MODULE: Final = "rest_framework.exceptions"
_REST_REFUSALS: Final = frozenset(
    {"PermissionDenied", "NotAuthenticated", "AuthenticationFailed", "NotFound"}
)


async def is_authorized(room: Room, user: Any) -> bool:
    """Whether the rule of ``room`` lets ``user`` in; False after ``AUTHORIZE_TIMEOUT``.

    ``PermissionDenied`` and ``Http404``, and those of Django REST framework, mean no, as in a view.
    Raises ``CommandError`` with ``INTERNAL_ERROR`` if the rule raises anything else.
    """
    path, seconds = room.options.authorize, conf.AUTHORIZE_TIMEOUT
    assert path is not None
    try:
        async with asyncio.timeout(seconds) as limit:
            return await _call(path, room, user)
    except (CommandError, OutageError):
        raise
    except Exception as error:
        if _is_refusal(error):
            return False
        if isinstance(error, TimeoutError) and limit.expired():
            if count := throttle.note(("slow", room.options)):
                text = "%s did not answer within %g s (AUTHORIZE_TIMEOUT). Connections refused: %d."
                logger.warning(text, path, seconds, count, extra={"room": room.name})
            return False
        if count := throttle.note_error(error, path):
            about = describe_failure(path, error)
            logger.error("%s Connections refused: %d.", about, count, exc_info=error)
        raise CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR, room=room.name) from None


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, PermissionDenied | Http404) or any(
        kind.__module__ == _REST_MODULE and kind.__name__ in _REST_REFUSALS
        for kind in type(error).__mro__
    )


async def _call(path: str, room: Room, user: Any) -> bool:
    rule = import_function(path, f"{room.options.setting}['authorize']")
    ask = partial(_ask, rule, user, room.name, **room.kwargs)
    return await call_limited(path, rule, ask)


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
