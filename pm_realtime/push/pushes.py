"""Pushes from server code to users, rooms, roles and connections.

The sync functions work in any thread that runs no event loop: views, management commands, task
workers. An envelope, encoded once, goes to a group of the channel layer, and the hub of every
process delivers it to its members.
"""

import logging
from typing import Any

import msgspec
from django.core.exceptions import ImproperlyConfigured
from orjson import Fragment

from pm_realtime.backends import StreamMessage
from pm_realtime.conf import Retention, Room, conf, retention, retention_of
from pm_realtime.exceptions import PayloadError
from pm_realtime.layer import authenticated_group, push_message, role_group, room_group, user_group
from pm_realtime.protocol import RESERVED_TYPES, Envelope, MessageType, encode, make_envelope
from pm_realtime.push.outgoing import Direct, Outgoing
from pm_realtime.push.streams import push_streams
from pm_realtime.push.targets import (
    connection_group,
    connection_name,
    key_text,
    role_name,
    room_and_retention,
    user_key,
)
from pm_realtime.push.twins import sending_twins
from pm_realtime.schemas import PUSH_TYPES, InvalidPayload

logger = logging.getLogger("pm_realtime.push")


def _publish(
    group: str,
    envelope: Envelope,
    retention: Retention,
    *,
    exclude: str | None,
    idempotency_key: str | None,
    on_commit: bool,
    fail_silently: bool | None,
) -> Outgoing[Envelope]:
    """``envelope`` as a message for the stream of ``group``."""
    text = _text(envelope)
    if exclude is not None:
        exclude = connection_name(exclude) if exclude != "" else None
    key = key_text(idempotency_key)
    message = _message(group, text, retention, exclude, key)
    _log(envelope, group)
    return Outgoing(message, envelope, on_commit, fail_silently)


def _message(
    group: str, text: str, retention: Retention, exclude: str | None, key: str | None
) -> StreamMessage:
    key_ttl_seconds = 0.0 if key is None else conf.IDEMPOTENCY_PERIOD
    return StreamMessage(group, text, exclude, *retention, key, key_ttl_seconds)


def _text(envelope: Envelope) -> str:
    """The text frame of a push of the site.

    Raises ``ValueError`` for a type that is not the site's own, and ``PayloadError``.
    """
    _check_type(envelope.type)
    if (declared := PUSH_TYPES.get(envelope.type)) is None:
        return encode(envelope)
    try:
        text = declared.payload.encode(envelope.payload)
    except InvalidPayload as error:
        raise PayloadError(
            f"The payload of a {envelope.type!r} push is not of the type that "
            f"{declared.declared_in} declares: {error}",
            error.path,
        ) from None
    except TypeError as error:
        text = f"push_type({envelope.type!r}, …) in {declared.declared_in}: {error}."
        raise ImproperlyConfigured(text) from error
    return encode(msgspec.structs.replace(envelope, payload=Fragment(text)))


def _check_type(type: str) -> None:
    if type in RESERVED_TYPES or type[0] == ":":
        raise ValueError(
            f"expected a type of your own, got {type!r}: this name, and those that begin "
            "with a colon, belong to the protocol and its clients. Choose another one"
        )


def _log(envelope: Envelope, group: str) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        fields = {"type": envelope.type, "group": group}
        logger.debug("Pushes %(type)r to %(group)s.", fields, extra=fields)


