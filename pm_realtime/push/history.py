"""The streams of rooms as a site reads them: their present position, and their last messages."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from pm_realtime.backends import Page, Position, Publication
from pm_realtime.layer import room_group
from pm_realtime.push.commits import deliver_committed
from pm_realtime.push.streams import push_streams
from pm_realtime.push.targets import room_and_retention
from pm_realtime.push.twins import sync_twin_of
from pm_realtime.texts import plain_text

MAX_HISTORY_LIMIT: Final = 10_000
#: Before every message of every stream.
_BEGINNING: Final = str(Position(0, 0))


@dataclass(frozen=True, slots=True)
class History:
    """Messages of a room, the oldest first.

    Each is a dict, as its JSON reached the clients: ``type``, ``payload``, ``timestamp``, ``room``,
    ``cursor`` and perhaps ``id``.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    #: The position after the last of them, for ``since`` of the next call or of a client's
    #: ``subscribe``; None if the room keeps no messages.
    cursor: str | None = None
    #: False if messages that followed ``since`` are not kept any more.
    recovered: bool = True
    #: Whether more messages follow ``cursor``.
    has_more: bool = False


async def aget_cursor(room: str) -> str | None:
    """The present position of ``room``: a text that stands before all that is pushed from now on.

    Take it before the queries for a page, and let the client subscribe with it as ``since``: the
    client then gets what was pushed after it. None if the room keeps no messages.

    Raises ``ValueError`` for a value that cannot be the name of a room, and ``BackendError`` if
    Redis is away.
    """
    name, retention = room_and_retention(room)
    streams = push_streams()
    if not (retention.size and streams.keeps_messages):
        return None
    deliver_committed()
    (top,) = await streams.get_tops([room_group(name)])
    return top


async def aget_history(room: str, *, since: str | None = None, limit: int = 100) -> History:
    """The messages of ``room`` that followed ``since``, or its last ones: at most ``limit``.

    ``since`` is a cursor: of :func:`get_cursor`, of a message or of another :class:`History`. A
    text that is no cursor counts as one whose messages are not kept any more. ``limit`` is 1 to
    10,000. A message with ``exclude`` is included: it was for all others.

    Raises ``ValueError`` for invalid arguments, and ``BackendError`` if Redis is away.
    """
    name, (size, ttl_seconds) = room_and_retention(room)
    _check_limit(limit)
    after = None if since is None else _cursor_of(since)
    streams, group = push_streams(), room_group(name)
    if not (size and streams.keeps_messages):
        return History(recovered=since is None)
    deliver_committed()
    if after is None:
        after = await streams.find_start(group, limit, ttl_seconds)
    page = await streams.read(group, after, ttl_seconds)
    recovered = page.is_whole or since is None
    found = list(page.publications)
    while len(found) < limit and not page.is_last:
        page = await streams.read(group, found[-1].cursor, ttl_seconds)
        recovered &= page.is_whole
        found += page.publications
    return _history(found, limit, page, recovered)


def _history(found: list[Publication], limit: int, page: Page, recovered: bool) -> History:
    has_more = len(found) > limit or not page.is_last
    del found[limit:]
    cursor = found[-1].cursor if has_more else page.top
    return History([_as_dict(each) for each in found], cursor, recovered, has_more)


def _as_dict(publication: Publication) -> dict[str, Any]:
    return {**msgspec.json.decode(publication.text), "cursor": publication.cursor}


def _check_limit(limit: Any) -> None:
    is_whole = isinstance(limit, int) and not isinstance(limit, bool)
    if not (is_whole and 1 <= limit <= MAX_HISTORY_LIMIT):
        raise ValueError(f"expected a limit of 1 to {MAX_HISTORY_LIMIT}, got {limit!r}")


def _cursor_of(since: object) -> str:
    if (text := plain_text(since)) is None:
        raise ValueError(f"expected since to be a cursor as text, or None, got {since!r}")
    try:
        Position.read(text)
    except ValueError:
        return _BEGINNING
    return text


get_cursor = sync_twin_of(aget_cursor)
get_history = sync_twin_of(aget_history)
