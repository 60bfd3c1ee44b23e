"""The one table of what a connection does for each control message."""

from collections.abc import Callable
from typing import Any, Final

from pm_realtime.connection.revocation import Revocation
from pm_realtime.connection.state import Connection
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

_Act = Callable[[Connection, Revocation, Any], None]

_TABLE: Final[dict[type[ControlMessage], _Act]] = {
    Close: lambda connection, _, it: connection.end(it.code, it.reason),
    Subscribe: lambda connection, _, it: connection.begin(force_join(connection, it.room)),
    Unsubscribe: lambda connection, _, it: connection.begin(
        force_leave(connection, it.room, it.reason)
    ),
    Refresh: lambda _, revocation, it: revocation.refresh(it.change, if_changed=it.if_changed),
    ChangePending: lambda _, revocation, it: revocation.expect_change(it.change),
    Recheck: lambda _, revocation, it: revocation.recheck(),
    RefreshRoom: lambda _, revocation, it: revocation.refresh_room(it.room),
    SessionEnded: lambda _, revocation, it: revocation.end_session(it.session),
    SessionRekeyed: lambda _, revocation, it: revocation.rekey_session(it.session),
    CookieExpected: lambda _, revocation, it: revocation.expect_cookie(it.session),
    CookieRenewed: lambda _, revocation, it: revocation.renew_cookie(it),
}


def carry_out(connection: Connection, revocation: Revocation, message: ControlMessage) -> None:
    """Carry out ``message``, or begin to. Never waits."""
    _TABLE[type(message)](connection, revocation, message)
