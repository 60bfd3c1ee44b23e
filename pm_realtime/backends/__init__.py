"""The state shared between processes: connections, users, rooms and exact limits."""

# fmt: off
from pm_realtime.backends.base import Admission, Backend, ConnectionInfo, Policy, Stats
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.backends.redis import RedisBackend, check_hosts
from pm_realtime.backends.selection import MEMORY, REDIS, backend_path, get_backend
# fmt: on
