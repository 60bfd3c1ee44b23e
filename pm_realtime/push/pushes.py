"""Pushes from server code to users, rooms, roles and connections.

The sync functions work in any thread that runs no event loop: views, management commands, task
workers. An envelope, encoded once, goes to a group of the channel layer, and the hub of every
process delivers it to its members.
"""

import logging
from typing import Any

from pm_realtime.layer import authenticated_group, push_message, role_group, room_group, user_group
from pm_realtime.protocol import RESERVED_TYPES, Envelope, encode, make_envelope
from pm_realtime.push.outgoing import Outgoing
from pm_realtime.push.targets import (
    connection_group,
    connection_name,
    role_name,
    room_name,
    user_key,
)
from pm_realtime.push.twins import sending_twins

logger = logging.getLogger("pm_realtime.push")


def _push(
    group: str,
    envelope: Envelope,
    exclude: str | None,
    on_commit: bool,
    fail_silently: bool | None,
) -> Outgoing[Envelope]:
    if envelope.type in RESERVED_TYPES or envelope.type[0] == ":":
        raise ValueError(
            f"expected a type of your own, got {envelope.type!r}: this name, and those that begin "
            "with a colon, belong to the protocol and its clients. Choose another one"
        )
    if exclude is not None and exclude != "":
        exclude = connection_name(exclude)
    message = push_message(group, encode(envelope), exclude)
    if logger.isEnabledFor(logging.DEBUG):
        fields = {"type": envelope.type, "group": group}
        logger.debug("Pushes %(type)r to %(group)s.", fields, extra=fields)
    return Outgoing(group, message, envelope, on_commit, fail_silently)


def _send_to_user(
    user: Any,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every connection of ``user``, a user object or a primary key.

    ``payload`` is anything JSON can hold; dates, ``Decimal`` and ``UUID`` are written as text.
    ``exclude`` is the id of a connection that gets nothing. Inside ``transaction.atomic()`` the
    push waits for the commit, and a rollback drops it; ``on_commit=False`` sends at once.

    Returns the envelope. Raises ``ValueError`` for a value that cannot be a user or for a ``type``
    of the protocol, ``PayloadError`` for a payload that is not JSON, ``TransactionManagementError``
    after ``set_autocommit(False)`` unless ``on_commit`` is False, and (the sync function)
    ``SynchronousOnlyOperation`` in a running event loop. If Redis is away, a push that is sent at
    once raises ``BackendError``, unless ``fail_silently`` is True; ``None`` stands for the setting
    ``FAIL_SILENTLY``. After a commit nothing is raised.
    """
    envelope = make_envelope(type, payload, id=id)
    return _push(user_group(user_key(user)), envelope, exclude, on_commit, fail_silently)


def _send_to_room(
    room: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every subscriber of ``room``; otherwise as :func:`send_to_user`."""
    name = room_name(room)
    envelope = make_envelope(type, payload, id=id, room=name)
    return _push(room_group(name), envelope, exclude, on_commit, fail_silently)


def _send_to_role(
    role: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every connection of ``role`` and of each higher role; as :func:`send_to_user`."""
    name = role_name(role)
    envelope = make_envelope(type, payload, id=id)
    return _push(role_group(name), envelope, exclude, on_commit, fail_silently)


def _broadcast(
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every connection of every logged-in user; otherwise as :func:`send_to_user`."""
    envelope = make_envelope(type, payload, id=id)
    return _push(authenticated_group(), envelope, exclude, on_commit, fail_silently)


def _send_to_connection(
    connection_id: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to one connection, by the ``connectionId`` of its first frame."""
    envelope = make_envelope(type, payload, id=id)
    return _push(connection_group(connection_id), envelope, None, on_commit, fail_silently)


send_to_user, asend_to_user = sending_twins(_send_to_user)
send_to_room, asend_to_room = sending_twins(_send_to_room)
send_to_role, asend_to_role = sending_twins(_send_to_role)
broadcast, abroadcast = sending_twins(_broadcast)
send_to_connection, asend_to_connection = sending_twins(_send_to_connection)
