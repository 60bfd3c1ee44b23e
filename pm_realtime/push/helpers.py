"""Pushes from server code to users, rooms, roles and connections, and questions about them.

Every function has an async twin whose name begins with ``a``. The sync ones work in any thread
that runs no event loop: views, management commands, task workers. All of it takes one road: an
envelope, encoded once, goes to a group of the channel layer, and every process's hub hands it to
its members.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, get_args

from django.contrib.auth import get_user_model
from django.core.exceptions import SynchronousOnlyOperation, ValidationError
from django.db.models import Model

from pm_realtime.backends import ConnectionInfo, Stats, get_backend
from pm_realtime.conf import conf
from pm_realtime.exceptions import CommandError
from pm_realtime.layer import (
    Close,
    ControlMessage,
    Refresh,
    RefreshRoom,
    Subscribe,
    Unsubscribe,
    authenticated_group,
    connection_group,
    control_message,
    push_message,
    role_group,
    room_group,
    user_group,
    warn_if_alone,
)
from pm_realtime.protocol import CloseCode, Envelope, check_room, encode, make_envelope
from pm_realtime.push.outgoing import Outgoing, asend, control, send

logger = logging.getLogger("pm_realtime.push")

P = ParamSpec("P")
R = TypeVar("R")


def _refuse_in_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        f"{name}() would block the running event loop. Use `await a{name}(...)` here."
    )


def _twins(
    prepare: Callable[P, Outgoing[R]],
) -> tuple[Callable[P, R], Callable[P, Coroutine[Any, Any, R]]]:
    """The sync function and its async twin that send what ``prepare`` makes."""
    name = prepare.__name__.lstrip("_")

    @functools.wraps(prepare)
    def sync_twin(*args: P.args, **kwargs: P.kwargs) -> R:
        _refuse_in_loop(name)
        return send(prepare(*args, **kwargs))

    @functools.wraps(prepare)
    async def async_twin(*args: P.args, **kwargs: P.kwargs) -> R:
        return await asend(prepare(*args, **kwargs))

    (result,) = get_args(prepare.__annotations__["return"])
    _present(sync_twin, name, prepare, result)
    _present(async_twin, f"a{name}", prepare, result)
    return sync_twin, async_twin


def _sync_twin(ask: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """The sync function that asks the backend what the coroutine function ``ask`` asks."""
    name = ask.__name__.removeprefix("a")

    @functools.wraps(ask)
    def sync_twin(*args: P.args, **kwargs: P.kwargs) -> R:
        _refuse_in_loop(name)
        warn_if_alone()
        return get_backend().run(ask(*args, **kwargs))

    _present(sync_twin, name, ask, ask.__annotations__["return"])
    return sync_twin


def _present(function: Any, name: str, made_from: Callable[..., Any], result: Any) -> None:
    """Give a made function the name and signature under which people will look it up."""
    function.__name__ = function.__qualname__ = name
    function.__signature__ = inspect.signature(made_from).replace(return_annotation=result)


def user_key(user: Any) -> str:
    """The primary key of ``user``, an object or a primary key, as text.

    Raises ``ValueError`` for an anonymous or unsaved user and for what cannot be a primary key.
    """
    if isinstance(user, Model) and not isinstance(user, get_user_model()):
        raise ValueError(f"expected a user or a primary key, got a {type(user).__name__}: {user!r}")
    if hasattr(user, "is_authenticated"):
        is_saved = user.is_authenticated and not (isinstance(user, Model) and user._state.adding)
        key = user.pk if is_saved else None
    else:
        try:
            key = get_user_model()._meta.pk.to_python(user)
        except (ValidationError, TypeError, ValueError):
            key = None
    if key is None:
        raise ValueError(f"expected a saved user or a primary key, got {user!r}")
    return str(key)


def _push(
    group: str, envelope: Envelope, exclude: str | None, on_commit: bool
) -> Outgoing[Envelope]:
    if exclude is not None and not isinstance(exclude, str):
        raise ValueError(f"expected exclude to be the id of a connection, got {exclude!r}")
    message = push_message(group, encode(envelope), exclude)
    return Outgoing(group, message, envelope, on_commit)


def _direct_control(group: str, message: ControlMessage) -> Outgoing[None]:
    """``message`` for the present members of ``group`` only, sent at once and only once."""
    return Outgoing(group, control_message(group, message), None, False)


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
    push waits for the commit, and a rollback forgets it; ``on_commit=False`` sends at once.

    Returns the envelope. Raises ``ValueError`` for a user that cannot be one, ``PayloadError`` for
    a payload that is not JSON, and (the sync twin) ``SynchronousOnlyOperation`` where an event
    loop runs.
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
    name = _room_name(room)
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
    return _push(_connection_group(connection_id), envelope, None, on_commit)


def _disconnect_user(
    user: Any, *, code: int = CloseCode.DISCONNECTED, reason: str = ""
) -> Outgoing[None]:
    """Close every connection of ``user`` at once, with ``code`` (1000 or 3000 to 4999).

    Clients reconnect by themselves after a code for which
    :func:`pm_realtime.protocol.may_reconnect` is true; after the default, 4503, they do not.
    """
    return _direct_control(user_group(user_key(user)), _close(code, reason))


def _disconnect_connection(
    connection_id: str, *, code: int = CloseCode.DISCONNECTED, reason: str = ""
) -> Outgoing[None]:
    """Close one connection at once; otherwise as :func:`disconnect_user`."""
    return _direct_control(_connection_group(connection_id), _close(code, reason))


def _subscribe(connection_id: str, room: str) -> Outgoing[None]:
    """Have a connection join ``room``, whatever its role; the client is told ``subscribed``.

    The room's ``max_connections`` holds here too.
    """
    return _direct_control(_connection_group(connection_id), Subscribe(_room_name(room)))


def _unsubscribe(connection_id: str, room: str, *, reason: str | None = None) -> Outgoing[None]:
    """Take a connection out of ``room``; the client is told ``unsubscribed`` with ``reason``."""
    message = Unsubscribe(_room_name(room), reason)
    return _direct_control(_connection_group(connection_id), message)


def _refresh_user(user: Any, *, on_commit: bool = True) -> Outgoing[None]:
    """Look again who ``user`` is and may do, on every connection of theirs in every process.

    Session, activity and role are read anew, and each room that was joined is decided anew, its
    ``authorize`` included: what is not allowed any more is left (``unsubscribed`` with the reason
    ``forbidden``), or the connection ends. This happens by itself when the user, their Django
    groups or their session change through the ORM; call it where roles or rules live elsewhere.
    Inside ``transaction.atomic()`` it waits for the commit, unless ``on_commit`` is False.
    """
    return control(user_group(user_key(user)), Refresh(), on_commit=on_commit)


def _refresh_room(room: str, *, on_commit: bool = True) -> Outgoing[None]:
    """Decide anew who may be in ``room``, for all in it; otherwise as :func:`refresh_user`."""
    name = _room_name(room)
    return control(room_group(name), RefreshRoom(name), on_commit=on_commit)


def _room_name(room: object) -> str:
    try:
        return check_room(room)
    except CommandError as error:
        raise ValueError(f"{error.message} Got {room!r}.") from None


def _connection_group(connection_id: object) -> str:
    if not isinstance(connection_id, str) or not connection_id:
        raise ValueError(f"expected the id of a connection as text, got {connection_id!r}")
    return connection_group(connection_id)


def _close(code: int, reason: str) -> Close:
    if not isinstance(code, int) or not (code == 1000 or 3000 <= code <= 4999):
        raise ValueError(f"expected a close code of 1000 or 3000 to 4999, got {code!r}")
    return Close(int(code), str(reason))


send_to_user, asend_to_user = _twins(_send_to_user)
send_to_room, asend_to_room = _twins(_send_to_room)
send_to_role, asend_to_role = _twins(_send_to_role)
broadcast, abroadcast = _twins(_broadcast)
send_to_connection, asend_to_connection = _twins(_send_to_connection)
disconnect_user, adisconnect_user = _twins(_disconnect_user)
disconnect_connection, adisconnect_connection = _twins(_disconnect_connection)
refresh_user, arefresh_user = _twins(_refresh_user)
refresh_room, arefresh_room = _twins(_refresh_room)
subscribe, asubscribe = _twins(_subscribe)
unsubscribe, aunsubscribe = _twins(_unsubscribe)


async def aget_connection(connection_id: str) -> ConnectionInfo | None:
    """What is known of a connection, None where it is not open."""
    return await get_backend().get_connection(connection_id)


async def aget_user_connections(user: Any) -> list[ConnectionInfo]:
    """The open connections of ``user``, a user object or a primary key, the oldest first."""
    return await get_backend().get_user_connections(user_key(user))


async def ais_online(user: Any) -> bool:
    """Whether ``user``, a user object or a primary key, has an open connection."""
    return bool(await aget_user_connections(user))


async def aget_stats() -> Stats:
    """``totalConnections``, ``authenticatedConnections``, ``totalRooms`` and ``roomStats``."""
    return await get_backend().get_stats()


get_connection = _sync_twin(aget_connection)
get_user_connections = _sync_twin(aget_user_connections)
is_online = _sync_twin(ais_online)
get_stats = _sync_twin(aget_stats)
