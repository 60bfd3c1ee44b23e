"""Logs of events and outages, with repeated lines throttled."""

# fmt: off
from pm_realtime.observability.event_log import log_event, log_rate_limit
from pm_realtime.observability.log_throttle import log_failure, throttle
from pm_realtime.observability.outages import LAYER, STATE, log_refusal, outage
# fmt: on
