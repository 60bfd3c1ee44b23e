"""Everything that is special about the layers of channels-redis.

Nothing else in this package imports channels-redis or touches what is private in its layers. A
layer may change inside, so a step that is only an improvement is left out if it fails.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs

from pm_realtime.concurrency import note_result
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.layer.contract import SUBSCRIPTIONS, LayerAdapter
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, outage
from pm_realtime.redis import (
    SERVER_ERRORS,
    address_of,
    default_socket_timeout,
    driver_for_threads,
    host_problems,
    is_lost_connection,
    open_pools,
    read_hosts,
)

try:
    from channels_redis.core import RedisChannelLayer  # type: ignore[import-untyped]
    from channels_redis.pubsub import (  # type: ignore[import-untyped]
        RedisPubSubChannelLayer,
        RedisPubSubLoopLayer,
    )
except ImportError:
    _core_layers: tuple[type, ...] = ()
    _pubsub_layers: tuple[type, ...] = ()
else:
    _core_layers = (RedisChannelLayer,)
    _pubsub_layers = (RedisPubSubChannelLayer,)

logger = logging.getLogger("pm_realtime.push")

#: Connections of one process to each of the layer's servers, and so the threads that send at once.
CONNECTIONS_PER_SERVER: Final = 4
#: For closing sockets, as the layer may wait for a server that does not answer.
RELEASE_TIMEOUT_SECONDS: Final = 1.0
#: Names tried for each server to find a group that is on it.
NAMES_PER_SERVER: Final = 100
#: RedisChannelLayer waits this long for a message; a shorter socket timeout ends its receivers.
BLOCKING_SECONDS: Final = 5
#: Options of a host that a client which blocks cannot use.
ASYNCIO_ONLY: Final = frozenset({"connection_class", "parser_class", "redis_connect_func"})


def is_pubsub(layer: object) -> bool:
    """Whether ``layer`` is a ``RedisPubSubChannelLayer``, or of a subclass."""
    return isinstance(layer, _pubsub_layers)


def is_core(layer: object) -> bool:
    """Whether ``layer`` is a ``RedisChannelLayer``, or of a subclass."""
    return isinstance(layer, _core_layers)


class _RedisAdapter(LayerAdapter):
    def one_group_of_each_server(self, name: Callable[[int], str]) -> list[str]:
        try:
            server_of, count = self._servers()
            found: dict[int, str] = {}
            for number in range(NAMES_PER_SERVER * count):
                found.setdefault(server_of(name(number)), name(number))
                if len(found) == count:
                    break
            return list(found.values())
        except Exception:
            return [name(0)]

    def _servers(self) -> tuple[Callable[[str], int], int]:
        """The function from a group to its server, and the number of servers."""
        raise NotImplementedError


class PubSubAdapter(_RedisAdapter):
    """For ``RedisPubSubChannelLayer``, which has a layer of its own in each event loop."""

    shows_waiting = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._lock = threading.Lock()
        self._publisher: ThreadPublisher | None = None
        self._is_publisher_made = False

    def _servers(self) -> tuple[Callable[[str], int], int]:
        layer = self.layer
        return (
            lambda group: id(layer._get_shard(layer._get_group_channel_name(group))),
            len(layer._shards),
        )

    def _queue(self, channel: str) -> "asyncio.Queue[Any] | None":
        queue: asyncio.Queue[Any] | None = self.layer.channels.get(channel)
        return queue

    def forget_channel(self, channel: str) -> None:
        self.layer.channels.pop(channel, None)

    def forget_failed_channels(self, prefix: str) -> None:
        with suppress(Exception):
            own = self._own()
            for name in [name for name in own.channels if name.startswith(own.prefix + prefix)]:
                del own.channels[name]

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
        with suppress(Exception):
            own = self._own()
            if not _is_used(own):
                await self.reconnect()
                for shard in own._shards:
                    await shard._redis.connection_pool.disconnect(inuse_connections=False)

    async def release(self) -> None:
        """While the server is away, the layer tries to subscribe again each second and logs it."""
        with suppress(Exception):
            own = self._own()
            if not _is_used(own):
                async with asyncio.timeout(RELEASE_TIMEOUT_SECONDS):
                    await own.flush()

    def report_lost_subscriptions(self) -> None:
        logging.getLogger("channels_redis.pubsub").addFilter(_lost_subscriptions)

    def publisher(self, timeout: float) -> "ThreadPublisher | None":
        if not self._is_publisher_made:
            with self._lock:
                if not self._is_publisher_made:
                    self._publisher = _make_publisher(self.layer, timeout)
                    self._is_publisher_made = True
        return self._publisher

    def close(self) -> None:
        if self._publisher is not None:
            self._publisher.close()

    def _own(self) -> Any:
        """The layer of the running loop. Raises ``KeyError`` if it has none yet."""
        return self.layer._layers[asyncio.get_running_loop()]


def _is_used(own: Any) -> bool:
    """Whether the pub/sub layer of a loop has a channel or a group."""
    return bool(own.channels or own.groups)


class CoreAdapter(_RedisAdapter):
    """For ``RedisChannelLayer``."""

    confirms_joins = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        #: Channels that are not read any more, and since when, while messages for them may come.
        self._forgotten: dict[str, float] = {}

    def _servers(self) -> tuple[Callable[[str], int], int]:
        return self.layer.consistent_hash, self.layer.ring_size

    async def receive(self, channel: str) -> Message:
        message: Message = await self.layer.receive(channel)
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


class _LostSubscriptions(logging.Filter):
    """Turns the traceback that ``RedisPubSubChannelLayer`` logs each second into an outage."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not is_lost_connection(error):
            return True
        outage.begin(SUBSCRIPTIONS, LAYER, error)
        return False


