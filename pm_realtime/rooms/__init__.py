"""Rooms: their options, their rules, and joining and leaving them."""

# fmt: off
from pm_realtime.rooms.authorize import run_site_code
from pm_realtime.rooms.membership import (
    Connection, force_join, force_leave, join, leave, reconsider,
)
from pm_realtime.rooms.options import check_publish, find_room
# fmt: on
