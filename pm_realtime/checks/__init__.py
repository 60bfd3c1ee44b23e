"""System checks: each message has the setting, the expected and the found value, and a hint."""

# fmt: off
from pm_realtime.checks.backend import check_servers
from pm_realtime.checks.declarations import check_declarations
from pm_realtime.checks.layer import check_environment
from pm_realtime.checks.settings import check_settings
# fmt: on
