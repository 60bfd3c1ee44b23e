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
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, get_args

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import SynchronousOnlyOperation, ValidationError
from django.db import connections, transaction
from django.db.models import Model

from pm_realtime import layers, transport
from pm_realtime.backends import get_backend
from pm_realtime.backends.base import ConnectionInfo, Stats
from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, CommandError
from pm_realtime.groups import (
    authenticated_group,
    connection_group,
    orders_group,
    role_group,
    room_group,
    user_group,
)
from pm_realtime.outage import outage
from pm_realtime.protocol import CloseCode, Envelope, check_room, encode, make_envelope
from pm_realtime.threads import is_loop_of_a_caller, may_have_waiting_caller

logger = logging.getLogger("pm_realtime.push")

P = ParamSpec("P")
R = TypeVar("R")


class Parcel(NamedTuple, Generic[R]):
    """A message for a group of the channel layer, and what its sender gets back."""

    group: str
    message: layers.Message
    result: R
    on_commit: bool


def send(parcel: Parcel[R]) -> R:
    """Send ``parcel`` from a thread without a running event loop."""
    deliver = functools.partial(transport.send, parcel.group, parcel.message)
    if not (parcel.on_commit and _after_commit(deliver)):
        deliver()
    return parcel.result


async def asend(parcel: Parcel[R]) -> R:
    """Send ``parcel`` from the running event loop."""
    if not (parcel.on_commit and await _after_commit_of_caller(parcel)):
        await transport.asend(parcel.group, parcel.message)
    return parcel.result


async def _after_commit_of_caller(parcel: Parcel[Any]) -> bool:
    """As :func:`_after_commit`, for this thread and for one that waits in ``async_to_sync``."""
    if may_have_waiting_caller():
        deliver = functools.partial(transport.send, parcel.group, parcel.message)
        try:
            if await sync_to_async(_after_commit)(deliver):
                return True
        except RuntimeError:
            # The caller has gone, or runs this very loop: its thread takes no calls.
            logger.debug("A push could not ask its caller for a transaction.")
    return _after_commit(functools.partial(_send_soon, parcel.group, parcel.message))


def _after_commit(deliver: Callable[[], None]) -> bool:
    """Have ``deliver`` called once every transaction open in this thread is committed.

    False where none is open. A failure then is raised nowhere: the data is saved, and the request
    that saved it goes on. The log counts the pushes that Redis did not take.
    """
    deliver = functools.partial(_deliver_or_count, deliver)
    opened = [db.alias for db in connections.all(initialized_only=True) if db.in_atomic_block]
    for alias in opened:
        deliver = functools.partial(transaction.on_commit, deliver, using=alias, robust=True)
    if opened:
        deliver()
    return bool(opened)


def _deliver_or_count(deliver: Callable[[], None]) -> None:
    try:
        deliver()
    except BackendError as error:
        _count_unsent(error)


def _count_unsent(error: BackendError) -> None:
    outage.count_unsent()
    logger.debug("A push could not be sent: %s", error)


def tell(parcel: Parcel[None]) -> None:
    """Send ``parcel`` from wherever Django sends a signal: any thread, or a running event loop.

    Never fails and never waits for long: what Redis does not take is counted in the log.
    """
    if transport.is_alone():
        return
    # A loop that runs for one caller only ends before it would send: an async view under WSGI.
    way = _send_soon if _is_in_lasting_loop() else transport.send
    deliver = functools.partial(way, parcel.group, parcel.message)
    if not (parcel.on_commit and _after_commit(deliver)):
        _deliver_or_count(deliver)


def _is_in_lasting_loop() -> bool:
    try:
        return not is_loop_of_a_caller()
    except RuntimeError:
        return False


_deliveries: set[asyncio.Task[None]] = set()


def _send_soon(group: str, message: layers.Message) -> None:
    task = asyncio.get_running_loop().create_task(_asend_or_count(group, message))
    _deliveries.add(task)
    task.add_done_callback(_deliveries.discard)


async def _asend_or_count(group: str, message: layers.Message) -> None:
    try:
        await transport.asend(group, message)
    except BackendError as error:
        _count_unsent(error)


def _refuse_in_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise SynchronousOnlyOperation(
        f"{name}() would block the running event loop. Use `await a{name}(...)` here."
    )


