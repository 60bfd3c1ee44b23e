"""The commands of clients. A handler raises ``CommandError`` to refuse one."""

# fmt: off
from pm_realtime.commands.builtin import COMMANDS, as_volatile
from pm_realtime.commands.decisions import convert_payload, find_refusal, route_values
from pm_realtime.commands.declarations import DECLARATIONS, Declaration, command
from pm_realtime.commands.options import find_contradictions
from pm_realtime.commands.dispatch import handle, is_instant, read
from pm_realtime.commands.site_calls import commands_under_way
from pm_realtime.commands.site_commands import SiteCommand
# fmt: on
