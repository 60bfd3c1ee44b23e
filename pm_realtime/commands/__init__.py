"""The commands of clients. A handler raises ``CommandError`` to refuse one."""

# fmt: off
from pm_realtime.commands.declarations import DECLARATIONS, Declaration, command
from pm_realtime.commands.registry import COMMANDS, check_form, handle, is_instant
# fmt: on
