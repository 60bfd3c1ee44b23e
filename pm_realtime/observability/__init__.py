"""Logs of events and outages, with repeated lines throttled."""

from pm_realtime.observability.event_log import log_event, log_rate_limit
from pm_realtime.observability.log_throttle import throttle
from pm_realtime.observability.outages import LAYER, STATE, outage

__all__ = [
    "LAYER",
    "STATE",
    "log_event",
    "log_rate_limit",
    "outage",
    "throttle",
]
