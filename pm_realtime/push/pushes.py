"""Pushes from server code to users, rooms, roles and connections.

The sync functions work in any thread that runs no event loop: views, management commands, task
workers. An envelope, encoded once, goes to a group of the channel layer, and the hub of every
process delivers it to its members.
"""

import logging
from typing import Any

from pm_realtime.conf import conf
from pm_realtime.layer import authenticated_group, push_message, role_group, room_group, user_group
from pm_realtime.protocol import Envelope, encode, make_envelope
from pm_realtime.push.outgoing import Outgoing
from pm_realtime.push.targets import connection_group, room_name, user_key
from pm_realtime.push.twins import sending_twins

logger = logging.getLogger("pm_realtime.push")


def _push(
    group: str, envelope: Envelope, exclude: str | None, on_commit: bool
) -> Outgoing[Envelope]:
    if exclude is not None and not isinstance(exclude, str):
        raise ValueError(f"expected exclude to be the id of a connection, got {exclude!r}")
    message = push_message(group, encode(envelope), exclude)
    if logger.isEnabledFor(logging.DEBUG):
        fields = {"type": envelope.type, "group": group}
        logger.debug("Pushes %(type)r to %(group)s.", fields, extra=fields)
    return Outgoing(group, message, envelope, on_commit)


def _send_to_user(
    user: Any,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Outgoing[Envelope]:
    """Push to every connection of ``user``, a user object or a primary key.

    ``payload`` is anything JSON can hold; dates, ``Decimal`` and ``UUID`` are written as text.
    ``exclude`` is the id of a connection that gets nothing. Inside ``transaction.atomic()`` the
    push waits for the commit, and a rollback drops it; ``on_commit=False`` sends at once.

    Returns the envelope. Raises ``ValueError`` for a value that cannot be a user, ``PayloadError``
    for a payload that is not JSON, and (the sync function) ``SynchronousOnlyOperation`` in a
    running event loop.
    """
    envelope = make_envelope(type, payload, id=id)
    return _push(user_group(user_key(user)), envelope, exclude, on_commit)


def _send_to_room(
    room: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Outgoing[Envelope]:
    """Push to every subscriber of ``room``; otherwise as :func:`send_to_user`."""
    name = room_name(room)
    envelope = make_envelope(type, payload, id=id, room=name)
    return _push(room_group(name), envelope, exclude, on_commit)


def _send_to_role(
    role: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Outgoing[Envelope]:
    """Push to every connection of ``role`` and of each higher role; as :func:`send_to_user`."""
    if role not in conf.ROLES:
        raise ValueError(f"expected one of ROLES ({', '.join(conf.ROLES)}), got {role!r}")
    envelope = make_envelope(type, payload, id=id)
    return _push(role_group(role), envelope, exclude, on_commit)


def _broadcast(
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Outgoing[Envelope]:
    """Push to every connection of every logged-in user; otherwise as :func:`send_to_user`."""
    envelope = make_envelope(type, payload, id=id)
    return _push(authenticated_group(), envelope, exclude, on_commit)


def _send_to_connection(
    connection_id: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    on_commit: bool = True,
) -> Outgoing[Envelope]:
    """Push to one connection, by the ``connectionId`` of its first frame."""
    envelope = make_envelope(type, payload, id=id)
    return _push(connection_group(connection_id), envelope, None, on_commit)


send_to_user, asend_to_user = sending_twins(_send_to_user)
send_to_room, asend_to_room = sending_twins(_send_to_room)
send_to_role, asend_to_role = sending_twins(_send_to_role)
broadcast, abroadcast = sending_twins(_broadcast)
send_to_connection, asend_to_connection = sending_twins(_send_to_connection)
