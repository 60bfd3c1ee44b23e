"""Authenticated WebSockets for any Django site.

::

    from pm_realtime import send_to_user

    send_to_user(user, "notification", {"title": "Your export is ready"})
"""

# fmt: off
from pm_realtime.commands import command
from pm_realtime.exceptions import CommandError
from pm_realtime.pages import realtime_room
from pm_realtime.push import (
    Presence, PresenceMember, abroadcast, adisconnect_connection, adisconnect_user,
    aget_connection, aget_cursor, aget_history, aget_presence, aget_stats, aget_user_connections,
    ais_online, ais_present, arefresh_room, arefresh_user, asend_to_connection, asend_to_role,
    asend_to_room, asend_to_user, aset_presence, asubscribe, aunsubscribe, broadcast,
    disconnect_connection, disconnect_user, get_connection, get_cursor, get_history, get_presence,
    get_stats, get_user_connections, is_online, is_present, refresh_room, refresh_user,
    send_to_connection, send_to_role, send_to_room, send_to_user, set_presence, subscribe,
    unsubscribe,
)
from pm_realtime.protocol import Command
from pm_realtime.schemas import push_type

__version__ = "0.1.0"

__all__ = [
    "Command", "CommandError", "Presence", "PresenceMember", "__version__", "abroadcast",
    "adisconnect_connection", "adisconnect_user", "aget_connection", "aget_cursor", "aget_history",
    "aget_presence", "aget_stats", "aget_user_connections", "ais_online", "ais_present",
    "arefresh_room", "arefresh_user", "asend_to_connection", "asend_to_role", "asend_to_room",
    "asend_to_user", "aset_presence", "asubscribe", "aunsubscribe", "broadcast", "command",
    "disconnect_connection", "disconnect_user", "get_connection", "get_cursor", "get_history",
    "get_presence", "get_stats", "get_user_connections", "is_online", "is_present", "push_type",
    "realtime_room", "refresh_room", "refresh_user", "send_to_connection", "send_to_role",
    "send_to_room", "send_to_user", "set_presence", "subscribe", "unsubscribe",
]
# fmt: on
