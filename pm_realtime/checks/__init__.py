"""The system checks."""

from pm_realtime.checks.checks import check_environment, check_settings

__all__ = [
    "check_environment",
    "check_settings",
]
