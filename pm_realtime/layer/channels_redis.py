"""Everything that is special about the layers of channels-redis.

Nothing else in this package imports channels-redis or touches what is private in its layers. A
layer may change inside, so a step that is only an improvement is left out if it fails.
"""

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs
from weakref import WeakKeyDictionary

from pm_realtime.concurrency import note_result
from pm_realtime.exceptions import BackendError
from pm_realtime.layer.adapter import CHANNEL_PREFIX, SUBSCRIPTIONS, LayerAdapter, Server
from pm_realtime.layer.thread_publisher import ThreadPublisher, ThreadScripts, unused_key
from pm_realtime.layer.wire import Message
from pm_realtime.observability import LAYER, log_refusal, outage
from pm_realtime.redis import (
    SOCKET_LIFE_SECONDS,
    close_idle,
    default_socket_timeout,
    describe,
    driver_for_asyncio,
    host_problems,
    is_broken_socket,
    is_demotion,
    is_lost_connection,
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

T = TypeVar("T")

#: For closing sockets, as the layer may wait for a server that does not answer.
CLOSE_TIMEOUT_SECONDS: Final = 1.0
#: Between two looks whether the server that an event loop publishes to takes writes: a replica
#: takes PUBLISH too.
CHECK_INTERVAL_SECONDS: Final = 1.0
#: RedisChannelLayer waits this long for a message; a shorter socket timeout ends its receivers.
BLOCKING_SECONDS: Final = 5


class _RedisAdapter(LayerAdapter):
    """For both layers: a message that met a broken socket is sent once more over a new one."""

    async def group_send(self, group: str, message: Message, *, is_probe: bool = False) -> None:
        # A probe must notice that something broke.
        send = self._send if is_probe else self._send_twice
        await self._call(send, group, message, is_probe=is_probe)

    async def _send_twice(self, group: str, message: Message) -> None:
        try:
            await self._send(group, message)
        except Exception as error:
            is_stale = is_demotion(error) or is_broken_socket(error)
            if not is_stale or isinstance(error, TimeoutError):
                raise
            await self._send(group, message)
            outage.suspect()

    async def _send(self, group: str, message: Message) -> None:
        """Send over sockets that are not old. If that fails, close the idle ones."""
        try:
            await self._look_after_sockets(group)
            await self.layer.group_send(group, message)
        except BaseException:  # A call that takes too long is cancelled.
            await self._close_sockets(group)
            raise

    async def _look_after_sockets(self, group: str) -> None:
        """Close the idle sockets over which messages for ``group`` go, if they are old."""

    async def _close_sockets(self, group: str) -> None:
        """Close those sockets in any case."""


class PubSubAdapter(_RedisAdapter):
    """For ``RedisPubSubChannelLayer``, which has a layer of its own in each event loop."""

    shows_waiting = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        self._lock = threading.Lock()
        self._names: PubSubNames | None = None
        self._are_names_read = False
        self._publisher: ThreadPublisher | None = None
        self._is_publisher_made = False
        # A subclass that has this method sends in its own way.
        self._sends_in_own_way = hasattr(type(layer), "group_send")
        #: By the layer's connection to each server: when its sockets were opened, and when it was
        #: last seen to take writes (monotonic seconds).
        self._opened_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._checked_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

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
        names = self._read_names()
        if names is None:
            return super()._servers()
        return lambda group: names.server_of(group).number, len(names.servers())

    def server_of(self, group: str) -> Server | None:
        names = self._read_names()
        return None if names is None else names.server_of(group)

    def servers(self) -> Sequence[Server | None]:
        names = self._read_names()
        return [None] if names is None else names.servers()

    def publication(self, group: str, message: Message) -> tuple[str, bytes] | None:
        names = self._read_names()
        if names is None or self._sends_in_own_way or not self._shows_texts:
            return None
        return names.channel_of(group), self.layer.serialize(message)

    @cached_property
    def _shows_texts(self) -> bool:
        """Whether texts may be replaced in what the layer publishes; not if it is encrypted."""
        try:
            text = self.layer.serialize({"text": "before"}).replace(b"before", b"behind")
            return bool(self.layer.deserialize(text) == {"text": "behind"})
        except Exception:
            return False

    def _read_names(self) -> "PubSubNames | None":
        with self._lock:
            if not self._are_names_read:
                self._names = _make(lambda: PubSubNames(self.layer))
                self._are_names_read = True
            return self._names

    def forget_channel(self, channel: str) -> None:
        self.layer.channels.pop(channel, None)

    def _shard(self, group: str) -> Any:
        """The layer's connection to the server of ``group``; None if it has none that is known."""
        if not self._sends_in_own_way:
            with suppress(AttributeError):
                own = self.layer._get_layer()
                shard = own._get_shard(own._get_group_channel_name(group))
                if hasattr(shard, "_lock") and hasattr(shard, "_ensure_redis"):
                    return shard
        return None

    async def _look_after_sockets(self, group: str) -> None:
        now, shard = time.monotonic(), self._shard(group)
        if shard is None or now - self._checked_at.get(shard, -math.inf) < CHECK_INTERVAL_SECONDS:
            return
        self._checked_at[shard] = now
        async with shard._lock:
            shard._ensure_redis()
            if now - self._opened_at.get(shard, now) > SOCKET_LIFE_SECONDS:
                await close_idle(shard._redis.connection_pool)
                del self._opened_at[shard]
            self._opened_at.setdefault(shard, now)
            try:
                await shard._redis.pexpire(unused_key(shard.channel_layer.prefix), 1)
            except driver_for_asyncio.ResponseError as error:
                if is_demotion(error):
                    self.reconnects += 1
                    await self.reconnect()
                    outage.suspect()
                    raise
                # The user may not touch the key: only the age of sockets counts.
                self._checked_at[shard] = now + SOCKET_LIFE_SECONDS

    async def _close_sockets(self, group: str) -> None:
        if (shard := self._shard(group)) is None:
            return
        self._checked_at.pop(shard, None)
        if shard._redis is not None:
            await close_idle(shard._redis.connection_pool)

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

    def publisher(self) -> ThreadPublisher | None:
        names = self._read_names()
        if names is None or self._sends_in_own_way:
            return None
        with self._lock:
            if not self._is_publisher_made:
                self._publisher = _make(lambda: ThreadPublisher(names, self.layer.serialize))
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


def _make(make: Callable[[], T]) -> T | None:
    """The result of ``make``; None if the layer is not such that it can be made."""
    try:
        return make()
    except BackendError:
        raise  # The layer itself could not use these hosts either.
    except Exception as error:
        # The layer has options that only it understands, or has changed inside.
        logger.info("Pushes of threads go through an event loop: %r", error)
        return None


class PubSubNames:
    """The channels of a pub/sub layer, and its servers.

    Raises ``BackendError`` if its hosts cannot be used.
    """

    def __init__(self, layer: Any) -> None:
        hosts = layer._args[0] if layer._args else layer._kwargs.get("hosts")
        for where, problem in host_problems(hosts):
            raise BackendError(f"The hosts{where} of the channel layer: {problem}")
        names = RedisPubSubLoopLayer(*layer._args, **layer._kwargs, channel_layer=layer)
        self.prefix: str = names.prefix
        self._servers = [Server(*each) for each in enumerate(read_hosts(hosts))]
        self._by_shard: dict[Any, Server] = dict(zip(names._shards, self._servers, strict=True))
        self._names = names

    def servers(self) -> Sequence[Server]:
        return self._servers

    def channel_of(self, group: str) -> str:
        name: str = self._names._get_group_channel_name(group)
        return name

    def server_of(self, group: str) -> Server:
        return self._by_shard[self._names._get_shard(self.channel_of(group))]


class CoreAdapter(_RedisAdapter):
    """For ``RedisChannelLayer``."""

    confirms_joins = True

    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        #: Channels that are not read any more, and since when, while messages for them may come.
        self._forgotten: dict[str, float] = {}
        #: When the sockets of each event loop were opened (monotonic seconds).
        self._opened_at: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._scripts: ThreadScripts | None = None
        self._are_scripts_made = False

    @property
    def prefix(self) -> str:
        prefix: str = self.layer.prefix
        return prefix

    def scripts(self) -> ThreadScripts | None:
        with self._lock:
            if not self._are_scripts_made:
                self._scripts = _make(lambda: ThreadScripts(self))
                self._are_scripts_made = True
            return self._scripts

    def close(self) -> None:
        if self._scripts is not None:
            self._scripts.close()

    def _servers(self) -> tuple[Callable[[str], int], int]:
        return self.layer.consistent_hash, self.layer.ring_size

    def server_of(self, group: str) -> Server:
        number: int = self.layer.consistent_hash(group)
        return self.servers()[number]

    def servers(self) -> Sequence[Server]:
        try:
            return [Server(*each) for each in enumerate(read_hosts(self.layer.hosts))]
        except ValueError as error:
            raise BackendError(f"The hosts of the channel layer: {error}") from error

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

    async def _look_after_sockets(self, group: str) -> None:
        now, loop = time.monotonic(), asyncio.get_running_loop()
        if now - self._opened_at.setdefault(loop, now) > SOCKET_LIFE_SECONDS:
            self._opened_at[loop] = now
            await self.close_idle()

    async def _close_sockets(self, group: str) -> None:
        await self.close_idle()

    async def close_idle(self) -> None:
        with suppress(Exception):
            own = self.layer._layers[asyncio.get_running_loop()]
            for connection in own._connections.values():
                await close_idle(connection.connection_pool)


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
