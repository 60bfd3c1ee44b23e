"""Control messages: server code that closes, moves or rechecks connections.

A message about access rights goes to the hub of every process through a stream, where connections
that are just joining its target find it. It is sent again until Redis takes it.
"""

import secrets
from typing import Any

from pm_realtime import layer
from pm_realtime.layer import ControlMessage, Refresh
from pm_realtime.protocol import CloseCode
from pm_realtime.push.control_stream import control_for
from pm_realtime.push.outgoing import Direct, Outgoing, asend, send_from_signal
from pm_realtime.push.targets import connection_group, room_name, user_key
from pm_realtime.push.twins import sending_twins
from pm_realtime.texts import shown_text


def send_control(target: str, message: ControlMessage, *, on_commit: bool = True) -> None:
    """Send ``message`` to the members of the group ``target`` in every process.

    For receivers of Django's signals, in any thread or running event loop: it never raises and
    never waits for long. The log counts the messages that Redis does not take.
    """
    send_from_signal(_to_every_process(target, message, on_commit))


def refresh_after_commit(target: str, *, if_changed: bool = False) -> None:
    """Have the members of ``target`` refresh after the commit; otherwise as :func:`send_control`.

    With ``if_changed``, rooms are decided anew only if a field of the user has changed.
    A :class:`ChangePending` goes out before the commit, so that no push that is sent after the
    commit overtakes the refresh.
    """
    change = secrets.token_hex(8)
    pending = _to_every_process(target, layer.ChangePending(change), on_commit=False)
    send_from_signal(
        _to_every_process(target, Refresh(change, if_changed), on_commit=True),
        before_commit=pending._replace(retry=None),
    )


def _to_every_process(
    target: str, message: ControlMessage, on_commit: bool, fail_silently: bool | None = None
) -> Outgoing[None]:
    first = retry = control_for(target, message)
    if isinstance(message, Refresh):
        # It waits for no change any more: its change is committed by then.
        retry = control_for(target, Refresh(), first.idempotency_key)
    return Outgoing(first, None, on_commit, fail_silently, retry)


def _to_members(group: str, message: ControlMessage, fail_silently: bool | None) -> Outgoing[None]:
    """``message`` for the present members of ``group``, sent at once and only once."""
    direct = Direct(group, layer.control_message(group, message))
    return Outgoing(direct, None, False, fail_silently)


async def aevict(connection_id: str, close: layer.Close) -> None:
    """Close a connection that is open and not counted any more."""
    await asend(_to_members(connection_group(connection_id), close, fail_silently=False))


def _disconnect_user(
    user: Any,
    *,
    code: int = CloseCode.DISCONNECTED,
    reason: str = "",
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[None]:
    """Close every connection of ``user``, with ``code`` (1000 or 3000 to 4999).

    Also those that are just opening, but none that begins to open later. Clients reconnect by
    themselves after a code for which :func:`pm_realtime.protocol.may_reconnect` is true; after the
    default, 4503, they do not. Inside ``transaction.atomic()`` it waits for the commit, unless
    ``on_commit`` is False.
    """
    target = layer.user_group(user_key(user))
    return _to_every_process(target, _close(code, reason), on_commit, fail_silently)


def _disconnect_connection(
    connection_id: str,
    *,
    code: int = CloseCode.DISCONNECTED,
    reason: str = "",
    on_commit: bool = True,
    fail_silently: bool | None = None,
) -> Outgoing[None]:
    """Close one connection; otherwise as :func:`disconnect_user`."""
    target = connection_group(connection_id)
    return _to_every_process(target, _close(code, reason), on_commit, fail_silently)


def _close(code: int, reason: str) -> ControlMessage:
    if not isinstance(code, int) or not (code == 1000 or 3000 <= code <= 4999):
        raise ValueError(f"expected a close code of 1000 or 3000 to 4999, got {code!r}")
    return layer.Close(int(code), _reason(reason))


def _reason(reason: object) -> str:
    if reason is None:
        return ""
    text = shown_text(reason)
    return (shown_text(str(reason)) or "") if text is None else text


def _subscribe(
    connection_id: str, room: str, *, fail_silently: bool | None = None
) -> Outgoing[None]:
    """Have a connection join ``room``, whatever its role; the client is told ``subscribed``.

    The room's ``max_connections`` holds here too.
    """
    message = layer.Subscribe(room_name(room))
    return _to_members(connection_group(connection_id), message, fail_silently)


def _unsubscribe(
    connection_id: str,
    room: str,
    *,
    reason: str | None = None,
    fail_silently: bool | None = None,
) -> Outgoing[None]:
    """Take a connection out of ``room``; the client is told ``unsubscribed`` with ``reason``."""
    text = None if reason is None else _reason(reason)
    message = layer.Unsubscribe(room_name(room), text)
    return _to_members(connection_group(connection_id), message, fail_silently)


def _refresh_user(
    user: Any, *, on_commit: bool = True, fail_silently: bool | None = None
) -> Outgoing[None]:
    """Look again who ``user`` is and may do, on every connection of theirs in every process.

    The session, the activity and the role are read again, and every joined room is checked again
    with its ``authorize``. A connection leaves the rooms that it may no longer be in
    (``unsubscribed`` with the reason ``forbidden``), or ends. This happens by itself when the
    user, their Django groups or their session change through the ORM. Call it if roles or rules
    depend on other data. Inside ``transaction.atomic()`` it waits for the commit, unless
    ``on_commit`` is False.
    """
    return _to_every_process(layer.user_group(user_key(user)), Refresh(), on_commit, fail_silently)


def _refresh_room(
    room: str, *, on_commit: bool = True, fail_silently: bool | None = None
) -> Outgoing[None]:
    """Decide anew who may be in ``room``, for all in it; otherwise as :func:`refresh_user`."""
    name = room_name(room)
    message = layer.RefreshRoom(name)
    return _to_every_process(layer.room_group(name), message, on_commit, fail_silently)


disconnect_user, adisconnect_user = sending_twins(_disconnect_user)
disconnect_connection, adisconnect_connection = sending_twins(_disconnect_connection)
subscribe, asubscribe = sending_twins(_subscribe)
unsubscribe, aunsubscribe = sending_twins(_unsubscribe)
refresh_user, arefresh_user = sending_twins(_refresh_user)
refresh_room, arefresh_room = sending_twins(_refresh_room)
