"""The streams to which pushes go: those of the backend, or those of a test that captures pushes.

Hubs read the former meanwhile, so an open connection of the test notices nothing.
"""

from pm_realtime.backends import Streams, get_streams

_captured: Streams | None = None


def push_streams() -> Streams:
    return get_streams() if _captured is None else _captured


def capture_in(streams: Streams | None) -> Streams | None:
    """Have pushes go to ``streams``; None ends it. Returns the ones of the call before."""
    global _captured
    before, _captured = _captured, streams
    return before
