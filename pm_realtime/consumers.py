"""The consumer of a site that composes its own routing or extends the connection."""

from pm_realtime.connection import RealtimeConsumer

__all__ = ["RealtimeConsumer"]
