"""Rooms: their options, their rules, and joining and leaving them."""

# fmt: off
from pm_realtime.rooms.membership import (
    Connection, force_join, force_leave, join, leave, reconsider,
)
from pm_realtime.rooms.options import (
    OPTION_NAMES, SERVER, check_publish, find_room, is_route, parse_route,
)
from pm_realtime.rooms.site_code import run_site_code
# fmt: on