def _send_to_user(
    user: Any,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    idempotency_key: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every connection of ``user``, a user object or a primary key.

    ``payload`` is anything JSON can hold; dates, ``Decimal`` and ``UUID`` are written as text.
    ``exclude`` is the id of a connection that gets nothing. Inside ``transaction.atomic()`` the
    push waits for the commit, and a rollback drops it; ``on_commit=False`` sends at once.

    ``idempotency_key`` is a text of at most 200 characters. A push to the same target under the
    same key is sent once within ``IDEMPOTENCY_PERIOD`` seconds; a repeated call returns as the
    first one did.

    Returns the envelope. Raises ``ValueError`` for a value that cannot be a user or a key or for a
    ``type`` of the protocol, ``PayloadError`` for a payload that is not JSON or not of the type
    that :func:`push_type` declares, ``TransactionManagementError`` after ``set_autocommit(False)``
    unless ``on_commit`` is False, and (the sync function) ``SynchronousOnlyOperation`` in a running
    event loop. If Redis is away, a push that is sent at once raises ``BackendError``, unless
    ``fail_silently`` is True; ``None`` stands for the setting ``FAIL_SILENTLY``. Such a push may
    have been sent all the same: repeat it under its key. After a commit nothing is raised.
    """
    return _publish(
        user_group(user_key(user)),
        make_envelope(type, payload, id=id, to="user"),
        retention(),
        exclude=exclude,
        idempotency_key=idempotency_key,
        on_commit=on_commit,
        fail_silently=fail_silently,
    )


def _send_to_room(
    room: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    idempotency_key: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every subscriber of ``room``; otherwise as :func:`send_to_user`."""
    name, kept = room_and_retention(room)
    return _publish(
        room_group(name),
        make_envelope(type, payload, id=id, room=name),
        kept,
        exclude=exclude,
        idempotency_key=idempotency_key,
        on_commit=on_commit,
        fail_silently=fail_silently,
    )


def _send_to_role(
    role: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    idempotency_key: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every connection of ``role`` and of each higher role; as :func:`send_to_user`."""
    name = role_name(role)
    return _publish(
        role_group(name),
        make_envelope(type, payload, id=id, to=f"role:{name}"),
        retention(),
        exclude=exclude,
        idempotency_key=idempotency_key,
        on_commit=on_commit,
        fail_silently=fail_silently,
    )


def _broadcast(
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    idempotency_key: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to every connection of every logged-in user; otherwise as :func:`send_to_user`."""
    return _publish(
        authenticated_group(),
        make_envelope(type, payload, id=id, to="all"),
        retention(),
        exclude=exclude,
        idempotency_key=idempotency_key,
        on_commit=on_commit,
        fail_silently=fail_silently,
    )


def _send_to_connection(
    connection_id: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[Envelope]:
    """Push to one connection, by the ``connectionId`` of its first frame.

    A connection has no stream: a push is lost if the connection breaks before it arrives.
    """
    envelope = make_envelope(type, payload, id=id)
    text = _text(envelope)
    group = connection_group(connection_id)
    _log(envelope, group)
    message = Direct(group, push_message(group, text, None))
    return Outgoing(message, envelope, on_commit, fail_silently)


async def apublish_message(
    room: Room, payload: Any, *, id: str | None = None, key: str | None = None
) -> bool:
    """Publish the message of a client in ``room``.

    Returns whether it was published before, under ``key``, and not again. Raises ``BackendError``
    if it may or may not have been published.
    """
    envelope = make_envelope(MessageType.MESSAGE, payload, id=id, room=room.name)
    group = room_group(room.name)
    message = _message(group, encode(envelope), retention_of(room), None, key)
    _log(envelope, group)
    return (await push_streams().publish(message)).is_repeated


async def apublish_volatile(room: Room, payload: Any, *, sender: str) -> None:
    """Publish a volatile message of the connection ``sender`` in ``room``; it is not kept.

    Raises ``BackendError`` if it may not have been published.
    """
    envelope = make_envelope(MessageType.MESSAGE, payload, room=room.name)
    message = StreamMessage(room_group(room.name), encode(envelope), sender, 0, 0, is_volatile=True)
    await push_streams().publish(message)


send_to_user, asend_to_user = sending_twins(_send_to_user)
send_to_room, asend_to_room = sending_twins(_send_to_room)
send_to_role, asend_to_role = sending_twins(_send_to_role)
broadcast, abroadcast = sending_twins(_broadcast)
send_to_connection, asend_to_connection = sending_twins(_send_to_connection)
