"""What a connection does for each control message: the one table."""

from collections.abc import Callable
from typing import Any, Final

from pm_realtime.connection.revocation import Connection, Revocation
from pm_realtime.layer import (
    ChangePending,
    Close,
    ControlMessage,
    CookieExpected,
    CookieRenewed,
    Recheck,
    Refresh,
    RefreshRoom,
    SessionEnded,
    SessionRekeyed,
    Subscribe,
    Unsubscribe,
)
from pm_realtime.rooms import force_join, force_leave

Act = Callable[[Connection, Revocation, Any], None]

_TABLE: Final[dict[type[ControlMessage], Act]] = {
    Close: lambda connection, _, message: connection.end(message.code, message.reason),
    Subscribe: lambda connection, _, message: connection.begin(
        force_join(connection, message.room)
    ),
    Unsubscribe: lambda connection, _, message: connection.begin(
        force_leave(connection, message.room, message.reason)
    ),
    Refresh: lambda _, revocation, message: revocation.refresh(message.change),
    ChangePending: lambda _, revocation, message: revocation.expect_change(message.change),
    Recheck: lambda _, revocation, message: revocation.recheck(),
    RefreshRoom: lambda _, revocation, message: revocation.refresh_room(message.room),
    SessionEnded: lambda _, revocation, message: revocation.end_session(message.session),
    SessionRekeyed: lambda _, revocation, message: revocation.rekey_session(message.session),
    CookieExpected: lambda _, revocation, message: revocation.expect_cookie(message.session),
    CookieRenewed: lambda _, revocation, message: revocation.renew_cookie(
        message.session, message.auth_hash, message.expires_at
    ),
}


def carry_out(connection: Connection, revocation: Revocation, message: ControlMessage) -> None:
    """Carry out ``message``, or begin to. Never waits."""
    _TABLE[type(message)](connection, revocation, message)
