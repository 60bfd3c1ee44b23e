"""The options of rooms, and the decisions that need nothing else: may a role join, or publish."""

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.urls.resolvers import RoutePattern

from pm_realtime.conf import conf
from pm_realtime.exceptions import CommandError
from pm_realtime.protocol import ErrorCode
from pm_realtime.roles import has_role

#: The ``publish_role`` of a room to which only server code sends.
SERVER: Final = "server"


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """The options of one room in ``ROOMS``."""

    min_role: str | None = None
    public: bool = False
    publish_role: str | None = None
    authorize: str | None = None
    max_connections: int | None = None


OPTION_NAMES: Final = tuple(option.name for option in fields(RoomOptions))


class Room(NamedTuple):
    """A name with the options of its room, and the values that its route captured."""

    name: str
    options: RoomOptions
    kwargs: Mapping[str, Any]


class _Table(NamedTuple):
    """``ROOMS`` with its routes compiled. ``source`` is the setting it was made from."""

    source: Any
    exact: dict[str, RoomOptions]
    routes: list[tuple[RoutePattern, RoomOptions]]


_table = _Table(None, {}, [])


def is_route(name: str) -> bool:
    """Whether a key of ``ROOMS`` is a route as in Django's URLconfs, not an exact name."""
    return "<" in name or ">" in name


def parse_route(route: str) -> RoutePattern:
    """The pattern of ``route``. Raises ``ImproperlyConfigured`` for an invalid route.

    A bracket without its partner is an error here. Django takes it literally, so the options of
    the route would not apply to the rooms that they are for.
    """
    if re.search("[<>]", re.sub("<[^<>]+>", "", route)):
        raise ImproperlyConfigured(f"{route!r} has a bracket without its partner")
    try:
        pattern = RoutePattern(route, is_endpoint=True)
        pattern.regex  # noqa: B018  (Django compiles a route at its first use)
    except re.error as error:
        raise ImproperlyConfigured(f"{route!r}: {error}") from error
    return pattern


def find_room(name: str) -> Room | None:
    """The room with ``name``: by an exact name, else the first matching route, else the default.

    None if ``DEFAULT_ROOM`` is None and nothing else matches.
    """
    table = _current_table()
    if (options := table.exact.get(name)) is not None:
        return Room(name, options, {})
    for pattern, options in table.routes:
        if (match := pattern.match(name)) is not None:
            return Room(name, options, match[2])
    default = conf.DEFAULT_ROOM
    return None if default is None else Room(name, RoomOptions(**default), {})


def check_join(room: Room, *, authenticated: bool, role: str | None) -> None:
    """Raise ``CommandError`` if ``role`` may not join ``room``. Does not call ``authorize``."""
    if not authenticated:
        if not room.options.public:
            raise _auth_required(room)
    elif room.options.min_role is not None and not has_role(role, room.options.min_role):
        raise forbidden(room.name)


def check_publish(room: Room, *, authenticated: bool, role: str | None) -> None:
    """Raise ``CommandError`` if ``role`` may not send to ``room``, which it has joined."""
    needed = room.options.publish_role
    if needed is None:
        return
    if needed == SERVER:
        raise forbidden(room.name, "Only the server sends to this room.")
    if not authenticated:
        raise _auth_required(room)
    if not has_role(role, needed):
        raise forbidden(room.name, "Your role may read this room but not send to it.")


def check_room_count(count: int, name: str) -> None:
    """Raise ``CommandError`` if a connection that is in ``count`` rooms may not join ``name``."""
    if count >= (limit := conf.MAX_ROOMS_PER_CONNECTION):
        text = f"A connection may be in {limit} rooms at a time."
        raise CommandError(ErrorCode.ROOM_LIMIT, text, room=name)


def forbidden(name: str, message: str = "You may not join this room.") -> CommandError:
    return CommandError(ErrorCode.FORBIDDEN, message, room=name)


def _auth_required(room: Room) -> CommandError:
    return CommandError(ErrorCode.AUTH_REQUIRED, "Log in to use this room.", room=room.name)


def _current_table() -> _Table:
    """The table of the present ``ROOMS``, made anew only if the setting has changed."""
    global _table
    source = conf.ROOMS
    if _table.source != source:
        rooms = {name: RoomOptions(**options) for name, options in source.items()}
        exact = {name: options for name, options in rooms.items() if not is_route(name)}
        routes = [(parse_route(name), rooms[name]) for name in rooms if is_route(name)]
        _table = _Table(copy.deepcopy(dict(source)), exact, routes)
    return _table
