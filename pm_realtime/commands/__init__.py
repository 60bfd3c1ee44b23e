"""The commands of clients. A handler raises ``CommandError`` to refuse one."""

from pm_realtime.commands.registry import COMMANDS, check_form, handle, is_instant

__all__ = [
    "COMMANDS",
    "check_form",
    "handle",
    "is_instant",
]
