"""What the layers of channels-redis need beyond the interface of a channel layer."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from channels.layers import BaseChannelLayer

from pm_realtime.concurrency import note_result
from pm_realtime.layer.local import LocalChannelLayer, is_in_process
from pm_realtime.layer.wire import Message


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
    """Close what a layer has open and does not use in the running loop.

    After a restart of the server each of these sockets would fail once, one after the other.
    """
    with suppress(Exception):
        own = layer._layers[asyncio.get_running_loop()]
        if answers_joins(layer):
            for connection in own._connections.values():
                await connection.connection_pool.disconnect(inuse_connections=False)
        elif not _is_used(own):
            await redial(layer)
            for shard in own._shards:
                await shard._redis.connection_pool.disconnect(inuse_connections=False)


async def let_go(layer: Any) -> None:
    """Have a pub/sub layer that nobody uses in the running loop give up its connections.

    While its server is away it would try to subscribe again every second, and log each try.
    """
    with suppress(Exception):
        own = layer._layers[asyncio.get_running_loop()]
        if not answers_joins(layer) and not _is_used(own):
            await own.flush()


def forget_vain_channels(layer: Any, prefix: str) -> None:
    """Drop the queues of channels that a pub/sub layer could not subscribe to."""
    with suppress(Exception):
        own = layer._layers[asyncio.get_running_loop()]
        if not answers_joins(layer):
            for name in [name for name in own.channels if name.startswith(own.prefix + prefix)]:
                del own.channels[name]


def _is_used(own: Any) -> bool:
    """Whether anybody listens on a channel that the pub/sub layer of a loop has."""
    return bool(own.channels or own.groups)


async def receive(layer: BaseChannelLayer, channel: str) -> Message:
    """The next message for ``channel``, whenever it comes. Raises whatever the layer raises."""
    message: Message = await layer.receive(channel)
    # RedisChannelLayer tidies up behind each message in a task that nobody waits for.
    for tidying in getattr(layer, "receive_cleaners", ()):
        tidying.add_done_callback(note_result)
    return message


async def receive_waiting(
    layer: BaseChannelLayer, channel: str, messages: deque[Message], most: int
) -> None:
    """Add what can be received without waiting, where that can be told, up to ``most`` in all."""
    queue = _queue_of(layer, channel)
    for _ in range(min(queue.qsize(), most - len(messages)) if queue is not None else 0):
        messages.append(await receive(layer, channel))


def shows_waiting(layer: Any) -> bool:
    """Whether it can be told what can be received without waiting."""
    # What waits in the queues of the other layers may be dropped before it is received.
    return isinstance(layer, LocalChannelLayer) or hasattr(layer, "_shards")


def _queue_of(layer: Any, channel: str) -> "asyncio.Queue[Any] | None":
    return layer.channels.get(channel) if shows_waiting(layer) else None


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
