"""The commands of clients."""

from pm_realtime.commands.registry import COMMANDS, check_form, handle, is_instant

__all__ = [
    "COMMANDS",
    "check_form",
    "handle",
    "is_instant",
]