_lost_subscriptions: Final = _LostSubscriptions()


class ThreadPublisher:
    """Sends to the groups of a pub/sub layer from any thread: one PUBLISH on a kept socket.

    The layer itself needs an event loop and, with ``async_to_sync``, a new connection to Redis for
    each message. ``timeout`` is in seconds, for each message.
    """

    def __init__(self, layer: Any, timeout: float) -> None:
        self._layer = layer
        hosts = layer._args[0] if layer._args else layer._kwargs.get("hosts")
        for where, problem in host_problems(hosts):
            raise BackendError(f"The hosts{where} of the channel layer: {problem}")
        self._names = RedisPubSubLoopLayer(*layer._args, **layer._kwargs, channel_layer=layer)
        self._servers = {shard: _Server(shard.host, timeout) for shard in self._names._shards}

    def send(self, group: str, message: Message) -> None:
        """Publish ``message``. Raises ``BackendError`` if Redis does not take it in time."""
        channel = self._names._get_group_channel_name(group)
        server = self._servers[self._names._get_shard(channel)]
        server.publish(channel, self._layer.serialize(message))

    def close(self) -> None:
        """Close all sockets; the next message opens one again."""
        for server in self._servers.values():
            server.close()


def _make_publisher(layer: Any, timeout: float) -> ThreadPublisher | None:
    if hasattr(type(layer), "group_send"):
        return None  # A subclass that sends in its own way.
    try:
        return ThreadPublisher(layer, timeout)
    except BackendError:
        raise  # The layer itself could not use these hosts either.
    except Exception as error:
        # The layer has options that only it understands, or has changed inside.
        logger.info("Pushes of threads go through an event loop: %r", error)
        return None


class _Server:
    def __init__(self, host: dict[str, Any], timeout: float) -> None:
        (host,) = read_hosts([host])
        if found := ASYNCIO_ONLY & host.keys():
            raise ValueError(f"{', '.join(sorted(found))} is for asyncio")
        driver = driver_for_threads
        self._pools = open_pools(host, timeout, driver, max_connections=CONNECTIONS_PER_SERVER)
        self._redis = driver.Redis(connection_pool=self._pools[0])
        self._slots = threading.BoundedSemaphore(CONNECTIONS_PER_SERVER)
        self._timeout = timeout

    def publish(self, channel: str, text: bytes) -> None:
        with self._slot():
            try:
                self._redis.publish(channel, text)
            except SERVER_ERRORS as error:
                raise self._failure(str(error)) from error
            except (ValueError, TypeError, AttributeError) as error:
                # A wrong value of an option that is only read when a socket is opened.
                address = address_of(self._pools[0])
                raise BackendError(
                    f"Redis at {address}: {type(error).__name__}: {error}"
                ) from error

    @contextlib.contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=self._timeout):
            raise self._failure(f"no connection was free within {self._timeout:g} s")
        try:
            yield
        finally:
            self._slots.release()

    def _failure(self, what: str) -> OutageError:
        return OutageError(f"Redis at {address_of(self._pools[0])}: {what}")

    def close(self) -> None:
        for pool in self._pools:
            pool.disconnect()


def short_socket_timeout(hosts: Any) -> float | None:
    """The first socket timeout, in seconds, of which an idle ``RedisChannelLayer`` dies.

    None if all of the layer's ``hosts`` wait long enough.
    """
    hosts = hosts or ["redis://localhost:6379"]
    for host in hosts if isinstance(hosts, list | tuple) else [hosts]:
        timeout = _socket_timeout(host)
        if timeout is not None and timeout <= BLOCKING_SECONDS:
            return timeout
    return None


def _socket_timeout(host: Any) -> float | None:
    if isinstance(host, Mapping):
        if "socket_timeout" in host:
            return _seconds(host["socket_timeout"])
        host = host.get("address", "")
    if isinstance(host, str):
        given = parse_qs(host.partition("?")[2]).get("socket_timeout")
        return _seconds(given[-1]) if given else default_socket_timeout()
    return default_socket_timeout()


def _seconds(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
