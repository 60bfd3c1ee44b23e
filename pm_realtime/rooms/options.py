"""The decisions about rooms that need nothing but their options: may a role join, or publish."""

import logging

from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf import ANONYMOUS, SERVER, PresenceOptions, Room, conf, room_of
from pm_realtime.exceptions import CommandError
from pm_realtime.observability import throttle
from pm_realtime.protocol import INTERNAL_ERROR, ErrorCode
from pm_realtime.roles import has_role

logger = logging.getLogger("pm_realtime.room")


def find_room(name: str) -> Room | None:
    """The room with ``name``; None if no connection may join it by itself.

    Raises ``CommandError`` with ``INTERNAL_ERROR`` if its options are invalid.
    """
    try:
        return room_of(name)
    except ImproperlyConfigured as error:
        if count := throttle.note((find_room, str(error))):
            text = "%s Its rooms refuse everybody. Refusals: %d."
            logger.error(text, error, count, extra={"room": name})
        raise CommandError(ErrorCode.INTERNAL_ERROR, INTERNAL_ERROR, room=name) from None


def find_presence(name: str) -> PresenceOptions | None:
    """The presence of the room ``name``; None if it has none. Raises as :func:`find_room`."""
    room = find_room(name)
    return None if room is None else room.options.presence


def check_join(room: Room, *, authenticated: bool, role: str | None) -> None:
    """Raise ``CommandError`` if ``role`` may not join ``room``. Does not call ``authorize``."""
    if not authenticated:
        if not room.options.public:
            raise _auth_required(room, "Log in to use this room.")
    elif room.options.min_role is not None and not has_role(role, room.options.min_role):
        raise forbidden(room.name)


def check_publish(room: Room, *, authenticated: bool, role: str | None) -> None:
    """Raise ``CommandError`` if ``role`` may not send to ``room``, which it has joined."""
    needed = room.options.publish_role
    if needed == SERVER:
        raise forbidden(room.name, "Only the server sends to this room.")
    if needed == ANONYMOUS and ANONYMOUS not in conf.ROLES:
        return
    if not authenticated:
        raise _auth_required(room, "Log in to send to this room.")
    if needed is not None and not has_role(role, needed):
        raise forbidden(room.name, "Your role may read this room but not send to it.")


def check_room_count(count: int, name: str) -> None:
    """Raise ``CommandError`` if a connection that is in ``count`` rooms may not join ``name``."""
    if count >= (limit := conf.MAX_ROOMS_PER_CONNECTION):
        text = f"A connection may be in {limit} rooms at a time."
        raise CommandError(ErrorCode.ROOM_LIMIT, text, room=name)


def forbidden(name: str, message: str = "You may not join this room.") -> CommandError:
    return CommandError(ErrorCode.FORBIDDEN, message, room=name)


def _auth_required(room: Room, message: str) -> CommandError:
    return CommandError(ErrorCode.AUTH_REQUIRED, message, room=room.name)
