"""The channel layer in use, and each step that an event loop takes with it.

A layer outside of this process may fail or not answer. Every step is bounded in time and raises
``BackendError``, and while the layer is known to be away it does so at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from pm_realtime.conf import conf
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.outage import is_lost_connection

R = TypeVar("R")
Message = dict[str, Any]

#: The kinds of message that travel by the layer: a text for the members of a group, an order to
#: them, and what a hub sends to itself to see whether it arrives.
PUSH: Final = "pm_realtime.push"
INSTRUCT: Final = "pm_realtime.instruct"
ECHO: Final = "pm_realtime.echo"

#: Seconds that one step may take with a layer outside of this process.
TIMEOUT: Final = 1.5
#: Steps of one event loop that may be under way at once; each may need a connection of its own.
SLOTS: Final = 6
#: Seconds after a vain try to begin before the next one.
PAUSE: Final = 0.5


class LocalChannelLayer(InMemoryChannelLayer):
    """The layer of a site without ``CHANNEL_LAYERS``: one process, nothing dropped, no expiry.

    Channels' own in-memory layer drops what exceeds 100 waiting messages, copies each message in
    depth and looks through every group on every send. The hub takes messages as fast as they come
    and changes none, so here a send is one append.
    """

    def __init__(self) -> None:
        super().__init__(capacity=0)

    async def send(self, channel: str, message: Message) -> None:
        self.require_valid_channel_name(channel)
        self._queue(channel).put_nowait((time.time() + self.expiry, message))

    async def group_send(self, group: str, message: Message) -> None:
        self.require_valid_group_name(group)
        for channel in self.groups.get(group, ()):
            self._queue(channel).put_nowait((time.time() + self.expiry, message))

    def _queue(self, channel: str) -> "asyncio.Queue[tuple[float, Message]]":
        queue: asyncio.Queue[tuple[float, Message]] | None = self.channels.get(channel)
        if queue is None:
            queue = self.channels[channel] = asyncio.Queue()
        return queue

    def _clean_expired(self) -> None:
        """Nothing here expires: the one channel of a process leaves its groups when it stops."""


def get_layer() -> BaseChannelLayer:
    """The layer behind ``CHANNEL_LAYER``; one of our own where ``CHANNEL_LAYERS`` is not set.

    Raises ``ImproperlyConfigured`` where ``CHANNEL_LAYERS`` is set and lacks the alias.
    """
    alias = conf.CHANNEL_LAYER
    try:
        return channel_layers[alias]
    except KeyError:
        if configured := getattr(settings, "CHANNEL_LAYERS", None):
            raise ImproperlyConfigured(
                f'PM_REALTIME["CHANNEL_LAYER"] names {alias!r}, '
                f"but CHANNEL_LAYERS has only: {', '.join(configured)}."
            ) from None
        layer = LocalChannelLayer()
        channel_layers.set(alias, layer)
        return layer


def is_in_process(layer: BaseChannelLayer) -> bool:
    """Whether ``layer`` reaches no process but this one."""
    return isinstance(layer, InMemoryChannelLayer)


def one_of_each_server(layer: BaseChannelLayer, name: Callable[[int], str]) -> list[str]:
    """Of the groups ``name(0)``, ``name(1)``, … one for each server that ``layer`` is spread over.

    Where that cannot be told, the first.
    """
    try:
        server_of, count = _servers(layer)
        found: dict[int, str] = {}
        for number in range(100 * count):
            found.setdefault(server_of(name(number)), name(number))
            if len(found) == count:
                break
        return list(found.values())
    except Exception:
        return [name(0)]


def _servers(layer: Any) -> tuple[Callable[[str], int], int]:
    """Which server of a channels-redis layer a group is on, and how many there are."""
    if hasattr(layer, "consistent_hash"):
        return layer.consistent_hash, layer.ring_size
    return lambda group: id(layer._get_shard(layer._get_group_channel_name(group))), len(
        layer._shards
    )


def answers_joins(layer: BaseChannelLayer) -> bool:
    """Whether a channel is in a group for certain once ``group_add`` returns."""
    return is_in_process(layer) or hasattr(layer, "receive_buffer")


async def redial(layer: BaseChannelLayer) -> None:
    """Close the sockets on which a pub/sub layer listens in the running loop; it opens new ones.

    It only reads from them, so it never notices that the other end is gone without a word. What
    it has subscribed to, redis-py subscribes to again.
    """
    if answers_joins(layer):
        return
    for shard in getattr(layer, "_shards", ()):
        connection = getattr(shard._pubsub, "connection", None)
        if connection is not None:
            with suppress(Exception):
                await connection.disconnect(nowait=True)


async def drop_idle(layer: Any) -> None:
    """Close what ``RedisChannelLayer`` has open and does not use in the running loop.

    After a restart of the server each of these sockets would fail once, one after the other.
    """
    with suppress(Exception):
        for connection in layer._layers[asyncio.get_running_loop()]._connections.values():
            await connection.connection_pool.disconnect(inuse_connections=False)


async def receive(layer: BaseChannelLayer, channel: str) -> Message:
    """The next message for ``channel``, whenever it comes. Raises whatever the layer raises."""
    message: Message = await layer.receive(channel)
    # RedisChannelLayer tidies up behind each message in a task that nobody waits for.
    for tidying in getattr(layer, "receive_cleaners", ()):
        tidying.add_done_callback(_note_result)
    return message


#: Channels that nobody reads any more, and since when, while messages for them may come.
_forgotten: Final[dict[str, float]] = {}


def forget_channel(layer: BaseChannelLayer, channel: str) -> None:
    """Drop what waits for ``channel``, which nobody will read any more."""
    buffers = getattr(layer, "receive_buffer", None)
    if buffers is None:
        getattr(layer, "channels", {}).pop(channel, None)
        return
    # In RedisChannelLayer all channels of a process share one list: what is for a channel that is
    # gone comes with what is for the next one, and would stay.
    now = time.monotonic()
    for name, since in list(_forgotten.items()):
        buffers.pop(name, None)
        if now - since > layer.expiry:
            del _forgotten[name]
    _forgotten[channel] = now


class _Road:
    """The way from one event loop to a layer outside of this process."""

    def __init__(self) -> None:
        self.slots = asyncio.Semaphore(SLOTS)
        #: Why nothing is sent for now.
        self.block: str | None = None
        #: When a channel may be asked for again; each vain try leaves something in the layer.
        self.new_channel_from = 0.0

    async def go(self, step: Callable[[], Awaitable[R]], *, is_probe: bool, is_patient: bool) -> R:
        """Take ``step``; where it is patient, its time does not run while others take theirs."""
        if is_patient:
            async with self.slots:
                return await self._take(step, is_probe)
        return await self._take(partial(self._in_turn, step), is_probe)

    async def _in_turn(self, step: Callable[[], Awaitable[R]]) -> R:
        async with self.slots:
            return await step()

    async def _take(self, step: Callable[[], Awaitable[R]], is_probe: bool) -> R:
        if self.block is not None and not is_probe:
            raise OutageError(self.block)
        try:
            return await _within(TIMEOUT, step)
        except TimeoutError as error:
            what = str(error) or f"no answer within {TIMEOUT:g} s"
            raise OutageError(f"The channel layer: {what}") from error
        except Exception as error:
            kind = OutageError if is_lost_connection(error) else BackendError
            raise kind(f"The channel layer: {type(error).__name__}: {error}") from error


async def _within(seconds: float, step: Callable[[], Awaitable[R]]) -> R:
    """The result of ``step``; ``TimeoutError`` in time even where it swallows its cancellation.

    redis-py does so now and then, and goes on to the end of its own timeout.
    """
    task = asyncio.ensure_future(step())
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_note_result)
    if not task.done() or task.cancelled():
        raise TimeoutError
    return task.result()


def _note_result(task: asyncio.Future[Any]) -> None:
    """Nobody waits for it any more: what it raises is not to be logged."""
    if not task.cancelled():
        task.exception()


_roads: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Road]] = WeakKeyDictionary()


def _road() -> _Road:
    loop = asyncio.get_running_loop()
    road = _roads.get(loop)
    if road is None:
        road = _roads[loop] = _Road()
    return road


def block(reason: str | None) -> None:
    """Refuse at once what the running loop would do with the layer, until ``None`` is given."""
    _road().block = reason


async def group_add(
    layer: BaseChannelLayer, group: str, channel: str, *, is_probe: bool = False
) -> None:
    """Add ``channel`` to ``group``, in time. As all of these, raises ``BackendError``.

    A probe is tried even while the layer is known to be away.
    """
    await _go(layer, partial(layer.group_add, group, channel), is_probe)


async def group_discard(
    layer: BaseChannelLayer, group: str, channel: str, *, is_probe: bool = False
) -> None:
    """Take ``channel`` out of ``group``, in time, however many do so at the same moment."""
    await _go(layer, partial(layer.group_discard, group, channel), is_probe, is_patient=True)


async def group_send(
    layer: BaseChannelLayer, group: str, message: Message, *, is_probe: bool = False
) -> None:
    """Send ``message`` to ``group``, in time."""
    await _go(layer, partial(layer.group_send, group, message), is_probe)


async def new_channel(layer: BaseChannelLayer) -> str:
    """A channel of the running loop, in time."""
    now, road = time.monotonic(), _road()
    if now < road.new_channel_from:
        raise OutageError("The channel layer was away a moment ago.")
    try:
        return await _go(layer, layer.new_channel, False)
    except BackendError:
        road.new_channel_from = time.monotonic() + PAUSE
        raise


async def _go(
    layer: BaseChannelLayer,
    step: Callable[[], Awaitable[R]],
    is_probe: bool,
    *,
    is_patient: bool = False,
) -> R:
    if is_in_process(layer):
        return await step()
    return await _road().go(step, is_probe=is_probe, is_patient=is_patient)
