"""Pages that show a room: the room's position is taken before the queries and put into the HTML."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from inspect import isawaitable, signature
from typing import Any, Final, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest

from pm_realtime.backends import Position
from pm_realtime.exceptions import BackendError
from pm_realtime.observability import throttle
from pm_realtime.push import aget_cursor, get_cursor, room_and_retention
from pm_realtime.texts import plain_text

logger = logging.getLogger("pm_realtime.push")

#: A failure that took so long held up its page; the next pages do not ask for a while.
SLOW_FAILURE_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 5.0
#: The clocks of a web server and of Redis differ by less.
MAX_CLOCK_DIFFERENCE_MS: Final = 5_000

R = TypeVar("R")

#: The attribute of a request with the positions that were taken for it: a dict of cursors by room.
CURSORS: Final = "realtime_cursors"


def realtime_room(
    room: str | Callable[..., str],
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Take the position of ``room`` before the view, for ``{% realtime_room %}`` in its template.

    ::

        @realtime_room("project:{pk}")
        def project(request, pk): ...

    ``room`` is a name with the view's keyword arguments in braces, or a callable that takes these
    arguments and returns the name. The page then gets each message that was pushed to the room
    after the view's queries began. For sync and async views, several times for several rooms, and
    for class-based views with Django's ``method_decorator``. It belongs below ``cache_page`` and
    above all that makes queries.

    If the streams cannot be reached, the position is a few seconds before the present time, so some
    messages may come again. A name that cannot be that of a room, as an address from a visitor may
    make it, has no position: the view decides about it, and the tag raises ``ValueError``.

    Raises ``TypeError`` for a ``room`` that is neither, such as the view itself.
    """
    _check_room(room)

    def decorate(view: Callable[..., R]) -> Callable[..., R]:
        async def in_loop(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            name = _name_of(room, kwargs)
            with suppress(ValueError):
                _note(request, name, await _aask(name))
            response = view(request, *args, **kwargs)
            return await response if isawaitable(response) else response

        if iscoroutinefunction(view):
            return wraps(view)(in_loop)  # type: ignore[return-value]

        @wraps(view)
        def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if _is_in_loop():  # The `dispatch` of a class whose handlers are async.
                return in_loop(request, *args, **kwargs)
            name = _name_of(room, kwargs)
            with suppress(ValueError):
                _note(request, name, _ask(name))
            return view(request, *args, **kwargs)

        return wrapper

    return decorate


def cursor_of_page(request: HttpRequest | None, room: Any) -> str | None:
    """The position of ``room`` that was taken for ``request``, else the present one.

    None if the room keeps no messages. Raises
    ``SynchronousOnlyOperation`` in a template that an async view renders itself.
    """
    taken: Mapping[str | None, str | None] = getattr(request, CURSORS, {})
    if (name := plain_text(room)) in taken:
        return taken[name]
    if _is_in_loop():
        raise SynchronousOnlyOperation(
            f"{{% realtime_room {room!r} %}} would block the running event loop, as its view is "
            f"async. Decorate the view with @realtime_room({room!r})."
        )
    return _ask(room)


def _check_room(room: object) -> None:
    """Raise ``TypeError`` for a room that cannot be one, such as a view below a bare decorator."""
    if isinstance(room, str):
        return
    name = getattr(room, "__qualname__", repr(room))
    problem = f"expected the name of a room, or a callable that returns it, got {name}"
    if _is_view(room):
        problem = f"expected the name of a room in parentheses, got the view {name}"
    elif callable(room):
        return
    raise TypeError(f'{problem}. Write @realtime_room("project:{{pk}}")')


def _is_view(room: object) -> bool:
    if isinstance(room, type) or iscoroutinefunction(room):
        return True
    with suppress(TypeError, ValueError):  # It has no signature.
        # Django passes the request by position, so no argument of an address has that name.
        return "request" in signature(cast("Any", room)).parameters
    return False


def _name_of(room: str | Callable[..., str], kwargs: Mapping[str, Any]) -> str:
    if callable(room):
        return room(**kwargs)
    try:
        return room.format(**kwargs)
    except (LookupError, AttributeError) as error:
        known = ", ".join(kwargs) or "none"
        raise ValueError(
            f"realtime_room({room!r}) needs {error} of the view's keyword arguments, which are: "
            f"{known}. Name those of the view's URL in braces."
        ) from error


def _note(request: HttpRequest, room: str, cursor: str | None) -> None:
    if (cursors := getattr(request, CURSORS, None)) is None:
        cursors = {}
        setattr(request, CURSORS, cursors)
    cursors[plain_text(room)] = cursor


class Pause:
    """Spares pages the wait for a server that does not answer: one of them finds out for all.

    ``clock`` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock()

    @property
    def is_on(self) -> bool:
        return self._clock() < self._end

    @contextmanager
    def after_failure(self) -> Iterator[None]:
        """Log that the streams cannot be reached, and begin if it took long to fail."""
        began = self._clock()
        try:
            yield
        except BackendError as error:
            if (now := self._clock()) - began >= SLOW_FAILURE_SECONDS:
                self._end = now + PAUSE_SECONDS
            if count := throttle.note((realtime_room, type(error))):
                logger.warning("Pages (%d) have positions by the clock: %s", count, error)


pause: Final = Pause()


def _ask(room: str) -> str | None:
    if not pause.is_on:
        with pause.after_failure():
            return get_cursor(room)
    return _position_by_clock(room)


async def _aask(room: str) -> str | None:
    if not pause.is_on:
        with pause.after_failure():
            return await aget_cursor(room)
    return _position_by_clock(room)


def _position_by_clock(room: str) -> str | None:
    """The position of ``room`` at this time or a little before, as cursors begin with the time.

    Without one, a page that is cached or opened late would miss what is pushed when Redis is back.
    """
    _, retention = room_and_retention(room)
    if not retention.size:
        return None
    return str(Position(time.time_ns() // 1_000_000 - MAX_CLOCK_DIFFERENCE_MS, 0))


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
