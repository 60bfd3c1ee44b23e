"""System checks: each message has the setting, the expected and the found value, and a hint."""

from pm_realtime.checks.environment import check_environment
from pm_realtime.checks.settings import check_settings

__all__ = [
    "check_environment",
    "check_settings",
]
