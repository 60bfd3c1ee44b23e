"""The state shared between processes: connections, users, rooms and exact limits."""

# fmt: off
from pm_realtime.backends.base import Admission, Backend, ConnectionInfo, Policy, Stats
from pm_realtime.backends.memory import MemoryBackend
from pm_realtime.backends.memory_results import MemoryResults
from pm_realtime.backends.memory_streams import BYTES_PER_MESSAGE, MemoryStreams
from pm_realtime.backends.presence import (
    TELL_INTERVAL_SECONDS, Arrival, Departure, Entry, Exit, Mark, PresenceStore,
    PresentMember, Profile, Reading, Sweep,
)
from pm_realtime.backends.redis import RedisBackend, check_hosts
from pm_realtime.backends.results import Claim, ClaimState, Results
from pm_realtime.backends.selection import (
    MEMORY, REDIS, backend_path, get_backend, get_presence_store, get_results, get_streams,
    use_streams,
)
from pm_realtime.backends.streams import (
    BYTES_PER_PAGE, Page, Position, Publication, Receipt, StreamMessage, Streams, StreamStats,
)
# fmt: on
