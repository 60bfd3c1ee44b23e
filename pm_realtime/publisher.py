"""What a thread sends to a group of ``RedisPubSubChannelLayer``: one PUBLISH on a kept socket.

The layer itself speaks asyncio only. Asked from a thread, it would need an event loop, and with
``async_to_sync`` a new connection to Redis for each message.
"""

import atexit
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any, Final

from channels.layers import BaseChannelLayer

from pm_realtime.concurrency import after_fork
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.redis import (
    SERVER_ERRORS,
    address_of,
    driver_for_threads,
    host_problems,
    open_pools,
    read_hosts,
)

try:
    from channels_redis.pubsub import (  # type: ignore[import-untyped]
        RedisPubSubChannelLayer,
        RedisPubSubLoopLayer,
    )
except ImportError:
    is_installed = False
else:
    is_installed = True

logger = logging.getLogger("pm_realtime.push")

#: Connections of one process to each of the layer's servers; no more threads send at once.
POOL_SIZE: Final = 4


#: Options of a host that a client which blocks cannot do anything with.
ASYNCIO_ONLY: Final = frozenset({"connection_class", "parser_class", "redis_connect_func"})


class Publisher:
    """Sends to the groups of ``layer``, in the way the layer itself would. For any thread."""

    def __init__(self, layer: Any, timeout: float) -> None:
        self._layer = layer
        hosts = layer._args[0] if layer._args else layer._kwargs.get("hosts")
        for where, problem in host_problems(hosts):
            raise BackendError(f"The hosts{where} of the channel layer: {problem}")
        self._names = RedisPubSubLoopLayer(*layer._args, **layer._kwargs, channel_layer=layer)
        self._servers = {shard: _Server(shard.host, timeout) for shard in self._names._shards}

    def send(self, group: str, message: dict[str, Any]) -> None:
        """Publish ``message``; raise ``BackendError`` where Redis does not take it in time."""
        channel = self._names._get_group_channel_name(group)
        server = self._servers[self._names._get_shard(channel)]
        server.publish(channel, self._layer.serialize(message))

    def close(self) -> None:
        """Close all sockets; the next message opens one again."""
        for server in self._servers.values():
            server.close()


class _Server:
    def __init__(self, host: dict[str, Any], timeout: float) -> None:
        (host,) = read_hosts([host])
        if found := ASYNCIO_ONLY & host.keys():
            raise ValueError(f"{', '.join(sorted(found))} is for asyncio")
        driver = driver_for_threads()
        self._pools = open_pools(host, timeout, driver, max_connections=POOL_SIZE)
        self._redis = driver.client(connection_pool=self._pools[0])
        self._slots = threading.BoundedSemaphore(POOL_SIZE)
        self._timeout = timeout

    def publish(self, channel: str, text: bytes) -> None:
        with self._slot():
            try:
                self._redis.publish(channel, text)
            except SERVER_ERRORS as error:
                raise self._failure(str(error)) from error
            except (ValueError, TypeError, AttributeError) as error:
                # A value of an option that only shows itself while a socket is opened.
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


_lock = threading.Lock()
_made: tuple[BaseChannelLayer, Publisher | None] | None = None


def get_publisher(layer: BaseChannelLayer, timeout: float) -> Publisher | None:
    """The publisher of ``layer``, made at first; None where only the layer itself can send.

    ``timeout`` is in seconds and bounds each message. Raises ``BackendError`` where the layer's
    hosts cannot be used at all.
    """
    global _made
    made = _made
    if made is None or made[0] is not layer:
        with _lock:
            if _made is None or _made[0] is not layer:
                _close()
                _made = (layer, _make(layer, timeout))
            made = _made
    return made[1]


def _make(layer: BaseChannelLayer, timeout: float) -> Publisher | None:
    if not is_installed or not isinstance(layer, RedisPubSubChannelLayer):
        return None
    if hasattr(type(layer), "group_send"):
        return None  # A subclass that has its own way.
    try:
        return Publisher(layer, timeout)
    except BackendError:
        raise  # The layer itself could not do it either.
    except Exception as error:
        # The layer may take options, or have changed in ways, that only itself understands.
        logger.info("Pushes of threads go through an event loop: %r", error)
        return None


def _close() -> None:
    if _made is not None and _made[1] is not None:
        _made[1].close()


def _forget() -> None:
    """A forked child sends on sockets of its own; those of its parent it leaves alone."""
    global _lock, _made
    _lock = threading.Lock()
    _made = None


atexit.register(_close)
after_fork(_forget)