def _twins(
    prepare: Callable[P, Parcel[R]],
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
        transport.warn_if_alone()
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


def _parcel(
    group: str, envelope: Envelope, exclude: str | None, on_commit: bool
) -> Parcel[Envelope]:
    if exclude is not None and not isinstance(exclude, str):
        raise ValueError(f"expected exclude to be the id of a connection, got {exclude!r}")
    message = {
        "type": layers.PUSH,
        "group": group,
        "text": encode(envelope),
        "exclude": exclude,
    }
    return Parcel(group, message, envelope, on_commit)


def _instruction(group: str, instruction: str, **arguments: Any) -> Parcel[None]:
    message = {
        "type": layers.INSTRUCT,
        "group": group,
        "instruction": instruction,
        "arguments": arguments,
    }
    return Parcel(group, message, None, False)


def order(
    target: str, instruction: str, *, on_commit: bool = True, **arguments: Any
) -> Parcel[None]:
    """An instruction to the members of the group ``target``, sent to every process.

    Unlike :func:`_instruction` it also reaches a connection that is only now on its way into the
    group: each hub remembers for a while what it heard.
    """
    message = {
        "type": layers.INSTRUCT,
        "group": orders_group(),
        "target": target,
        "instruction": instruction,
        "arguments": arguments,
    }
    return Parcel(orders_group(), message, None, on_commit)


def _send_to_user(
    user: Any,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Parcel[Envelope]:
    """Push to every connection of ``user``, a user object or a primary key.

    ``payload`` is anything JSON can hold; dates, ``Decimal`` and ``UUID`` are written as text.
    ``exclude`` is the id of a connection that gets nothing. Inside ``transaction.atomic()`` the
    push waits for the commit, and a rollback forgets it; ``on_commit=False`` sends at once.

    Returns the envelope. Raises ``ValueError`` for a user that cannot be one, ``PayloadError`` for
    a payload that is not JSON, and (the sync twin) ``SynchronousOnlyOperation`` where an event
    loop runs.
    """
    envelope = make_envelope(type, payload, id=id)
    return _parcel(user_group(user_key(user)), envelope, exclude, on_commit)


def _send_to_room(
    room: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Parcel[Envelope]:
    """Push to every subscriber of ``room``; otherwise as :func:`send_to_user`."""
    name = _room_name(room)
    envelope = make_envelope(type, payload, id=id, room=name)
    return _parcel(room_group(name), envelope, exclude, on_commit)


def _send_to_role(
    role: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Parcel[Envelope]:
    """Push to every connection of ``role`` and of each higher role; as :func:`send_to_user`."""
    if role not in conf.ROLES:
        raise ValueError(f"expected one of ROLES ({', '.join(conf.ROLES)}), got {role!r}")
    envelope = make_envelope(type, payload, id=id)
    return _parcel(role_group(role), envelope, exclude, on_commit)


def _broadcast(
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    exclude: str | None = None,
    on_commit: bool = True,
) -> Parcel[Envelope]:
    """Push to every connection of every logged-in user; otherwise as :func:`send_to_user`."""
    envelope = make_envelope(type, payload, id=id)
    return _parcel(authenticated_group(), envelope, exclude, on_commit)


def _send_to_connection(
    connection_id: str,
    type: str,
    payload: Any = None,
    *,
    id: str | None = None,
    on_commit: bool = True,
) -> Parcel[Envelope]:
    """Push to one connection, by the ``connectionId`` of its first frame."""
    envelope = make_envelope(type, payload, id=id)
    return _parcel(_connection_group(connection_id), envelope, None, on_commit)


def _disconnect_user(
    user: Any, *, code: int = CloseCode.DISCONNECTED, reason: str = ""
) -> Parcel[None]:
    """Close every connection of ``user`` at once, with ``code`` (1000 or 3000 to 4999).

    Clients reconnect by themselves after a code for which
    :func:`pm_realtime.protocol.may_reconnect` is true; after the default, 4503, they do not.
    """
    arguments = _close_arguments(code, reason)
    return _instruction(user_group(user_key(user)), "close", **arguments)


def _disconnect_connection(
    connection_id: str, *, code: int = CloseCode.DISCONNECTED, reason: str = ""
) -> Parcel[None]:
    """Close one connection at once; otherwise as :func:`disconnect_user`."""
    arguments = _close_arguments(code, reason)
    return _instruction(_connection_group(connection_id), "close", **arguments)


def _subscribe(connection_id: str, room: str) -> Parcel[None]:
    """Have a connection join ``room``, whatever its role; the client is told ``subscribed``.

    The room's ``max_connections`` holds here too.
    """
    return _instruction(_connection_group(connection_id), "subscribe", room=_room_name(room))


def _unsubscribe(connection_id: str, room: str, *, reason: str | None = None) -> Parcel[None]:
    """Take a connection out of ``room``; the client is told ``unsubscribed`` with ``reason``."""
    group = _connection_group(connection_id)
    return _instruction(group, "unsubscribe", room=_room_name(room), reason=reason)


def _refresh_user(user: Any, *, on_commit: bool = True) -> Parcel[None]:
    """Look again who ``user`` is and may do, on every connection of theirs in every process.

    Session, activity and role are read anew, and each room that was joined is decided anew, its
    ``authorize`` included: what is not allowed any more is left (``unsubscribed`` with the reason
    ``forbidden``), or the connection ends. This happens by itself when the user, their Django
    groups or their session change through the ORM; call it where roles or rules live elsewhere.
    Inside ``transaction.atomic()`` it waits for the commit, unless ``on_commit`` is False.
    """
    return order(user_group(user_key(user)), "refresh", on_commit=on_commit)


def _refresh_room(room: str, *, on_commit: bool = True) -> Parcel[None]:
    """Decide anew who may be in ``room``, for all in it; otherwise as :func:`refresh_user`."""
    name = _room_name(room)
    return order(room_group(name), "refresh_room", on_commit=on_commit, room=name)


def _room_name(room: object) -> str:
    try:
        return check_room(room)
    except CommandError as error:
        raise ValueError(f"{error.message} Got {room!r}.") from None


def _connection_group(connection_id: object) -> str:
    if not isinstance(connection_id, str) or not connection_id:
        raise ValueError(f"expected the id of a connection as text, got {connection_id!r}")
    return connection_group(connection_id)


def _close_arguments(code: int, reason: str) -> dict[str, Any]:
    if not isinstance(code, int) or not (code == 1000 or 3000 <= code <= 4999):
        raise ValueError(f"expected a close code of 1000 or 3000 to 4999, got {code!r}")
    return {"code": int(code), "reason": str(reason)}


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
