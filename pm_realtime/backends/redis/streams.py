"""The streams of all groups in Redis: each on the layer's server of its group.

A stream, its position and the answers to idempotency keys are keys with one hash tag. Scripts read
and write them, so that all processes share one order, and on a pub/sub layer publish too, so that
the order on the wire is the same.
"""

import asyncio
import itertools
import os
import re
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from pm_realtime import layer
from pm_realtime.backends.redis import scripts
from pm_realtime.backends.redis.client import Client
from pm_realtime.backends.streams import (
    BYTES_PER_PAGE,
    CURSOR_LENGTH,
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
from pm_realtime.redis import is_broken_socket, is_demotion

#: Groups whose positions one script reads: Redis does nothing else meanwhile.
GROUPS_PER_SCRIPT: Final = 250
#: For how long Redis remembers a call without an idempotency key: it may be made a second time, if
#: its socket breaks or its answer does not come in time.
CALL_TTL_MS: Final = 10_000
#: Calls for each server in which streams are counted, of 1,000 keys each.
MAX_COUNT_CALLS: Final = 1000
#: Stand in a serialized message where the script puts the cursors in.
_CURSOR, _PREVIOUS = (secrets.token_hex(CURSOR_LENGTH // 2) for _ in range(2))


class RedisStreams(Streams):
    """``timeout_seconds`` is for each script."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        #: By process, event loop and number of the server.
        self._clients: dict[tuple[int, asyncio.AbstractEventLoop, int | None], Client] = {}

    async def publish(self, message: StreamMessage) -> Receipt:
        if not _is_stored(message):
            await layer.asend(message.group, _message(message))
            return Receipt(None)
        return await layer.acall_outside(partial(self._publish, message))

    def publish_from_thread(self, message: StreamMessage) -> Receipt:
        if not _is_stored(message):
            layer.send(message.group, _message(message))
            return Receipt(None)
        return layer.call_outside(partial(self._publish_from_thread, message))

    async def get_tops(self, groups: Sequence[str]) -> list[str]:
        return await layer.acall_outside(partial(self._get_tops, groups))

    async def read(self, group: str, after: str, ttl_seconds: float) -> Page:
        limits = (_ms(ttl_seconds), MESSAGES_PER_PAGE, BYTES_PER_PAGE)
        top, *found = await self._ask(group, scripts.READ, after, *limits)
        publications = [
            Publication(cursor, previous, text, exclude or None)
            for cursor, previous, text, exclude in zip(*[iter(found)] * 4, strict=True)
        ]
        return Page.of(after, publications, top)

    async def find_start(self, group: str, count: int, ttl_seconds: float) -> str:
        start: str = await self._ask(group, scripts.FIND_START, count, _ms(ttl_seconds))
        return start

    async def get_stats(self) -> StreamStats:
        count, is_complete = await self._scan(scripts.COUNT_TOPS, "*}:top", MAX_COUNT_CALLS)
        return StreamStats(count, None, None, is_complete)

    async def forget_all(self) -> None:
        await self._scan(scripts.FORGET, "*", None)

    async def _scan(self, script: str, names: str, max_calls: int | None) -> tuple[int, bool]:
        """Run ``script`` on a thousand keys at a time: the sum of its results, and if it is of all.

        ``names`` is a pattern of the keys, without their prefix. Each server gets ``max_calls``.
        """
        count, is_complete = 0, True
        pattern = re.sub(r"([][*?\\])", r"\\\1", _prefix()) + names
        for server in _adapter().servers():
            client, position = await self._client_of(server), "0"
            for calls in itertools.count(1):
                position, found = await client.run(script, (), (position, pattern))
                count += found
                if position == "0":
                    break
                if calls == max_calls:
                    is_complete = False
                    break
        return count, is_complete

    async def _publish(self, message: StreamMessage) -> Receipt:
        call = _Call.of(message)
        answer = await self._run(message.group, scripts.PUBLISH, call.keys, call.arguments)
        receipt, unsent = call.read(answer)
        if unsent is not None:
            await layer.asend(message.group, unsent)
        return receipt

    def _publish_from_thread(self, message: StreamMessage) -> Receipt:
        publisher = _adapter().publisher()
        if publisher is None:
            try:
                return run_in_background(self._publish(message))
            except TimeoutError as error:
                raise OutageError("The stream of the group did not answer in time.") from error
        call = _Call.of(message)
        answer = publisher.run(message.group, scripts.PUBLISH, call.keys, call.arguments)
        receipt, unsent = call.read(answer)
        if unsent is not None:
            publisher.send(message.group, unsent)
        return receipt

    async def _get_tops(self, groups: Sequence[str]) -> list[str]:
        by_server: dict[int | None, list[str]] = {}
        for group in groups:
            by_server.setdefault(_number_of(group), []).append(group)
        tops: dict[str, str] = {}
        for names in by_server.values():
            for start in range(0, len(names), GROUPS_PER_SCRIPT):
                batch = names[start : start + GROUPS_PER_SCRIPT]
                logs, keys = zip(*map(_keys_of, batch), strict=True)
                found = await self._run(batch[0], scripts.GET_TOPS, (*logs, *keys), ())
                tops.update(zip(batch, found, strict=True))
        return [tops[group] for group in groups]

    async def _ask(self, group: str, script: str, *arguments: Any) -> Any:
        """The answer of a script that reads one stream."""
        run = partial(self._run, group, script, _keys_of(group), arguments)
        return await layer.acall_outside(run)

    async def _run(
        self, group: str, script: str, keys: Sequence[str], arguments: Sequence[Any]
    ) -> Any:
        """The answer of ``script`` on the server of ``group``, once more over a new socket if the
        kept one was broken, or silent in a loop where nothing else would have noticed it."""
        client = await self._client(group)
        try:
            return await client.run(script, keys, arguments)
        except OutageError as error:
            cause = error.__cause__
            if isinstance(cause, TimeoutError):
                may_be_stale = not layer.is_probed()
            else:
                may_be_stale = is_broken_socket(cause) or is_demotion(cause)
            if not may_be_stale:
                raise
        return await client.run(script, keys, arguments)

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


class _Call(NamedTuple):
    """One call of the script that publishes, and what becomes of its answer."""

    message: StreamMessage
    keys: tuple[str, str, str]
    arguments: tuple[Any, ...]

    @classmethod
    def of(cls, message: StreamMessage) -> "_Call":
        key, key_ttl_ms = message.idempotency_key, _ms(message.key_ttl_seconds)
        name = f"key:{key}"
        if key is None:
            name, key_ttl_ms = f"call:{secrets.token_hex(8)}", CALL_TTL_MS
        arguments = (
            message.text,
            message.exclude or "",
            message.size,
            _ms(message.ttl_seconds),
            key_ttl_ms,
            *_pieces(message),
        )
        return cls(message, (*_keys_of(message.group), _key(message.group, name)), arguments)

    def read(self, answer: list[Any]) -> tuple[Receipt, layer.Message | None]:
        """The receipt in ``answer``, and what is still to be sent to the group.

        If another call with the same key has appended the message, it may have ended before it
        sent it: what it appended is sent again. Hubs drop what they had.
        """
        message = self.message
        cursor, previous = (_text(each) or None for each in answer[:2])
        is_repeated = bool(answer[2])
        receipt = Receipt(cursor, is_repeated and message.idempotency_key is not None)
        is_sent = bool(self.arguments[5])
        if is_sent or (is_repeated and len(answer) == 3):
            return receipt, None
        if is_repeated:
            text, exclude = _text(answer[3]), _text(answer[4]) or None
            message = message._replace(text=text, exclude=exclude)
        return receipt, _message(message, cursor, previous)


def _is_stored(message: StreamMessage) -> bool:
    """Whether anything of ``message`` is kept."""
    return bool(message.size) or message.idempotency_key is not None


def _pieces(message: StreamMessage) -> tuple[str, bytes, bytes, bytes]:
    """The channel of Redis and the three pieces of what is published there.

    The cursors go between them. The channel is empty if only the layer can send.
    """
    cursors = (_CURSOR, _PREVIOUS) if message.size else (None, None)
    found = _adapter().publication(message.group, _message(message, *cursors))
    if found is None:
        return "", b"", b"", b""
    channel, text = found
    if not message.size:
        return channel, text, b"", b""
    before, cursor, rest = text.partition(_CURSOR.encode())
    between, previous, after = rest.partition(_PREVIOUS.encode())
    is_clear = cursor and previous and _CURSOR.encode() not in rest
    return (channel, before, between, after) if is_clear else ("", b"", b"", b"")


def _message(
    message: StreamMessage, cursor: str | None = None, previous: str | None = None
) -> layer.Message:
    return layer.stream_message(
        message.group,
        message.text,
        message.exclude,
        is_control=message.is_control,
        cursor=cursor,
        previous=previous,
    )


def _keys_of(group: str) -> tuple[str, str]:
    return _key(group, "log"), _key(group, "top")


def _key(group: str, name: str) -> str:
    """A key of the stream of ``group``, whose name is that of one site and database alone."""
    return f"{_prefix()}{group}}}:{name}"


def _prefix() -> str:
    return f"pm_realtime:{{{layer.layer_options().get('prefix', 'asgi')}:"


def _number_of(group: str) -> int | None:
    server = _adapter().server_of(group)
    return None if server is None else server.number


def _adapter() -> layer.LayerAdapter:
    return layer.adapter_for(layer.get_layer())


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _text(part: Any) -> str:
    return part if isinstance(part, str) else part.decode()
