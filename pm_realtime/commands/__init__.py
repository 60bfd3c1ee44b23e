"""The commands of clients."""

from pm_realtime.commands.registry import check_form, handle, is_instant

__all__ = [
    "check_form",
    "handle",
    "is_instant",
]
