"""Everything that is special about the layers of channels-redis.

Nothing else in this package imports channels-redis or touches what is private in its layers. A
layer may change inside, so a step that is only an improvement is left out if it fails.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs

from pm_realtime.concurrency import note_result
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer.adapter import (
    CHANNEL_PREFIX,
    LAYER_CALL_TIMEOUT_SECONDS,
    SUBSCRIPTIONS,
    LayerAdapter,
)
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, log_refusal, outage
from pm_realtime.redis import (
    SERVER_ERRORS,
    address_of,
    default_socket_timeout,
    describe,
    driver_for_threads,
    host_problems,
    is_lost_connection,
    open_pools,
    read_hosts,
)

try:
    from channels_redis.core import (  # type: ignore[import-untyped]
        RedisChannelLayer as CoreLayer,
    )
    from channels_redis.pubsub import (  # type: ignore[import-untyped]
        RedisPubSubChannelLayer as PubSubLayer,
    )
    from channels_redis.pubsub import RedisPubSubLoopLayer
except ImportError:
    CoreLayer = PubSubLayer = ()  # No layer is an instance of these.

logger = logging.getLogger("pm_realtime.push")

#: Connections of one process to each of the layer's servers, and so the threads that send at once.
CONNECTIONS_PER_SERVER: Final = 4
#: For closing sockets, as the layer may wait for a server that does not answer.
CLOSE_TIMEOUT_SECONDS: Final = 1.0
#: RedisChannelLayer waits this long for a message; a shorter socket timeout ends its receivers.
BLOCKING_SECONDS: Final = 5
#: Options of a host that a client which blocks cannot use.
ASYNCIO_ONLY: Final = frozenset({"connection_class", "parser_class", "redis_connect_func"})


class PubSubAdapter(LayerAdapter):
    """For ``RedisPubSubChannelLayer``, which has a layer of its own in each event loop."""

    shows_waiting = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._lock = threading.Lock()
        self._publisher: ThreadPublisher | None = None
        self._is_publisher_made = False

    def _own(self) -> Any:
        """The layer of the running loop. Raises ``KeyError`` if it has none yet."""
        return self.layer._layers[asyncio.get_running_loop()]

    async def new_channel(self) -> str:
        try:
            return await super().new_channel()
        except BaseException:
            with suppress(Exception):
                own = self._own()
                for name in [*own.channels]:
                    if name.startswith(own.prefix + CHANNEL_PREFIX):
                        del own.channels[name]
            raise

    def _servers(self) -> tuple[Callable[[str], int], int]:
        layer = self.layer
        return (
            lambda group: id(layer._get_shard(layer._get_group_channel_name(group))),
            len(layer._shards),
        )

    def forget_channel(self, channel: str) -> None:
        self.layer.channels.pop(channel, None)

    async def reconnect(self) -> None:
        """Close the sockets that listen; the layer opens new ones.

        It only reads from them, so it never notices that the other end vanished without a word.
        redis-py subscribes again to what it was subscribed to.
        """
        with suppress(Exception):
            for shard in self._own()._shards:
                connection = getattr(shard._pubsub, "connection", None)
                if connection is not None:
                    with suppress(Exception):
                        await connection.disconnect(nowait=True)

    async def close_idle(self) -> None:
        """Close everything if no channel and no group is in use.

        While the server is away, the layer tries to subscribe again each second and logs it.
        """
        with suppress(Exception):
            own = self._own()
            for shard in own._shards:
                if not own.channels and not own.groups:
                    async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                        await shard.flush()

    def report_lost_subscriptions(self) -> None:
        logging.getLogger("channels_redis.pubsub").addFilter(_report_lost_subscription)

    def publisher(self) -> "ThreadPublisher | None":
        with self._lock:
            # A subclass that has this method sends in its own way.
            if not self._is_publisher_made and not hasattr(type(self.layer), "group_send"):
                try:
                    self._publisher = ThreadPublisher(self.layer)
                except BackendError:
                    raise  # The layer itself could not use these hosts either.
                except Exception as error:
                    # The layer has options that only it understands, or has changed inside.
                    logger.info("Pushes of threads go through an event loop: %r", error)
            self._is_publisher_made = True
        return self._publisher

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()


def _report_lost_subscription(record: logging.LogRecord) -> bool:
    """Turn a traceback that ``RedisPubSubChannelLayer`` logs each second into an outage."""
    error = record.exc_info[1] if record.exc_info else None
    if not is_lost_connection(error):
        return True
    log_refusal(LAYER, describe(error))
    outage.begin(SUBSCRIPTIONS, LAYER, describe(error))
    return False


class CoreAdapter(LayerAdapter):
    """For ``RedisChannelLayer``."""

    confirms_joins = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        #: Channels that are not read any more, and since when, while messages for them may come.
        self._forgotten: dict[str, float] = {}

    def _servers(self) -> tuple[Callable[[str], int], int]:
        return self.layer.consistent_hash, self.layer.ring_size

    async def receive(self, channel: str) -> Any:
        message = await self.layer.receive(channel)
        # The layer cleans up behind each message in a task that nothing waits for.
        for cleaner in self.layer.receive_cleaners:
            cleaner.add_done_callback(note_result)
        return message

    def forget_channel(self, channel: str) -> None:
        """All channels of a process share one list in this layer.

        Messages for a closed channel arrive with those for the next one, and would stay.
        """
        now, buffers = time.monotonic(), self.layer.receive_buffer
        for name, since in list(self._forgotten.items()):
            buffers.pop(name, None)
            if now - since > self.layer.expiry:
                del self._forgotten[name]
        self._forgotten[channel] = now

    async def close_idle(self) -> None:
        with suppress(Exception):
            own = self.layer._layers[asyncio.get_running_loop()]
            for connection in own._connections.values():
                await connection.connection_pool.disconnect(inuse_connections=False)


class ThreadPublisher:
    """Sends to the groups of a pub/sub layer from any thread: one PUBLISH on a kept socket.

    The layer itself needs an event loop and, with ``async_to_sync``, a new connection to Redis for
    each message.
    """

    def __init__(self, layer: Any) -> None:
        self._layer = layer
        hosts = layer._args[0] if layer._args else layer._kwargs.get("hosts")
        for where, problem in host_problems(hosts):
            raise BackendError(f"The hosts{where} of the channel layer: {problem}")
        self._names = RedisPubSubLoopLayer(*layer._args, **layer._kwargs, channel_layer=layer)
        self._servers = {shard: _Server(shard.host) for shard in self._names._shards}

    def send(self, group: str, message: Message) -> None:
        """Publish ``message``. Raises ``BackendError`` if Redis does not take it in time."""
        channel = self._names._get_group_channel_name(group)
        server = self._servers[self._names._get_shard(channel)]
        server.publish(channel, self._layer.serialize(message))

    def close(self) -> None:
        """Close all sockets; the next message opens one again."""
        for server in self._servers.values():
            for pool in server.pools:
                pool.disconnect()


class _Server:
    def __init__(self, host: dict[str, Any]) -> None:
        (host,) = read_hosts([host])
        if found := ASYNCIO_ONLY & host.keys():
            raise ValueError(f"{', '.join(sorted(found))} is for asyncio")
        timeout, driver = LAYER_CALL_TIMEOUT_SECONDS, driver_for_threads
        self.pools = open_pools(host, timeout, driver, max_connections=CONNECTIONS_PER_SERVER)
        self._redis = driver.Redis(connection_pool=self.pools[0])
        self._name = f"Redis at {address_of(self.pools[0])}"
        self._slots = threading.BoundedSemaphore(CONNECTIONS_PER_SERVER)

    def publish(self, channel: str, text: bytes) -> None:
        if not self._slots.acquire(timeout=LAYER_CALL_TIMEOUT_SECONDS):
            seconds = LAYER_CALL_TIMEOUT_SECONDS
            raise OutageError(f"{self._name}: no connection was free within {seconds:g} s")
        try:
            self._redis.publish(channel, text)
        except SERVER_ERRORS as error:
            reason = f"{self._name}: {describe(error)}"
            log_refusal(LAYER, reason)
            raise OutageError(reason) from error
        except (ValueError, TypeError, AttributeError) as error:
            # A wrong value of an option that is only read when a socket is opened.
            raise BackendError(f"{self._name}: {type(error).__name__}: {error}") from error
        finally:
            self._slots.release()


def short_socket_timeout(hosts: Any) -> float | None:
    """The first socket timeout, in seconds, of which an idle ``RedisChannelLayer`` dies.

    None if all of the layer's ``hosts`` wait long enough.
    """
    hosts = hosts or ["redis://localhost:6379"]
    for host in hosts if isinstance(hosts, list | tuple) else [hosts]:
        options = host if isinstance(host, Mapping) else {"address": host}
        query = parse_qs(str(options.get("address")).partition("?")[2])
        default: Any = query.get("socket_timeout", [default_socket_timeout()])[-1]
        with suppress(TypeError, ValueError):  # None, or not a number.
            if (timeout := float(options.get("socket_timeout", default))) <= BLOCKING_SECONDS:
                return timeout
    return None
