"""Rooms: their options, their rules, and joining and leaving them."""

# fmt: off
from pm_realtime.rooms.connection import Connection
from pm_realtime.rooms.membership import (
    end_presence, follow_presence_rights, force_join, force_leave, join, leave, reconsider,
    renew_profiles,
)
from pm_realtime.rooms.options import check_publish, find_presence, find_room
from pm_realtime.rooms.own_state import OwnState, set_own_state
from pm_realtime.rooms.presence import (
    attach_viewer, close_presence, get_loop_presence, open_presence, own_key, prepare_picture,
)
from pm_realtime.rooms.site_code import run_async_site_code, run_in_site_thread, run_site_code
# fmt: on
