"""The backend of sites on many processes, in Redis or Valkey."""

from pm_realtime.backends.redis.backend import RedisBackend
from pm_realtime.backends.redis.client import check_hosts
from pm_realtime.backends.redis.lease import NodeTimings

__all__ = ["NodeTimings", "RedisBackend", "check_hosts"]
