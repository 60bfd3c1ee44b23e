"""The streams of all groups in Redis: each on the layer's server of its group.

A stream, its position and the answers to idempotency keys are keys with one hash tag. Scripts read
and write them, so that all processes share one order, and on a pub/sub layer publish too, so that
the order on the wire is the same.
"""

import asyncio
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from pm_realtime import layer
from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import Client, ask, host_of_state, named, pattern_of
from pm_realtime.backends.redis.publishing import (
    PublishCall,
    StreamKeys,
    layer_message,
    to_ms,
)
from pm_realtime.backends.streams import (
    BYTES_PER_PAGE,
    MESSAGES_PER_PAGE,
    Page,
    Publication,
    Receipt,
    StreamMessage,
    Streams,
    StreamStats,
)
from pm_realtime.concurrency import run_in_background
from pm_realtime.exceptions import BackendError, OutageError
from pm_realtime.observability import LAYER

#: Groups whose positions one script reads: Redis does nothing else meanwhile.
GROUPS_PER_SCRIPT: Final = 250
#: Not earlier has the clock of a server gone on by a ms.
NEXT_MS_SECONDS: Final = 0.002
#: Calls for each server in which streams are counted, of 1,000 keys each.
MAX_COUNT_CALLS: Final = 1000


class RedisStreams(Streams):
    """``timeout_seconds`` is for each script."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._keys = StreamKeys()
        #: By process, event loop and number of the server.
        self._clients: dict[tuple[int, asyncio.AbstractEventLoop, int | None], Client] = {}

    async def publish(self, message: StreamMessage) -> Receipt:
        if not _is_stored(message):
            await layer.asend(message.group, layer_message(message))
            return Receipt(None)
        return await layer.acall_outside(partial(self._publish, message))

    def publish_from_thread(self, message: StreamMessage) -> Receipt:
        if not _is_stored(message):
            layer.send(message.group, layer_message(message))
            return Receipt(None)
        return layer.call_outside(partial(self._publish_from_thread, message))

    async def get_tops(self, groups: Sequence[str]) -> list[str]:
        return await layer.acall_outside(partial(self._get_tops, groups))

    async def read(self, group: str, after: str, ttl_seconds: float) -> Page:
        limits = (to_ms(ttl_seconds), MESSAGES_PER_PAGE, BYTES_PER_PAGE)
        top, *found = await self._ask(group, scripts.READ, after, *limits)
        publications = [
            Publication(cursor, previous, text, exclude or None)
            for cursor, previous, text, exclude in zip(*[iter(found)] * 4, strict=True)
        ]
        return Page.of(after, publications, top)

    async def find_start(self, group: str, count: int, ttl_seconds: float) -> str:
        start, left, before = "", count, "+"
        while True:
            limits = left, to_ms(ttl_seconds), before
            found, left, before = await self._ask(group, scripts.FIND_START, *limits)
            start = found or start
            if not left:
                return start

    def hosts(self) -> Iterator[Mapping[str, Any]]:
        """The servers of the streams, as entries of ``hosts``. None if they cannot be read."""
        with suppress(Exception):  # The layer cannot be made.
            for server in _adapter().servers():
                yield host_of_state()[1] if server is None else server.host

    async def get_stats(self) -> StreamStats:
        count, is_complete = await self._scan(scripts.COUNT_TOPS, "*}:top", MAX_COUNT_CALLS)
        return StreamStats(count, None, None, is_complete)

    async def forget_all(self) -> None:
        await self._scan(scripts.FORGET, "*", None)
        # In the same ms, a stream would be born with a position that it has had before.
        await asyncio.sleep(NEXT_MS_SECONDS)

    async def _scan(self, script: str, names: str, max_calls: int | None) -> tuple[int, bool]:
        """Run ``script`` on a thousand keys at a time: the sum of its results, and if it is of all.

        ``names`` is a pattern of the keys, without their prefix. Each server gets ``max_calls``.
        """
        count, is_complete = 0, True
        pattern = pattern_of(self._keys.prefix, names)
        for server in _adapter().servers():
            client, position = await self._client_of(server), "0"
            for calls in itertools.count(1):
                position, found = await ask(client, script, (), (position, pattern))
                count += found
                if position == "0":
                    break
                if calls == max_calls:
                    is_complete = False
                    break
        return count, is_complete

    async def _publish(self, message: StreamMessage) -> Receipt:
        call = PublishCall.of(message, self._keys)
        answer = await self._run(message.group, scripts.PUBLISH, call.keys, call.arguments)
        receipt, unsent = call.read(answer)
        if unsent is not None:
            await layer.asend(message.group, unsent)
        return receipt

    def _publish_from_thread(self, message: StreamMessage) -> Receipt:
        try:
            return self._publish_outside(_adapter(), message)
        except TimeoutError as error:
            raise OutageError("The stream of the group did not answer in time.") from error

    def _publish_outside(self, adapter: layer.LayerAdapter, message: StreamMessage) -> Receipt:
        if (server_scripts := adapter.scripts()) is None:
            return run_in_background(self._publish(message))
        call = PublishCall.of(message, self._keys)
        try:
            answer = server_scripts.run(message.group, scripts.PUBLISH, call.keys, call.arguments)
        except OutageError as error:
            raise named(error, call.keys) from error.__cause__
        receipt, unsent = call.read(answer)
        if unsent is not None:
            layer.send_outside(adapter, message.group, unsent)
        return receipt

    async def _get_tops(self, groups: Sequence[str]) -> list[str]:
        by_server: dict[int | None, list[str]] = {}
        for group in groups:
            by_server.setdefault(_number_of(group), []).append(group)
        tops: dict[str, str] = {}
        for names in by_server.values():
            for start in range(0, len(names), GROUPS_PER_SCRIPT):
                batch = names[start : start + GROUPS_PER_SCRIPT]
                logs, keys = zip(*map(self._keys.of, batch), strict=True)
                found = await self._run(batch[0], scripts.GET_TOPS, (*logs, *keys), ())
                tops.update(zip(batch, found, strict=True))
        return [tops[group] for group in groups]

    async def _ask(self, group: str, script: str, *arguments: Any) -> Any:
        """The answer of a script that reads one stream."""
        run = partial(self._run, group, script, self._keys.of(group), arguments)
        return await layer.acall_outside(run)

    async def _run(
        self, group: str, script: str, keys: Sequence[str], arguments: Sequence[Any]
    ) -> Any:
        """The answer of ``script`` on the server of ``group``."""
        return await ask(await self._client(group), script, keys, arguments)

    async def _client(self, group: str) -> Client:
        return await self._client_of(_adapter().server_of(group))

    async def _client_of(self, server: layer.Server | None) -> Client:
        """The running loop's client of ``server``; those of closed loops go away.

        Clients that a fork inherited from its parent stay untouched: their sockets are the
        parent's.
        """
        pid, loop = os.getpid(), asyncio.get_running_loop()
        key = pid, loop, server.number if server is not None else None
        client = self._clients.get(key)
        if client is None:
            for old in [each for each in self._clients if each[0] == pid and each[1].is_closed()]:
                del self._clients[old]
            try:
                host = server.host if server is not None else None
                client = Client(self._timeout_seconds, host, LAYER)
            except ValueError as error:
                raise BackendError(f"The address of Redis could not be read: {error}") from error
            self._clients[key] = client
            await client.close_with_loop()
        return client


def _number_of(group: str) -> int | None:
    server = _adapter().server_of(group)
    return None if server is None else server.number


def _adapter() -> layer.LayerAdapter:
    return layer.adapter_for(layer.get_layer())


def _is_stored(message: StreamMessage) -> bool:
    """Whether anything of ``message`` is kept."""
    return bool(message.size) or message.idempotency_key is not None
