"""redis-py, which is optional, for all that speaks to Redis or Valkey.

Nothing else in this package imports ``redis``.
"""

# fmt: off
from pm_realtime.redis.commands import Part, run_script
from pm_realtime.redis.driver import (
    SERVER_ERRORS, default_socket_timeout, driver_for_asyncio, driver_for_threads, is_broken_socket,
    is_demotion, is_installed, is_lost_connection,
)
from pm_realtime.redis.pools import (
    HOST_FORMS, address_of, close_idle, databases_of, host_problems, open_pools, read_hosts,
)
from pm_realtime.redis.publisher import SOCKET_LIFE_SECONDS, Publisher
from pm_realtime.redis.refusals import describe, refusal_in
# fmt: on
