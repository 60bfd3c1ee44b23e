"""Pushes from server code, control messages to connections, and queries about them."""

# fmt: off
from pm_realtime.push.commits import deliver_committed
from pm_realtime.push.control import (
    adisconnect_connection, adisconnect_user, aevict, arefresh_room, arefresh_user, asubscribe,
    aunsubscribe, disconnect_connection, disconnect_user, refresh_after_commit, refresh_room,
    refresh_user, send_control, subscribe, unsubscribe,
)
from pm_realtime.push.control_stream import CONTROL_STREAM_TTL_SECONDS
from pm_realtime.push.history import History, aget_cursor, aget_history, get_cursor, get_history
from pm_realtime.push.presence import (
    Presence, PresenceMember, aget_presence, ais_present, aset_presence, atell_presence,
    get_presence, is_present, set_presence,
)
from pm_realtime.push.pushes import (
    abroadcast, apublish_message, apublish_volatile, asend_to_connection, asend_to_role,
    asend_to_room, asend_to_user, broadcast, send_to_connection, send_to_role, send_to_room,
    send_to_user,
)
from pm_realtime.push.queries import (
    aget_connection, aget_stats, aget_user_connections, ais_online, get_connection, get_stats,
    get_user_connections, is_online,
)
from pm_realtime.push.streams import capture_in, push_streams
from pm_realtime.push.targets import room_and_retention, user_key
# fmt: on
