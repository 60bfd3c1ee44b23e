"""The settings of this package and the options of its browser client."""

# fmt: off
from pm_realtime.conf.client_options import as_javascript, describe_fault
from pm_realtime.conf.settings import Conf, Setting, batch_window_seconds, conf

__all__ = [
    "Conf", "Setting", "as_javascript", "batch_window_seconds", "conf", "describe_fault",
]
# fmt: on
