"""The settings of this package, the rooms among them, and the options of its browser client."""

# fmt: off
from pm_realtime.conf.client_options import as_javascript, describe_fault
from pm_realtime.conf.presence import PresenceOptions
from pm_realtime.conf.rates import Rate, parse_rate
from pm_realtime.conf.rooms import (
    ANONYMOUS, OPTION_NAMES, ROUTE_VALUE, SERVER, Fault, Retention, Room, RoomOptions, find_faults,
    has_presence, has_text, is_route, message_options, missed_route, parse_route, retention,
    retention_of, room_of,
)
from pm_realtime.conf.settings import Conf, Setting, batch_window_seconds, conf

__all__ = [
    "ANONYMOUS", "OPTION_NAMES", "ROUTE_VALUE", "SERVER", "Conf", "Fault", "PresenceOptions",
    "Rate", "Retention", "Room", "RoomOptions", "Setting", "as_javascript", "batch_window_seconds",
    "conf", "describe_fault", "find_faults", "has_presence", "has_text", "is_route",
    "message_options", "missed_route", "parse_rate", "parse_route", "retention", "retention_of",
    "room_of",
]
# fmt: on
