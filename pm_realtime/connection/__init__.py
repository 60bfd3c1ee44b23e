"""One WebSocket, from its handshake to its end."""

# fmt: off
from pm_realtime.connection.consumer import RealtimeConsumer
from pm_realtime.connection.gate import Gate, forget_counts
from pm_realtime.connection.origins import is_pattern
# fmt: on
